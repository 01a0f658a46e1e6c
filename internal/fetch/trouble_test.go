package fetch_test

import (
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// What arrived whole before the line broke is kept and not fetched again. The others come in a second session of the same
// run, with it their deletions, and the message over which it broke comes last, in a session of its own.
func TestCutInBody(t *testing.T) {
	boxes(t, func(t *testing.T, box string) {
		w := newWorld(t, popsim.Config{Pipelining: box[1] == 'a'}, box, "policy: delete")
		var all []popsim.Message
		for _, uid := range []string{"a", "b", "c", "d"} {
			all = append(all, w.deliver(uid, strings.Repeat("text\r\n", 1000)))
		}
		w.server.SetFault(popsim.InSession(1, w.onUID("RETR", "b", popsim.HangUpInBody(3000))))
		w.succeed(fetch.Report{Listed: 4, New: 4, Stored: 4, Deleted: 4})
		w.quits(2)
		w.retrieved(map[string]int{"a": 1, "b": 1, "c": 1, "d": 1})
		w.left()
		w.holds(all...)
	})
}

// A message that always breaks the connection holds up neither the others nor their deletion. It is tried twice at once,
// then after 1, 2 and 4 minutes, and then set aside, until somebody takes it up again.
func TestMessageThatAlwaysBreaks(t *testing.T) {
	w := newWorld(t, popsim.Config{Pipelining: true}, "policy: delete")
	w.deliverN(3)
	w.fault("RETR", "0", popsim.HangUpInBody(5))
	if r := w.fail(fetch.Temporary, fetch.Report{Listed: 3, New: 3, Stored: 2, Failed: 1, Deleted: 2}); r.Sessions != 3 {
		t.Errorf("%d sessions, want 3", r.Sessions)
	}
	w.left("0")
	for minutes := range []int{1, 2, 4} {
		w.succeed(fetch.Report{Listed: 1, Skipped: 1})
		w.pass(time.Minute << minutes)
		w.fail(fetch.Temporary, fetch.Report{Listed: 1, New: 1, Failed: 1})
	}
	w.pass(time.Hour)
	w.deliver("new", "x")
	w.succeed(fetch.Report{Listed: 2, New: 1, Stored: 1, Skipped: 1, Deleted: 1})
	if n := w.summary().SetAside; n != 1 {
		t.Errorf("%d are set aside, want 1", n)
	}
	w.mend()
	w.succeed(fetch.Report{Listed: 1, Skipped: 1})
	if n, err := w.ledger.Retry("joe", []string{"0"}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1, Deleted: 1})
	w.left()
	w.retrieved(map[string]int{"0": 1})
}

// Of several messages that break the connection none keeps the others from their turn, and a server that breaks it over
// each is not asked on and on.
func TestSeveralThatBreak(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "policy: delete")
	w.deliverN(5)
	bad := map[string]bool{"0": true, "1": true, "2": true}
	w.server.SetFault(func(r popsim.Request) popsim.Action {
		if r.Command == "RETR" && bad[w.account.Messages()[r.Message-1].UID] {
			return popsim.HangUpInBody(1)
		}
		return popsim.Action{}
	})
	if r := w.fail(fetch.Temporary, fetch.Report{Listed: 5, New: 5, Failed: 5}); r.Sessions != 3 {
		t.Errorf("%d sessions, want 3", r.Sessions)
	}
	w.fail(fetch.Temporary, fetch.Report{Listed: 5, New: 5, Stored: 2, Failed: 3, Deleted: 2})
	w.left("0", "1", "2")
	delete(bad, "1")
	w.pass(time.Minute)
	w.fail(fetch.Temporary, fetch.Report{Listed: 3, New: 3, Stored: 1, Failed: 2, Deleted: 1})
	w.left("0", "2")
	clear(bad)
	w.pass(10 * time.Minute)
	w.succeed(fetch.Report{Listed: 2, New: 2, Stored: 2, Deleted: 2})
	w.left()
}

