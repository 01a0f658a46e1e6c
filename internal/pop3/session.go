// Package pop3 holds one session with a POP3 server: TLS, login, the listing, messages as streams, deletions.
//
// The library go-pop3 speaks the commands and reads the status lines; it does so through our wire, which has the
// deadlines, the limits and the first error. Bodies and lists are read by this package from the wire's buffer, strictly:
// a server that breaks the protocol gets a ProtocolError and a closed connection, never a guess.
package pop3

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"strconv"
	"time"

	gopop3 "github.com/knadh/go-pop3"
)

// maxCount bounds what STAT may say: more messages than any known mailbox has, and numbers that every int can hold.
const maxCount = 2_000_000

// A Session is one connection with a POP3 server. It is not safe for concurrent use; to end it from elsewhere,
// cancel the context given to Dial. Every session must be closed, by Close or Quit.
type Session struct {
	server       Server
	wire         *wire
	conn         *gopop3.Conn
	stop         func() bool // of the context's watch
	capabilities Capabilities
	pipelined    bool

	owed    int   // status lines asked for and not yet read
	current *body // the reply that is being read; nil when there is none
	deleted int   // messages marked as deleted: they keep their numbers, but STAT does not count them
}

// handover gives go-pop3 the connection that we dialled.
type handover struct{ wire *wire }

func (h handover) Dial(string, string) (net.Conn, error) { return h.wire, nil }

