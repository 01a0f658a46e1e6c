package daemon

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The watchdog is fed by progress. Each loop says what it is about to do and for how long it may be silent over it; one that
// is silent for longer has the feeding stop, so that the service manager ends the process (with the stacks of all goroutines
// in the journal) and starts it anew, which loses nothing. A slow server does not: a run may be silent for as long as its
// timeouts allow, and then goes on or fails. While the machine sleeps no time passes, neither here nor there.
const (
	starting   = "reading the ledger"
	waiting    = "waiting for its time"
	queued     = "waiting for its turn"
	fetching   = "fetching"
	reporting  = "reporting a run"
	announcing = "running on_new"
)

const (
	// aWhile is what anything may take on a machine that is busy.
	aWhile = 2 * time.Minute
	// longestStep is how long a run may say nothing, besides its network timeouts: looking through a mailbox of a million
	// files on a slow disk takes minutes, and lists over a very slow line up to twenty.
	longestStep = 30 * time.Minute
)

// pulse is a loop's last sign of life.
type pulse struct {
	doing   string
	at      time.Time
	allowed time.Duration // until the next one; 0: it waits for another loop, which has a pulse of its own
}

// beat is a sign of life.
func (l *loop) beat(doing string, allowed time.Duration) { l.daemon.board.beat(l, doing, allowed) }

func (b *board) beat(l *loop, doing string, allowed time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.loops == nil {
		b.loops = map[*loop]pulse{}
	}
	b.loops[l] = pulse{doing, time.Now(), allowed}
}

// leave is a loop's last word.
func (b *board) leave(l *loop) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.loops, l)
}

// silent returns a loop that is silent for too long; nil when none is. Those in the queue move on as long as somebody is
// fetching; moved is when the gate last let anybody in or out.
func (b *board) silent(moved time.Time) (*loop, pulse) {
	b.mu.Lock()
	defer b.mu.Unlock()
	atWork := time.Since(moved) <= aWhile
	for _, p := range b.loops {
		atWork = atWork || p.allowed != 0 && p.doing != waiting
	}
	for l, p := range b.loops {
		if p.allowed != 0 && time.Since(p.at) > p.allowed || p.allowed == 0 && !atWork && time.Since(p.at) > aWhile {
			return l, p
		}
	}
	return nil, pulse{}
}

// listen returns what Run waits for on behalf of the service manager: changes of the status, and the times to feed the
// watchdog. Channels are nil where nobody wants to know.
func (s *shift) listen(ctx context.Context) (changed <-chan struct{}, look <-chan time.Time, done func()) {
	done = func() {}
	if s.Notify == nil {
		return nil, nil, done
	}
	changed = s.Subscribe(ctx)
	s.status = s.describe()
	s.notify("READY=1", "STATUS="+s.status)
	if s.Watchdog > 0 {
		ticker := time.NewTicker(s.Watchdog / 3)
		look, done = ticker.C, ticker.Stop
	}
	return changed, look, done
}

func (s *shift) notify(lines ...string) {
	if s.Notify != nil {
		s.Notify(strings.Join(lines, "\n"))
	}
}

// feed tells the watchdog that all is moving, if it is.
func (s *shift) feed() {
	l, last := s.board.silent(s.gate.lastMoved())
	if l != nil && !s.stuck {
		l.log.Error("the scheduler is stuck: the watchdog is not fed any more", "doing", last.doing, "silent", time.Since(last.at).Round(time.Second).String())
	}
	if s.stuck = l != nil; !s.stuck {
		s.notify("WATCHDOG=1")
	}
}

// tellStatus tells how things are, when they are not as last told.
func (s *shift) tellStatus() {
	if status := s.describe(); status != s.status {
		s.status = status
		s.notify("STATUS=" + status)
	}
}

// describe is the daemon in a line, for systemctl status.
func (s *shift) describe() string {
	states := s.States()
	running, failing := 0, 0
	var next time.Time
	for _, state := range states {
		if state.Running {
			running++
		}
		if state.Failures > 0 {
			failing++
		}
		if !state.Running && (next.IsZero() || state.Next.Before(next)) {
			next = state.Next
		}
	}
	text := fmt.Sprintf("%d accounts", len(states))
	if len(states) == 1 {
		text = "1 account"
	}
	if running > 0 {
		text += fmt.Sprintf(", %d being fetched", running)
	}
	if failing > 0 {
		text += fmt.Sprintf(", %d failing", failing)
	}
	if !next.IsZero() {
		text += "; next run at " + clock(next, s.Fetcher.Now())
	}
	if s.bad {
		text += "; the configuration file has mistakes, the one before is in force"
	}
	return text
}

// clock is a time as people say it: without the day when it is today.
func clock(t, now time.Time) string {
	t, now = t.Local(), now.Local()
	if t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format("15:04")
	}
	return t.Format("2006-01-02 15:04")
}

// monotonic is when a reload began, as Type=notify-reload wants to know it.
func monotonic() string {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // every kernel has it
	return fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/1000)
}
