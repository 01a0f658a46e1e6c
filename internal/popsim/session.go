package popsim

import (
	"bufio"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"iter"
	"net"
	"strconv"
	"strings"
	"time"
)

const (
	// maxLine is the longest line a client may send: RFC 5034 §4 asks for 12,288 octets in an AUTH exchange.
	maxLine = 16 << 10
	// bufferSize lets a body leave in few writes, each several TLS records.
	bufferSize = 64 << 10
)

// How a session ends, when not by an error of the connection.
var (
	errDone = errors.New("the session is over")       // what was written is sent, TLS ends properly
	errCut  = errors.New("the connection is cut")     // what was written is sent, the line goes dead
	errUp   = errors.New("the connection goes TLS")   // not an end: STLS was answered
	errMute = errors.New("the server says no more")   // until the client hangs up
	errLong = errors.New("the client's line is long") // no way to stay in step
)

// session is one connection, served by one goroutine.
type session struct {
	server *Server
	number int
	id     string // what Gmail shows at the end of some answers
	tcp    net.Conn
	link   *link
	r      *bufio.Reader
	w      *bufio.Writer
	buffer []byte // for bodies

	counts  map[string]int      // of commands, for Request.Nth
	user    string              // from USER, until PASS
	next    func(string) answer // takes the next line, when the client owes one that is no command
	account *Account            // nil before login and after QUIT: who has it holds the maildrop's lock
	list    []*entry
	view    view
	popped  int    // before QUIT
	method  string // how the client logged in
	token   string // with which it did, if with one
}

// answer is what a command comes to; nothing is sent before it is complete. At most one of raw, lines and body is set.
type answer struct {
	status string           // without the line end
	mute   bool             // no status is sent
	raw    string           // in its place
	lines  iter.Seq[string] // of a multi-line answer, before stuffing
	body   io.Reader        // likewise
	sent   func()           // called when all of it was written
	action Action           // what is to go wrong with lines or body
	end    error            // for afterwards
}

// link is the connection below the buffers. Its Read first flushes what was written: answers to pipelined commands
// gather until the next command would have to be waited for.
type link struct {
	net.Conn
	w       *bufio.Writer
	timeout time.Duration
}

func (l *link) Read(p []byte) (int, error) {
	if err := l.w.Flush(); err != nil {
		return 0, err
	}
	if err := l.SetReadDeadline(time.Now().Add(l.timeout)); err != nil {
		return 0, err
	}
	return l.Conn.Read(p)
}

func (l *link) Write(p []byte) (int, error) {
	if err := l.SetWriteDeadline(time.Now().Add(l.timeout)); err != nil {
		return 0, err
	}
	return l.Conn.Write(p)
}

func newSession(server *Server, number int, tcp net.Conn) *session {
	l := &link{Conn: tcp, timeout: server.config.IdleTimeout}
	l.w = bufio.NewWriterSize(l, bufferSize)
	var id [8]byte
	rand.Read(id[:])
	return &session{
		server: server, number: number, id: hex.EncodeToString(id[:]), tcp: tcp,
		link: l, r: bufio.NewReaderSize(l, maxLine), w: l.w,
		counts: make(map[string]int),
	}
}

// serve holds the session from the handshake to its end.
func (s *session) serve() {
	err := s.converse()
	s.w.Flush()
	s.letGo() // before the client can see the end and log in again
	if errors.Is(err, errDone) {
		s.link.Close()
	}
	s.tcp.Close()
}

func (s *session) letGo() {
	if s.account != nil {
		s.account.leave()
		s.tell(Event{Kind: Left})
		s.account = nil
	}
}

func (s *session) converse() error {
	if s.server.config.Mode == ImplicitTLS {
		if err := s.handshake(); err != nil {
			return err
		}
	}
	if err := s.perform("CONNECT", "", func() answer { return answer{status: s.greeting()} }); err != nil {
		return err
	}
	for {
		line, err := s.readLine()
		if errors.Is(err, errLong) {
			return s.send(answer{status: "-ERR line too long", end: errDone})
		}
		if err != nil {
			return err
		}
		if err := s.handle(line); err != nil {
			return err
		}
	}
}

// handshake encrypts the connection from here on. What a client sent in clear after STLS is thrown away, lest it
// count as said under TLS (RFC 2595 §4).
func (s *session) handshake() error {
	if err := s.w.Flush(); err != nil {
		return err
	}
	conn := tls.Server(s.link.Conn, s.server.config.TLS)
	if err := conn.SetDeadline(time.Now().Add(s.link.timeout)); err != nil {
		return err
	}
	if err := conn.Handshake(); err != nil {
		return err
	}
	s.link.Conn = conn
	s.r.Reset(s.link)
	return nil
}

func (s *session) encrypted() bool {
	_, ok := s.link.Conn.(*tls.Conn)
	return ok
}

