package daemon

import (
	"math/rand/v2"
	"time"

	"github.com/popfetchd/popfetchd/internal/fetch"
)

// After a failure that may pass, the next run comes sooner than the schedule says: after a minute, doubling to an hour.
// After one that only a person can mend it comes by the schedule or later; that a refused login is not tried again and
// again, lest the server locks the account, is fetch's doing (see fetch.Report.Held).
const (
	firstRetry        = time.Minute
	longestRetry      = time.Hour
	configurationWait = time.Hour
)

// Runs start up to a tenth of their interval later than the schedule says, and at most this much, so that accounts of
// one schedule, and all users of one server, do not come at the same moment.
const longestJitter = 2 * time.Minute

// startSpread is the jitter of what is due when the daemon starts: somebody may be waiting to see it work.
const startSpread = 10 * time.Second

// pace says when an account's next run is due.
type pace struct {
	next     func(time.Time) time.Time // the schedule's
	random   func() float64            // in [0, 1)
	apart    time.Duration             // what the provider wants between two logins
	failures int                       // consecutive
}

func newPace(next func(time.Time) time.Time, apart time.Duration, failures int) pace {
	return pace{next: next, random: rand.Float64, apart: apart, failures: failures}
}

// first returns when the first run of this process is due: at once where there never was one or one was missed, and where
// the last one is said to be still to come, by a clock that went wrong. Failures before it count as those after it do.
func (p *pace) first(lastAttempt, now time.Time) time.Time {
	if !lastAttempt.IsZero() && !lastAttempt.After(now) {
		due, jitter := p.scheduled(lastAttempt), time.Duration(0)
		if p.failures > 0 && lastAttempt.Add(p.retry()).Before(due) {
			due = lastAttempt.Add(p.retry())
		} else {
			jitter = p.jitter(due)
		}
		if due.After(now) {
			return due.Add(jitter)
		}
	}
	return now.Add(p.part(startSpread))
}

// outcome is what matters of a run for the next one.
type outcome struct {
	kind      fetch.Kind
	held      bool      // nothing was tried
	notBefore time.Time // of the next login; zero: any time
	loggedIn  bool
	asked     bool // somebody asked for the run: that is no reason to wait for longer than after the last
}

// after returns when the next run is due after one that ended now. While an account is held, runs come by the schedule all
// the same: they do nothing but look whether what is held against it has changed.
func (p *pace) after(o outcome, now time.Time) time.Time {
	due := p.scheduled(now)
	scheduled := due.Add(p.jitter(due))
	if !o.held && o.kind != fetch.Fine && !(o.asked && p.failures > 0) {
		p.failures++
	}
	switch {
	case o.kind == fetch.Refused:
		return scheduled
	case o.notBefore.After(now) && o.kind != fetch.Configuration: // over a limit
		return earlier(scheduled, o.notBefore.Add(p.part(time.Minute)))
	case o.kind == fetch.Fine:
		p.failures = 0
		return scheduled
	case o.kind == fetch.Configuration:
		return later(scheduled, now.Add(configurationWait+p.part(configurationWait/4)))
	case o.loggedIn:
		return earlier(scheduled, now.Add(max(p.retry(), p.apart+p.part(p.apart/10))))
	default:
		return earlier(scheduled, now.Add(p.retry()))
	}
}

// retry is the back-off after this many failures: doubling, and up to a quarter more.
func (p *pace) retry() time.Duration {
	wait := longestRetry
	if doublings := p.failures - 1; doublings < 6 { // 2^6 minutes are more than an hour
		wait = firstRetry << doublings
	}
	return min(wait+p.part(wait/4), longestRetry)
}

func (p *pace) jitter(due time.Time) time.Duration {
	return p.part(min(p.scheduled(due).Sub(due)/10, longestJitter))
}

// scheduled is the schedule's next time after t; a year later where it has none, which must not become at once.
func (p *pace) scheduled(t time.Time) time.Time {
	if next := p.next(t); next.After(t) {
		return next
	}
	return t.AddDate(1, 0, 0)
}

func (p *pace) part(of time.Duration) time.Duration { return time.Duration(p.random() * float64(of)) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
