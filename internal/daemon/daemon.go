// Package daemon decides when to run: a loop for each account waits for its schedule, a signal or the end, and has
// fetch do the work. Nothing here touches mail.
package daemon

import (
	"context"
	"log/slog"
	"os"
	"sync"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
)

// Daemon fetches every account of a configuration on its schedule.
type Daemon struct {
	Fetcher *fetch.Fetcher
	Log     *slog.Logger
	Reload  func() (*config.Config, error) // reads the configuration file again
}

// Run works until ctx ends, then waits for the runs under way, which finish the commit in hand. Each value on hup has
// the file read again; a bad one changes nothing and is logged. Each value on wake has every account run now.
func (d *Daemon) Run(ctx context.Context, c *config.Config, hup, wake <-chan os.Signal) {
	gate := newGate(c.Parallel)
	g := d.start(ctx, c, gate, nil)
	for {
		select {
		case <-ctx.Done():
			g.wait()
			return
		case <-wake:
			g.wake()
		case <-hup:
			fresh, err := d.Reload()
			if err != nil {
				d.Log.Error("the configuration has mistakes: the old one stays in force", "error", err)
				continue
			}
			d.Log.Info("configuration loaded again", "accounts", len(fresh.Accounts))
			if fresh.StateDir != d.Fetcher.StateDir {
				d.Log.Warn("state_dir was changed: that takes a restart, until then the old one stays in use", "state_dir", d.Fetcher.StateDir)
			}
			gate.setLimit(fresh.Parallel)
			g = d.start(ctx, fresh, gate, g)
		}
	}
}

// generation is the loops of one configuration.
type generation struct {
	loops   map[string]*loop
	retired chan struct{} // closed when a newer configuration takes over: loops end after the run in hand
	running sync.WaitGroup
}

// start retires the generation before, if there is one, and starts the loops of c. A run under way is not disturbed:
// the new loop of the same account begins when the old one has ended.
func (d *Daemon) start(ctx context.Context, c *config.Config, gate *gate, before *generation) *generation {
	g := &generation{loops: map[string]*loop{}, retired: make(chan struct{})}
	if before != nil {
		close(before.retired)
	}
	for _, account := range c.Accounts {
		l := &loop{daemon: d, account: account, gate: gate, woken: make(chan struct{}, 1), retired: g.retired, done: make(chan struct{}),
			log: d.Log.With("account", account.Name)}
		if before != nil {
			l.predecessor = before.loops[account.Name]
		}
		g.loops[account.Name] = l
		g.running.Go(func() { l.run(ctx) })
	}
	if before != nil {
		g.running.Go(before.wait)
	}
	return g
}

func (g *generation) wait() { g.running.Wait() }

func (g *generation) wake() {
	for _, l := range g.loops {
		select {
		case l.woken <- struct{}{}:
		default: // is already to run
		}
	}
}
