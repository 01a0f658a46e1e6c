package popsim_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/popsim"
)

// client is a scripted POP3 client that knows nothing but lines.
type client struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

const patience = 10 * time.Second

// start starts a server for one account, joe with the password "open sesame", and closes it when the test ends.
func start(t *testing.T, c popsim.Config, messages ...popsim.Message) (*popsim.Server, *popsim.Account) {
	t.Helper()
	account := &popsim.Account{Username: "joe@example.org", Password: "open sesame"}
	for _, m := range messages {
		account.Deliver(m)
	}
	c.Accounts = append(c.Accounts, account)
	server, err := popsim.Start("127.0.0.1:0", c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server, account
}

// clear connects without TLS and reads no greeting.
func clear(t *testing.T, server *popsim.Server) *client {
	t.Helper()
	conn, err := net.Dial("tcp", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &client{t: t, conn: conn, r: bufio.NewReader(conn)}
}

// encrypt does the handshake, and trusts the server's own authority only.
func (c *client) encrypt(server *popsim.Server) {
	c.t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(server.CACertificate()) {
		c.t.Fatal("the server has no CA certificate")
	}
	conn := tls.Client(c.conn, &tls.Config{RootCAs: roots, ServerName: "localhost"})
	if err := conn.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.conn, c.r = conn, bufio.NewReader(conn)
}

// login connects in clear, reads the greeting and logs in.
func login(t *testing.T, server *popsim.Server) *client {
	t.Helper()
	c := clear(t, server)
	c.expect("+OK")
	c.do("USER joe@example.org", "+OK")
	c.do("PASS open sesame", "+OK")
	return c
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, text); err != nil {
		c.t.Fatal(err)
	}
}

// line reads one line, without its CRLF.
func (c *client) line() string {
	c.t.Helper()
	line, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("reading a line: %v (got %q)", err, line)
	}
	if !strings.HasSuffix(line, "\r\n") {
		c.t.Fatalf("line %q does not end in CRLF", line)
	}
	return strings.TrimSuffix(line, "\r\n")
}

// expect reads a line that begins with prefix.
func (c *client) expect(prefix string) string {
	c.t.Helper()
	line := c.line()
	if !strings.HasPrefix(line, prefix) {
		c.t.Fatalf("got %q, want %q…", line, prefix)
	}
	return line
}

// do sends a command and expects its status line.
func (c *client) do(command, prefix string) string {
	c.t.Helper()
	c.send(command + "\r\n")
	return c.expect(prefix)
}

// body reads a multi-line answer to its CRLF.CRLF and undoes the stuffing: line by line, another way than the server's.
func (c *client) body() string {
	c.t.Helper()
	var b strings.Builder
	start := true
	for {
		piece, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("body ends early: %v", err)
		}
		if start && piece == ".\r\n" {
			return b.String()
		}
		if start {
			piece = strings.TrimPrefix(piece, ".")
		}
		b.WriteString(piece)
		start = strings.HasSuffix(piece, "\r\n")
	}
}

// lines does a command with a multi-line answer of short lines.
func (c *client) lines(command string) []string {
	c.t.Helper()
	c.do(command, "+OK")
	body := strings.TrimSuffix(c.body(), "\r\n")
	if body == "" {
		return nil
	}
	return strings.Split(body, "\r\n")
}

// gone expects the end of the connection, and nothing before it.
func (c *client) gone() {
	c.t.Helper()
	rest, err := io.ReadAll(c.r)
	if nerr, ok := err.(net.Error); ok && nerr.Timeout() {
		c.t.Fatal("the server did not hang up")
	}
	if len(rest) > 0 {
		c.t.Fatalf("got %q before the end", rest)
	}
}
