package ledger_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/ledger"
)

// TestKilled kills a committer at random moments, again and again on one ledger. What it has said to be committed is
// there afterwards; of what it has not said, a batch is there whole or not at all, its intent going the other way.
func TestKilled(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	next := 0
	for range 6 {
		command, output := committer(t, path, "gmail", next, next+10_000)
		said := next - 1
		for output.Scan() {
			batch, err := strconv.Atoi(output.Text())
			ok(t, err)
			if batch == next {
				time.AfterFunc(time.Duration(rand.IntN(int(20*time.Millisecond))), func() { _ = command.Process.Kill() })
			}
			said = batch
		}
		if err := command.Wait(); err == nil || said < next {
			t.Fatalf("the committer was to be killed: %v", err)
		}
		next = checkBatches(t, path, said)
	}
}

// checkBatches looks for batches after a kill, drops an intent that is left, and returns the number after the last.
func checkBatches(t *testing.T, path string, said int) int {
	t.Helper()
	l := open(t, path)
	defer l.Close()
	found := map[int64]int{}
	for message, err := range l.Stored("gmail") {
		ok(t, err)
		found[message.ListedSize]++
	}
	for batch := range int64(said + 2) {
		if n := found[batch]; n != batchSize && (int(batch) <= said || n != 0) {
			t.Errorf("after batch %d, batch %d has %d messages of %d", said, batch, n, batchSize)
		}
	}
	if len(found) > said+2 {
		t.Errorf("%d batches, but only %d were said to be committed", len(found), said+1)
	}
	intents, err := l.Intents("gmail")
	ok(t, err)
	if len(intents) > 1 {
		t.Errorf("%d intents are left", len(intents))
	}
	for _, intent := range intents {
		if batch := intent.Messages[0].ListedSize; found[batch] != 0 || batch != int64(len(found)) {
			t.Errorf("an intent for batch %d is left, and %d batches are there", batch, len(found))
		}
		ok(t, l.Drop(intent.ID))
	}
	return len(found)
}

