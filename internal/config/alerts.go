package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Alerts are the ways in which popfetchd tells that something is wrong. With
// none of them set it tells nobody.
type Alerts struct {
	Email   *Email   // nil for no e-mail
	Command string   // for /bin/sh -c; "" for none
	Webhook *Webhook // nil for none
	Ping    *Ping    // nil for none
	// Mailbox puts alerts into a mailbox here: MailboxAccount's, or when that
	// is "" the one of the account that is in trouble.
	Mailbox        bool
	MailboxAccount string
	// Remind is after how long what still goes on is told again; a week by
	// default, 0 for never.
	Remind time.Duration
}

// Any says whether there is any way at all.
func (a Alerts) Any() bool {
	return a.Email != nil || a.Command != "" || a.Webhook != nil || a.Ping != nil || a.Mailbox
}

// Format writes which ways there are, whatever the verb: for one that does not
// fit, package fmt would print what is Hidden behind the pointers.
func (a Alerts) Format(f fmt.State, _ rune) {
	var ways []string
	if a.Email != nil {
		ways = append(ways, "email "+strings.Join(a.Email.To, " "))
	}
	if a.Command != "" {
		ways = append(ways, "command")
	}
	if a.Webhook != nil {
		ways = append(ways, "webhook "+a.Webhook.URL.String())
	}
	if a.Ping != nil {
		ways = append(ways, "ping "+a.Ping.URL.String())
	}
	if a.Mailbox {
		ways = append(ways, strings.TrimSpace("mailbox "+a.MailboxAccount))
	}
	fmt.Fprintf(f, "{%s; again after %s}", strings.Join(ways, ", "), a.Remind)
}

// The values of Webhook.Format.
const (
	FormatJSON   = "json"
	FormatNtfy   = "ntfy"
	FormatGotify = "gotify"
	FormatSlack  = "slack"
)

// Webhook is an address to POST alerts to.
type Webhook struct {
	URL Hidden
	// Headers to send beside popfetchd's own, by their canonical names.
	Headers map[string]Hidden
	// TokenFile holds what goes into "Authorization: Bearer …", absolute; ""
	// for none.
	TokenFile string
	// Format is FormatJSON (the default), FormatNtfy, FormatGotify or FormatSlack.
	Format string
}

// theToken is what messages call a webhook's secret.
const theToken = "token"

// Token reads the token from its file, now, and cuts one line end off; "" when
// there is none. Others must not be able to read the file. The error is a
// *SecretError.
func (w Webhook) Token() (string, error) {
	if w.TokenFile == "" {
		return "", nil
	}
	raw, err := readSecretFile(w.TokenFile, theToken)
	if err == nil {
		raw, err = cleanSecret(raw, theToken)
	}
	if err != nil {
		return "", &SecretError{Key: "alerts.webhook.token_file", Err: err}
	}
	return strings.TrimSpace(raw), nil
}

// Ping is an address that is asked for after each run, as healthchecks.io has
// it: URL itself after a success, URL/start before, URL/fail after a failure.
// {account} in it stands for the account's name.
type Ping struct {
	URL Hidden
}

// defaultRemind is a week: often enough not to be forgotten, and no flood.
const defaultRemind = 7 * 24 * time.Hour

// alertsKeys are the keys of the alerts section.
func alertsKeys() []key[Alerts] {
	return []key[Alerts]{
		{"email", readEmail},
		{"command", scalar(parseCommand, func(a *Alerts) *string { return &a.Command })},
		{"webhook", readWebhook},
		{"ping", readPing},
		{"mailbox", scalar(parseMailbox, func(a *Alerts) *string { return &a.MailboxAccount })},
		{"remind", scalar(durationOrOff("never"), func(a *Alerts) *time.Duration { return &a.Remind })},
	}
}

func webhookKeys() []key[Webhook] {
	return []key[Webhook]{
		{"url", scalar(parseHook, func(w *Webhook) *Hidden { return &w.URL })},
		{"format", scalar(oneOf(FormatJSON, FormatNtfy, FormatGotify, FormatSlack), func(w *Webhook) *string { return &w.Format })},
		{"token_file", file(func(w *Webhook) *string { return &w.TokenFile })},
		{"headers", readHeaders},
	}
}

