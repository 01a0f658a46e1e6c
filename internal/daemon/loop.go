package daemon

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/ledger"
)

// longestNap bounds a single wait: timers stand still while the machine sleeps and do not see the clock being set, so
// the wall clock is looked at now and then, and what has become due runs soon, and once.
const longestNap = time.Minute

// loop runs one account, one run after the other, as one configuration has it.
type loop struct {
	daemon      *Daemon
	member      *member
	account     config.Account
	unchanged   bool // the configuration before had the same account
	log         *slog.Logger
	gate        *gate
	retired     <-chan struct{}
	done        chan struct{} // closed when the loop has ended
	predecessor *loop         // the same account's loop in the configuration before
	began       func()        // called when it is known when the first run is due
	told        trouble       // the failure that was last told of
	asked       bool          // somebody asked for the run under way
}

func (l *loop) run(ctx context.Context) {
	defer close(l.done)
	defer l.daemon.board.leave(l)
	if l.predecessor != nil {
		<-l.predecessor.done
		l.predecessor = nil
	}
	pace, due := l.resume()
	l.daemon.board.due(l.member, due, pace.failures)
	l.began()
	for l.waitUntil(ctx, due) && l.enter(ctx) {
		next, ran := l.turn(ctx, &pace)
		if !ran {
			return
		}
		due = next
	}
}

// resume goes on from what is known of the account. One whose settings a new configuration has left alone keeps its time,
// unless the configuration was to blame: it may have been mended.
func (l *loop) resume() (pace, time.Time) {
	l.beat(starting, aWhile)
	summary, err := l.daemon.Fetcher.Ledger.Summary(l.account.Name)
	if err != nil {
		l.log.Error("reading the ledger", "error", err)
	}
	pace := newPace(l.account.Schedule.Next, l.account.Preset().MinInterval, summary.ConsecutiveFailures)
	if before := l.daemon.board.state(l.member); l.unchanged && !before.Next.IsZero() {
		pace.failures = before.Failures
		if fetch.KindOf(before.Last.Err) == fetch.Configuration {
			return pace, l.now().Add(pace.part(startSpread))
		}
		return pace, before.Next
	}
	return pace, pace.first(summary.LastAttempt, l.now())
}

// enter waits for a place inside the gate.
func (l *loop) enter(ctx context.Context) bool {
	l.beat(queued, 0)
	return l.gate.enter(ctx, l.retired)
}

// turn is one run, being inside the gate, and what belongs to it; unless the loop is to end.
func (l *loop) turn(ctx context.Context, pace *pace) (next time.Time, ran bool) {
	report, ran := l.fetch(ctx)
	if !ran {
		return next, false
	}
	stopped := ctx.Err() != nil // whatever the run says then, it is no failure
	if stopped {
		l.daemon.board.stopped(l.member)
	} else {
		recovered := pace.failures > 0 && report.Err == nil && !report.Held
		next = pace.after(outcome{fetch.KindOf(report.Err), report.Held, report.NotBefore, report.Sessions > 0, l.asked}, l.now())
		l.daemon.board.end(l.member, report, l.now(), next, pace.failures)
		l.tell(report, recovered, next)
		if l.daemon.Ended != nil {
			l.beat(reporting, aWhile)
			l.daemon.Ended(l.account, report)
		}
	}
	l.beat(announcing, hookTime+aWhile)
	TellHook(l.log, OnNew(ctx, l.account, report, l.now()))
	return next, !stopped
}

// fetch runs the account, being inside the gate, unless the loop is to end.
func (l *loop) fetch(ctx context.Context) (report fetch.Report, ran bool) {
	defer l.gate.leave()
	if l.ending(ctx) {
		return report, false
	}
	silence := longestStep + 2*l.account.Timeout
	l.beat(fetching, silence)
	if l.asked = l.daemon.board.begin(l.member, l.now()); l.asked {
		l.told = trouble{} // who asks wants to hear
		l.lift()
	}
	return l.daemon.Fetcher.Run(ctx, l.account, func(p fetch.Progress) {
		l.beat(fetching, silence)
		l.daemon.board.progress(l.member, p)
	}), true
}

func (l *loop) ended() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// lift lets an account log in again whose login was refused: somebody has asked for it, perhaps after mending what was wrong.
// It is as if something had changed, so that who asks again and again does not hammer the server.
func (l *loop) lift() {
	hold, err := l.daemon.Fetcher.Ledger.Hold(l.account.Name)
	if err == nil && (hold.Reason == ledger.LoginRefused || hold.Reason == ledger.SignIn) {
		hold.Mark = nil
		err = l.daemon.Fetcher.Ledger.SetHold(l.account.Name, hold)
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
		if nap <= 0 || l.daemon.board.wanted(l.member) {
			return !l.ending(ctx)
		}
		l.beat(waiting, nap+aWhile)
		timer := time.NewTimer(nap)
		select {
		case <-timer.C:
		case <-l.member.woken: // see what is wanted
			timer.Stop()
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

// tellAgain is how often a failure is told of that goes on unchanged.
const tellAgain = 24 * time.Hour

// trouble is what distinguishes a failure from the one before it.
type trouble struct {
	kind  fetch.Kind
	doing string
	at    time.Time
}

// news says that a failure is another one than that told of last, or that this is a day ago.
func (l *loop) news(err error) bool {
	now := trouble{kind: fetch.KindOf(err), at: l.now()}
	if failed := (*fetch.Error)(nil); errors.As(err, &failed) {
		now.doing = failed.Doing
	}
	if now.kind == l.told.kind && now.doing == l.told.doing && now.at.Before(l.told.at.Add(tellAgain)) && !now.at.Before(l.told.at) {
		return false
	}
	l.told = now
	return true
}

// tell logs a run: one line when it did something, when it failed in a new way, and when it no longer fails; none when there
// was nothing to do.
func (l *loop) tell(r fetch.Report, recovered bool, next time.Time) {
	attributes := []any{"listed", r.Listed, "new", r.New, "stored", r.Stored, "bytes", r.Bytes, "deleted", r.Deleted,
		"pending_delete", r.PendingDelete, "skipped", r.Skipped, "failed", r.Failed, "seconds", r.Took.Seconds(), "next", next.Format(time.DateTime)}
	if r.Err == nil && !r.Held {
		l.told = trouble{}
	}
	switch {
	case r.Held:
		l.log.Debug("not logged in to yet", "not_before", r.NotBefore.Format(time.DateTime))
	case r.Err != nil && (r.Stored > 0 || l.news(r.Err)):
		l.log.Error("run failed", append(attributes, "error", r.Err)...)
	case r.Err != nil:
		l.log.Debug("run failed", append(attributes, "error", r.Err)...)
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
