package daemon_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/daemon"
	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// words are what a service manager was told, and when.
type words chan word

type word struct {
	at   time.Time
	text string
}

func (w words) hear(text string) { w <- word{time.Now(), text} }

// next is the next one that begins with want; others are passed over, but for a READY too early.
func (w words) next(t *testing.T, want string) word {
	t.Helper()
	for {
		heard := <-w
		if strings.HasPrefix(heard.text, want) {
			return heard
		}
		if strings.Contains(heard.text, "READY=1") {
			t.Fatalf("told %q, waiting for %q", heard.text, want)
		}
	}
}

// silent holds that no food came for the watchdog within a time.
func (w words) silent(t *testing.T, within time.Duration) {
	t.Helper()
	for end := time.After(within); ; {
		select {
		case heard := <-w:
			if heard.text == "WATCHDOG=1" {
				t.Fatal("the watchdog is still fed")
			}
		case <-end:
			return
		}
	}
}

// slow has each run of d say nothing for a while, as when a server does not answer. (A real one would have the fake time
// stand still.)
func slow(d *daemon.Daemon, silence time.Duration) {
	paused := make(chan map[string]time.Time, 1) // which run of an account was slow last
	paused <- map[string]time.Time{}
	d.Fetcher.Now = func() time.Time {
		for _, s := range d.States() {
			last := <-paused
			fresh := s.Running && !last[s.Account.Name].Equal(s.Began)
			if fresh {
				last[s.Account.Name] = s.Began
			}
			paused <- last
			if fresh {
				<-time.After(silence)
			}
		}
		return time.Now()
	}
}

// fedFor holds that the watchdog is fed for a time, three times as often as it wants.
func (w words) fedFor(t *testing.T, span time.Duration) {
	t.Helper()
	began := time.Now()
	for last := began; last.Sub(began) < span; {
		fed := w.next(t, "WATCHDOG=1")
		if gap := fed.at.Sub(last); gap > 10*time.Second {
			t.Fatalf("not fed for %s", gap)
		}
		last = fed.at
	}
}

// The watchdog hears of a daemon that is idle, and of one whose server takes its time within its timeouts.
func TestWatchdogIsFedWhileAServerIsSlow(t *testing.T) {
	newHouse(t, "joe").bubble(func(h *house) {
		d, told := h.daemon(), make(words, 10_000)
		d.Notify, d.Watchdog = told.hear, 30*time.Second
		slow(d, 50*time.Minute)
		defer h.run(d, h.config("schedule: \"@hourly\"\ntimeout: 25m\n", "joe"))()
		began := time.Now()
		if first := told.next(h.T, "READY=1\nSTATUS=1 account; next run at "); first.at.Sub(began) > 0 {
			t.Error("ready late")
		}
		told.fedFor(h.T, 3*time.Hour)
		if done := h.next("nothing new"); done.at.Sub(began) < 50*time.Minute {
			t.Error("the server was not that slow")
		}
	})
}

// Many accounts that wait for their turn are no reason for an alarm while one is being fetched.
func TestWatchdogIsFedWhileAccountsQueue(t *testing.T) {
	newHouse(t, "joe", "ann", "eve").bubble(func(h *house) {
		d, told := h.daemon(), make(words, 10_000)
		d.Notify, d.Watchdog = told.hear, 30*time.Second
		slow(d, 50*time.Minute)
		defer h.run(d, h.config("parallel: 1\nschedule: \"@daily\"\ntimeout: 25m\n", "joe", "ann", "eve"))()
		began := time.Now()
		told.next(h.T, "READY=1")
		told.fedFor(h.T, 3*time.Hour)
		for n := range 3 {
			if r := h.next("nothing new"); r.at.Sub(began) < time.Duration(n+1)*50*time.Minute {
				t.Errorf("%s did not wait for its turn", r.account)
			}
		}
	})
}

// A run that is silent for longer than any of its timeouts hangs.
func TestWatchdogStarvesWhenARunHangs(t *testing.T) {
	newHouse(t, "joe").bubble(func(h *house) {
		d, told := h.daemon(), make(words, 10_000)
		d.Notify, d.Watchdog = told.hear, 30*time.Second
		slow(d, 3*time.Hour)
		defer h.run(d, h.config("schedule: \"@daily\"\ntimeout: 5m\n", "joe"))()
		told.next(h.T, "READY=1")
		told.fedFor(h.T, 35*time.Minute)
		h.next("the scheduler is stuck: the watchdog is not fed any more")
		for len(told) > 0 {
			<-told
		}
		told.silent(h.T, 100*time.Minute)
	})
}

// A loop that hangs has the feeding stop, whichever step it hangs in; once it goes on, the feeding does.
func TestWatchdogStarvesWhenALoopHangs(t *testing.T) {
	newHouse(t, "joe", "ann").bubble(func(h *house) {
		d, told := h.daemon(), make(words, 100_000)
		d.Notify, d.Watchdog = told.hear, 30*time.Second
		letGo := make(chan struct{})
		d.Ended = func(a config.Account, _ fetch.Report) {
			if a.Name == "joe" {
				<-letGo
			}
		}
		defer h.run(d, h.config("schedule: \"@hourly\"\n", "joe", "ann"))()
		for range 2 {
			h.next("nothing new")
		}
		stuck := h.next("the scheduler is stuck: the watchdog is not fed any more")
		if stuck.account != "joe" {
			t.Errorf("it is %s that is stuck", stuck.account)
		}
		for len(told) > 0 {
			<-told
		}
		told.silent(h.T, 20*time.Minute)
		close(letGo)
		told.next(h.T, "WATCHDOG=1")
	})
}

