package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/popfetchd/popfetchd/internal/config"
)

// app is one call of the program: its streams and the flags that all commands
// share.
type app struct {
	stdin          *os.File
	input          *lineReader // of stdin; see lines
	stdout, stderr io.Writer
	configPath     string
	logLevel       string
	logFormat      string
	json           bool
	verbose        bool
	started        bool // the command line was understood: errors from here on are not about usage
}

const rootLong = `popfetchd fetches mail over POP3 and TLS into a local Maildir or mbox.

Without a command it runs in the foreground and fetches each account on its
schedule until SIGTERM or SIGINT; SIGHUP reads the configuration again, SIGUSR1
fetches now. With --once it fetches now and ends, as cron wants it: silent
while all is well, with progress bars on a terminal.

The configuration is the file named by --config, else
$XDG_CONFIG_HOME/popfetchd/popfetchd.yaml, else /etc/popfetchd/popfetchd.yaml.

Exit codes: 0 fine; 64 usage; 65 verify found damage; 70 a bug; 74 local disk or
mailbox; 75 temporary, try again; 77 login refused; 78 configuration.`

const rootExample = `  popfetchd demo                        see it work, without any account
  popfetchd init                        set up your own
  popfetchd check --online              is the configuration right?
  popfetchd --once                      fetch every account now
  popfetchd --once --dry-run gmail      what would be fetched and deleted?
  popfetchd --config ~/mail.yaml        stay and fetch on schedule`

// rootCommand is the command line as a whole. Called without a command it is
// the daemon, or with --once a single fetch.
func (a *app) rootCommand() *cobra.Command {
	var once, dryRun bool
	root := &cobra.Command{
		Use:           "popfetchd [FLAGS] [--once [ACCOUNT…]]",
		Short:         "fetch mail over POP3 and TLS into Maildir and mbox",
		Long:          rootLong,
		Example:       rootExample,
		Version:       strings.TrimPrefix(buildInfo().String(), "popfetchd "),
		Args:          cobra.ArbitraryArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			a.started = true
			_, err := a.logger(a.stderr, slog.LevelInfo)
			return err
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case dryRun && !once:
				return usagef("--dry-run needs --once")
			case dryRun:
				return a.dryRun(cmd.Context(), args)
			case once:
				return a.once(cmd.Context(), args)
			case len(args) > 0:
				return unknownCommand(cmd, args[0])
			}
			return a.daemon(cmd.Context())
		},
	}
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.Flags().BoolVar(&once, "once", false, "fetch all accounts, or those named, now and end")
	root.Flags().BoolVar(&dryRun, "dry-run", false, "with --once: say what would be done, do nothing")
	root.Flags().Bool("version", false, "print the version and end")
	root.ValidArgsFunction = func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if !once {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.completeAccounts(cmd, args, word)
	}
	a.persistentFlags(root)
	root.AddCommand(a.checkCommand(), a.statusCommand(), a.fetchCommand(), a.reloadCommand(), a.verifyCommand(), a.repairCommand(), a.retryCommand(), a.initCommand(), a.providersCommand(), a.loginCommand(), a.logoutCommand(), a.gmailCommand(), a.demoCommand(), a.simCommand(), a.versionCommand(), a.manCommand(), a.alertCommand())
	root.SetHelpCommand(helpCommand())
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Short = "print the completion script for a shell"
			c.Args, c.RunE = cobra.ArbitraryArgs, func(*cobra.Command, []string) error {
				return usagef("completion: name the shell: bash, fish, powershell or zsh")
			}
		}
	}
	for _, c := range append(root.Commands(), root) {
		c.DisableFlagsInUseLine = true
	}
	return root
}

// persistentFlags are the flags of every command.
func (a *app) persistentFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&a.configPath, "config", "", "configuration `file`")
	f.StringVar(&a.logLevel, "log-level", "", "least `level` of the log on stderr: debug, info, warn, error")
	f.StringVar(&a.logFormat, "log-format", "text", "`format` of the log: text or json")
	f.BoolVar(&a.json, "json", false, "print results as JSON; the daemon: log as JSON")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "a line for each step instead of progress bars")
	_ = root.MarkPersistentFlagFilename("config", "yaml", "yml")
	_ = root.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp))
	_ = root.RegisterFlagCompletionFunc("log-format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
}

