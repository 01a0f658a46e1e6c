package pop3

import (
	"bufio"

	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A peer is the server's side of one connection, driven by a test.
type peer struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func (p *peer) send(s string) {
	if _, err := io.WriteString(p.Conn, s); err != nil {
		p.t.Errorf("server: write: %v", err)
	}
}

// line reads one command, without its CRLF; "" at the end of the connection.
func (p *peer) line() string {
	line, err := p.r.ReadString('\n')
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(line, "\r\n")
}

func (p *peer) expect(want string) bool {
	if got := p.line(); got != want {
		p.t.Errorf("server: got command %q, want %q", got, want)
		return false
	}
	return true
}

// expectEnd checks that the client sends nothing more.
func (p *peer) expectEnd() {
	rest, err := io.ReadAll(p.r)
	if len(rest) > 0 {
		p.t.Errorf("server: client sent %q after the script's end", rest)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Errorf("server: client did not close: %v", err)
	}
}

// patience is how long either side of a test waits before it calls the other stuck.
const patience = 20 * time.Second

// serve runs one handler for each connection, in order, on the network's loopback address, and waits for them at the test's end.
func serve(t *testing.T, address string, handlers ...func(*peer)) Server {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("listen: %v (the tests need 127.0.0.1 and ::1)", err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for _, handle := range handlers {
			conn, err := listener.Accept()
			if err != nil {
				t.Errorf("server: accept: %v", err)
				return
			}
			running.Go(func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(patience))
				handle(&peer{t: t, Conn: conn, r: bufio.NewReader(conn)})
			})
		}
	})
	t.Cleanup(func() { running.Wait(); listener.Close() })
	host, port, _ := net.SplitHostPort(listener.Addr().String())
	number, _ := strconv.Atoi(port)
	return Server{Host: host, Port: number, TLS: NoTLS, Timeout: patience, Pipelining: true}
}

const loopback = "127.0.0.1:0"

// script plays a conversation; at its end the client must have nothing more to say.
func script(text string) func(*peer) {
	return func(p *peer) {
		if p.play(text) {
			p.expectEnd()
		}
	}
}

// play plays the lines of a script. "C: " is a command that must come, "S: " a line to send, "s: " the same without CRLF and with
// Go's escapes. Lines that follow each other leave in one write. "close" hangs up at once: play returns false.
func (p *peer) play(text string) bool {
	var out strings.Builder
	for line := range strings.Lines(text) {
		verb, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch verb {
		case "S":
			out.WriteString(rest + "\r\n")
		case "s":
			raw, err := strconv.Unquote(`"` + rest + `"`)
			if err != nil {
				p.t.Errorf("script: %q: %v", rest, err)
			}
			out.WriteString(raw)
		case "C":
			p.send(out.String())
			out.Reset()
			if !p.expect(rest) {
				return false
			}
		case "close":
			p.send(out.String())
			return false
		case "":
		default:
			p.t.Errorf("script: unknown line %q", line)
		}
	}
	p.send(out.String())
	return true
}

// secure plays a handler behind a TLS handshake.
func secure(config *tls.Config, handle func(*peer)) func(*peer) {
	return func(p *peer) {
		conn := tls.Server(p.Conn, config)
		if err := conn.Handshake(); err != nil {
			return // the client's test tells what went wrong
		}
		handle(&peer{t: p.t, Conn: conn, r: bufio.NewReader(conn)})
	}
}

// Beginnings of scripts.
const (
	hello = "S: +OK ready\nC: CAPA\nS: -ERR what\n"

	helloPipelining = `S: +OK ready
C: CAPA
S: +OK
S: USER
S: .
C: USER joe
S: +OK
C: PASS secret
S: +OK
C: CAPA
S: +OK
S: PIPELINING
S: .
`
)

var joe = Credentials{Username: "joe", Password: "secret"}

// dial opens a session with the server or ends the test.
func dial(t *testing.T, server Server) *Session {
	t.Helper()
	s, err := Dial(t.Context(), server)
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// scripted opens a session with a server that plays the script.
func scripted(t *testing.T, text string) *Session {
	t.Helper()
	s := dial(t, serve(t, loopback, script(text)))
	if strings.HasPrefix(text, helloPipelining) {
		if err := s.Login(joe); err != nil {
			t.Fatalf("Login: %v", err)
		}
		if !s.Pipelined() {
			t.Fatal("session is not pipelined")
		}
	}
	return s
}

func is[E error](err error) bool {
	var want E
	return errors.As(err, &want)
}

// A canned connection serves bytes from memory in pieces and takes whatever is written.
type canned struct {
	data   []byte
	pieces func() int // the most the next Read returns; nil: all there is
	sent   []byte
	closed bool
}

func (c *canned) Read(p []byte) (int, error) {
	if c.closed {
		return 0, net.ErrClosed
	}
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := len(c.data)
	if c.pieces != nil {
		n = min(n, max(1, c.pieces()))
	}
	n = copy(p, c.data[:n])
	c.data = c.data[n:]
	return n, nil
}

func (c *canned) Write(p []byte) (int, error) {
	c.sent = append(c.sent, p...)
	return len(p), nil
}

func (c *canned) Close() error                     { c.closed = true; return nil }
func (c *canned) LocalAddr() net.Addr              { return nil }
func (c *canned) RemoteAddr() net.Addr             { return nil }
func (c *canned) SetDeadline(time.Time) error      { return nil }
func (c *canned) SetReadDeadline(time.Time) error  { return nil }
func (c *canned) SetWriteDeadline(time.Time) error { return nil }

var cannedServer = Server{Host: "test", Port: 110, TLS: NoTLS}

func cannedWire(c net.Conn) *wire {
	return newWire(c, c, &cannedServer, func() error { return nil })
}