// One message that the server refuses: the others are stored and deleted, it is tried again after 1, 2, 4 and 8 minutes
// and then set aside.
func TestRefusedMessage(t *testing.T) {
	w := newWorld(t, popsim.Config{Pipelining: true}, "policy: delete")
	w.deliverN(3)
	w.fault("RETR", "1", popsim.Refuse("damaged"))
	w.succeed(fetch.Report{Listed: 3, New: 3, Stored: 2, Failed: 1, Deleted: 2})
	w.left("1")
	w.quits(1)
	for minutes := 1; minutes <= 8; minutes *= 2 {
		w.pass(time.Duration(minutes)*time.Minute - time.Second)
		w.succeed(fetch.Report{Listed: 1, Skipped: 1})
		if n := w.summary().SetAside; n != 0 {
			t.Fatalf("set aside before %d minutes", minutes)
		}
		w.pass(time.Second)
		w.succeed(fetch.Report{Listed: 1, New: 1, Failed: 1})
	}
	w.pass(1000 * time.Hour)
	w.succeed(fetch.Report{Listed: 1, Skipped: 1})
	if n := w.summary().SetAside; n != 1 {
		t.Errorf("%d set aside, want 1", n)
	}
	w.left("1")
	if !strings.Contains(w.log.String(), "damaged") {
		t.Error("the log does not tell the server's reason")
	}
	w.account.Remove("1")
	w.succeed(fetch.Report{})
	if n := w.summary().SetAside; n != 0 {
		t.Errorf("%d set aside, although the server has it no more", n)
	}
}

// A message that is accepted at last is stored and forgiven.
func TestRefusedThenAccepted(t *testing.T) {
	w := newWorld(t, popsim.Config{})
	m := w.deliver("a", "1")
	w.fault("RETR", "a", popsim.Refuse("busy"))
	w.succeed(fetch.Report{Listed: 1, New: 1, Failed: 1})
	w.mend()
	w.pass(time.Minute)
	w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1})
	w.holds(m)
	failures, err := w.ledger.Failures("joe")
	if err != nil || len(failures) != 0 {
		t.Errorf("failures: %v, %v", failures, err)
	}
}

// A server that refuses everything has a fault of its own: the run stops, and no message is blamed.
func TestAllRefused(t *testing.T) {
	for name, test := range map[string]struct {
		refuse func(w *world) popsim.Fault
		stored int
		asked  int // at least, pipelining apart
	}{
		"from the start": {func(*world) popsim.Fault { return popsim.On("RETR", 0, popsim.Refuse("quota exceeded")) }, 0, 11},
		"from the third on": {func(*world) popsim.Fault {
			return func(r popsim.Request) popsim.Action {
				if r.Command == "RETR" && r.Nth > 2 {
					return popsim.Refuse("quota exceeded")
				}
				return popsim.Action{}
			}
		}, 2, 13},
		"temporarily": {func(w *world) popsim.Fault { return w.onUID("RETR", "3", popsim.Refuse("[SYS/TEMP] later")) }, 3, 4},
		"temporarily after others": {func(w *world) popsim.Fault {
			return popsim.FirstOf(w.onUID("RETR", "4", popsim.Refuse("[SYS/TEMP] later")), w.onUID("RETR", "3", popsim.Refuse("no")))
		}, 3, 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, popsim.Config{}, "policy: delete")
			const n = 30
			w.deliverN(n)
			asked := 0
			fault := test.refuse(w)
			w.server.SetFault(func(r popsim.Request) popsim.Action {
				if r.Command == "RETR" {
					asked++
				}
				return fault(r)
			})
			w.fail(fetch.Temporary, fetch.Report{Listed: n, New: n, Stored: test.stored, Failed: n - test.stored, PendingDelete: test.stored})
			if asked != test.asked {
				t.Errorf("asked for %d messages, want %d", asked, test.asked)
			}
			failures, err := w.ledger.Failures("joe")
			if err != nil || len(failures) != 0 {
				t.Errorf("blamed: %v, %v", failures, err)
			}
			w.quits(0)
			w.mend()
			w.succeed(fetch.Report{Listed: n, New: n - test.stored, Stored: n - test.stored, Deleted: n})
			w.left()
		})
	}
}

// Ten refusals in a row are still the messages' own.
func TestTenRefused(t *testing.T) {
	w := newWorld(t, popsim.Config{Pipelining: true})
	w.deliverN(12)
	w.server.SetFault(func(r popsim.Request) popsim.Action {
		if r.Command == "RETR" && r.Message <= 10 {
			return popsim.Refuse("no")
		}
		return popsim.Action{}
	})
	w.succeed(fetch.Report{Listed: 12, New: 12, Stored: 2, Failed: 10})
	w.succeed(fetch.Report{Listed: 12, Skipped: 10})
}
