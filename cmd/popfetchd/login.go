package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/oauth"
	"github.com/popfetchd/popfetchd/internal/pop3"
	"github.com/popfetchd/popfetchd/internal/provider"
)

// loginFlags say how to sign in.
type loginFlags struct {
	noBrowser bool
	port      int
	device    bool
	settings  bool
}

// loginResult is what `login --json` prints.
type loginResult struct {
	Account  string   `json:"account"`
	Username string   `json:"username"`
	Scopes   []string `json:"scopes"`
	Tried    bool     `json:"tried"` // the mail server took it; false: it could not be asked
}

func (a *app) loginCommand() *cobra.Command {
	var flags loginFlags
	c := &cobra.Command{
		Use:   "login ACCOUNT [--no-browser] [--device]",
		Short: "sign in to an account with OAuth, without a password",
		Long: `For accounts with auth: xoauth2 or oauthbearer. Opens the provider's page in a
browser, where you allow popfetchd to read your mail; the page sends you back to
this program. What it brings is tried at the mail server, and then kept in the
state folder, where only you can read it, until you sign in again or log out.

On a machine without a browser, --no-browser prints the page's address. Open it
anywhere, and in the end copy the address that the browser cannot load back to
this program; or forward the port: ssh -L PORT:127.0.0.1:PORT with --port PORT.

Where the provider knows device codes (Microsoft does, Google does not for mail)
you type a short code into a page instead; that is the usual way there.`,
		Example: `  popfetchd login gmail
  popfetchd login gmail --no-browser
  popfetchd login gmail --settings      may change Gmail's POP settings, too`,
		Args:              oneAccount("login"),
		ValidArgsFunction: a.completeOne,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cmp.Or(oneFlag(cmd, "device", "no-browser"), oneFlag(cmd, "device", "port")); err != nil {
				return err
			}
			c, accounts, err := a.loadBy(config.Read, args)
			if err != nil {
				return err
			}
			return a.login(cmd.Context(), c, accounts[0], flags)
		},
	}
	c.Flags().BoolVar(&flags.noBrowser, "no-browser", false, "print the address instead of opening a browser")
	c.Flags().IntVar(&flags.port, "port", 0, "`port` of this machine that the browser is sent back to; any that is free when left out")
	c.Flags().BoolVar(&flags.device, "device", false, "type a code into a page on any device")
	c.Flags().BoolVar(&flags.settings, "settings", false, "ask for the right to change Gmail's POP settings, too")
	return c
}

// oneAccount is for commands that take the name of an account.
func oneAccount(command string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usagef("%s: name one account", command)
		}
		return nil
	}
}

// completeOne offers accounts for the first argument only.
func (a *app) completeOne(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeAccounts(cmd, args, word)
}

// login signs in, tries what came of it, and keeps it. The sign-in that was
// there before stays until then.
func (a *app) login(ctx context.Context, c *config.Config, account config.Account, flags loginFlags) error {
	source, err := signInSource(c, account)
	if err != nil {
		return err
	}
	if flags.device && source.Client.DeviceURL == "" {
		return usagef("login: the provider of account %s knows no device codes for mail; use --no-browser", account.Name)
	}
	if flags.settings {
		if err := addSettingsScope(&source.Client, account); err != nil {
			return err
		}
	}
	token, err := a.signIn(ctx, source.Client, account, flags)
	if err != nil {
		return signInFailed(account, err)
	}
	tryErr := a.tryToken(ctx, c, account, token)
	if tokenRefused(tryErr) {
		return fmt.Errorf("%w; the sign-in was not kept: it has to be for %s, whose mailbox this is", tryErr, account.Username)
	}
	if err := source.Store.Save(token); err != nil {
		return &exitError{code: exitLocal, err: fmt.Errorf("account %s: keeping the sign-in: %w", account.Name, err)}
	}
	if a.json {
		if err := a.printJSON(loginResult{account.Name, account.Username, filled(token.Scopes), tryErr == nil}); err != nil {
			return err
		}
	}
	if tryErr != nil {
		a.say("%s: signed in, but the mailbox could not be looked at; the sign-in is kept\n", account.Name)
		return tryErr
	}
	a.say("%s: signed in as %s, and the mail server takes it\n", account.Name, account.Username)
	return nil
}

// signInSource is where the account's tokens come from.
func signInSource(c *config.Config, account config.Account) (oauth.Source, error) {
	if account.OAuth == nil {
		return oauth.Source{}, usagef("account %s logs in with a password; for signing in write auth: xoauth2 and oauth: {client_id: …}, see docs/config.md", account.Name)
	}
	source, err := fetch.Source(c.StateDir, account)
	if err != nil {
		return oauth.Source{}, &exitError{code: exitConfig, err: fmt.Errorf("account %s: %w", account.Name, err)}
	}
	return source, nil
}

