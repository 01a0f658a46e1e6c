package popsim_test

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/popsim"
)

func message(uid, body string) popsim.Message {
	return popsim.Message{UID: uid, Body: []byte(body)}
}

var two = []popsim.Message{
	message("a", "Subject: one\r\n\r\nHello\r\n"),
	message("b", "Subject: two\r\n\r\n.dot\r\n..\r\nlast without end"),
}

func TestWholeSession(t *testing.T) {
	server, account := start(t, popsim.Config{Mode: popsim.NoTLS}, two...)
	c := login(t, server)
	c.do("STAT", "+OK 2 67")
	if got := c.lines("LIST"); !slices.Equal(got, []string{"1 23", "2 44"}) {
		t.Errorf("LIST: %q", got)
	}
	if got := c.lines("UIDL"); !slices.Equal(got, []string{"1 a", "2 b"}) {
		t.Errorf("UIDL: %q", got)
	}
	c.do("LIST 2", "+OK 2 44")
	c.do("UIDL 1", "+OK 1 a")
	c.do("RETR 2", "+OK")
	if got, want := c.body(), "Subject: two\r\n\r\n.dot\r\n..\r\nlast without end\r\n"; got != want {
		t.Errorf("RETR 2: %q, want %q", got, want)
	}
	c.do("TOP 2 1", "+OK")
	if got, want := c.body(), "Subject: two\r\n\r\n.dot\r\n"; got != want {
		t.Errorf("TOP 2 1: %q, want %q", got, want)
	}
	c.do("DELE 1", "+OK")
	for _, command := range []string{"DELE 1", "RETR 1", "LIST 1", "UIDL 1", "TOP 1 0"} {
		c.do(command, "-ERR")
	}
	c.do("STAT", "+OK 1 44")
	c.do("RSET", "+OK")
	c.do("STAT", "+OK 2 67")
	c.do("dele 1", "+OK")
	c.do("NOOP", "+OK")
	c.do("LAST", "-ERR")
	c.do("QUIT", "+OK")
	c.gone()
	if left := account.Messages(); len(left) != 1 || left[0].UID != "b" {
		t.Errorf("left after QUIT: %v", left)
	}
	if account.Sessions() != 1 || account.Quits() != 1 || account.Retrieved("b") != 1 || account.Retrieved("a") != 0 {
		t.Errorf("counted %d sessions, %d quits, b %d times", account.Sessions(), account.Quits(), account.Retrieved("b"))
	}
}

func TestBadArguments(t *testing.T) {
	server, _ := start(t, popsim.Config{Mode: popsim.NoTLS}, two...)
	c := login(t, server)
	for _, command := range []string{
		"RETR", "RETR 0", "RETR 3", "RETR -1", "RETR x", "RETR 1 2", "TOP 1", "TOP 1 -1", "TOP 3 0", "TOP 1 x", "DELE 99999999999999999999",
		"LIST 3", "UIDL x", "USER joe", "PASS x", "AUTH PLAIN", "STLS", "APOP joe x", "", " ", "\x00", "XYZZY",
	} {
		c.do(command, "-ERR")
	}
	c.do("STAT", "+OK 2")
}

func TestStates(t *testing.T) {
	server, _ := start(t, popsim.Config{Mode: popsim.NoTLS}, two...)
	c := clear(t, server)
	c.expect("+OK")
	for _, command := range []string{"STAT", "LIST", "UIDL", "RETR 1", "TOP 1 0", "DELE 1", "RSET", "NOOP", "PASS open sesame", "USER", "STLS"} {
		c.do(command, "-ERR")
	}
	c.do("USER joe@example.org", "+OK")
	c.do("PASS wrong", "-ERR [AUTH]")
	c.do("PASS open sesame", "-ERR") // USER again first
	c.do("QUIT", "+OK")
	c.gone()
}

