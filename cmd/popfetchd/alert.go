package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/popfetchd/popfetchd/internal/alert"
	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/daemon"
	"github.com/popfetchd/popfetchd/internal/fetch"
)

// Limits of telling somebody: at the end of --once, which cron waits for, and of a daemon that cannot start; and of a test,
// which a person waits for.
const (
	alertTime     = 10 * time.Second
	alertTestTime = 2 * time.Minute
)

func (a *app) alertCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "alert",
		Short: "try out how alerts reach you",
		Long: `Alerts tell you when an account could not be fetched for long, or at once when
only you can mend what is wrong. The section alerts of the configuration says how
they reach you; docs/alerts.md explains it.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command \"alert %s\"; there is alert test", args[0])
			}
			return cmd.Help()
		},
	}
	c.AddCommand(a.alertTestCommand())
	return c
}

func (a *app) alertTestCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "test",
		Short: "send a test message through every channel",
		Long: `Sends a message through every channel of the section alerts and says of each what
became of it. A ping is sent as after a success. Nothing is fetched, and no
incident is touched.`,
		Example: `  popfetchd alert test
  popfetchd alert test --json | jq 'select(.ok | not)'`,
		Args:                  noArguments,
		DisableFlagsInUseLine: true,
		RunE:                  func(cmd *cobra.Command, _ []string) error { return a.alertTest(cmd.Context()) },
	}
}

// triedChannel is a line of `alert test --json`.
type triedChannel struct {
	Channel string `json:"channel"`
	OK      bool   `json:"ok"`
	Error   string `json:"error"`
}

// alertTest sends a test message through every channel.
func (a *app) alertTest(ctx context.Context) error {
	c, _, err := a.load(nil)
	if err != nil {
		return err
	}
	log, err := a.logger(a.stderr, slog.LevelWarn)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, alertTestTime, fmt.Errorf("nothing was heard within %s", alertTestTime))
	defer cancel()
	var codes []int
	err = alert.New(c, nil, log).Test(ctx, func(o alert.Outcome) {
		tried := triedChannel{Channel: o.Channel, OK: o.Err == nil}
		if o.Err != nil {
			tried.Error = oneLine(o.Err.Error())
			codes = append(codes, exitTemporary)
		}
		if a.json {
			_ = a.printJSON(tried)
			return
		}
		if tried.OK {
			tried.Error = "sent"
		}
		fmt.Fprintf(a.stdout, "%s: %s\n", o.Channel, tried.Error)
	})
	if err != nil {
		return &exitError{code: exitConfig, err: err}
	}
	return told(codes)
}

// alertBeside has the daemon's runs told to an Alerter, which watches over them
// for as long as the function runs that it returns.
func alertBeside(d *daemon.Daemon, c *config.Config, log *slog.Logger) func(context.Context) {
	alerter := alert.New(c, d.Fetcher.Ledger, log)
	d.Ended = alerter.Ended
	reload := d.Reload
	d.Reload = func() (*config.Config, error) {
		fresh, err := reload()
		if err == nil {
			alerter.Configure(fresh)
		}
		alerter.Reloaded(err)
		return fresh, err
	}
	return func(ctx context.Context) {
		var watching sync.WaitGroup
		defer watching.Wait()
		watching.Go(func() { watchBegins(ctx, d, alerter) })
		alerter.Run(ctx)
	}
}

// watchBegins tells an Alerter that wants to know of the beginnings of runs.
func watchBegins(ctx context.Context, d *daemon.Daemon, alerter *alert.Alerter) {
	changed := d.Subscribe(ctx)
	for {
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
		if !alerter.Pings() {
			continue
		}
		for _, s := range d.States() {
			if s.Running {
				alerter.Began(s.Account, s.Began)
			}
		}
	}
}

// alerting is a view that tells an Alerter too.
type alerting struct {
	view
	alerter  *alert.Alerter
	accounts []config.Account
}

func (v alerting) watch(i int) func(fetch.Progress) {
	v.alerter.Began(v.accounts[i], time.Now())
	return v.view.watch(i)
}

func (v alerting) ended(i int, r fetch.Report) {
	v.alerter.Ended(v.accounts[i], r)
	v.view.ended(i, r)
}

// tellOnce tells what visits have come to, as far as a few seconds allow.
func (v alerting) tellOnce(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, alertTime)
	defer cancel()
	v.alerter.Once(ctx)
}

// tellBroken tells that popfetchd cannot begin to work, unless that may pass:
// nothing else would.
func tellBroken(ctx context.Context, c *config.Config, err error, log *slog.Logger) {
	if !c.Alerts.Any() || exitCode(err) != exitLocal {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), alertTime)
	defer cancel()
	alerter := alert.New(c, nil, log)
	alerter.Broken(err)
	alerter.Once(ctx)
}
