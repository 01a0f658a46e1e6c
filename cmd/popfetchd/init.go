package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/provider"
)

// initFlags are what init was told on the command line.
type initFlags struct {
	answers
	providerName  string
	address       string
	passwordStdin bool
	yes, force    bool
}

// initResult is what `init --json` prints.
type initResult struct {
	Config  string       `json:"config"`
	Secret  string       `json:"secret"` // "" when no file was written for it
	Account string       `json:"account"`
	Check   *checkResult `json:"check"` // null when signing in has to come first
}

// initCall is one call of init.
type initCall struct {
	*app
	initFlags
	ask *questions // nil: only the flags tell
}

func (a *app) initCommand() *cobra.Command {
	s := &initCall{app: a}
	c := &cobra.Command{
		Use:   "init [FLAGS]",
		Short: "write a configuration: asks what it has to know",
		Long: `Asks where your mail is, where it should go and what should happen on the server;
writes a commented configuration and, beside it, a file with the password that
only you can read; tries them; and says how to start popfetchd from now on.

What a flag tells is not asked. With --yes, or where nobody sits at a terminal,
nothing is: flags must give the provider (or host), the address and the password,
and the rest has defaults. A password is typed, or comes from a file or stdin;
it is never an argument, which others could read in the list of processes.`,
		Example: `  popfetchd init
  popfetchd init --provider gmail --address joe@gmail.com --mbox ~/mail/joe.mbox
  pass show isp | popfetchd init --host pop.example.net --address joe --password-stdin`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmp.Or(oneFlag(cmd, "maildir", "mbox"), oneFlag(cmd, "password-file", "password-stdin", "auth")); err != nil {
				return err
			}
			if !s.yes {
				s.ask = a.newQuestions()
			}
			return s.run(cmd.Context())
		},
	}
	f := c.Flags()
	f.StringVar(&s.providerName, "provider", "", "`name` of the provider: see popfetchd providers")
	f.StringVar(&s.host, "host", "", "`name` of the POP3 server, where it is not the provider's")
	f.IntVar(&s.port, "port", 0, "its `port`, where it is not the usual one")
	f.StringVar(&s.tls, "tls", "", "`how` it does TLS: implicit (as usual), starttls, none")
	f.StringVar(&s.caFile, "ca-file", "", "`file` of the authority that its certificate is from")
	f.StringVar(&s.address, "address", "", "your `address`, or user name at the server")
	f.StringVar(&s.name, "name", "", "`name` of the account in popfetchd, such as gmail")
	f.StringVar(&s.maildir, "maildir", "", "`folder` that the mail goes to")
	f.StringVar(&s.mbox, "mbox", "", "`file` that the mail goes to")
	f.StringVar(&s.policy, "policy", "", "`what` happens on the server: keep, delete; Gmail: mark-read, archive")
	f.StringVar(&s.passwordFile, "password-file", "", "`file` with the password, to be used where it is")
	f.BoolVar(&s.passwordStdin, "password-stdin", false, "read the password from stdin")
	f.StringVar(&s.auth, "auth", "", "`how` to sign in without a password: xoauth2, oauthbearer")
	f.StringVar(&s.clientID, "client-id", "", "your client `id` for that")
	f.StringVar(&s.clientSecretFile, "client-secret-file", "", "`file` with its secret, if it has one")
	f.BoolVarP(&s.yes, "yes", "y", false, "ask nothing")
	f.BoolVar(&s.force, "force", false, "replace a configuration that is there")
	s.completeFlags(c)
	return c
}

// completeFlags tells shells what the flags take, where that is not a file.
func (s *initCall) completeFlags(c *cobra.Command) {
	none := cobra.ShellCompDirectiveNoFileComp
	for name, choices := range map[string][]string{
		"provider": usableProviders(), "tls": {"implicit", "starttls", "none"}, "auth": {"xoauth2", "oauthbearer"},
		"host": nil, "port": nil, "address": nil, "name": nil, "client-id": nil,
	} {
		_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(choices, none))
	}
	_ = c.RegisterFlagCompletionFunc("policy", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		policies := []string{string(config.Keep), string(config.MarkRead), string(config.Archive), string(config.Delete)}
		if p, known := provider.Named(s.providerName); known {
			policies = slices.Concat(policies[:1], p.Policies, policies[3:])
		}
		return policies, none | cobra.ShellCompDirectiveKeepOrder
	})
	_ = c.MarkFlagDirname("maildir")
}

// oneFlag refuses flags that contradict each other.
func oneFlag(cmd *cobra.Command, names ...string) error {
	first := ""
	for _, name := range names {
		switch {
		case !cmd.Flags().Changed(name):
		case first != "":
			return usagef("%s: --%s and --%s: give one of the two", cmd.Name(), first, name)
		default:
			first = name
		}
	}
	return nil
}

