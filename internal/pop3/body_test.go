package pop3

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// oracle is the obvious way to read a multi-line reply: octet by octet. complete is false when the stream ends before CRLF.CRLF.
func oracle(stream []byte) (message, rest []byte, complete bool) {
	bol := true
	for i := 0; i < len(stream); i++ {
		if bol && stream[i] == '.' {
			tail := stream[i+1:]
			if bytes.HasPrefix(tail, []byte("\r\n")) {
				return message, tail[2:], true
			}
			if len(tail) == 0 || string(tail) == "\r" {
				return message, nil, false
			}
			if i > 0 || tail[0] == '.' { // Dovecot does not stuff the first line
				i++
			}
		}
		message = append(message, stream[i])
		bol = bytes.HasSuffix(stream[:i+1], []byte("\r\n"))
	}
	return message, nil, false
}

// stuff is the other side of the protocol: what a server sends for a message that ends in CRLF or is empty.
func stuff(message string) string {
	stuffed := strings.ReplaceAll(message, "\r\n.", "\r\n..")
	if strings.HasPrefix(stuffed, ".") {
		stuffed = "." + stuffed
	}
	return stuffed + ".\r\n"
}

func TestBody(t *testing.T) {
	for _, test := range []struct{ name, stream, message, rest string }{
		{"empty", ".\r\n", "", ""},
		{"one line", "hello\r\n.\r\n", "hello\r\n", ""},
		{"what follows stays", "a\r\n.\r\n+OK next\r\n", "a\r\n", "+OK next\r\n"},
		{"stuffed", "..\r\n...\r\n..a\r\n.\r\n", ".\r\n..\r\n.a\r\n", ""},
		{"stuffed though there was no need", "a\r\n.b\r\n.\r\n", "a\r\nb\r\n", ""},
		{"first line not stuffed, as by Dovecot", ".a\r\n.b\r\n.\r\n", ".a\r\nb\r\n", ""},
		{"first line of dot and CR", ".\ra\r\n.\r\n", ".\ra\r\n", ""},
		{"bare-LF dot is no end", "a\n.\nb\r\n.\r\n", "a\n.\nb\r\n", ""},
		{"bare-LF dot CRLF is no end", "a\n.\r\nb\r\n.\r\n", "a\n.\r\nb\r\n", ""},
		{"CRLF dot bare LF is no end", "a\r\n.\nb\r\n.\r\n", "a\r\n\nb\r\n", ""},
		{"CRLF dot CR is no end", "a\r\n.\rb\r\n.\r\n", "a\r\n\rb\r\n", ""},
		{"bare-CR dot is no end", "a\r.\r\nb\r\n.\r\n", "a\r.\r\nb\r\n", ""},
		{"dots behind bare LF stay", "a\n..b\r\n.\r\n", "a\n..b\r\n", ""},
		{"CR before CRLF stays", "a\r\r\n.\r\n", "a\r\r\n", ""},
		{"NUL and 8-bit", "\x00\xff\x80\r\n.\r\n", "\x00\xff\x80\r\n", ""},
		{"long line", strings.Repeat("x", 300_000) + "\r\n.\r\n", strings.Repeat("x", 300_000) + "\r\n", ""},
		{"lines of dots", strings.Repeat("..\r\n", 50_000) + ".\r\n", strings.Repeat(".\r\n", 50_000), ""},
		{"many CRs", strings.Repeat("\r", 70_000) + "\n.\r\n", strings.Repeat("\r", 70_000) + "\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := cannedWire(&canned{data: []byte(test.stream)})
			b := newBody(w, 1, 0)
			got, err := io.ReadAll(b)
			if err != nil || string(got) != test.message {
				t.Fatalf("got %.100q, %v; want %.100q", got, err, test.message)
			}
			if rest := string(w.buffered()); rest != test.rest {
				t.Errorf("left in the wire: %q, want %q", rest, test.rest)
			}
			if n, err := b.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("after the end: %d, %v", n, err)
			}
		})
	}
}

func TestBodyCutOff(t *testing.T) {
	const stream = "a\r\n..b\r\n\r\nc\rd\ne\r\n.\r\n"
	for n := range len(stream) {
		b := newBody(cannedWire(&canned{data: []byte(stream[:n])}), 1, 0)
		got, err := io.ReadAll(b)
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut after %q: error %v", stream[:n], err)
		}
		want, _, _ := oracle([]byte(stream[:n]))
		if !bytes.HasPrefix(want, got) {
			t.Errorf("cut after %q: got %q", stream[:n], got)
		}
		if _, again := b.Read(make([]byte, 1)); again != err {
			t.Errorf("second error %v, first %v", again, err)
		}
	}
}

