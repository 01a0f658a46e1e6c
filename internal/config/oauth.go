package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/popfetchd/popfetchd/internal/provider"
)

// OAuth is where an account's tokens come from, and the client that asks for
// them. The issuer's addresses and scopes are filled in where the file gives
// none.
type OAuth struct {
	// Issuer is a name that the provider table knows, the provider's by default;
	// "" for any other.
	Issuer string
	// ClientID is what the issuer calls the user's own client.
	ClientID string
	// ClientSecretFile names the file that holds the client's secret, absolute;
	// "" when it has none.
	ClientSecretFile string
	// AuthURL and TokenURL are the endpoints of RFC 6749 section 3.
	AuthURL, TokenURL string
	// DeviceURL is the one of RFC 8628, "" when there is none.
	DeviceURL string
	// RevokeURL is the one of RFC 7009, "" when there is none.
	RevokeURL string
	// APIURL is where the API for mail settings is, "" when there is none.
	APIURL string
	// Scopes to ask for.
	Scopes []string
}

// The values of Account.Auth that take a token instead of a password.
const (
	authXOAuth2     = "xoauth2"
	authOAuthBearer = "oauthbearer"
)

// UsesOAuth says whether the account logs in with a token instead of a
// password.
func (a Account) UsesOAuth() bool { return a.Auth == authXOAuth2 || a.Auth == authOAuthBearer }

// ClientSecret reads the client's secret from its file, now, and cuts one line
// end off; "" when there is no file. Others must not be able to read the file.
// The error never holds the secret.
func (o OAuth) ClientSecret() (string, error) {
	if o.ClientSecretFile == "" {
		return "", nil
	}
	raw, err := readSecretFile(o.ClientSecretFile, theClientSecret)
	if err == nil {
		raw, err = cleanSecret(raw, theClientSecret)
	}
	if err != nil {
		return "", fmt.Errorf("client_secret_file: %w", err)
	}
	return strings.TrimSpace(raw), nil
}

// oauthKeys are the keys of an account's oauth section.
func oauthKeys() []key[OAuth] {
	return []key[OAuth]{
		{"issuer", scalar(oneOf(issuerNames()...), func(o *OAuth) *string { return &o.Issuer })},
		{"client_id", scalar(parseClientID, func(o *OAuth) *string { return &o.ClientID })},
		{"client_secret_file", file(func(o *OAuth) *string { return &o.ClientSecretFile })},
		{"auth_url", scalar(parseURL, func(o *OAuth) *string { return &o.AuthURL })},
		{"token_url", scalar(parseURL, func(o *OAuth) *string { return &o.TokenURL })},
		{"device_url", scalar(parseURL, func(o *OAuth) *string { return &o.DeviceURL })},
		{"revoke_url", scalar(parseURL, func(o *OAuth) *string { return &o.RevokeURL })},
		{"api_url", scalar(parseURL, func(o *OAuth) *string { return &o.APIURL })},
		{"scopes", readScopes},
	}
}

func issuerNames() []string {
	var all []string
	for _, i := range provider.Issuers() {
		all = append(all, i.Name)
	}
	return all
}

// parseClientID refuses what no issuer hands out: it goes into addresses.
func parseClientID(text string) (string, error) {
	if strings.ContainsFunc(text, func(r rune) bool { return r <= 0x20 || r > 0x7e }) {
		return "", errors.New("is not the id of a client; copy it from the page where you registered the client")
	}
	return text, nil
}

// parseURL reads the address of an endpoint. What goes there is secret, so
// that without TLS it must stay on this machine.
func parseURL(text string) (string, error) {
	u, err := url.Parse(text)
	switch {
	case err == nil && u.User != nil:
		return "", errors.New("holds a user name or password; leave out what stands before the @")
	case err != nil || u.Hostname() == "" || strings.Contains(text, "#"):
		return "", fmt.Errorf("%s is not the address of a service; write it as in https://login.example.net/token", quoted(text))
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return "", fmt.Errorf("%s would send secrets readable through the net; use https", quoted(text))
	case u.Scheme != "https" && u.Scheme != "http":
		return "", fmt.Errorf("%s is not the address of a web service; use https", quoted(text))
	}
	return text, nil
}

func readScopes(v value, o *OAuth) {
	for _, item := range v.items() {
		one := func(*OAuth) *string {
			o.Scopes = append(o.Scopes, "")
			return &o.Scopes[len(o.Scopes)-1]
		}
		scalar(parseScope, one)(item, o)
	}
}

// parseScope reads a scope-token of RFC 6749 section 3.3.
func parseScope(text string) (string, error) {
	if strings.ContainsFunc(text, func(r rune) bool { return r <= 0x20 || r > 0x7e || r == '"' || r == '\\' }) {
		return "", fmt.Errorf("%s is not a scope; write several as a list, as in [ \"https://mail.example.net/\", offline_access ]", quoted(text))
	}
	return text, nil
}

// readOAuth reads an account's oauth section. What it leaves out is filled in
// once the provider is known.
func readOAuth(v value, a *Account) {
	if v.node.Kind != yaml.MappingNode {
		v.fail("must be a group of keys; write client_id: … below it")
		return
	}
	a.OAuth = &OAuth{}
	s := v.section.parser.section(join(v.section.path, v.key), v.line)
	readSection(s, v.node, oauthKeys(), a.OAuth, belong(names(accountKeys()), "it belongs into the account, beside oauth"))
	v.section.oauth = s
}

// fillInOAuth completes what the file says with what the issuer's name stands
// for. Where the file names another server for the tokens, none of the issuer's
// addresses is added: its tokens are not for others to see.
func fillInOAuth(a *Account) {
	if a.OAuth == nil {
		return
	}
	o := a.OAuth
	if o.Issuer == "" {
		o.Issuer = a.Preset().OAuth
	}
	issuer, _ := provider.IssuerNamed(o.Issuer)
	if len(o.Scopes) == 0 {
		o.Scopes = slices.Clone(issuer.Scopes)
	}
	if o.AuthURL != "" || o.TokenURL != "" {
		return
	}
	o.AuthURL, o.TokenURL = issuer.AuthURL, issuer.TokenURL
	o.DeviceURL = cmp.Or(o.DeviceURL, issuer.DeviceURL)
	o.RevokeURL = cmp.Or(o.RevokeURL, issuer.RevokeURL)
	o.APIURL = cmp.Or(o.APIURL, issuer.APIURL)
}
