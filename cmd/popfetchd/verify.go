package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

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
	Read    int    `json:"read"`
	Moved   int    `json:"moved"`
	Torn    int    `json:"torn"`
	Unknown int    `json:"unknown"`
}

func newVerdict(v fetch.Verification) verdict {
	return verdict{v.Account, v.Checked, v.Missing, v.Changed, v.OK(), v.Read, v.Moved, v.Torn, v.Unknown}
}

func (a *app) verifyCommand() *cobra.Command {
	var read bool
	var sample string
	c := &cobra.Command{
		Use:   "verify [--read | --sample PERCENT] [ACCOUNT…]",
		Short: "hold the mailboxes against the ledger",
		Long: `Looks for every message that the ledger says was stored: is it still there, and
of the same size? With --read each is read and must have the same SHA-256, and an
mbox is searched for torn pieces. With --sample a part is read, each day the next
one, until all had their turn: for a nightly job.

Mail that you moved elsewhere or deleted yourself counts as missing. Flags, the
step from new to cur, another place in the same mbox and subfolders of the
Maildir do not. Pieces of messages, and files of the account in a Maildir that
the ledger does not know, are told too (popfetchd repair takes these in). Where
there is mail but no ledger, all of it counts as not in the ledger.

Exit code 65 says that something is missing, changed, torn or not in the ledger.`,
		Example: `  popfetchd verify
  popfetchd verify --read gmail
  popfetchd verify --sample 5%`,
		ValidArgsFunction: a.completeAccounts,
		RunE: func(cmd *cobra.Command, args []string) error {
			share, err := parseShare(read, sample)
			if err != nil {
				return err
			}
			f, accounts, done, err := a.openAccounts(openReader, config.Read, args)
			if err != nil {
				return err
			}
			defer done()
			return a.verify(cmd.Context(), f, accounts, share)
		},
	}
	c.Flags().BoolVar(&read, "read", false, "read every message and compare its SHA-256")
	c.Flags().StringVar(&sample, "sample", "", "read this `percent` of the messages, as in 5%: each day another part")
	_ = c.RegisterFlagCompletionFunc("sample", cobra.FixedCompletions([]string{"1%", "5%", "10%", "25%", "50%"}, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveKeepOrder))
	return c
}

// parseShare says which share of the messages to read.
func parseShare(read bool, sample string) (float64, error) {
	switch {
	case read && sample != "":
		return 0, usagef("--read reads all messages: leave out --sample, or --read")
	case read:
		return 1, nil
	case sample == "":
		return 0, nil
	}
	percent, err := strconv.ParseFloat(strings.TrimSuffix(sample, "%"), 64)
	if err != nil || !(percent > 0 && percent <= 100) {
		return 0, usagef("--sample %q: want a share above 0 and up to 100 percent, as in 5%%", sample)
	}
	return percent / 100, nil
}

// verify holds the accounts' mailboxes against the ledger, one by one.
func (a *app) verify(ctx context.Context, f *fetch.Fetcher, accounts []config.Account, share float64) error {
	var codes []int
	for _, account := range accounts {
		v, err := f.Verify(ctx, account, share)
		if err != nil {
			codes = append(codes, tell(a.stderr, err))
			continue
		}
		if err := a.printVerdict(v); err != nil {
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
func (a *app) printVerdict(v fetch.Verification) error {
	for _, finding := range v.Findings {
		fmt.Fprintf(a.stderr, "popfetchd: account %s: %s\n", v.Account, oneLine(finding))
	}
	if a.json {
		return a.printJSON(newVerdict(v))
	}
	if v.Checked == 0 && v.OK() {
		fmt.Fprintf(a.stdout, "%s: no messages stored yet\n", v.Account)
		return nil
	}
	parts := []string{plural(v.Checked, "message") + " checked"}
	if v.OK() {
		parts = append(parts, "all there, "+soundness(v))
	} else {
		parts = append(parts, fmt.Sprintf("%d missing, %d changed", v.Missing, v.Changed))
	}
	for _, p := range []struct {
		n    int
		what string
	}{{v.Torn, "torn"}, {v.Unknown, "not in the ledger"}, {v.Moved, "moved (popfetchd repair notes where to)"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	fmt.Fprintf(a.stdout, "%s: %s\n", v.Account, strings.Join(parts, ", "))
	return nil
}

// soundness says how closely the messages were looked at.
func soundness(v fetch.Verification) string {
	switch v.Read {
	case 0:
		return "of the size they were stored with"
	case v.Checked:
		return "with the content they were stored with"
	}
	return fmt.Sprintf("of the size they were stored with; %d of them read, with the content they were stored with", v.Read)
}