// TestWritersAndReader: two processes and this one commit at once, while a read-only handle looks on.
func TestWritersAndReader(t *testing.T) {
	t.Parallel()
	const batches = 15
	l, path := newLedger(t)
	reader, err := ledger.OpenReadOnly(path)
	ok(t, err)
	defer reader.Close()
	lines := make(chan string)
	var writers sync.WaitGroup
	for _, account := range []string{"one", "two"} {
		command, output := committer(t, path, account, 0, batches-1)
		writers.Go(func() {
			for output.Scan() {
				lines <- output.Text()
			}
			if err := command.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Go(func() {
		for batch := range batches {
			if err := l.Commit("gmail", batchOf(batch), 0); err != nil {
				t.Error(err)
			}
			lines <- "here"
		}
	})
	go func() { writers.Wait(); close(lines) }()
	before := map[string]int{}
	for range lines {
		for _, account := range []string{"one", "two", "gmail"} {
			s, err := reader.Summary(account)
			ok(t, err)
			if s.Messages%batchSize != 0 || s.Messages < before[account] {
				t.Errorf("account %s has %d messages after %d", account, s.Messages, before[account])
			}
			before[account] = s.Messages
		}
	}
	for account, messages := range before {
		if messages != batches*batchSize {
			t.Errorf("account %s has %d messages in the end", account, messages)
		}
	}
}

// TestConcurrentUse shares one handle among the goroutines of several accounts.
func TestConcurrentUse(t *testing.T) {
	l, _ := newLedger(t)
	var accounts sync.WaitGroup
	for _, name := range []string{"a", "b", "c", "d"} {
		accounts.Go(func() {
			for batch := range 5 {
				err := errors.Join(l.Enroll(name, "/mail"), l.Unsettle(name, "/mail/"+name), l.Commit(name, batchOf(batch), 0), l.Finish(name, time.Unix(1, 0), "", true))
				if s, err2 := l.Summary(name); err != nil || err2 != nil || s.Messages != (batch+1)*batchSize {
					t.Error(s, err, err2)
				}
			}
		})
	}
	accounts.Wait()
}

// TestSecondHandleDropsNoLocks: to open a ledger twice in a process must not drop the lock of the first handle. Without
// it another process, such as an older sqlite3, takes itself for the last user and removes the -wal file in use.
func TestSecondHandleDropsNoLocks(t *testing.T) {
	l, path := newLedger(t)
	ok(t, l.Commit("gmail", batchOf(0), 0))
	second, err := ledger.OpenReadOnly(path)
	ok(t, err)
	ok(t, second.Close())
	f, err := os.Open(path)
	ok(t, err)
	defer f.Close()
	const ofdGetLock = 36 // F_OFD_GETLK, which unlike F_GETLK shows the locks of this process too
	lock := syscall.Flock_t{Type: syscall.F_WRLCK}
	ok(t, syscall.FcntlFlock(f.Fd(), ofdGetLock, &lock))
	if lock.Type != syscall.F_RDLCK {
		t.Error("the lock of the first handle is gone")
	}
}

func TestReadOnlyWritesNothing(t *testing.T) {
	_, path := newLedger(t)
	l, err := ledger.OpenReadOnly(path)
	ok(t, err)
	defer l.Close()
	var problem *ledger.Error
	if err := l.Finish("gmail", time.Unix(1, 0), "", true); !errors.As(err, &problem) {
		t.Errorf("Finish: %v", err)
	}
}

func TestMissing(t *testing.T) {
	folder := t.TempDir()
	if _, err := ledger.OpenReadOnly(filepath.Join(folder, "ledger.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("OpenReadOnly: %v", err)
	}
	if entries, err := os.ReadDir(folder); err != nil || len(entries) > 0 {
		t.Errorf("OpenReadOnly made %v (%v)", entries, err)
	}
	var problem *ledger.Error
	if _, err := ledger.Open(filepath.Join(folder, "none", "ledger.db")); !errors.As(err, &problem) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open in a missing folder: %v", err)
	}
}

// TestFiles: the ledger and its companions are for their owner's eyes, and belong to the owner of the ledger even when
// root opens it; odd names of folders do no harm; after Close it is one file.
func TestFiles(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "a b?c#d%41&é';+")
	ok(t, os.Mkdir(folder, 0o755))
	path := filepath.Join(folder, "ledger.db")
	ok(t, open(t, path).Close())
	if os.Geteuid() == 0 {
		ok(t, os.Chown(path, 65534, 65534))
	}
	l := open(t, "/"+path) // two slashes begin a host in an URI
	ok(t, l.Enroll("gmail", "/m"))
	owner := ownerOf(t, path)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + suffix)
		ok(t, err)
		if info.Mode() != 0o600 {
			t.Errorf("%s has mode %v", info.Name(), info.Mode())
		}
		if got := ownerOf(t, path+suffix); got != owner {
			t.Errorf("%s belongs to %d, the ledger to %d", info.Name(), got, owner)
		}
	}
	ok(t, l.Close())
	entries, err := os.ReadDir(folder)
	ok(t, err)
	if len(entries) != 1 || entries[0].Name() != "ledger.db" {
		t.Errorf("after Close the folder holds %v", entries)
	}
}

func ownerOf(t *testing.T, path string) uint32 {
	t.Helper()
	var info syscall.Stat_t
	ok(t, syscall.Stat(path, &info))
	return info.Uid
}

// TestBeginners: processes that find no ledger make one between them.
func TestBeginners(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	var beginners sync.WaitGroup
	for _, account := range []string{"a", "b", "c"} {
		command, output := committer(t, path, account, 0, 2)
		beginners.Go(func() {
			for output.Scan() {
			}
			if err := command.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
	beginners.Wait()
	l := open(t, path)
	defer l.Close()
	for _, account := range []string{"a", "b", "c"} {
		if s, err := l.Summary(account); err != nil || s.Messages != 3*batchSize {
			t.Errorf("account %s: %+v, %v", account, s, err)
		}
	}
}
