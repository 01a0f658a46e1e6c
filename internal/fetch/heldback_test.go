package fetch_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// heldBack holds how many messages stay on the server since they are not here as they were stored.
func (w *world) heldBack(want int) {
	w.Helper()
	if s := w.summary(); s.HeldBack != want || s.PendingDelete != 0 {
		w.Fatalf("%d held back and %d pending, want %d and none", s.HeldBack, s.PendingDelete, want)
	}
}

// due makes a world of three messages that were stored in an earlier session and are to be deleted on the server now: by
// delete_after, or because the session that was to delete them broke.
func due(t *testing.T, box string, pending bool) (w *world, all []popsim.Message) {
	t.Helper()
	w = newWorld(t, popsim.Config{Pipelining: true}, box, "policy: delete")
	if !pending {
		w.set("delete_after", "2d")
	}
	for _, uid := range []string{"a", "b", "c"} {
		all = append(all, w.deliver(uid, strings.Repeat("text of "+uid+"\r\n", 5)))
	}
	if pending {
		w.server.SetFault(popsim.On("QUIT", 0, popsim.HangUp()))
	}
	w.run()
	w.mend()
	w.pass(48 * time.Hour)
	w.left("a", "b", "c")
	return w, all
}

// dues runs a test for each kind of mailbox and of deletion.
func dues(t *testing.T, test func(t *testing.T, w *world, all []popsim.Message)) {
	t.Helper()
	boxes(t, func(t *testing.T, box string) {
		for _, name := range []string{"delete_after", "pending"} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w, all := due(t, box, name == "pending")
				test(t, w, all)
			})
		}
	})
}

// The local copy of a message is gone or is not what was stored: the server's stays, until it is here again.
func TestLocalCopyIsNotThere(t *testing.T) {
	dues(t, func(t *testing.T, w *world, all []popsim.Message) {
		before := w.snapshot()
		w.discard(all[1])
		for range 2 {
			w.succeed(fetch.Report{Listed: len(w.account.Messages()), Deleted: len(w.account.Messages()) - 1})
			w.left("b")
			w.heldBack(1)
			w.pass(time.Hour)
		}
		if n := strings.Count(w.log.String(), "the server's copies stay"); n != 1 {
			t.Errorf("logged %d times, want once", n)
		}
		for path, data := range before { // from the user's own backup
			if strings.HasPrefix(path, w.box) && data != "folder" {
				w.must(os.WriteFile(path, []byte(data), 0o600))
			}
		}
		w.succeed(fetch.Report{Listed: 1, Deleted: 1})
		w.left()
		w.heldBack(0)
		w.holds(all...)
		w.retrieved(map[string]int{"b": 1})
	})
}

// It is of the same size, and its bytes are others.
func TestLocalCopyIsChanged(t *testing.T) {
	dues(t, func(t *testing.T, w *world, all []popsim.Message) {
		path := w.box
		if w.line("mbox: ") == "" {
			path = w.file(all[1])
		}
		data, err := os.ReadFile(path)
		w.must(err)
		w.must(os.WriteFile(path, []byte(strings.Replace(string(data), "text of b", "text oF b", 1)), 0o600))
		w.succeed(fetch.Report{Listed: 3, Deleted: 2})
		w.left("b")
		w.heldBack(1)
	})
}

// The whole mailbox is gone: nothing is deleted.
func TestMailboxIsGone(t *testing.T) {
	dues(t, func(t *testing.T, w *world, all []popsim.Message) {
		w.must(os.Rename(w.box, w.box+"-elsewhere"))
		w.succeed(fetch.Report{Listed: 3})
		w.left("a", "b", "c")
		w.heldBack(3)
		w.must(os.Rename(w.box+"-elsewhere", w.box))
		w.succeed(fetch.Report{Listed: 3, Deleted: 3})
		w.heldBack(0)
		w.holds(all...)
	})
}

// What the user filed in another mailbox, only the user knows of; a subfolder of this one may be another mailbox's job to keep.
func TestLocalCopyIsMoved(t *testing.T) {
	for name, folder := range map[string]string{"another Maildir": "other", "a subfolder": "mail/.Archive"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, all := due(t, "maildir: mail", false)
			w.must(os.MkdirAll(filepath.Join(w.folder, folder, "cur"), 0o700))
			from := w.file(all[1])
			to := filepath.Join(w.folder, folder, "cur", filepath.Base(from)+":2,S")
			w.must(os.Rename(from, to))
			r := w.run()
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			w.left("b")
			w.heldBack(1)
			w.must(os.Rename(to, from))
			w.succeed(fetch.Report{Listed: 1, Deleted: 1})
			w.left()
			w.holds(all...)
		})
	}
}