func TestBodyLimit(t *testing.T) {
	for _, read := range map[string]func(*body) error{
		"Read":    func(b *body) error { _, err := io.ReadAll(b); return err },
		"WriteTo": func(b *body) error { _, err := b.WriteTo(io.Discard); return err },
		"drain":   func(b *body) error { return b.drain() },
	} {
		const stream = "..345\r\n8\r\n.\r\n" // nine octets
		if err := read(newBody(cannedWire(&canned{data: []byte(stream)}), 1, 9)); err != nil {
			t.Errorf("at the limit: %v", err)
		}
		w := cannedWire(&canned{data: []byte(stream)})
		if err := read(newBody(w, 7, 8)); !errors.Is(err, ErrMessageTooLarge) || !strings.Contains(err.Error(), "message 7") {
			t.Errorf("over the limit: %v", err)
		}
		if w.err == nil {
			t.Error("over the limit: session not ended")
		}
	}
	var got bytes.Buffer
	newBody(cannedWire(&canned{data: []byte("abcdef\r\n.\r\n")}), 1, 3).WriteTo(&got)
	if got.String() != "abc" {
		t.Errorf("got %q before the limit", got.String())
	}
}

func TestBodyLocalWriteError(t *testing.T) {
	full := errors.New("disk full")
	w := cannedWire(&canned{data: []byte("a\r\n.\r\n")})
	b := newBody(w, 1, 0)
	if _, err := b.WriteTo(iotest.TruncateWriter(failingWriter{full}, 0)); err != nil {
		t.Errorf("truncating writer: %v", err)
	}
	b = newBody(cannedWire(&canned{data: []byte("a\r\n.\r\n")}), 1, 0)
	if _, err := b.WriteTo(failingWriter{full}); err != full {
		t.Errorf("got %v, want the writer's own error", err)
	}
	if rest, err := io.ReadAll(b); err != nil || string(rest) != "a\r\n" {
		t.Errorf("body after the writer's error: %q, %v", rest, err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// checkBody reads a stream in pieces, by Read with random sizes and by WriteTo, and holds both against the oracle.
func checkBody(t interface{ Fatalf(string, ...any) }, stream []byte, seed uint64) {
	want, rest, complete := oracle(stream)
	for _, direct := range []bool{false, true} {
		random := rand.New(rand.NewPCG(seed, 0))
		w := cannedWire(&canned{data: stream, pieces: func() int { return 1 + random.IntN(1<<random.IntN(12)) }})
		b := newBody(w, 1, 0)
		var got bytes.Buffer
		var err error
		if direct {
			_, err = b.WriteTo(&got)
		} else {
			for err == nil {
				p, n := make([]byte, 1+random.IntN(1<<random.IntN(10))), 0
				n, err = b.Read(p)
				got.Write(p[:n])
			}
			if err == io.EOF {
				err = nil
			}
		}
		if (err == nil) != complete {
			t.Fatalf("%q: error %v, complete %v", stream, err, complete)
		}
		if complete && !bytes.Equal(got.Bytes(), want) || !bytes.HasPrefix(want, got.Bytes()) {
			t.Fatalf("%q: got %q, want %q", stream, got.Bytes(), want)
		}
		if !complete {
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("%q: error %v", stream, err)
			}
			continue
		}
		left, _ := io.ReadAll(w.Conn)
		if left = append(bytes.Clone(w.buffered()), left...); !bytes.Equal(left, rest) {
			t.Fatalf("%q: left %q, want %q", stream, left, rest)
		}
	}
}

func FuzzBody(f *testing.F) {
	for _, seed := range []string{
		".\r\n", "a\r\n.\r\nrest", "a\n.\nb\r\n.\r\n", "..\r\n.\r\n", ".\r.\r\n\r\n.\r\n", "\r\n.\r\r\n.\r\n", "x\r\n..", "\r\r\n\n.\r\n.\r\n", "",
	} {
		f.Add([]byte(seed), uint64(1))
	}
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) { checkBody(t, stream, seed) })
}

// Any message comes back as it was, from any server that stuffs it properly, in any pieces.
func TestBodyRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.SliceOf(rapid.SampledFrom([]string{"\r\n", ".", "\r", "\n", "a", "From ", "\x00", "\xff", "\r\n.\r\n", strings.Repeat("z", 5000)})).Draw(t, "pieces")
		message := strings.Join(pieces, "")
		if message != "" && !strings.HasSuffix(message, "\r\n") {
			message += "\r\n"
		}
		stream := stuff(message)
		if want, _, complete := oracle([]byte(stream)); !complete || string(want) != message {
			t.Fatalf("the oracle itself makes %q of %q", want, message)
		}
		checkBody(t, []byte(stream+"+OK\r\n"), rapid.Uint64().Draw(t, "seed"))
	})
}

// BenchmarkBody reads ordinary mail: lines of some 70 octets, now and then one that begins with a dot.
func BenchmarkBody(b *testing.B) {
	line := strings.Repeat("The quick brown fox. ", 3) + "1234567\r\n"
	message := strings.Repeat(strings.Repeat(line, 40)+".dot\r\n", 100)
	stream := []byte(stuff(message))
	for _, direct := range []bool{false, true} {
		name := "Read"
		if direct {
			name = "WriteTo"
		}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(message)))
			c := &canned{pieces: func() int { return 16 << 10 }}
			w := cannedWire(c)
			buf := make([]byte, 64<<10)
			for b.Loop() {
				c.data = stream
				w.start, w.end = 0, 0
				body := newBody(w, 1, 0)
				if direct {
					body.WriteTo(io.Discard)
					continue
				}
				for {
					if _, err := body.Read(buf); err != nil {
						break
					}
				}
			}
		})
	}
}
