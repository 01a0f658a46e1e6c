// Package fetch does one run of one account: it lists the maildrop, decides what is new, takes it into the mailbox
// batch by batch, remembers it, deletes what the policy says, and only then says QUIT.
//
//	server ─ pop3.Session.Retrieve ─▶ store.Batch.Add ─▶ Batch.Commit ─▶ ledger.Commit ─▶ DELE ─▶ QUIT
//	                                  tmp or spool       durable         remembered      only now
//
// run.go tells the story, plan.go decides, delivery.go stores, recover.go mends what an unclean end left.
// docs/durability.md lists what happens when the program ends between any two of these steps.
package fetch

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/ledger"
)

// Fetcher does runs. Several accounts may run at the same time; two runs of one account exclude each other, also
// between processes.
type Fetcher struct {
	Ledger   *ledger.Ledger   // only Preview, Inspect and Verify do without
	StateDir string           // for locks and spools; made by the caller
	Log      *slog.Logger     // what happened to single messages; the run's own error is only returned
	Now      func() time.Time // time.Now, or a test's
}

// Report is what a run did. Listed = known before + New + Skipped, and New = Stored + Failed.
type Report struct {
	Account       string
	Listed        int   // messages the server listed
	New           int   // of those, to be fetched in this run
	Stored        int   // of those, now durable and remembered
	Bytes         int64 // of those, as stored
	Deleted       int   // deletions that the server confirmed by +OK to QUIT
	PendingDelete int   // deletions still to be confirmed, of any run
	Skipped       int   // not tried: too large, set aside, or waiting after a failure
	Failed        int   // tried, or meant to be tried, and not stored
	Sessions      int   // logins
	Took          time.Duration
	Err           error // nil, or an *Error

	Held         bool      // nothing was tried, since the account is not to be logged in to before NotBefore
	NotBefore    time.Time // zero: whenever the schedule says
	Left         int       // of Skipped: left for later, since they would go over the daily limit
	LimitedUntil time.Time // with Left: when the daily limit allows more
}

// MarshalJSON gives the object that --once --json prints.
func (r Report) MarshalJSON() ([]byte, error) {
	problem := ""
	if r.Err != nil {
		problem = r.Err.Error()
	}
	notBefore := (*string)(nil)
	if !r.NotBefore.IsZero() {
		text := r.NotBefore.UTC().Format(time.RFC3339)
		notBefore = &text
	}
	return json.Marshal(struct {
		Account       string  `json:"account"`
		Listed        int     `json:"listed"`
		New           int     `json:"new"`
		Stored        int     `json:"stored"`
		Bytes         int64   `json:"bytes"`
		Deleted       int     `json:"deleted"`
		PendingDelete int     `json:"pending_delete"`
		Skipped       int     `json:"skipped"`
		Failed        int     `json:"failed"`
		Sessions      int     `json:"sessions"`
		Seconds       float64 `json:"seconds"`
		Error         string  `json:"error"`
		Left          int     `json:"left"`
		Held          bool    `json:"held"`
		NotBefore     *string `json:"not_before"`
	}{r.Account, r.Listed, r.New, r.Stored, r.Bytes, r.Deleted, r.PendingDelete, r.Skipped, r.Failed, r.Sessions, r.Took.Round(time.Millisecond).Seconds(), problem, r.Left, r.Held, notBefore})
}

// Phase is what a run is doing.
type Phase int

const (
	Connecting Phase = iota
	Listing
	Retrieving
	Deleting
	Done
)

// Progress is how far a run has come. Totals are as listed, so bytes may end a little off them.
type Progress struct {
	Phase                   Phase
	Messages, TotalMessages int
	Bytes, TotalBytes       int64
	Sessions                int  // logins so far
	More                    bool // the server lists a part of its mail only: more may follow
}

// Run fetches the account once and reports. Its result is also in the ledger, for status. When ctx ends, the run stops
// between messages, finishes the commit in hand and leaves without QUIT. watch may be nil; it is called often, from
// one goroutine.
func (f *Fetcher) Run(ctx context.Context, account config.Account, watch func(Progress)) Report {
	r := f.newRun(account, watch)
	err := r.underLock(ctx, func() error { return r.conclude(ctx, r.do(ctx)) })
	if err != nil {
		err = &Error{Account: account.Name, Doing: r.doing, Err: err, NotBefore: r.report.NotBefore}
	}
	r.report.Failed = r.report.New - r.report.Stored
	r.report.Took = f.Now().Sub(r.began)
	r.report.Err = err
	r.tell(Done)
	return r.report
}

func (f *Fetcher) newRun(account config.Account, watch func(Progress)) *run {
	return &run{Fetcher: f, account: account, watch: watch, doing: "starting", report: Report{Account: account.Name},
		began: f.Now(), log: f.Log.With("account", account.Name), found: map[ledger.Key]bool{}}
}

// underLock does something under the account's lock.
func (r *run) underLock(ctx context.Context, do func() error) (err error) {
	defer r.catch(&err)
	r.doing = "taking the account's lock"
	unlock, err := r.lockAccount(ctx, r.account.Name, lockPatience)
	if err != nil {
		return err
	}
	defer unlock()
	return do()
}

// catch turns a panic into an error of this account, so that a mistake here does not end the daemon for the others.
func (r *run) catch(err *error) {
	if p := recover(); p != nil {
		r.log.Error("panic", "value", fmt.Sprint(p), "stack", string(debug.Stack()))
		*err = &sortedError{Bug, fmt.Errorf("panic: %v", p)}
	}
}