func TestAuthPlain(t *testing.T) {
	server, _ := start(t, popsim.Config{Mode: popsim.NoTLS}, two...)
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	good := encode("\x00joe@example.org\x00open sesame")
	c := clear(t, server)
	c.expect("+OK")
	for _, bad := range []string{encode("\x00joe@example.org\x00wrong"), encode("joe"), "=", "!", encode("else\x00joe@example.org\x00open sesame")} {
		c.do("AUTH PLAIN "+bad, "-ERR")
	}
	c.do("AUTH PLAIN", "+ ")
	c.do("*", "-ERR")
	c.do("AUTH CRAM-MD5", "-ERR")
	c.do("AUTH PLAIN", "+ ")
	c.do(good, "+OK")
	c.do("QUIT", "+OK")
	c = clear(t, server)
	c.expect("+OK")
	c.do("AUTH plain "+good, "+OK")
}

func TestTLS(t *testing.T) {
	server, _ := start(t, popsim.Config{}, two...)
	c := clear(t, server)
	c.encrypt(server)
	c.expect("+OK")
	if got := c.lines("CAPA"); slices.Contains(got, "STLS") || !slices.Contains(got, "SASL PLAIN") || slices.Contains(got, "PIPELINING") {
		t.Errorf("CAPA: %q", got)
	}
	c.do("USER joe@example.org", "+OK")
	c.do("PASS open sesame", "+OK")
	c.do("QUIT", "+OK")
	if _, err := c.r.ReadByte(); err != io.EOF {
		t.Errorf("TLS ended with %v, want close_notify", err)
	}
}

func TestSTLS(t *testing.T) {
	server, account := start(t, popsim.Config{Mode: popsim.StartTLS}, two...)
	c := clear(t, server)
	c.expect("+OK")
	if got := c.lines("CAPA"); !slices.Contains(got, "STLS") || slices.Contains(got, "USER") || slices.Contains(got, "SASL PLAIN") {
		t.Errorf("CAPA before STLS: %q", got)
	}
	c.do("USER joe@example.org", "-ERR")
	c.do("AUTH PLAIN", "-ERR")
	c.do("STLS", "+OK")
	c.encrypt(server)
	if got := c.lines("CAPA"); slices.Contains(got, "STLS") || !slices.Contains(got, "USER") {
		t.Errorf("CAPA after STLS: %q", got)
	}
	c.do("STLS", "-ERR")
	c.do("USER joe@example.org", "+OK")
	c.do("PASS open sesame", "+OK")
	c.do("QUIT", "+OK")
	if account.Quits() != 1 {
		t.Error("no session was counted")
	}
}

// A user name that was given before the handshake must not be good for a login after it.
func TestSTLSForgets(t *testing.T) {
	server, _ := start(t, popsim.Config{Mode: popsim.StartTLS})
	c := clear(t, server)
	c.expect("+OK")
	c.do("STLS", "+OK")
	c.encrypt(server)
	c.do("PASS open sesame", "-ERR")
}

func TestPipelining(t *testing.T) {
	const n = 500
	server, account := start(t, popsim.Config{Mode: popsim.NoTLS, Pipelining: true})
	var script strings.Builder
	for i := range n {
		account.Deliver(message(fmt.Sprint("uid", i), fmt.Sprintf("Subject: %d\r\n\r\n.%d\r\n", i, i)))
		fmt.Fprintf(&script, "RETR %d\r\nDELE %d\r\n", i+1, i+1)
	}
	c := login(t, server)
	if !slices.Contains(c.lines("CAPA"), "PIPELINING") {
		t.Error("PIPELINING is not announced")
	}
	go io.WriteString(c.conn, script.String()+"QUIT\r\n")
	for i := range n {
		c.expect("+OK")
		if got, want := c.body(), fmt.Sprintf("Subject: %d\r\n\r\n.%d\r\n", i, i); got != want {
			t.Fatalf("message %d: %q, want %q", i, got, want)
		}
		c.expect("+OK")
	}
	c.expect("+OK")
	c.gone()
	if left := len(account.Messages()); left != 0 {
		t.Errorf("%d messages left", left)
	}
}

// All answers to what came in one write leave in one write.
func TestAnswersGather(t *testing.T) {
	server, _ := start(t, popsim.Config{Mode: popsim.NoTLS}, two...)
	c := login(t, server)
	c.send("NOOP\r\nSTAT\r\nRETR 1\r\nNOOP\r\n")
	buffer := make([]byte, 4096)
	n, err := c.conn.Read(buffer)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(buffer[:n]); !strings.HasSuffix(got, "\r\n.\r\n+OK\r\n") {
		t.Errorf("first read: %q", got)
	}
}

