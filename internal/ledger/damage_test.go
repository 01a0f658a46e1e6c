package ledger_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/ledger"
)

// sound returns the bytes of a ledger with rows in every table, on some thirty pages.
func sound(t testing.TB) []byte {
	t.Helper()
	l, path := newLedger(t)
	ok(t, l.Commit("gmail", filed(gmailKeys(400)), 0))
	ok(t, l.SetDeletion("gmail", gmailKeys(50), ledger.Pending))
	ok(t, l.Fail("gmail", []ledger.Failure{{Key: ledger.Key{UID: "failed"}, Reason: ledger.Refused}}))
	_, err := l.Intend("gmail", ledger.Intent{Path: "/mail/box", Messages: batchOf(1)})
	ok(t, err)
	ok(t, l.SetHold("gmail", ledger.Hold{Reason: ledger.OverQuota, Since: time.Unix(1_790_000_000, 0), Until: time.Unix(1_790_003_600, 0), Times: 1, Problem: "exceeded"}))
	ok(t, l.AddTraffic("gmail", time.Unix(1_790_000_000, 0), 1_000_000))
	ok(t, l.RaiseIncident(ledger.Incident{Account: "gmail", Kind: "silence", Since: time.Unix(1_790_000_000, 0), Text: "no success since yesterday"}))
	ok(t, l.Close())
	data, err := os.ReadFile(path)
	ok(t, err)
	return data
}

// checkDamaged puts data where a ledger is looked for: no way of opening it may take it for one, nor change a byte.
func checkDamaged(t *testing.T, what, path string, data []byte) {
	t.Helper()
	ok(t, os.WriteFile(path, data, 0o600))
	for name, open := range ways {
		l, err := open(path)
		if err == nil {
			_ = l.Close()
			t.Errorf("%s: %s takes it for a ledger", what, name)
			continue
		}
		checkHelpful(t, what, path, err)
		if !errors.Is(err, ledger.ErrDamaged) {
			t.Errorf("%s: %s says %v", what, name, err)
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, data) {
			t.Errorf("%s: %s has changed the file (%v)", what, name, err)
		}
	}
}

// checkHelpful wants an *Error of one line that names the file and says what to do.
func checkHelpful(t *testing.T, what, path string, err error) {
	t.Helper()
	var problem *ledger.Error
	if !errors.As(err, &problem) || problem.Path != path {
		t.Errorf("%s: %#v is no *ledger.Error about %s", what, err, path)
	}
	if text := err.Error(); !strings.Contains(text, path) || !strings.Contains(text, "; ") || strings.Contains(text, "\n") {
		t.Errorf("%s: the text does not help: %q", what, text)
	}
}

func TestDamaged(t *testing.T) {
	t.Parallel()
	whole, path := sound(t), filepath.Join(t.TempDir(), "ledger.db")
	const page = 4096
	if len(whole) < 20*page {
		t.Fatalf("the ledger is only %d bytes long", len(whole))
	}
	checkDamaged(t, "empty", path, nil)
	checkDamaged(t, "text", path, []byte("once upon a time"))
	checkDamaged(t, "only the header's text", path, whole[:16])
	checkDamaged(t, "all zeros", path, make([]byte, len(whole)))
	for at := 0; at < len(whole); at += page {
		zeroed := bytes.Clone(whole)
		clear(zeroed[at : at+page])
		checkDamaged(t, fmt.Sprintf("page %d zeroed", at/page+1), path, zeroed)
	}
	for at := page; at < len(whole); at += page { // not the header itself: what lost that can be any file
		noise := bytes.Clone(whole)
		for i := range page {
			noise[at+i] = byte(rand.Uint32())
		}
		checkDamaged(t, fmt.Sprintf("noise in page %d", at/page+1), path, noise)
	}
	for length := len(whole) - 1; length > 0; length -= 1 + rand.IntN(2*page) {
		checkDamaged(t, fmt.Sprintf("cut to %d bytes", length), path, whole[:length])
	}
	for length := len(whole) - page; length < len(whole); length += 512 { // of pages that are filled from their end, this cuts the rows
		checkDamaged(t, fmt.Sprintf("cut to %d bytes", length), path, whole[:length])
	}
	for length := page; length < len(whole); length += page {
		checkDamaged(t, fmt.Sprintf("cut to %d pages", length/page), path, whole[:length])
	}
	ok(t, os.WriteFile(path, whole, 0o600))
	ok(t, open(t, path).Close()) // the very same ledger is fine
}

