package pop3

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// upTo returns 1 to n.
func upTo(n int) []int {
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i + 1
	}
	return numbers
}

func TestRetrieve(t *testing.T) {
	const replies = "S: +OK\nS: one\nS: .\nS: -ERR [SYS/TEMP] not now\nS: +OK\nS: .\nS: +OK\nS: ..four\nS: .\n"
	for name, text := range map[string]string{
		"pipelined":  helloPipelining + "C: RETR 1\nC: RETR 2\nC: RETR 3\nC: RETR 9\n" + replies + "C: NOOP\nS: +OK",
		"one by one": hello + "C: RETR 1\nS: +OK\nS: one\nS: .\nC: RETR 2\nS: -ERR [SYS/TEMP] not now\nC: RETR 3\nS: +OK\nS: .\nC: RETR 9\nS: +OK\nS: ..four\nS: .\nC: NOOP\nS: +OK",
	} {
		s := scripted(t, text)
		var got []string
		for m := range s.Retrieve([]int{1, 2, 3, 9}) {
			text, err := io.ReadAll(m.Reader)
			if m.Err != err {
				t.Errorf("%s: message %d: Err %v, reading %v", name, m.Number, m.Err, err)
			}
			if m.Err != nil {
				text = []byte(m.Err.Error())
			}
			got = append(got, fmt.Sprintf("%d %s", m.Number, text))
		}
		if want := []string{"1 one\r\n", `2 server refused RETR 2: [SYS/TEMP] "not now"`, "3 ", "9 .four\r\n"}; !slices.Equal(got, want) {
			t.Errorf("%s: got %q", name, got)
		}
		if err := s.Noop(); err != nil {
			t.Errorf("%s: afterwards: %v", name, err)
		}
		s.Close()
	}
}

// Headers come as messages do, pipelined or not, and as often as the sequence is run.
func TestHeaders(t *testing.T) {
	one, two := "S: +OK top of message\nS: Subject: 1\nS: \nS: .\n", "S: -ERR what\n"
	for name, text := range map[string]string{
		"pipelined":  helloPipelining + strings.Repeat("C: TOP 4 0\nC: TOP 2 0\n"+one+two, 2) + "C: NOOP\nS: +OK",
		"one by one": hello + strings.Repeat("C: TOP 4 0\n"+one+"C: TOP 2 0\n"+two, 2) + "C: NOOP\nS: +OK",
	} {
		s := scripted(t, text)
		headers := s.Headers([]int{4, 2})
		for range 2 {
			var got []string
			for m := range headers {
				text, err := io.ReadAll(m)
				got = append(got, fmt.Sprintf("%d %q %v", m.Number, text, err))
			}
			if want := []string{`4 "Subject: 1\r\n\r\n" <nil>`, `2 "" server refused TOP 2 0: "what"`}; !slices.Equal(got, want) {
				t.Errorf("%s: got %q", name, got)
			}
		}
		if err := s.Noop(); err != nil {
			t.Errorf("%s: afterwards: %v", name, err)
		}
		s.Close()
	}
}

// Servers that send the whole message instead of its header do not get far.
func TestHeaderTooLong(t *testing.T) {
	line := strings.Repeat("x", 1022) + "\r\n"
	for lines, long := range map[int]bool{4096: false, 4097: true} {
		s, c := cannedSession("+OK\r\n" + strings.Repeat(line, lines) + ".\r\n")
		s.server.MaxMessage = 10 // is for messages
		for m := range s.Headers([]int{7}) {
			n, err := io.Copy(io.Discard, m)
			if n != maxHeader || (err != nil) != long || c.closed != long {
				t.Errorf("%d lines: %d octets, %v, closed %v", lines, n, err, c.closed)
			}
			if long && (!is[*ProtocolError](err) || !strings.Contains(err.Error(), "the header of message 7 is longer than 4194304 octets")) {
				t.Errorf("got %v", err)
			}
		}
	}
}

