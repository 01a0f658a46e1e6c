package alert

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/oauth"
	"github.com/popfetchd/popfetchd/internal/oauthsim"
	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/test/program"
)

const (
	username = "joe@example.org"
	password = "s3cret pass"
)

// mailer is a program whose alerts go by mail: alerts are the lines of alerts.email, and account those of the account.
func mailer(t *testing.T, alerts, account []string) program.Account {
	t.Helper()
	dir := t.TempDir()
	a := program.Account{Dir: dir, Kind: "maildir", Mailbox: filepath.Join(dir, "mail")}
	text := "state_dir: " + filepath.Join(dir, "state") + "\nalerts:\n  email:\n    to: me@example.net\n"
	for _, line := range alerts {
		text += "    " + line + "\n"
	}
	text += "accounts:\n  - name: joe\n    username: " + username + "\n    maildir: " + a.Mailbox + "\n"
	for _, line := range account {
		text += "    " + line + "\n"
	}
	write(t, filepath.Join(dir, "secret"), password+"\n")
	write(t, a.Config(), text)
	return a
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// nowhere are the lines of an account that is not fetched.
var nowhere = []string{"host: 127.0.0.1", "port: 9", "password_file: secret"}

// at are the lines that reach a server.
func (e *exim) at(tls string, lines ...string) []string {
	port := e.smtps
	if tls != "implicit" {
		port = e.startTLS
	}
	return append([]string{"host: 127.0.0.1", fmt.Sprintf("port: %d", port), "tls: " + tls, "ca_file: " + e.caFile}, lines...)
}

var byPassword = []string{"username: " + username, "password_file: secret"}

func TestMail(t *testing.T) {
	for _, test := range []struct{ name, tls, logins, how string }{
		{"STARTTLS and PLAIN", "starttls", eximPlain, "A=plain"},
		{"TLS and LOGIN", "implicit", eximLogin, "A=login"},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := startExim(t, "*", test.logins)
			a := mailer(t, e.at(test.tls, byPassword...), nowhere)
			if said := a.Must(t, "alert", "test"); said != "email: sent\n" {
				t.Errorf("said %q", said)
			}
			letter := e.letters(1)[0]
			if letter.subject != "popfetchd: a test, nothing is wrong" || !strings.Contains(letter.text, "popfetchd alert test") {
				t.Errorf("%q\n%s", letter.subject, letter.text)
			}
			for name, want := range map[string]string{"To": "<me@example.net>", "Auto-Submitted": "auto-generated", "X-Popfetchd-Event": "test"} {
				if got := letter.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if from, err := letter.AddressList("From"); err != nil || from[0].Address != username || !strings.HasPrefix(from[0].Name, "popfetchd on ") {
				t.Errorf("From: %v, %v", from, err)
			}
			if log := e.log(); !strings.Contains(log, " P=esmtpsa ") || !strings.Contains(log, test.how) || !strings.Contains(log, "X=TLS1.") || !strings.Contains(log, "<= "+username) {
				t.Errorf("Exim says:\n%s", log)
			}
		})
	}
}

// What goes wrong is said in one line without a secret, and nothing is sent.
func TestMailRefused(t *testing.T) {
	e := startExim(t, "*", eximPlain)
	bare := startExim(t, "", eximPlain)
	wrong := []string{"username: " + username, "password: wrong-s3cret"}
	for _, test := range []struct {
		name  string
		lines []string
		says  string
	}{
		{"wrong password", e.at("starttls", wrong...), "refused the login: 535 "},
		{"unknown authority", e.at("implicit", byPassword...)[:3], "has a certificate that is not trusted"},
		{"no STARTTLS", bare.at("starttls", byPassword...), "offers no STARTTLS"},
		{"no login", e.at("starttls"), `refused the recipient me@example.net: 550 "log in first"`},
		{"refused recipient", append(e.at("implicit", byPassword...), "to: [ refused@example.net ]"), `550 "your address is on our list"`},
		{"nobody there", []string{"host: 127.0.0.1", "port: 9", "tls: implicit"}, "cannot be reached: connect: connection refused"},
		{"TLS on the wrong port", append(e.at("implicit", byPassword...)[2:], "host: 127.0.0.1", fmt.Sprintf("port: %d", e.startTLS)), "TLS"},
	} {
		t.Run(test.name, func(t *testing.T) {
			lines := test.lines
			if test.name == "unknown authority" {
				lines = append(lines[:3:3], byPassword...)
			}
			a := mailer(t, lines, nowhere)
			if strings.HasPrefix(lines[len(lines)-1], "to:") {
				raw, err := os.ReadFile(a.Config())
				if err != nil {
					t.Fatal(err)
				}
				write(t, a.Config(), strings.Replace(string(raw), "    to: me@example.net\n", "", 1))
			}
			o := a.Run(t, "alert", "test", "--json")
			var tried struct {
				Channel, Error string
				OK             bool
			}
			if err := json.Unmarshal([]byte(o.Stdout), &tried); err != nil || o.Code != 75 || tried.OK || tried.Channel != "email" {
				t.Fatalf("%+v, %v", o, err)
			}
			if !strings.Contains(tried.Error, test.says) || strings.Contains(o.Stdout+o.Stderr, "s3cret") {
				t.Errorf("said %q, want %q", tried.Error, test.says)
			}
		})
	}
	if entries, _ := os.ReadDir(filepath.Join(e.dir, "mail", "new")); len(entries) > 0 {
		t.Errorf("%d messages have come", len(entries))
	}
}

