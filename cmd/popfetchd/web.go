package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/daemon"
	"github.com/popfetchd/popfetchd/internal/web"
)

// statusPage opens what the file says under listen, if it does, and returns
// what serves the status page there until its context ends. Where it listens
// stays as it is until a restart.
func statusPage(ctx context.Context, c *config.Config, d *daemon.Daemon, log *slog.Logger) (serve func(context.Context), err error) {
	if c.Listen.Network == "" {
		return func(context.Context) {}, nil
	}
	listener, err := web.Listen(ctx, c.Listen)
	if err != nil {
		return nil, &exitError{code: exitLocal, err: fmt.Errorf("the status page cannot be served: %w", err)}
	}
	s := &web.Server{
		States: d.States, Wake: d.Wake, Subscribe: d.Subscribe,
		Status:  func(context.Context) (any, error) { return statusNow(d) },
		Ledger:  d.Fetcher.Ledger,
		Listen:  c.Listen,
		Version: buildInfo().Version,
		Log:     log,
		Now:     time.Now,
	}
	log.Info("the status page is served", "listen", listener.Addr().String())
	return func(ctx context.Context) {
		if err := s.Serve(ctx, listener); err != nil {
			log.Error("the status page is served no longer", "error", err)
		}
	}, nil
}

// statusNow is what status --json prints of the daemon's accounts.
func statusNow(d *daemon.Daemon) (any, error) {
	now, accounts := time.Now(), []config.Account{}
	for _, state := range d.States() {
		accounts = append(accounts, state.Account)
	}
	return statusOf(d.Fetcher.Ledger, accounts, now)
}
