package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/gmail"
	"github.com/popfetchd/popfetchd/internal/oauth"
)

// popSettings are Gmail's settings beside the file's, in `gmail settings
// --json` and `check --online --json`.
type popSettings struct {
	File        popSetting   `json:"file"`
	Gmail       *popSetting  `json:"gmail"` // null: they could not be read
	Differences []difference `json:"differences"`
	Applying    []string     `json:"applying"` // what making Gmail's as the file's does, a sentence each
	Advice      string       `json:"advice"`   // what to choose at Gmail, where they cannot be read; else ""
}

// popSetting is a pair of settings in the words of Gmail's API.
type popSetting struct {
	Access      string `json:"access"`
	Disposition string `json:"disposition"`
}

// difference is a setting that Gmail has otherwise than the file.
type difference struct {
	Key     string `json:"key"`
	InFile  string `json:"in_file"`
	AtGmail string `json:"at_gmail"`
	Means   string `json:"means"`
}

// settingsLine is the line of `gmail settings --json` for an account.
type settingsLine struct {
	Account string `json:"account"`
	popSettings
	Applied bool   `json:"applied"`
	Error   string `json:"error"`
}

func (a *app) gmailCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "gmail settings [ACCOUNT…]",
		Short: "Gmail's own POP settings beside those of the file",
		Long: `Which mail Gmail offers, and what becomes of its copy of a message that was fetched,
is decided by Gmail's own settings ("Forwarding and POP/IMAP"). popfetchd gmail
settings shows them beside the file's.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command \"gmail %s\"; there is gmail settings", args[0])
			}
			return cmd.Help()
		},
	}
	c.AddCommand(a.gmailSettingsCommand())
	return c
}

func (a *app) gmailSettingsCommand() *cobra.Command {
	var apply bool
	c := &cobra.Command{
		Use:   "settings [ACCOUNT…] [--apply]",
		Short: "show Gmail's POP settings beside the file's, or set them alike",
		Long: `Shows for each account at Gmail what policy and access say in the file, what Gmail's
own settings say, and what a difference does to your mail. Gmail's can be read
with OAuth only; for an app password it tells what to choose on Gmail's page.

