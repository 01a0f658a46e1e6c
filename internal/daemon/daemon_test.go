package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/daemon"
	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// house is a server with accounts, and a daemon for them.
type house struct {
	*testing.T
	server   *popsim.Server
	accounts map[string]*popsim.Account
	folder   string
	ledger   *ledger.Ledger
	log      *records
	reload   func() (*config.Config, error)
	hup      chan os.Signal
	wake     chan os.Signal
}

// newHouse starts a server without TLS: in a bubble of synctest it is the year 2000, and no certificate is valid yet.
func newHouse(t *testing.T, names ...string) *house {
	t.Helper()
	h := &house{T: t, accounts: map[string]*popsim.Account{}, folder: t.TempDir(), log: &records{arrived: make(chan record, 10_000)},
		hup: make(chan os.Signal), wake: make(chan os.Signal)}
	c := popsim.Config{Mode: popsim.NoTLS, Pipelining: true}
	for _, name := range names {
		a := &popsim.Account{Username: name + "@gmail.com", Password: "secret"}
		h.accounts[name] = a
		c.Accounts = append(c.Accounts, a)
	}
	var err error
	h.server, err = popsim.Start("127.0.0.1:0", c)
	h.must(err)
	t.Cleanup(func() { h.server.Close() })
	h.ledger, err = ledger.Open(filepath.Join(h.folder, "ledger.db"))
	h.must(err)
	t.Cleanup(func() { h.ledger.Close() })
	return h
}

func (h *house) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// config is a file with these accounts, and lines on top.
func (h *house) config(lines string, names ...string) *config.Config {
	h.Helper()
	timeout := "1h"
	if before, after, found := strings.Cut(lines, "timeout: "); found {
		lines, timeout = before, strings.TrimSpace(after)
	}
	file := fmt.Sprintf("state_dir: %s\n%saccounts:\n", h.folder, lines)
	for _, name := range names {
		file += fmt.Sprintf("  - {name: %s, provider: gmail, host: 127.0.0.1, port: %d, tls: none, username: %s@gmail.com, password: secret, timeout: %s, maildir: %s/%s}\n",
			name, h.server.Addr().(*net.TCPAddr).Port, name, timeout, h.folder, name)
	}
	c, err := config.Parse(filepath.Join(h.folder, "popfetchd.yaml"), []byte(file))
	h.must(err)
	return c
}

// start runs a daemon until stop, which waits for its end.
func (h *house) start(c *config.Config) (stop func()) { return h.run(h.daemon(), c) }

func (h *house) daemon() *daemon.Daemon {
	return &daemon.Daemon{
		Fetcher: &fetch.Fetcher{Ledger: h.ledger, StateDir: h.folder, Log: slog.New(slog.DiscardHandler), Now: time.Now},
		Log:     slog.New(h.log), Reload: func() (*config.Config, error) { return h.reload() },
	}
}

func (h *house) run(d *daemon.Daemon, c *config.Config) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	there, seen := context.WithCancel(ctx)
	changed := d.Subscribe(there)
	var ended sync.WaitGroup
	ended.Go(func() { d.Run(ctx, c, h.hup, h.wake) })
	<-changed // the accounts are there: they can be asked for
	seen()
	return func() {
		cancel()
		ended.Wait()
	}
}

// record is what the daemon logged about a run, and when.
type record struct {
	at      time.Time
	text    string
	account string
}

// records is a slog.Handler that hands out what is logged.
type records struct {
	arrived chan record
	account string
	loud    bool // without what is for debugging only
}

func (r *records) Enabled(_ context.Context, level slog.Level) bool {
	return !r.loud || level >= slog.LevelInfo
}

func (r *records) Handle(_ context.Context, s slog.Record) error {
	r.arrived <- record{time.Now(), s.Message, r.account}
	return nil
}

func (r *records) WithAttrs(attributes []slog.Attr) slog.Handler {
	account := r.account
	for _, a := range attributes {
		if a.Key == "account" {
			account = a.Value.String()
		}
	}
	return &records{r.arrived, account, r.loud}
}

func (r *records) WithGroup(string) slog.Handler { return r }

// next waits for the next record.
func (h *house) next(want string) record {
	h.Helper()
	r := <-h.log.arrived
	if r.text != want {
		h.Fatalf("logged %q, want %q", r.text, want)
	}
	return r
}

