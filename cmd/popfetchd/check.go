package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/gmail"
)

// checkResult is what `check --json` prints.
type checkResult struct {
	Config   string           `json:"config"`
	OK       bool             `json:"ok"`
	Problems []checkProblem   `json:"problems"` // of the file
	Accounts []accountChecked `json:"accounts"`
	Warnings []checkProblem   `json:"warnings"` // what the file may say, but had better not
}

// checkProblem is a mistake in the file.
type checkProblem struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Key  string `json:"key"`
	Text string `json:"text"`
}

// accountChecked is what check understood of an account, and what is wrong
// with it.
type accountChecked struct {
	Account  string    `json:"account"`
	Server   string    `json:"server"`
	TLS      string    `json:"tls"`
	Username string    `json:"username"`
	Mailbox  string    `json:"mailbox"`
	Kind     string    `json:"kind"` // Maildir or mbox
	Policy   string    `json:"policy"`
	Meaning  []string  `json:"meaning"` // of the policy, in words
	Schedule string    `json:"schedule"`
	Next     time.Time `json:"next"` // by the schedule, from now
	Problems []string  `json:"problems"`
	Warnings []string  `json:"warnings"` // allowed, but hardly meant
	Online   *online   `json:"online,omitempty"`
	Advice   string    `json:"advice"` // what to choose at the provider, where that cannot be read; else ""

	settings config.Account
	codes    []int
}

func (a *app) checkCommand() *cobra.Command {
	var goOnline bool
	c := &cobra.Command{
		Use:   "check [--online] [ACCOUNT…]",
		Short: "validate the configuration and say what it means",
		Long: `Reads the configuration, reports all of its mistakes at once, and says for each
account what was understood and what will happen to the mail. It tries whether
the password can be read and the mailbox be written.

With --online it logs in as well and shows the server's certificate and
capabilities, how much mail is there, and what would be fetched and deleted.
Nothing is changed, here or there.`,
		Example: `  popfetchd check
  popfetchd check --online gmail`,
		ValidArgsFunction: a.completeAccounts,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.check(cmd.Context(), args, goOnline)
		},
	}
	c.Flags().BoolVar(&goOnline, "online", false, "log in to each account and show what is there")
	return c
}

func (a *app) check(ctx context.Context, names []string, goOnline bool) error {
	c, accounts, err := a.load(names)
	if err != nil {
		return a.checkFailed(err)
	}
	result, err := a.inspect(ctx, c, accounts, goOnline)
	if err != nil {
		return err
	}
	if a.json {
		if err := a.printJSON(result); err != nil {
			return err
		}
	} else {
		a.printChecked(c, result)
	}
	return a.tellProblems(result)
}

// inspect judges the accounts, with goOnline at their servers too.
func (a *app) inspect(ctx context.Context, c *config.Config, accounts []config.Account, goOnline bool) (checkResult, error) {
	result := checkResult{Config: c.Path, Problems: []checkProblem{}, Warnings: []checkProblem{}}
	for _, w := range c.Warnings {
		result.Warnings = append(result.Warnings, checkProblem(w))
	}
	if err := probeState(c.StateDir); err != nil {
		return result, &exitError{code: exitLocal, err: err}
	}
	f, done, err := a.openQuietly(c)
	if err != nil {
		return result, err
	}
	defer done()
	var codes []int
	for _, account := range accounts {
		checked := checkAccount(ctx, f, account)
		if goOnline && !slices.Contains(checked.codes, exitConfig) && !slices.Contains(checked.codes, exitRefused) {
			checked.goOnline(ctx, f, c)
		}
		result.Accounts = append(result.Accounts, checked)
		codes = append(codes, checked.codes...)
	}
	result.OK = gravest(codes) == exitFine
	return result, nil
}

// tellProblems writes what is wrong with the accounts to stderr, and returns
// the exit code for it.
func (a *app) tellProblems(result checkResult) error {
	var codes []int
	for _, checked := range result.Accounts {
		codes = append(codes, checked.codes...)
		for _, problem := range checked.Problems {
			fmt.Fprintf(a.stderr, "popfetchd: %s\n", problem)
		}
	}
	return told(codes)
}

// checkFailed reports a configuration that could not be read: as an error, and
// with --json as an object too.
func (a *app) checkFailed(err error) error {
	var file *config.Error
	if !a.json || !errors.As(err, &file) {
		return err
	}
	result := checkResult{Config: a.configPath, Problems: []checkProblem{}, Accounts: []accountChecked{}, Warnings: []checkProblem{}}
	for _, p := range file.Problems {
		if p.File != "" {
			result.Config = p.File
		}
		result.Problems = append(result.Problems, checkProblem(p))
	}
	return errors.Join(a.printJSON(result), err)
}