// Bodies left unread, read in part, or copied by WriteTo keep the session in step; a stale reader never claims an end.
func TestRetrieveUnread(t *testing.T) {
	for _, begin := range []string{hello, helloPipelining} {
		text := begin + "C: RETR 1\nC: RETR 2\nC: RETR 3\nS: +OK\nS: one\nS: .\nS: +OK\nS: two\nS: .\nS: +OK\nS: three\nS: .\nC: NOOP\nS: +OK"
		if begin == hello {
			text = begin + "C: RETR 1\nS: +OK\nS: one\nS: .\nC: RETR 2\nS: +OK\nS: two\nS: .\nC: RETR 3\nS: +OK\nS: three\nS: .\nC: NOOP\nS: +OK"
		}
		s := scripted(t, text)
		var first io.Reader
		for m := range s.Retrieve(upTo(3)) {
			switch m.Number {
			case 1:
				first = m
				io.ReadFull(m, make([]byte, 2))
			case 2:
				if _, err := first.Read(make([]byte, 9)); !errors.Is(err, errStale) {
					t.Errorf("stale reader: %v", err)
				}
			case 3:
				var b bytes.Buffer
				if n, err := io.Copy(&b, m); n != 7 || err != nil || b.String() != "three\r\n" {
					t.Errorf("WriteTo: %d, %v, %q", n, err, &b)
				}
			}
		}
		if err := s.Noop(); err != nil || s.Broken() {
			t.Errorf("afterwards: %v", err)
		}
		s.Close()
	}
}

func TestMessageWriteToOfARefusedOne(t *testing.T) {
	s := scripted(t, hello+"C: RETR 1\nS: -ERR no")
	for m := range s.Retrieve(upTo(1)) {
		if _, err := io.Copy(io.Discard, m); !is[*ReplyError](err) {
			t.Errorf("got %v", err)
		}
	}
}

// An error of the connection comes from the reader in hand, or as the next message's Err, and ends the sequence.
func TestRetrieveEndsWithTheConnection(t *testing.T) {
	const cut = "C: RETR 1\nC: RETR 2\nC: RETR 3\nS: +OK\nS: one\nS: .\nS: +OK\ns: tw\nclose"
	for _, read := range []bool{true, false} {
		s := scripted(t, helloPipelining+cut)
		var seen []int
		var last error
		for m := range s.Retrieve(upTo(3)) {
			seen = append(seen, m.Number)
			last = m.Err
			if read && m.Err == nil {
				_, last = io.ReadAll(m)
			}
		}
		want := []int{1, 2}
		if !read { // draining 2 fails, 3 tells
			want = upTo(3)
		}
		if !slices.Equal(seen, want) || !errors.Is(last, io.ErrUnexpectedEOF) || !s.Broken() {
			t.Errorf("read %v: saw %v, last error %v", read, seen, last)
		}
		for m := range s.Retrieve(upTo(2)) {
			if m.Number != 1 || !errors.Is(m.Err, io.ErrUnexpectedEOF) {
				t.Errorf("afterwards: %d, %v", m.Number, m.Err)
			}
		}
		for n, err := range s.Delete(upTo(2)) {
			if n != 1 || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("afterwards: DELE %d, %v", n, err)
			}
		}
	}
}

func TestRetrieveTooLarge(t *testing.T) {
	server := serve(t, loopback, script(hello+"C: RETR 1\nS: +OK\nS: 1234567\nS: .\nC: RETR 2\nS: +OK\nS: 12345678\nS: ."))
	server.MaxMessage = 9
	s := dial(t, server)
	for m := range s.Retrieve(upTo(3)) {
		text, err := io.ReadAll(m)
		if tooLarge := errors.Is(err, ErrMessageTooLarge); tooLarge != (m.Number == 2) || len(text) != 9 {
			t.Errorf("message %d: %d octets, %v", m.Number, len(text), err)
		}
	}
	if err := s.Quit(); !errors.Is(err, ErrMessageTooLarge) || !s.Broken() {
		t.Errorf("Quit: %v", err)
	}
}

