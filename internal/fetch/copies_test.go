package fetch_test

import (
	"slices"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// relisted makes a world whose server lists the UIDs of three deleted messages again: "a" for the same one, "b" for another of
// its size, "c" for two, of which the second is the same. It returns what is here and what is new.
func relisted(t *testing.T, box string) (w *world, here, fresh []popsim.Message) {
	t.Helper()
	w = newWorld(t, popsim.Config{Pipelining: true}, box, "policy: delete")
	here = []popsim.Message{w.deliver("a", "1"), w.deliver("b", "2"), w.deliver("c", "3")}
	w.succeed(fetch.Report{Listed: 3, New: 3, Stored: 3, Deleted: 3})
	w.deliver("a", "1")
	fresh = []popsim.Message{w.deliver("b", "4"), w.deliver("c", "5")}
	w.deliver("c", "3")
	return w, here, fresh
}

// Only the content tells what was relisted from what is new: the first is not stored again, the second is, whatever happens
// on the way.
func TestRelistedInTrouble(t *testing.T) {
	for name, fault := range map[string]popsim.Fault{
		"none":              nil,
		"cut at the first":  popsim.InSession(2, popsim.On("RETR", 1, popsim.HangUp())),
		"cut in the first":  popsim.InSession(2, popsim.On("RETR", 1, popsim.HangUpInBody(3))),
		"cut in the second": popsim.InSession(2, popsim.On("RETR", 2, popsim.HangUpInBody(3))),
		"cut in the last":   popsim.InSession(2, popsim.On("RETR", 4, popsim.HangUpInBody(3))),
		"refused":           popsim.InSession(2, popsim.On("RETR", 3, popsim.Refuse("not now"))),
		"later":             popsim.InSession(2, popsim.On("RETR", 3, popsim.Refuse("[SYS/TEMP] later"))),
		"cut at DELE":       popsim.InSession(2, popsim.On("DELE", 2, popsim.HangUp())),
		"cut at QUIT":       popsim.InSession(2, popsim.On("QUIT", 0, popsim.HangUp())),
	} {
		for _, box := range []string{"maildir: mail", "mbox: mail"} {
			t.Run(name+" "+box[:4], func(t *testing.T) {
				t.Parallel()
				w, here, fresh := relisted(t, box)
				w.server.SetFault(fault)
				for range 4 {
					if r := w.run(); fetch.KindOf(r.Err) == fetch.Bug {
						t.Fatal(r.Err)
					}
					w.pass(time.Hour)
				}
				w.succeed(fetch.Report{})
				w.left()
				w.holds(append(here, fresh...)...)
				w.noLeftovers()
			})
		}
	}
}

// The same when the deletion was never confirmed, and the messages were not listed for a while: what comes back is known.
func TestRelistedAfterGone(t *testing.T) {
	boxes(t, func(t *testing.T, box string) {
		w := newWorld(t, popsim.Config{}, box, "policy: delete")
		a, b := w.deliver("a", "1"), w.deliver("b", "2")
		w.server.SetFault(popsim.On("QUIT", 0, popsim.HangUpUnanswered()))
		w.fail(fetch.Temporary, fetch.Report{Listed: 2, New: 2, Stored: 2, PendingDelete: 2})
		w.mend()
		c := w.deliver("c", "3")
		w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1, Deleted: 1})
		w.account.Deliver(a) // the server was restored from its backup
		w.account.Deliver(b)
		w.succeed(fetch.Report{Listed: 2, Deleted: 2})
		w.left()
		w.holds(a, b, c)
		other := w.deliver("a", "longer than the first")
		w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1, Deleted: 1})
		w.holds(a, b, c, other)
	})
}

// What the user has deleted here does not come back because the server lists it again.
func TestRelistedAndDeletedHere(t *testing.T) {
	boxes(t, func(t *testing.T, box string) {
		w, here, fresh := relisted(t, box)
		w.discard(here[0])
		r := w.run()
		if r.Err != nil || r.New != 2 || r.Stored != 2 {
			t.Fatalf("%+v", r)
		}
		w.boxHolds(w.box, slices.Concat(here[1:], fresh)...)
	})
}

// Many times the same: each time it is looked at once and deleted, and the ledger does not grow.
func TestRelistedAgainAndAgain(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "policy: delete")
	a := w.deliver("a", "1")
	w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1, Deleted: 1})
	for range 5 {
		w.account.Deliver(a)
		w.account.Deliver(a)
		// one of the two may be another message like the first: nobody can tell, and nothing of it would be lost
		r := w.run()
		if r.Err != nil || r.Listed != 2 || r.Deleted != 2 {
			t.Fatalf("%+v", r)
		}
		w.left()
	}
	if n := len(w.mail(w.box)); n != 2 {
		t.Errorf("%d copies, want 2: as many as were ever listed at a time", n)
	}
}

// What lay in an mbox before the ledger knew of it stays on the server for as long as the file says, from now on.
func TestStraysAndDeleteAfter(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "mbox: mail", "policy: delete", "delete_after: 30d")
	w.deliverN(3)
	w.run()
	w.loseLedger()
	w.succeed(fetch.Report{Listed: 3})
	w.left("0", "1", "2")
	w.pass(31 * 24 * time.Hour)
	w.succeed(fetch.Report{Listed: 3, Deleted: 3})
}
