package faults

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/test/program"
)

// A letter is a message that a scripted server holds.
type letter struct {
	uid  string
	body string // with CRLF line ends, the last one included; not stuffed
	size string // what LIST says; "" for the truth
}

func (l letter) listed() string {
	if l.size == "" {
		return strconv.Itoa(len(l.body))
	}
	return l.size
}

// stored is what a mailbox must hold of it.
func (l letter) stored() []byte { return []byte(strings.ReplaceAll(l.body, "\r\n", "\n")) }

// fiveLetters are what a scripted server holds as a rule. Some have what is special to POP3 and to an mbox.
func fiveLetters() []letter {
	var all []letter
	for i, text := range []string{
		"The first.\r\n", ".\r\n..\r\n. dots\r\n\r\n.end\r\n", "From here on\r\n>From there\r\n",
		strings.Repeat("A longer one. ", 700) + "\r\n", "\r\n\r\n",
	} {
		all = append(all, letter{
			uid:  fmt.Sprintf("uid-%d", i+1),
			body: fmt.Sprintf("From: someone@example.org\r\nMessage-ID: <%d@example.org>\r\nSubject: letter %d\r\n\r\n%s", i+1, i+1, text),
		})
	}
	return all
}

// manyLetters are n letters, in the form of uid for each one's number.
func manyLetters(n int, uid string) []letter {
	all := make([]letter, n)
	for i := range all {
		all[i] = letter{uid: fmt.Sprintf(uid, i+1), body: fmt.Sprintf("Message-ID: <%d@example.org>\r\nSubject: one of many\r\n\r\nNumber %d\r\n", i+1, i+1)}
	}
	return all
}

// An answer is what a server does when a command comes. good obeys the command and returns what a good server would
// send; unless it is called, the command has no effect.
type answer func(c *dialogue, good func() string)

// A script is what is wrong with a server. The zero script is that of a good one without TLS.
type script struct {
	// answers are by "greeting", command ("RETR"), or command and letter ("RETR 2": the second the server ever had), which goes first.
	answers map[string]answer

	capabilities func([]string) []string // changes what CAPA announces; nil result: CAPA is not known
	tls          *tls.Config             // of implicit TLS, or of STLS
	implicit     bool                    // TLS comes first
	instead      func(c *dialogue)       // in place of everything: another protocol
	keepsMail    bool                    // QUIT deletes nothing, although it says so
}

// A scripted server serves one account by a script that can be changed.
type scripted struct {
	t          testing.TB
	listener   net.Listener
	pipelining bool
	running    sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	conns    map[net.Conn]bool
	script   script
	sessions int // since the script was set
	letters  []letter
	had      []letter       // all that there ever were
	sent     map[string]int // how often each answer to a command was begun since the script was set, by key
	heard    strings.Builder
}

// startScripted starts a good server that holds the letters.
func startScripted(t testing.TB, pipelining bool, letters []letter) *scripted {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{t: t, listener: listener, pipelining: pipelining, conns: map[net.Conn]bool{}, sent: map[string]int{}}
	s.deliver(letters...)
	s.running.Go(s.accept)
	t.Cleanup(s.close)
	return s
}

func (s *scripted) port() int { return s.listener.Addr().(*net.TCPAddr).Port }

func (s *scripted) close() {
	s.mu.Lock()
	s.closed = true
	for conn := range s.conns {
		conn.Close()
	}
	s.mu.Unlock()
	s.listener.Close()
	s.running.Wait()
}

// behave changes the script for the sessions that begin from now on, and forgets what was counted and heard.
func (s *scripted) behave(sc script) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script, s.sessions = sc, 0
	s.heard.Reset()
	clear(s.sent)
}

// deliver adds letters.
func (s *scripted) deliver(letters ...letter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.letters = append(s.letters, letters...)
	s.had = append(s.had, letters...)
}

// rename changes UIDs.
func (s *scripted) rename(uid func(i int, l letter) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, l := range s.letters {
		s.letters[i].uid = uid(i, l)
	}
}

// holds is what the server has now.
func (s *scripted) holds() []letter {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.letters)
}

// everHad is what it ever had, as it is to be stored.
func (s *scripted) everHad() program.Contents {
	s.mu.Lock()
	defer s.mu.Unlock()
	return contentsOf(s.had)
}

// serial is which of all letters there ever were this is, from 1. The caller holds the lock.
func (s *scripted) serial(l letter) int {
	return 1 + slices.IndexFunc(s.had, func(had letter) bool { return had.body == l.body })
}

