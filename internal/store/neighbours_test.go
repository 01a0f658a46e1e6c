package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A Maildir that is moved away or replaced while mail is stored: what went
// into the old one does not count, for nobody would find it at the path.
func TestMaildirReplaced(t *testing.T) {
	replacements := map[string]func(t *testing.T, m *Maildir){
		"all of it moved": func(t *testing.T, m *Maildir) { check(t, os.Rename(m.path, m.path+".old")) },
		"removed":         func(t *testing.T, m *Maildir) { check(t, os.RemoveAll(m.path)) },
		"new/ moved":      func(t *testing.T, m *Maildir) { check(t, os.Rename(m.path+"/new", m.path+"/old")) },
		"replaced": func(t *testing.T, m *Maildir) {
			check(t, os.Rename(m.path, m.path+".old"))
			put(t, must(OpenMaildir(m.path, testOptions(t)))(t), 7, "in the new one\r\n")
		},
		"by a file": func(t *testing.T, m *Maildir) {
			check(t, os.Rename(m.path, m.path+".old"))
			write(t, m.path, "")
		},
	}
	for name, replace := range replacements {
		t.Run(name, func(t *testing.T) {
			for when, commit := range map[string]func(m *Maildir, b *maildirBatch) error{
				"before Commit": func(m *Maildir, b *maildirBatch) error {
					replace(t, m)
					_, err := b.Commit(context.Background(), nil)
					return err
				},
				"within Commit": func(m *Maildir, b *maildirBatch) error {
					check(t, b.flush())
					for i := range b.received {
						check(t, b.publish(&b.received[i]))
					}
					replace(t, m)
					return b.settle()
				},
			} {
				m := newMaildir(t)
				b := begin(t, m, 0, "one\r\n", "two\r\n").(*maildirBatch)
				var local *Error
				if err := commit(m, b); !errors.As(err, &local) || local.Path != m.path || !strings.Contains(err.Error(), "moved or replaced") {
					t.Errorf("%s: Commit said %v", when, err)
				}
				check(t, b.Discard())
				if name == "by a file" {
					continue
				}
				for _, name := range names(t, m.path, "new") {
					if text := read(t, filepath.Join(m.path, "new", name)); text != "in the new one\n" {
						t.Errorf("%s: the new Maildir holds %q", when, text)
					}
				}
				b = begin(t, m, 0, "one\r\n", "two\r\n").(*maildirBatch) // fetched again
				must(b.Commit(context.Background(), nil))(t)
				check(t, b.Discard())
				nothingUnfinished(t, m)
			}
		})
	}
}

// Folders that are links are what they lead to.
func TestMaildirBehindLinks(t *testing.T) {
	m := newMaildir(t)
	put(t, m, 0, "one\r\n")
	check(t, os.Rename(m.path, m.path+".real"))
	check(t, os.Symlink(m.path+".real", m.path))
	check(t, os.Rename(m.path+"/new", m.path+"/.new"))
	check(t, os.Symlink(".new", m.path+"/new"))
	put(t, m, 1, "two\r\n")
	sameSet(t, all(t, m), []string{"one\n", "two\n"})
}

// Who waits long is told once whom for, and how it ends is not changed by it.
func TestWaitingIsTold(t *testing.T) {
	m := newMbox(t)
	put(t, m, 0, "x\r\n")
	write(t, m.path+".lock", "")
	for _, patience := range []time.Duration{noticeAfter / 2, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			var told []string
			began := time.Now()
			m.options.LockTimeout = patience
			m.options.Waiting = func(path, holder string) {
				if waited := time.Since(began); waited < noticeAfter || waited > noticeAfter+2*lastLockWait {
					t.Errorf("told after %v", waited)
				}
				told = append(told, path+": "+holder)
			}
			if err := tryCommit(t, m); !errors.Is(err, ErrLocked) {
				t.Errorf("Commit said %v", err)
			}
			if patience < noticeAfter {
				if len(told) > 0 {
					t.Errorf("told of a short wait: %q", told)
				}
			} else if len(told) != 1 || !strings.HasPrefix(told[0], m.path+": dot lock "+m.path+".lock") {
				t.Errorf("told %q", told)
			}
		})
	}
}

// Redo waits for the same locks, and the lock is taken when it is free.
func TestWaitingOfRedoIsTold(t *testing.T) {
	x := interrupt(t, "")
	write(t, x.m.path+".lock", "")
	synctest.Test(t, func(t *testing.T) {
		var once sync.Once
		o := x.m.options
		o.Waiting = func(path, holder string) {
			once.Do(func() { check(t, os.Remove(path+".lock")) })
		}
		if got := redone(t, x.intent, o); got != Restored {
			t.Errorf("Redo says %v", got)
		}
	})
	check(t, x.m.Sweep())
	nothingUnfinished(t, x.m)
}
