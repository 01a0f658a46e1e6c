package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/ledger"
)

func (a *app) retryCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "retry ACCOUNT [UID…]",
		Short: "take up messages again that were set aside",
		Long: `A message that the server refuses or that breaks the connection is tried five
times, then set aside; popfetchd status lists it with its UID. This takes the
account's messages up again, or those with the UIDs given, as if they had never
failed: the next run fetches them.`,
		Example: `  popfetchd retry isp
  popfetchd retry isp GmailId18c2a9 && popfetchd --once isp`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("retry: name the account, and UIDs if not all of its messages are meant")
			}
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return a.completeAccounts(cmd, args, word)
		},
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
	n, err := books.Retry(account, uids)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(struct {
			Account string `json:"account"`
			Retried int    `json:"retried"`
		}{account, n})
	}
	if n == 0 {
		fmt.Fprintf(a.stdout, "%s: no message has failed\n", account)
		return nil
	}
	fmt.Fprintf(a.stdout, "%s: the next run fetches %s again (popfetchd --once %s does it now)\n", account, plural(n, "message"), account)
	return nil
}
