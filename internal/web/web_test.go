package web

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/daemon"
	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/ledger"
)

// house is a status page of two accounts, joe and ann.
type house struct {
	*testing.T
	*Server
	handler http.Handler
	mu      sync.Mutex
	states  []daemon.State
	woken   [][]string
	changed chan struct{}
	now     time.Time
}

// show changes what the daemon says, while somebody looks.
func (h *house) show(change func()) {
	h.mu.Lock()
	change()
	h.mu.Unlock()
	h.changed <- struct{}{}
}

func newHouse(t *testing.T, listen config.Listen) *house {
	t.Helper()
	folder := t.TempDir()
	books, err := ledger.Open(filepath.Join(folder, "ledger.db"))
	must(t, err)
	t.Cleanup(func() { books.Close() })
	c, err := config.Parse(filepath.Join(folder, "popfetchd.yaml"), []byte(`
accounts:
  - {name: joe, provider: gmail, username: joe@gmail.com, password: hunter2, maildir: `+folder+`/joe}
  - {name: ann, host: pop.example.net, username: ann, password: hunter2, maildir: `+folder+`/ann, alert_after: 2d}
`))
	must(t, err)
	h := &house{T: t, changed: make(chan struct{}, 1), now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.Local)}
	for _, a := range c.Accounts {
		must(t, books.Enroll(a.Name, string(a.Maildir)))
		h.states = append(h.states, daemon.State{Account: a, Next: h.now.Add(10 * time.Minute)})
	}
	h.Server = &Server{
		States: func() []daemon.State {
			h.mu.Lock()
			defer h.mu.Unlock()
			return slices.Clone(h.states)
		},
		Wake: func(accounts ...string) error {
			for _, name := range accounts {
				if name != "joe" && name != "ann" {
					return os.ErrNotExist
				}
			}
			h.woken = append(h.woken, accounts)
			return nil
		},
		Subscribe: func(context.Context) <-chan struct{} { return h.changed },
		Status:    func(context.Context) (any, error) { return map[string]int{"answer": 42}, nil },
		Ledger:    books, Listen: listen, Version: "1.2.3", Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return h.now },
	}
	h.handler, err = h.Handler(t.Context())
	must(t, err)
	return h
}

var loopback = config.Listen{Network: "tcp", Address: "127.0.0.1:8025"}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ask sends a request, with headers as "Name: value".
func (h *house) ask(method, target, body string, headers ...string) *http.Response {
	h.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "localhost:8025"
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
		if name == "Host" {
			r.Host = value
		}
	}
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	all, err := io.ReadAll(r.Body)
	must(t, err)
	return string(all)
}

// wants asks and holds the code.
func (h *house) wants(code int, method, target, body string, headers ...string) *http.Response {
	h.Helper()
	r := h.ask(method, target, body, headers...)
	if r.StatusCode != code {
		h.Errorf("%s %s %q %q: %d, want %d", method, target, body, headers, r.StatusCode, code)
	}
	return r
}

// Every answer, good or bad, forbids whatever the page does not need.
func TestHeadersOfEveryAnswer(t *testing.T) {
	h := newHouse(t, loopback)
	for _, target := range []string{"/", "/style.css", "/live.js", "/icon.svg", "/metrics", "/healthz", "/api/status", "/nothing", "/?account=joe&refresh=30"} {
		r := h.ask("GET", target, "")
		for name, want := range map[string]string{"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Referrer-Policy": "same-origin"} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q", target, name, got)
			}
		}
	}
	if strings.Contains(policy, "unsafe") || !strings.Contains(policy, "default-src 'none'") {
		t.Error("the policy is not strict: ", policy)
	}
	page := text(t, h.ask("GET", "/", ""))
	if found := regexp.MustCompile(`(?i)<style|style=|<script[^>]*>[^<]|\son\w+=|https?://|hunter2`).FindString(page); found != "" {
		t.Errorf("the page holds %q", found)
	}
}