// Whoever leaves a loop while replies are under way can only close; with nothing under way the session goes on.
func TestAbandon(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		leave  func(*Session)
		broken bool
	}{
		"replies under way": {helloPipelining + "C: RETR 1\nC: RETR 2\nS: +OK\nS: .", func(s *Session) {
			for m := range s.Retrieve(upTo(2)) {
				io.ReadAll(m)
				break
			}
		}, true},
		"body under way": {hello + "C: RETR 1\nS: +OK\nS: x\nS: .", func(s *Session) {
			for range s.Retrieve(upTo(2)) {
				break
			}
		}, true},
		"one by one, body read": {hello + "C: RETR 1\nS: +OK\nS: .\nC: QUIT\nS: +OK", func(s *Session) {
			for m := range s.Retrieve(upTo(2)) {
				io.ReadAll(m)
				break
			}
		}, false},
		"last one": {helloPipelining + "C: RETR 1\nC: RETR 2\nS: +OK\nS: .\nS: -ERR\nC: QUIT\nS: +OK", func(s *Session) {
			for m := range s.Retrieve(upTo(2)) {
				if io.ReadAll(m); m.Number == 2 {
					break
				}
			}
		}, false},
		"deletions under way": {helloPipelining + "C: DELE 1\nC: DELE 2\nS: +OK", func(s *Session) {
			for range s.Delete(upTo(2)) {
				break
			}
		}, true},
		"deletions one by one": {hello + "C: DELE 1\nS: +OK\nC: QUIT\nS: +OK", func(s *Session) {
			for range s.Delete(upTo(2)) {
				break
			}
		}, false},
	} {
		s := scripted(t, test.script)
		test.leave(s)
		if s.Broken() != test.broken {
			t.Errorf("%s: broken %v", name, s.Broken())
		}
		if err := s.Quit(); (err != nil) != test.broken || (test.broken && !errors.Is(err, errAbandoned)) {
			t.Errorf("%s: Quit: %v", name, err)
		}
	}
}

// A command within a pipelined loop would get another's reply. It is refused and nothing is lost.
func TestCommandAmongReplies(t *testing.T) {
	s := scripted(t, helloPipelining+"C: RETR 1\nC: RETR 2\nS: +OK\nS: .\nS: +OK\nS: .\nC: QUIT\nS: +OK")
	for m := range s.Retrieve(upTo(2)) {
		if m.Number == 1 {
			if err := s.Noop(); !errors.Is(err, errBusy) {
				t.Errorf("NOOP among replies: %v", err)
			}
		}
	}
	if err := s.Quit(); err != nil {
		t.Error(err)
	}
}

func TestDelete(t *testing.T) {
	for _, text := range []string{
		helloPipelining + "C: DELE 3\nC: DELE 1\nC: DELE 2\nS: +OK\nS: -ERR gone\nS: +OK [IN-USE] deleted\nC: QUIT\nS: +OK",
		hello + "C: DELE 3\nS: +OK\nC: DELE 1\nS: -ERR gone\nC: DELE 2\nS: +OK\nC: QUIT\nS: +OK",
	} {
		s := scripted(t, text)
		var got []string
		for n, err := range s.Delete([]int{3, 1, 2}) {
			got = append(got, fmt.Sprint(n, " ", err))
		}
		if want := []string{"3 <nil>", `1 server refused DELE 1: "gone"`, "2 <nil>"}; !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
		if err := s.Quit(); err != nil {
			t.Error(err)
		}
	}
}

