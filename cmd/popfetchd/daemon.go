package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/daemon"
)

// daemon runs in the foreground until ctx ends.
func (a *app) daemon(ctx context.Context) error {
	if a.json {
		a.logFormat = "json"
	}
	lowest := slog.LevelInfo
	if a.verbose {
		lowest = slog.LevelDebug
	}
	log, err := a.logger(a.stderr, lowest)
	if err != nil {
		return err
	}
	hup, wake := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	signal.Notify(wake, syscall.SIGUSR1)
	defer signal.Stop(hup)
	defer signal.Stop(wake)

	c, _, err := a.load(nil)
	if err != nil {
		return err
	}
	fetcher, done, err := openFetcher(c, log)
	if err != nil {
		return err
	}
	defer done()
	d := &daemon.Daemon{
		Fetcher: fetcher,
		Log:     log,
		Reload: func() (*config.Config, error) {
			c, _, err := a.load(nil)
			return c, err
		},
	}
	log.Info("popfetchd is running", "version", buildInfo().Version, "config", c.Path, "accounts", len(c.Accounts))
	d.Run(ctx, c, hup, wake)
	log.Info("popfetchd has ended", "reason", context.Cause(ctx))
	return nil
}
