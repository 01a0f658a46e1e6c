// Package provider knows the mail providers that popfetchd has presets for:
// where their POP3 servers are, how one logs in there, what they do differently
// from RFC 1939, and what their refusals mean in plain words.
//
// All of it stands in providers.yaml, which is part of the program. A provider
// is added by writing an entry there; the tests say what it lacks.
package provider

import (
	"slices"
	"strings"
	"time"
)

// Provider is one entry of the table. What its fields refer to is shared by
// all who ask, and is not to be changed.
type Provider struct {
	// Name is what stands in the configuration: provider: gmail.
	Name string `yaml:"name"`
	// Title is what people call it: Gmail.
	Title string `yaml:"title"`
	// Domains are those of its mail addresses, as far as they are its own.
	Domains []string `yaml:"domains"`

	// Host is the server's name; "" when it has no POP.
	Host string `yaml:"host"`
	// Port of the server.
	Port int `yaml:"port"`
	// TLS is "implicit" or "starttls", as in the configuration.
	TLS string `yaml:"tls"`
	// Hosts are its other servers, for addresses of other kinds or countries:
	// they are given as host.
	Hosts []string `yaml:"hosts"`
	// Username is what to log in as: WholeAddress or LocalPart.
	Username Username `yaml:"username"`

	// AppPassword says that it takes app passwords alone. They are shown in
	// groups: the spaces between these do not belong to them.
	AppPassword bool `yaml:"app_password"`
	// Letters is how many letters an app password has, when it is known to
	// have nothing but letters; else 0.
	Letters int `yaml:"letters"`
	// OAuth names the issuer of its tokens; "" when it takes none, or none that
	// one's own client could get.
	OAuth string `yaml:"oauth"`
	// OAuthOnly says that passwords are refused whatever they are.
	OAuthOnly bool `yaml:"oauth_only"`

	// Windowed says that the server lists the oldest mail that was not yet
	// popped, and that RETR with QUIT pops, as Gmail does.
	Windowed bool `yaml:"windowed"`
	// Policies are those beyond keep and delete: mark-read, archive.
	Policies []string `yaml:"policies"`
	// Recent says that it has Gmail's recent mode.
	Recent bool `yaml:"recent"`

	// SMTP is where what sends mail connects to.
	SMTP []SMTP `yaml:"smtp"`

	// Schedule is when to fetch unless the configuration says otherwise; "" for
	// popfetchd's own default.
	Schedule string `yaml:"schedule"`
	// MinInterval is how far apart logins should be at least; 0 when it is not
	// known to mind.
	MinInterval time.Duration `yaml:"min_interval"`
	// DailyLimit is how many octets to fetch within 24 hours at most, somewhat
	// below what the provider stops at; 0 for no limit.
	DailyLimit int64 `yaml:"daily_limit"`

	// NoPOP says why it cannot be used at all and what can be done instead; ""
	// when it can.
	NoPOP string `yaml:"no_pop"`
	// Notes are sentences for users: what to switch on, and what is special.
	Notes []string `yaml:"notes"`
	// Pages are the provider's own.
	Pages Pages `yaml:"pages"`
	// Replies are its known refusals; Advise looks through them in this order.
	Replies []Reply `yaml:"replies"`
}

// Username says which part of a mail address a provider's users log in with.
type Username string

const (
	// WholeAddress is someone@example.net.
	WholeAddress Username = "address"
	// LocalPart is what stands before the @.
	LocalPart Username = "local part"
)

// SMTP is a server that takes mail for sending.
type SMTP struct {
	Host string `yaml:"host"`
	Port int    `yaml:"port"`
	TLS  string `yaml:"tls"` // "implicit" or "starttls"
}

// Pages are addresses of a provider's pages, "" where none is known.
type Pages struct {
	AppPasswords string `yaml:"app_passwords"` // where app passwords are made
	EnablePOP    string `yaml:"enable_pop"`    // how to switch POP on, with its server settings
	OAuthClient  string `yaml:"oauth_client"`  // where to register one's own OAuth client
	Limits       string `yaml:"limits"`        // how much may be fetched
	Help         string `yaml:"help"`          // about logging in
}

