package config

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"net/mail"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Email is where alerts are sent by e-mail, and the server that takes them.
// What an account of the file fills in is filled in.
type Email struct {
	// To are the addresses of those who are told; at least one.
	To []string
	// From is the sender's address; by default the user name when that is an
	// address, else the first of To.
	From string
	// Via names the account of the file whose provider sends, with the account's
	// own password or token; "" when the server is given.
	Via string
	// Host is the server's name or address; an IPv6 address has no brackets.
	Host string
	// Port is 465 by default with TLS "implicit", 587 with "starttls", else 25.
	Port int
	// TLS is "implicit", "starttls" or, to loopback alone, "none".
	TLS string
	// Username to log in with; "" for no login.
	Username string
	// CAFile names a file of PEM certificates that are trusted instead of the
	// system's, absolute; "" for the system's.
	CAFile string

	secret  *secret
	account *Account // that Via names
}

// Account returns the account that Via names, which may log in with a token
// instead of a password; false when there is none.
func (e Email) Account() (Account, bool) {
	if e.account == nil {
		return Account{}, false
	}
	return *e.account, true
}

// Password reads the password from where the file says, now, as
// Account.Password does; "" when there is no login. The error is a
// *SecretError.
func (e Email) Password(ctx context.Context) (string, error) {
	if e.account != nil {
		return e.account.Password(ctx)
	}
	if e.secret == nil {
		return "", nil
	}
	raw, err := e.secret.read(ctx)
	if err == nil {
		raw, err = cleanSecret(raw, thePassword)
	}
	if err != nil {
		return "", &SecretError{Key: "alerts.email." + e.secret.key, Err: err}
	}
	return raw, nil
}

// RootCAs returns the certificates of CAFile, which are to be trusted instead
// of the system's, or nil when it is not set.
func (e Email) RootCAs() (*x509.CertPool, error) { return rootCAs(e.CAFile) }

// emailKeys are the keys of the email section of alerts.
func emailKeys() []key[Email] {
	table := []key[Email]{
		{"to", readRecipients},
		{"from", scalar(parseMailAddress, func(e *Email) *string { return &e.From })},
		{"via", scalar(parseName, func(e *Email) *string { return &e.Via })},
		{"host", scalar(parseHost, func(e *Email) *string { return &e.Host })},
		{"port", scalar(number(1, 65535), func(e *Email) *int { return &e.Port })},
		{"tls", scalar(oneOf(tlsImplicit, tlsStart, tlsNone), func(e *Email) *string { return &e.TLS })},
		{"ca_file", file(func(e *Email) *string { return &e.CAFile })},
		{"username", scalar(parseUsername, func(e *Email) *string { return &e.Username })},
	}
	for _, name := range secretKeys {
		table = append(table, key[Email]{name, readSecret(func(e *Email) **secret { return &e.secret })})
	}
	return table
}

// readEmail reads the email section. What it leaves out is filled in once the
// accounts are known.
func readEmail(v value, a *Alerts) {
	if v.node.Kind != yaml.MappingNode {
		v.fail("must be a group of keys; write to: … and via: … below it")
		return
	}
	a.Email = &Email{}
	p := v.section.parser
	p.email = p.section(join(v.section.path, v.key), v.line)
	readSection(p.email, v.node, emailKeys(), a.Email, belong(names(alertsKeys()), "it belongs below alerts, beside email"))
}

func readRecipients(v value, e *Email) {
	for _, item := range v.items() {
		one := func(*Email) *string {
			e.To = append(e.To, "")
			return &e.To[len(e.To)-1]
		}
		scalar(parseMailAddress, one)(item, e)
	}
}

// parseMailAddress reads an addr-spec of RFC 5322 section 3.4.1, without a name
// and in ASCII, as every server takes it.
func parseMailAddress(text string) (string, error) {
	parsed, err := mail.ParseAddress(text)
	switch {
	case err == nil && parsed.Address != text:
		return "", fmt.Errorf("%s is more than an address; write %s alone", quoted(text), quoted(parsed.Address))
	case err == nil && !ascii(text):
		return "", fmt.Errorf("%s has letters beyond ASCII, which many servers refuse; write an address without", quoted(text))
	case err != nil || strings.ContainsFunc(text, isControl):
		return "", fmt.Errorf("%s is not a mail address; write it as in someone@example.net", quoted(text))
	}
	return text, nil
}

