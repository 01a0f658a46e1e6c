package popsim_test

import (
	"bytes"
	"io"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/internal/popsim/sample"
)

// Every nasty message comes over the wire as Message.Reader says, by RETR and by TOP with all its lines.
func TestNastyOverTheWire(t *testing.T) {
	server, account := start(t, popsim.Config{Mode: popsim.NoTLS})
	for _, m := range sample.Nasty() {
		account.Deliver(m)
	}
	c := login(t, server)
	c.conn.SetDeadline(time.Now().Add(time.Minute))
	for i, m := range account.Messages() {
		want, err := io.ReadAll(m.Reader())
		if err != nil {
			t.Fatal(err)
		}
		for _, command := range []string{"RETR %d", "TOP %d 99999999"} {
			command = strings.Replace(command, "%d", strconv.Itoa(i+1), 1)
			c.do(command, "+OK")
			if got := c.body(); got != string(want) {
				t.Errorf("%s, %s: %d octets, want %d", m.UID, command, len(got), len(want))
			}
		}
		c.do("LIST "+strconv.Itoa(i+1), "+OK "+strconv.Itoa(i+1)+" "+strconv.Itoa(len(want)))
	}
}

// bodies draws messages in which what matters to POP3 is frequent.
func bodies() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOf(rapid.SampledFrom([]string{"\r\n", "\r", "\n", ".", "\r\n.", "x", "\x00"})).Draw(t, "pieces"), "")
	})
}

func TestReaderAddsTheLastLineEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := bodies().Draw(t, "body")
		want := text
		if text != "" && !strings.HasSuffix(text, "\r\n") {
			want += "\r\n"
		}
		inMemory := popsim.Message{Body: []byte(text)}
		streamed := popsim.Message{Open: func() io.Reader { return iotest.OneByteReader(strings.NewReader(text)) }}
		atOnce := popsim.Message{Open: func() io.Reader { return iotest.DataErrReader(strings.NewReader(text)) }}
		for _, m := range []popsim.Message{inMemory, streamed, atOnce} {
			got, err := io.ReadAll(m.Reader())
			if err != nil || string(got) != want || m.Octets() != int64(len(want)) {
				t.Fatalf("%q becomes %q of %d octets (%v)", text, got, m.Octets(), err)
			}
		}
	})
}

func TestStored(t *testing.T) {
	for body, want := range map[string]string{
		"": "", "a": "a\n", "a\r\n": "a\n", "a\r": "a\r\n", "a\r\r\n": "a\r\n", "a\nb\r\n": "a\nb\n", "a\n": "a\n\n", "\r\n\r\n": "\n\n", "a\rb": "a\rb\n",
	} {
		if got := message("", body).Stored(); string(got) != want {
			t.Errorf("%q is stored as %q, want %q", body, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		m := message("", bodies().Draw(t, "body"))
		got, err := io.ReadAll(m.StoredReader())
		if err != nil || !bytes.Equal(got, m.Stored()) {
			t.Fatalf("StoredReader %q (%v), Stored %q", got, err, m.Stored())
		}
		if popsim.CountLF(m) != int64(len(got)) {
			t.Fatalf("CountLF %d, want %d", popsim.CountLF(m), len(got))
		}
	})
}

func TestTop(t *testing.T) {
	server, _ := start(t, popsim.Config{Mode: popsim.NoTLS},
		message("a", "A: 1\r\nB: 2\r\n\r\none\r\n\r\n.three\r\n"+strings.Repeat("4", 200_000)+"\r\n"),
		message("b", "header only"), message("c", ""), message("d", "A: 1\r\n\nstill header\r\n\r\nbody\r\n"))
	c := login(t, server)
	for command, want := range map[string]string{
		"TOP 1 0": "A: 1\r\nB: 2\r\n\r\n",
		"TOP 1 1": "A: 1\r\nB: 2\r\n\r\none\r\n",
		"TOP 1 3": "A: 1\r\nB: 2\r\n\r\none\r\n\r\n.three\r\n",
		"TOP 1 4": "A: 1\r\nB: 2\r\n\r\none\r\n\r\n.three\r\n" + strings.Repeat("4", 200_000) + "\r\n",
		"TOP 2 0": "header only\r\n",
		"TOP 3 5": "",
		"TOP 4 0": "A: 1\r\n\nstill header\r\n\r\n",
	} {
		c.do(command, "+OK")
		if got := c.body(); got != want {
			t.Errorf("%s: %.80q, want %.80q", command, got, want)
		}
	}
}

func TestDeliveredStream(t *testing.T) {
	opened := 0
	server, account := start(t, popsim.Config{Mode: popsim.NoTLS})
	uid := account.Deliver(popsim.Message{Open: func() io.Reader { opened++; return strings.NewReader("streamed") }})
	c := login(t, server)
	c.do("LIST 1", "+OK 1 10")
	c.do("STAT", "+OK 1 10")
	if opened != 1 {
		t.Errorf("opened %d times to know the size", opened)
	}
	c.do("RETR 1", "+OK")
	if got := c.body(); got != "streamed\r\n" {
		t.Errorf("got %q", got)
	}
	if account.Retrieved(uid) != 1 {
		t.Errorf("%s retrieved %d times", uid, account.Retrieved(uid))
	}
}
