package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// python runs a script with Python, the other side of our locks and formats.
func python(t *testing.T, script string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal("these tests need python3: install it (apt-get install python3)")
	}
	c := exec.Command(path, append([]string{"-c", script}, args...)...)
	c.Stderr = t.Output()
	return c
}

// tryCommit stores a message in the mbox with a short wait for locks.
func tryCommit(t *testing.T, m *Mbox) error {
	t.Helper()
	b := begin(t, m, 0, "x\r\n")
	defer func() { check(t, b.Discard()) }()
	_, err := b.Commit(context.Background(), noRecord)
	return err
}

// Another program's fcntl lock keeps us out, and ours keeps it out.
func TestFcntlLockOfOthers(t *testing.T) {
	t.Parallel()
	m := newMbox(t)
	put(t, m, 0, "x\r\n")
	m.options.LockTimeout = 50 * time.Millisecond
	c := python(t, `
import fcntl, sys
f = open(sys.argv[1], "r+b")
fcntl.lockf(f, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
`, m.path)
	in, out := must(c.StdinPipe())(t), must(c.StdoutPipe())(t)
	check(t, c.Start())
	must(out.Read(make([]byte, 10)))(t)
	err := tryCommit(t, m)
	var local *Error
	want := fmt.Sprintf("fcntl lock of process %d (python3", c.Process.Pid)
	if !errors.Is(err, ErrLocked) || !errors.As(err, &local) || !strings.Contains(err.Error(), want) {
		t.Errorf("Commit said %v, want %s", err, want)
	}
	check(t, in.Close())
	check(t, c.Wait())
	check(t, tryCommit(t, m))

	b := begin(t, m, 0, "x\r\n")
	must(b.Commit(context.Background(), func(Intent) error {
		said := string(must(python(t, `
import fcntl, os, sys
f = open(sys.argv[1], "r+b")
try:
    fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    print("locked")
except OSError:
    print("refused", open(sys.argv[1] + ".lock").read().strip(), oct(os.stat(sys.argv[1] + ".lock").st_mode & 0o777))
`, m.path).Output())(t))
		if want := fmt.Sprintf("refused %d:%s 0o444\n", os.Getpid(), testHost); said != want {
			t.Errorf("while we hold the locks Python says %q, want %q", said, want)
		}
		return nil
	}))(t)
	check(t, b.Discard())
	nothingUnfinished(t, m)
}

// deadPid returns the number of a process that has ended.
func deadPid(t *testing.T) int {
	c := exec.Command(os.Args[0], "-test.run=^$")
	check(t, c.Run())
	return c.Process.Pid
}

// Which dot locks are heeded and which are taken away.
func TestDotLocksOfOthers(t *testing.T) {
	t.Parallel()
	parent, dead := os.Getppid(), deadPid(t)
	const minute = time.Minute
	for _, c := range []struct {
		text  string
		age   time.Duration
		stale bool
	}{
		{"", 0, false},
		{"", 4 * minute, false},
		{"", 6 * minute, true},
		{"0", 4 * minute, false}, // procmail
		{"0", 6 * minute, true},
		{"nonsense", 6 * minute, true},
		{fmt.Sprintf("%d", dead), 0, true},
		{fmt.Sprintf("%d\n", dead), 0, true},
		{fmt.Sprintf("%d:%s\n", dead, testHost), 0, true},
		{fmt.Sprintf("%d:elsewhere", dead), 0, false},
		{fmt.Sprintf("%d:elsewhere", dead), 6 * minute, true},
		{fmt.Sprintf("%d:%s", os.Getpid(), testHost), 0, true}, // ours, from before a restart with the same number
		{fmt.Sprintf("%d\n", parent), 0, false},
		{fmt.Sprintf("%d:%s", parent, testHost), 0, false},
		{fmt.Sprintf("%d:%s", parent, testHost), 400 * 24 * time.Hour, true}, // made before it started
		{"1:elsewhere", 6 * minute, true},
	} {
		m := newMbox(t)
		put(t, m, 0, "x\r\n")
		dot := m.path + ".lock"
		write(t, dot, c.text)
		made := time.Now().Add(-c.age)
		check(t, os.Chtimes(dot, made, made))
		m.options.LockTimeout = time.Millisecond
		err := tryCommit(t, m)
		if c.stale {
			if err != nil {
				t.Errorf("%q, %v old: %v", c.text, c.age, err)
			}
			nothingUnfinished(t, m)
			continue
		}
		if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dot) {
			t.Errorf("%q, %v old: Commit said %v", c.text, c.age, err)
		}
		if pid, _ := parseDot(c.text); pid > 0 && !strings.Contains(err.Error(), fmt.Sprintf("process %d", pid)) {
			t.Errorf("%q: %v does not name the process", c.text, err)
		}
		if read(t, dot) != c.text {
			t.Errorf("the lock %q was taken away", c.text)
		}
		if got := names(t, filepath.Dir(m.path)); len(got) != 2 {
			t.Errorf("left behind: %q", got)
		}
	}
}