// bubble runs a test in fake time. The server and the ledger stay outside, in real time: while anything waits for them,
// the fake time stands still.
func (h *house) bubble(test func(h *house)) {
	h.Helper()
	synctest.Test(h.T, func(t *testing.T) {
		inside := *h
		inside.T = t
		inside.log = &records{arrived: make(chan record, 1000)}
		inside.hup, inside.wake = make(chan os.Signal), make(chan os.Signal)
		test(&inside)
	})
}

// after holds that a record came so much later than a time.
func (h *house) after(r record, since time.Time, least, most time.Duration) {
	h.Helper()
	if wait := r.at.Sub(since); wait < least || wait > most {
		h.Errorf("%s: %q came after %s, want %s to %s", r.account, r.text, wait, least, most)
	}
}

func deliver(a *popsim.Account) {
	a.Deliver(popsim.Message{Body: []byte("Subject: x\r\n\r\nx\r\n")})
}

// A quarter of a day on a schedule: each run at its time, with a little jitter, and none besides.
func TestSchedule(t *testing.T) {
	newHouse(t, "joe").bubble(func(h *house) {
		stop := h.start(h.config("schedule: \"@every 15m\"\n", "joe"))
		defer stop()
		began := time.Now()
		last := h.next("nothing new")
		h.after(last, began, 0, 90*time.Second)
		for range 24 {
			r := h.next("nothing new")
			h.after(r, last.at, 15*time.Minute, 16*time.Minute+30*time.Second)
			last = r
		}
	})
}

// The first run of a process comes at once when one was missed, else when the schedule says.
func TestFirstRunOfAProcess(t *testing.T) {
	newHouse(t, "joe", "ann").bubble(func(h *house) {
		now := time.Now()
		for name, ago := range map[string]time.Duration{"joe": 20 * time.Minute, "ann": 3 * time.Hour} {
			h.must(h.ledger.Enroll(name, "/nowhere"))
			h.must(h.ledger.Finish(name, now.Add(-ago), "", true))
		}
		defer h.start(h.config("schedule: \"@every 1h\"\n", "joe", "ann"))()
		for range 2 {
			switch r := h.next("nothing new"); r.account {
			case "ann":
				h.after(r, now, 0, 2*time.Minute)
			case "joe":
				h.after(r, now, 40*time.Minute, 42*time.Minute)
			}
		}
	})
}

// A server that is busy is asked again after a minute, two, four and so on, well before the schedule; it recovers.
func TestBackOffAndRecovery(t *testing.T) {
	newHouse(t, "joe").bubble(func(h *house) {
		h.server.SetFault(popsim.On("AUTH", 0, popsim.Refuse("[SYS/TEMP] busy")))
		defer h.start(h.config("schedule: \"@weekly\"\n", "joe"))()
		last := h.next("run failed")
		for _, minutes := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			r := h.next("run failed")
			h.after(r, last.at, minutes*time.Minute, min(minutes*time.Minute*5/4, time.Hour)+time.Second)
			last = r
		}
		h.server.SetFault(nil)
		h.after(h.next("run succeeded again"), last.at, time.Hour, time.Hour+time.Second)
		h.server.SetFault(popsim.On("AUTH", 0, popsim.Refuse("[SYS/TEMP] busy")))
		last = h.next("run failed") // by the schedule
		h.after(h.next("run failed"), last.at, time.Minute, 2*time.Minute)
	})
}

// A restart does not forget how often it failed.
func TestBackOffGoesOnAfterRestart(t *testing.T) {
	newHouse(t, "joe").bubble(func(h *house) {
		h.must(h.ledger.Enroll("joe", "/nowhere"))
		for range 4 {
			h.must(h.ledger.Finish("joe", time.Now().AddDate(0, 0, -8), "it failed", true))
		}
		h.server.SetFault(popsim.On("AUTH", 0, popsim.Refuse("[SYS/TEMP] busy")))
		defer h.start(h.config("schedule: \"@weekly\"\n", "joe"))()
		last := h.next("run failed")
		h.after(h.next("run failed"), last.at, 16*time.Minute, 20*time.Minute+time.Second)
	})
}

// seldom skips records of runs in which nothing was tried, and returns the next other one.
func (h *house) seldom(want string) record {
	h.Helper()
	for {
		r := <-h.log.arrived
		if r.text == "not logged in to yet" {
			continue
		}
		if r.text != want {
			h.Fatalf("logged %q, want %q", r.text, want)
		}
		return r
	}
}