// asked is how often a command ("RETR" or "RETR 2") came since the script was set.
func (s *scripted) asked(command string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent[command]
}

// overheard is what came in clear since the script was set, its beginning at least.
func (s *scripted) overheard() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard.String()
}

func contentsOf(letters []letter) program.Contents {
	c := program.Contents{}
	for _, l := range letters {
		c.AddBytes(l.stored())
	}
	return c
}

// secretForms are the forms in which a login sends the password.
var secretForms = []string{program.Password, base64.StdEncoding.EncodeToString([]byte("\x00" + program.Username + "\x00" + program.Password))}

func (s *scripted) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			conn.Close()
			s.mu.Unlock()
			return
		}
		s.conns[conn] = true
		s.sessions++
		c := &dialogue{server: s, script: s.script, session: s.sessions, Conn: &overhears{conn, s}, letters: slices.Clone(s.letters),
			marked: map[int]bool{}, nth: map[string]int{}}
		s.mu.Unlock()
		s.running.Go(func() {
			defer func() {
				conn.Close()
				s.mu.Lock()
				delete(s.conns, conn)
				s.mu.Unlock()
			}()
			c.serve(conn)
		})
	}
}

// overhears keeps what a client sends in clear.
type overhears struct {
	net.Conn
	server *scripted
}

const hearing = 1 << 20 // octets that are kept

func (o *overhears) Read(p []byte) (int, error) {
	n, err := o.Conn.Read(p)
	o.server.mu.Lock()
	defer o.server.mu.Unlock()
	if o.server.heard.Len() < hearing {
		o.server.heard.Write(p[:n])
	}
	return n, err
}

// dialoguePatience is how long the server's side of a session may last.
const dialoguePatience = 2 * time.Minute

// A dialogue is one session of a scripted server.
type dialogue struct {
	server *scripted
	script script
	net.Conn
	r       *bufio.Reader
	session int // of this script, from 1
	letters []letter
	marked  map[int]bool   // DELE, by number
	nth     map[string]int // how often a command came in this session
	gone    bool
	upgrade bool // the answer to STLS was a good one
	user    string
	in      bool
}

func (c *dialogue) serve(conn net.Conn) {
	conn.SetDeadline(time.Now().Add(dialoguePatience))
	if c.script.implicit && !c.secure() {
		return
	}
	c.r = bufio.NewReader(c.Conn)
	if c.script.instead != nil {
		c.script.instead(c)
		return
	}
	c.answer("greeting", 0, func() string { return "+OK ready\r\n" })
	for !c.gone {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return
		}
		verb, argument, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		number := 0
		fmt.Sscan(argument, &number)
		c.answer(strings.ToUpper(verb), number, func() string { return c.obey(strings.ToUpper(verb), argument, number) })
		if c.upgrade && !c.gone {
			c.upgrade = false
			if !c.secure() {
				return
			}
			c.r = bufio.NewReader(c.Conn)
		}
	}
}

// secure does the TLS handshake.
func (c *dialogue) secure() bool {
	conn := tls.Server(c.Conn, c.script.tls)
	c.Conn = conn
	return conn.Handshake() == nil
}

// answer does what the script says, or else what is good.
func (c *dialogue) answer(command string, number int, good func() string) {
	keys := []string{command}
	c.server.mu.Lock()
	if 1 <= number && number <= len(c.letters) {
		keys = []string{fmt.Sprintf("%s %d", command, c.server.serial(c.letters[number-1])), command}
	}
	for _, key := range keys {
		c.nth[key]++
		c.server.sent[key]++
	}
	c.server.mu.Unlock()
	for _, key := range keys {
		if a := c.script.answers[key]; a != nil {
			a(c, good)
			return
		}
	}
	c.send(good())
}

// send sends, unless the client has gone.
func (c *dialogue) send(text string) {
	if c.gone {
		return
	}
	if _, err := io.WriteString(c.Conn, text); err != nil {
		c.gone = true
	}
}

// hangUp ends the session. Over TLS no close_notify is sent.
func (c *dialogue) hangUp() {
	c.gone = true
	if secure, ok := c.Conn.(*tls.Conn); ok {
		secure.NetConn().Close()
		return
	}
	c.Conn.Close()
}

// silence lasts until the client hangs up. Whatever it says stays unanswered.
func (c *dialogue) silence() {
	io.Copy(io.Discard, c.r)
	c.gone = true
}