// newSession reads the greeting (RFC 1939 section 4). It owns the wire, also when it fails.
func newSession(ctx context.Context, server Server, w *wire) (*Session, error) {
	s := &Session{server: server, wire: w}
	s.stop = context.AfterFunc(ctx, func() { w.raw.Close() })
	conn, err := gopop3.New(gopop3.Opt{Dialer: handover{w}}).NewConn()
	if err = s.judge(greeting, err); err == nil {
		err = notNow(greeting, w.text(w.statusText))
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	s.conn = conn
	return s, nil
}

// judge makes of an error of go-pop3 what it is: the wire's error, or the server's refusal.
func (s *Session) judge(command string, err error) error {
	switch {
	case s.wire.err != nil:
		return s.wire.err
	case err != nil:
		return newReplyError(command, s.wire.text(s.wire.statusText))
	}
	return nil
}

// ready brings the session to the point where nothing is under way: a body left unread is drained, and no byte
// may have come that was not asked for. An answer before its question would be taken for another's answer.
func (s *Session) ready() error {
	if cause := s.wire.cause(); cause != nil {
		s.wire.failTransport("", cause)
	}
	if s.wire.err != nil {
		return s.wire.err
	}
	if err := s.settle(); err != nil {
		return err
	}
	if s.owed > 0 {
		return errBusy
	}
	if len(s.wire.buffered()) > 0 {
		return s.wire.fail(protocolError("answer before any question: %s", s.wire.unasked()))
	}
	return nil
}

// settle drains the reply that is being read. Whoever still holds its reader gets an error, not an early end.
func (s *Session) settle() error {
	b := s.current
	if b == nil {
		return nil
	}
	s.current = nil
	if b.err == io.EOF {
		return nil
	}
	err := b.drain()
	if err == nil {
		b.err = errStale
	}
	return err
}

// send gives a command to the wire, which sends it before the next read that would block.
func (s *Session) send(line string) error {
	if err := s.conn.Send(line); err != nil {
		return err // the wire's
	}
	s.owed++
	return nil
}

// reply reads the status line of the oldest command under way, and returns the text behind +OK.
// The name is what a ReplyError shows.
func (s *Session) reply(name string) ([]byte, error) {
	text, err := s.conn.ReadOne()
	s.owed--
	return text, s.judge(name, err)
}

// command sends a command when nothing is under way, and reads its status line.
func (s *Session) command(line string) ([]byte, error) {
	return s.secretCommand(line, line)
}

// secretCommand is command for a line whose arguments must not appear in errors.
func (s *Session) secretCommand(name, line string) ([]byte, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	if err := s.send(line); err != nil {
		return nil, err
	}
	return s.reply(name)
}

// Capabilities returns what the server's last answer to CAPA announced: after the greeting, again after STLS, again after login.
func (s *Session) Capabilities() Capabilities { return s.capabilities }

// Pipelined reports whether commands are sent ahead of the replies: after login, when the server announced PIPELINING
// (RFC 2449 section 6.6) and Server.Pipelining allows it.
func (s *Session) Pipelined() bool { return s.pipelined }

// ConnectionState returns the state of the TLS connection, and false when there is none.
func (s *Session) ConnectionState() (tls.ConnectionState, bool) {
	if conn, ok := s.wire.Conn.(*tls.Conn); ok {
		return conn.ConnectionState(), true
	}
	return tls.ConnectionState{}, false
}

// Broken reports whether the session is at its end: closed, cut off, cancelled, abandoned with replies under way, or
// ended by a server that broke the protocol. Only Close is left then.
func (s *Session) Broken() bool { return s.wire.err != nil }

// Stat returns how many messages the mailbox holds that are not marked as deleted, and their octets (RFC 1939 section 5).
func (s *Session) Stat() (messages int, octets int64, err error) {
	text, err := s.command("STAT")
	if err != nil {
		return 0, 0, err
	}
	return s.parseStat(text)
}

// InStep makes sure that replies belong to the questions that they seem to answer: it asks for one message's entry in the
// listing (LIST with a number, RFC 1939 section 5), which must be about that message. A body that ends too early, since the server did
// not stuff a line, leaves behind what would pass for replies: a *ProtocolError tells, and the session is at its end. A refusal
// is an answer to the question, too.
func (s *Session) InStep(e Entry) error {
	text, err := s.command("LIST " + strconv.Itoa(e.Number))
	if refusal(err, "LIST") == nil {
		if err != nil {
			return err
		}
		number, _, ok := leadingNumber(text)
		if !ok { // perhaps a server that lists all, whatever it is asked for
			number, err = s.seekEntry(e)
		}
		if err != nil {
			return err
		}
		if number != int64(e.Number) {
			return s.wire.fail(protocolError("the answer to LIST %d is about something else, so replies before it may be, too: %s", e.Number, shown(s.wire.text(text))))
		}
	}
	return s.ready()
}

// seekEntry reads a whole listing and returns the entry's number, if it is in there.
func (s *Session) seekEntry(e Entry) (found int64, err error) {
	err = s.lines(listBudget/lineCost, func(line []byte) error {
		number, _, ok := leadingNumber(line)
		if !ok {
			return protocolError("the answer to LIST %d is about something else, so replies before it may be, too: %s", e.Number, shown(s.wire.text(line)))
		}
		if number == int64(e.Number) {
			found = number
		}
		return nil
	})
	return found, err
}

// Reset takes the marks of deletion off all messages (RSET, RFC 1939 section 5).
func (s *Session) Reset() error {
	_, err := s.command("RSET")
	if err == nil {
		s.deleted = 0
	}
	return err
}

// Noop asks the server for nothing but an answer (RFC 1939 section 5).
func (s *Session) Noop() error {
	_, err := s.command("NOOP")
	return err
}

// Quit ends the session so that the server carries out the deletions (RFC 1939 section 6), and closes the connection in
// any case. Only nil means that the server answered +OK; with any error the deletions may or may not have been carried out.
func (s *Session) Quit() error {
	defer s.Close()
	if _, err := s.command("QUIT"); err != nil {
		return err
	}
	s.wire.setDeadline(time.Now(), s.wire.timeout)
	s.wire.Conn.Close() // politely, with TLS's close_notify; the answer has come, nothing depends on it
	return nil
}

// Close closes the connection without QUIT: the server deletes nothing. It may be called more than once, and after Quit.
func (s *Session) Close() error {
	s.stop()
	return s.wire.Close()
}

// parseStat reads "count octets" from the text of a status line. More may follow (RFC 1939 section 5).
func (s *Session) parseStat(text []byte) (int, int64, error) {
	if err := notNow("STAT", s.wire.text(text)); err != nil {
		return 0, 0, err
	}
	messages, rest, ok := leadingNumber(text)
	octets, rest, ok2 := leadingNumber(rest)
	if !ok || !ok2 || octets == math.MaxInt64 || (len(rest) > 0 && rest[0] != ' ') {
		return 0, 0, s.wire.fail(protocolError("expected two numbers from STAT, not %s", shown(s.wire.text(text))))
	}
	if messages > maxCount {
		return 0, 0, s.wire.fail(protocolError("STAT says %d messages; more than %d are not handled", messages, maxCount))
	}
	return int(messages), octets, nil
}

// leadingNumber cuts spaces and a decimal number off the front of b. Signs and no digits at all are refused. A number
// too large for an int64 comes as the largest.
func leadingNumber(b []byte) (number int64, rest []byte, ok bool) {
	for len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	i := 0
	for ; i < len(b) && '0' <= b[i] && b[i] <= '9'; i++ {
		digit := int64(b[i] - '0')
		if number > (math.MaxInt64-digit)/10 {
			number = math.MaxInt64
			continue
		}
		number = number*10 + digit
	}
	return number, b[i:], i > 0
}

// refusal gives the *ReplyError in err its whole command, and returns nil when err is something else.
func refusal(err error, command string) error {
	refused := (*ReplyError)(nil)
	if !errors.As(err, &refused) {
		return nil
	}
	refused.Command = command
	return refused
}