func TestSnapshot(t *testing.T) {
	server, account := start(t, popsim.Config{Mode: popsim.NoTLS}, two...)
	c := login(t, server)
	account.Deliver(message("c", "new\r\n"))
	if n := account.Remove("a"); n != 1 {
		t.Errorf("removed %d", n)
	}
	if got := c.lines("UIDL"); !slices.Equal(got, []string{"1 a", "2 b"}) {
		t.Errorf("UIDL in the session: %q", got)
	}
	c.do("RETR 1", "+OK")
	c.body()
	c.do("DELE 2", "+OK")
	c.do("QUIT", "+OK")
	c = login(t, server)
	if got := c.lines("UIDL"); !slices.Equal(got, []string{"1 c"}) {
		t.Errorf("UIDL in the next: %q", got)
	}
}

func TestDropDeletesNothing(t *testing.T) {
	server, account := start(t, popsim.Config{Mode: popsim.NoTLS}, two...)
	c := login(t, server)
	c.do("DELE 1", "+OK")
	c.conn.Close()
	c = login(t, server) // waits for the other to be gone
	c.do("STAT", "+OK 2")
	if account.Sessions() != 2 || account.Quits() != 0 {
		t.Errorf("%d sessions, %d quits", account.Sessions(), account.Quits())
	}
}

func TestMaildropLock(t *testing.T) {
	jane := &popsim.Account{Username: "jane", Password: "x"}
	server, _ := start(t, popsim.Config{Mode: popsim.NoTLS, LockWait: -1, Accounts: []*popsim.Account{jane}}, two...)
	first := login(t, server)
	second := clear(t, server)
	second.expect("+OK")
	second.do("USER joe@example.org", "+OK")
	second.do("PASS open sesame", "-ERR [IN-USE]")
	second.do("USER jane", "+OK")
	second.do("PASS x", "+OK")
	second.do("STAT", "+OK 0 0")
	first.do("QUIT", "+OK") // lets go before it answers
	login(t, server)
}

func TestGmailDialect(t *testing.T) {
	server, account := start(t, popsim.Config{Mode: popsim.NoTLS, Dialect: popsim.Gmail, Pipelining: true})
	c := clear(t, server)
	greeting := c.expect("+OK Gpop ready for requests from 127.0.0.1 ")
	id := greeting[strings.LastIndexByte(greeting, ' ')+1:]
	before := []string{"USER", "RESP-CODES", "EXPIRE 0", "LOGIN-DELAY 300", "TOP", "UIDL", "X-GOOGLE-RICO", "SASL PLAIN XOAUTH2 OAUTHBEARER"}
	if got := c.lines("CAPA"); !slices.Equal(got, before) {
		t.Errorf("CAPA before login: %q", got)
	}
	account.Deliver(popsim.Message{Body: []byte("x\r\n"), Received: time.UnixMilli(1_700_000_000_000)})
	c.do("USER joe@example.org", "+OK send PASS")
	c.do("PASS wrong", "-ERR [AUTH] Username and password not accepted.")
	c.do("USER joe@example.org", "+OK send PASS")
	c.do("PASS open sesame", "+OK Welcome.")
	after := []string{"USER", "RESP-CODES", "PIPELINING", "EXPIRE 0", "LOGIN-DELAY 300", "TOP", "UIDL", "X-GOOGLE-RICO"}
	if got := c.lines("CAPA"); !slices.Equal(got, after) {
		t.Errorf("CAPA after login: %q", got)
	}
	for _, exchange := range [][2]string{
		{"", "-ERR Command not understood"}, {"LIST 1", "+OK 1 3"}, {"UIDL 1", "+OK 1 GmailId18bcfe5680000000"},
		{"STAT", "+OK 1 3"}, {"NOOP", "+OK"}, {"LAST", "-ERR Not supported"}, {"DELE 1", "+OK marked for deletion"},
		{"RSET", "+OK"}, {"XYZZY", "-ERR Command not understood"},
	} {
		if got := c.do(exchange[0], ""); got != exchange[1] {
			t.Errorf("%s: %q, want %q", exchange[0], got, exchange[1])
		}
	}
	for command, want := range map[string]string{"LIST": "+OK 1 messages (3 bytes)", "UIDL": "+OK", "RETR 1": "+OK message follows", "TOP 1 0": "+OK message follows"} {
		if got := c.do(command, ""); got != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
		c.body()
	}
	c.do("QUIT", "+OK Farewell.")
	c = clear(t, server)
	greeting = c.expect("+OK")
	if other := greeting[strings.LastIndexByte(greeting, ' ')+1:]; other == id {
		t.Errorf("two sessions have the id %s", id)
	}
	c.do("QUIT", "+OK Bye ")
	c = clear(t, server)
	c.expect("+OK")
	c.do("UTF8", "-ERR bad command ")
	c.gone()
}

