package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/control"
	"github.com/popfetchd/popfetchd/internal/daemon"
	"github.com/popfetchd/popfetchd/internal/fetch"
)

func (a *app) fetchCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "fetch [ACCOUNT…]",
		Short: "have the running daemon fetch now, and watch",
		Long: `Have the running daemon fetch all accounts, or those named, now, and show how
it gets on as --once does. An account that is being fetched already is fetched
once more afterwards, as mail may have come meanwhile. The daemon goes on when
this command is interrupted.

Without a daemon use popfetchd --once. The exit codes are those of --once.`,
		Example: `  popfetchd fetch
  popfetchd fetch gmail work`,
		ValidArgsFunction: a.completeAccounts,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.fetch(cmd.Context(), args) },
	}
}

func (a *app) fetch(ctx context.Context, names []string) error {
	c, _, err := a.loadBy(config.Read, nil)
	if err != nil {
		return err
	}
	client, err := a.dial(ctx, c, "start it, or fetch without it: popfetchd --once")
	if err != nil {
		return err
	}
	defer client.Close()
	w := &watching{app: a}
	err = client.Fetch(ctx, names, daemon.Follower{Accounts: w.begin, Progress: w.progress, Ended: w.ended, Gone: w.gone})
	if refused := (*control.RefusedError)(nil); errors.As(err, &refused) {
		return &usageError{err: err}
	}
	if w.view == nil {
		return &exitError{code: exitTemporary, err: err}
	}
	for i := range w.accounts {
		if !w.done[i] {
			w.gone(w.accounts[i].Name, fmt.Errorf("account %s: %w", w.accounts[i].Name, err))
		}
	}
	w.view.close()
	return a.report(w.accounts, w.reports, w.view)
}

// watching is the view of runs in the daemon.
type watching struct {
	app      *app
	view     view
	accounts []config.Account
	watches  []func(fetch.Progress)
	reports  []fetch.Report
	done     []bool
}

func (w *watching) begin(accounts []config.Account) {
	w.accounts, w.view = accounts, w.app.newView(accounts)
	w.reports, w.done = make([]fetch.Report, len(accounts)), make([]bool, len(accounts))
	for i := range accounts {
		w.watches = append(w.watches, w.view.watch(i))
	}
}

// index is the place of an account; -1 for one that was not announced.
func (w *watching) index(name string) int {
	return slices.IndexFunc(w.accounts, func(a config.Account) bool { return a.Name == name })
}

func (w *watching) progress(name string, p fetch.Progress) {
	if i := w.index(name); i >= 0 && w.watches[i] != nil {
		w.watches[i](p)
	}
}

func (w *watching) ended(name string, r fetch.Report) {
	i := w.index(name)
	if i < 0 || w.done[i] {
		return
	}
	if failed := (*control.Failure)(nil); errors.As(r.Err, &failed) {
		r.Err = &exitError{code: kindCode(failed.Kind), err: r.Err}
	}
	w.reports[i], w.done[i] = r, true
	w.view.ended(i, r)
}

func (w *watching) gone(name string, why error) {
	w.ended(name, fetch.Report{Account: name, Err: &exitError{code: exitTemporary, err: why}})
}