// TestCutBesideItsWal: a ledger cut off to next to nothing is a damaged one, not another program's, while its -wal is there.
func TestCutBesideItsWal(t *testing.T) {
	l, path := newLedger(t)
	ok(t, l.Commit("gmail", batchOf(0), 0))
	whole, err := os.ReadFile(path)
	ok(t, err)
	wal, err := os.ReadFile(path + "-wal")
	ok(t, err)
	for _, length := range []int{0, 1, 16, 99, 511, 512, 4096} {
		path := filepath.Join(t.TempDir(), "ledger.db")
		ok(t, os.WriteFile(path+"-wal", wal, 0o600))
		ok(t, os.WriteFile(path, whole[:length], 0o600))
		_, err := ledger.Open(path)
		checkHelpful(t, "cut", path, err)
		if !errors.Is(err, ledger.ErrDamaged) {
			t.Errorf("cut to %d bytes: %v", length, err)
		}
	}
}

// TestNoise changes a few bytes anywhere. Not all of that can be told from a ledger, but nothing may panic.
func TestNoise(t *testing.T) {
	t.Parallel()
	whole, path := sound(t), filepath.Join(t.TempDir(), "ledger.db")
	for range 20 {
		noise := bytes.Clone(whole)
		for range 1 + rand.IntN(3) {
			noise[rand.IntN(len(noise))] ^= byte(1 + rand.IntN(255))
		}
		ok(t, os.WriteFile(path, noise, 0o600))
		l, err := ledger.Open(path)
		if err != nil {
			checkHelpful(t, "noise", path, err)
			continue
		}
		useAll(l)
		ok(t, l.Close())
		_ = os.Remove(path + "-wal")
	}
}

// useAll calls the methods; whatever they make of it, they return.
func useAll(l *ledger.Ledger) {
	_, _ = l.States("gmail", gmailKeys(400))
	for range l.Stored("gmail") {
		continue
	}
	_, _ = l.Summary("gmail")
	_, _ = l.Failures("gmail")
	_, _ = l.Intents("gmail")
	_, _ = l.Deletions("gmail", ledger.Pending)
	_ = l.Commit("gmail", batchOf(2), 0)
}

// TestDamagedWhileOpen: damage that comes later is an error as well, once its page is read.
func TestDamagedWhileOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	whole := sound(t)
	ok(t, os.WriteFile(path, whole, 0o600))
	l := open(t, path)
	defer l.Close()
	clear(whole[len(whole)/2:])
	ok(t, os.WriteFile(path, whole, 0o600))
	execute(t, path, "PRAGMA user_version = 1") // a commit of somebody else makes SQLite read the pages again
	_, err := l.States("gmail", gmailKeys(400))
	checkHelpful(t, "States", path, err)
	if !errors.Is(err, ledger.ErrDamaged) {
		t.Errorf("States: %v", err)
	}
}

func execute(t *testing.T, path, statements string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	ok(t, err)
	_, err = db.Exec(statements)
	ok(t, err)
	ok(t, db.Close())
}

func TestForeign(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	execute(t, path, "CREATE TABLE messages (id INTEGER); INSERT INTO messages VALUES (1)")
	_, err := ledger.Open(path)
	checkHelpful(t, "another program's database", path, err)
	if err == nil || errors.Is(err, ledger.ErrDamaged) || !strings.Contains(err.Error(), "this is no ledger of popfetchd") {
		t.Errorf("another program's database: %v", err)
	}
}

func TestNewerVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	ok(t, os.WriteFile(path, sound(t), 0o600))
	execute(t, path, "PRAGMA user_version = 5")
	_, err := ledger.Open(path)
	checkHelpful(t, "a newer version", path, err)
	if err == nil || errors.Is(err, ledger.ErrDamaged) || !strings.Contains(err.Error(), "written by a newer popfetchd (schema 5, this one knows 4)") {
		t.Errorf("a newer version: %v", err)
	}
	execute(t, path, "PRAGMA user_version = 0")
	if _, err := ledger.Open(path); !errors.Is(err, ledger.ErrDamaged) {
		t.Errorf("no version: %v", err)
	}
}