// Issuer gives out the OAuth tokens of a provider: its endpoints (RFC 6749
// section 3, RFC 8628 section 3.1, RFC 7009), and what to ask them for.
type Issuer struct {
	Name  string `yaml:"name"`
	Title string `yaml:"title"`
	// ClientSecret says that clients of desktop programs have a secret too,
	// and that it is wanted although it is none (RFC 8252 section 8.5).
	ClientSecret bool `yaml:"client_secret"`

	AuthURL   string   `yaml:"auth_url"`
	TokenURL  string   `yaml:"token_url"`
	DeviceURL string   `yaml:"device_url"` // "" when it has none that allows Scopes
	RevokeURL string   `yaml:"revoke_url"` // "" when it has none
	APIURL    string   `yaml:"api_url"`    // of its API for mail settings; "" when none is used
	Scopes    []string `yaml:"scopes"`     // for POP3
	// SettingsScope is needed beside Scopes to change mail settings; "" when
	// there is no such thing.
	SettingsScope string `yaml:"settings_scope"`
}

// Behaviour is what a refusal asks of a client.
type Behaviour string

const (
	// Permanent: no further login until the user has changed something, or a
	// day has passed.
	Permanent Behaviour = "permanent"
	// Temporary: try again, each time after a longer while.
	Temporary Behaviour = "temporary"
	// NewSession: go on in another session at once; where that brings nothing,
	// as Temporary.
	NewSession Behaviour = "new-session"
	// OverQuota: no login for an hour, then for two, up to a day.
	OverQuota Behaviour = "over-quota"
)

// Reply is a refusal that is known of a provider.
type Reply struct {
	// Match is a part of "[CODE] text", whatever the case of its letters.
	Match string `yaml:"match"`
	// Does is what follows from it.
	Does Behaviour `yaml:"does"`
	// Means is one sentence for users without its final period: what is wrong,
	// and what to do. Commands in it have ACCOUNT for an account's name: see For.
	Means string `yaml:"means"`
	// Page is where the provider explains it.
	Page string `yaml:"page"`
}

// For is what the reply means to an account: Means, with the account's name in
// the commands to run.
func (r Reply) For(account string) string { return strings.ReplaceAll(r.Means, "ACCOUNT", account) }

// All returns the providers in the table's order, those without POP included.
func All() []Provider { return slices.Clone(table().Providers) }

// Named returns the provider of a name.
func Named(name string) (Provider, bool) {
	for _, p := range table().Providers {
		if p.Name == name {
			return p, true
		}
	}
	return Provider{}, false
}

// OfAddress returns the provider that a mail address belongs to, by what
// follows its @.
func OfAddress(address string) (Provider, bool) {
	domain := strings.ToLower(address[strings.LastIndexByte(address, '@')+1:])
	for _, p := range table().Providers {
		if slices.Contains(p.Domains, domain) {
			return p, true
		}
	}
	return Provider{}, false
}

// Issuers returns the issuers of the table.
func Issuers() []Issuer { return slices.Clone(table().Issuers) }

// IssuerNamed returns the issuer of a name.
func IssuerNamed(name string) (Issuer, bool) {
	for _, i := range table().Issuers {
		if i.Name == name {
			return i, true
		}
	}
	return Issuer{}, false
}

// Advise looks for what a server said among the provider's known refusals.
// Code is the response code (RFC 2449 section 8) without its brackets, "" when
// there was none, and text what followed it. An answer of +OK may be one too:
// Gmail says so that a mailbox will seem empty.
func (p Provider) Advise(code, text string) (Reply, bool) {
	if code != "" {
		text = "[" + code + "] " + text
	}
	said := strings.ToLower(text)
	for _, r := range p.Replies {
		if strings.Contains(said, strings.ToLower(r.Match)) {
			return r, true
		}
	}
	return Reply{}, false
}
