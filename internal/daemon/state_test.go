package daemon_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/daemon"
	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// States say what is running, how far it is, what came of it and when the next run is due, in the order of the file.
func TestStates(t *testing.T) {
	h := newHouse(t, "joe", "ann")
	for range 3 {
		deliver(h.accounts["joe"])
	}
	held, letGo := make(chan struct{}), make(chan struct{})
	h.server.SetFault(func(r popsim.Request) popsim.Action {
		if r.Command == "RETR" && r.Message == 3 {
			close(held)
			<-letGo
		}
		return popsim.Action{}
	})
	c := h.config("schedule: \"@every 1h\"\n", "joe", "ann")
	c.Accounts[0].Pipelining = false
	d := h.daemon()
	if len(d.States()) != 0 || d.Config() != nil {
		t.Error("there is something before the beginning")
	}
	stop := h.run(d, c)
	changed := d.Subscribe(h.Context())
	h.must(d.Wake("joe"))
	<-held
	states := h.until(d, changed, func(s []daemon.State) bool { return s[0].Progress.Messages == 2 })
	if s := states[0]; !s.Running || s.Began.IsZero() || s.Progress.Phase != fetch.Retrieving || s.Progress.TotalMessages != 3 || s.Runs != 0 {
		t.Errorf("in mid-run: %+v", s)
	}
	if names := []string{states[0].Account.Name, states[1].Account.Name}; !slices.Equal(names, []string{"joe", "ann"}) {
		t.Errorf("accounts %q", names)
	}
	if s := states[1]; !s.Running && s.Runs == 0 && s.Next.IsZero() {
		t.Errorf("it is not known when ann is due: %+v", s)
	}
	close(letGo)
	states = h.until(d, changed, func(s []daemon.State) bool { return s[0].Runs == 1 })
	if s := states[0]; s.Running || s.Last.Stored != 3 || s.LastEnd.IsZero() || !s.Next.After(time.Now()) || s.Failures != 0 {
		t.Errorf("after the run: %+v", s)
	}
	h.server.SetFault(popsim.On("AUTH", 0, popsim.Refuse("[SYS/TEMP] busy")))
	h.must(d.Wake())
	states = h.until(d, changed, func(s []daemon.State) bool { return s[0].Failures == 1 && s[1].Failures == 1 })
	if err := states[1].Last.Err; err == nil || !strings.Contains(err.Error(), "busy") {
		t.Errorf("ann's error: %v", err)
	}
	if err := d.Wake("joe", "nobody"); err == nil || err.Error() != `the daemon has no account "nobody"; it has: joe, ann` {
		t.Errorf("waking nobody: %v", err)
	}
	stop()
}

// until looks at the states, each time they have changed, until they are as wanted.
func (h *house) until(d *daemon.Daemon, changed <-chan struct{}, wanted func([]daemon.State) bool) []daemon.State {
	h.Helper()
	patience := time.After(20 * time.Second)
	for {
		states := d.States()
		if wanted(states) {
			return states
		}
		select {
		case <-changed:
		case <-patience:
			h.Fatalf("this is not how it should get: %+v", states)
		}
	}
}

// However much happens, subscribers are told ten times a second at most, and of the last change always.
func TestSubscribersAreNotFlooded(t *testing.T) {
	full := newHouse(t, "joe")
	for range 500 {
		deliver(full.accounts["joe"])
	}
	full.bubble(func(h *house) {
		ctx, cancel := context.WithCancel(h.Context())
		defer cancel()
		d := h.daemon()
		changed := d.Subscribe(ctx)
		defer h.run(d, h.config("schedule: \"@every 1h\"\n", "joe"))()
		began := time.Now()
		h.next("run done")
		took, times := time.Since(began), 0
		for done := false; !done; times++ {
			<-changed
			s := d.States()[0]
			done = s.Runs == 1 && !s.Running
		}
		if most := 2 + int(took/(100*time.Millisecond)); times > most {
			t.Errorf("told %d times in %s", times, took)
		}
	})
}

