package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
)

// verdict is the line of `verify --json` for an account.
type verdict struct {
	Account string `json:"account"`
	Checked int    `json:"checked"`
	Missing int    `json:"missing"`
	Changed int    `json:"changed"`
	OK      bool   `json:"ok"`
}

func newVerdict(v fetch.Verification) verdict {
	return verdict{v.Account, v.Checked, v.Missing, v.Changed, v.OK()}
}

func (a *app) verifyCommand() *cobra.Command {
	var read bool
	c := &cobra.Command{
		Use:   "verify [--read] [ACCOUNT…]",
		Short: "hold the mailboxes against the ledger",
		Long: `Looks for every message that the ledger says was stored: is it still there, and
of the same size? With --read each is read and must have the same SHA-256.

Mail that you moved or deleted yourself counts as missing; a Maildir's flags and
the step from new to cur do not matter. Exit code 65 says that something is
missing or changed.`,
		Example: `  popfetchd verify
  popfetchd verify --read gmail`,
		ValidArgsFunction: a.completeAccounts,
		RunE: func(cmd *cobra.Command, args []string) error {
			f, accounts, done, err := a.openAccounts(config.Read, args)
			if err != nil {
				return err
			}
			defer done()
			return a.verify(cmd.Context(), f, accounts, read)
		},
	}
	c.Flags().BoolVar(&read, "read", false, "read every message and compare its SHA-256")
	return c
}

// verify holds the accounts' mailboxes against the ledger, one by one.
func (a *app) verify(ctx context.Context, f *fetch.Fetcher, accounts []config.Account, read bool) error {
	var codes []int
	for _, account := range accounts {
		v := fetch.Verification{Account: account.Name}
		var err error
		if f.Ledger != nil {
			v, err = f.Verify(ctx, account, read)
		}
		if err != nil {
			codes = append(codes, tell(a.stderr, err))
			continue
		}
		if err := a.printVerdict(v, read); err != nil {
			return err
		}
		if !v.OK() {
			codes = append(codes, exitDamage)
		}
	}
	return told(codes)
}

// printVerdict prints the result for an account to stdout, and what is wrong
// to stderr, a line each.
func (a *app) printVerdict(v fetch.Verification, read bool) error {
	for _, finding := range v.Findings {
		fmt.Fprintf(a.stderr, "popfetchd: account %s: %s\n", v.Account, oneLine(finding))
	}
	if a.json {
		return a.printJSON(newVerdict(v))
	}
	what := "of the size they were stored with"
	if read {
		what = "with the content they were stored with"
	}
	switch {
	case v.Checked == 0:
		fmt.Fprintf(a.stdout, "%s: no messages stored yet\n", v.Account)
	case v.OK():
		fmt.Fprintf(a.stdout, "%s: %s checked, all there, %s\n", v.Account, plural(v.Checked, "message"), what)
	default:
		fmt.Fprintf(a.stdout, "%s: %s checked, %d missing, %d changed\n", v.Account, plural(v.Checked, "message"), v.Missing, v.Changed)
	}
	return nil
}
