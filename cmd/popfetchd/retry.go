package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/ledger"
)

func (a *app) retryCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "retry ACCOUNT [UID…]",
		Short: "take up messages again that were set aside, or a refused login",
		Long: `A message that the server refuses or that breaks the connection is tried five
times, then set aside; popfetchd status lists it with its UID. This takes the
account's messages up again, or those with the UIDs given, as if they had never
failed: the next run fetches them.

Without UIDs it also ends the time for which an account is left alone after a
refused login or a suspension: the next run logs in. Mend what the server said
first, since it may lock an account that fails too often.`,
		Example: `  popfetchd retry isp
  popfetchd retry isp GmailId18c2a9 && popfetchd --once isp`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("retry: name the account, and UIDs if not all of its messages are meant")
			}
			return nil
		},
		ValidArgsFunction: a.completeOne,
		RunE: func(_ *cobra.Command, args []string) error {
			f, accounts, done, err := a.openAccounts(openFetcher, config.Read, args[:1])
			if err != nil {
				return err
			}
			defer done()
			return a.retry(f.Ledger, accounts[0].Name, args[1:])
		},
	}
}

// retry takes messages up again and says how many; a UID that did not fail is an
// error, and nothing is done.
func (a *app) retry(books *ledger.Ledger, account string, uids []string) error {
	failed, err := books.Failures(account)
	if err != nil {
		return err
	}
	failed = slices.DeleteFunc(failed, func(f ledger.Failure) bool { return f.Reason == ledger.TooLarge })
	for _, uid := range uids {
		if !slices.ContainsFunc(failed, func(f ledger.Failure) bool { return f.UID == uid }) {
			return usagef("no message %q of account %s has failed; popfetchd status %s lists those that were set aside", uid, account, account)
		}
	}
	gone := !slices.ContainsFunc(failed, func(f ledger.Failure) bool {
		return !vanished(f) && (len(uids) == 0 || slices.Contains(uids, f.UID))
	})
	n, err := books.Retry(account, uids)
	if err != nil {
		return err
	}
	lifted := false
	if len(uids) == 0 {
		if lifted, err = liftHold(books, account); err != nil {
			return err
		}
	}
	if a.json {
		return a.printJSON(struct {
			Account string `json:"account"`
			Retried int    `json:"retried"`
			Lifted  bool   `json:"lifted"`
		}{account, n, lifted})
	}
	if lifted {
		fmt.Fprintf(a.stdout, "%s: the next run logs in again\n", account)
	}
	switch {
	case n > 0 && gone:
		fmt.Fprintf(a.stdout, "%s: %s forgotten; what is listed again is fetched\n", account, plural(n, "message"))
	case n > 0:
		fmt.Fprintf(a.stdout, "%s: the next run fetches %s again (popfetchd --once %s does it now)\n", account, plural(n, "message"), account)
	case !lifted:
		fmt.Fprintf(a.stdout, "%s: no message has failed\n", account)
	}
	return nil
}

// liftHold lets an account be logged in to again, and says whether something
// was in the way. A daily limit stays: it is the file's own.
func liftHold(books *ledger.Ledger, account string) (bool, error) {
	h, err := books.Hold(account)
	if err != nil || h.Reason == ledger.DailyLimit || newHeld(h, time.Now()) == nil {
		return false, err
	}
	return true, books.Lift(account)
}