// A live process keeps its lock for as long as it likes.
func TestOldLockOfLiveProcess(t *testing.T) {
	pid := os.Getppid()
	started := must(startTime(pid))(t)
	if age := time.Since(started); age < 0 || age > 1000*24*time.Hour {
		t.Fatalf("process %d is said to be %v old", pid, age)
	}
	if isStale(pid, true, true, started.Add(time.Second), started.Add(time.Hour)) {
		t.Error("the lock of a live process was judged stale")
	}
	if !isStale(pid, true, true, started.Add(-time.Second), started.Add(time.Hour)) {
		t.Error("the lock of a process that had the number before was not judged stale")
	}
	if isStale(pid, true, true, started.Add(-time.Second), started.Add(time.Minute)) {
		t.Error("a young lock was judged stale by the clock alone")
	}
}

// What lies at the dot lock's name but is no file is never removed.
func TestDotLockThatIsNoFile(t *testing.T) {
	m := newMbox(t)
	put(t, m, 0, "x\r\n")
	m.options.LockTimeout = time.Millisecond
	check(t, os.Mkdir(m.path+".lock", 0o700))
	if err := tryCommit(t, m); !errors.Is(err, ErrLocked) {
		t.Errorf("Commit said %v", err)
	}
}

// We go on as soon as the lock is released, and stop when the context ends.
func TestWaitingForLocks(t *testing.T) {
	m := newMbox(t)
	put(t, m, 0, "x\r\n")
	m.options.LockTimeout = time.Hour
	write(t, m.path+".lock", "")
	ctx, cancel := context.WithCancelCause(context.Background())
	reason := errors.New("the service stops")
	b := begin(t, m, 1, "y\r\n")
	done := make(chan error)
	go func() {
		_, err := b.Commit(ctx, noRecord)
		done <- err
	}()
	cancel(reason)
	var local *Error
	if err := <-done; !errors.Is(err, reason) || errors.As(err, &local) || !strings.Contains(err.Error(), m.path+".lock") {
		t.Errorf("Commit said %v", err) // nothing is wrong with the disk
	}
	check(t, b.Discard())

	b = begin(t, m, 1, "y\r\n")
	go func() {
		_, err := b.Commit(context.Background(), noRecord)
		done <- err
	}()
	check(t, os.Remove(m.path+".lock"))
	check(t, <-done)
	check(t, b.Discard())
	nothingUnfinished(t, m)
}

// Our dot lock, taken for stale by somebody and replaced, is theirs.
func TestReplacedDotLockIsLeft(t *testing.T) {
	m := newMbox(t)
	b := begin(t, m, 0, "x\r\n")
	dot := m.path + ".lock"
	must(b.Commit(context.Background(), func(Intent) error {
		check(t, os.Rename(dot, dot+".moved")) // keeps the number of the file from being used again
		write(t, dot, "theirs")
		return nil
	}))(t)
	if read(t, dot) != "theirs" {
		t.Error("the lock of another program was changed")
	}
}

// An mbox that is replaced between opening and locking is not written to.
func TestReplacedWhileLocking(t *testing.T) {
	m := newMbox(t)
	put(t, m, 0, "old\r\n")
	f := must(openMbox(m.path, true))(t)
	defer f.Close()
	l := &lockedMbox{File: f}
	if holder, err := l.stillThere(); holder != "" || err != nil {
		t.Errorf("%q, %v", holder, err)
	}
	check(t, os.Rename(m.path, m.path+".old"))
	for _, there := range []bool{false, true} {
		if there {
			write(t, m.path, "new")
		}
		if holder, err := l.stillThere(); holder == "" || err != nil {
			t.Errorf("with a new file %v: %q, %v", there, holder, err)
		}
	}
}

