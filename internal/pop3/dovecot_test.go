package pop3

import (
	"bytes"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/popfetchd/popfetchd/test/dovecot"
)

// nastyMessages end in CRLF and are not empty: so they are what the server holds and what it sends (Dovecot sends an empty line for an
// empty message). None begins with two dots or a line of one dot, since Dovecot 2.3 does not stuff the first line.
var nastyMessages = []string{
	"\r\n", ".a\r\n", "\r\n.\r\n", "a\r\n..\r\n.\r\n...\r\n", "Subject: a\r\n\r\n.\r\n", "a\r\r\nb\r.\r\n", "\x00\xff\x80\r\n",
	"+OK\r\n-ERR\r\n", strings.Repeat("x", 1<<20) + "\r\n", "a\r\n" + strings.Repeat(".line\r\n", 20_000), "Subject: only a header\r\n",
}

// A real server and all ways to it: what comes is what it holds, and what is deleted is gone only after Quit.
func TestDovecot(t *testing.T) {
	for _, pipelining := range []bool{true, false} {
		d := dovecot.Start(t, dovecot.Options{NoPipelining: !pipelining})
		ca, err := os.ReadFile(d.CAFile)
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(ca)
		servers := []Server{
			{Host: "localhost", Port: int(d.POP3S), TLS: ImplicitTLS},
			{Host: "127.0.0.1", Port: int(d.POP3), TLS: NoTLS},
		}
		if pipelining {
			servers = append(servers,
				Server{Host: "localhost", Port: int(d.POP3), TLS: StartTLS},
				Server{Host: "::1", Port: int(d.POP3S), TLS: ImplicitTLS})
		}
		for _, server := range servers {
			server.RootCAs, server.Timeout, server.Pipelining = roots, patience, true
			fill(t, d)
			fetchAndDelete(t, server, pipelining)
		}
	}
}

// A refused login leaves the session open for a better one.
func TestDovecotRefusesLogin(t *testing.T) {
	d := dovecot.Start(t, dovecot.Options{})
	if err := d.AddUser(joe.Username, joe.Password); err != nil {
		t.Fatal(err)
	}
	s := dial(t, Server{Host: "127.0.0.1", Port: int(d.POP3), TLS: NoTLS, Timeout: patience})
	err := s.Login(Credentials{Username: "joe", Password: "wrong", Mechanism: Auto})
	if refused := (*ReplyError)(nil); !errors.As(err, &refused) || refused.Code != "AUTH" || refused.Temporary() {
		t.Errorf("wrong password: %v", err)
	}
	if err := s.Login(joe); err != nil {
		t.Error(err)
	}
}

// fill puts the nasty messages into an empty mailbox of joe's.
func fill(t *testing.T, d *dovecot.Server) {
	t.Helper()
	if err := d.AddUser(joe.Username, joe.Password); err != nil {
		t.Fatal(err)
	}
	err := d.Deliver(joe.Username, func(yield func(io.Reader) bool) {
		for _, m := range nastyMessages {
			if !yield(strings.NewReader(m)) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// headerOf is what Dovecot sends for TOP: up to the first empty line, else everything.
func headerOf(message string) string {
	if strings.HasPrefix(message, "\r\n") {
		return "\r\n"
	}
	header, _, found := strings.Cut(message, "\r\n\r\n")
	if !found {
		return message
	}
	return header + "\r\n\r\n"
}

// fetchAndDelete takes a first session that closes without QUIT, and a second one that quits.
func fetchAndDelete(t *testing.T, server Server, pipelined bool) {
	t.Helper()
	for _, quit := range []bool{false, true} {
		s := dial(t, server)
		if err := s.Login(joe); err != nil {
			t.Fatal(err)
		}
		if s.Pipelined() != pipelined {
			t.Errorf("pipelined %v, announced %q", s.Pipelined(), s.Capabilities().Lines())
		}
		listing, err := s.List()
		entries := listing.Entries
		if err != nil || len(entries) != len(nastyMessages) || listing.Damage != nil {
			t.Fatalf("%d entries, %v, damage %v", len(entries), err, listing.Damage)
		}
		var numbers []int
		for i, e := range entries {
			numbers = append(numbers, e.Number)
			if e.Size != int64(len(nastyMessages[i])) {
				t.Errorf("message %d: listed with %d octets, has %d", e.Number, e.Size, len(nastyMessages[i]))
			}
		}
		for m := range s.Headers(numbers) {
			want := headerOf(nastyMessages[m.Number-1])
			if got, err := io.ReadAll(m); err != nil || string(got) != want {
				t.Errorf("header %d: got %.60q, %v; want %.60q", m.Number, got, err, want)
			}
		}
		for m := range s.Retrieve(numbers) {
			if got, err := io.ReadAll(m); err != nil || !bytes.Equal(got, []byte(nastyMessages[m.Number-1])) {
				t.Errorf("message %d: got %.60q, %v", m.Number, got, err)
			}
		}
		for n, err := range s.Delete(numbers) {
			if err != nil {
				t.Errorf("DELE %d: %v", n, err)
			}
		}
		if n, _, err := s.Stat(); n != 0 || err != nil {
			t.Errorf("after DELE: %d messages, %v", n, err)
		}
		if !quit {
			s.Close()
			continue
		}
		if err := s.Quit(); err != nil {
			t.Error(err)
		}
	}
	s := dial(t, server)
	if err := s.Login(joe); err != nil {
		t.Fatal(err)
	}
	if listing, err := s.List(); len(listing.Entries) > 0 || listing.Damage != nil || err != nil {
		t.Errorf("after QUIT: %v, %v", listing, err)
	}
	if err := s.Quit(); err != nil {
		t.Error(err)
	}
}
