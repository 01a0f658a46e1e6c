package fetch_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/oauth"
	"github.com/popfetchd/popfetchd/internal/oauthsim"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// newSignedIn is a Gmail account that takes tokens of a provider, with a sign-in made already.
func newSignedIn(t tb, box popsim.GmailBox, c popsim.Config, lines ...string) (*world, *oauthsim.Server) {
	t.Helper()
	var w *world
	now := func() time.Time { return w.clock() }
	provider, err := oauthsim.Start("127.0.0.1:0", oauthsim.Config{ClientID: "id", ClientSecret: "client secret", Username: "joe@example.org",
		TokenLife: time.Hour, Now: now,
		Settings: func() (string, string) {
			access, disposition := w.account.Settings()
			return string(access), string(disposition)
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { provider.Close() })
	c.Token = provider.Valid
	secret := "client_secret_file: client.secret"
	url := provider.URL()
	section := fmt.Sprintf("oauth: {issuer: google, client_id: id, %s, auth_url: %[2]s/auth, token_url: %[2]s/token, revoke_url: %[2]s/revoke, api_url: %[2]s}", secret, url)
	if !strings.Contains(strings.Join(lines, "\n"), "auth:") {
		lines = append(lines, "auth: xoauth2")
	}
	w = newGmail(t, box, c, append(lines, section, "# no password")...)
	w.must(os.WriteFile(filepath.Join(w.folder, "client.secret"), []byte("client secret\n"), 0o600))
	w.signIn(provider)
	return w, provider
}

// signIn is what popfetchd login leaves behind.
func (w *world) signIn(provider *oauthsim.Server) {
	w.Helper()
	access, refresh := provider.Grant("https://mail.google.com/")
	w.must(oauth.Store{Path: oauth.StorePath(w.state, "joe")}.Save(oauth.Token{Access: access, Refresh: refresh, Issued: w.clock(), Expiry: w.clock().Add(time.Hour),
		Scopes: []string{"https://mail.google.com/"}}))
}

// With a token, mail comes for years: it is refreshed before it ends, and when the server refuses it early.
func TestTokens(t *testing.T) {
	for _, auth := range []string{"xoauth2", "oauthbearer"} {
		t.Run(auth, func(t *testing.T) {
			w, provider := newSignedIn(t, popsim.GmailBox{}, popsim.Config{}, "auth: "+auth)
			all := w.receive(3)
			w.succeed(fetch.Report{Listed: 3, New: 3, Stored: 3})
			for range 3 {
				w.pass(300 * 24 * time.Hour)
				all = append(all, w.receive(1)...)
				w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1})
			}
			provider.Expire() // sooner than it said
			all = append(all, w.receive(1)...)
			w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1})
			w.holds(all...)
		})
	}
}

// A token that ends in mid-session costs a session, and no message comes twice.
func TestTokenEndsInMidSession(t *testing.T) {
	w, provider := newSignedIn(t, popsim.GmailBox{}, popsim.Config{Pipelining: true})
	all := w.receive(200)
	w.server.SetFault(func(r popsim.Request) popsim.Action {
		if r.Session == 1 && r.Command == "RETR" && r.Nth == 120 {
			provider.Expire()
		}
		return popsim.Action{}
	})
	w.run()
	w.mend()
	w.run()
	w.holds(all...)
	w.quiet(w.run())
}

// In a long run the server may refuse one token after the other before its time. Each that worked may be renewed.
func TestTokensEndEarlyOnceMore(t *testing.T) {
	w, provider := newSignedIn(t, popsim.GmailBox{Window: 40}, popsim.Config{Pipelining: true})
	all := w.receive(160)
	w.server.SetFault(func(r popsim.Request) popsim.Action {
		if r.Command == "CONNECT" { // before each login
			provider.Expire()
		}
		return popsim.Action{}
	})
	if r := w.run(); fetch.KindOf(r.Err) != fetch.Refused { // the fresh one is refused as well
		t.Fatal(r.Err)
	}
	w.must(w.ledger.Lift("joe"))
	w.server.SetFault(func(r popsim.Request) popsim.Action {
		if r.Command == "QUIT" {
			provider.Expire()
		}
		return popsim.Action{}
	})
	w.succeed(fetch.Report{Listed: 160, New: 160, Stored: 160})
	w.holds(all...)
}