// A mail reader that knows the dot lock alone had it when we took the fcntl
// lock, put a new mbox in place, and released it: the dot lock that we get
// then is one for another file.
func TestReplacedBeforeDotLock(t *testing.T) {
	m := newMbox(t)
	put(t, m, 0, "old\r\n")
	l := &lockedMbox{File: must(openMbox(m.path, true))(t)}
	for _, lock := range []func() (string, error){l.lockFile, l.stillThere} {
		if holder, err := lock(); holder != "" || err != nil {
			t.Fatalf("%q, %v", holder, err)
		}
	}
	write(t, m.path+".new", "new")
	check(t, os.Rename(m.path+".new", m.path))
	if holder, err := l.lockDot(m.path, m.options); holder == "" || err != nil {
		t.Errorf("the locks of an unlinked file were taken for those of the mbox: %q, %v", holder, err)
	}
	check(t, l.unlock())
	nothingUnfinished(t, m)
}

// A program that knows no locks puts a new file in place, or none, while we
// append: what nobody can find does not count, and Redo makes it good.
func TestReplacedWhileAppending(t *testing.T) {
	for name, c := range map[string]struct {
		replace func(t *testing.T, path string)
		redone  Outcome
	}{
		"same":    {func(t *testing.T, path string) { write(t, path+".new", read(t, path)) }, Restored},
		"longer":  {func(t *testing.T, path string) { write(t, path+".new", read(t, path)+"From x\nnew\n\n") }, Foreign},
		"shorter": {func(t *testing.T, path string) { write(t, path+".new", "") }, Foreign},
		"none":    {func(t *testing.T, path string) {}, Foreign},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMbox(t)
			put(t, m, 0, "old\r\n")
			b := begin(t, m, 1, "mail\r\n")
			var intent Intent
			var theirs string
			messages, err := b.Commit(context.Background(), func(i Intent) error {
				intent = i
				c.replace(t, m.path)
				check(t, os.Rename(m.path, m.path+".old"))
				if os.Rename(m.path+".new", m.path) == nil {
					theirs = read(t, m.path)
				}
				return nil
			})
			var local *Error
			if !errors.As(err, &local) || !strings.Contains(err.Error(), "replaced") || messages != nil {
				t.Fatalf("Commit returned %v, %v", messages, err)
			}
			t.Log(err)
			if name != "none" && read(t, m.path) != theirs {
				t.Error("the new file was changed")
			}
			if got := splitMbox(t, read(t, m.path+".old")); len(got) != 1 {
				t.Errorf("the file that was moved away holds %q", got)
			}
			if got := redone(t, intent, m.options); got != c.redone {
				t.Errorf("Redo says %v, want %v", got, c.redone)
			}
		})
	}
}

// Several processes, two accounts of this one, and Python's mailbox module
// deliver to one mbox at the same time: every message is there, whole.
func TestConcurrentWriters(t *testing.T) {
	t.Parallel()
	x := newKilling(t)
	x.m.options.LockTimeout = time.Minute
	const batches, perBatch = 5, 3
	var want []string
	expect := func(first int) {
		for i := first; i < first+batches*perBatch; i++ {
			want = append(want, numbered(i, 300))
		}
	}
	var writers sync.WaitGroup
	run := func(c *exec.Cmd) {
		check(t, c.Start())
		writers.Go(func() {
			if err := c.Wait(); err != nil {
				t.Errorf("%v: %v", c.Args, err)
			}
		})
	}
	put(t, x.m, 0, numbered(0, 300))
	want = append(want, numbered(0, 300))
	for n := range 2 {
		first := 1000 * (n + 1)
		o := commitOrder{Mbox: x.m.path, SpoolDir: x.m.options.SpoolDir, Account: "test", First: first, Count: perBatch, Bytes: 300, Batches: batches}
		run(helper(t, "commit", o.json()))
		expect(first)
	}
	run(python(t, `
import mailbox, sys, time
for i in range(5):
    m = mailbox.mbox(sys.argv[1], create=False)
    while True:
        try:
            m.lock()
            break
        except mailbox.ExternalClashError:
            time.sleep(0.01)
    m.add(b"Subject: python %d\n\ntext\n" % i)
    m.close()
`, x.m.path))
	for i := range 5 {
		want = append(want, fmt.Sprintf("Subject: python %d\n\ntext\n", i))
	}
	for n, account := range []string{"one", "two"} {
		options := x.m.options
		options.Account = account
		m := must(OpenMbox(x.m.path, options))(t)
		o := commitOrder{Count: perBatch, Bytes: 300}
		first := 5000 + 1000*n
		expect(first)
		writers.Go(func() {
			for i := range batches {
				if err := o.commitBatch(m, first+i*perBatch); err != nil {
					t.Errorf("account %s: %v", account, err)
				}
			}
		})
	}
	writers.Wait()
	sameSet(t, all(t, x.m), want)
	nothingUnfinished(t, x.m)
}