// fillInEmail puts in what the account that via names stands for, and then the
// defaults.
func fillInEmail(s *section, e *Email, c *Config) {
	if s.given("via") && s.fine("via") {
		e.account = c.sender(e.Via)
	}
	if a := e.account; a != nil {
		e.Via = a.Name
		e.Username = cmp.Or(e.Username, a.Username)
		if servers := a.Preset().SMTP; len(servers) > 0 {
			e.Host = cmp.Or(e.Host, servers[0].Host)
			e.TLS = cmp.Or(e.TLS, servers[0].TLS)
			if e.TLS == servers[0].TLS {
				e.Port = cmp.Or(e.Port, servers[0].Port)
			}
		}
	}
	if e.TLS == "" && (e.Port == submission || e.Port == relay) {
		e.TLS = tlsStart
	}
	e.TLS = cmp.Or(e.TLS, tlsImplicit)
	if e.Port == 0 {
		e.Port = map[string]int{tlsImplicit: submissions, tlsStart: submission, tlsNone: relay}[e.TLS]
	}
	if e.From == "" && strings.Contains(e.Username, "@") && s.fine("username") {
		e.From = e.Username
	}
	if e.From == "" && len(e.To) > 0 {
		e.From = e.To[0]
	}
}

// The ports of RFC 8314 section 3.3, RFC 6409 section 3.1 and RFC 5321.
const (
	submissions = 465
	submission  = 587
	relay       = 25
)

// sender returns the account that via names: by its name, else the first of the
// provider of that name; nil when there is none.
func (c *Config) sender(via string) *Account {
	if a := c.account(via); a != nil {
		return a
	}
	for i := range c.Accounts {
		if c.Accounts[i].Provider == via {
			return &c.Accounts[i]
		}
	}
	return nil
}

// checkEmail holds the keys of the email section against each other.
func checkEmail(s *section, e *Email) {
	if !s.given("to") {
		s.missing("to", "missing; give the address of who is to be told")
	}
	switch {
	case s.given("via") && s.fine("via"):
		checkVia(s, e)
	case !s.given("via") && !s.given("host"):
		s.missing("", "no server; give via with the name of an account here, or host")
	case !s.given("via"):
		checkRelayLogin(s)
	}
	if !s.fine("tls", "host") || e.Host == "" {
		return
	}
	if e.TLS == tlsNone && !isLoopback(e.Host) {
		s.fail("tls", "none sends everything readable through the net; use implicit or starttls (none is for a server on this machine)")
	}
	if s.given("ca_file") && e.TLS == tlsNone {
		s.fail("ca_file", "has no use with tls: none; remove one of the two")
	}
}

// checkVia judges what sends by an account of the file.
func checkVia(s *section, e *Email) {
	a := e.account
	if a == nil {
		if s.parser.accountsFine() {
			s.fail("via", "no account is called %s, and none is of such a provider; name an account of this file, or give host", quoted(e.Via))
		}
		return
	}
	for _, key := range append([]string{"username"}, secretKeys...) {
		if s.given(key) {
			s.fail(key, "has no use with via, which logs in as the account does; remove one of the two")
		}
	}
	if e.Host == "" && s.fine("host") {
		s.fail("via", "where account %s sends mail is not known; give host as well", a.Name)
	}
	if a.UsesOAuth() && a.OAuth != nil && a.OAuth.Issuer == "microsoft" && !slices.Contains(a.OAuth.Scopes, microsoftSend) {
		s.fail("via", "the token of account %s is for fetching alone; add %s to the scopes of its oauth and run popfetchd login anew, or give another server with host",
			a.Name, microsoftSend)
	}
}

// microsoftSend is the scope that Microsoft wants for SMTP; Google's is one for
// all mail.
const microsoftSend = "https://outlook.office.com/SMTP.Send"

// checkRelayLogin judges how to log in to a server that is given.
func checkRelayLogin(s *section) {
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
	if s.given("username") && first == "" {
		s.fail("username", "has no password beside it; give one of %s, or remove it for a server that wants none", strings.Join(secretKeys, ", "))
	}
	if first != "" && !s.given("username") {
		s.fail(first, "username is missing beside it; give the name to log in with")
	}
}

// accountsFine says whether all accounts could be read, as far as others refer
// to them.
func (p *parser) accountsFine() bool {
	for _, d := range p.drafts {
		if !d.section.fine("name", "provider") {
			return false
		}
	}
	return len(p.drafts) > 0
}