// describeFlags takes from the words about flags what marks the name of a value, for shells: these show them as they are.
func describeFlags(c *cobra.Command) {
	for _, flags := range []*pflag.FlagSet{c.Flags(), c.PersistentFlags()} {
		flags.VisitAll(func(f *pflag.Flag) { f.Usage = strings.ReplaceAll(f.Usage, "`", "") })
	}
	for _, sub := range c.Commands() {
		describeFlags(sub)
	}
}

// helpCommand is cobra's, except that an unknown topic is an error.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "help about a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(cmd.Root(), strings.Join(args, " "))
			}
			topic.InitDefaultHelpFlag()
			return topic.Help()
		},
	}
}

// noArguments is for commands that take none.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no arguments, not %q", cmd.Name(), args[0])
	}
	return nil
}

// unknownCommand says so, and what may have been meant.
func unknownCommand(root *cobra.Command, name string) error {
	hint := ""
	root.SuggestionsMinimumDistance = 2
	if near := root.SuggestionsFor(name); len(near) > 0 {
		hint = fmt.Sprintf("; did you mean %q?", near[0])
	}
	return usagef("unknown command %q%s", name, hint)
}

// logger writes to w with the level and format asked for; without
// --log-level it starts at lowest.
func (a *app) logger(w io.Writer, lowest slog.Level) (*slog.Logger, error) {
	if a.logLevel != "" {
		switch a.logLevel {
		case "debug", "info", "warn", "error":
			_ = lowest.UnmarshalText([]byte(a.logLevel))
		default:
			return nil, usagef("--log-level %q: want debug, info, warn or error", a.logLevel)
		}
	}
	o := &slog.HandlerOptions{Level: lowest}
	var handler func(io.Writer) slog.Handler
	switch a.logFormat {
	case "text":
		handler = func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, o) }
	case "json":
		o.ReplaceAttr = escaped // text escapes by itself; JSON need not, and leaves all but the worst as it is
		handler = func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, o) }
	default:
		return nil, usagef("--log-format %q: want text or json", a.logFormat)
	}
	if onJournal(w) {
		return slog.New(newJournalHandler(w, handler)), nil
	}
	return slog.New(handler(w)), nil
}

// load reads the configuration and picks the accounts named, all when names is
// empty.
func (a *app) load(names []string) (*config.Config, []config.Account, error) {
	return a.loadBy(config.Load, names)
}

// loadBy is load with config.Load, or config.Read for what needs no secret.
func (a *app) loadBy(read func(string) (*config.Config, error), names []string) (*config.Config, []config.Account, error) {
	path, err := config.Find(a.configPath)
	if err != nil {
		return nil, nil, &exitError{code: exitConfig, err: err}
	}
	c, err := read(path)
	if err != nil {
		return nil, nil, &exitError{code: exitConfig, err: err}
	}
	accounts, err := c.Select(names)
	if err != nil {
		return nil, nil, &usageError{err: err}
	}
	return c, accounts, nil
}

// completeAccounts offers the accounts of the configuration that are not on
// the command line yet.
func (a *app) completeAccounts(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	c, accounts, err := a.loadBy(config.Read, nil)
	if c == nil || err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	given := strings.Join(args, "\x00") + "\x00"
	var names []string
	for _, account := range accounts {
		if strings.HasPrefix(account.Name, word) && !strings.Contains("\x00"+given, "\x00"+account.Name+"\x00") {
			names = append(names, account.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// printJSON prints v as one line of JSON.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// told is the end of a command whose errors have been written already: nil, or
// the code that speaks for all of codes.
func told(codes []int) error {
	if code := gravest(codes); code != exitFine {
		return &exitError{code: code}
	}
	return nil
}