func pingKeys() []key[Ping] {
	return []key[Ping]{
		{"url", scalar(parseHook, func(p *Ping) *Hidden { return &p.URL })},
	}
}

// readAlerts reads the alerts section. What refers to accounts is held against
// them once these are known.
func readAlerts(v value, c *Config) {
	if v.node.Kind != yaml.MappingNode {
		v.fail("must be a group of keys; write command: … below it, or another of %s", strings.Join(names(alertsKeys()), ", "))
		return
	}
	p := v.section.parser
	p.alerts = p.section(join(v.section.path, v.key), v.line)
	elsewhere := belong(names(fileKeys()), "it belongs at the top of the file, beside alerts")
	maps.Copy(elsewhere, belong(names(emailKeys()), "it belongs below email"))
	for _, key := range names(webhookKeys()) {
		elsewhere[key] = "it belongs below webhook"
	}
	readSection(p.alerts, v.node, alertsKeys(), &c.Alerts, elsewhere)
	ways := []string{"email", "command", "webhook", "ping", "mailbox"}
	if !slices.ContainsFunc(ways, p.alerts.given) {
		p.alerts.missing("", "no way to tell anybody; give one of %s", strings.Join(ways, ", "))
	}
}

// nested reads a group of keys below a key, and returns nil after noting that
// there is none. What is given in one line stands for its url.
func nested[T any](v value, table []key[T], to *T) *section {
	if v.node.Kind == yaml.ScalarNode && !isNull(v.node) {
		s := v.section.parser.section(join(v.section.path, v.key), v.line)
		s.lines["url"] = v.line
		for _, k := range table {
			if k.name == "url" {
				k.read(value{v.node, v.line, v.key, v.section}, to)
			}
		}
		s.bad["url"] = v.section.bad[v.key]
		return s
	}
	if v.node.Kind != yaml.MappingNode {
		v.fail("must be an address, or a group of keys with url: … among them")
		return nil
	}
	s := v.section.parser.section(join(v.section.path, v.key), v.line)
	readSection(s, v.node, table, to, belong(names(alertsKeys()), "it belongs below alerts, beside "+v.key))
	if !s.given("url") {
		s.missing("url", "missing; give the address")
	}
	return s
}

func readWebhook(v value, a *Alerts) {
	a.Webhook = &Webhook{Format: FormatJSON}
	s := nested(v, webhookKeys(), a.Webhook)
	if s == nil {
		return
	}
	if _, given := a.Webhook.Headers["Authorization"]; given && s.given("token_file") {
		s.fail("token_file", "is sent as the header Authorization, which headers has too; remove one of the two")
	}
	v.section.parser.webhook = s
}

func readPing(v value, a *Alerts) {
	a.Ping = &Ping{}
	nested(v, pingKeys(), a.Ping)
}

// parseHook reads an address that alerts go to. It may be secret itself, so
// that no message shows it.
func parseHook(text string) (Hidden, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || strings.ContainsFunc(text, func(r rune) bool { return r <= 0x20 || r == 0x7f }):
		return "", errors.New("is not the address of a service; write it as in https://ntfy.example.net/mail")
	case u.User != nil:
		return "", errors.New("holds a user name or password; leave out what stands before the @")
	case u.Scheme != "https" && u.Scheme != "http":
		return "", errors.New("is not the address of a web service; use https")
	case u.Scheme == "http" && !isNear(u.Hostname()):
		return "", errors.New("would go readable through the net; use https (http is for this machine and private addresses such as 192.168.1.5)")
	case strings.Contains(text, "#"):
		return "", errors.New("holds a #, and what follows is never sent; leave it out")
	}
	return Hidden(text), nil
}

// isNear says whether a host is this machine or in its own network by its very
// name, where home servers have no certificates.
func isNear(host string) bool {
	address, err := netip.ParseAddr(host)
	address = address.Unmap()
	return isLoopback(host) || err == nil && (address.IsPrivate() || address.IsLinkLocalUnicast())
}

// headerName is a field name of RFC 9110 section 5.1.
var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")