// A page elsewhere whose name leads here gets nothing (DNS rebinding).
func TestNames(t *testing.T) {
	h := newHouse(t, loopback)
	for _, name := range []string{"localhost", "localhost:8025", "127.0.0.1:8025", "[::1]:8025", "LOCALHOST", "mail.localhost:8025", "192.168.1.5:8025"} {
		h.wants(http.StatusOK, "GET", "/", "", "Host: "+name)
	}
	for _, name := range []string{"evil.example", "evil.example:8025", "localhost.evil.example", "127.0.0.1.evil.example", ""} {
		for _, target := range []string{"/", "/api/status", "/events", "/metrics"} {
			r := h.wants(http.StatusMisdirectedRequest, "GET", target, "", "Host: "+name)
			if body := text(t, r); strings.Contains(body, "joe") {
				t.Errorf("asked as %q it says %s", name, body)
			}
		}
	}
	newHouse(t, config.Listen{Network: "unix", Address: "/run/x"}).wants(http.StatusOK, "GET", "/", "", "Host: mail.example.net")
}

var token = regexp.MustCompile(`name="token" value="([^"]+)"`)

func (h *house) form(account string) string {
	h.Helper()
	found := token.FindStringSubmatch(text(h.T, h.ask("GET", "/", "")))
	if found == nil {
		h.Fatal("the page has no token")
	}
	return url.Values{"token": {found[1]}, "account": {account}}.Encode()
}

// A run begins when a form of the page asks for it, and by nothing else.
func TestFetchNow(t *testing.T) {
	h := newHouse(t, loopback)
	good := h.form("joe")
	r := h.wants(http.StatusSeeOther, "POST", "/fetch", good, "Origin: http://localhost:8025", "Sec-Fetch-Site: same-origin")
	if got := r.Header.Get("Location"); got != "./#account-joe" {
		t.Errorf("it leads to %q", got)
	}
	h.wants(http.StatusSeeOther, "POST", "/fetch", h.form(""))
	if len(h.woken) != 2 || len(h.woken[0]) != 1 || h.woken[0][0] != "joe" || len(h.woken[1]) != 0 {
		t.Errorf("woken: %q", h.woken)
	}
	h.woken = nil
	h.wants(http.StatusForbidden, "POST", "/fetch", good, "Sec-Fetch-Site: cross-site")
	h.wants(http.StatusForbidden, "POST", "/fetch", good, "Sec-Fetch-Site: same-site")
	h.wants(http.StatusForbidden, "POST", "/fetch", good, "Origin: http://evil.example")
	h.wants(http.StatusForbidden, "POST", "/fetch", good, "Origin: http://localhost:9999")
	h.wants(http.StatusForbidden, "POST", "/fetch", good, "Origin: null")
	h.wants(http.StatusMisdirectedRequest, "POST", "/fetch", good, "Host: evil.example")
	h.wants(http.StatusForbidden, "POST", "/fetch", "account=joe")
	h.wants(http.StatusForbidden, "POST", "/fetch", "account=joe&token=")
	h.wants(http.StatusForbidden, "POST", "/fetch", "account=joe&token=ABCDEFGHIJKLMNOPQRSTUVWXYZ")
	h.wants(http.StatusForbidden, "POST", "/fetch?"+good, "")
	h.wants(http.StatusForbidden, "POST", "/fetch", newHouse(t, loopback).form("joe"))
	h.wants(http.StatusNotFound, "POST", "/fetch", h.form("nobody"))
	h.wants(http.StatusNotFound, "GET", "/fetch?"+good, "")
	h.wants(http.StatusBadRequest, "POST", "/fetch", good+"&x="+strings.Repeat("x", mostBody))
	if h.woken != nil {
		t.Errorf("woken: %q", h.woken)
	}
}