// Fetch follows runs that begin after it was called, to their end.
func TestFetch(t *testing.T) {
	h := newHouse(t, "joe", "ann")
	held, letGo := h.hold("STAT")
	d := h.daemon()
	stop := h.run(d, h.config("parallel: 2\n", "joe", "ann"))
	h.must(d.Wake("joe"))
	for name := ""; name != "joe"; { // ann may have been due
		if name = <-held; name != "joe" {
			letGo <- ""
		}
	}
	deliver(h.accounts["joe"]) // too late for the run that is held
	var mu sync.Mutex
	ended := map[string]int{}
	var asked []string
	followed := make(chan error)
	began := make(chan struct{})
	go func() {
		followed <- d.Fetch(h.Context(), []string{"joe"}, daemon.Follower{
			Accounts: func(accounts []config.Account) {
				for _, a := range accounts {
					asked = append(asked, a.Name)
				}
				close(began)
			},
			Progress: func(string, fetch.Progress) {},
			Ended: func(name string, r fetch.Report) {
				mu.Lock()
				defer mu.Unlock()
				ended[name] = r.Stored
			},
			Gone: func(name string, why error) { t.Errorf("%s: %v", name, why) },
		})
	}()
	<-began
	h.server.SetFault(nil)
	letGo <- ""
	if err := <-followed; err != nil {
		t.Error(err)
	}
	if len(ended) != 1 || ended["joe"] != 1 || !slices.Equal(asked, []string{"joe"}) {
		t.Errorf("asked for %q, ended %v; want joe with one message", asked, ended)
	}
	if err := d.Fetch(h.Context(), []string{"nobody"}, daemon.Follower{}); err == nil {
		t.Error("nobody was fetched")
	}
	stop()
}

// Who asks before the daemon has begun is served as soon as it has.
func TestFetchBeforeTheBeginning(t *testing.T) {
	h := newHouse(t, "joe")
	d := h.daemon()
	followed, ended := make(chan error), 0
	go func() {
		followed <- d.Fetch(t.Context(), nil, daemon.Follower{
			Accounts: func([]config.Account) {},
			Progress: func(string, fetch.Progress) {},
			Ended:    func(string, fetch.Report) { ended++ },
		})
	}()
	stop := h.run(d, h.config("", "joe"))
	if err := <-followed; err != nil || ended != 1 {
		t.Errorf("%d runs, %v", ended, err)
	}
	stop()
}

// Who waits for an account that leaves the configuration meanwhile is told so, and who waits for the end of the daemon as well.
func TestFetchOfAnAccountThatLeaves(t *testing.T) {
	h := newHouse(t, "joe", "ann")
	held, letGo := h.hold("STAT")
	h.reload = func() (*config.Config, error) { return h.config("parallel: 1\n", "joe"), nil }
	d := h.daemon()
	stop := h.run(d, h.config("parallel: 1\n", "joe", "ann"))
	h.must(d.Wake())
	first := <-held // the other one waits for its turn
	gone, followed := make(chan string, 2), make(chan error)
	began := make(chan struct{})
	ctx, cancel := context.WithCancel(h.Context())
	go func() {
		followed <- d.Fetch(ctx, nil, daemon.Follower{
			Accounts: func([]config.Account) { close(began) },
			Progress: func(string, fetch.Progress) {},
			Ended:    func(name string, r fetch.Report) { t.Errorf("%s ended: %+v", name, r) },
			Gone:     func(name string, why error) { gone <- why.Error() },
		})
	}()
	<-began
	h.hup <- syscall.SIGHUP
	if first == "ann" {
		letGo <- ""
		<-held
	}
	if why := <-gone; why != "account ann is not in the configuration any more" {
		t.Error(why)
	}
	cancel()
	if err := <-followed; err == nil {
		t.Error("joe's run was not waited for")
	}
	h.server.SetFault(nil)
	letGo <- ""
	stop()
}

// A request that comes while the configuration is loaded again is not lost with the loop it was made to; nor does an account
// that leaves and comes back run twice at the same time.
func TestReloadTwiceDuringARun(t *testing.T) {
	h := newHouse(t, "joe", "ann")
	held, letGo := h.hold("STAT")
	d := h.daemon()
	both, annOnly := h.config("parallel: 2\n", "joe", "ann"), h.config("parallel: 2\n", "ann")
	stop := h.run(d, both)
	h.must(d.Wake("joe"))
	for name := ""; name != "joe"; {
		if name = <-held; name != "joe" {
			letGo <- ""
		}
	}
	h.must(d.Wake("joe")) // for another run
	for _, c := range []*config.Config{annOnly, both} {
		h.reload = func() (*config.Config, error) { return c, nil }
		loaded, err := d.LoadAgain(h.Context())
		h.must(err)
		if loaded.Config != c || d.Config() != c {
			t.Error("another configuration is in force")
		}
	}
	h.server.SetFault(nil)
	changed := d.Subscribe(h.Context())
	letGo <- ""
	states := h.until(d, changed, func(s []daemon.State) bool { return s[0].Runs == 2 })
	if err := states[0].Last.Err; err != nil || h.accounts["joe"].Sessions() != 2 {
		t.Errorf("%d sessions of joe, %v; want 2", h.accounts["joe"].Sessions(), err)
	}
	stop()
}

