package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/daemon"
	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/test/program"
)

// clockSource stands in for time.Now in the program's own packages: the clock of the wall is set to another time, by as
// many seconds as a file says, while the clock that only goes on goes on, as the kernel has it too. Nothing in package
// time can do that; the layout of its Time is checked below.
const clockSource = `package %s

import (
	"os"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

func wallClock() time.Time {
	now := time.Now()
	text, err := os.ReadFile(os.Getenv("TEST_CLOCK"))
	if err != nil {
		panic(err)
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		panic(err)
	}
	set := now
	*(*uint64)(unsafe.Pointer(&set)) += uint64(seconds) << 30
	if set.Unix() != now.Unix()+seconds || set.Sub(now) != 0 {
		panic("package time has changed")
	}
	return set
}
`

// buildWithClock builds the program with that clock, from this tree.
var buildWithClock = sync.OnceValues(func() (path string, err error) {
	dir, err := os.MkdirTemp(filepath.Dir(program.Path()), "clock-") // goes when that goes
	if err != nil {
		return "", err
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	packages, err := exec.Command("go", "list", "-f", "{{.Dir}} {{.Name}}", "../../internal/...", "../../cmd/popfetchd").Output()
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(packages)) {
		folder, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		if err := replaceClock(dir, folder, name, overlay.Replace); err != nil {
			return "", err
		}
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return "", err
	}
	path = filepath.Join(dir, "popfetchd")
	build := exec.Command("go", "build", "-trimpath", "-overlay", file, "-o", path, "github.com/popfetchd/popfetchd/cmd/popfetchd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

// replaceClock writes what is to replace the files of one package that ask for the time.
func replaceClock(dir, folder, name string, replace map[string]string) error {
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return err
	}
	asks := false
	put := func(file, text string) error {
		replace[filepath.Join(folder, file)] = filepath.Join(dir, fmt.Sprintf("%d.go", len(replace)))
		return os.WriteFile(replace[filepath.Join(folder, file)], []byte(text), 0o600)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if strings.HasSuffix(path, "_test.go") || !strings.Contains(string(text), "time.Now") {
			continue
		}
		asks = true
		changed := strings.ReplaceAll(string(text), "time.Now", "wallClock") + "\nvar _ time.Time\n"
		if err := put(filepath.Base(path), changed); err != nil {
			return err
		}
	}
	if !asks {
		return nil
	}
	return put("wallclock.go", fmt.Sprintf(clockSource, name))
}

// clocked is a postbox whose program goes by a clock that can be set.
type clocked struct {
	*postbox
	program string
	clock   string // the file
	ahead   time.Duration
}

func newClocked(t *testing.T, kind string, lines ...string) *clocked {
	t.Helper()
	path, err := buildWithClock()
	if err != nil {
		t.Fatal(err)
	}
	c := &clocked{postbox: newPostbox(t, kind, lines...), program: path}
	c.clock = filepath.Join(c.Dir, "clock")
	c.set(0)
	return c
}

// set sets the clock to so much more than the time.
func (c *clocked) set(ahead time.Duration) {
	text := fmt.Sprintf("%d\n", ahead/time.Second)
	err := os.WriteFile(c.clock+".new", []byte(text), 0o600)
	if err == nil {
		err = os.Rename(c.clock+".new", c.clock)
	}
	if err != nil {
		c.t.Error(err)
	}
	c.ahead = ahead
}

func (c *clocked) command(args ...string) *exec.Cmd {
	command := c.Command(args...)
	command.Path = c.program
	command.Env = append(os.Environ(), "TEST_CLOCK="+c.clock)
	return command
}

// setAt has the clock set when the server gets the n-th command of that name.
func (c *clocked) setAt(command string, n int, ahead time.Duration) {
	c.sim.SetFault(func(r popsim.Request) popsim.Action {
		if r.Command == command && r.Nth == n {
			c.set(ahead)
		}
		return popsim.Action{}
	})
}

// refuses has the server refuse one letter, which then waits for its next try.
func (c *clocked) refuses(subject string) {
	c.sim.SetFault(func(r popsim.Request) popsim.Action {
		if messages := c.server.Messages(); r.Command == "RETR" && messages[r.Message-1].UID == "uid-"+subject {
			return popsim.Refuse("not now")
		}
		return popsim.Action{}
	})
}

// fetches runs the program, which has to end well.
func (c *clocked) fetches() {
	c.t.Helper()
	if o := program.Finish(c.t, c.command("--once")); o.Code != 0 {
		c.t.Errorf("the clock %v ahead: exit code %d\n%.500s", c.ahead, o.Code, o.Stderr)
	}
}

// The clock is put forward by ten years and back, back by a year and forward, between runs and in the midst of them, while
// messages wait to be tried again or to be deleted: whatever was stored is there once, and nothing waits for ever.
func TestClockIsSet(t *testing.T) {
	for name, policy := range map[string]string{"keep": "keep", "delete": "delete", "delete later": "delete\n    delete_after: 30d"} {
		inBoth(t, name+"/", func(t *testing.T, kind string) {
			c := newClocked(t, kind, "policy: "+policy)
			serial := 0
			receive := func() {
				serial++
				c.receives(numbered(fmt.Sprintf("a-%d", serial), 6)...)
			}
			for _, ahead := range jumps(t) {
				results.add(result{fault: "clock", tried: 2})
				receive()
				c.set(ahead)
				c.refuses(fmt.Sprintf("a-%d-1", serial))
				c.fetches()
				receive()
				c.setAt([]string{"RETR", "RETR", "DELE", "QUIT"}[serial/2%4], 1+serial/8%2, -ahead/2)
				c.fetches()
			}
			c.sim.SetFault(nil)
			c.set(0)
			c.fetches()
			weigh(t, "clock", c.Account, c.want, false)
			c.set(11 * year) // every time that was ever noted is past
			c.fetches()
			c.fetches()
			weigh(t, "clock", c.Account, c.want, false)
			if n := len(c.server.Messages()); n > 0 && policy != "keep" {
				t.Errorf("%d messages are still on the server", n)
			}
			c.misses(0)
			c.NoLeftovers(t)
		})
	}
}

// jumps are times to set the clock to, from the time that it is.
func jumps(t *testing.T) []time.Duration {
	all := []time.Duration{10 * year, 0, -year, 0, 90 * time.Second, -90 * time.Second, 2 * time.Hour, -2 * time.Hour}
	if !*full {
		return all
	}
	t.Logf("-seed %d", *seed)
	random := rand.New(rand.NewPCG(*seed, 0))
	for range 60 {
		all = append(all, time.Duration(random.NormFloat64()*float64(3*year)))
	}
	return all
}

// A daemon's schedule goes on, at its pace, whatever happens to the clock of the wall while it waits or works.
func TestScheduleWhenTheClockIsSet(t *testing.T) {
	for name, schedule := range map[string]string{"every": "@every 15m", "cron": "*/15 * * * *"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The server is outside the bubble, and takes no time of it.
			p := newPostbox(t, "maildir", fmt.Sprintf("schedule: %q", schedule), "timeout: 1h")
			books, err := ledger.Open(filepath.Join(p.Dir, "ledger.db"))
			if err != nil {
				t.Fatal(err)
			}
			defer books.Close()
			settings, err := config.Load(p.Config())
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) { p.keepsPace(t, settings, books) })
		})
	}
}