// With a password nothing but the health check answers without it.
func TestPassword(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	must(t, os.WriteFile(file, []byte("sesame\n"), 0o600))
	h := newHouse(t, config.Listen{Network: "tcp", Address: "127.0.0.1:8025", PasswordFile: file})
	basic := func(user, password string) string {
		r := httptest.NewRequest("GET", "/", nil)
		r.SetBasicAuth(user, password)
		return "Authorization: " + r.Header.Get("Authorization")
	}
	for _, target := range []string{"/", "/metrics", "/api/status", "/events", "/style.css"} {
		r := h.wants(http.StatusUnauthorized, "GET", target, "")
		if !strings.HasPrefix(r.Header.Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("%s: a browser is not told to ask for the password", target)
		}
	}
	h.wants(http.StatusUnauthorized, "POST", "/fetch", "")
	h.wants(http.StatusUnauthorized, "GET", "/", "", basic("", "sesame "))
	h.wants(http.StatusOK, "GET", "/healthz", "")
	h.wants(http.StatusOK, "GET", "/", "", basic("", "sesame"))
	h.wants(http.StatusOK, "GET", "/metrics", "", basic("prometheus", "sesame"))
}

func TestStatusAndHealth(t *testing.T) {
	h := newHouse(t, loopback)
	r := h.wants(http.StatusOK, "GET", "/api/status", "")
	var status map[string]int
	if err := json.NewDecoder(r.Body).Decode(&status); err != nil || status["answer"] != 42 || r.Header.Get("Content-Type") != "application/json" {
		t.Error(status, err, r.Header)
	}
	if body := text(t, h.wants(http.StatusOK, "GET", "/healthz", "")); body != "ok\n" {
		t.Errorf("%q", body)
	}
	must(t, h.Ledger.Close())
	h.wants(http.StatusServiceUnavailable, "GET", "/healthz", "")
	h.wants(http.StatusInternalServerError, "GET", "/", "")
	h.wants(http.StatusInternalServerError, "GET", "/metrics", "")
}

// What is wrong is said where the account stands, and at the top.
func TestTroubleIsShown(t *testing.T) {
	h := newHouse(t, loopback)
	if page := text(t, h.ask("GET", "/", "")); !strings.Contains(page, "All 2 accounts are well") || !strings.Contains(page, "not fetched yet") {
		t.Error("at the beginning: ", page)
	}
	must(t, h.Ledger.Finish("joe", h.now.Add(-time.Hour), "the server hung up", true))
	must(t, h.Ledger.Finish("ann", h.now.Add(-72*time.Hour), "", true))
	must(t, h.Ledger.SetHold("joe", ledger.Hold{Reason: ledger.OverQuota, Since: h.now, Until: h.now.Add(2 * time.Hour), Problem: "over"}))
	must(t, h.Ledger.Fail("ann", []ledger.Failure{{Key: ledger.Key{UID: "u<1>", ListedSize: 10}, Reason: ledger.Refused, Attempts: 5, Error: "-ERR <b>no</b>"}}))
	must(t, h.Ledger.RaiseIncident(ledger.Incident{Account: "ann", Kind: "silence", Since: h.now.Add(-24 * time.Hour), Text: "quiet & still"}))
	h.states[0].Runs, h.states[1].Runs = 1, 1 // so it looks into the ledger again
	h.states[0].Last = fetch.Report{Account: "joe", New: 9, Stored: 4, Failed: 5}
	page := text(t, h.ask("GET", "/", ""))
	for _, want := range []string{"2 of 2 accounts need attention", `<a href="#account-joe">joe</a>, <a href="#account-ann">ann</a></p>`, "No success for long", "quiet &amp; still", "The server has suspended the account", "the server hung up",
		"left alone until 14:00", "No success for 3 days", "u&lt;1&gt;", "-ERR &lt;b&gt;no&lt;/b&gt;", "5 waiting"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not shown", want)
		}
	}
}

