package fetch_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

const year = 365 * 24 * time.Hour

// setAt sets the clock when a command comes to the server, by so much from what it is then.
func (w *world) setAt(command string, message int, by time.Duration) {
	var once sync.Once
	w.server.SetFault(func(r popsim.Request) popsim.Action {
		if r.Command == command && r.Message == message {
			once.Do(func() { w.pass(by) })
		}
		return popsim.Action{}
	})
}

// The clock goes back, between runs or in the middle of one, while messages have their time to stay on the server: they go
// when it is over by a clock that is right, and not before.
func TestClockGoesBackBeforeDeleteAfter(t *testing.T) {
	boxes(t, func(t *testing.T, box string) {
		w := newWorld(t, popsim.Config{}, box, "policy: delete", "delete_after: 2d")
		a, b := w.deliver("a", "1"), w.deliver("b", "2")
		w.succeed(fetch.Report{Listed: 2, New: 2, Stored: 2})
		w.pass(-year)
		w.succeed(fetch.Report{Listed: 2})
		w.pass(year + 47*time.Hour)
		c := w.deliver("c", "3")
		w.setAt("RETR", 3, -year)
		w.succeed(fetch.Report{Listed: 3, New: 1, Stored: 1})
		w.mend()
		w.left("a", "b", "c")
		w.pass(year + time.Hour)
		w.run()
		if r := w.run(); r.Err != nil {
			t.Fatal(r.Err)
		}
		w.pass(48 * time.Hour)
		w.run()
		w.left()
		w.retrieved(map[string]int{"a": 1, "b": 1, "c": 1})
		w.holds(a, b, c)
	})
}

// What was stored while the clock was ten years ahead does not stay on the server for ten years and two days.
func TestStoredWhileTheClockWasAhead(t *testing.T) {
	boxes(t, func(t *testing.T, box string) {
		w := newWorld(t, popsim.Config{}, box, "policy: delete", "delete_after: 2d")
		w.pass(10 * year)
		a, b := w.deliver("a", "1"), w.deliver("b", "2")
		w.succeed(fetch.Report{Listed: 2, New: 2, Stored: 2})
		w.pass(-10 * year)
		w.succeed(fetch.Report{Listed: 2})
		w.left("a", "b")
		w.pass(47 * time.Hour)
		w.succeed(fetch.Report{Listed: 2})
		w.pass(time.Hour)
		w.succeed(fetch.Report{Listed: 2, Deleted: 2})
		w.left()
		w.holds(a, b)
	})
}

// A message that is to be tried again later waits as long as it has to and no longer, wherever the clock goes.
func TestClockGoesBackBeforeRetry(t *testing.T) {
	for _, by := range []time.Duration{-year, -5 * time.Minute, 10 * year} {
		t.Run(by.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, popsim.Config{})
			a, b := w.deliver("a", "1"), w.deliver("b", "2")
			w.fault("RETR", "b", popsim.Refuse("not now"))
			w.succeed(fetch.Report{Listed: 2, New: 2, Stored: 1, Failed: 1})
			w.mend()
			w.pass(by)
			for range 10 { // five minutes and the one that it waits, at most
				w.run()
				w.pass(time.Minute)
			}
			w.retrieved(map[string]int{"a": 1, "b": 1})
			w.holds(a, b)
		})
	}
}

// The clock is set while messages come: batches end sooner or later for that, and nothing else is different.
func TestClockIsSetDuringARun(t *testing.T) {
	for _, by := range []time.Duration{-year, 10 * year} {
		boxes(t, func(t *testing.T, box string) {
			w := newWorld(t, popsim.Config{}, box, "policy: delete")
			for i := range 30 {
				w.deliver(fmt.Sprintf("%02d", i), "text")
			}
			all := w.account.Messages()
			w.setAt("RETR", 10, by)
			w.succeed(fetch.Report{Listed: 30, New: 30, Stored: 30, Deleted: 30})
			w.left()
			w.holds(all...)
			w.noLeftovers()
			if s := w.summary(); !s.LastSuccess.Equal(w.clock()) {
				t.Errorf("last success at %v, the clock shows %v", s.LastSuccess, w.clock())
			}
		})
	}
}

// A run that was killed while the clock was ahead left mail in the mailbox of that day: it is found there when the clock is
// right again, and its deletion is not put off until that day comes.
func TestKilledWhileTheClockWasAhead(t *testing.T) {
	boxes(t, func(t *testing.T, box string) {
		w := newWorld(t, popsim.Config{}, box+"-%Y", "policy: delete")
		a := w.deliver("a", "1")
		w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1, Deleted: 1})
		w.pass(10 * year)
		w.box = filepath.Join(w.folder, fmt.Sprintf("mail-%d", w.clock().Year()))
		b := w.deliver("b", "2")
		w.storeByHand(b)
		w.pass(-10 * year)
		w.succeed(fetch.Report{Listed: 1, Deleted: 1})
		w.retrieved(map[string]int{"a": 1, "b": 0})
		w.left()
		w.boxHolds(w.box, b)
		w.boxHolds(filepath.Join(w.folder, fmt.Sprintf("mail-%d", w.clock().Year())), a)
		w.noLeftovers()
	})
}
