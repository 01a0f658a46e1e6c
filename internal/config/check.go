package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// gmail is the one provider with presets as yet.
const gmail = "gmail"

// presets are what a provider's name stands for. What the file gives as well
// wins over it.
var presets = map[string]struct{ host, tls string }{
	gmail: {"pop.gmail.com", tlsImplicit},
}

func knownProviders() []string {
	var all []string
	for name := range presets {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

const (
	defaultSchedule = "@every 15m"
	defaultParallel = 4
	defaultTimeout  = 5 * time.Minute
)

// parser reads one file: it gathers what is wrong and what was read.
type parser struct {
	name     string // of the file, as messages show it
	base     string // the folder that relative paths start from
	nodes    int    // looked at
	problems []Problem
	drafts   []draft
}

// draft is an account with the section it was read from.
type draft struct {
	account Account
	section *section
}

func newParser(name string) *parser {
	return &parser{name: name, base: filepath.Dir(absolutePath(name))}
}

// absolutePath falls back on the path itself: the working folder may be gone.
func absolutePath(path string) string {
	if absolute, err := filepath.Abs(path); err == nil {
		return absolute
	}
	return filepath.Clean(path)
}

func (p *parser) section(path string, line int) *section {
	return &section{parser: p, path: path, line: line, lines: map[string]int{}, bad: map[string]bool{}}
}

// parse reads the file. What it returns counts only if no problem was noted.
func (p *parser) parse(data []byte) *Config {
	c := &Config{Path: absolutePath(p.name), Parallel: defaultParallel}
	c.Schedule, _ = ParseSchedule(defaultSchedule)
	root := p.document(data)
	if root == nil {
		return nil
	}
	if root.Kind != yaml.MappingNode {
		p.fail(root.Line, "", "the file must begin with a key such as accounts:, each account below it with \"- name: …\"")
		return nil
	}
	s := p.section("", root.Line)
	readSection(s, root, fileKeys(), c, names(accountKeys()), "it belongs into an account, below accounts")
	if !s.given("accounts") {
		s.missing("accounts", "missing; list at least one account")
	}
	if !s.given("state_dir") {
		if c.StateDir = defaultStateDir(c.Path); c.StateDir == "" {
			s.missing("state_dir", "missing, and there is no $HOME to put it in; name a folder for popfetchd's ledger")
		}
	}
	for i := range p.drafts {
		if d := &p.drafts[i]; d.account.Schedule.IsZero() {
			d.account.Schedule = c.Schedule
		}
		c.Accounts = append(c.Accounts, p.drafts[i].account)
	}
	return c
}

// account reads one account, fills in what is left out, and judges it.
func (p *parser) account(node *yaml.Node, path string) {
	a := Account{Auth: "auto", Policy: Keep, Access: AllMail, Timeout: defaultTimeout, Pipelining: true}
	s := p.section(path, node.Line)
	readSection(s, node, accountKeys(), &a, names(fileKeys()), "it belongs at the top of the file, not into an account")
	if p.nodes >= maxNodes {
		return // not all of it was read
	}
	fillIn(&a)
	checkName(p, s, a)
	checkServer(s, a)
	checkTLS(s, a)
	checkLogin(s, a)
	checkPolicy(s, a)
	checkMailbox(s)
	p.drafts = append(p.drafts, draft{a, s})
}

func fillIn(a *Account) {
	preset := presets[a.Provider]
	if a.Host == "" {
		a.Host = preset.host
	}
	if a.TLS == "" {
		a.TLS = preset.tls
	}
	if a.TLS == "" {
		a.TLS = tlsImplicit
	}
	if a.Port == 0 && a.TLS == tlsImplicit {
		a.Port = 995 // RFC 8314 section 7.2
	} else if a.Port == 0 {
		a.Port = 110 // RFC 1939 section 3
	}
}

func checkName(p *parser, s *section, a Account) {
	if !s.given("name") {
		s.missing("name", "missing; give the account a name of your own")
		return
	}
	for i := range p.drafts {
		if other := &p.drafts[i]; a.Name != "" && other.account.Name == a.Name {
			s.fail("name", "%s is taken by the account in line %d; choose another", quoted(a.Name), other.section.line)
		}
	}
}

func checkServer(s *section, a Account) {
	if a.Host == "" && !s.given("host") && !s.given("provider") {
		s.missing("host", "missing; name the POP3 server, or the provider")
	}
	if !s.given("username") {
		s.missing("username", "missing; give the name to log in with")
	}
	if a.Provider == gmail && strings.HasPrefix(a.Username, recentPrefix) {
		s.fail("username", "leave out %q and write recent: true", recentPrefix)
	}
}

func checkTLS(s *section, a Account) {
	if !s.fine("tls") {
		return
	}
	if a.TLS != tlsNone {
		if a.AllowCleartext {
			s.fail("allow_cleartext", "works with tls: none only; remove it")
		}
	} else if !isLoopback(a.Host) && !a.AllowCleartext && s.fine("allow_cleartext", "host") && (s.given("host") || s.fine("provider")) {
		s.fail("tls", "none sends the password and all mail readable through the net; use implicit or starttls, or add allow_cleartext: true")
	}
	for _, key := range []string{"ca_file", "pin_sha256"} {
		if s.given(key) && a.TLS == tlsNone {
			s.fail(key, "has no use with tls: none; remove one of the two")
		}
	}
	if s.given("ca_file") && s.given("pin_sha256") {
		s.fail("pin_sha256", "trusts this certificate alone, so that ca_file has no use; remove one of the two")
	}
}

// isLoopback says whether a host is this machine by its very name: names that
// have to be looked up may be anywhere.
func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.Unmap().IsLoopback()
}

func checkLogin(s *section, a Account) {
	first := ""
	for _, key := range secretKeys {
		switch {
		case !s.given(key):
		case first == "":
			first = key
		default:
			s.fail(key, "%s is given too; keep one of the two", first)
		}
	}
	if first == "" {
		s.missing("", "no password; give one of %s", strings.Join(secretKeys, ", "))
	}
}

func checkPolicy(s *section, a Account) {
	if !s.fine("policy") {
		return
	}
	if a.Provider != gmail && s.fine("provider") {
		if a.Policy == MarkRead || a.Policy == Archive {
			s.fail("policy", "%s is Gmail's alone; use keep or delete, or add provider: gmail", a.Policy)
		}
		if a.Recent {
			s.fail("recent", "only Gmail has a recent mode; remove it, or add provider: gmail")
		}
	}
	if s.given("delete_after") && s.fine("delete_after") && a.Policy != Delete {
		s.fail("delete_after", "works with policy: delete only; remove it, or set that")
	}
	if a.DeleteMissing && a.Policy != Delete {
		s.fail("delete_missing", "works with policy: delete only; remove it, or set that")
	}
	if a.Recent && a.Policy == Delete {
		s.fail("policy", "mail is not to be deleted in Gmail's recent mode; use keep, or remove recent: true")
	}
}

func checkMailbox(s *section) {
	switch {
	case !s.given("maildir") && !s.given("mbox"):
		s.missing("", "no mailbox; give maildir or mbox")
	case s.given("maildir") && s.given("mbox"):
		s.fail("mbox", "maildir is given too; keep one of the two, or make an account for each")
	}
}

// systemStateDir is where the ledger of the machine's own configuration lives:
// where systemd puts it for the unit, so that whoever runs popfetchd from a
// shell beside the service works with the same ledger.
const systemStateDir = "/var/lib/popfetchd"

// defaultStateDir returns where the ledger lives when the file at path does
// not say; "" when there is no place.
func defaultStateDir(path string) string {
	first, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":")
	if filepath.IsAbs(first) {
		return filepath.Clean(first)
	}
	if path == systemPlace && !filepath.IsAbs(os.Getenv("XDG_STATE_HOME")) {
		return systemStateDir
	}
	if dir := xdgDir("XDG_STATE_HOME", ".local/state"); dir != "" {
		return filepath.Join(dir, "popfetchd")
	}
	return ""
}