// Of a server that was never reached nobody knows what waits there.
func TestNothingIsKnownBeforeAListing(t *testing.T) {
	h := newHouse(t, loopback)
	state, never := h.states[0], figures{}
	fine := figures{Summary: ledger.Summary{LastSuccess: h.now}}
	for _, test := range []struct {
		what   string
		change func(*daemon.State)
		f      figures
		want   string
	}{
		{"no run yet", func(*daemon.State) {}, never, "not known yet"},
		{"a refused login", func(s *daemon.State) { s.Last = fetch.Report{Account: "joe", Err: io.EOF} }, never, "not known yet"},
		{"a first run that connects", func(s *daemon.State) { s.Running = true }, never, "not known yet"},
		{"a first run that has the list", func(s *daemon.State) { s.Running, s.Progress.Phase = true, fetch.Retrieving }, never, "nothing waiting"},
		{"a run that broke off later", func(s *daemon.State) { s.Last = fetch.Report{Account: "joe", Listed: 3, Err: io.EOF} }, never, "nothing waiting"},
		{"a success before popfetchd started", func(*daemon.State) {}, fine, "nothing waiting"},
	} {
		s := state
		test.change(&s)
		if got := newAccount(s, test.f, h.now).Idle; got != test.want {
			t.Errorf("%s: %q, want %q", test.what, got, test.want)
		}
	}
	if page := text(t, h.ask("GET", "/", "")); !strings.Contains(page, "not known yet") || strings.Contains(page, "nothing waiting") {
		t.Error("the page says: ", page)
	}
}

// What a run under way has come to is shown in figures and as a bar.
func TestProgress(t *testing.T) {
	h := newHouse(t, loopback)
	s := h.states[0]
	s.Running, s.Began = true, h.now.Add(-10*time.Second)
	for progress, want := range map[fetch.Progress]live{
		{Phase: fetch.Connecting}: {Text: "connecting to pop.gmail.com", Percent: -1},
		{Phase: fetch.Listing}:    {Text: "asking for the list of messages", Percent: -1},
		{Phase: fetch.Retrieving}: {Text: "nothing new", Percent: -1},
		{Phase: fetch.Retrieving, Messages: 1, TotalMessages: 4, Bytes: 500, TotalBytes: 2000}:                                 {Text: "1 of 4 messages, 500 B of 2.0 KB, about 30 seconds left", Percent: 25},
		{Phase: fetch.Retrieving, TotalMessages: 1000, Messages: 1000, Bytes: 2500, TotalBytes: 2000, Sessions: 1, More: true}: {Text: "1,000 of 1,000 messages, 2.5 KB of 2.0 KB; more may follow", Percent: 100},
		{Phase: fetch.Deleting, Messages: 1, TotalMessages: 2}:                                                                 {Text: "deleting 1 of 2 messages on the server", Percent: 50},
	} {
		s.Progress = progress
		want.Anchor, want.State, want.Word = "account-joe", "running", "fetching"
		if got := newLive(s, h.now); got != want {
			t.Errorf("%+v: %+v, want %+v", progress, got, want)
		}
	}
}

