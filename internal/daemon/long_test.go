package daemon_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/daemon"
	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// Each account looks at the clock once a minute: in three weeks of 500 that is fifteen million times, which takes minutes where
// go test looks for races.
var full = flag.Bool("full", false, "500 accounts for three weeks, instead of 30 for two")

const (
	latest      = 2 * time.Minute  // after the schedule's time
	firstWithin = 10 * time.Second // of the daemon's start
)

// long is how many accounts live for how many weeks.
func long() (accounts, weeks int) {
	if *full {
		return 500, 3
	}
	return 30, 2
}

// longSchedules are handed out in turn, those that come often to few accounts.
var longSchedules = []string{"@daily", "0 6 * * 1-5", "@weekly", "30 4 1,15 * *", "@every 36h", "TZ=Asia/Almaty 30 2 * * sun", "@every 5d", "15 22 * * 2,4", "@every 7d", "@monthly"}

func longSchedule(i int) string {
	switch {
	case i < 2:
		return "@every 1h"
	case i < 4:
		return "17 * * * *"
	case i < 14:
		return "40 */8 * * *"
	}
	return longSchedules[i%len(longSchedules)]
}

// entry is a line of the log.
type entry struct {
	at      time.Time
	level   slog.Level
	text    string
	account string
}

// entries is a slog.Handler that hands out what is logged.
type entries struct {
	arrived chan entry
	account string
}

func (e entries) Enabled(context.Context, slog.Level) bool { return true }
func (e entries) WithGroup(string) slog.Handler            { return e }

func (e entries) Handle(_ context.Context, r slog.Record) error {
	e.arrived <- entry{time.Now(), r.Level, r.Message, e.account}
	return nil
}

func (e entries) WithAttrs(attributes []slog.Attr) slog.Handler {
	for _, a := range attributes {
		if a.Key == "account" {
			e.account = a.Value.String()
		}
	}
	return e
}

// longHouse is a house of many accounts, each with a schedule of its own.
type longHouse struct {
	*house
	config *config.Config
	names  []string

	mu     sync.Mutex
	inside map[string]int // sessions by user name
	twice  []string       // who had more than one at a time
}

func newLongHouse(t *testing.T) *longHouse {
	t.Helper()
	h := &longHouse{inside: map[string]int{}}
	accounts, _ := long()
	for i := range accounts {
		h.names = append(h.names, fmt.Sprintf("account%03d", i))
	}
	h.house = newHouse(t, h.names...)
	var file strings.Builder
	fmt.Fprintf(&file, "state_dir: %s\nparallel: 8\naccounts:\n", h.folder)
	for i, name := range h.names {
		fmt.Fprintf(&file, "  - {name: %s, host: 127.0.0.1, port: %d, tls: none, username: %s@gmail.com, password: secret, maildir: %s/%s, schedule: %q}\n",
			name, h.server.Addr().(*net.TCPAddr).Port, name, h.folder, name, longSchedule(i))
	}
	var err error
	h.config, err = config.Parse(filepath.Join(h.folder, "popfetchd.yaml"), []byte(file.String()))
	h.must(err)
	h.server.SetFault(h.watch)
	return h
}

// watch counts the sessions of each account, and changes nothing.
func (h *longHouse) watch(r popsim.Request) popsim.Action {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch r.Command {
	case "STAT":
		if h.inside[r.Username]++; h.inside[r.Username] > 1 {
			h.twice = append(h.twice, r.Username)
		}
	case "QUIT":
		h.inside[r.Username]--
	}
	return popsim.Action{}
}

// Weeks of many accounts with schedules of all kinds: each run comes at its time, however long the daemon has run
// and though the file is read again now and then; none is left out, none comes twice, no account runs beside itself, and no
// goroutine stays behind. What had nothing to do says nothing.
func TestWeeksOfManyAccounts(t *testing.T) {
	h := newLongHouse(t)
	for _, name := range h.names[:10] {
		deliver(h.accounts[name])
	}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, weeks := long()
		end := began.AddDate(0, 0, 7*weeks)
		runs, told := h.live(t, end)
		if told != 10 {
			t.Errorf("%d lines at info level, want one for each of the 10 runs that stored mail", told)
		}
		for i, name := range h.names {
			checkTimes(t, h.config.Accounts[i].Schedule, began, end, runs[name])
		}
	})
	if len(h.twice) > 0 {
		t.Errorf("accounts ran beside themselves: %q", h.twice)
	}
}