With --apply it sets Gmail's to match the file. That takes a sign-in with
popfetchd login ACCOUNT --settings.`,
		Example: `  popfetchd gmail settings
  popfetchd gmail settings --apply gmail`,
		ValidArgsFunction:     a.completeAccounts,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.gmailSettings(cmd.Context(), args, apply)
		},
	}
	c.Flags().BoolVar(&apply, "apply", false, "set Gmail's settings to match the file")
	return c
}

// gmailSettings shows the settings of the accounts at Gmail, and with apply
// sets those that differ.
func (a *app) gmailSettings(ctx context.Context, names []string, apply bool) error {
	c, accounts, err := a.loadBy(config.Read, names)
	if err != nil {
		return err
	}
	var codes []int
	found := false
	for _, account := range accounts {
		if !account.Preset().Windowed {
			if len(names) > 0 {
				return usagef("account %s is not at Gmail: it has no provider: gmail", account.Name)
			}
			continue
		}
		found = true
		line, err := settingsOf(ctx, c, account, apply)
		if err != nil {
			line.Error = oneLine(err.Error())
			codes = append(codes, tell(a.stderr, err))
		}
		if err := a.printSettings(account, line); err != nil {
			return err
		}
	}
	if !found {
		return usagef("no account is at Gmail: none has provider: gmail")
	}
	return told(codes)
}

// settingsOf holds Gmail's settings against the file's.
func settingsOf(ctx context.Context, c *config.Config, account config.Account, apply bool) (settingsLine, error) {
	want := gmail.Wanted(account.Policy, account.Access)
	line := settingsLine{Account: account.Name, popSettings: popSettings{
		File: popSetting{string(want.Access), string(want.Disposition)}, Differences: []difference{}, Applying: []string{}}}
	if account.OAuth == nil {
		line.Advice = gmail.Explain(account.Policy, account.Access)
		if apply {
			return line, &exitError{code: exitConfig, err: fmt.Errorf(
				"account %s: Gmail's settings cannot be changed with an app password; change them on Gmail's page, or use auth: xoauth2", account.Name)}
		}
		return line, nil
	}
	at, err := askGmail(ctx, c, account, gmail.API.Settings)
	if err != nil {
		line.Advice = gmail.Explain(account.Policy, account.Access)
		return line, settingsFailed(account, "reading Gmail's settings", err)
	}
	line.compare(account, at)
	if !apply || len(line.Differences) == 0 {
		return line, nil
	}
	at, err = askGmail(ctx, c, account, func(api gmail.API, ctx context.Context) (gmail.Settings, error) { return api.Apply(ctx, want) })
	if err != nil {
		return line, settingsFailed(account, "changing Gmail's settings", err)
	}
	line.Applied = true
	line.Gmail = &popSetting{string(at.Access), string(at.Disposition)}
	if still := gmail.Compare(account, at); len(still) > 0 {
		return line, settingsFailed(account, "changing Gmail's settings", errors.New("the change was taken, but the settings still differ; look at the page in Gmail"))
	}
	return line, nil
}

// compare notes Gmail's settings and what is different there.
func (s *popSettings) compare(account config.Account, at gmail.Settings) {
	s.Gmail = &popSetting{string(at.Access), string(at.Disposition)}
	for _, d := range gmail.Compare(account, at) {
		s.Differences = append(s.Differences, difference{d.What, d.InFile, d.AtGmail, d.Means})
	}
	if len(s.Differences) > 0 {
		s.Applying = filled(gmail.Saving(at, gmail.Wanted(account.Policy, account.Access)))
	}
}

// askGmail calls the API with the account's token, once more with a fresh one
// if that is refused.
func askGmail(ctx context.Context, c *config.Config, account config.Account, call func(gmail.API, context.Context) (gmail.Settings, error)) (gmail.Settings, error) {
	source, err := signInSource(c, account)
	if err != nil {
		return gmail.Settings{}, err
	}
	token, err := source.Token(ctx, 0)
	if err != nil {
		return gmail.Settings{}, err
	}
	at, err := call(gmail.API{URL: account.OAuth.APIURL, Token: token.Access}, ctx)
	if !errors.Is(err, gmail.ErrTokenRefused) {
		return at, err
	}
	if token, err = source.Renew(ctx, token.Access); err != nil {
		return gmail.Settings{}, err
	}
	return call(gmail.API{URL: account.OAuth.APIURL, Token: token.Access}, ctx)
}

// settingsFailed says what failed, and how to mend it where signing in does.
func settingsFailed(account config.Account, doing string, err error) error {
	var (
		scope  *gmail.ScopeError
		signIn *oauth.SignInError
		off    *gmail.NotEnabledError
		unsafe *oauth.UnsafeError
		exit   *exitError
	)
	code, advice := exitTemporary, ""
	switch {
	case errors.As(err, &exit):
		return err
	case errors.As(err, &scope):
		code, advice = exitRefused, fmt.Sprintf("; sign in with: popfetchd login %s --settings", account.Name)
	case errors.As(err, &signIn), errors.Is(err, gmail.ErrTokenRefused):
		code, advice = exitRefused, fmt.Sprintf("; sign in again: popfetchd login %s", account.Name)
	case errors.As(err, &off):
		code = exitRefused
	case errors.As(err, &unsafe):
		code = exitConfig
	}
	return &exitError{code: code, err: fmt.Errorf("account %s: %s: %w%s", account.Name, doing, err, advice)}
}

// printSettings prints an account's settings side by side.
func (a *app) printSettings(account config.Account, line settingsLine) error {
	if a.json {
		return a.printJSON(line)
	}
	fmt.Fprintf(a.stdout, "%s\n", line.Account)
	if !line.Applied {
		a.printPopSettings(account, &line.popSettings)
		return nil
	}
	now := popSettings{Gmail: line.Gmail}
	for i, sentence := range line.Applying {
		a.printField(first(i, "changed"), sentence)
	}
	a.printPopSettings(account, &now)
	return nil
}

// printPopSettings prints what the file and Gmail say, and what follows.
func (a *app) printPopSettings(account config.Account, s *popSettings) {
	want := gmail.Wanted(account.Policy, account.Access)
	a.printField("file", fmt.Sprintf("access: %s (%s)", account.Access, want.Access.Label()))
	a.printField("", fmt.Sprintf("policy: %s (%s)", account.Policy, want.Disposition.Label()))
	if s.Gmail != nil {
		a.printField("Gmail", gmail.Access(s.Gmail.Access).Label())
		a.printField("", gmail.Disposition(s.Gmail.Disposition).Label())
	}
	if s.Gmail != nil && len(s.Differences) == 0 {
		a.printField("", "as in the file")
	}
	a.printDifferences(s)
}

// printDifferences prints what Gmail has otherwise than the file, and what to
// do about it.
func (a *app) printDifferences(s *popSettings) {
	for _, d := range s.Differences {
		a.printField("DIFFERS", d.Key+": "+d.Means)
	}
	for i, sentence := range s.Applying {
		a.printField(first(i, "--apply"), sentence)
	}
	if s.Advice != "" {
		a.printField("advice", s.Advice)
	}
}
