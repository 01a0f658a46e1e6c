// Package config reads popfetchd's one configuration file, a YAML document,
// into plain values.
//
// It is strict: unknown keys, keys given twice, values that mean nothing and
// keys that contradict each other are mistakes, and all of them are reported at
// once, each with file, line, key and what would be right. The file is walked
// as a tree of YAML nodes by a table of known keys (keys.go), each value parses
// itself (values.go, path.go, schedule.go), and then the keys of an account are
// held against each other (check.go). docs/config.md is the reference for users.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/popfetchd/popfetchd/internal/provider"
)

// Config is a configuration file that was read and found right.
type Config struct {
	// Path of the file, absolute.
	Path string
	// StateDir is where the ledger and locks live, absolute. The default is
	// $STATE_DIRECTORY (the first, when systemd gives several), else
	// $XDG_STATE_HOME/popfetchd, else for /etc/popfetchd/popfetchd.yaml
	// /var/lib/popfetchd, for others ~/.local/state/popfetchd.
	StateDir string
	// Schedule of the accounts that set none; "@every 15m" by default.
	Schedule Schedule
	// Parallel is how many accounts are fetched at the same time, 1 to 64; 4
	// by default.
	Parallel int
	// Listen is where the status page is served; nowhere by default.
	Listen Listen
	// Alerts are the ways to tell that something is wrong; none by default.
	Alerts Alerts
	// AlertAfter of the accounts that set none; a day by default.
	AlertAfter time.Duration
	// Accounts in the order of the file; at least one.
	Accounts []Account
	// Warnings are what the file may say but had better not, sorted by line.
	Warnings []Problem
}

// Account is one mailbox on a server and the place its mail goes to. Defaults
// are filled in: what an Account holds is what counts.
type Account struct {
	// Name is the account's own, unique in the file: letters, digits and
	// . _ @ + -, at most 64, the first a letter or digit.
	Name string
	// Provider is a name that package provider knows, or "" for any other
	// server. It fills in what the file leaves out.
	Provider string
	// Host is the server's name or address; an IPv6 address has no brackets.
	Host string
	// Port is 995 by default with TLS "implicit", else 110.
	Port int
	// TLS is "implicit" (the default), "starttls" or "none".
	TLS string
	// AllowCleartext permits TLS "none" to a host beyond loopback.
	AllowCleartext bool
	// CAFile names a file of PEM certificates that are trusted instead of the
	// system's, absolute; "" for the system's.
	CAFile string
	// PinSHA256 are the certificates to trust, and nothing else, when not empty.
	PinSHA256 []Fingerprint
	// Username to log in with. Login says what is sent.
	Username string
	// Auth is how to log in: "auto" (the default, but for providers that take
	// no password), "user", "plain", and with a token instead of a password
	// "xoauth2" or "oauthbearer".
	Auth string
	// OAuth is where the token comes from; nil when Auth takes a password.
	OAuth *OAuth
	// Policy says what becomes of the server's copy; Keep by default.
	Policy Policy
	// DeleteAfter is how long a message stays on the server before policy
	// Delete removes it; 0, the default, removes it once it is stored here.
	DeleteAfter time.Duration
	// DeleteMissing lets Delete remove messages from the server, later than
	// at once, whose copies here were moved, changed or deleted meanwhile.
	DeleteMissing bool
	// Access says where to begin; AllMail by default.
	Access Access
	// Recent is Gmail's recent mode: the last 30 days, whoever fetched them.
	Recent bool
	// MaxMessageSize in bytes: larger messages stay on the server; 0, the
	// default, is no limit.
	MaxMessageSize int64
	// DailyLimit is how many octets to fetch within 24 hours at most; 0, the
	// default but for some providers, is no limit.
	DailyLimit int64
	// Timeout of each network step, 1 s to 1 h; 5 minutes by default.
	Timeout time.Duration
	// Pipelining is used when the server announces it; true by default.
	Pipelining bool
	// Maildir is the Maildir folder to store into; "" when Mbox is set.
	Maildir PathTemplate
	// Mbox is the mbox file to append to; "" when Maildir is set.
	Mbox PathTemplate
	// Schedule says when the daemon fetches; the file's by default, or the
	// provider's when the file has none.
	Schedule Schedule
	// AlertAfter is how long the account may go without success before that is
	// told; 0 for never. By default it is a day, or what the schedule's longest
	// pause takes and half a day more.
	AlertAfter time.Duration
	// OnNew is run by /bin/sh -c after new mail is stored; "" for nothing.
	OnNew string

	secret *secret
}

