package fetch_test

import (
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// The server deleted, but its answer to QUIT got lost: nothing is fetched or deleted again, and the books are settled.
func TestQuitAnswerLost(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "policy: delete")
	a, b := w.deliver("a", "1"), w.deliver("b", "2")
	w.server.SetFault(popsim.On("QUIT", 0, popsim.HangUpUnanswered()))
	w.fail(fetch.Temporary, fetch.Report{Listed: 2, New: 2, Stored: 2, PendingDelete: 2})
	w.left()
	w.mend()
	w.succeed(fetch.Report{})
	w.holds(a, b)
}

// The session ended before its deletions counted: they are sent again, without another download.
func TestPendingDeletionsAreSentAgain(t *testing.T) {
	for name, fault := range map[string]popsim.Fault{
		"QUIT is refused":           popsim.On("QUIT", 0, popsim.Refuse("some deleted messages not removed")),
		"cut before QUIT":           popsim.On("QUIT", 0, popsim.HangUp()),
		"cut before DELE":           popsim.On("DELE", 1, popsim.HangUp()),
		"cut before the other DELE": popsim.On("DELE", 2, popsim.HangUp()),
		"cut after DELE":            popsim.On("DELE", 2, popsim.HangUpUnanswered()),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, popsim.Config{Pipelining: name < "cut b"}, "policy: delete", "mbox: mail")
			a, b := w.deliver("a", "1"), w.deliver("b", "2")
			w.server.SetFault(fault)
			w.fail(fetch.Temporary, fetch.Report{Listed: 2, New: 2, Stored: 2, PendingDelete: 2})
			w.left("a", "b")
			w.mend()
			c := w.deliver("c", "3")
			w.succeed(fetch.Report{Listed: 3, New: 1, Stored: 1, Deleted: 3})
			w.left()
			w.retrieved(map[string]int{"a": 1, "b": 1, "c": 1})
			w.holds(a, b, c)
		})
	}
}

// A refused DELE does not count as done; the others do.
func TestRefusedDeletion(t *testing.T) {
	w := newWorld(t, popsim.Config{Pipelining: true}, "policy: delete")
	w.deliverN(3)
	w.fault("DELE", "1", popsim.Refuse("locked"))
	w.succeed(fetch.Report{Listed: 3, New: 3, Stored: 3, Deleted: 2, PendingDelete: 1})
	w.left("1")
	w.mend()
	w.succeed(fetch.Report{Listed: 1, Deleted: 1})
	w.left()
}

// The user thought better of deleting: what is pending stays on the server.
func TestPolicyChangesToKeep(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "policy: delete")
	a := w.deliver("a", "1")
	w.server.SetFault(popsim.On("QUIT", 0, popsim.HangUp()))
	w.fail(fetch.Temporary, fetch.Report{Listed: 1, New: 1, Stored: 1, PendingDelete: 1})
	w.mend()
	w.set("policy", "keep")
	w.succeed(fetch.Report{Listed: 1})
	w.left("a")
	w.holds(a)
}

// And the other way round: what was kept and is stored goes.
func TestPolicyChangesToDelete(t *testing.T) {
	w := newWorld(t, popsim.Config{})
	w.deliverN(3)
	w.succeed(fetch.Report{Listed: 3, New: 3, Stored: 3})
	w.set("policy", "delete")
	w.succeed(fetch.Report{Listed: 3, Deleted: 3})
	w.left()
}

func TestDeleteAfter(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "policy: delete", "delete_after: 2d")
	a := w.deliver("a", "1")
	w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1})
	w.pass(24 * time.Hour)
	b := w.deliver("b", "2")
	w.succeed(fetch.Report{Listed: 2, New: 1, Stored: 1})
	w.pass(24*time.Hour - time.Second)
	w.succeed(fetch.Report{Listed: 2})
	w.left("a", "b")
	w.pass(time.Second)
	w.server.SetFault(popsim.On("QUIT", 0, popsim.HangUp())) // pending from here on
	w.fail(fetch.Temporary, fetch.Report{Listed: 2, PendingDelete: 1})
	w.mend()
	w.succeed(fetch.Report{Listed: 2, Deleted: 1})
	w.left("b")
	w.pass(24 * time.Hour)
	w.succeed(fetch.Report{Listed: 1, Deleted: 1})
	w.left()
	w.retrieved(map[string]int{"a": 1, "b": 1})
	w.holds(a, b)
}

// Without deletions the answer to QUIT does not matter.
func TestQuitAnswerLostWithPolicyKeep(t *testing.T) {
	w := newWorld(t, popsim.Config{})
	w.deliverN(2)
	w.server.SetFault(popsim.On("QUIT", 0, popsim.HangUpUnanswered()))
	w.succeed(fetch.Report{Listed: 2, New: 2, Stored: 2})
}
