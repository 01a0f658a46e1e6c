package fetch_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// tb is what tests and properties have in common.
type tb interface {
	Helper()
	Cleanup(func())
	Context() context.Context
	Fatal(...any)
	Fatalf(string, ...any)
	Errorf(string, ...any)
}

const password = "open sesame"

// world is a server with one account, and everything that a run needs to fetch it.
type world struct {
	tb
	account *popsim.Account
	server  *popsim.Server
	folder  string // of all that follows
	state   string
	box     string // the Maildir or mbox
	ledger  *ledger.Ledger
	fetcher *fetch.Fetcher
	log     *journal
	lines   []string // of the account's configuration

	mu  sync.Mutex
	now time.Time
}

// credentials are made once: to make keys costs more than to fetch some mail.
var credentials = sync.OnceValues(func() (*tls.Config, []byte) {
	authority, err := popsim.NewAuthority()
	if err != nil {
		panic(err)
	}
	certificate, err := authority.Issue(time.Now().AddDate(1, 0, 0), "127.0.0.1")
	if err != nil {
		panic(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}, authority.PEM()
})

// newWorld starts a server as c says and a ledger. The account has these lines of configuration besides the login; they
// say neither maildir nor mbox: then it is a Maildir.
func newWorld(t tb, c popsim.Config, lines ...string) *world {
	t.Helper()
	w := &world{tb: t, account: &popsim.Account{Username: "joe@example.org", Password: password}, log: &journal{}, lines: lines,
		now: time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)}
	if len(c.Accounts) > 0 {
		w.account = c.Accounts[0]
		w.account.Username, w.account.Password = "joe@example.org", password
	}
	folder, err := os.MkdirTemp("", "fetch")
	w.must(err)
	t.Cleanup(func() { os.RemoveAll(folder) })
	w.folder, w.state = folder, filepath.Join(folder, "state")
	w.must(os.Mkdir(w.state, 0o700))
	if !strings.Contains(strings.Join(lines, "\n"), "mbox:") && !strings.Contains(strings.Join(lines, "\n"), "maildir:") {
		w.lines = append(w.lines, "maildir: mail")
	}
	w.box = filepath.Join(folder, w.line("maildir: ")+w.line("mbox: "))
	var ca []byte
	c.TLS, ca = credentials()
	c.Accounts = []*popsim.Account{w.account}
	w.must(os.WriteFile(filepath.Join(folder, "ca.pem"), ca, 0o600))
	w.server, err = popsim.Start("127.0.0.1:0", c)
	w.must(err)
	t.Cleanup(func() { w.server.Close() })
	w.open()
	return w
}