// One who is refused keeps the mail from nobody else, and is named.
func TestMailToSome(t *testing.T) {
	e := startExim(t, "*", eximPlain)
	a := mailer(t, e.at("implicit", byPassword...), nowhere)
	raw, err := os.ReadFile(a.Config())
	if err != nil {
		t.Fatal(err)
	}
	write(t, a.Config(), strings.Replace(string(raw), "to: me@example.net\n", "to: [ refused@example.net, me@example.net ]\n", 1))
	o := a.Run(t, "alert", "test")
	if o.Code != 75 || !strings.Contains(o.Stdout, `refused the recipient refused@example.net: 550 "your address is on our list"; it went to me@example.net`) {
		t.Errorf("%+v", o)
	}
	e.letters(1)
}

func TestMailViaAccount(t *testing.T) {
	e := startExim(t, "*", eximPlain)
	a := mailer(t, e.at("starttls", "via: joe"), nowhere)
	a.Must(t, "alert", "test")
	e.letters(1)
	if log := e.log(); !strings.Contains(log, "A=plain") {
		t.Errorf("Exim says:\n%s", log)
	}
}

// The account's own token opens the SMTP server too; one that is refused is renewed.
func TestMailViaToken(t *testing.T) {
	var refuse atomic.Bool
	var signIn *oauthsim.Server
	asked := make(chan string, 10)
	listener := tokenListener(t, func(response string) bool {
		asked <- response
		user, rest, _ := strings.Cut(strings.TrimPrefix(response, "user="), "\x01auth=Bearer ")
		return signIn.Valid(user, strings.TrimSuffix(rest, "\x01\x01")) && !refuse.Swap(false)
	})
	e := startExim(t, "*", fmt.Sprintf(eximToken, listener))
	var err error
	if signIn, err = oauthsim.Start("127.0.0.1:0", oauthsim.Config{ClientID: "id", ClientSecret: "client secret", Username: username}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { signIn.Close() })
	a := mailer(t, e.at("starttls", "via: gmail"), []string{"provider: gmail", "auth: xoauth2", "oauth: { issuer: google, client_id: id, client_secret_file: client," +
		" auth_url: '" + signIn.URL() + "/auth', token_url: '" + signIn.URL() + "/token' }"})
	write(t, filepath.Join(a.Dir, "client"), "client secret\n")
	o := a.Run(t, "alert", "test")
	if !strings.Contains(o.Stdout, "nobody has signed in yet; sign in: popfetchd login joe") {
		t.Fatalf("%+v", o)
	}
	grant(t, signIn, a)
	a.Must(t, "alert", "test")
	first := <-asked
	refuse.Store(true)
	a.Must(t, "alert", "test")
	if again, renewed := <-asked, <-asked; again != first || renewed == first {
		t.Errorf("logged in with %q, then %q, then %q", first, again, renewed)
	}
	e.letters(2)
}

// grant stores a sign-in for the account.
func grant(t *testing.T, signIn *oauthsim.Server, a program.Account) {
	t.Helper()
	const scope = "https://mail.google.com/"
	access, refresh := signIn.Grant(scope)
	store := oauth.Store{Path: oauth.StorePath(filepath.Join(a.Dir, "state"), "joe")}
	token := oauth.Token{Access: access, Refresh: refresh, Issued: time.Now(), Expiry: time.Now().Add(time.Hour), Scopes: []string{scope}}
	if err := errors.Join(os.MkdirAll(filepath.Join(a.Dir, "state"), 0o700), store.Save(token)); err != nil {
		t.Fatal(err)
	}
}

// tokenListener answers Exim's questions whether a response of XOAUTH2 is good.
func tokenListener(t *testing.T, good func(response string) bool) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(conn).ReadString('\n')
			answer := "no"
			if good(strings.TrimSuffix(line, "\n")) {
				answer = "yes"
			}
			fmt.Fprint(conn, answer)
			conn.Close()
		}
	}()
	return l.Addr().String()
}

// An account whose login is refused: one mail, however often cron tries, and one when it is over. Both are one conversation.
func TestMailOfTroubleAndItsEnd(t *testing.T) {
	e := startExim(t, "*", eximPlain)
	server, err := popsim.Start("127.0.0.1:0", popsim.Config{Mode: popsim.NoTLS, Accounts: []*popsim.Account{{Username: username, Password: "another"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	a := mailer(t, e.at("implicit", "username: "+username, "password: "+password),
		[]string{"host: 127.0.0.1", fmt.Sprintf("port: %d", server.Addr().(*net.TCPAddr).Port), "tls: none", "password_file: secret"})
	for range 3 {
		if o := a.Run(t, "--once"); o.Code != 77 || strings.Count(o.Stderr, "\n") != 1 {
			t.Fatalf("%+v", o)
		}
	}
	trouble := e.letters(1)[0]
	if trouble.subject != "joe: login refused, check the password" || trouble.Get("X-Popfetchd-Kind") != "refused" || trouble.Get("Importance") != "high" {
		t.Errorf("%q %v", trouble.subject, trouble.Header)
	}
	if strings.Contains(trouble.text, "s3cret") || !strings.Contains(trouble.text, "What to do: ") || !strings.Contains(trouble.text, "server refused") {
		t.Errorf("told\n%s", trouble.text)
	}
	write(t, filepath.Join(a.Dir, "secret"), "another\n")
	for range 2 {
		a.Must(t, "--once")
	}
	over := e.letters(1)[0]
	if over.subject != "joe: fine again" || over.Get("References") == "" || over.Get("References") != trouble.Get("References") || over.Get("Message-ID") == trouble.Get("Message-ID") {
		t.Errorf("%q, %v after %v", over.subject, over.Header, trouble.Header)
	}
}