// So does the loop that all others depend on: here it is reading a configuration that does not come.
func TestWatchdogStarvesWhenTheSchedulerHangs(t *testing.T) {
	newHouse(t, "joe").bubble(func(h *house) {
		d, told := h.daemon(), make(words, 10_000)
		d.Notify, d.Watchdog = told.hear, 30*time.Second
		letGo := make(chan struct{})
		h.reload = func() (*config.Config, error) {
			<-letGo
			return nil, fmt.Errorf("no")
		}
		stop := h.run(d, h.config("schedule: \"@hourly\"\n", "joe"))
		told.next(h.T, "READY=1")
		h.hup <- nil
		told.next(h.T, "RELOADING=1\nMONOTONIC_USEC=")
		told.silent(h.T, time.Hour)
		close(letGo)
		heard := told.next(h.T, "READY=1\nSTATUS=1 account; next run at ")
		if !strings.HasSuffix(heard.text, "; the configuration file has mistakes, the one before is in force") {
			t.Errorf("told %q", heard.text)
		}
		stop()
		told.next(h.T, "STOPPING=1\n")
	})
}

// shiftedClock is a wall clock that can be set, as by a person or by waking from suspend.
type shiftedClock struct {
	ahead chan time.Duration // holds how far
}

func newShiftedClock() shiftedClock {
	c := shiftedClock{make(chan time.Duration, 1)}
	c.ahead <- 0
	return c
}

func (c shiftedClock) now() time.Time {
	d := <-c.ahead
	c.ahead <- d
	return time.Now().Add(d)
}

func (c shiftedClock) set(by time.Duration) { c.ahead <- <-c.ahead + by }

// After a night of suspend, or a clock that was put forward, each account that has become due runs within a minute or so, and
// once, however often its time came meanwhile. One that is not due yet waits for its time by the new clock.
func TestLongJumpForward(t *testing.T) {
	newHouse(t, "joe", "ann").bubble(func(h *house) {
		clock := newShiftedClock()
		d := h.daemon()
		d.Fetcher.Now = clock.now
		c := h.config("schedule: \"@every 1h\"\n", "joe", "ann")
		monthly, err := config.ParseSchedule("@every 720h")
		h.must(err)
		c.Accounts[1].Schedule = monthly
		defer h.run(d, c)()
		for range 2 {
			h.next("nothing new")
		}
		due := d.States()[1].Next
		<-time.After(5 * time.Minute)
		clock.set(9 * time.Hour)
		jumped := time.Now()
		woke := h.next("nothing new")
		h.after(woke, jumped, 0, 61*time.Second)
		again := h.next("nothing new")
		h.after(again, woke.at, time.Hour, time.Hour+2*time.Minute)
		if woke.account != "joe" || again.account != "joe" {
			t.Errorf("ran %s and %s", woke.account, again.account)
		}
		if next := d.States()[1].Next; !next.Equal(due) {
			t.Errorf("ann is due %s, was %s", next, due)
		}
	})
}

// A clock that is put back does not have anybody wait for it to come round again.
func TestLongJumpBack(t *testing.T) {
	newHouse(t, "joe").bubble(func(h *house) {
		clock := newShiftedClock()
		clock.set(1000 * time.Hour)
		d := h.daemon()
		d.Fetcher.Now = clock.now
		defer h.run(d, h.config("schedule: \"@every 1h\"\n", "joe"))()
		last := h.next("nothing new")
		<-time.After(5 * time.Minute)
		clock.set(-900 * time.Hour) // noticed within a minute, which is lost
		h.after(h.next("nothing new"), last.at, time.Hour, time.Hour+3*time.Minute)
	})
}

// A run is told of when it fails, not each time that it fails again in the same way, but once a day; and when that is over.
func TestAFailureIsToldOnce(t *testing.T) {
	newHouse(t, "joe").bubble(func(h *house) {
		h.server.SetFault(popsim.On("AUTH", 0, popsim.Refuse("[SYS/TEMP] busy")))
		h.log.loud = true
		d := h.daemon()
		defer h.run(d, h.config("schedule: \"@every 30m\"\n", "joe"))()
		first := h.next("run failed")
		again := h.next("run failed")
		h.after(again, first.at, 24*time.Hour, 25*time.Hour)
		h.server.SetFault(popsim.On("STAT", 0, popsim.Refuse("[SYS/TEMP] full")))
		h.after(h.next("run failed"), again.at, 0, time.Hour)
		h.must(d.Wake()) // whoever asks for a run hears of it
		h.next("run failed")
		h.server.SetFault(nil)
		h.next("run succeeded again")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(h.Context(), 10*time.Hour)
		defer cancel()
		select {
		case r := <-h.log.arrived:
			t.Errorf("then %q", r.text)
		case <-ctx.Done():
		}
	})
}