// addSettingsScope asks also for what changing Gmail's settings takes.
func addSettingsScope(client *oauth.Client, account config.Account) error {
	issuer, _ := provider.IssuerNamed(account.OAuth.Issuer)
	if issuer.SettingsScope == "" {
		return usagef("login: --settings is for accounts at Gmail")
	}
	client.Scopes = append(slices.Clone(client.Scopes), issuer.SettingsScope)
	return nil
}

// signInFailed is an error of a sign-in with the exit code that fits.
func signInFailed(account config.Account, err error) error {
	if errors.Is(err, context.Canceled) {
		err = errors.New("stopped before its end; nothing was changed")
	}
	code := exitTemporary
	if refused := (*oauth.SignInError)(nil); errors.As(err, &refused) {
		code = exitRefused
	}
	return &exitError{code: code, err: fmt.Errorf("account %s: signing in: %w", account.Name, err)}
}

// signIn goes the way that the flags ask for; without any, the one that is
// usual with the provider.
func (a *app) signIn(ctx context.Context, client oauth.Client, account config.Account, flags loginFlags) (oauth.Token, error) {
	byBrowser := flags.noBrowser || flags.port != 0
	if client.DeviceURL != "" && !byBrowser {
		return oauth.Device{Client: client, Show: a.showCode}.SignIn(ctx)
	}
	b := oauth.Browser{Client: client, LoginHint: account.Username, Port: flags.port, Wrong: a.tellWrong}
	b.Show = func(url string) { a.showAddress(url, flags) }
	if !flags.noBrowser {
		b.Open = openBrowser
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if flags.noBrowser || a.newQuestions() != nil {
		pasted, ended := a.pasted(ctx)
		defer func() { stop(); <-ended }()
		b.Pasted = pasted
	}
	return b.SignIn(ctx)
}

// pasted gives the lines that come from stdin until ctx ends; ended is closed
// when nothing reads from there any more.
func (a *app) pasted(ctx context.Context) (pasted <-chan string, ended <-chan struct{}) {
	lines, end := make(chan string), make(chan struct{})
	go func() {
		defer close(end)
		defer close(lines)
		for {
			text, err := a.lines().next(ctx)
			if err != nil {
				return
			}
			if strings.TrimSpace(text) == "" {
				continue
			}
			select {
			case lines <- text:
			case <-ctx.Done():
				return
			}
		}
	}()
	return lines, end
}

// talk is where a sign-in talks to the user: stderr with --json, so that
// stdout holds the result alone.
func (a *app) talk(format string, args ...any) {
	if a.json {
		fmt.Fprintf(a.stderr, format, args...)
		return
	}
	fmt.Fprintf(a.stdout, format, args...)
}

// showAddress tells where to go. The address stays in one piece, to be copied.
func (a *app) showAddress(url string, flags loginFlags) {
	if !flags.noBrowser {
		a.talk("Go on in your browser. If none opens, open this address:\n\n%s\n\n", url)
		return
	}
	a.talk("Open this address in a browser, on any machine:\n\n%s\n\n", url)
	a.talk("%s", wrapped("At the end the browser cannot load a page whose address begins with http://127.0.0.1 or http://localhost: that is right. Copy that whole address, paste it here and press Enter.", "", a.width()))
}

func (a *app) showCode(code, url string, expires time.Time) {
	a.talk("Open this page on any device:\n\n  %s\n\nand type in this code until %s:\n\n  %s\n\n",
		oneLine(url), expires.Local().Format("15:04"), oneLine(code))
}

// tellWrong says what is wrong with a pasted address; the sign-in goes on.
func (a *app) tellWrong(problem error) {
	fmt.Fprintf(a.stderr, "popfetchd: %s\n", oneLine(problem.Error()))
}

// openBrowser opens the user's browser, where there is a screen for it. It
// gets nothing of this program's terminal, where the user may be pasting.
func openBrowser(url string) error {
	if os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" && os.Getenv("BROWSER") == "" {
		return errors.New("no screen")
	}
	return exec.Command("xdg-open", url).Run()
}

// tryToken logs in to the mail server with a token that is not stored yet.
func (a *app) tryToken(ctx context.Context, c *config.Config, account config.Account, token oauth.Token) error {
	f, done, err := a.openQuietly(c)
	if err != nil {
		return err
	}
	defer done()
	return f.CheckLogin(ctx, account, token.Access)
}

// tokenRefused says that a login failed because of its token, and not because
// of the network, the server or the mailbox.
func tokenRefused(err error) bool {
	var token *pop3.TokenError
	var reply *pop3.ReplyError
	return errors.As(err, &token) || errors.As(err, &reply) && reply.Code == "AUTH" && fetch.KindOf(err) == fetch.Refused
}
