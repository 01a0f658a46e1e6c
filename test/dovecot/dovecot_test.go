package dovecot

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"iter"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// texts delivers strings.
func texts(messages ...string) iter.Seq[io.Reader] {
	return func(yield func(io.Reader) bool) {
		for _, m := range messages {
			if !yield(strings.NewReader(m)) {
				return
			}
		}
	}
}

// client speaks raw POP3.
type client struct {
	*textproto.Conn
	tb testing.TB
}

func newClient(tb testing.TB, conn net.Conn, err error) client {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	c := client{textproto.NewConn(conn), tb}
	c.line()
	return c
}

func (c client) line() string {
	c.tb.Helper()
	line, err := c.ReadLine()
	if err != nil {
		c.tb.Fatal(err)
	}
	return line
}

func (c client) cmd(format string, args ...any) string {
	c.tb.Helper()
	if err := c.PrintfLine(format, args...); err != nil {
		c.tb.Fatal(err)
	}
	reply := c.line()
	if !strings.HasPrefix(reply, "+OK") {
		c.tb.Fatalf("%s: %s", fmt.Sprintf(format, args...), reply)
	}
	return reply
}

func (c client) lines(format string, args ...any) []string {
	c.tb.Helper()
	c.cmd(format, args...)
	lines, err := c.ReadDotLines()
	if err != nil {
		c.tb.Fatal(err)
	}
	return lines
}

func (c client) login() {
	c.tb.Helper()
	c.cmd("USER someone@example.org")
	c.cmd("PASS pa:ss wörd")
}

func start(tb testing.TB, o Options) *Server {
	tb.Helper()
	s := Start(tb, o)
	if err := s.AddUser("someone@example.org", "pa:ss wörd"); err != nil {
		tb.Fatal(err)
	}
	if err := s.Deliver("someone@example.org", texts("Subject: 1\n\none\n.\n", "Subject: 2\n\ntwo")); err != nil {
		tb.Fatal(err)
	}
	return s
}

func (s *Server) trust(tb testing.TB) *tls.Config {
	tb.Helper()
	pem, err := os.ReadFile(s.CAFile)
	if err != nil {
		tb.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: roots, ServerName: "localhost"}
}

func TestPOP3(t *testing.T) {
	s := start(t, Options{UIDLFormat: "%v-%u"})
	conn, err := net.Dial("tcp", s.POP3.Addr())
	c := newClient(t, conn, err)
	if capabilities := c.lines("CAPA"); !slices.Contains(capabilities, "PIPELINING") || !slices.Contains(capabilities, "STLS") {
		t.Errorf("capabilities %q", capabilities)
	}
	c.login()
	if got, want := c.lines("RETR 1"), []string{"Subject: 1", "", "one", "."}; !slices.Equal(got, want) {
		t.Errorf("message %q, want %q", got, want)
	}
	if got, want := c.lines("LIST"), []string{"1 22", "2 17"}; !slices.Equal(got, want) {
		t.Errorf("listing %q, want %q", got, want)
	}
	if uids := c.lines("UIDL"); len(uids) != 2 || !strings.HasSuffix(uids[1], "-2") {
		t.Errorf("UIDs %q", uids)
	}
	c.cmd("DELE 1")
	c.cmd("QUIT")
	left, err := s.Messages("someone@example.org")
	if err != nil || len(left) != 1 || string(left[0]) != "Subject: 2\n\ntwo" {
		t.Errorf("left %q, %v", left, err)
	}
}