// The session ends well before its token does.
func TestSessionEndsBeforeItsToken(t *testing.T) {
	w, _ := newSignedIn(t, popsim.GmailBox{}, popsim.Config{})
	all := w.receive(220)
	w.server.SetFault(func(r popsim.Request) popsim.Action {
		if r.Command == "RETR" {
			w.pass(20 * time.Second)
		}
		return popsim.Action{}
	})
	r := w.succeed(fetch.Report{Listed: 220, New: 220, Stored: 220})
	if r.Sessions < 4 {
		t.Errorf("%d sessions for 73 minutes", r.Sessions)
	}
	w.holds(all...)
	w.sentTimes(all, 220)
}

// When only signing in helps, that is what the error says; nobody asks again before it was done.
func TestSignInAgain(t *testing.T) {
	for advice, spoil := range map[string]func(*world, *oauthsim.Server){
		"nobody has signed in yet; sign in: popfetchd login joe": func(w *world, _ *oauthsim.Server) {
			w.must(oauth.Store{Path: oauth.StorePath(w.state, "joe")}.Remove())
		},
		"; sign in again: popfetchd login joe": func(w *world, p *oauthsim.Server) { p.RevokeAll() },
	} {
		t.Run(advice, func(t *testing.T) {
			w, provider := newSignedIn(t, popsim.GmailBox{}, popsim.Config{})
			all := w.receive(2)
			spoil(w, provider)
			r := w.fail(fetch.Refused, fetch.Report{})
			signIn := (*oauth.SignInError)(nil)
			if !errors.As(r.Err, &signIn) || !strings.HasSuffix(r.Err.Error(), advice) || strings.Count(r.Err.Error(), "popfetchd login") != 1 {
				t.Error(r.Err)
			}
			w.pass(time.Hour)
			w.fail(fetch.Refused, fetch.Report{Held: true})
			w.signIn(provider)
			w.succeed(fetch.Report{Listed: 2, New: 2, Stored: 2})
			w.holds(all...)
		})
	}
}

// A provider that is down is no reason to sign in again.
func TestProviderIsDown(t *testing.T) {
	w, provider := newSignedIn(t, popsim.GmailBox{}, popsim.Config{})
	w.pass(2 * time.Hour)
	provider.Close()
	r := w.fail(fetch.Temporary, fetch.Report{})
	if strings.Contains(r.Err.Error(), "sign in") {
		t.Error(r.Err)
	}
}

// A token that the server refused is not shown to it again while the provider cannot give another one.
func TestRefusedTokenWhileTheProviderIsDown(t *testing.T) {
	w, provider := newSignedIn(t, popsim.GmailBox{}, popsim.Config{})
	provider.Expire()
	provider.Close()
	logins := 0
	w.server.SetFault(func(r popsim.Request) popsim.Action {
		if r.Command == "LOGIN" {
			logins++
		}
		return popsim.Action{}
	})
	for range 3 {
		w.fail(fetch.Temporary, fetch.Report{})
		w.pass(10 * time.Minute)
	}
	if logins != 1 {
		t.Errorf("it was shown %d times", logins)
	}
}

// A server that wants AUTH and the token on one line gets them so, and one that hangs up is asked again.
func TestOneLineServer(t *testing.T) {
	w, _ := newSignedIn(t, popsim.GmailBox{}, popsim.Config{OneLineOnly: true})
	all := w.receive(2)
	w.succeed(fetch.Report{Listed: 2, New: 2, Stored: 2})
	w.holds(all...)
}

// access: from-now-on is Gmail's to keep: a window shows the oldest mail only, so no first listing could tell what is new.
func TestFromNowOnIsGmails(t *testing.T) {
	w, provider := newSignedIn(t, popsim.GmailBox{}, popsim.Config{}, "access: from-now-on")
	w.receive(300)
	r := w.fail(fetch.Configuration, fetch.Report{})
	if !strings.Contains(r.Err.Error(), "popfetchd gmail settings --apply joe") {
		t.Error(r.Err)
	}
	w.account.SaveSettings(popsim.FromNowOn, "")
	w.pass(time.Hour)
	fresh := popsim.Message{Received: w.clock(), Body: []byte("Subject: new\r\n\r\n")}
	w.account.Deliver(fresh)
	w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1})
	w.holds(fresh)
	provider.Close() // once it is known there is no need to ask
	w.quiet(w.run())
}
