package daemon

import (
	"context"
	"log/slog"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/ledger"
)

// longestNap bounds a single wait: timers stand still while the machine sleeps and do not see the clock being set, so
// the wall clock is looked at now and then, and what has become due runs soon, and once.
const longestNap = time.Minute

// loop runs one account, one run after the other.
type loop struct {
	daemon      *Daemon
	account     config.Account
	log         *slog.Logger
	gate        *gate
	woken       chan struct{}
	retired     <-chan struct{}
	done        chan struct{} // closed when the loop has ended
	predecessor *loop         // the same account's loop in the configuration before
}

func (l *loop) run(ctx context.Context) {
	defer close(l.done)
	if l.predecessor != nil {
		<-l.predecessor.done
		l.predecessor = nil
	}
	summary, err := l.daemon.Fetcher.Ledger.Summary(l.account.Name)
	if err != nil {
		l.log.Error("reading the ledger", "error", err)
	}
	pace := newPace(l.account.Schedule.Next, l.account.Preset().MinInterval, summary.ConsecutiveFailures)
	due := pace.first(summary.LastAttempt, l.now())
	for l.waitUntil(ctx, due) && l.gate.enter(ctx, l.retired) {
		report, ran := l.fetch(ctx)
		if !ran || ctx.Err() != nil {
			return // told to stop: whatever the run says, it is no failure
		}
		recovered := pace.failures > 0 && report.Err == nil && !report.Held
		due = pace.after(outcome{fetch.KindOf(report.Err), report.Held, report.NotBefore, report.Sessions > 0}, l.now())
		l.tell(report, recovered, due)
	}
}

// fetch runs the account, being inside the gate, unless the loop is to end.
func (l *loop) fetch(ctx context.Context) (report fetch.Report, ran bool) {
	defer l.gate.leave()
	if l.ending(ctx) {
		return report, false
	}
	select {
	case <-l.woken: // this is the run that was asked for
		l.lift()
	default:
	}
	return l.daemon.Fetcher.Run(ctx, l.account, nil), true
}

// lift lets an account log in again whose login was refused: somebody has asked for it, perhaps after mending what was wrong.
func (l *loop) lift() {
	hold, err := l.daemon.Fetcher.Ledger.Hold(l.account.Name)
	if err == nil && (hold.Reason == ledger.LoginRefused || hold.Reason == ledger.SignIn) {
		err = l.daemon.Fetcher.Ledger.Lift(l.account.Name)
	}
	if err != nil {
		l.log.Error("lifting a hold", "error", err)
	}
}

// now is the wall clock's time, without the monotonic reading that would hide that it was set or that the machine slept.
func (l *loop) now() time.Time { return l.daemon.Fetcher.Now().Round(0) }

// waitUntil waits until due or until woken, and returns false when the loop is to end.
func (l *loop) waitUntil(ctx context.Context, due time.Time) bool {
	last := l.now()
	for {
		now := l.now()
		if now.Before(last) { // the clock was put back: do not wait for it to come round again
			due = due.Add(now.Sub(last))
		}
		last = now
		nap := min(due.Sub(now), longestNap)
		if nap <= 0 {
			return !l.ending(ctx)
		}
		timer := time.NewTimer(nap)
		select {
		case <-timer.C:
		case <-l.woken:
			timer.Stop()
			l.lift()
			return !l.ending(ctx)
		case <-l.retired:
			timer.Stop()
			return false
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
}

func (l *loop) ending(ctx context.Context) bool {
	select {
	case <-l.retired:
		return true
	default:
		return ctx.Err() != nil
	}
}

// tell logs a run: one line when it did something or failed, none when there was nothing to do.
func (l *loop) tell(r fetch.Report, recovered bool, next time.Time) {
	attributes := []any{"listed", r.Listed, "new", r.New, "stored", r.Stored, "bytes", r.Bytes, "deleted", r.Deleted,
		"pending_delete", r.PendingDelete, "skipped", r.Skipped, "failed", r.Failed, "seconds", r.Took.Seconds(), "next", next.Format(time.DateTime)}
	switch {
	case r.Held:
		l.log.Debug("not logged in to yet", "not_before", r.NotBefore.Format(time.DateTime))
	case r.Err != nil:
		l.log.Error("run failed", append(attributes, "error", r.Err)...)
	case r.Left > 0:
		l.log.Info("run done, the daily limit is reached", append(attributes, "left", r.Left, "goes_on", r.LimitedUntil.Format(time.DateTime))...)
	case recovered:
		l.log.Info("run succeeded again", attributes...)
	case r.New > 0 || r.Deleted > 0:
		l.log.Info("run done", attributes...)
	default:
		l.log.Debug("nothing new", attributes...)
	}
}
