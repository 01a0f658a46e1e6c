package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/popfetchd/popfetchd/internal/alert"
	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/daemon"
	"github.com/popfetchd/popfetchd/internal/fetch"
)

// once fetches the accounts named now, several at a time, and reports on each.
func (a *app) once(ctx context.Context, names []string) error {
	c, accounts, err := a.load(names)
	if err != nil {
		return err
	}
	v := a.newView(accounts)
	fetcher, done, err := a.fetcher(c, v)
	if err != nil {
		log, _ := a.logger(a.stderr, slog.LevelWarn)
		tellBroken(ctx, c, err, log)
		return err
	}
	defer done()
	alerts := alerting{v, alert.New(c, fetcher.Ledger, fetcher.Log), accounts}
	reports := visitAll(ctx, fetcher, accounts, c.Parallel, alerts)
	v.close()
	err = a.report(accounts, reports, v)
	alerts.tellOnce(ctx)
	return err
}

// visitAll visits the accounts, at most parallel at a time; what becomes of one
// is nothing to the others.
func visitAll(ctx context.Context, f *fetch.Fetcher, accounts []config.Account, parallel int, v view) []fetch.Report {
	reports := make([]fetch.Report, len(accounts))
	var g errgroup.Group
	g.SetLimit(max(parallel, 1))
	for i, account := range accounts {
		g.Go(func() error {
			reports[i] = f.Run(ctx, account, v.watch(i))
			v.ended(i, reports[i])
			daemon.TellHook(f.Log.With("account", account.Name), daemon.OnNew(ctx, account, reports[i], time.Now()))
			return nil
		})
	}
	_ = g.Wait() // the reports hold the errors
	return reports
}

// report prints what came of the accounts, in the order of the file: results
// to stdout as far as the view asks for them, errors to stderr.
func (a *app) report(accounts []config.Account, reports []fetch.Report, v view) error {
	var codes []int
	for i, r := range reports {
		if a.json {
			if err := a.printJSON(r); err != nil {
				return err
			}
		} else if v.summaries() {
			fmt.Fprintf(a.stdout, "%s: %s\n", accounts[i].Name, endingAt(accounts[i], r))
		}
		if r.Err != nil {
			codes = append(codes, tell(a.stderr, r.Err))
		}
	}
	return told(codes)
}

// endingAt is ending for an account whose server may list a part of its mail
// only: an empty list does not mean that there is none.
func endingAt(account config.Account, r fetch.Report) string {
	if account.Preset().Windowed && r.Listed == 0 && r.Stored == 0 && r.Err == nil && !r.Held {
		return "nothing new"
	}
	return ending(r)
}

// ending says in a few words what came of a visit.
func ending(r fetch.Report) string {
	var s string
	switch {
	case r.Held && r.Err == nil:
		return "nothing tried: " + resumes(r, time.Now())
	case r.Held:
		return "nothing tried: not to be logged in to before " + moment(r.NotBefore, time.Now())
	case r.Stored > 0:
		s = fmt.Sprintf("%s stored, %s in %s", plural(r.Stored, "message"), size(r.Bytes), took(r.Took))
	case r.Err != nil:
		s = failure(r.Err)
	case r.New > 0:
		s = "none stored"
	case r.Listed == 0:
		s = "nothing new; no messages on the server"
	default:
		s = fmt.Sprintf("nothing new among %s", plural(r.Listed, "message"))
	}
	if r.Deleted > 0 {
		s += fmt.Sprintf("; %s deleted on the server", grouped(int64(r.Deleted)))
	}
	if r.PendingDelete > 0 {
		s += fmt.Sprintf("; %s still to be deleted there", grouped(int64(r.PendingDelete)))
	}
	if n := r.Skipped - r.Left; n > 0 {
		s += fmt.Sprintf("; %s left there", grouped(int64(n)))
	}
	if !r.LimitedUntil.IsZero() {
		s += "; " + resumes(r, time.Now())
	}
	if r.Failed > 0 {
		s += fmt.Sprintf("; %s failed", grouped(int64(r.Failed)))
	}
	if r.Err != nil && r.Stored > 0 {
		s += "; then " + failure(r.Err)
	}
	return s
}

// resumes says when the daily limit allows more.
func resumes(r fetch.Report, now time.Time) string {
	s := "the daily limit is reached"
	if r.Left > 0 {
		s += fmt.Sprintf(" with %s left", plural(r.Left, "message"))
	}
	if r.LimitedUntil.IsZero() {
		return s
	}
	return s + ", goes on at " + moment(r.LimitedUntil, now)
}

// failure says during what a visit failed. Why, and what to do, is told on
// stderr.
func failure(err error) string {
	var failed *fetch.Error
	if errors.As(err, &failed) {
		return "failed while " + oneLine(failed.Doing)
	}
	return "failed"
}

// briefEnding is ending for a narrow terminal: what was stored and what was
// deleted.
func briefEnding(r fetch.Report) string {
	var s string
	switch {
	case r.Held:
		return "not before " + moment(r.NotBefore, time.Now())
	case r.Stored > 0:
		s = fmt.Sprintf("%s stored, %s", grouped(int64(r.Stored)), size(r.Bytes))
	case r.Err != nil:
		return "failed"
	default:
		s = "nothing new"
	}
	if r.Deleted > 0 {
		s += fmt.Sprintf("; %s deleted", grouped(int64(r.Deleted)))
	}
	switch {
	case r.Err != nil:
		s += "; failed"
	case !r.LimitedUntil.IsZero():
		s += "; more at " + moment(r.LimitedUntil, time.Now())
	}
	return s
}

// fetcher opens the ledger for a run; done closes it. Its log goes where the
// view can show it.
func (a *app) fetcher(c *config.Config, v view) (f *fetch.Fetcher, done func(), err error) {
	log, err := a.logger(v.logTo(a.stderr), slog.LevelWarn)
	if err != nil {
		return nil, nil, err
	}
	return openFetcher(c, log)
}