func TestListedSizes(t *testing.T) {
	for _, tt := range []struct {
		name string
		size func(popsim.Message) int64
		want string
	}{
		{"true", nil, "+OK 2 67"},
		{"wrong", popsim.WrongBy(-30), "+OK 2 14"},
		{"LF", popsim.CountLF, "+OK 2 59"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, _ := start(t, popsim.Config{Mode: popsim.NoTLS, ListedSize: tt.size}, two...)
			if got := login(t, server).do("STAT", ""); got != tt.want {
				t.Errorf("STAT: %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLongLine(t *testing.T) {
	server, _ := start(t, popsim.Config{Mode: popsim.NoTLS})
	c := clear(t, server)
	c.expect("+OK")
	go io.WriteString(c.conn, strings.Repeat("x", 16<<10))
	c.expect("-ERR line too long")
	c.gone()
}

func TestAutologout(t *testing.T) {
	server, account := start(t, popsim.Config{Mode: popsim.NoTLS, IdleTimeout: 50 * time.Millisecond}, two...)
	c := login(t, server)
	c.do("DELE 1", "+OK")
	c.gone()
	if len(account.Messages()) != 2 {
		t.Error("autologout deleted a message")
	}
}

func TestCloseEndsSessions(t *testing.T) {
	server, _ := start(t, popsim.Config{Mode: popsim.NoTLS}, two...)
	c := login(t, server)
	stalled := clear(t, server)
	stalled.expect("+OK")
	server.SetFault(popsim.On("CAPA", 0, popsim.Stall()))
	stalled.send("CAPA\r\n")
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	c.gone()
	stalled.gone()
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("tcp", server.Addr().String()); err == nil {
		conn.Close()
		t.Error("the server still listens")
	}
}

func TestOwnCertificate(t *testing.T) {
	authority, err := popsim.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	expired, err := authority.Issue(time.Now().Add(-time.Hour), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	server, _ := start(t, popsim.Config{TLS: &tls.Config{Certificates: []tls.Certificate{expired}}})
	if server.CACertificate() != nil {
		t.Error("a CA certificate, though the server did not make one")
	}
	conn, err := tls.Dial("tcp", server.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if leaf := conn.ConnectionState().PeerCertificates[0]; leaf.NotAfter.After(time.Now()) || leaf.DNSNames[0] != "localhost" {
		t.Errorf("certificate for %q until %v", leaf.DNSNames, leaf.NotAfter)
	}
}

func TestLogHidesPasswords(t *testing.T) {
	lines := make(chan string, 100)
	server, _ := start(t, popsim.Config{Mode: popsim.NoTLS, Log: func(_ int, line string) { lines <- line }})
	c := login(t, server)
	c.do("QUIT", "+OK")
	c = clear(t, server)
	c.expect("+OK")
	c.do("AUTH PLAIN", "+ ")
	c.do(base64.StdEncoding.EncodeToString([]byte("\x00joe@example.org\x00open sesame")), "+OK")
	c.do("QUIT", "+OK")
	server.Close()
	close(lines)
	all := strings.Join(slices.Collect(func(yield func(string) bool) {
		for line := range lines {
			yield(line)
		}
	}), "\n")
	if strings.Contains(all, "sesame") || strings.Contains(all, "AGpvZUBl") {
		t.Errorf("the log shows a password:\n%s", all)
	}
	if !strings.Contains(all, "C: PASS (hidden)\nS: +OK") {
		t.Errorf("the log lacks the login:\n%s", all)
	}
}