// delete_missing lets go what is no longer here, also what was held back before.
func TestDeleteMissing(t *testing.T) {
	dues(t, func(t *testing.T, w *world, all []popsim.Message) {
		w.discard(all[0], all[1])
		w.succeed(fetch.Report{Listed: 3, Deleted: 1})
		w.heldBack(2)
		w.set("delete_missing", "true")
		w.succeed(fetch.Report{Listed: 2, Deleted: 2})
		w.left()
		w.heldBack(0)
	})
}

// What mail readers do to a mailbox as a rule holds nothing back: flags, new to cur, and an mbox rewritten with fields in the
// headers, and without the mail in front.
func TestMailReadersHoldNothingBack(t *testing.T) {
	for name, read := range map[string]func(w *world, all []popsim.Message){
		"flags": func(w *world, all []popsim.Message) {
			for i, flags := range []string{":2,S", ":2,FRS", ":2,"} {
				w.must(os.Rename(w.file(all[i]), filepath.Join(w.box, "cur", filepath.Base(w.file(all[i]))+flags)))
			}
		},
		"Status": func(w *world, _ []popsim.Message) {
			all := w.framed()
			for i := range all {
				all[i] = withStatus(all[i])
			}
			w.rewrite(all...)
		},
		"other order": func(w *world, _ []popsim.Message) {
			all := w.framed()
			slices.Reverse(all)
			w.rewrite(all...)
		},
		"mail in front": func(w *world, _ []popsim.Message) {
			w.rewrite(append([]string{"From else Sat Mar 14 15:09:26 2026\nSubject: of another program\n\nText.\n\n"}, w.framed()...)...)
		},
	} {
		for _, kind := range []string{"delete_after", "pending"} {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				box := "mbox: mail"
				if name == "flags" {
					box = "maildir: mail"
				}
				w, all := due(t, box, kind == "pending")
				read(w, all)
				w.succeed(fetch.Report{Listed: 3, Deleted: 3})
				w.left()
				w.heldBack(0)
			})
		}
	}
}

// The mail in front of the others was deleted from the mbox: it is held back, and they are not.
func TestMboxWithoutItsFirst(t *testing.T) {
	w, all := due(t, "mbox: mail", false)
	w.rewrite(withStatus(w.framed()[1]), w.framed()[2])
	w.succeed(fetch.Report{Listed: 3, Deleted: 2})
	w.left("a")
	w.heldBack(1)
	_ = all
}

// What was stored in this session is deleted in it, whatever the user does with it meanwhile: it was durable, and the user saw it.
func TestJustStoredIsNotHeldBack(t *testing.T) {
	boxes(t, func(t *testing.T, box string) {
		w := newWorld(t, popsim.Config{}, box, "policy: delete")
		w.deliverN(2)
		w.server.SetFault(func(r popsim.Request) popsim.Action {
			if r.Command == "DELE" {
				os.RemoveAll(w.box)
			}
			return popsim.Action{}
		})
		w.succeed(fetch.Report{Listed: 2, New: 2, Stored: 2, Deleted: 2})
		w.left()
	})
}

// The user thought better of deleting: nothing is held back any longer, and the message is still known.
func TestHeldBackThenKept(t *testing.T) {
	dues(t, func(t *testing.T, w *world, all []popsim.Message) {
		w.discard(all...)
		w.succeed(fetch.Report{Listed: 3})
		w.heldBack(3)
		w.set("policy", "keep")
		w.set("delete_after", "")
		w.succeed(fetch.Report{Listed: 3})
		w.heldBack(0)
		w.left("a", "b", "c")
		w.retrieved(map[string]int{"a": 1, "b": 1, "c": 1})
	})
}

// What was held back and is no longer listed is no longer held back; when it comes back it still is not here.
func TestHeldBackThenGone(t *testing.T) {
	dues(t, func(t *testing.T, w *world, all []popsim.Message) {
		w.discard(all[1])
		w.succeed(fetch.Report{Listed: 3, Deleted: 2})
		w.heldBack(1)
		w.account.Remove("b")
		d := w.deliver("d", "an empty listing would prove nothing")
		if r := w.run(); r.Err != nil || r.New != 1 {
			t.Fatalf("%+v", r)
		}
		if n := w.summary().HeldBack; n != 0 {
			t.Errorf("%d held back, want none", n)
		}
		w.account.Deliver(all[1])
		if r := w.run(); r.Err != nil || r.New != 0 {
			t.Fatalf("%+v", r)
		}
		w.boxHolds(w.box, all[0], all[2], d)
	})
}

// A Maildir that has become another folder's mount point, or lost a right, is trouble and no reason to delete anything.
func TestLookingForTheLocalCopyFails(t *testing.T) {
	w, _ := due(t, "maildir: mail", false)
	w.must(os.RemoveAll(filepath.Join(w.box, "cur")))
	w.must(os.WriteFile(filepath.Join(w.box, "cur"), nil, 0o600))
	r := w.run()
	if fetch.KindOf(r.Err) != fetch.Local || r.Deleted != 0 {
		t.Fatalf("%+v", r)
	}
	w.left("a", "b", "c")
	w.heldBack(0)
}