// checkAccount judges what can be judged without the server.
func checkAccount(ctx context.Context, f *fetch.Fetcher, account config.Account) accountChecked {
	now := time.Now()
	path, kind := mailbox(account, now)
	checked := accountChecked{
		Account:  account.Name,
		Server:   address(account),
		TLS:      account.TLS,
		Username: account.Login(),
		Mailbox:  path,
		Kind:     kind,
		Policy:   string(account.Policy),
		Meaning:  policyWords(account),
		Schedule: account.Schedule.String(),
		Next:     account.Schedule.Next(now).UTC().Truncate(time.Second),
		Problems: []string{},
		Warnings: []string{},
		settings: account,
	}
	if account.Preset().Windowed && account.OAuth == nil {
		checked.Advice = gmail.Explain(account.Policy, account.Access)
	}
	checked.checkSecret(ctx, f, account)
	if err := f.ProbeMailbox(account); err != nil {
		checked.add(err)
	}
	return checked
}

// checkSecret tries what the account logs in with.
func (c *accountChecked) checkSecret(ctx context.Context, f *fetch.Fetcher, account config.Account) {
	if account.OAuth == nil {
		if _, err := account.Password(ctx); err != nil {
			c.add(err)
		} else if warning := account.PasswordWarning(ctx); warning != "" {
			c.Warnings = append(c.Warnings, oneLine(warning))
		}
		return
	}
	source, err := fetch.Source(f.StateDir, account)
	if err != nil {
		c.add(&exitError{code: exitConfig, err: fmt.Errorf("account %s: %w", account.Name, err)})
		return
	}
	switch _, err := source.Store.Load(); {
	case errors.Is(err, fs.ErrNotExist):
		c.add(&exitError{code: exitRefused, err: fmt.Errorf("account %s: nobody has signed in yet; run popfetchd login %[1]s", account.Name)})
	case err != nil:
		c.add(&exitError{code: exitConfig, err: fmt.Errorf("account %s: the sign-in: %w", account.Name, err)})
	}
}

// add notes a problem and the exit code it stands for.
func (c *accountChecked) add(err error) {
	c.Problems = append(c.Problems, oneLine(err.Error()))
	c.codes = append(c.codes, exitCode(err))
}

// printChecked prints for people what was understood.
func (a *app) printChecked(c *config.Config, result checkResult) {
	fmt.Fprintf(a.stdout, "%s: %s, no mistakes\n", result.Config, plural(len(c.Accounts), "account"))
	fmt.Fprintf(a.stdout, "State and ledger in %s\n", c.StateDir)
	for _, w := range c.Warnings {
		fmt.Fprintf(a.stdout, "warning: %s\n", oneLine(w.String()))
	}
	for _, checked := range result.Accounts {
		a.printAccount(checked)
	}
}

// printAccount prints for people what was understood of an account, and found
// at its server.
func (a *app) printAccount(checked accountChecked) {
	fmt.Fprintf(a.stdout, "\n%s\n", checked.Account)
	a.printField("server", checked.Server+", "+tlsWords(checked.settings))
	a.printField("trusts", trustWords(checked.settings))
	a.printField("login", checked.Username)
	a.printField("mailbox", checked.Kind+" "+checked.Mailbox)
	a.printField("schedule", fmt.Sprintf("%s (next %s)", checked.Schedule, checked.Next.Local().Format("2 Jan 15:04")))
	for i, words := range checked.Meaning {
		if i == 0 {
			a.printField("policy", checked.Policy+": "+words)
		} else {
			a.printField("", words)
		}
	}
	switch {
	case checked.Online != nil:
		a.printOnline(checked.settings, checked.Online)
	case checked.Advice != "":
		a.printField("advice", checked.Advice)
	}
	for _, warning := range checked.Warnings {
		a.printField("warning", warning)
	}
	for _, problem := range checked.Problems {
		a.printField("PROBLEM", problem)
	}
}

// printField prints a line of an account: what it is about, and the text, which
// goes on below itself where a terminal is too narrow.
func (a *app) printField(name, text string) {
	const indent = 12
	if _, ok := terminal(a.stdout); ok {
		text = strings.TrimSuffix(wrapped(text, strings.Repeat(" ", indent), a.width()), "\n")
	}
	fmt.Fprintf(a.stdout, "  %-9s %s\n", name, text)
}
