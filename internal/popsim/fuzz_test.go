package popsim_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/popsim"
)

// Whatever a client says, in whatever state: the server neither panics nor hangs, and lets go of the maildrop.
func FuzzServer(f *testing.F) {
	states := []string{
		"",
		"USER joe\r\n",
		"AUTH PLAIN\r\n",
		"USER joe\r\nPASS x\r\n",
		"USER joe\r\nPASS x\r\nDELE 1\r\n",
		"AUTH XOAUTH2\r\n",
		"AUTH OAUTHBEARER\r\n",
	}
	for state := range states {
		for _, seed := range []string{
			"", "\r\n", "\n", "QUIT\r\n", "CAPA\r\nSTAT\r\nLIST\r\nUIDL\r\nRETR 1\r\nTOP 2 1\r\nQUIT\r\n", "AGpvZQB4\r\nSTAT\r\n", "*\r\n",
			"RETR 99999999999999999999\r\nTOP 1 -1\r\nDELE 0\r\n", "\x00\xff\r\nUSER \x00\r\nPASS\r\n", "AUTH PLAIN =\r\nSTLS\r\nRSET\r\nLAST", "LIST 1 2 3\r\nuidl 2\r\n",
			xoauth2("joe", "x") + "\r\n\r\nSTAT\r\n", bearer("joe", "y") + "\r\nAQ==\r\n", "dXNlcj0BYXV0aD1CZWFyZXIgAQE=\r\n\r\n", "biwsAQEB\r\n",
		} {
			f.Add(uint8(state), seed)
		}
	}
	account := &popsim.Account{Username: "joe", Password: "x"}
	gmail := &popsim.Account{Username: "joe", Password: "x", Gmail: &popsim.GmailBox{Window: 1, Disposition: popsim.Archive}}
	var addresses []string
	for _, c := range []popsim.Config{
		{Accounts: []*popsim.Account{account}},
		{Accounts: []*popsim.Account{account}, Dialect: popsim.Gmail},
		{Accounts: []*popsim.Account{gmail}, Token: func(_, token string) bool { return token == "x" }},
	} {
		c.Mode = popsim.NoTLS
		server, err := popsim.Start("127.0.0.1:0", c)
		if err != nil {
			f.Fatal(err)
		}
		f.Cleanup(func() { server.Close() })
		addresses = append(addresses, server.Addr().String())
	}
	f.Fuzz(func(t *testing.T, state uint8, said string) {
		if len(account.Messages()) < 2 {
			account.Deliver(message("", "Subject: x\r\n\r\n.\r\n"))
			account.Deliver(message("", ""))
		}
		if gmail.Counts().Waiting == 0 {
			gmail.SaveSettings(popsim.AllMail, "")
			gmail.Deliver(message("", "x"))
		}
		for _, address := range addresses {
			converse(t, address, states[int(state)%len(states)]+said)
		}
	})
}

// converse says all of it and waits for the server to hang up. It ends with QUIT, twice as AUTH may swallow one line, so
// that the server closes first: the ports of a fuzzing client would else run out in TIME_WAIT.
func converse(t *testing.T, address, said string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	go io.WriteString(conn, said+"\r\nQUIT\r\nQUIT\r\n") // fails when the server has had enough
	answer, err := io.ReadAll(conn)
	if nerr, ok := err.(net.Error); ok && nerr.Timeout() {
		t.Fatalf("the server hangs after %q", said)
	}
	if !strings.HasPrefix(string(answer), "+OK ") || !strings.HasSuffix(string(answer), "\r\n") {
		t.Fatalf("after %q: %q (%v)", said, answer, err)
	}
}
