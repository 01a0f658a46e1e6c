// Package popsim is a POP3 server in memory: the other side of the protocol, for `popfetchd demo`, `popfetchd sim` and for
// tests.
//
// It obeys RFC 1939 (with TOP and UIDL, without APOP), RFC 2449 (CAPA and response codes), RFC 2595 (STLS), RFC 5034
// (AUTH PLAIN), RFC 7628 (OAUTHBEARER) and knows XOAUTH2. It answers in its own words, in Gmail's or in Microsoft's, keeps
// mail as RFC 1939 has it or as Gmail does ([GmailBox]), and misbehaves where a [Fault] tells it to.
// What it holds can be asked at any time, so that a test can compare it with what was stored.
package popsim

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// TLSMode says how a connection comes to be encrypted.
type TLSMode string

// The three modes. The empty TLSMode is ImplicitTLS.
const (
	ImplicitTLS TLSMode = "implicit" // the handshake comes first
	StartTLS    TLSMode = "starttls" // STLS, RFC 2595 §4; no login before it
	NoTLS       TLSMode = "none"     // cleartext, login allowed
)

// Config says what a server is. The zero value of each field but Accounts is fit for use.
type Config struct {
	Accounts   []*Account
	TLS        *tls.Config // nil: a certificate for localhost, 127.0.0.1 and ::1 from an authority of its own
	Mode       TLSMode
	Dialect    Dialect // Plain is Gmail when one of the accounts is Gmail's
	Pipelining bool    // announce PIPELINING (RFC 2449 §6.6): Plain always, Gmail after login. Pipelined commands are served in any case

	// ListedSize is what LIST and STAT say of a message; nil: its octets, which is the truth. See WrongBy and CountLF.
	ListedSize func(Message) int64

	// Token tells whether an access token opens the account of a user name, for XOAUTH2 and OAUTHBEARER; nil: none does.
	// It is asked again at each command and within messages: once it says no, the session is cut. Called by many goroutines.
	Token       func(username, token string) bool
	Challenge   string // JSON for the client whose token is refused; empty: the constant Challenge
	TwoStepOnly bool   // AUTH with a token on the same line is a protocol error; so it is with Microsoft in any case
	OneLineOnly bool   // AUTH without is an error

	DailyOctets int64         // of messages, in any 24 hours; then an account is locked, and commands are refused with Exceeded. 0: no limit
	Suspension  time.Duration // how long it is locked; 0: an hour

	// NoSNICertificate makes a client that sends no server name (RFC 6066 §3) see a certificate that nobody signed, as
	// Google does. A client that dials an IP address sends none by itself.
	NoSNICertificate bool

	IdleTimeout time.Duration // autologout, RFC 1939 §3; 0: 10 minutes. Also the limit for each write
	LockWait    time.Duration // how long a login waits for the session that has the maildrop before [IN-USE]; 0: 2 s, negative: not at all

	Fault Fault                          // nil: a good server
	Watch func(Event)                    // is told of each login and of each session's end; called by many goroutines, and waited for
	Log   func(session int, line string) // each command ("C: …", passwords hidden) and status line ("S: …"); called by many goroutines
}

// Server is a server that was started. Its methods may be called at any time, by any goroutine.
type Server struct {
	config    Config
	listener  net.Listener
	authority *Authority // nil when the caller brought a tls.Config
	fault     atomic.Pointer[Fault]
	sessions  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
}

// Start listens on addr (host:port, port 0 for any free one) and serves until Close.
func Start(addr string, c Config) (*Server, error) {
	s := &Server{config: c, conns: make(map[net.Conn]struct{})}
	if err := s.prepare(); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("starting a POP3 server: %w", err)
	}
	s.listener = listener
	s.sessions.Add(1)
	go s.accept()
	return s, nil
}

// prepare fills in what the caller left out.
func (s *Server) prepare() error {
	c := &s.config
	switch c.Mode {
	case "":
		c.Mode = ImplicitTLS
	case ImplicitTLS, StartTLS, NoTLS:
	default:
		return fmt.Errorf("starting a POP3 server: unknown TLS mode %q", c.Mode)
	}
	if c.IdleTimeout == 0 {
		c.IdleTimeout = 10 * time.Minute
	}
	if c.LockWait == 0 {
		c.LockWait = 2 * time.Second
	}
	if c.Suspension == 0 {
		c.Suspension = time.Hour
	}
	if c.Challenge == "" {
		c.Challenge = Challenge
	}
	if c.Dialect == Plain && slices.ContainsFunc(c.Accounts, func(a *Account) bool { return a.Gmail != nil }) {
		c.Dialect = Gmail
	}
	s.SetFault(c.Fault)
	if err := s.prepareTLS(); err != nil || !c.NoSNICertificate || c.Mode == NoTLS {
		return err
	}
	return c.withoutSNI()
}

// prepareTLS makes a certificate, if the caller did not bring one.
func (s *Server) prepareTLS() error {
	c := &s.config
	if c.TLS != nil || c.Mode == NoTLS {
		return nil
	}
	authority, err := NewAuthority()
	if err != nil {
		return err
	}
	certificate, err := authority.Issue(time.Now().AddDate(1, 0, 0), "localhost", "127.0.0.1", "::1")
	if err != nil {
		return err
	}
	s.authority = authority
	c.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	return nil
}

// accept gives every connection its session, numbered from 1, until the listener is closed.
func (s *Server) accept() {
	defer s.sessions.Done()
	for number := 1; ; number++ {
		conn, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			number--
			time.Sleep(5 * time.Millisecond) // too many open files, say: the next one may do
			continue
		}
		if !s.admit(conn) {
			return
		}
		go func() {
			defer s.sessions.Done()
			defer s.dismiss(conn)
			newSession(s, number, conn).serve()
		}()
	}
}

func (s *Server) admit(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		conn.Close()
		return false
	}
	s.conns[conn] = struct{}{}
	s.sessions.Add(1)
	return true
}

func (s *Server) dismiss(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
}

// Addr is the address the server listens on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// SetFault replaces the fault of the configuration, from the next command on; nil makes the server a good one.
func (s *Server) SetFault(f Fault) { s.fault.Store(&f) }

// CACertificate is the PEM of the authority that signed the server's certificate; nil when Config.TLS was given, or TLS is off.
func (s *Server) CACertificate() []byte {
	if s.authority == nil {
		return nil
	}
	return s.authority.PEM()
}

// Close stops listening, cuts every connection and returns when the last session has ended. What a session had marked
// as deleted stays. Further calls do nothing.
func (s *Server) Close() error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	for conn := range s.conns {
		conn.Close()
	}
	s.mu.Unlock()
	if again {
		return nil
	}
	err := s.listener.Close()
	s.sessions.Wait()
	return err
}

// account finds the account of a user name, which for Gmail's may ask for recent mode; nil when there is none.
func (s *Server) account(username string) (found *Account, recent bool) {
	name, recent := cutRecent(username)
	for _, a := range s.config.Accounts {
		switch {
		case strings.EqualFold(a.Username, username):
			return a, false
		case recent && a.Gmail != nil && strings.EqualFold(a.Username, name):
			return a, true
		}
	}
	return nil, false
}

func (s *Server) log(session int, prefix, line string) {
	if s.config.Log != nil {
		s.config.Log(session, prefix+line)
	}
}
