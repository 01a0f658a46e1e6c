package replies

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/oauth"
	"github.com/popfetchd/popfetchd/internal/oauthsim"
	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/test/program"
)

// The user of every account.
const (
	username = "joe@example.org"
	password = "abcdefghijklmnop"
	scope    = "https://mail.google.com/"
)

// messages is how many every account has.
const messages = 3

// world is an account of a provider, and a program that fetches it.
type world struct {
	*testing.T
	program program.Account
	account *popsim.Account
	server  *popsim.Server
	signIn  *oauthsim.Server // nil with a password
	dials   atomic.Int64
	refused atomic.Bool // the server takes no token
	lines   []string    // of the configuration

	brokeOff int // messages that came in a session without an end: Gmail offers them still
}

// newWorld is an account of the provider, logged in to as auth says, with mail waiting for it.
func newWorld(t *testing.T, provider, auth string) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{T: t, program: program.Account{Dir: dir, Kind: "maildir", Mailbox: filepath.Join(dir, "mail")},
		account: &popsim.Account{Username: username, Password: password}}
	c := popsim.Config{Accounts: []*popsim.Account{w.account}, Mode: popsim.NoTLS, Pipelining: true, Token: w.valid, Fault: w.count(nil)}
	switch provider {
	case "gmail":
		w.account.Gmail = &popsim.GmailBox{}
	case "outlook":
		c.Dialect = popsim.Microsoft
	}
	for i := range messages {
		w.account.Deliver(popsim.Message{Received: time.Now().Add(time.Duration(i-messages) * time.Hour), Body: fmt.Appendf(nil, "Subject: %d\r\n\r\nx\r\n", i)})
	}
	var err error
	w.server, err = popsim.Start("127.0.0.1:0", c)
	w.must(err)
	t.Cleanup(func() { w.server.Close() })
	w.lines = []string{"provider: " + provider, "username: " + username, "auth: " + auth, "host: 127.0.0.1", "tls: none",
		fmt.Sprintf("port: %d", w.server.Addr().(*net.TCPAddr).Port), "maildir: " + w.program.Mailbox}
	w.write("secret", password+"\n")
	if auth == "xoauth2" {
		w.startSignIn()
	} else {
		w.lines = append(w.lines, "password_file: secret")
	}
	w.configure()
	return w
}

// startSignIn starts what plays Google or Microsoft, and signs in.
func (w *world) startSignIn() {
	w.Helper()
	var err error
	w.signIn, err = oauthsim.Start("127.0.0.1:0", oauthsim.Config{ClientID: "id", ClientSecret: password, Username: username})
	w.must(err)
	w.Cleanup(func() { w.signIn.Close() })
	w.lines = append(w.lines, fmt.Sprintf("oauth: {client_id: id, client_secret_file: secret, auth_url: %[1]s/auth, token_url: %[1]s/token}", w.signIn.URL()))
	w.must(os.Mkdir(filepath.Join(w.program.Dir, "state"), 0o700))
	w.login()
}

// login is what popfetchd login leaves behind.
func (w *world) login() {
	w.Helper()
	access, refresh := w.signIn.Grant(scope)
	w.must(oauth.Store{Path: oauth.StorePath(filepath.Join(w.program.Dir, "state"), "joe")}.Save(oauth.Token{
		Access: access, Refresh: refresh, Issued: time.Now(), Expiry: time.Now().Add(time.Hour), Scopes: []string{scope}}))
}

func (w *world) valid(user, token string) bool {
	return !w.refused.Load() && w.signIn != nil && w.signIn.Valid(user, token)
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) write(name, text string) {
	w.Helper()
	w.must(os.WriteFile(filepath.Join(w.program.Dir, name), []byte(text), 0o600))
}

// configure writes the file.
func (w *world) configure() {
	w.Helper()
	w.write("popfetchd.yaml", "state_dir: state\naccounts:\n  - name: joe\n    "+strings.Join(w.lines, "\n    ")+"\n")
}

// count lets a fault happen, and counts how often somebody comes to the server.
func (w *world) count(f popsim.Fault) popsim.Fault {
	return func(r popsim.Request) popsim.Action {
		if r.Command == "CONNECT" {
			w.dials.Add(1)
		}
		if f == nil {
			return popsim.Action{}
		}
		return f(r)
	}
}

// visit fetches, and says how often the server was called.
func (w *world) visit() (o program.Outcome, dials int) {
	w.Helper()
	before := w.dials.Load()
	o = w.program.Run(w, "--once")
	for _, secret := range []string{password, "Bearer"} {
		if strings.Contains(o.Stdout+o.Stderr, secret) {
			w.Errorf("a secret is shown:\n%s%s", o.Stdout, o.Stderr)
		}
	}
	return o, int(w.dials.Load() - before)
}

// books opens the ledger between two runs.
func (w *world) books(do func(*ledger.Ledger) error) {
	w.Helper()
	l, err := ledger.Open(filepath.Join(w.program.Dir, "state", "ledger.db"))
	w.must(err)
	w.must(do(l))
	w.must(l.Close())
}

func (w *world) hold() (h ledger.Hold) {
	w.Helper()
	w.books(func(l *ledger.Ledger) (err error) {
		h, err = l.Hold("joe")
		return err
	})
	return h
}

// pass lets time go by for the hold.
func (w *world) pass(d time.Duration) {
	w.Helper()
	h := w.hold()
	h.Since, h.Until = h.Since.Add(-d), h.Until.Add(-d)
	w.books(func(l *ledger.Ledger) error { return l.SetHold("joe", h) })
}

// leftAlone holds that a run ends in this way without a word to the server.
func (w *world) leftAlone(code int) program.Outcome {
	w.Helper()
	o, dials := w.visit()
	if o.Code != code || dials != 0 {
		w.Fatalf("exit code %d and %d calls, want %d and none\n%s", o.Code, dials, code, o.Stderr)
	}
	return o
}

// fetchesAll holds that the trouble is over: everything is here, once, and nothing is left to fetch.
func (w *world) fetchesAll() {
	w.Helper()
	o, _ := w.visit()
	if o.Code != 0 {
		w.Fatalf("exit code %d when all is well again\n%s", o.Code, o.Stderr)
	}
	program.Same(w, program.HeldBy(w, w.account), w.program.Stored(w))
	if g := w.account.Gmail; g != nil && w.account.Counts().Waiting > w.brokeOff {
		w.Errorf("Gmail still offers %d messages", w.account.Counts().Waiting)
	}
	if h := w.hold(); !h.IsZero() {
		w.Errorf("still held: %+v", h)
	}
}
