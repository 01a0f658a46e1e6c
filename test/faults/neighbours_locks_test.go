package faults

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	rowLocked = "neighbours: another program has the mbox locked"
	rowStale  = "neighbours: locks that dead programs left"
)

// holder is how messages name the neighbour when it holds a lock of that kind.
func (n *neighbour) holder(kind string) string {
	if kind == "dot" {
		return fmt.Sprintf("dot lock %s.lock of process %d (python3)", n.path, n.pid)
	}
	return fmt.Sprintf("fcntl lock of process %d (python3)", n.pid)
}

func (n *neighbour) hold(kind string) { n.tell("hold", map[string]any{"path": n.path, "how": kind}) }

func (n *neighbour) release() { n.tell("release", nil) }

// Another program has the mbox locked: popfetchd says whom it waits for, touches nothing, and goes on when the lock is
// free. When it does not come free it leaves with 75, and the next run stores the mail.
func TestNeighbourLocks(t *testing.T) {
	for _, kind := range []string{"fcntl", "dot"} {
		t.Run(kind+", released", func(t *testing.T) {
			t.Parallel()
			p, n := lockedPostbox(t, kind)
			run, lines := p.starts("--once", "--log-level", "info")
			awaits(t, lines, p.Mailbox, n.holder(kind))
			if len(mailIn(t, p.Account)) != 1 {
				t.Error("it wrote under the lock of another program")
			}
			n.release()
			if err := run.Wait(); err != nil {
				t.Errorf("after waiting: %v", err)
			}
			weigh(t, rowLocked, p.Account, p.want, false)
			p.NoLeftovers(t)
		})
		if !*full { // what follows takes a minute
			continue
		}
		t.Run(kind+", held", func(t *testing.T) {
			t.Parallel()
			p, n := lockedPostbox(t, kind)
			o := p.runs(75, "--once")
			if !strings.Contains(o.Stderr, n.holder(kind)) || !strings.Contains(o.Stderr, p.Mailbox) {
				t.Errorf("does not say who holds the lock on what: %s", o.Stderr)
			}
			if len(mailIn(t, p.Account)) != 1 {
				t.Error("it wrote under the lock of another program")
			}
			n.release()
			p.fetches(10)
			weigh(t, rowLocked, p.Account, p.want, false)
			p.NoLeftovers(t)
		})
	}
}

// lockedPostbox has letters to fetch into an mbox that a neighbour has locked.
func lockedPostbox(t *testing.T, kind string) (*postbox, *neighbour) {
	t.Helper()
	p := newPostbox(t, "mbox")
	n := newNeighbour(t, p.Account)
	n.appends("fcntl", p.want, "first")
	n.hold(kind)
	p.receives(numbered("a", 10)...)
	return p, n
}

// starts starts the program and returns the lines that it writes to stderr.
func (p *postbox) starts(args ...string) (run *exec.Cmd, lines *bufio.Scanner) {
	p.t.Helper()
	run = p.command(args...)
	stderr, err := run.StderrPipe()
	if err == nil {
		err = run.Start()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return run, bufio.NewScanner(stderr)
}

// awaits reads lines until one has all these words in it.
func awaits(t *testing.T, lines *bufio.Scanner, words ...string) {
	t.Helper()
	for lines.Scan() {
		has := true
		for _, word := range words {
			has = has && strings.Contains(lines.Text(), word)
		}
		if has {
			return
		}
		t.Log(lines.Text())
	}
	t.Fatalf("it ended without a line with %q", words)
}

// A lock that nobody holds any more is no obstacle: its process is dead, or it is old and names nobody who could tell.
func TestStaleLocks(t *testing.T) {
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	alive := exec.Command("sleep", "600") // has its number from a process that made the lock long ago, as after a reboot
	if err := alive.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		alive.Process.Kill()
		alive.Wait()
	})
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for name, lock := range map[string]struct {
		text string
		age  time.Duration
	}{
		"of a dead process":                      {fmt.Sprint(dead.Process.Pid), 0},
		"of a dead popfetchd":                    {fmt.Sprintf("%d:%s\n", dead.Process.Pid, host), 0},
		"of a dead process, by a clock ahead":    {fmt.Sprint(dead.Process.Pid), -year},
		"of another host, old":                   {"1:elsewhere", 6 * time.Minute},
		"of another host, by a clock ahead":      {"1:elsewhere", -year},
		"of nobody, old":                         {"", 6 * time.Minute},
		"of nobody, by a clock ahead":            {"", -10 * year},
		"of nonsense, old":                       {"\x00\xff\n", year},
		"of a number that was given out again":   {fmt.Sprint(alive.Process.Pid), 6 * time.Minute},
		"of a popfetchd, its number given again": {fmt.Sprintf("%d:%s\n", alive.Process.Pid, host), year},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPostbox(t, "mbox")
			newNeighbour(t, p.Account).appends("fcntl", p.want, "first")
			path := p.Mailbox + ".lock"
			if err := os.WriteFile(path, []byte(lock.text), 0o444); err != nil {
				t.Fatal(err)
			}
			made := time.Now().Add(-lock.age)
			if err := os.Chtimes(path, made, made); err != nil {
				t.Fatal(err)
			}
			p.receives(numbered("a", 3)...)
			p.fetches(3)
			weigh(t, rowStale, p.Account, p.want, false)
			p.NoLeftovers(t)
		})
	}
}

const year = 365 * 24 * time.Hour

// The program's own locks, left behind when it is killed at any call that it makes while it has them, are taken over by
// its next run.
func TestOwnLockLeftBehind(t *testing.T) {
	for _, crash := range crashes {
		t.Run(crash, func(t *testing.T) {
			t.Parallel()
			p := newPostbox(t, "mbox")
			newNeighbour(t, p.Account).appends("fcntl", p.want, "first")
			p.receives("known")
			p.fetches(1)
			p.receives(numbered("a", 5)...)
			p.diesAt(crash)
			if left, err := filepath.Glob(p.Mailbox + ".lock"); err != nil || len(left) != 1 {
				t.Fatal("it left no dot lock: nothing is proven")
			}
			p.runs(0, "--once")
			p.fetches(0)
			weigh(t, rowStale, p.Account, p.want, false)
			p.misses(0)
			p.NoLeftovers(t)
		})
	}
}
