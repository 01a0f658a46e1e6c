// Package oauth signs in with OAuth 2.0 for XOAUTH2 and OAUTHBEARER, and keeps what a sign-in gave: in a browser with a
// loopback redirect and PKCE (RFC 8252, RFC 7636), by a device code (RFC 8628), and by refresh tokens (RFC 6749
// section 6) from then on.
//
// golang.org/x/oauth2 speaks the protocol. This package adds what a program needs that runs for years without anybody
// near: tokens in files that survive crashes, limits on what servers may do, errors that say whether waiting helps, and
// that no token or secret is ever printed.
package oauth

import (
	"context"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// defaultTimeout bounds one request to the provider. Google and Microsoft answer within a second; a proxy on the way
// may retry for a while.
const defaultTimeout = 30 * time.Second

// Client is this program as the provider knows it, and where the provider is reached. However it is printed or logged,
// the secret is left out.
type Client struct {
	ID     string
	Secret string // "" for none. Installed programs cannot keep one; Google wants it sent all the same

	AuthURL   string // where the user's browser is sent
	TokenURL  string
	DeviceURL string // "" where there is no device flow
	RevokeURL string // "" where there is no revocation (Microsoft)

	Scopes  []string
	Timeout time.Duration // of each request; 0: 30 s
}

// config is the client in x/oauth2's terms. Its secret goes into the body, where all providers that we know take it:
// the library would otherwise ask twice after each failure to find out.
func (c Client) config(redirect string) *oauth2.Config {
	return &oauth2.Config{
		ClientID:     c.ID,
		ClientSecret: c.Secret,
		RedirectURL:  redirect,
		Scopes:       c.Scopes,
		Endpoint: oauth2.Endpoint{
			AuthURL:       c.AuthURL,
			TokenURL:      c.TokenURL,
			DeviceAuthURL: c.DeviceURL,
			AuthStyle:     oauth2.AuthStyleInParams,
		},
	}
}

// offline returns what makes the provider hand out a refresh token. OpenID's way is the scope offline_access, which
// Microsoft and most others know; Google's is access_type=offline, and consent asked for each time, for it gives a
// refresh token with the first consent only.
func (c Client) offline(hint string) []oauth2.AuthCodeOption {
	var options []oauth2.AuthCodeOption
	if hint != "" {
		options = append(options, oauth2.SetAuthURLParam("login_hint", hint))
	}
	if c.hasScope("offline_access") {
		return options
	}
	return append(options, oauth2.AccessTypeOffline, oauth2.SetAuthURLParam("prompt", "consent"))
}

func (c Client) hasScope(name string) bool {
	for _, scope := range c.Scopes {
		if strings.EqualFold(scope, name) {
			return true
		}
	}
	return false
}

// granted turns an answer of the token endpoint into a Token. An answer that names no scopes grants those asked for
// (RFC 6749 section 5.1).
func (c Client) granted(t *oauth2.Token, asked time.Time) Token {
	token := Token{Access: t.AccessToken, Refresh: t.RefreshToken, Issued: asked, Scopes: c.Scopes}
	if t.ExpiresIn > 0 {
		token.Expiry = asked.Add(time.Duration(t.ExpiresIn) * time.Second)
	}
	if scopes, ok := t.Extra("scope").(string); ok && scopes != "" {
		token.Scopes = strings.Fields(scopes)
	}
	return token
}

// signedIn is granted for a sign-in just made: it must have given all that was asked for.
func (c Client) signedIn(t *oauth2.Token, asked time.Time) (Token, error) {
	token := c.granted(t, asked)
	if missing := missingScopes(c.Scopes, token.Scopes); len(missing) > 0 {
		return Token{}, &SignInError{Reason: "the sign-in does not allow " + quotedList(missing) +
			"; tick all that the consent page asks for"}
	}
	if token.Refresh == "" {
		return Token{}, &SignInError{Reason: "the provider gave no refresh token, so the sign-in would end within the hour; " +
			"ask for it by the scope offline_access, or remove popfetchd from the account's list of connected programs and sign in again"}
	}
	return token, nil
}

// missingScopes returns which of the wanted scopes were not granted. Providers spell them in their own way (Microsoft
// changes case and leaves out the resource), and never list those of OpenID.
func missingScopes(wanted, granted []string) []string {
	last := func(scope string) string {
		scope = strings.ToLower(strings.TrimRight(scope, "/"))
		return scope[strings.LastIndexByte(scope, '/')+1:]
	}
	have := map[string]bool{"offline_access": true, "openid": true, "email": true, "profile": true}
	for _, scope := range granted {
		have[last(scope)] = true
	}
	var missing []string
	for _, scope := range wanted {
		if !have[last(scope)] {
			missing = append(missing, scope)
		}
	}
	return missing
}

// Revoke ends a sign-in at the provider (RFC 7009): its refresh token, and with it the access tokens, work no more. A
// token that is no longer known there is revoked already. Without a RevokeURL it does nothing.
func (c Client) Revoke(ctx context.Context, t Token) error {
	token := t.Refresh
	if token == "" {
		token = t.Access
	}
	if c.RevokeURL == "" || token == "" {
		return nil
	}
	form := url.Values{"token": {token}, "client_id": {c.ID}}
	if c.Secret != "" {
		form.Set("client_secret", c.Secret)
	}
	err := c.post(ctx, c.RevokeURL, form)
	if e, ok := err.(*answerError); ok && e.code == "invalid_token" {
		return nil
	}
	return err
}
