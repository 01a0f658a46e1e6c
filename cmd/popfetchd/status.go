package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"
	"github.com/spf13/cobra"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/ledger"
)

// accountStatus is an account's part of `status --json`.
type accountStatus struct {
	Account             string     `json:"account"`
	Mailbox             string     `json:"mailbox"`
	Policy              string     `json:"policy"`
	Messages            int        `json:"messages"`
	Bytes               int64      `json:"bytes"`
	LastSuccess         *time.Time `json:"last_success"`
	LastAttempt         *time.Time `json:"last_attempt"`
	LastError           string     `json:"last_error"`
	ConsecutiveFailures int        `json:"consecutive_failures"`
	PendingDelete       int        `json:"pending_delete"`
	SetAside            int        `json:"set_aside"`
	HeldBack            int        `json:"held_back"`
	Hold                *held      `json:"hold"`         // null: the account is fetched as scheduled
	ReceivedDay         int64      `json:"received_day"` // bytes that the server sent within 24 hours
	DailyLimit          int64      `json:"daily_limit"`  // of these, 0 for none
	Waiting             int        `json:"waiting"`      // messages that failed and are tried again

	aside, waiting []ledger.Failure
}

func (a *app) statusCommand() *cobra.Command {
	var healthy bool
	c := &cobra.Command{
		Use:   "status [--healthy] [ACCOUNT…]",
		Short: "last success, counts and errors of each account",
		Long: `Shows for each account when it was last fetched with success, how many messages
are stored, how many deletions on the server are still to be confirmed or are held
back, which messages failed and are tried again, which were set aside after repeated
failures or are too large, the last error, and whether the account is left alone for
a while: after a refused login, or because of a limit on what is fetched in a day.

With --healthy it says nothing when all is well. An account that had no success
for its alert_after, or never had any though it was tried, gets a line on stderr,
and the exit code is 75: for the health check of a container, and for monitoring.

It reads the ledger only: no server is asked, and a daemon may be at work.`,
		Example: `  popfetchd status
  popfetchd status --healthy || echo "look at the mail"
  popfetchd status --json | jq '.accounts[] | select(.consecutive_failures > 0)'`,
		ValidArgsFunction: a.completeAccounts,
		RunE: func(_ *cobra.Command, args []string) error {
			c, accounts, err := a.loadBy(config.Read, args)
			if err != nil {
				return err
			}
			all, err := gatherStatus(c, accounts, time.Now())
			if err != nil {
				return err
			}
			switch {
			case healthy:
				return a.tellUnhealthy(all.Accounts, accounts, time.Now())
			case a.json:
				return a.printJSON(all)
			}
			a.printStatus(all.Accounts, time.Now())
			return nil
		},
	}
	c.Flags().BoolVar(&healthy, "healthy", false, "tell only which accounts had no success for too long; exit code 75 if any")
	return c
}

// fullStatus is what `status --json` prints.
type fullStatus struct {
	Accounts []accountStatus `json:"accounts"`
}