// Preset returns what is known of the account's provider; the zero Provider
// when it names none.
func (a Account) Preset() provider.Provider {
	preset, _ := provider.Named(a.Provider)
	return preset
}

// Login returns the user name to send: Username, which in Gmail's recent mode
// gets the prefix that asks for it.
func (a Account) Login() string {
	if a.Recent {
		return recentPrefix + a.Username
	}
	return a.Username
}

// Mailbox returns whichever of Maildir and Mbox is set.
func (a Account) Mailbox() PathTemplate {
	if a.Maildir != "" {
		return a.Maildir
	}
	return a.Mbox
}

// recentPrefix before a Gmail user name asks for recent mode.
const recentPrefix = "recent:"

// Select returns the accounts of these names in the order of the file, or all
// of them when names is empty. An unknown name is an error that lists the
// known ones.
func (c *Config) Select(names []string) ([]Account, error) {
	if len(names) == 0 {
		return slices.Clone(c.Accounts), nil
	}
	known := make([]string, len(c.Accounts))
	for i, a := range c.Accounts {
		known[i] = a.Name
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("no account is called %s%s; known: %s",
				quoted(name), didYouMean(name, known), strings.Join(known, ", "))
		}
	}
	var selected []Account
	for _, a := range c.Accounts {
		if slices.Contains(names, a.Name) {
			selected = append(selected, a)
		}
	}
	return selected, nil
}

// systemPlace is where the configuration of the whole machine lies.
const systemPlace = "/etc/popfetchd/popfetchd.yaml"

// Find returns the configuration file to read: flag when it is not empty, else
// $XDG_CONFIG_HOME/popfetchd/popfetchd.yaml (~/.config when that is not set),
// else /etc/popfetchd/popfetchd.yaml. When there is none, the error is an
// *Error that names every place looked at.
func Find(flag string) (string, error) {
	places := []string{flag}
	if flag == "" {
		places = defaultPlaces()
	}
	for _, place := range places {
		// A file that cannot be looked at is the one meant: Load says why.
		if _, err := os.Stat(place); !errors.Is(err, fs.ErrNotExist) {
			return place, nil
		}
	}
	text := "no configuration file " + strings.Join(places, ", nor ") + "; "
	if flag == "" {
		text += "have popfetchd init write one, or name yours with --config"
	} else {
		text += "name the one you have with --config, or have popfetchd init write it there"
	}
	return "", &Error{Problems: []Problem{{Text: text}}}
}

func defaultPlaces() []string {
	var places []string
	if dir := xdgDir("XDG_CONFIG_HOME", ".config"); dir != "" {
		places = append(places, filepath.Join(dir, "popfetchd", "popfetchd.yaml"))
	}
	return append(places, systemPlace)
}

// xdgDir returns the folder that an XDG variable names, else the one below the
// home folder, else "". The XDG base directory specification has relative
// paths ignored.
func xdgDir(variable, below string) string {
	if dir := os.Getenv(variable); filepath.IsAbs(dir) {
		return dir
	}
	if home := os.Getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, below)
	}
	return ""
}

// Load reads the file at path, and looks at the files that it names: those that
// hold a secret must be readable here and by nobody else, a ca_file must hold
// certificates. The error is an *Error with all mistakes.
func Load(path string) (*Config, error) {
	return load(path, (*parser).checkFiles)
}

// Read is Load without a look at the files that the file names: for what needs
// no secret, and should not fail for the lack of one.
func Read(path string) (*Config, error) {
	return load(path, func(*parser, *Config, fs.FileMode) {})
}

func load(path string, check func(*parser, *Config, fs.FileMode)) (*Config, error) {
	p := newParser(path)
	data, mode, err := readConfigFile(path)
	if err != nil {
		p.fail(0, "", "%s", err)
		return nil, p.err()
	}
	config := p.parse(data)
	check(p, config, mode)
	if err := p.err(); err != nil {
		return nil, err
	}
	return config, nil
}

// Parse is Load without a look at any file: data is what the file called name
// holds. Relative paths are taken from name's folder.
func Parse(name string, data []byte) (*Config, error) {
	p := newParser(name)
	config := p.parse(data)
	if err := p.err(); err != nil {
		return nil, err
	}
	return config, nil
}