// keepsPace runs a daemon in a bubble of synctest, whose time is not that of the wall.
func (p *postbox) keepsPace(t *testing.T, settings *config.Config, books *ledger.Ledger) {
	var ahead atomic.Int64
	d := &daemon.Daemon{
		Fetcher: &fetch.Fetcher{Ledger: books, StateDir: p.Dir, Log: slog.New(slog.DiscardHandler),
			Now: func() time.Time { return time.Now().Round(0).Add(time.Duration(ahead.Load())) }},
		Log: slog.New(slog.DiscardHandler),
	}
	ctx, stop := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	ended.Go(func() { d.Run(ctx, settings, nil, nil) })
	const stretch = 6 * time.Hour
	for _, jump := range []time.Duration{0, -year, 10 * year, -10 * year, 59 * time.Minute, -59 * time.Minute} {
		for _, when := range []string{"waiting", "working"} {
			if when == "waiting" {
				ahead.Add(int64(jump))
			} else {
				var once sync.Once
				p.sim.SetFault(func(r popsim.Request) popsim.Action {
					once.Do(func() { ahead.Add(int64(jump)) })
					return popsim.Action{}
				})
			}
			before := p.server.Sessions()
			time.Sleep(stretch) // of the bubble
			if runs := p.server.Sessions() - before; runs < 22 || runs > 28 {
				t.Errorf("%d runs in %v after the clock was set by %v while %s", runs, stretch, jump, when)
			}
		}
	}
	stop()
	ended.Wait()
}
