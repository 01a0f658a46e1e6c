package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
)

// longWait is an interval between logins that keeps init from fetching right
// after it has tried the login.
const longWait = 10 * time.Minute

// finish says what was written, tries it, and tells how to go on. What was
// written stays whatever the server says.
func (s *initCall) finish(ctx context.Context) error {
	s.say("\nWritten:\n  %s\n", s.path)
	secret := ""
	if s.secretName() != "" {
		secret = s.secretPath()
		s.say("  %s\n%s", secret, wrapped("The second holds the password; only you can read it.", "", s.width()))
	}
	c, err := config.Load(s.path)
	if err != nil {
		return err
	}
	result := initResult{Config: s.path, Secret: secret, Account: s.name}
	if s.auth != "" && s.ask == nil {
		s.say("\nSign in next:\n  %s\n", s.call("login "+s.name))
		s.sayHowToStart()
		return s.printInit(result)
	}
	if s.auth != "" {
		fmt.Fprintln(s.stdout)
		if err := s.login(ctx, c, c.Accounts[0], loginFlags{}); err != nil {
			s.say("\nThe configuration stays. Sign in again with:\n  %s\n", s.call("login "+s.name))
			return err
		}
	}
	s.say("\nTrying it:\n")
	checked, err := s.inspect(ctx, c, c.Accounts, true)
	if err != nil {
		return err
	}
	result.Check = &checked
	if err := s.printInit(result); err != nil {
		return err
	}
	if !s.json {
		s.printTried(checked)
	}
	problems := s.tellProblems
	if s.ask != nil { // who sits here has just read them
		problems = func(r checkResult) error { return told(r.Accounts[0].codes) }
	}
	if err := problems(checked); err != nil {
		s.say("\n%s", s.mend(gravest(checked.Accounts[0].codes), secret))
		return err
	}
	s.sayHowToStart()
	return s.fetchNow(ctx)
}

// printTried prints what the login told, without what only matters later.
func (s *initCall) printTried(result checkResult) {
	checked := result.Accounts[0]
	if o := checked.Online; o != nil {
		s.printField("logged in", fmt.Sprintf("to %s as %s: it works", checked.Server, checked.Username))
		s.printField("there", fmt.Sprintf("%s, %s", plural(o.Messages, "message"), size(o.Octets)))
		if s.provider.Windowed {
			s.printField("", "and more, perhaps: "+s.provider.Title+" shows the oldest first")
		}
	}
	s.printField("mailbox", checked.Kind+" "+checked.Mailbox)
	for i, words := range checked.Meaning {
		s.printField(first(i, "policy"), words)
	}
	if checked.Online != nil && checked.Online.Settings != nil {
		s.printDifferences(checked.Online.Settings)
	}
	for _, w := range result.Warnings {
		s.printField("warning", oneLine(w.Key+": "+w.Text))
	}
	for _, warning := range checked.Warnings {
		s.printField("warning", warning)
	}
	for _, problem := range checked.Problems {
		s.printField("PROBLEM", problem)
	}
	if len(checked.Problems) == 0 {
		s.say("More of it:\n  %s\n", s.call("check --online"))
	}
}

func (s *initCall) printInit(r initResult) error {
	if !s.json {
		return nil
	}
	return s.printJSON(r)
}

// mend says what to do about a login that did not work. The command stands on a line of its own, to be copied.
func (s *initCall) mend(code int, secret string) string {
	what := "Mend what is said above, in " + s.path
	switch {
	case code == exitRefused && secret != "":
		what = "Mend what the server says above; a new password goes into " + secret + ", alone on its line"
	case code == exitTemporary:
		what = "Check the name of the server in " + s.path + " and your network, or wait"
	}
	return wrapped(what+". What was written stays. Then try again:", "", s.width()) + "  " + s.call("check --online") + "\n"
}

// call is a command line of this program for the new configuration.
func (s *initCall) call(args string) string {
	line := programName()
	if s.configPath != "" {
		line += " --config " + shellWord(s.path)
	}
	return line + " " + args
}

// sayHowToStart tells how the mail is fetched from now on.
func (s *initCall) sayHowToStart() {
	program, err := os.Executable()
	if err != nil {
		program = "/usr/local/bin/popfetchd"
	}
	command := shellWord(program)
	if s.configPath != "" || !foundByDefault(s.path) {
		command += " --config " + shellWord(s.path)
	}
	if s.ask == nil {
		s.say("\nFetch now:\n  %s\n", s.call("--once"))
	}
	s.say("\nFrom now on with cron (crontab -e):\n  %s %s --once\n", s.cronTimes(), strings.ReplaceAll(command, "%", `\%`))
	s.say("\nOr with systemd, as you; the last line lets it go on when you log out:\n%s", userUnit(command))
	s.say("For the whole machine see README.md. How it goes:\n  %s\n", s.call("status"))
}

// foundByDefault tells whether path is looked at without --config where nothing
// is set but HOME: cron and a service do not know the terminal's XDG_CONFIG_HOME.
func foundByDefault(path string) bool {
	return path == filepath.Join(os.Getenv("HOME"), ".config", "popfetchd", "popfetchd.yaml")
}

// cronTimes are the times for a crontab: cron needs no more than a quarter of
// an hour, and some providers allow no more.
func (s *initCall) cronTimes() string {
	if s.provider.MinInterval > longWait {
		return "*/20 * * * *"
	}
	return "*/15 * * * *"
}

// userUnit is what sets up a service of the user's own, as a shell takes it: without a here-document, whose end an indent
// would hide, and without comments, which an interactive zsh does not know.
func userUnit(command string) string {
	command = strings.NewReplacer("%", "%%", "$", "$$").Replace(command)
	return `  mkdir -p ~/.config/systemd/user
  printf '%s\n' \
    '[Service]' \
    ` + shellQuoted("ExecStart="+command) + ` \
    'Restart=on-failure' \
    'RestartPreventExitStatus=64 78' \
    '[Install]' \
    'WantedBy=default.target' \
    > ~/.config/systemd/user/popfetchd.service
  systemctl --user daemon-reload
  systemctl --user enable --now popfetchd
  loginctl enable-linger
`
}

// fetchNow does the first fetch, if the person at the terminal wants it.
func (s *initCall) fetchNow(ctx context.Context) error {
	if s.ask == nil {
		return nil
	}
	if s.provider.MinInterval > longWait {
		s.say("\n%s", wrapped(fmt.Sprintf("%s wants %s between two logins: fetch after that.", s.provider.Title, span(s.provider.MinInterval)), "", s.width()))
		return nil
	}
	fmt.Fprintln(s.stdout)
	now, err := s.ask.yes(ctx, "Fetch your mail now? (Ctrl-C stops it; it goes on from there.)", true)
	if err != nil || !now {
		return nil // all is written and tried
	}
	s.configPath = s.path
	return s.once(ctx, nil)
}

// shellWord is a word as a shell takes it.
func shellWord(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@:%") == "" {
		return s
	}
	return shellQuoted(s)
}

// shellQuoted is a word in the quotes that leave everything in it as it is.
func shellQuoted(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