// open opens the ledger, which a test may have closed.
func (w *world) open() {
	w.Helper()
	l, err := ledger.Open(filepath.Join(w.state, "ledger.db"))
	w.must(err)
	w.Cleanup(func() { l.Close() })
	w.ledger = l
	w.fetcher = &fetch.Fetcher{Ledger: l, StateDir: w.state, Log: slog.New(slog.NewTextHandler(w.log, nil)), Now: w.clock}
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// line returns what follows the key in the account's lines.
func (w *world) line(key string) string {
	for _, line := range w.lines {
		if value, found := strings.CutPrefix(line, key); found {
			return value
		}
	}
	return ""
}

// set gives the account one more line, in the place of one that begins likewise.
func (w *world) set(key, value string) {
	w.lines = slices.DeleteFunc(w.lines, func(line string) bool { return strings.HasPrefix(line, key+":") })
	if value != "" {
		w.lines = append(w.lines, key+": "+value)
	}
}

// config is the account as its file has it now.
func (w *world) config() config.Account {
	w.Helper()
	address := w.server.Addr().(*net.TCPAddr)
	file := fmt.Sprintf("state_dir: %s\naccounts:\n  - name: joe\n    host: 127.0.0.1\n    port: %d\n    ca_file: ca.pem\n    username: joe@example.org\n",
		w.state, address.Port)
	if w.line("timeout: ") == "" {
		file += "    timeout: 10s\n"
	}
	if !strings.Contains(strings.Join(w.lines, "\n"), "password") {
		file += "    password: " + password + "\n"
	}
	for _, line := range w.lines {
		file += "    " + line + "\n"
	}
	c, err := config.Parse(filepath.Join(w.folder, "popfetchd.yaml"), []byte(file))
	w.must(err)
	return c.Accounts[0]
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// run fetches, and holds the report against itself.
func (w *world) run() fetch.Report {
	w.Helper()
	return w.runIn(w.Context())
}

func (w *world) runIn(ctx context.Context) fetch.Report {
	w.Helper()
	return w.check(w.fetcher.Run(ctx, w.config(), nil))
}

func (w *world) check(r fetch.Report) fetch.Report {
	w.Helper()
	if r.New != r.Stored+r.Failed || r.Listed < r.New+r.Skipped || r.Stored < 0 || r.Failed < 0 || r.Skipped < 0 {
		w.Fatalf("the numbers do not add up: %+v", r)
	}
	if r.Err == nil {
		return r
	}
	if text := r.Err.Error(); strings.ContainsAny(text, "\n\r") || strings.Contains(text, password) || !strings.HasPrefix(text, "account joe: ") || strings.HasSuffix(text, ".") {
		w.Fatalf("this is no error line: %q", text)
	}
	return r
}

// succeed runs without an error and with these figures; Bytes, Sessions, Took and the times to come are not compared.
func (w *world) succeed(want fetch.Report) fetch.Report {
	w.Helper()
	r := w.run()
	if r.Err != nil {
		w.Fatal(r.Err)
	}
	w.figures(r, want)
	return r
}

// fail runs into an error of this kind, and the report has these figures.
func (w *world) fail(kind fetch.Kind, want fetch.Report) fetch.Report {
	w.Helper()
	r := w.run()
	if fetch.KindOf(r.Err) != kind {
		w.Fatalf("error of kind %d, want %d: %v", fetch.KindOf(r.Err), kind, r.Err)
	}
	w.figures(r, want)
	return r
}

func (w *world) figures(r, want fetch.Report) {
	w.Helper()
	r.Account, r.Bytes, r.Sessions, r.Took, r.Err = "", 0, 0, 0, nil
	r.NotBefore, r.LimitedUntil = time.Time{}, time.Time{}
	if r != want {
		w.Fatalf("report: %+v\nwant:   %+v", r, want)
	}
}

// deliver puts a message with this UID on the server.
func (w *world) deliver(uid, body string) popsim.Message {
	m := popsim.Message{UID: uid, Body: []byte("Subject: " + uid + "\r\n\r\n" + body + "\r\n")}
	w.account.Deliver(m)
	return m
}

// deliverN puts n messages on the server, with UIDs from 0 on.
func (w *world) deliverN(n int) {
	for i := range n {
		w.deliver(fmt.Sprint(i), strings.Repeat("all work and no play\r\n", i%7))
	}
}

// fault makes the server do a to a command about the message with that UID.
func (w *world) fault(command, uid string, a popsim.Action) {
	w.server.SetFault(w.onUID(command, uid, a))
}

func (w *world) onUID(command, uid string, a popsim.Action) popsim.Fault {
	return func(r popsim.Request) popsim.Action {
		if messages := w.account.Messages(); r.Command == command && r.Message > 0 && messages[r.Message-1].UID == uid {
			return a
		}
		return popsim.Action{}
	}
}

func (w *world) mend() { w.server.SetFault(nil) }

// retrieved says how often each UID was sent whole.
func (w *world) retrieved(want map[string]int) {
	w.Helper()
	for uid, n := range want {
		if got := w.account.Retrieved(uid); got != n {
			w.Errorf("message %s was sent %d times, want %d", uid, got, n)
		}
	}
}

// left holds the UIDs on the server against these.
func (w *world) left(want ...string) {
	w.Helper()
	var got []string
	for _, m := range w.account.Messages() {
		got = append(got, m.UID)
	}
	if !slices.Equal(got, want) {
		w.Fatalf("on the server: %q, want %q", got, want)
	}
}

func (w *world) quits(want int) {
	w.Helper()
	if got := w.account.Quits(); got != want {
		w.Fatalf("%d sessions ended with QUIT, want %d", got, want)
	}
}

func (w *world) summary() ledger.Summary {
	w.Helper()
	s, err := w.ledger.Summary("joe")
	w.must(err)
	return s
}

// holds compares the mailbox with what it is to hold, byte for byte, in any order, and the ledger with both.
func (w *world) holds(want ...popsim.Message) {
	w.Helper()
	w.boxHolds(w.box, want...)
	if n := w.summary().Messages; n != len(want) {
		w.Fatalf("the ledger knows %d messages, want %d", n, len(want))
	}
	v, err := w.fetcher.Verify(w.Context(), w.config(), 1)
	if err != nil || !v.OK() || v.Checked != len(want) {
		w.Fatalf("verify: %+v, %v", v, err)
	}
}

func (w *world) boxHolds(box string, want ...popsim.Message) {
	w.Helper()
	got := w.mail(box)
	var model []string
	for _, m := range want {
		model = append(model, string(m.Stored()))
	}
	slices.Sort(got)
	slices.Sort(model)
	if slices.Equal(got, model) {
		return
	}
	for i := range min(len(got), len(model)) {
		if got[i] != model[i] {
			w.Fatalf("%s: %d messages, want %d; the first that differs is %.200q, want %.200q", box, len(got), len(model), got[i], model[i])
		}
	}
	w.Fatalf("%s: %d messages, want %d", box, len(got), len(model))
}

// mail returns all messages of a mailbox, whatever it is.
func (w *world) mail(box string) []string {
	w.Helper()
	info, err := os.Stat(box)
	if os.IsNotExist(err) {
		return nil
	}
	w.must(err)
	if !info.IsDir() {
		data, err := os.ReadFile(box)
		w.must(err)
		return splitMbox(w, string(data))
	}
	var all []string
	for _, path := range w.files() {
		if path := filepath.Join(w.folder, path); strings.HasPrefix(path, box+"/new/") || strings.HasPrefix(path, box+"/cur/") {
			data, err := os.ReadFile(path)
			w.must(err)
			all = append(all, string(data))
		} else if strings.HasPrefix(path, box+"/tmp/") {
			w.Fatalf("left behind: %s", path)
		}
	}
	return all
}

// splitMbox reads mboxrd as its definition has it: a line "From " after a blank line, or at the start, begins a message,
// which a blank line ends; a ">" before ">…From " is taken off.
func splitMbox(w tb, data string) []string {
	w.Helper()
	if data == "" {
		return nil
	}
	if !strings.HasPrefix(data, "From ") || !strings.HasSuffix(data, "\n\n") {
		w.Fatalf("this is no mbox: %.100q … %q", data, data[max(0, len(data)-20):])
	}
	var all []string
	for i, framed := range strings.Split("\n\n"+strings.TrimSuffix(data, "\n\n"), "\n\nFrom ") {
		if i == 0 {
			continue // nothing comes before the first
		}
		_, body, any := strings.Cut(framed, "\n")
		var b strings.Builder
		for line := range strings.Lines(body) {
			if strings.HasPrefix(strings.TrimLeft(line, ">"), "From ") && strings.HasPrefix(line, ">") {
				line = line[1:]
			}
			b.WriteString(line)
		}
		if any {
			b.WriteString("\n") // Split took it
		}
		all = append(all, b.String())
	}
	return all
}

// files lists every file of the world, from its folder.
func (w *world) files() []string {
	w.Helper()
	var all []string
	w.must(filepath.WalkDir(w.folder, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			path, err = filepath.Rel(w.folder, path)
			all = append(all, path)
		}
		return err
	}))
	return all
}

// snapshot is every file and folder of the world, with what it holds.
func (w *world) snapshot() map[string]string {
	w.Helper()
	all := map[string]string{}
	w.must(filepath.WalkDir(w.folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			all[path] = "folder"
			return err
		}
		data, err := os.ReadFile(path)
		all[path] = string(data)
		return err
	}))
	return all
}

// journal keeps what is logged.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// boxes runs a test for each kind of mailbox.
func boxes(t *testing.T, test func(t *testing.T, box string)) {
	t.Helper()
	for _, box := range []string{"maildir: mail", "mbox: mail"} {
		kind, _, _ := strings.Cut(box, ":")
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(t, box)
		})
	}
}