// run gathers the answers, writes them down and tries them.
func (s *initCall) run(ctx context.Context) error {
	if err := s.findPlace(); err != nil {
		return err
	}
	if s.ask != nil {
		s.ask.say("This writes a configuration for popfetchd to %s", s.path)
		s.ask.say("Enter takes what stands in [ ]; Ctrl-C ends it, and nothing is written.")
	}
	for _, step := range []func(context.Context) error{
		s.chooseAddress, s.chooseProvider, s.chooseUsername, s.chooseName, s.chooseMailbox, s.choosePolicy, s.chooseSignIn,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if _, err := config.Parse(s.path, []byte(s.text())); err != nil {
		return &usageError{err: plainProblems(err)}
	}
	if err := s.free(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return errNotAnswered
	}
	if err := s.write(s.force); err != nil {
		return &exitError{code: exitLocal, err: fmt.Errorf("writing the configuration: %w", err)}
	}
	return s.finish(ctx)
}

// findPlace decides where the configuration goes, and makes sure that it can.
func (s *initCall) findPlace() error {
	s.path = s.configPath
	if s.path == "" {
		dir, err := os.UserConfigDir()
		if err != nil {
			return usagef("there is no home folder to write to (%w); name a file with --config", err)
		}
		s.path = filepath.Join(dir, "popfetchd", "popfetchd.yaml")
	}
	path, err := filepath.Abs(s.path)
	if err != nil {
		return err
	}
	s.path = path
	s.stateDir = ownStateDir()
	for _, given := range []*string{&s.passwordFile, &s.clientSecretFile, &s.caFile} {
		if *given, err = fromHere(*given); err != nil {
			return err
		}
	}
	for _, given := range []*string{&s.maildir, &s.mbox} {
		if *given, err = fromHereTemplate(*given); err != nil {
			return err
		}
	}
	if err := probeFolder(filepath.Dir(path)); err != nil {
		return &exitError{code: exitLocal, err: fmt.Errorf("the folder %s cannot be written: %w; name another place with --config", filepath.Dir(path), err)}
	}
	return s.free()
}

// free refuses to go on where files are in the way.
func (s *initCall) free() error {
	switch {
	case s.force:
		return nil
	case s.secretName() == "" || s.name == "":
		return free(s.path)
	}
	return free(s.path, s.secretPath())
}

// fromHere makes a path absolute that the configuration would take from its
// own folder. In the path of the folder that the user is in, no sign has the
// meaning that it has in a configuration.
func fromHere(path string) (string, error) {
	if path == "" || strings.HasPrefix(path, "~") || strings.HasPrefix(path, "$") || filepath.IsAbs(path) {
		return path, nil
	}
	here, err := os.Getwd()
	return filepath.Join(strings.ReplaceAll(here, "$", "$$"), path), err
}

// ownStateDir is where this terminal's XDG_STATE_HOME puts the ledger, "" where
// it says nothing new. Cron and a service do not know that variable: with
// another ledger they would fetch everything a second time.
func ownStateDir() string {
	dir := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) || filepath.Clean(dir) == filepath.Join(os.Getenv("HOME"), ".local", "state") {
		return ""
	}
	return strings.ReplaceAll(filepath.Join(dir, "popfetchd"), "$", "$$")
}

// fromHereTemplate is fromHere for the path of a mailbox, in which %Y and the
// like have a meaning, too.
func fromHereTemplate(path string) (string, error) {
	whole, err := fromHere(path)
	if here, ok := strings.CutSuffix(whole, "/"+filepath.Clean(path)); ok && whole != path {
		whole = strings.ReplaceAll(here, "%", "%%") + "/" + filepath.Clean(path)
	}
	return whole, err
}

// plainProblems is what is wrong with the answers, without the places in a file
// that does not exist yet.
func plainProblems(err error) error {
	var file *config.Error
	if !errors.As(err, &file) {
		return err
	}
	var texts []string
	for _, p := range file.Problems {
		key := p.Key[strings.LastIndex(p.Key, ".")+1:]
		texts = append(texts, strings.TrimPrefix(key+": "+p.Text, ": "))
	}
	return errors.New(strings.Join(texts, "; "))
}

// wrong says what the configuration would find wrong with a key of the account;
// answers that are not there yet count as good.
func (w answers) wrong(key string) error {
	for _, blank := range []struct {
		answer *string
		filler string
	}{{&w.name, "new"}, {&w.username, "joe@example.org"}, {&w.policy, "keep"}, {&w.passwordFile, "/file"}} {
		if *blank.answer == "" {
			*blank.answer = blank.filler
		}
	}
	if w.maildir == "" && w.mbox == "" {
		w.maildir = "/folder"
	}
	if w.provider.Name == "" && w.host == "" {
		w.host = "pop.example.org"
	}
	_, err := config.Parse(w.path, []byte(w.text()))
	var file *config.Error
	if errors.As(err, &file) {
		for _, p := range file.Problems {
			if strings.HasSuffix(p.Key, "."+key) {
				return errors.New(p.Text)
			}
		}
	}
	return nil
}

// maxPasswordLine bounds what is read of stdin.
const maxPasswordLine = 64 << 10

// passwordFromStdin reads the one line that is there.
func (s *initCall) passwordFromStdin(ctx context.Context) (string, error) {
	if s.stdin == nil {
		return "", usagef("init: there is no stdin to read the password from")
	}
	text, err := await(ctx, func() (string, error) {
		b, err := io.ReadAll(bufio.NewReader(io.LimitReader(s.stdin, maxPasswordLine)))
		return string(b), err
	})
	if err != nil {
		return "", err
	}
	text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	if err := goodPassword(text); err != nil {
		return "", usagef("init: the password on stdin %w", err)
	}
	return text, nil
}

// goodPassword refuses what no server could take.
func goodPassword(text string) error {
	switch {
	case strings.TrimSpace(text) == "":
		return errors.New("is empty")
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errors.New("holds a line end or another control character; give the password alone")
	}
	return nil
}

// providerNames are those that can be used, as in a list for people.
func providerNames() string { return strings.Join(usableProviders(), ", ") }

// usableProviders are the names of those that have POP.
func usableProviders() []string {
	var names []string
	for _, p := range provider.All() {
		if p.NoPOP == "" {
			names = append(names, p.Name)
		}
	}
	return names
}
