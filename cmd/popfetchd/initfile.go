package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/provider"
)

// answers are what a new configuration is made of.
type answers struct {
	path     string // of the configuration, absolute
	stateDir string // "": the usual one
	name     string // of the account
	provider provider.Provider
	host     string // where there is no provider, or in the place of the provider's
	port     int    // 0: the usual one
	tls      string // "": the usual one
	caFile   string
	username string
	policy   string
	maildir  string
	mbox     string

	auth             string // "" for a password
	clientID         string
	clientSecretFile string

	passwordFile string // the user's own file, named as it is
	password     string // else what goes into a new file beside the configuration
}

// secretName is the file beside the configuration that gets the password, ""
// when there is none to write.
func (w answers) secretName() string {
	if w.auth != "" || w.passwordFile != "" {
		return ""
	}
	return w.name + ".password"
}

// secretPath is where secretName goes.
func (w answers) secretPath() string {
	return filepath.Join(filepath.Dir(w.path), w.secretName())
}

// text is the configuration file.
func (w answers) text() string {
	b := &yamlText{}
	b.comment(`popfetchd's configuration, begun by "popfetchd init". "popfetchd check" says what it means,`,
		`"popfetchd check --online" tries it. docs/config.md explains every key.`)
	if w.stateDir != "" {
		b.raw("\n")
		b.comment("Where popfetchd remembers what it stored, from wherever it is started.")
		b.raw("state_dir: " + yamlWord(w.stateDir) + "\n")
	}
	b.raw("\naccounts:\n  - name: " + yamlWord(w.name) + "\n")
	if w.provider.Name != "" {
		b.key("provider", w.provider.Name)
	}
	b.key("host", w.host)
	if w.port != 0 {
		b.raw("    port: " + strconv.Itoa(w.port) + "\n")
	}
	b.key("tls", w.tls)
	b.key("ca_file", w.caFile)
	b.key("username", w.username)
	w.signIn(b)
	b.raw("\n")
	w.policyText(b)
	b.raw("\n")
	b.note("Where the mail goes: a Maildir folder (maildir), or a file (mbox). %Y-%m makes one a month.")
	b.key("maildir", w.maildir)
	b.key("mbox", w.mbox)
	b.raw("\n")
	b.note(`When the daemon fetches: "@every 15m", "@hourly", or cron's five fields.`)
	b.raw("    schedule: " + strconv.Quote(w.schedule()) + "\n\n")
	b.comment("Another account goes here, with a name of its own and the same keys.", "")
	if w.stateDir != "" {
		b.comment("How many accounts are fetched at the same time:", "parallel: 4")
	} else {
		b.comment("How many accounts are fetched at the same time, and where popfetchd remembers what it stored:",
			"parallel: 4", "state_dir: ~/.local/state/popfetchd")
	}
	return b.String()
}

func (w answers) signIn(b *yamlText) {
	switch {
	case w.auth != "":
		b.note(`Signed in by "popfetchd login ` + w.name + `", with a client id of your own.`)
		b.key("auth", w.auth)
		b.raw("    oauth:\n")
		b.raw("      client_id: " + yamlWord(w.clientID) + "\n")
		if w.clientSecretFile != "" {
			b.raw("      client_secret_file: " + yamlWord(w.clientSecretFile) + "\n")
		}
	case w.passwordFile != "":
		b.key("password_file", w.passwordFile)
	default:
		what := "The password"
		if w.provider.AppPassword {
			what = "The app password"
		}
		b.note(what + " lies in a file beside this one that only you can read.")
		b.key("password_file", w.secretName())
	}
}

func (w answers) policyText(b *yamlText) {
	choices := w.choices()
	words := make([]string, len(choices))
	for i, c := range choices {
		words[i] = c.policy
	}
	b.note("What happens on the server once a message is safe here: " + strings.Join(words, " | ") + ".")
	if w.provider.Windowed {
		b.note(fmt.Sprintf(`%s's own setting has to say the same: "popfetchd check" tells which it is.`, w.provider.Title))
	}
	b.key("policy", w.policy)
	if !w.provider.Windowed {
		if w.policy == string(config.Delete) {
			b.note("Keep it there so long before it is deleted:")
		}
		b.raw("    #delete_after: 30d\n")
	}
}

func (w answers) schedule() string {
	if w.provider.Schedule != "" {
		return w.provider.Schedule
	}
	return "@every 15m"
}

// yamlText gathers a configuration file.
type yamlText struct{ strings.Builder }

func (b *yamlText) raw(text string) { b.WriteString(text) }

// key writes a key of the account, unless there is nothing to say.
func (b *yamlText) key(key, value string) {
	if value != "" {
		b.raw("    " + key + ": " + yamlWord(value) + "\n")
	}
}

// note is a comment within the account.
func (b *yamlText) note(line string) { b.raw("    # " + line + "\n") }

// comment is one at the margin.
func (b *yamlText) comment(lines ...string) {
	for _, line := range lines {
		b.raw(strings.TrimRight("# "+line, " ") + "\n")
	}
}

// plainWord is a word that YAML takes for itself without quotes.
var plainWord = regexp.MustCompile(`^(~/)?[A-Za-z/][A-Za-z0-9/._@+-]*$`)

// yamlWord writes a value so that YAML reads the same; what Go quotes, YAML
// reads in double quotes.
func yamlWord(s string) string {
	switch strings.ToLower(s) {
	case "null", "true", "false", "yes", "no", "on", "off", "y", "n":
		return strconv.Quote(s)
	}
	if plainWord.MatchString(s) {
		return s
	}
	return strconv.Quote(s)
}

// write puts the configuration and its secret in place: both or, as long as
// the machine runs, none, and never over an existing file unless replace.
func (w answers) write(replace bool) error {
	if err := os.MkdirAll(filepath.Dir(w.path), 0o700); err != nil {
		return err
	}
	var placed []string
	place := func(path, text string) error {
		if err := placeFile(path, text, replace); err != nil {
			if !replace {
				for _, path := range placed {
					err = errors.Join(err, os.Remove(path))
				}
			}
			return err
		}
		placed = append(placed, path)
		return nil
	}
	if w.secretName() != "" {
		if err := place(w.secretPath(), w.password+"\n"); err != nil {
			return err
		}
	}
	return place(w.path, w.text())
}

// placeFile writes a file that only its owner can read, whole or not at all.
func placeFile(path, text string, replace bool) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".popfetchd-init-") // with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if replace {
		return os.Rename(f.Name(), path)
	}
	err = os.Link(f.Name(), path) // fails where the name is taken
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return os.Rename(f.Name(), path) // no links on this disk; free has looked a moment ago
	}
	return errors.Join(err, os.Remove(f.Name()))
}

// free finds out whether the files of a new configuration would be in the way
// of others.
func free(paths ...string) error {
	for _, path := range paths {
		if _, err := os.Lstat(path); err == nil {
			return usagef("there is a file %s already: see popfetchd check, name another with --config, or replace it with --force", path)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
