package config

import (
	"cmp"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

const (
	defaultSchedule = "@every 15m"
	defaultParallel = 4
	defaultTimeout  = 5 * time.Minute
	defaultAlert    = 24 * time.Hour
)

// parser reads one file: it gathers what is wrong and what was read.
type parser struct {
	name     string // of the file, as messages show it
	base     string // the folder that relative paths start from
	nodes    int    // looked at
	problems []Problem
	drafts   []draft

	// Sections beside the accounts', nil where the file has none.
	root, alerts, email, webhook *section
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
	c := &Config{Path: absolutePath(p.name), Parallel: defaultParallel, Alerts: Alerts{Remind: defaultRemind}, AlertAfter: defaultAlert}
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
	p.root = s
	elsewhere := belong(names(accountKeys()), "it belongs into an account, below accounts")
	maps.Copy(elsewhere, belong(names(alertsKeys()), "it belongs below alerts"))
	readSection(s, root, fileKeys(), c, elsewhere)
	if !s.given("accounts") {
		s.missing("accounts", "missing; list at least one account")
	}
	if !s.given("state_dir") {
		if c.StateDir = defaultStateDir(c.Path); c.StateDir == "" {
			s.missing("state_dir", "missing, and there is no $HOME to put it in; name a folder for popfetchd's ledger")
		}
	}
	p.addAccounts(c)
	checkListen(s, c.Listen)
	if p.alerts != nil {
		checkAlerts(p.alerts, c)
	}
	c.Warnings = p.warnings(s)
	return c
}

// addAccounts fills in what the accounts take from the file, and adds them to c.
func (p *parser) addAccounts(c *Config) {
	for i := range p.drafts {
		a := &p.drafts[i].account
		if a.Schedule.IsZero() {
			a.Schedule = c.Schedule
			if preset := a.Preset().Schedule; preset != "" && !p.root.given("schedule") {
				a.Schedule, _ = ParseSchedule(preset)
			}
		}
		if !p.drafts[i].section.given("alert_after") {
			a.AlertAfter = patience(c.AlertAfter, a.Schedule)
		}
		c.Accounts = append(c.Accounts, *a)
	}
}

// account reads one account, fills in what is left out, and judges it.
func (p *parser) account(node *yaml.Node, path string) {
	a := Account{Policy: Keep, Access: AllMail, Timeout: defaultTimeout, Pipelining: true}
	s := p.section(path, node.Line)
	elsewhere := belong(names(oauthKeys()), "it belongs below oauth")
	maps.Copy(elsewhere, belong(names(alertsKeys()), "it belongs below alerts, at the top of the file"))
	maps.Copy(elsewhere, belong(names(fileKeys()), "it belongs at the top of the file, not into an account"))
	readSection(s, node, accountKeys(), &a, elsewhere)
	if p.nodes >= maxNodes {
		return // not all of it was read
	}
	fillIn(s, &a)
	checkName(p, s, a)
	checkServer(s, a)
	checkTLS(s, a)
	checkLogin(s, a)
	checkPolicy(s, a)
	checkWindow(s, a)
	checkMailbox(s)
	p.drafts = append(p.drafts, draft{a, s})
}

// fillIn puts in what the provider stands for where the file gives nothing, and
// then the defaults.
func fillIn(s *section, a *Account) {
	preset := a.Preset()
	a.Host = cmp.Or(a.Host, preset.Host)
	a.TLS = cmp.Or(a.TLS, preset.TLS, tlsImplicit)
	if a.TLS == preset.TLS {
		a.Port = cmp.Or(a.Port, preset.Port)
	}
	if a.TLS == tlsImplicit {
		a.Port = cmp.Or(a.Port, 995) // RFC 8314 section 7.2
	}
	a.Port = cmp.Or(a.Port, 110) // RFC 1939 section 3
	if preset.OAuthOnly {
		a.Auth = cmp.Or(a.Auth, authXOAuth2)
	}
	a.Auth = cmp.Or(a.Auth, "auto")
	if !s.given("daily_limit") {
		a.DailyLimit = preset.DailyLimit
	}
	fillInOAuth(a)
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
	if a.Preset().Recent && strings.HasPrefix(a.Username, recentPrefix) {
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
	preset := a.Preset()
	switch {
	case !s.fine("auth", "provider"): // whether a password is right is not known
	case a.UsesOAuth():
		if first != "" && preset.OAuthOnly {
			s.fail(first, "%s takes no passwords, only tokens; remove it, give oauth with your client_id, and sign in with popfetchd login", preset.Title)
		} else if first != "" {
			s.fail(first, "has no use with auth: %s; remove it, and sign in with popfetchd login", a.Auth)
		}
		checkOAuth(s, a)
	case preset.OAuthOnly:
		s.fail("auth", "%s takes no passwords, only tokens; use xoauth2, or leave it out", preset.Title)
	default:
		if s.given("oauth") && s.fine("oauth") {
			s.fail("oauth", "works with auth: xoauth2 or oauthbearer only; remove it, or set one of these")
		} else if first == "" {
			s.missing("", "no password; give one of %s", strings.Join(secretKeys, ", "))
		}
	}
}

// checkOAuth judges the oauth section of an account that logs in with a token.
func checkOAuth(account *section, a Account) {
	s := account.oauth
	if s == nil {
		if !account.given("oauth") {
			account.missing("oauth", "missing; auth: %s needs a client_id below it, that of your own OAuth client", a.Auth)
		}
		return
	}
	if !s.given("client_id") {
		s.missing("client_id", "missing; give that of your own OAuth client")
	}
	switch {
	case !s.fine("issuer", "auth_url", "token_url"):
	case s.given("auth_url") && !s.given("token_url"):
		s.fail("auth_url", "token_url is missing beside it; give both or none")
	case s.given("token_url") && !s.given("auth_url"):
		s.fail("token_url", "auth_url is missing beside it; give both or none")
	case a.OAuth.TokenURL == "":
		s.missing("issuer", "missing; give one of %s, or auth_url and token_url", strings.Join(issuerNames(), ", "))
	}
}

func checkPolicy(s *section, a Account) {
	if !s.fine("policy") {
		return
	}
	preset := a.Preset()
	if s.fine("provider") {
		if a.Policy != Keep && a.Policy != Delete && !slices.Contains(preset.Policies, string(a.Policy)) {
			s.fail("policy", "%s is Gmail's alone; use keep or delete, or add provider: gmail", a.Policy)
		}
		if a.Recent && !preset.Recent {
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

// checkWindow refuses what cannot work with a server that lists no more than
// its oldest mail, and none that was fetched.
func checkWindow(s *section, a Account) {
	preset := a.Preset()
	if !preset.Windowed {
		return
	}
	if a.Access == FromNowOn && !a.Recent && !a.UsesOAuth() && s.fine("recent", "auth", "policy") {
		s.fail("access", "%s lists a window of the oldest mail that was not fetched, so that what is new would stay hidden behind it;"+
			" choose \"Enable POP for mail that arrives from now on\" in its settings and use all-mail here, or add recent: true, or sign in with auth: xoauth2",
			preset.Title)
	}
	if a.DeleteAfter > 0 && a.Policy == Delete && s.fine("delete_after", "policy") {
		s.fail("delete_after", "%s lists a message no more once it was fetched, so that nothing could be deleted later; remove it, or use policy: keep", preset.Title)
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
