package fetch_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// atRetr does something when the server is asked for the message with that number.
func atRetr(message int, do func()) popsim.Fault {
	return func(r popsim.Request) popsim.Action {
		if r.Command == "RETR" && r.Message == message {
			do()
		}
		return popsim.Action{}
	}
}

// A run that is told to stop keeps what has arrived, leaves without QUIT, and is no failure; the next one goes on.
func TestStop(t *testing.T) {
	boxes(t, func(t *testing.T, box string) {
		w := newWorld(t, popsim.Config{}, box, "policy: delete")
		w.deliverN(6)
		all := w.account.Messages()
		ctx, cancel := context.WithCancelCause(t.Context())
		w.server.SetFault(func(r popsim.Request) popsim.Action {
			if r.Command == "RETR" && r.Message == 5 {
				cancel(errors.New("told to stop"))
				return popsim.Stall()
			}
			return popsim.Action{}
		})
		r := w.runIn(ctx)
		if fetch.KindOf(r.Err) != fetch.Temporary || !strings.Contains(r.Err.Error(), "told to stop") {
			t.Error(r.Err)
		}
		w.figures(r, fetch.Report{Listed: 6, New: 6, Stored: 4, Failed: 2, PendingDelete: 4})
		w.quits(0)
		w.holds(all[:4]...)
		w.noLeftovers()
		if s := w.summary(); !s.LastAttempt.IsZero() || s.ConsecutiveFailures != 0 || s.LastError != "" {
			t.Errorf("counted as a failure: %+v", s)
		}
		w.mend()
		w.succeed(fetch.Report{Listed: 6, New: 2, Stored: 2, Deleted: 6})
		w.left()
		w.holds(all...)
		w.retrieved(map[string]int{"0": 1, "1": 1, "2": 1, "3": 1, "4": 1, "5": 1})
	})
}

// A commit that is waiting for the mbox when the run is told to stop still gets its chance.
func TestStopWhileTheMailboxIsLocked(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "mbox: mail")
	f := w.lockMbox()
	w.deliverN(4)
	all := w.account.Messages()
	ctx, cancel := context.WithCancel(t.Context())
	w.server.SetFault(func(r popsim.Request) popsim.Action {
		switch {
		case r.Command == "RETR" && r.Message == 2:
			w.pass(time.Minute) // the first batch is old enough
		case r.Command == "RETR" && r.Message == 4:
			cancel()
			time.AfterFunc(100*time.Millisecond, func() { f.Close() }) // while both commits wait
			return popsim.Stall()
		}
		return popsim.Action{}
	})
	w.figures(w.runIn(ctx), fetch.Report{Listed: 4, New: 4, Stored: 3, Failed: 1})
	w.holds(all[:3]...)
}

// An append of an earlier run that cannot be finished yet does not keep the run from stopping.
func TestStopBeforeAnAppendIsFinished(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "mbox: mail")
	a := w.deliver("a", "x")
	w.storeByHand(a)
	f := w.lockMbox()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("told to stop"))
	defer cancel()
	if r := w.runIn(ctx); fetch.KindOf(r.Err) != fetch.Temporary || w.summary().ConsecutiveFailures > 0 {
		t.Error(r.Err)
	}
	f.Close()
	w.succeed(fetch.Report{Listed: 1})
	w.holds(a)
}

// lockMbox locks the mbox as another program would, until the file is closed.
func (w *world) lockMbox() *os.File {
	w.Helper()
	f, err := os.OpenFile(w.box, os.O_CREATE|os.O_RDWR, 0o600)
	w.must(err)
	w.Cleanup(func() { f.Close() })
	w.must(unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}))
	return f
}

// A signal before anything has begun.
func TestStopAtOnce(t *testing.T) {
	w := newWorld(t, popsim.Config{})
	w.deliverN(1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := w.runIn(ctx); fetch.KindOf(r.Err) != fetch.Temporary {
		t.Error(r.Err)
	}
	if w.account.Sessions() != 0 {
		t.Error("it logged in")
	}
}

// Of two runs of one account one works; the other waits a while, and then leaves it be.
func TestTwoRunsOfOneAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t, popsim.Config{})
	w.deliverN(3)
	asked, ctx := make(chan struct{}), t.Context()
	ctx, stop := context.WithCancel(ctx)
	w.server.SetFault(func(r popsim.Request) popsim.Action {
		if r.Command == "RETR" && r.Message == 2 {
			close(asked)
			return popsim.Stall()
		}
		return popsim.Action{}
	})
	var first fetch.Report
	var ended sync.WaitGroup
	ended.Go(func() { first = w.fetcher.Run(ctx, w.config(), nil) })
	<-asked
	r := w.fail(fetch.Temporary, fetch.Report{})
	if !strings.Contains(r.Err.Error(), "another popfetchd is fetching this account") {
		t.Error(r.Err)
	}
	stop()
	ended.Wait()
	w.figures(w.check(first), fetch.Report{Listed: 3, New: 3, Stored: 1, Failed: 2})
	w.mend()
	w.succeed(fetch.Report{Listed: 3, New: 2, Stored: 2})
}

// Two runs that do not last long follow each other.
func TestTwoShortRuns(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "policy: delete")
	w.deliverN(5)
	all := w.account.Messages()
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if r := w.fetcher.Run(t.Context(), w.config(), nil); r.Err != nil {
				t.Error(r.Err)
			}
		})
	}
	both.Wait()
	w.holds(all...)
	w.left()
}