// ownHeaders are those that belong to the connection and the body.
var ownHeaders = []string{"Host", "Content-Length", "Transfer-Encoding", "Connection"}

func readHeaders(v value, w *Webhook) {
	if v.node.Kind != yaml.MappingNode {
		v.fail("must be a group of headers; write X-Priority: high below it")
		return
	}
	w.Headers = map[string]Hidden{}
	for _, pair := range v.section.parser.pairs(join(v.section.path, v.key), v.node, 0) {
		item := value{pair.value, pair.line, v.key, v.section}
		name := textproto.CanonicalMIMEHeaderKey(pair.key)
		switch {
		case !headerName.MatchString(name):
			item.fail("%s is not the name of a header; use letters, digits and hyphens", quoted(pair.key))
			continue
		case slices.Contains(ownHeaders, name):
			item.fail("%s is set by popfetchd itself; remove it", name)
			continue
		}
		var text Hidden
		scalar(parseHeader, func(*Webhook) *Hidden { return &text })(item, w)
		w.Headers[name] = text
	}
}

func parseHeader(text string) (Hidden, error) {
	if strings.ContainsFunc(text, isControl) {
		return "", errors.New("the header's value holds a control character; remove it")
	}
	return Hidden(text), nil
}

// parseCommand reads what a shell is to run.
func parseCommand(text string) (string, error) {
	if strings.ContainsRune(text, 0) {
		return "", errors.New("holds a NUL character; write the command without it")
	}
	if strings.TrimSpace(text) == "" {
		return "", errors.New("has no value; give it one or remove the line")
	}
	return text, nil
}

// parseMailbox reads true, false or the name of an account.
func parseMailbox(text string) (string, error) {
	if text == "true" || text == "false" {
		return text, nil
	}
	if !accountName.MatchString(text) {
		return "", fmt.Errorf("%s is neither true nor the name of an account; write one of them", quoted(text))
	}
	return text, nil
}

// durationOrOff makes a parser of time spans, or off for what is 0.
func durationOrOff(means string) func(string) (time.Duration, error) {
	return func(text string) (time.Duration, error) {
		if text == "off" {
			return 0, nil
		}
		d, err := ParseDuration(text)
		if err != nil {
			err = fmt.Errorf("%w, or off for %s", err, means)
		}
		return d, err
	}
}

// checkAlerts holds the alerts section against the accounts.
func checkAlerts(s *section, c *Config) {
	a := &c.Alerts
	switch name := a.MailboxAccount; {
	case name == "" || name == "true" || name == "false":
		a.Mailbox, a.MailboxAccount = name == "true", ""
	case s.fine("mailbox") && s.parser.accountsFine() && c.account(name) == nil:
		s.fail("mailbox", "no account is called %s%s; write true for the account in trouble, or the name of one", quoted(name), didYouMean(name, c.names()))
	default:
		a.Mailbox = true
	}
	if email := s.parser.email; a.Email != nil && email != nil {
		fillInEmail(email, a.Email, c)
		checkEmail(email, a.Email)
	}
}

// checkAlertFiles looks at the files that the alerts section names. Mode is the
// configuration file's own.
func (p *parser) checkAlertFiles(a Alerts, mode fs.FileMode) {
	if a.Webhook != nil && p.webhook != nil {
		if _, err := a.Webhook.Token(); err != nil {
			p.webhook.fail("token_file", "%s", errors.Unwrap(err))
		}
	}
	if a.Email == nil || p.email == nil {
		return
	}
	if s := a.Email.secret; s != nil && a.Email.Via == "" && p.email.fine(secretKeys...) {
		if err := checkSecret(s, p.name, mode); err != nil {
			p.email.fail(s.key, "%s", err)
		}
	}
	if _, err := a.Email.RootCAs(); err != nil {
		p.email.fail("ca_file", "%s", err)
	}
}

// account returns the one of this name, nil when there is none.
func (c *Config) account(name string) *Account {
	for i := range c.Accounts {
		if c.Accounts[i].Name == name {
			return &c.Accounts[i]
		}
	}
	return nil
}

func (c *Config) names() []string {
	all := make([]string, len(c.Accounts))
	for i, a := range c.Accounts {
		all[i] = a.Name
	}
	return all
}