// An outage of most of a day is one line when it begins and one when it ends, however often it was tried meanwhile.
func TestOutageIsToldOnce(t *testing.T) {
	h := newHouse(t, "joe")
	c := h.config("schedule: \"@every 15m\"\n", "joe")
	synctest.Test(t, func(t *testing.T) {
		log := entries{arrived: make(chan entry, 10_000)}
		d := &daemon.Daemon{
			Fetcher: &fetch.Fetcher{Ledger: h.ledger, StateDir: h.folder, Log: slog.New(slog.DiscardHandler), Now: time.Now},
			Log:     slog.New(log),
		}
		ctx, cancel := context.WithCancel(t.Context())
		var ended sync.WaitGroup
		ended.Go(func() { d.Run(ctx, c, nil, nil) })
		for _, busy := range []popsim.Fault{nil, popsim.On("AUTH", 0, popsim.Refuse("[SYS/TEMP] busy")), nil} {
			h.server.SetFault(busy)
			<-time.After(20 * time.Hour)
		}
		cancel()
		ended.Wait()
		close(log.arrived)
		var told []string
		tried := 0
		for e := range log.arrived {
			if tried++; e.level >= slog.LevelInfo {
				told = append(told, e.text)
			}
		}
		if want := []string{"run failed", "run succeeded again"}; !slices.Equal(told, want) || tried < 150 {
			t.Errorf("%d runs were told as %q, want %q", tried, told, want)
		}
	})
}

// live runs the daemon until a time and returns when each account ran, and how many lines about runs were to be seen.
func (h *longHouse) live(t *testing.T, end time.Time) (runs map[string][]time.Time, told int) {
	log := entries{arrived: make(chan entry, 1000)}
	hup := make(chan os.Signal)
	d := &daemon.Daemon{
		Fetcher: &fetch.Fetcher{Ledger: h.ledger, StateDir: h.folder, Log: slog.New(slog.DiscardHandler), Now: time.Now},
		Log:     slog.New(log), Reload: func() (*config.Config, error) { return h.config, nil },
	}
	ctx, cancel := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	ended.Go(func() { d.Run(ctx, h.config, hup, nil) })
	defer ended.Wait()
	defer cancel()

	runs = map[string][]time.Time{}
	over, daily := time.After(time.Until(end)), time.NewTicker(24*time.Hour+7*time.Minute)
	defer daily.Stop()
	usual := 0
	for {
		select {
		case e := <-log.arrived:
			switch e.text {
			case "nothing new", "run done":
				runs[e.account] = append(runs[e.account], e.at)
				if e.level >= slog.LevelInfo {
					told++
				}
			case "configuration loaded again":
			default:
				t.Fatalf("account %s: logged %q", e.account, e.text)
			}
		case <-daily.C:
			synctest.Wait()
			// Sessions of the server's may be about to end.
			if n := runtime.NumGoroutine(); usual == 0 {
				usual = n
			} else if n > usual+3*8 {
				t.Fatalf("%d goroutines after a day, %d on %s", usual, n, time.Now().Format(time.DateOnly))
			}
			go func() { hup <- syscall.SIGHUP }() // the log has to be read meanwhile
		case <-over:
			return runs, told
		}
	}
}

// checkTimes holds when an account ran against its schedule.
func checkTimes(t *testing.T, s config.Schedule, began, end time.Time, runs []time.Time) {
	t.Helper()
	if len(runs) == 0 || runs[0].Sub(began) > firstWithin {
		t.Errorf("%s: the first run of %d did not come at once", s, len(runs))
		return
	}
	every := strings.HasPrefix(s.String(), "@every")
	due := s.Next(runs[0])
	for i, run := range runs[1:] {
		if late := run.Sub(due); late < 0 || late > latest {
			t.Errorf("%s: run %d came %s after its time", s, i+2, late)
			return
		}
		if due = s.Next(due); every {
			due = s.Next(run)
		}
	}
	if due.Add(latest).Before(end) {
		t.Errorf("%s: the run of %s did not come", s, due)
	}
}
