// Package daemon decides when to run: a loop for each account waits for its schedule, a signal or the end, and has
// fetch do the work. Nothing here touches mail.
package daemon

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
)

// Daemon fetches every account of a configuration on its schedule. The fields are set before Run; the methods may be called
// from any goroutine.
type Daemon struct {
	Fetcher *fetch.Fetcher
	Log     *slog.Logger
	Reload  func() (*config.Config, error) // reads the configuration file again

	// Ended is called after each run, also one that tried nothing since the account is held, but not after one that was told
	// to stop. Calls for one account come one after the other; those for several may come at the same time. Nil: nothing.
	Ended func(config.Account, fetch.Report)
	// Notify tells the service manager how the daemon is: READY=1 and so on, see sd_notify(3). Nil: nobody listens.
	Notify func(state string)
	// Watchdog is how often the service manager wants to hear WATCHDOG=1 at least; 0: not at all.
	Watchdog time.Duration

	board board
	once  sync.Once
	asks  chan reloadRequest
}

// reloadRequest asks Run to read the configuration again; the answer has room for one.
type reloadRequest struct{ answer chan reloadAnswer }

type reloadAnswer struct {
	loaded Loaded
	err    error
}

// Loaded is a configuration that is now in force.
type Loaded struct {
	Config *config.Config
	Notes  []string // what of it is not, and what that takes
}

// requests is where Run takes requests from.
func (d *Daemon) requests() chan reloadRequest {
	d.once.Do(func() { d.asks = make(chan reloadRequest) })
	return d.asks
}

// LoadAgain reads the configuration file again and goes on with what it says. Runs under way are not disturbed. A file with
// mistakes changes nothing; the error says what they are. Run has to be at work.
func (d *Daemon) LoadAgain(ctx context.Context) (Loaded, error) {
	request := reloadRequest{make(chan reloadAnswer, 1)}
	select {
	case d.requests() <- request:
	case <-ctx.Done():
		return Loaded{}, context.Cause(ctx)
	}
	select {
	case answer := <-request.answer:
		return answer.loaded, answer.err
	case <-ctx.Done():
		return Loaded{}, context.Cause(ctx)
	}
}

// Run works until ctx ends, then waits for the runs under way, which finish the commit in hand. Each value on hup has
// the file read again; a bad one changes nothing and is logged. Each value on wake has every account run now.
func (d *Daemon) Run(ctx context.Context, c *config.Config, hup, wake <-chan os.Signal) {
	s := &shift{Daemon: d, gate: newGate(c.Parallel), listens: c.Listen}
	s.start(ctx, c)
	s.ready.Wait()
	changed, look, done := s.listen(ctx)
	defer done()
	for {
		select {
		case <-ctx.Done():
			s.notify("STOPPING=1", "STATUS=ending")
			s.loops.Wait()
			return
		case <-changed:
			s.tellStatus()
		case <-look:
			s.feed()
		case <-wake:
			_ = d.Wake() // of all: none is unknown
		case <-hup:
			_, _ = s.reload(ctx) // told to the log
		case request := <-d.requests():
			loaded, err := s.reload(ctx)
			request.answer <- reloadAnswer{loaded, err}
		}
	}
}

// shift is one Run.
type shift struct {
	*Daemon
	gate    *gate
	listens config.Listen  // where the status page is
	retired chan struct{}  // closed when a newer configuration takes over: loops end after the run in hand
	loops   sync.WaitGroup // until they have ended
	ready   sync.WaitGroup // until those of the first configuration know when they are due
	status  string         // as last told
	bad     bool           // the configuration file, when it was last read
	stuck   bool           // nothing moves: the watchdog is not fed
}

// reload is readAgain, and keeps the service manager informed: to Type=notify-reload it is over when READY=1 comes.
func (s *shift) reload(ctx context.Context) (Loaded, error) {
	s.notify("RELOADING=1", monotonic())
	loaded, err := s.readAgain(ctx)
	s.bad = err != nil
	s.status = s.describe()
	s.notify("READY=1", "STATUS="+s.status)
	return loaded, err
}

// readAgain goes on with what the file says now.
func (s *shift) readAgain(ctx context.Context) (Loaded, error) {
	fresh, err := s.Reload()
	if err != nil {
		s.Log.Error("the configuration has mistakes: the old one stays in force", "error", err)
		return Loaded{}, err
	}
	loaded := Loaded{fresh, s.notes(fresh)}
	s.Log.Info("configuration loaded again", "accounts", len(fresh.Accounts))
	for _, note := range loaded.Notes {
		s.Log.Warn(note)
	}
	s.gate.setLimit(fresh.Parallel)
	s.start(ctx, fresh)
	return loaded, nil
}

// notes says what a new configuration cannot change while the daemon runs.
func (s *shift) notes(fresh *config.Config) (notes []string) {
	if fresh.StateDir != s.Fetcher.StateDir {
		notes = append(notes, "state_dir was changed: that takes a restart, until then the old one stays in use")
	}
	if fresh.Listen != s.listens {
		notes = append(notes, "listen was changed: that takes a restart, until then the old one stays in use")
	}
	return notes
}

// start retires the loops of the configuration before, if there is one, and starts those of c. A run under way is not
// disturbed: the new loop of the same account begins when the old one has ended.
func (s *shift) start(ctx context.Context, c *config.Config) {
	first := s.retired == nil
	if !first {
		close(s.retired)
	}
	s.retired = make(chan struct{})
	for _, m := range s.board.seat(c) {
		l := &loop{daemon: s.Daemon, member: m, account: m.Account, gate: s.gate, retired: s.retired, done: make(chan struct{}),
			predecessor: m.loop, unchanged: m.unchanged, log: s.Log.With("account", m.Account.Name)}
		if l.began = func() {}; first {
			s.ready.Add(1)
			l.began = s.ready.Done
		}
		m.loop = l
		s.board.beat(l, queued, 0)
		s.loops.Go(func() { l.run(ctx) })
	}
}