// readLine reads to the next LF; a bare one will do, as with most servers.
func (s *session) readLine() (string, error) {
	line, err := s.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", errLong
	}
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(string(line[:len(line)-1]), "\r"), nil
}

// handle serves one line.
func (s *session) handle(line string) error {
	if next := s.next; next != nil {
		s.next = nil
		s.server.log(s.number, "C: ", "(hidden)")
		return s.send(next(line))
	}
	name, arg, _ := strings.Cut(line, " ")
	name = strings.ToUpper(name)
	switch name {
	case "PASS":
		s.server.log(s.number, "C: ", "PASS (hidden)")
	case "AUTH":
		mechanism, _, _ := strings.Cut(arg, " ")
		s.server.log(s.number, "C: ", "AUTH "+mechanism)
	default:
		s.server.log(s.number, "C: ", line)
	}
	if s.expired() {
		return s.send(answer{status: "-ERR " + SessionExpired, end: errDone})
	}
	return s.perform(name, arg, func() answer { return s.execute(name, arg) })
}

// perform asks for a fault, obeys, and answers.
func (s *session) perform(name, arg string, obeyed func() answer) error {
	return s.send(s.apply(s.fault(name, arg), name, obeyed))
}

// apply obeys a command as an action lets it.
func (s *session) apply(action Action, name string, obeyed func() answer) answer {
	switch action.kind {
	case refuse:
		a := answer{status: "-ERR " + action.text}
		if name == "QUIT" || name == "CONNECT" {
			a.end = errDone
		}
		return a
	case raw:
		return answer{raw: action.text, mute: true}
	case hangUp:
		return answer{mute: true, end: errCut}
	case hangUpUnanswered:
		obeyed()
		return answer{mute: true, end: errCut}
	case stall:
		return answer{mute: true, end: errMute}
	}
	a := obeyed()
	if action.kind == status || action.kind == seemEmpty {
		a.status = action.text
	}
	if action.kind == seemEmpty {
		s.list = nil
	}
	if a.action.kind == obey {
		a.action = action
	}
	return a
}

func (s *session) fault(name, arg string) Action {
	f := *s.server.fault.Load()
	if f == nil {
		return Action{}
	}
	if len(s.counts) < 100 || s.counts[name] > 0 { // a client may make up commands without end
		s.counts[name]++
	}
	r := Request{Session: s.number, Command: name, Nth: s.counts[name]}
	switch {
	case s.account != nil:
		r.Username = s.account.Username
	case name == "LOGIN":
		r.Username = arg
		return f(r)
	}
	first, _, _ := strings.Cut(arg, " ")
	if n, err := strconv.Atoi(first); err == nil {
		r.Message = n
	}
	return f(r)
}

// send writes an answer into the buffer; link.Read sends it.
func (s *session) send(a answer) error {
	var err error
	if !a.mute {
		s.server.log(s.number, "S: ", a.status)
		s.w.WriteString(a.status) // bufio.Writer keeps its first error: the last write tells
		_, err = s.w.WriteString("\r\n")
	}
	switch {
	case a.raw != "":
		_, err = s.w.WriteString(a.raw)
	case a.lines != nil:
		err = s.sendLines(a.lines, a.action)
	case a.body != nil:
		err = s.sendBody(a.body, a.action)
	}
	if err != nil {
		return err
	}
	if a.sent != nil {
		a.sent()
	}
	switch a.end {
	case errUp:
		return s.handshake()
	case errMute:
		return s.stall()
	}
	return a.end
}

func (s *session) sendLines(lines iter.Seq[string], action Action) error {
	for line := range lines {
		if action.kind == rewriteLines {
			if line = action.rewrite(line); line == "" {
				continue
			}
		}
		s.w.WriteString(line)
		if _, err := s.w.WriteString("\r\n"); err != nil {
			return err
		}
	}
	_, err := s.w.WriteString(".\r\n")
	return err
}

func (s *session) sendBody(body io.Reader, action Action) error {
	short := action.kind == hangUpInBody || action.kind == stallInBody
	if short {
		body = io.LimitReader(body, action.after)
	}
	if s.buffer == nil {
		s.buffer = make([]byte, bufferSize)
	}
	if _, err := io.CopyBuffer(&stuffer{w: s.w, place: lineStart}, body, s.buffer); err != nil {
		return err
	}
	switch {
	case action.kind == stallInBody:
		return s.stall()
	case short:
		return errCut
	}
	_, err := s.w.WriteString(".\r\n")
	return err
}

// stall listens without a word until there is nobody left; the deadline is off, for the client's is the one on trial.
func (s *session) stall() error {
	s.link.timeout = 24 * time.Hour
	_, err := io.Copy(io.Discard, s.link)
	if err == nil {
		err = errCut
	}
	return err
}