// An account that a reload leaves as it is keeps its time, whether by the schedule or after a failure. One whose failure was
// the configuration's is tried at once: it may have been mended.
func TestReloadKeepsTimes(t *testing.T) {
	newHouse(t, "joe", "ann").bubble(func(h *house) {
		h.server.SetFault(func(r popsim.Request) popsim.Action {
			if r.Command == "STAT" && r.Username == "joe@gmail.com" {
				return popsim.Refuse("[SYS/TEMP] busy")
			}
			return popsim.Action{}
		})
		c := h.config("schedule: \"@weekly\"\n", "joe", "ann")
		h.reload = func() (*config.Config, error) { return h.config("schedule: \"@weekly\"\n", "joe", "ann"), nil }
		d := h.daemon()
		defer h.run(d, c)()
		for range 2 {
			<-h.log.arrived
		}
		before := d.States()
		_, err := d.LoadAgain(h.Context())
		h.must(err)
		h.next("configuration loaded again")
		failed := h.next("run failed")
		h.after(failed, before[0].LastEnd, 5*time.Minute, 7*time.Minute) // it had logged in, and Gmail wants that long between two logins
		if now := d.States()[1]; !now.Next.Equal(before[1].Next) || now.Runs != 1 {
			t.Errorf("ann is due %s, was %s", now.Next, before[1].Next)
		}
	})
}

func TestReloadAfterAConfigurationFailure(t *testing.T) {
	newHouse(t, "joe").bubble(func(h *house) {
		file := fmt.Sprintf("state_dir: %s\nschedule: \"@weekly\"\naccounts:\n  - {name: joe, host: 127.0.0.1, port: %d, tls: none, username: joe@gmail.com, password_command: cat %s/password, maildir: %[1]s/joe}\n",
			h.folder, h.server.Addr().(*net.TCPAddr).Port, h.folder)
		load := func() (*config.Config, error) {
			return config.Parse(filepath.Join(h.folder, "popfetchd.yaml"), []byte(file))
		}
		c, err := load()
		h.must(err)
		h.reload = load
		d := h.daemon()
		defer h.run(d, c)()
		h.next("run failed")
		h.must(os.WriteFile(filepath.Join(h.folder, "password"), []byte("secret\n"), 0o600))
		now := time.Now()
		_, err = d.LoadAgain(h.Context())
		h.must(err)
		h.next("configuration loaded again")
		h.after(h.next("run succeeded again"), now, 0, 15*time.Second)
	})
}

// Ended hears of each run, Wake and schedule alike, but not of one that was told to stop.
func TestEnded(t *testing.T) {
	h := newHouse(t, "joe")
	d := h.daemon()
	reports := make(chan fetch.Report, 10)
	d.Ended = func(a config.Account, r fetch.Report) {
		if a.Name != "joe" {
			t.Errorf("account %q", a.Name)
		}
		reports <- r
	}
	stop := h.run(d, h.config("schedule: \"@every 1h\"\n", "joe"))
	deliver(h.accounts["joe"])
	h.must(d.Wake("joe"))
	if r := <-reports; r.Stored != 1 || r.Err != nil {
		t.Errorf("%+v", r)
	}
	h.server.SetFault(popsim.On("AUTH", 0, popsim.Refuse("[AUTH] no")))
	h.must(d.Wake("joe"))
	if r := <-reports; fetch.KindOf(r.Err) != fetch.Refused {
		t.Errorf("%+v", r)
	}
	held := make(chan struct{})
	h.server.SetFault(func(r popsim.Request) popsim.Action {
		if r.Command == "AUTH" {
			close(held)
			return popsim.Stall()
		}
		return popsim.Action{}
	})
	h.must(d.Wake("joe"))
	<-held
	stop()
	select {
	case r := <-reports:
		t.Errorf("heard of a run that was stopped: %+v", r)
	default:
	}
}

// A daemon that is told to end in mid-run still announces what the run has stored.
func TestOnNewAtTheEnd(t *testing.T) {
	h := newHouse(t, "joe")
	for range 3 {
		deliver(h.accounts["joe"])
	}
	held, letGo := h.hold("QUIT")
	c := h.config("", "joe")
	c.Accounts[0].OnNew = "echo $POPFETCHD_COUNT >" + h.folder + "/told"
	d := h.daemon()
	stop := h.run(d, c)
	h.must(d.Wake())
	<-held
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		stop()
	}()
	h.server.SetFault(nil)
	letGo <- ""
	<-ended
	text, err := os.ReadFile(h.folder + "/told")
	if err != nil || string(text) != "3\n" {
		t.Errorf("told %q, %v", text, err)
	}
}