// The client sends a whole window before the first reply, never has more than that under way, and tops it up before it runs dry.
func TestWindow(t *testing.T) {
	const messages = 2000
	server := serve(t, loopback, func(p *peer) {
		p.play(helloPipelining)
		commands := make(chan string, messages)
		var received, answered atomic.Int64
		go func() {
			defer close(commands)
			for line := p.line(); line != ""; line = p.line() {
				// answered is counted before the reply leaves, so this is never more than the truth.
				if under := received.Add(1) - answered.Load(); under > maxUnderWay {
					p.t.Errorf("%d commands under way", under)
				}
				commands <- line
			}
		}()
		var window []string // the first must be full before anything is answered
		for line := range commands {
			if window = append(window, line); len(window) < min(maxUnderWay, messages-int(answered.Load())) {
				continue
			}
			for len(window) > maxUnderWay/2 || (len(window) > 0 && received.Load() == messages) {
				answered.Add(1)
				p.send(fmt.Sprintf("+OK\r\n%s\r\n.\r\n", window[0]))
				window = window[1:]
			}
		}
		if len(window) > 0 {
			p.t.Errorf("%d commands were not answered", len(window))
		}
	})
	s := dial(t, server)
	if err := s.Login(joe); err != nil {
		t.Fatal(err)
	}
	n := 0
	for m := range s.Retrieve(upTo(messages)) {
		n++
		if text, err := io.ReadAll(m); err != nil || string(text) != fmt.Sprintf("RETR %d\r\n", m.Number) {
			t.Fatalf("message %d: %q, %v", m.Number, text, err)
		}
	}
	if n != messages {
		t.Errorf("got %d messages", n)
	}
	s.Close() // the server waits for it
}

// The octets of commands under way never exceed the bound, whatever the numbers, and no command waits for ever.
func TestWindowOctets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		numbers := rapid.SliceOfN(rapid.IntRange(1, 1<<62), 1, 600).Draw(t, "numbers")
		s, c := cannedSession("")
		s.pipelined = true
		w := &window{session: s, verb: "RETR", numbers: numbers}
		octets := func() (n int) {
			for i := w.answered; i < w.sent; i++ {
				n += len(w.command(i)) + 2
			}
			return n
		}
		for range numbers {
			c.data = append(c.data, "-ERR\r\n"...)
			if err := w.topUp(); err != nil {
				t.Fatal(err)
			}
			if octets() > maxUnderWayOctets || w.sent-w.answered > maxUnderWay || w.sent == w.answered {
				t.Fatalf("%d octets, %d commands under way", octets(), w.sent-w.answered)
			}
			if refused, err := w.next(); refused == nil || err != nil {
				t.Fatal(refused, err)
			}
		}
	})
}

// A server that answers each command before it reads the next blocks while the client does not read, and lets the
// client's commands lie. With the smallest buffers for commands, and small ones for messages, all of them arrive nevertheless.
func TestPipeliningCannotDeadlock(t *testing.T) {
	const messages = 3000
	body := strings.Repeat(strings.Repeat("x", 70)+"\r\n", 60)
	listener, err := net.Listen("tcp", loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		conn.(*net.TCPConn).SetReadBuffer(1) // the kernel makes its minimum of it
		conn.(*net.TCPConn).SetWriteBuffer(32 << 10)
		p := &peer{t: t, Conn: conn, r: bufio.NewReaderSize(conn, 16)}
		p.send("+OK\r\n")
		for i := range messages {
			if !p.expect(fmt.Sprint("RETR ", i+1)) {
				return
			}
			p.send("+OK\r\n" + body + ".\r\n")
		}
	}()
	raw, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	raw.(*net.TCPConn).SetReadBuffer(32 << 10)
	raw.(*net.TCPConn).SetWriteBuffer(1)
	server := Server{Host: "127.0.0.1", Port: 1, TLS: NoTLS, Timeout: patience}
	s, err := newSession(t.Context(), server, newWire(raw, raw, &server, func() error { return context.Cause(t.Context()) }))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.pipelined = true
	for m := range s.Retrieve(upTo(messages)) {
		if n, err := m.WriteTo(io.Discard); m.Err != nil || err != nil || n != int64(len(body)) {
			t.Fatalf("message %d: %v, %d octets, %v", m.Number, m.Err, n, err)
		}
	}
	<-done
}