// The metrics are as docs/monitoring.md says, and promtool finds nothing to better in them.
func TestMetrics(t *testing.T) {
	h := newHouse(t, loopback)
	must(t, h.Ledger.Commit("joe", []ledger.Message{{Key: ledger.Key{UID: "1"}, Mailbox: "/m", Name: "n", Size: 500, StoredAt: h.now}}, 0))
	must(t, h.Ledger.Finish("joe", h.now.Add(-time.Minute), "", true))
	must(t, h.Ledger.SetHold("joe", ledger.Hold{Reason: ledger.DailyLimit, Since: h.now, Until: h.now.Add(time.Hour)}))
	must(t, h.Ledger.AddTraffic("joe", h.now, 700))
	must(t, h.Ledger.Fail("joe", []ledger.Failure{{Key: ledger.Key{UID: "2"}, Reason: ledger.Refused, Attempts: 5}}))
	must(t, h.Ledger.RaiseIncident(ledger.Incident{Account: "ann", Kind: "refused", Since: h.now}))
	h.states[0].Runs, h.states[0].Running = 3, true
	exposition := text(t, h.wants(http.StatusOK, "GET", "/metrics", ""))
	for _, want := range []string{`popfetchd_stored_messages_total{account="joe"} 1`, `popfetchd_stored_bytes_total{account="joe"} 500`, `popfetchd_runs_total{account="joe"} 3`,
		`popfetchd_running{account="joe"} 1`, `popfetchd_running{account="ann"} 0`, `popfetchd_received_day_bytes{account="joe"} 700`, `popfetchd_set_aside_messages{account="joe"} 1`,
		`popfetchd_alert_after_seconds{account="ann"} 172800`, `popfetchd_held_until_timestamp_seconds{account="joe",reason="daily limit"}`,
		`popfetchd_incident_since_timestamp_seconds{account="ann",kind="refused"}`, `popfetchd_accounts 2`, `popfetchd_build_info{goversion="go`, "process_resident_memory_bytes", "go_goroutines"} {
		if !strings.Contains(exposition, want) {
			t.Errorf("%s is not there", want)
		}
	}
	if strings.Contains(exposition, `popfetchd_last_success_timestamp_seconds{account="ann"}`) {
		t.Error("a success that never was has a time")
	}
	documented, err := os.ReadFile("../../docs/monitoring.md")
	must(t, err)
	for _, found := range regexp.MustCompile(`(?m)^# TYPE (popfetchd_\w+)`).FindAllStringSubmatch(exposition, -1) {
		if !strings.Contains(string(documented), "`"+found[1]+"`") {
			t.Errorf("docs/monitoring.md does not tell of %s", found[1])
		}
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("install promtool (apt install prometheus): ", err)
	}
	check := exec.Command(promtool, "check", "metrics")
	check.Stdin = strings.NewReader(exposition)
	if said, err := check.CombinedOutput(); err != nil || len(said) > 0 {
		t.Errorf("promtool: %v\n%s", err, said)
	}
}

// The alert rules and the panel that docs/monitoring.md shows are good, and ask for metrics that are there.
func TestPapersOfMetrics(t *testing.T) {
	paper, err := os.ReadFile("../../docs/monitoring.md")
	must(t, err)
	rules := regexp.MustCompile("(?s)```yaml\n(groups:.*?)```").FindSubmatch(paper)
	panel := regexp.MustCompile("(?s)```json\n(.*?)```").FindSubmatch(paper)
	if rules == nil || panel == nil {
		t.Fatal("there are no rules, or no panel")
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	must(t, os.WriteFile(file, rules[1], 0o600))
	if said, err := exec.Command("promtool", "check", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("promtool (apt install prometheus): %v\n%s", err, said)
	}
	if !json.Valid(panel[1]) {
		t.Error("the panel is no JSON")
	}
	sources, err := os.ReadFile("metrics.go")
	must(t, err)
	for _, name := range regexp.MustCompile(`popfetchd_(\w+)`).FindAllSubmatch(append(rules[1], panel[1]...), -1) {
		if !strings.Contains(string(sources), `describe("`+string(name[1])+`"`) {
			t.Errorf("there is no metric popfetchd_%s", name[1])
		}
	}
}

// A page that is loaded right after a run shows what the run brought, however soon it comes after the page before.
func TestHistoryIsOfTheLastRun(t *testing.T) {
	h := newHouse(t, loopback)
	for i := range 5 {
		must(t, h.Ledger.Commit("joe", []ledger.Message{{Key: ledger.Key{UID: string(rune('a' + i))}, Mailbox: "/m", Name: "n", Size: 500, StoredAt: h.now}}, 0))
		h.states[0].Runs++
		if page := text(t, h.ask("GET", "/", "")); strings.Count(page, "moved or deleted here") != i+1 {
			t.Errorf("after run %d %d messages are shown", i+1, strings.Count(page, "moved or deleted here"))
		}
	}
}