// gatherStatus reads the accounts' figures from the ledger.
func gatherStatus(c *config.Config, accounts []config.Account, now time.Time) (fullStatus, error) {
	books, err := ledger.OpenReadOnly(filepath.Join(c.StateDir, ledgerName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fullStatus{}, err
	}
	if books != nil {
		defer books.Close()
	}
	return statusOf(books, accounts, now)
}

// statusOf reads the accounts' figures from a ledger; without one nothing was
// ever fetched.
func statusOf(books *ledger.Ledger, accounts []config.Account, now time.Time) (fullStatus, error) {
	all := fullStatus{Accounts: []accountStatus{}}
	for _, account := range accounts {
		path, _ := mailbox(account, now)
		s := accountStatus{Account: account.Name, Mailbox: path, Policy: string(account.Policy), DailyLimit: account.DailyLimit}
		if books != nil {
			if err := s.read(books, now); err != nil {
				return fullStatus{}, err
			}
		}
		all.Accounts = append(all.Accounts, s)
	}
	return all, nil
}

// read fills in what the ledger knows.
func (s *accountStatus) read(books *ledger.Ledger, now time.Time) error {
	sum, err := books.Summary(s.Account)
	if err != nil {
		return err
	}
	failed, err := books.Failures(s.Account)
	if err != nil {
		return err
	}
	received, err := books.Traffic(s.Account, now.Add(-24*time.Hour))
	if err != nil {
		return err
	}
	s.Messages, s.Bytes = sum.Messages, sum.Bytes
	s.LastSuccess, s.LastAttempt = timeOrNull(sum.LastSuccess), timeOrNull(sum.LastAttempt)
	s.LastError, s.ConsecutiveFailures = sum.LastError, sum.ConsecutiveFailures
	s.PendingDelete, s.HeldBack, s.SetAside = sum.PendingDelete, sum.HeldBack, sum.SetAside
	s.Hold = newHeld(sum.Hold, now)
	for _, f := range failed {
		if f.NextAt.IsZero() {
			s.aside = append(s.aside, f)
		} else {
			s.waiting = append(s.waiting, f)
		}
	}
	s.Waiting = len(s.waiting)
	for _, r := range received {
		s.ReceivedDay += r.Octets
	}
	return nil
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// printStatus prints the table for people, with troubles below it.
func (a *app) printStatus(all []accountStatus, now time.Time) {
	table := [][]string{{"ACCOUNT", "LAST SUCCESS", "MESSAGES", "SIZE", "TO DELETE", "SET ASIDE"}}
	for _, s := range all {
		table = append(table, []string{
			s.Account, lastSuccess(s, now), grouped(int64(s.Messages)), size(s.Bytes),
			strconv.Itoa(s.PendingDelete), strconv.Itoa(s.SetAside),
		})
	}
	a.printTable(table, 2)
	for _, s := range all {
		if s.HeldBack > 0 {
			fmt.Fprintf(a.stdout, "\n%s: %s held back: due to be deleted on the server, but moved, changed or deleted here\n", s.Account, plural(s.HeldBack, "message"))
		}
		a.printWaiting(s, now)
		a.printAside(s)
		a.printHold(s, now)
		if s.LastError != "" {
			fmt.Fprintf(a.stdout, "\n%s: %s", s.Account, failures(s, now))
			fmt.Fprintf(a.stdout, "\n  %s\n", oneLine(s.LastError))
		}
	}
}

// mostListed is how many of the messages that failed are listed.
const mostListed = 10

// printWaiting lists the messages that are tried again, when, and why.
func (a *app) printWaiting(s accountStatus, now time.Time) {
	if len(s.waiting) == 0 {
		return
	}
	fmt.Fprintf(a.stdout, "\n%s: %s could not be fetched yet:\n", s.Account, plural(len(s.waiting), "message"))
	a.printFailures(s.waiting, func(f ledger.Failure) string { return ", tried again " + again(f.NextAt, now) })
}

// again says when a message is tried again.
func again(at, now time.Time) string {
	if !now.Before(at) {
		return "by the next run"
	}
	return "from " + moment(at, now) + " on"
}

// printAside lists the messages that were set aside, and why.
func (a *app) printAside(s accountStatus) {
	if len(s.aside) == 0 {
		return
	}
	where := ", still on the server"
	if slices.ContainsFunc(s.aside, vanished) {
		where = ""
	}
	fmt.Fprintf(a.stdout, "\n%s: %s set aside%s:\n", s.Account, plural(len(s.aside), "message"), where)
	a.printFailures(s.aside, func(ledger.Failure) string { return "" })
}

// printFailures lists messages, with what else there is to say of each, and
// why they failed.
func (a *app) printFailures(failed []ledger.Failure, more func(ledger.Failure) string) {
	for _, f := range failed[:min(len(failed), mostListed)] {
		fmt.Fprintf(a.stdout, "  %q, %s%s: %s\n", f.UID, size(f.ListedSize), more(f), oneLine(f.Error))
	}
	if rest := len(failed) - mostListed; rest > 0 {
		fmt.Fprintf(a.stdout, "  and %d more: see the table failures of the ledger\n", rest)
	}
}

// vanished tells whether a message is on the server no more, as far as one sees.
func vanished(f ledger.Failure) bool { return f.Reason == ledger.Vanished }

// printHold tells that the account is left alone, and how much of its daily
// limit is used.
func (a *app) printHold(s accountStatus, now time.Time) {
	if s.Hold != nil {
		fmt.Fprintf(a.stdout, "\n%s: %s\n", s.Account, s.Hold.words(s.Account, now))
		if s.Hold.Problem != "" && s.LastError == "" {
			fmt.Fprintf(a.stdout, "  %s\n", s.Hold.Problem)
		}
	}
	if s.DailyLimit > 0 && s.ReceivedDay > 0 {
		fmt.Fprintf(a.stdout, "\n%s: %s of the daily limit of %s received within 24 hours\n", s.Account, size(s.ReceivedDay), size(s.DailyLimit))
	}
}

// lastSuccess tells the time of the last success and how long ago it was.
func lastSuccess(s accountStatus, now time.Time) string {
	switch {
	case s.LastSuccess == nil && s.LastAttempt == nil:
		return "never run"
	case s.LastSuccess == nil:
		return "never"
	}
	t := s.LastSuccess.Local()
	layout := "15:04"
	if now.Sub(t) > 20*time.Hour {
		layout = "2 Jan 15:04"
	}
	return fmt.Sprintf("%s (%s)", ago(t, now), t.Format(layout))
}

func failures(s accountStatus, now time.Time) string {
	when := ""
	if s.LastAttempt != nil {
		when = ", " + ago(*s.LastAttempt, now)
	}
	if s.ConsecutiveFailures > 1 {
		return fmt.Sprintf("the last %d runs failed%s:", s.ConsecutiveFailures, when)
	}
	return fmt.Sprintf("the last run failed%s:", when)
}

// printTable prints rows in columns, the first left columns flush left and the
// others, which are figures, flush right.
func (a *app) printTable(rows [][]string, left int) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], runewidth.StringWidth(cell))
		}
	}
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			if i < left {
				cells[i] = runewidth.FillRight(cell, widths[i])
			} else {
				cells[i] = runewidth.FillLeft(cell, widths[i])
			}
		}
		fmt.Fprintln(a.stdout, strings.TrimRight(strings.Join(cells, gap), " "))
	}
}
