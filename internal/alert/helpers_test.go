package alert

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/pop3"
)

// noon is when tests begin.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// hook is a real HTTP server that takes webhooks and pings.
type hook struct {
	*httptest.Server
	mu       sync.Mutex
	requests []request
	status   int // to answer with
	arrived  chan struct{}
}

type request struct {
	path   string
	header http.Header
	body   string
}

func newHook(t *testing.T) *hook {
	h := &hook{status: http.StatusOK, arrived: make(chan struct{}, 1)}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.status < 300 {
			h.requests = append(h.requests, request{r.Method + " " + r.URL.RequestURI(), r.Header, string(body)})
		}
		if h.status/100 == 3 {
			w.Header().Set("Location", h.URL+"/elsewhere")
		}
		w.WriteHeader(h.status)
		fmt.Fprint(w, "so said the server")
		select {
		case h.arrived <- struct{}{}:
		default:
		}
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) answer(status int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status = status
}

// take returns what has come since the last call.
func (h *hook) take() []request {
	h.mu.Lock()
	defer h.mu.Unlock()
	taken := h.requests
	h.requests = nil
	return taken
}

// messages are the posted messages that have come since the last call.
func (h *hook) messages(t *testing.T) []posted {
	t.Helper()
	var all []posted
	for _, r := range h.take() {
		var p posted
		if err := json.Unmarshal([]byte(r.body), &p); err != nil {
			t.Fatalf("%q: %v", r.body, err)
		}
		all = append(all, p)
	}
	return all
}

// subjects are those of the messages that have come since the last call.
func (h *hook) subjects(t *testing.T) []string {
	t.Helper()
	all := []string{}
	for _, m := range h.messages(t) {
		all = append(all, m.Subject)
	}
	return all
}

// world is an Alerter with its ledger, whose clock the test holds.
type world struct {
	*Alerter
	t     *testing.T
	state string
	books *ledger.Ledger
	clock time.Time
	file  string
}

// newWorld makes accounts of these names; %s in the alerts section is the hook's address.
func newWorld(t *testing.T, h *hook, alerts string, names ...string) *world {
	t.Helper()
	w := &world{t: t, state: t.TempDir(), clock: noon}
	w.file = "state_dir: " + w.state + "\nalerts: " + alerts + "\naccounts:\n"
	if h != nil {
		w.file = strings.ReplaceAll(w.file, "%s", h.URL)
	}
	for _, name := range names {
		w.file += fmt.Sprintf("  - { name: %s, host: pop.example.net, username: %[1]s, password: secret, maildir: %s }\n", name, filepath.Join(w.state, "mail", name))
	}
	var err error
	if w.books, err = ledger.Open(filepath.Join(w.state, "ledger.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.books.Close() })
	w.start()
	return w
}

func (w *world) config() *config.Config {
	w.t.Helper()
	c, err := config.Parse(filepath.Join(w.state, "popfetchd.yaml"), []byte(w.file))
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// start begins a new process.
func (w *world) start() {
	w.Alerter = New(w.config(), w.books, slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})))
	w.Alerter.Now = func() time.Time { return w.clock }
	w.Alerter.began = w.clock
}

func (w *world) account(name string) config.Account {
	w.t.Helper()
	accounts, err := w.config().Select([]string{name})
	if err != nil {
		w.t.Fatal(err)
	}
	return accounts[0]
}

// ran notes a run, in the ledger and to the Alerter, as the daemon does.
func (w *world) ran(name string, err error) {
	w.t.Helper()
	account := w.account(name)
	problem := ""
	if err != nil {
		err = &fetch.Error{Account: name, Doing: "logging in to pop.example.net:995", Err: err}
		problem = err.Error()
	}
	if err := errors.Join(w.books.Enroll(name, account.Mailbox().At(w.clock)), w.books.Finish(name, w.clock, problem, true)); err != nil {
		w.t.Fatal(err)
	}
	w.Ended(account, fetch.Report{Account: name, Err: err})
}

// after lets time go by, as a daemon sees it, and looks and tells.
func (w *world) after(d time.Duration) {
	w.t.Helper()
	for ; d > lookEvery; d -= lookEvery {
		w.clock = w.clock.Add(lookEvery)
		w.look(w.t.Context(), true)
	}
	w.clock = w.clock.Add(d)
	w.look(w.t.Context(), true)
}

// Errors of runs.
var (
	errNetwork     = errors.New("no connection: connection refused")
	errCertificate = &pop3.CertificateError{Host: "pop.example.net", Problem: pop3.CertificateExpired, NotAfter: noon.AddDate(0, 0, -1)}
	errSecret      = &config.SecretError{Account: "joe", Key: "password_file", Err: errors.New("no such file")}
)