// A refused login is not tried again for a day, whatever the schedule: servers lock accounts for less.
func TestRefusedLoginWaits(t *testing.T) {
	newHouse(t, "joe").bubble(func(h *house) {
		h.server.SetFault(popsim.On("AUTH", 0, popsim.Refuse("[AUTH] no")))
		defer h.start(h.config("schedule: \"*/30 * * * *\"\n", "joe"))()
		last := h.next("run failed")
		for range 2 {
			r := h.seldom("run failed")
			h.after(r, last.at, 24*time.Hour, 25*time.Hour)
			last = r
		}
		h.wake <- syscall.SIGUSR1 // a person says: now
		h.after(h.next("run failed"), last.at, 0, 0)
		h.server.SetFault(nil)
		h.wake <- syscall.SIGUSR1
		h.after(h.next("run succeeded again"), last.at, 0, 0)
	})
}

// Nor for being asked for again and again, by whatever sends SIGUSR1: after three times it waits for an hour.
func TestRefusedLoginIsNotHammered(t *testing.T) {
	newHouse(t, "joe").bubble(func(h *house) {
		var logins atomic.Int32
		h.server.SetFault(func(r popsim.Request) popsim.Action {
			if r.Command != "AUTH" {
				return popsim.Action{}
			}
			logins.Add(1)
			return popsim.Refuse("[AUTH] no")
		})
		defer h.start(h.config("schedule: \"*/30 * * * *\"\n", "joe"))()
		h.next("run failed")
		for i := range 8 {
			h.wake <- syscall.SIGUSR1
			if i < 2 {
				h.next("run failed")
			} else {
				h.next("not logged in to yet")
			}
		}
		if n := logins.Load(); n != 3 {
			h.Errorf("%d logins", n)
		}
	})
}

// Nor by a daemon that is started anew; but one whose password has changed is tried at once.
func TestRefusedLoginWaitsOverARestart(t *testing.T) {
	newHouse(t, "joe").bubble(func(h *house) {
		h.server.SetFault(popsim.On("AUTH", 0, popsim.Refuse("[AUTH] no")))
		c := h.config("schedule: \"*/30 * * * *\"\n", "joe")
		stop := h.start(c)
		last := h.next("run failed")
		stop()
		stop = h.start(c)
		h.after(h.seldom("run failed"), last.at, 24*time.Hour, 25*time.Hour)
		stop()
		c = h.config("schedule: \"*/30 * * * *\"\ntimeout: 59m\n", "joe")
		now := time.Now()
		defer h.start(c)()
		h.after(h.next("run failed"), now, 0, time.Hour)
	})
}

// Over a server's limits, an hour goes by before the next login, then two, then four.
func TestOverQuotaWaits(t *testing.T) {
	newHouse(t, "joe").bubble(func(h *house) {
		h.server.SetFault(popsim.On("AUTH", 0, popsim.Refuse("[AUTH] Account exceeded pop command or bandwidth limits (Failure)")))
		defer h.start(h.config("schedule: \"@every 5m\"\n", "joe"))()
		last := h.next("run failed")
		for _, hours := range []time.Duration{1, 2, 4, 8, 16, 24, 24} {
			r := h.seldom("run failed")
			h.after(r, last.at, hours*time.Hour, hours*time.Hour+10*time.Minute)
			last = r
		}
		h.server.SetFault(nil)
		h.after(h.seldom("run succeeded again"), last.at, 24*time.Hour, 24*time.Hour+10*time.Minute)
	})
}

// SIGUSR1 has every account run now; the schedule goes on from there.
func TestWake(t *testing.T) {
	newHouse(t, "joe", "ann").bubble(func(h *house) {
		defer h.start(h.config("schedule: \"@every 1h\"\n", "joe", "ann"))()
		for range 2 {
			h.next("nothing new")
		}
		<-time.After(10 * time.Minute) // in fake time
		now := time.Now()
		deliver(h.accounts["joe"])
		h.wake <- syscall.SIGUSR1
		for range 2 {
			r := <-h.log.arrived
			if want := map[string]string{"joe": "run done", "ann": "nothing new"}[r.account]; r.text != want {
				h.Errorf("%s: %q, want %q", r.account, r.text, want)
			}
			h.after(r, now, 0, 0)
		}
		for range 2 {
			h.after(h.next("nothing new"), now, time.Hour, time.Hour+2*time.Minute)
		}
	})
}

