package pop3

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A drip says pieces of text, each after a while. The time is synctest's.
type drip struct {
	text  string
	piece int
	every time.Duration
}

// send drips until the client hangs up.
func (d drip) send(to net.Conn) error {
	for text := d.text; text != ""; {
		<-time.After(d.every)
		n := min(d.piece, len(text))
		if _, err := io.WriteString(to, text[:n]); err != nil {
			return err
		}
		text = text[n:]
	}
	return nil
}

// dripping opens a session with a server that says what it drips whatever it is asked.
func dripping(t *testing.T, drips ...drip) *Session {
	here, there := net.Pipe()
	var running sync.WaitGroup
	t.Cleanup(func() { here.Close(); running.Wait() })
	go io.Copy(io.Discard, there)
	running.Go(func() {
		defer there.Close()
		for _, d := range append([]drip{{"+OK\r\n", 5, 0}}, drips...) {
			if d.send(there) != nil {
				return
			}
		}
	})
	s, err := newSession(t.Context(), cannedServer, newWire(here, here, &cannedServer, func() error { return context.Cause(t.Context()) }))
	if err != nil {
		t.Fatal(err)
	}
	s.pipelined = true
	return s
}

func listAll(s *Session) error {
	_, err := s.List()
	return err
}

func retrieveOne(s *Session) error {
	for m := range s.Retrieve([]int{1}) {
		if _, err := io.Copy(io.Discard, m); err != nil {
			return err
		}
	}
	return nil
}

// The timeout is five minutes. Whoever sends just enough not to be silent does not hold the session.
func TestTooSlow(t *testing.T) {
	const lists = "+OK 100000 1\r\n+OK\r\n"
	line := func(n int) string { return strings.Repeat("1 a\r\n", n) }
	for name, test := range map[string]struct {
		call  func(*Session) error
		drips []drip
		ends  time.Duration
		want  string
	}{
		"status line":            {(*Session).Noop, []drip{{"+OK and so on\r\n", 1, 70 * time.Second}}, 5 * time.Minute, "is too slow: it has 5m0s for a line"},
		"status line, at last":   {(*Session).Noop, []drip{{"+OK", 3, 4 * time.Minute}, {" ", 1, 61 * time.Second}}, 5 * time.Minute, "is too slow"},
		"STAT, then silence":     {listAll, []drip{{"+OK 5 1\r\n", 99, time.Minute}, {"+OK\r\n", 9, time.Hour}}, 6 * time.Minute, "was silent for 5m0s"},
		"one octet of a list":    {listAll, []drip{{lists, 99, 0}, {line(99), 1, 70 * time.Second}}, 5 * time.Minute, "is too slow"},
		"one line of a list":     {listAll, []drip{{lists, 99, 0}, {line(99), 5, 4 * time.Minute}}, 5*time.Minute + 5*time.Second/64, "in a longer reply a second for each 64 octets"},
		"half a line of a list":  {listAll, []drip{{lists + line(9999) + "1 ", 99999, 0}, {"x", 1, 299 * time.Second}, {"x", 1, 2 * time.Second}}, 300 * time.Second, "is too slow"},
		"a list that drips":      {listAll, []drip{{lists, 99, 0}, {line(100_000), 100, time.Second}}, 20 * time.Minute, "its lists took more than 20m0s"},
		"one octet of a message": {retrieveOne, []drip{{"+OK\r\n", 5, 0}, {"body", 1, 4 * time.Minute}}, 5*time.Minute + time.Second/64, "is too slow"},
		"half the rate":          {retrieveOne, []drip{{"+OK\r\n", 5, 0}, {strings.Repeat("body\r\n", 9999), 32, 1100 * time.Millisecond}}, 549*time.Second + time.Second/2, "is too slow"},
		"message, then silence":  {retrieveOne, []drip{{"+OK\r\n", 5, 0}, {strings.Repeat("body", 9999), 99999, 0}, {".", 1, time.Hour}}, 5 * time.Minute, "was silent for 5m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := dripping(t, test.drips...)
				start := time.Now()
				err := test.call(s)
				if !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), test.want) || !s.Broken() {
					t.Errorf("got %v, want %s", err, test.want)
				}
				if took := time.Since(start); took != test.ends {
					t.Errorf("it took %v, want %v", took, test.ends)
				}
			})
		})
	}
}

// The slowest lines in use, long pauses, and our own dawdling end no session.
func TestSlowEnough(t *testing.T) {
	const baud1200 = time.Second / 10 // for twelve octets
	message := strings.Repeat(strings.Repeat("x", 70)+"\r\n", 600) + ".\r\n"
	list := "+OK 2000 1\r\n+OK\r\n" + strings.Repeat("1 0123456789\r\n", 2000) + ".\r\n+OK\r\n" + strings.Repeat("1 1\r\n", 2000) + ".\r\n"
	var pauses []drip
	for range 20 {
		pauses = append(pauses, drip{message[:64*300], 64 * 300, 299 * time.Second})
	}
	for name, test := range map[string]struct {
		call  func(*Session) error
		drips []drip
	}{
		"status line of a teletype": {(*Session).Noop, []drip{{"+OK ready when you are\r\n", 1, 10 * time.Second}}},
		"list at 1200 baud":         {listAll, []drip{{list, 12, baud1200}}},
		"message at 1200 baud":      {retrieveOne, []drip{{"+OK\r\n" + message, 12, baud1200}}},
		"message with pauses":       {retrieveOne, append(append([]drip{{"+OK\r\n", 5, 299 * time.Second}}, pauses...), drip{"\r\n.\r\n", 5, 299 * time.Second})},
		"we ourselves dawdle": {func(s *Session) error {
			for m := range s.Retrieve([]int{1}) {
				for {
					<-time.After(time.Hour)
					if _, err := m.Read(make([]byte, 100)); err != nil {
						return m.Err
					}
				}
			}
			return nil
		}, []drip{{"+OK\r\n" + message[len(message)-1000:], 10, 0}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := dripping(t, test.drips...)
				defer s.Close()
				if err := test.call(s); err != nil || s.wire.err != nil {
					t.Errorf("got %v, %v", err, s.wire.err)
				}
			})
		})
	}
}

// Below TLS, too, an octet now and then is not enough.
func TestSlowTLS(t *testing.T) {
	for name, handshaken := range map[string]bool{"handshake": false, "record": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAuthority(t)
				config := &tls.Config{Certificates: []tls.Certificate{a.issue(t, nil)}}
				here, there := net.Pipe()
				var running sync.WaitGroup
				t.Cleanup(func() { here.Close(); running.Wait() })
				running.Go(func() {
					defer there.Close()
					if handshaken {
						if err := tls.Server(there, config).Handshake(); err != nil {
							t.Error(err)
						}
					}
					go io.Copy(io.Discard, there)
					drip{"\x17\x03\x03\x40\x00" + strings.Repeat("x", 1<<14), 1, 70 * time.Second}.send(there)
				})
				server := Server{Host: "localhost", Port: 995, TLS: ImplicitTLS, RootCAs: a.pool()}
				start := time.Now()
				conn, err := handshake(t.Context(), here, &server)
				if err == nil {
					_, err = newSession(t.Context(), server, newWire(here, conn, &server, func() error { return nil }))
				}
				if took := time.Since(start); !errors.Is(err, os.ErrDeadlineExceeded) || took != 5*time.Minute {
					t.Errorf("%v after %v", err, took)
				}
			})
		})
	}
}
