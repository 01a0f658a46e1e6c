package pop3

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

// flood plays a script and then says the same for ever, until the client hangs up.
func flood(text, then string) func(*peer) {
	return func(p *peer) {
		p.play(text)
		for {
			if _, err := io.WriteString(p.Conn, then); err != nil {
				return
			}
		}
	}
}

// Replies without end end the session, and soon.
func TestEndlessReplies(t *testing.T) {
	const capa = "S: +OK\nC: CAPA\n"
	noise := strings.Repeat("x", 1<<16)
	login := func(s *Session) error { return s.Login(joe) }
	for _, test := range []struct {
		name, script, then string
		call               func(*Session) error
		want               string
	}{
		{"greeting", "", "+OK " + noise, nil, "line is longer than 2048 octets"},
		{"greetings", "", "+OK\r\n", nil, "answer before any question"},
		{"noise", "", noise, nil, "line is longer than 2048 octets"},
		{"empty lines", "", "\r\n", nil, `expected +OK or -ERR, not ""`},
		{"capabilities", capa + "S: +OK\n", "TOP\r\n", nil, "list is longer than the 100 lines it may have"},
		{"capability", capa + "S: +OK\n", noise, nil, "line is longer than 1024 octets"},
		{"status line", hello + "C: USER joe\ns: +OK \n", noise, login, "line is longer than 2048 octets"},
		{"refusal", hello + "C: USER joe\ns: -ERR \n", noise, login, "line is longer than 2048 octets"},
		{"challenge", hello + "C: AUTH PLAIN AGpvZQBzZWNyZXQ=\ns: + \n", noise, func(s *Session) error {
			return s.Login(Credentials{Username: "joe", Password: "secret", Mechanism: SASLPlain})
		},
			"line is longer than 2048 octets"},
		{"unique-ids", hello + "C: STAT\nS: +OK 5 1\nC: UIDL\nS: +OK\n", "1 a\r\n", listAll, "list is longer than the 1005 lines it may have"},
		{"unique-id", hello + "C: STAT\nS: +OK 5 1\nC: UIDL\nS: +OK\ns: 1 \n", noise, listAll, "line is longer than 1024 octets"},
		{"header", hello + "C: TOP 1 0\nS: +OK\n", noise, func(s *Session) error {
			for m := range s.Headers([]int{1}) {
				if _, err := io.Copy(io.Discard, m); err != nil {
					return err
				}
			}
			return nil
		}, "the header of message 1 is longer than"},
	} {
		s, err := Dial(t.Context(), serve(t, loopback, flood(test.script, test.then)))
		if err == nil && test.call != nil {
			err = test.call(s)
		}
		if !is[*ProtocolError](err) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", test.name, err, test.want)
		}
		if err == nil || s != nil && !s.Broken() {
			t.Errorf("%s: the session goes on", test.name)
		}
	}
}

// What comes in clear where TLS begins is no part of the session, whenever it comes.
func TestClearTextInHandshake(t *testing.T) {
	server := serve(t, loopback, func(p *peer) {
		p.play(offersSTLS + "C: STLS\nS: +OK\n")
		p.r.ReadByte() // the handshake has begun
		io.WriteString(p.Conn, "+OK injected\r\n")
		io.Copy(io.Discard, p.r)
	})
	server.TLS = StartTLS
	if _, err := Dial(t.Context(), server); !is[*TLSError](err) || strings.Contains(err.Error(), "injected") {
		t.Errorf("got %T %v", err, err)
	}
}

// Servers that know nothing newer than TLS 1.1 answer our hello with their own version, or refuse it.
func TestOldTLS(t *testing.T) {
	answer := func(version string) string { // record, handshake header, version, random, no session, a cipher suite, no compression
		return "\x16" + version + "\x00\x2a" + "\x02\x00\x00\x26" + version + strings.Repeat("r", 32) + "\x00" + "\xc0\x13" + "\x00"
	}
	for name, said := range map[string]string{
		"SSL 3.0":           answer("\x03\x00"),
		"TLS 1.0":           answer("\x03\x01"),
		"TLS 1.1":           answer("\x03\x02"),
		"protocol version":  "\x15\x03\x01\x00\x02\x02\x46",
		"handshake failure": "\x15\x03\x01\x00\x02\x02\x28",
	} {
		server := serve(t, loopback, func(p *peer) {
			p.r.ReadByte()
			io.WriteString(p.Conn, said)
			io.Copy(io.Discard, p.r)
		})
		server.TLS = ImplicitTLS
		if _, err := Dial(t.Context(), server); !is[*TLSError](err) || !strings.Contains(err.Error(), "TLS 1.2 or newer is needed") {
			t.Errorf("%s: got %T %v", name, err, err)
		}
	}
}

// Shears cut a connection after that many octets, in the midst of a TLS record if need be.
type shears struct {
	net.Conn
	closed bool // as they are once the handshake is over
	left   int
}

func (s *shears) Write(p []byte) (int, error) {
	if !s.closed {
		return s.Conn.Write(p)
	}
	n, _ := s.Conn.Write(p[:min(s.left, len(p))])
	if s.left -= n; n < len(p) {
		s.Conn.Close()
		return n, io.ErrClosedPipe
	}
	return n, nil
}

// Whoever cuts a TLS connection can make nothing look whole: neither by an end of TCP, with or without close_notify, nor within a record.
func TestCutTLS(t *testing.T) {
	a := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{a.issue(t, nil)}}
	const reply = "+OK\r\nbody\r\n..\r\n.\r\n"
	sessions := map[string]func(conn *tls.Conn, shears *shears){
		"whole":        func(conn *tls.Conn, _ *shears) { io.WriteString(conn, reply) },
		"before it":    func(*tls.Conn, *shears) {},
		"close_notify": func(conn *tls.Conn, _ *shears) { io.WriteString(conn, reply[:len(reply)-1]); conn.Close() },
		"no notify":    func(conn *tls.Conn, _ *shears) { io.WriteString(conn, reply[:len(reply)-3]) },
		"in a record": func(conn *tls.Conn, shears *shears) {
			shears.closed, shears.left = true, 5+len(reply)
			io.WriteString(conn, reply)
		},
		"between records": func(conn *tls.Conn, shears *shears) {
			io.WriteString(conn, reply[:8])
			shears.closed = true
			io.WriteString(conn, reply[8:])
		},
	}
	for name, end := range sessions {
		server := serve(t, loopback, func(p *peer) {
			raw := &shears{Conn: p.Conn}
			conn := tls.Server(raw, config)
			secured := &peer{t: p.t, Conn: conn, r: bufio.NewReader(conn)}
			if secured.play(hello + "C: RETR 1\n") {
				end(conn, raw)
			}
		})
		server.TLS, server.RootCAs = ImplicitTLS, a.pool()
		err := retrieveOne(dial(t, server))
		if name == "whole" && err != nil || name != "whole" && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
