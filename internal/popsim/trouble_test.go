package popsim_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/popfetchd/popfetchd/internal/popsim"
)

// Every trouble is met by a client that logs in and reads a message, whichever way it logs in; then it is over.
func TestTroubles(t *testing.T) {
	troubles := popsim.Troubles()
	if len(troubles) < 15 {
		t.Errorf("%d troubles only", len(troubles))
	}
	for _, trouble := range troubles {
		for _, login := range []exchange{
			{{"USER " + joe, "+OK"}, {"PASS open sesame", ""}},
			{{"AUTH PLAIN", "+ "}, {b64("\x00" + joe + "\x00open sesame"), ""}},
			{{"AUTH XOAUTH2", "+ "}, {xoauth2(joe, "good"), ""}},
		} {
			t.Run(fmt.Sprint(trouble.Name, ",", login[0][0][:4]), func(t *testing.T) {
				server, _, _ := gmail(t, popsim.GmailBox{}, popsim.Config{Token: good, Fault: trouble.Fault}, mail("a", 1))
				c := clear(t, server)
				c.expect("+OK")
				var heard []string
				for _, e := range login {
					heard = append(heard, c.do(e[0], e[1]))
				}
				if strings.HasPrefix(heard[1], "+OK") {
					heard = append(heard, c.do("STAT", ""))
					heard = append(heard, c.do("RETR 1", ""))
				}
				if !slices.Contains(heard, trouble.Status) {
					t.Errorf("heard %q, want %q", heard, trouble.Status)
				}
				server.SetFault(nil)
				as(t, server, joe).do("STAT", "+OK 1 ")
			})
		}
		found, ok := popsim.TroubleNamed(strings.ToUpper(trouble.Name))
		if !ok || found.Status != trouble.Status {
			t.Errorf("%s is not found by its name", trouble.Name)
		}
	}
	if _, ok := popsim.TroubleNamed("bad weather"); ok {
		t.Error("there is no bad weather")
	}
}

// Success, and an empty mailbox: nothing is popped by the QUIT after it.
func TestMailboxSeemsEmpty(t *testing.T) {
	empty, _ := popsim.TroubleNamed("mailbox seems empty")
	server, account, _ := gmail(t, popsim.GmailBox{}, popsim.Config{Fault: empty.Fault}, mail("a", 1))
	c := clear(t, server)
	c.expect("+OK")
	c.do("USER "+joe, "+OK")
	if got := c.do("PASS open sesame", ""); got != popsim.SeemsEmpty {
		t.Errorf("PASS: %q", got)
	}
	c.do("STAT", "+OK 0 0")
	if got := c.lines("UIDL"); len(got) > 0 {
		t.Errorf("UIDL: %q", got)
	}
	c.do("LIST", "+OK 0 messages (0 bytes)")
	c.body()
	c.do("QUIT", "+OK Farewell.")
	server.SetFault(nil)
	if account.Counts().Popped != 0 || listed(t, server, joe) != "a" {
		t.Error("the message is gone")
	}
	if c := as(t, server, joe); c.uids() != "a" {
		t.Error("the mailbox is still empty")
	}

	server.SetFault(empty.Fault) // wrong credentials stay wrong
	c = clear(t, server)
	c.expect("+OK")
	c.do("USER "+joe, "+OK")
	c.do("PASS wrong", "")
	c.do("STAT", "-ERR")
}

// Before login, Gmail ends a session for any command that it did not announce, after it not.
func TestUnadvertised(t *testing.T) {
	server, _, _ := gmail(t, popsim.GmailBox{}, popsim.Config{}, mail("a", 1))
	for _, command := range []string{"UTF8", "LANG", "STLS", "APOP joe x", "STAT", ""} {
		c := clear(t, server)
		greeting := c.expect("+OK Gpop ready for requests from 127.0.0.1 ")
		id := greeting[strings.LastIndexByte(greeting, ' ')+1:]
		if got := c.do(command, ""); got != "-ERR bad command "+id {
			t.Errorf("%q: %q", command, got)
		}
		c.gone()
	}
	c := as(t, server, joe)
	for _, command := range []string{"UTF8", "LANG", ""} { // the last as after a password with a line end too many
		c.do(command, "-ERR Command not understood")
	}
	c.do("STAT", "+OK 1 ")
}

// A client that sends no server name gets Google's certificate for such, others the good one.
func TestNoSNI(t *testing.T) {
	server, _ := start(t, popsim.Config{NoSNICertificate: true}, two...)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(server.CACertificate())
	for _, tt := range []struct {
		name, want string
	}{{"localhost", "CN=popsim"}, {"", "CN=invalid2.invalid,OU=No SNI provided - please fix your client."}} {
		raw, err := net.Dial("tcp", server.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		conn := tls.Client(raw, &tls.Config{ServerName: tt.name, RootCAs: roots, InsecureSkipVerify: tt.name == ""})
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		if got := conn.ConnectionState().PeerCertificates[0].Subject.String(); got != tt.want {
			t.Errorf("server name %q: certificate of %s, want %s", tt.name, got, tt.want)
		}
		if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.HasPrefix(line, "+OK") {
			t.Errorf("server name %q: %q, %v", tt.name, line, err)
		}
	}
	raw, err := net.Dial("tcp", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{ServerName: "127.0.0.1", RootCAs: roots}) // Go sends no name for an address
	if err := conn.Handshake(); err == nil {
		t.Error("the certificate for clients without SNI is trusted")
	}
}

// The server tells who came, what was taken, and how it ended.
func TestEvents(t *testing.T) {
	events := make(chan popsim.Event, 10)
	server, _, _ := gmail(t, popsim.GmailBox{}, popsim.Config{Token: good, Watch: func(e popsim.Event) { events <- e }}, mail("a", 2), mail("b", 1))
	want := func(wanted popsim.Event) {
		t.Helper()
		if got := <-events; got != wanted {
			t.Errorf("got  %+v,\nwant %+v", got, wanted)
		}
	}
	c := clear(t, server)
	c.expect("+OK")
	c.do("USER recent:"+joe, "+OK")
	c.do("PASS wrong", "-ERR")
	want(popsim.Event{Kind: popsim.Refused, Session: 1, Username: joe, Recent: true, Method: "PASS", Answer: "-ERR [AUTH] Username and password not accepted."})
	c.do("USER "+joe, "+OK")
	c.do("PASS open sesame", "+OK")
	want(popsim.Event{Kind: popsim.Entered, Session: 1, Username: joe, Method: "PASS", Listed: 2})
	c.retr(1, 1)
	c.do("DELE 2", "+OK")
	c.do("QUIT", "+OK")
	want(popsim.Event{Kind: popsim.Left, Session: 1, Username: joe, Method: "PASS", Listed: 2, Retrieved: 1, Deleted: 1, Popped: 2, Quit: true})

	c = clear(t, server)
	c.expect("+OK")
	c.do("AUTH XOAUTH2 "+xoauth2("recent:"+joe, "good"), "+OK")
	want(popsim.Event{Kind: popsim.Entered, Session: 2, Username: joe, Recent: true, Method: "AUTH XOAUTH2", Listed: 2})
	c.retr(2)
	c.conn.Close()
	want(popsim.Event{Kind: popsim.Left, Session: 2, Username: joe, Recent: true, Method: "AUTH XOAUTH2", Listed: 2, Retrieved: 1})
}
