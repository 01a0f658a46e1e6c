package pop3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// An answer is what a server sends once that many commands have come.
type answer struct {
	commands int
	text     string
}

// conversation is the server's side of converse.
func conversation(pipelined bool) []answer {
	const capa = "+OK\r\nUIDL\r\nPIPELINING\r\nSASL PLAIN\r\n.\r\n"
	const stat, uidl, list = "+OK 2 8\r\n", "+OK\r\n1 a\r\n2 b\r\n.\r\n", "+OK\r\n1 4\r\n2 4\r\n.\r\n"
	const one, two = "+OK\r\na\r\n..\r\n.\r\n", "+OK\r\nb\r\n\r\n.\r\n"
	begin := []answer{{0, "+OK\r\n"}, {1, capa}, {1, "+OK\r\n"}, {1, capa}}
	end := []answer{{1, "+OK\r\n"}, {1, "+OK bye\r\n"}}
	if pipelined {
		return slices.Concat(begin, []answer{{3, stat + uidl + list}, {2, one + two}}, end)
	}
	return slices.Concat(begin, []answer{{1, stat}, {1, uidl}, {1, list}, {1, one}, {1, two}}, end)
}

// playUntil answers until so many octets were sent, and then hangs up.
func playUntil(p *peer, answers []answer, octets int) {
	for _, a := range answers {
		for range a.commands {
			if p.line() == "" {
				return
			}
		}
		if octets < len(a.text) {
			p.send(a.text[:octets])
			return
		}
		p.send(a.text)
		octets -= len(a.text)
	}
	p.expectEnd()
}

func converse(ctx context.Context, server Server) error {
	s, err := Dial(ctx, server)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Login(joe); err != nil {
		return err
	}
	listing, err := s.List()
	if err != nil {
		return err
	}
	if len(listing.Entries) != 2 || listing.Damage != nil {
		return fmt.Errorf("%w: %v", errWrong, listing)
	}
	want := []string{"a\r\n.\r\n", "b\r\n\r\n"}
	for m := range s.Retrieve([]int{1, 2}) {
		text, err := io.ReadAll(m)
		if err != nil {
			return err
		}
		if string(text) != want[m.Number-1] {
			return fmt.Errorf("%w: message %d is %q", errWrong, m.Number, text)
		}
	}
	for _, err := range s.Delete([]int{1}) {
		if err != nil {
			return err
		}
	}
	return s.Quit()
}

var errWrong = errors.New("wrong data without an error")

// The connection ends after each octet that the server sends: every time an error says so, and nothing is taken for whole.
func TestConnectionClosedAtEachPoint(t *testing.T) {
	for _, pipelined := range []bool{false, true} {
		answers := conversation(pipelined)
		whole := 0
		for _, a := range answers {
			whole += len(a.text)
		}
		for cut := 0; cut <= whole; cut++ {
			handlers := []func(*peer){func(p *peer) { playUntil(p, answers, cut) }}
			if capa := len(answers[0].text); capa <= cut && cut < capa+len(answers[1].text) {
				handlers = append(handlers, func(*peer) {}) // Dial tries again without CAPA
			}
			server := serve(t, loopback, handlers...)
			server.Pipelining = pipelined
			err := converse(t.Context(), server)
			if cut == whole {
				if err != nil {
					t.Fatalf("uncut: %v", err)
				}
				continue
			}
			if err == nil || errors.Is(err, errWrong) || is[*ProtocolError](err) || is[*ReplyError](err) {
				t.Errorf("pipelined %v, cut after %d octets: %v", pipelined, cut, err)
			}
		}
	}
}