// Mail that comes right after a session must be seen by the next, however
// little time there is between the two.
func TestDeliverBetweenSessions(t *testing.T) {
	s := start(t, Options{})
	for n := 2; n < 7; n++ {
		conn, err := tls.Dial("tcp", s.POP3S.Addr(), s.trust(t))
		c := newClient(t, conn, err)
		c.login()
		if got := len(c.lines("LIST")); got != n {
			t.Fatalf("%d messages, want %d", got, n)
		}
		c.cmd("QUIT")
		if err := s.Deliver("someone@example.org", texts("x\n")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSTLSOnEveryLoopback(t *testing.T) {
	s := start(t, Options{})
	for _, host := range loopbacks() {
		conn, err := net.Dial("tcp", net.JoinHostPort(host, fmt.Sprint(int(s.POP3))))
		newClient(t, conn, err).cmd("STLS")
		config := s.trust(t)
		config.ServerName = host
		secured := client{textproto.NewConn(tls.Client(conn, config)), t}
		secured.login()
		secured.cmd("QUIT")
	}
}

func TestPasswordsChange(t *testing.T) {
	s := start(t, Options{})
	conn, err := net.Dial("tcp", s.POP3.Addr())
	c := newClient(t, conn, err)
	if err := s.AddUser("someone@example.org", "another"); err != nil {
		t.Fatal(err)
	}
	c.cmd("USER someone@example.org")
	if err := c.PrintfLine("PASS pa:ss wörd"); err != nil {
		t.Fatal(err)
	}
	if reply := c.line(); !strings.HasPrefix(reply, "-ERR [AUTH]") {
		t.Errorf("the old password is answered %q", reply)
	}
	c.cmd("USER someone@example.org")
	c.cmd("PASS another")
}

func TestNoPipelining(t *testing.T) {
	s := start(t, Options{NoPipelining: true})
	plain, err := net.Dial("tcp", s.POP3.Addr())
	secure, tlsErr := tls.Dial("tcp", s.POP3S.Addr(), s.trust(t))
	for _, c := range []client{newClient(t, plain, err), newClient(t, secure, tlsErr)} {
		c.login()
		for _, capability := range c.lines("CAPA") {
			if slices.Contains(hidden, capability) {
				t.Errorf("%s is announced", capability)
			}
		}
		if got := len(c.lines("LIST")); got != 2 {
			t.Errorf("%d messages", got)
		}
		c.cmd("QUIT")
	}
	hasty, err := net.Dial("tcp", s.POP3.Addr())
	c := newClient(t, hasty, err)
	if err := c.PrintfLine("NOOP\r\nNOOP"); err != nil {
		t.Fatal(err)
	}
	if reply, err := c.ReadLine(); err == nil {
		t.Errorf("pipelined commands were answered %q", reply)
	}
}

func TestReadMaildir(t *testing.T) {
	s := start(t, Options{})
	path := filepath.Join(t.TempDir(), "some where")
	for _, dir := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(filepath.Join(path, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.ReadMaildir(path); len(got) != 0 || err != nil {
		t.Fatalf("empty Maildir: %q, %v", got, err)
	}
	body := append([]byte("Subject: 8-bit\n\n.\n\xff\xfe"), bytes.Repeat([]byte("long"), 1<<18)...)
	for name, message := range map[string][]byte{
		fmt.Sprintf("new/1.a.host,S=%d,W=%d", len(body), len(body)+3): body,
		"cur/2.b.host,S=1,W=2:2,S":                                    []byte("\n"),
	} {
		if err := os.WriteFile(filepath.Join(path, name), message, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.ReadMaildir(path)
	want := [][]byte{bytes.ReplaceAll(body, []byte("\n"), []byte("\r\n")), []byte("\r\n")}
	if err != nil || !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("read %d messages, %v", len(got), err)
	}
}

// Stop must leave nothing behind: the ports are free again.
func TestStop(t *testing.T) {
	s := start(t, Options{})
	conn, err := net.Dial("tcp", s.POP3.Addr())
	newClient(t, conn, err).login()
	s.Stop()
	for _, port := range []Port{s.POP3, s.POP3S, s.IMAP} {
		l, err := net.Listen("tcp", port.Addr())
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
}

func TestRefusesImpossibleUsers(t *testing.T) {
	s := start(t, Options{})
	for _, name := range []string{"", "a:b", " a", "a\n"} {
		if s.AddUser(name, "x") == nil {
			t.Errorf("%q was taken", name)
		}
	}
}