// A bad file changes nothing: the old configuration stays in force.
func TestReloadOfABadFile(t *testing.T) {
	newHouse(t, "joe").bubble(func(h *house) {
		h.reload = func() (*config.Config, error) { return nil, errors.New("line 3: nonsense") }
		defer h.start(h.config("schedule: \"@every 1h\"\n", "joe"))()
		last := h.next("nothing new")
		h.hup <- syscall.SIGHUP
		h.next("the configuration has mistakes: the old one stays in force")
		h.after(h.next("nothing new"), last.at, time.Hour, time.Hour+2*time.Minute)
	})
}

// A new file adds accounts and takes some away; those that stay keep their schedule.
func TestReload(t *testing.T) {
	newHouse(t, "joe", "ann", "eve").bubble(func(h *house) {
		h.reload = func() (*config.Config, error) { return h.config("schedule: \"@every 2h\"\n", "ann", "eve"), nil }
		defer h.start(h.config("schedule: \"@every 1h\"\n", "joe", "ann"))()
		for range 2 {
			h.next("nothing new")
		}
		<-time.After(10 * time.Minute)
		now := time.Now()
		h.hup <- syscall.SIGHUP
		h.next("configuration loaded again")
		eve := h.next("nothing new")
		h.after(eve, now, 0, 2*time.Minute)
		ann := h.next("nothing new")
		h.after(ann, now, 108*time.Minute, 112*time.Minute)
		if eve.account != "eve" || ann.account != "ann" {
			h.Errorf("ran %s, then %s", eve.account, ann.account)
		}
		h.wake <- syscall.SIGUSR1
		for range 2 {
			if r := h.next("nothing new"); r.account == "joe" {
				h.Error("an account that is no longer there was run")
			}
		}
		if n := h.accounts["joe"].Sessions(); n != 1 {
			h.Errorf("joe ran %d times", n)
		}
	})
}

// The ledger and the locks do not move while the daemon runs.
func TestReloadWithAnotherStateFolder(t *testing.T) {
	newHouse(t, "joe").bubble(func(h *house) {
		c := h.config("", "joe")
		h.reload = func() (*config.Config, error) {
			moved := *c
			moved.StateDir = "/elsewhere"
			return &moved, nil
		}
		defer h.start(c)()
		h.next("nothing new")
		h.hup <- syscall.SIGHUP
		h.next("configuration loaded again")
		h.next("state_dir was changed: that takes a restart, until then the old one stays in use")
	})
}

// hold makes the server stop at a command of each session until the test lets it go on.
func (h *house) hold(command string) (held, letGo chan string) {
	held, letGo = make(chan string), make(chan string)
	h.server.SetFault(func(r popsim.Request) popsim.Action {
		if r.Command == command && r.Nth == 1 {
			held <- strings.TrimSuffix(r.Username, "@gmail.com")
			<-letGo
		}
		return popsim.Action{}
	})
	return held, letGo
}

// A new configuration waits with an account for the run in hand of the old one; so does an account whose turn it is
// not yet, because as many as may are running.
func TestReloadDuringARun(t *testing.T) {
	h := newHouse(t, "joe", "ann")
	held, letGo := h.hold("STAT")
	h.reload = func() (*config.Config, error) { return h.config("parallel: 1\n", "joe", "ann"), nil }
	stop := h.start(h.config("parallel: 1\n", "joe"))
	h.wake <- syscall.SIGUSR1
	<-held // joe's run is in hand
	h.hup <- syscall.SIGHUP
	h.next("configuration loaded again")
	h.wake <- syscall.SIGUSR1
	letGo <- ""
	if r := h.next("nothing new"); r.account != "joe" {
		t.Errorf("first %s", r.account)
	}
	ran := map[string]int{}
	for range 2 { // one after the other
		account := <-held
		letGo <- ""
		if r := h.next("nothing new"); r.account != account {
			t.Errorf("%s ended while %s was running", r.account, account)
		}
		ran[account]++
	}
	if ran["joe"] != 1 || ran["ann"] != 1 {
		t.Errorf("ran %v", ran)
	}
	stop()
}

