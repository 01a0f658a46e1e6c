package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	sd "github.com/coreos/go-systemd/v22/daemon"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/control"
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
		tellBroken(ctx, c, err, log)
		return err
	}
	defer done()
	socket, err := claim(ctx, c)
	if err != nil {
		return err
	}
	defer socket.Close()
	d := &daemon.Daemon{
		Fetcher: fetcher,
		Log:     log,
		Reload: func() (*config.Config, error) {
			c, _, err := a.load(nil)
			return c, err
		},
	}
	page, err := statusPage(ctx, c, d, log)
	if err != nil {
		return err
	}
	a.serviceManager(d, log)
	log.Info("popfetchd is running", "version", buildInfo().Version, "config", c.Path, "accounts", len(c.Accounts))
	a.work(ctx, d, c, []func(context.Context){
		func(ctx context.Context) { control.Serve(ctx, socket, d, log) },
		alertBeside(d, c, log),
		page,
	}, hup, wake)
	log.Info("popfetchd has ended", "reason", context.Cause(ctx))
	return nil
}

// work runs the daemon, and what serves those who look at it, until ctx ends.
func (a *app) work(ctx context.Context, d *daemon.Daemon, c *config.Config, beside []func(context.Context), hup, wake <-chan os.Signal) {
	var serving sync.WaitGroup
	defer serving.Wait()
	for _, serve := range beside {
		serving.Go(func() { serve(ctx) })
	}
	d.Run(ctx, c, hup, wake)
}

// claim opens the control socket, which keeps other daemons off the state
// folder.
func claim(ctx context.Context, c *config.Config) (*control.Listener, error) {
	socket, err := control.Listen(ctx, c.StateDir)
	if running := (*control.RunningError)(nil); errors.As(err, &running) {
		return nil, &exitError{code: exitTemporary, err: err}
	}
	if err != nil {
		return nil, &exitError{code: exitLocal, err: err}
	}
	return socket, nil
}

// serviceManager has the daemon tell systemd how it is, where systemd wants to
// know ($NOTIFY_SOCKET, $WATCHDOG_USEC).
func (a *app) serviceManager(d *daemon.Daemon, log *slog.Logger) {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return
	}
	d.Notify = func(state string) {
		if _, err := sd.SdNotify(false, state); err != nil {
			log.Warn("telling systemd", "error", err)
		}
	}
	interval, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the watchdog is not fed: $WATCHDOG_USEC means nothing", "error", err)
	}
	d.Watchdog = interval
}
