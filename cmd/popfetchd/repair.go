package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
)

// repairLine is the line of `repair --json` for an account.
type repairLine struct {
	Account    string `json:"account"`
	Relocated  int    `json:"relocated"`
	Recognised int    `json:"recognised"`
	Waiting    int    `json:"waiting"`
	Error      string `json:"error"`
}

func (a *app) repairCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "repair [ACCOUNT…]",
		Short: "bring the ledger up to what the mailboxes hold",
		Long: `For when the ledger was lost, restored from a backup, or is behind because other
programs moved mail: looks through the mailboxes, corrects in the ledger where
messages are, and asks the server what it lists to know again what is here
already. What it cannot know without fetching is remembered by its content: the
next run fetches it, finds it is here, and does not store it again.

It fetches nothing, and deletes no mail, here or on the server.`,
		Example: `  popfetchd repair
  popfetchd repair gmail`,
		ValidArgsFunction: a.completeAccounts,
		RunE: func(cmd *cobra.Command, args []string) error {
			f, accounts, done, err := a.openAccounts(openFetcher, config.Load, args)
			if err != nil {
				return err
			}
			defer done()
			return a.repair(cmd.Context(), f, accounts)
		},
	}
}

// repair repairs the accounts' part of the ledger, one by one.
func (a *app) repair(ctx context.Context, f *fetch.Fetcher, accounts []config.Account) error {
	var codes []int
	for _, account := range accounts {
		r := f.Repair(ctx, account)
		if err := a.printRepaired(r); err != nil {
			return err
		}
		if r.Err != nil {
			codes = append(codes, tell(a.stderr, r.Err))
		}
	}
	return told(codes)
}

func (a *app) printRepaired(r fetch.Repaired) error {
	if a.json {
		line := repairLine{Account: r.Account, Relocated: r.Relocated, Recognised: r.Recognised, Waiting: r.Waiting}
		if r.Err != nil {
			line.Error = r.Err.Error()
		}
		return a.printJSON(line)
	}
	var did []string
	if r.Relocated > 0 {
		did = append(did, plural(r.Relocated, "message")+" had moved: the ledger says again where they are")
	}
	if r.Recognised > 0 {
		did = append(did, plural(r.Recognised, "message")+" that the server lists found here: not to be fetched again")
	}
	if r.Waiting > 0 {
		did = append(did, plural(r.Waiting, "message")+" here that the ledger does not know: should the server list one, it is not stored again")
	}
	if len(did) == 0 {
		did = append(did, "nothing to repair")
	}
	if r.Err == nil || r.Relocated+r.Recognised+r.Waiting > 0 {
		fmt.Fprintf(a.stdout, "%s: %s\n", r.Account, strings.Join(did, "; "))
	}
	return nil
}
