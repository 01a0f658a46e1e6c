package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// echo answers each connection with what it sends, and ends with it.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(conn, conn)
				conn.Close()
			}()
		}
	}()
	return l.Addr().String()
}

// The relay must neither lose nor reorder bytes nor deliver them early. Many
// round trips' worth of bytes at once take one round trip, not many.
func TestRelayDelays(t *testing.T) {
	const roundTrip = 60 * time.Millisecond
	l, err := startRelay(echo(t), roundTrip)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	begin := time.Now()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sent := bytes.Repeat([]byte("0123456789"), 1<<18)
	go func() {
		conn.Write(sent)
		conn.(*net.TCPConn).CloseWrite()
	}()
	first := make([]byte, 1)
	if _, err := io.ReadFull(conn, first); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 2*roundTrip {
		t.Errorf("connecting and the first answer took %v, less than two round trips", took)
	}
	rest, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(append(first, rest...), sent) {
		t.Errorf("%d bytes of %d came back, %v", len(rest)+1, len(sent), err)
	}
}

func TestMailIsTheSameEveryTime(t *testing.T) {
	m := mailbox{user: "u", count: 50, size: 4700}
	var texts [2]bytes.Buffer
	var totals [2]int64
	for i := range texts {
		for r := range m.messages(&totals[i]) {
			if _, err := texts[i].ReadFrom(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !bytes.Equal(texts[0].Bytes(), texts[1].Bytes()) {
		t.Error("two runs differ")
	}
	if got := int64(texts[0].Len()); got != totals[0] || got < 50*4000 || got > 50*5400 {
		t.Errorf("%d bytes, announced %d", got, totals[0])
	}
	if got := bytes.Count(texts[0].Bytes(), []byte("\n"+messageID)); got != m.count {
		t.Errorf("%d messages can be told apart", got)
	}
}

func TestCheckStoredFindsWhatIsMissing(t *testing.T) {
	m := mailbox{count: 2}
	dir := t.TempDir()
	for _, sub := range []string{"new", "cur"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, sub, "1"), []byte("12345"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "mbox")
	text := "From a\n" + messageID + "1>\n\nFrom b\n" + messageID + "2>\n\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		store, path string
		size        int64
	}{{maildir, dir, 10}, {mbox, file, int64(len(text))}} {
		if err := checkStored(c.store, c.path, m, c.size); err != nil {
			t.Errorf("%s: %v", c.store, err)
		}
		if checkStored(c.store, c.path, m, c.size+1) == nil {
			t.Errorf("%s: a byte is missing and nobody noticed", c.store)
		}
		if checkStored(c.store, c.path, mailbox{count: 3}, c.size) == nil {
			t.Errorf("%s: a message is missing and nobody noticed", c.store)
		}
	}
}

func TestTable(t *testing.T) {
	j := job{title: "task", mail: mailbox{count: 1000}}
	took := func(seconds ...int) []sample {
		var samples []sample
		for _, s := range seconds {
			samples = append(samples, sample{Took: time.Duration(s) * time.Second, Peak: int64(s) * 1e6})
		}
		return samples
	}
	got := table([]result{
		{job: j, program: "popfetchd", samples: took(4, 1, 3)},
		{job: j, program: "mpop", samples: took(7, 5)},
		{job: j, program: "fdm", samples: took(1), failed: io.EOF},
	})
	want := []string{
		"| task | popfetchd | 3.000 | 1.000 | 3 | 3000 | 1.00 | 4.0 |",
		"|  | mpop | 6.000 | 5.000 | 2 | 6000 | 2.00 | 7.0 |",
		"|  | fdm | failed | | | | | |",
	}
	if lines := strings.Split(got, "\n"); fmt.Sprint(lines[2:5]) != fmt.Sprint(want) {
		t.Errorf("table\n%swant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestCommandLine(t *testing.T) {
	for _, args := range [][]string{{"-scenario", "none"}, {"-only", "mutt"}, {"-rounds", "0"}, {"-scale", "0"}, {"word"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
	o, err := parse([]string{"-all", "-scenario", "mbox,fsync"})
	if err != nil || len(o.programs) != len(allPrograms) || len(o.scenarios) != 2 {
		t.Errorf("%+v, %v", o, err)
	}
}