func TestSilence(t *testing.T) {
	for name, text := range map[string]string{
		"greeting":      "",
		"half greeting": "s: +O",
		"CAPA":          "S: +OK\nC: CAPA",
		"login":         hello + "C: USER joe",
		"listing":       hello + "C: USER joe\nS: +OK\nC: PASS secret\nS: +OK\nC: STAT\nS: +OK 2 8\nC: UIDL\nS: +OK\nS: 1 a",
		"body":          hello + "C: USER joe\nS: +OK\nC: PASS secret\nS: +OK\nC: STAT\nS: +OK 2 8\nC: UIDL\nS: +OK\nS: 1 a\nS: 2 b\nS: .\nC: LIST\nS: +OK\nS: 1 4\nS: 2 4\nS: .\nC: RETR 1\nS: +OK\ns: a\\r\\n.\\r",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, loopback, script(text))
			server.Timeout = 100 * time.Millisecond
			err := converse(t.Context(), server)
			want := "was silent for 100ms"
			if name == "half greeting" {
				want = "is too slow: it has 100ms for a line"
			}
			if !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
			if hint := strings.Contains(fmt.Sprint(err), "set tls to implicit"); hint != (strings.Contains(name, "greeting")) {
				t.Errorf("hint %v in %v", hint, err)
			}
		})
	}
}

// Without a Timeout each read and each write waits five minutes.
func TestDefaultTimeout(t *testing.T) {
	for _, writing := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			here, there := net.Pipe()
			defer there.Close()
			w := newWire(here, here, &cannedServer, func() error { return nil })
			start := time.Now()
			if writing {
				io.WriteString(w, "NOOP\r\n")
			}
			_, err := w.Read(make([]byte, 4096))
			if took := time.Since(start); !errors.Is(err, os.ErrDeadlineExceeded) || took != 5*time.Minute {
				t.Errorf("writing %v: %v after %v", writing, err, took)
			}
		})
	}
}

var errStop = errors.New("stop asked for")

// Whatever the session waits for, the context's end ends it, with its cause.
func TestCancel(t *testing.T) {
	plain := func(text string) func(*testing.T, func()) Server {
		return func(t *testing.T, cancel func()) Server {
			return serve(t, loopback, func(p *peer) {
				p.play(text)
				cancel()
				p.expectEnd()
			})
		}
	}
	for name, start := range map[string]func(*testing.T, func()) Server{
		"greeting": plain("s: +O"),
		"CAPA":     plain("S: +OK\nC: CAPA"),
		"body":     plain(hello + "C: USER joe\nS: +OK\nC: PASS secret\nS: +OK\nC: STAT\nS: +OK 2 8\nC: UIDL\nS: +OK\nS: 1 a\nS: 2 b\nS: .\nC: LIST\nS: +OK\nS: 1 4\nS: 2 4\nS: .\nC: RETR 1\nS: +OK\nS: a"),
		"handshake": func(t *testing.T, cancel func()) Server {
			server := serve(t, loopback, func(p *peer) { p.r.ReadByte(); cancel(); io.ReadAll(p.r) })
			server.TLS = ImplicitTLS
			return server
		},
		"before": func(t *testing.T, cancel func()) Server {
			cancel()
			return Server{Host: "127.0.0.1", Port: 1, TLS: NoTLS}
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			err := converse(ctx, start(t, func() { cancel(errStop) }))
			if !errors.Is(err, errStop) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A context that ended between two commands is noticed before the next is sent.
func TestCancelBetweenCommands(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	s, err := Dial(ctx, serve(t, loopback, script(hello)))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	cancel(errStop)
	if err := s.Noop(); !errors.Is(err, errStop) {
		t.Errorf("Noop: %v", err)
	}
	if err := s.Quit(); !errors.Is(err, errStop) {
		t.Errorf("Quit: %v", err)
	}
}

// Nothing of a session is left when it was closed: synctest fails on goroutines that stay.
func TestCloseLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		go func() {
			io.WriteString(there, "+OK\r\n")
			io.Copy(io.Discard, there)
		}()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s, err := newSession(ctx, cannedServer, newWire(here, here, &cannedServer, func() error { return context.Cause(ctx) }))
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		s.Close()
		synctest.Wait()
		if err := s.Noop(); !errors.Is(err, errClosed) {
			t.Errorf("Noop after Close: %v", err)
		}
	})
}