// A signal that comes during a run is not lost: mail may have come since the run listed it. One that comes before is
// satisfied by the run.
func TestWakeDuringARun(t *testing.T) {
	h := newHouse(t, "joe")
	held, letGo := h.hold("STAT")
	stop := h.start(h.config("", "joe"))
	h.wake <- syscall.SIGUSR1
	<-held
	h.wake <- syscall.SIGUSR1
	h.wake <- syscall.SIGUSR1
	letGo <- ""
	h.next("nothing new")
	<-held
	letGo <- ""
	h.next("nothing new")
	stop()
	if n := h.accounts["joe"].Sessions(); n != 2 {
		t.Errorf("%d runs, want 2", n)
	}
}

// Never more than parallel accounts are fetched at the same time, and never fewer when there is work.
func TestParallel(t *testing.T) {
	var names []string
	for i := range 9 {
		names = append(names, fmt.Sprint("account", i))
	}
	h := newHouse(t, names...)
	const parallel = 3
	var mu sync.Mutex
	inside, most := 0, 0
	full := make(chan struct{})
	h.server.SetFault(func(r popsim.Request) popsim.Action {
		mu.Lock()
		defer mu.Unlock()
		switch r.Command {
		case "STAT":
			if inside++; inside == parallel && most < parallel {
				close(full)
			}
			most = max(most, inside)
			mu.Unlock()
			<-full // the first wait for each other
			mu.Lock()
		case "QUIT":
			inside--
		}
		return popsim.Action{}
	})
	stop := h.start(h.config(fmt.Sprintf("parallel: %d\n", parallel), names...))
	h.wake <- syscall.SIGUSR1
	for range names {
		h.next("nothing new")
	}
	stop()
	if most != parallel {
		t.Errorf("%d at the same time, want %d", most, parallel)
	}
}

// The end waits for what has arrived to be stored and remembered.
func TestEndFinishesTheCommitInHand(t *testing.T) {
	h := newHouse(t, "joe")
	for range 5 {
		deliver(h.accounts["joe"])
	}
	held := make(chan struct{})
	h.server.SetFault(func(r popsim.Request) popsim.Action {
		if r.Command == "RETR" && r.Message == 4 {
			close(held)
			return popsim.Stall()
		}
		return popsim.Action{}
	})
	c := h.config("", "joe")
	c.Accounts[0].Pipelining = false
	stop := h.start(c)
	h.wake <- syscall.SIGUSR1
	<-held
	stop()
	s, err := h.ledger.Summary("joe")
	if err != nil || s.Messages != 3 || s.ConsecutiveFailures != 0 {
		t.Errorf("%+v, %v; want 3 messages", s, err)
	}
	files, err := os.ReadDir(filepath.Join(h.folder, "joe", "new"))
	if err != nil || len(files) != 3 {
		t.Errorf("%d files, %v", len(files), err)
	}
	select {
	case r := <-h.log.arrived:
		t.Errorf("logged %q", r.text)
	default:
	}
}

// An account that is waiting, whether for its time or for its turn, does not hold up the end.
func TestEndWhileWaiting(t *testing.T) {
	h := newHouse(t, "joe", "ann")
	held := make(chan struct{})
	h.server.SetFault(func(r popsim.Request) popsim.Action {
		if r.Command == "STAT" {
			close(held)
			return popsim.Stall()
		}
		return popsim.Action{}
	})
	stop := h.start(h.config("parallel: 1\n", "joe", "ann"))
	h.wake <- syscall.SIGUSR1
	<-held
	stop()
	if n := h.accounts["joe"].Sessions() + h.accounts["ann"].Sessions(); n != 1 {
		t.Errorf("%d runs, want 1", n)
	}
}

// A run that failed is told of as one, though it reached the daily limit, too.
func TestFailureAtTheDailyLimit(t *testing.T) {
	newHouse(t, "joe").bubble(func(h *house) {
		for range 3 {
			h.accounts["joe"].Deliver(popsim.Message{Body: []byte(strings.Repeat("x", 30_000) + "\r\n")})
		}
		h.server.SetFault(popsim.On("RETR", 1, popsim.HangUpInBody(5)))
		c := h.config("schedule: \"@every 1h\"\n", "joe")
		c.Accounts[0].DailyLimit = 50_000
		defer h.start(c)()
		h.next("run failed")
	})
}