// TestLost: a ledger that is gone while its -wal is still there was lost, and is not begun anew.
func TestLost(t *testing.T) {
	l, path := newLedger(t)
	ok(t, l.Commit("gmail", batchOf(0), 0))
	ok(t, os.Rename(path, path+".moved"))
	for name, open := range ways {
		_, err := open(path)
		checkHelpful(t, name, path, err)
		if !errors.Is(err, ledger.ErrDamaged) || errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a ledger was made anew (%v)", err)
	}
}

// TestLeftoverOfABeginner: what a crash left of a ledger in the making is no harm.
func TestLeftoverOfABeginner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	for _, suffix := range []string{".new", ".new-wal", ".new-shm", ".new-journal"} {
		ok(t, os.WriteFile(path+suffix, []byte("half a ledger"), 0o600))
	}
	l := open(t, path)
	ok(t, l.Enroll("gmail", "/m"))
	ok(t, l.Close())
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v (%v)", entries, err)
	}
}

func TestFolderInItsPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	ok(t, os.Mkdir(path, 0o700))
	_, err := ledger.Open(path)
	checkHelpful(t, "a folder", path, err)
}

// asNobody has this thread, from now on, look at files as a user who is not root; the ledger's folder is that user's.
func asNobody(t *testing.T, path string) {
	t.Helper()
	if os.Geteuid() != 0 { // root may do everything
		return
	}
	const nobody = 65534
	folder := filepath.Dir(path)
	for dir := folder; dir != os.TempDir(); dir = filepath.Dir(dir) {
		ok(t, os.Chmod(dir, 0o755))
	}
	ok(t, os.Chown(folder, nobody, nobody))
	ok(t, os.Chown(path, nobody, nobody))
	runtime.LockOSThread()
	ok(t, syscall.Setfsuid(nobody))
	t.Cleanup(func() {
		ok(t, syscall.Setfsuid(0))
		runtime.UnlockOSThread()
	})
}

var ways = map[string]func(string) (*ledger.Ledger, error){"Open": ledger.Open, "OpenReadOnly": ledger.OpenReadOnly}

// TestUnreadable: without a right to the ledger it cannot be opened. That leaves nothing in the way of those who have it again.
func TestUnreadable(t *testing.T) {
	for name, open := range ways {
		for _, mode := range []os.FileMode{0, 0o400} {
			t.Run(fmt.Sprintf("%s of mode %#o", name, mode), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "ledger.db")
				ok(t, os.WriteFile(path, sound(t), 0o600))
				asNobody(t, path)
				ok(t, os.Chmod(path, mode))
				l, err := open(path)
				if err == nil && name == "OpenReadOnly" && mode != 0 {
					ok(t, l.Close())
				} else if checkHelpful(t, name, path, err); errors.Is(err, ledger.ErrDamaged) || !strings.Contains(err.Error(), "must be writable for the user") {
					t.Error(err)
				}
				ok(t, os.Chmod(path, 0o600))
				l, err = ledger.Open(path)
				ok(t, err)
				ok(t, l.Close())
			})
		}
	}
}

// TestFolderNotWritable: the reason why SQLite cannot make its files is told.
func TestFolderNotWritable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	ok(t, os.WriteFile(path, sound(t), 0o600))
	asNobody(t, path)
	ok(t, os.Chmod(filepath.Dir(path), 0o500))
	for name, open := range ways {
		_, err := open(path)
		checkHelpful(t, name, path, err)
		if !errors.Is(err, syscall.EACCES) || errors.Is(err, ledger.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	other := filepath.Join(filepath.Dir(path), "other.db")
	_, err := ledger.Open(other)
	checkHelpful(t, "a new one", other, err)
}

// TestLinkToNothing: what the ledger's link leads to may be on a disk that is not mounted now.
func TestLinkToNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	ok(t, os.Symlink("gone", path))
	for name, open := range ways {
		_, err := open(path)
		checkHelpful(t, name, path, err)
		if errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s takes it for none: %v", name, err)
		}
	}
}
