package oauth

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/oauthsim"
)

func TestTokenIsUsedWhileItLasts(t *testing.T) {
	a := signedIn(t, oauthsim.Config{})
	a.clock.pass(20 * time.Minute)
	if got := a.must(t, 35*time.Minute); got.Access != a.first.Access {
		t.Error("a token with 40 minutes left was not used for 35")
	}
	if n := a.sim.Asked("/token"); n != 0 {
		t.Errorf("the provider was asked %d times for what was there", n)
	}
}

func TestTokenIsRefreshedBeforeItEnds(t *testing.T) {
	a := signedIn(t, oauthsim.Config{})
	a.clock.pass(30 * time.Minute)
	got := a.must(t, 35*time.Minute)
	if got.Access == a.first.Access {
		t.Error("a token with 30 minutes left was given out for 35")
	}
	if want := a.clock.Now().Add(time.Hour); !got.Expiry.Equal(want) {
		t.Errorf("the new token ends at %v, want %v", got.Expiry, want)
	}
	if again := a.must(t, 35*time.Minute); again.Access != got.Access {
		t.Error("the new token was not stored")
	}
	if r := a.file(t); r.Refresh != a.first.Refresh || r.Proven != "" {
		t.Error("a provider that does not rotate leaves one refresh token, the first")
	}
	noLeftovers(t, a.Store, "joe.json", "joe.json.lock")
}

// Where tokens live for less than a session wants, a fresh one must do: no call may refresh in vain.
func TestTokensThatLiveShorterThanWanted(t *testing.T) {
	a := signedIn(t, oauthsim.Config{TokenLife: 10 * time.Minute})
	fresh := a.must(t, 35*time.Minute)
	a.clock.pass(2 * time.Minute)
	if a.must(t, 35*time.Minute).Access != fresh.Access || a.sim.Asked("/token") != 0 {
		t.Error("a token that is almost fresh was refreshed")
	}
	a.clock.pass(time.Minute)
	if a.must(t, 35*time.Minute).Access == fresh.Access {
		t.Error("a token that lost a quarter of its life was not refreshed")
	}
}

func TestTokenWithoutExpiryLastsUntilRefused(t *testing.T) {
	a := signedIn(t, oauthsim.Config{})
	a.sim.SetFault(oauthsim.Fault{Path: "/token", Times: 1, Body: `{"access_token":"lasting","token_type":"Bearer"}`})
	a.clock.pass(2 * time.Hour)
	for range 2 {
		got, err := a.Token(t.Context(), time.Hour)
		if err != nil || got.Access != "lasting" || !got.Expiry.IsZero() {
			t.Fatal(got.Access, got.Expiry, err)
		}
	}
	if got, err := a.Renew(t.Context(), "lasting"); err != nil || !a.sim.Valid(joe, got.Access) {
		t.Error("the refused token was not replaced:", err)
	}
}

func TestRenew(t *testing.T) {
	a := signedIn(t, oauthsim.Config{})
	got, err := a.Renew(t.Context(), "another, which somebody refreshed meanwhile")
	if err != nil || got.Access != a.first.Access || a.sim.Asked("/token") != 0 {
		t.Errorf("the stored token is another one and was not used: %v", err)
	}
	a.sim.Revoke(a.first.Access)
	got, err = a.Renew(t.Context(), a.first.Access)
	if err != nil || !a.sim.Valid(joe, got.Access) {
		t.Errorf("no other token was had: %v", err)
	}
}

// The refresh token that worked last stays until the one after it has worked.
func TestRotation(t *testing.T) {
	a := signedIn(t, oauthsim.Config{RotateRefresh: true})
	used := a.first.Refresh
	for range 3 {
		a.clock.pass(time.Hour)
		a.must(t, time.Minute)
		r := a.file(t)
		if r.Proven != used || r.Refresh == used || r.Refresh == "" {
			t.Fatal("the refresh token that worked is not kept beside the new one")
		}
		used = r.Refresh
	}
}

func TestNewRefreshTokenThatNeverWorks(t *testing.T) {
	a := signedIn(t, oauthsim.Config{RotateRefresh: true})
	a.clock.pass(time.Hour)
	a.must(t, time.Minute)
	a.sim.Revoke(a.file(t).Refresh)
	a.clock.pass(time.Hour)
	a.must(t, time.Minute)
	if r := a.file(t); r.Proven != a.first.Refresh {
		t.Error("the refresh token that worked was let go")
	}
}

// The machine stops after the provider gave a new refresh token and before it is stored.
func TestAnswerThatWasLost(t *testing.T) {
	a := signedIn(t, oauthsim.Config{RotateRefresh: true})
	before, err := os.ReadFile(a.Store.Path)
	if err != nil {
		t.Fatal(err)
	}
	a.clock.pass(time.Hour)
	a.must(t, time.Minute)
	if err := os.WriteFile(a.Store.Path, before, 0o600); err != nil {
		t.Fatal(err)
	}
	a.must(t, time.Minute)
}

// A new sign-in whose refresh token turns out to be dead does not cost the one before.
func TestSignInAgainKeepsTheOldUntilTheNewWorked(t *testing.T) {
	a := signedIn(t, oauthsim.Config{})
	second := a.grant(t, 0)
	if r := a.file(t); r.Refresh != second.Refresh || r.Proven != a.first.Refresh {
		t.Fatal("the first sign-in's refresh token is not kept beside the second's")
	}
	third := a.grant(t, 0)
	if r := a.file(t); r.Refresh != third.Refresh || r.Proven != a.first.Refresh {
		t.Fatal("the only refresh token that ever worked is not kept")
	}
	a.sim.Revoke(third.Refresh)
	a.clock.pass(time.Hour)
	a.must(t, time.Minute)
	a.grant(t, 0)
	a.clock.pass(time.Hour)
	a.must(t, time.Minute)
	if r := a.file(t); r.Proven != "" {
		t.Error("the new refresh token has worked, and the old one is still there")
	}
}

func TestEndOfSignIn(t *testing.T) {
	a := signedIn(t, oauthsim.Config{})
	a.sim.RevokeAll()
	a.clock.pass(50 * time.Minute)
	_, err := a.Token(t.Context(), 35*time.Minute)
	wantSignIn(t, err, `the sign-in has expired or was revoked ("invalid_grant": "Token has been expired or revoked.")`)
	if n := a.sim.Asked("/token"); n != 1 {
		t.Errorf("the provider was asked %d times", n)
	}
	_, err = a.Renew(t.Context(), a.first.Access)
	wantSignIn(t, err, "revoked")
}

func TestNobodySignedIn(t *testing.T) {
	a := signedIn(t, oauthsim.Config{})
	if err := a.Store.Remove(); err != nil {
		t.Fatal(err)
	}
	_, err := a.Token(t.Context(), time.Minute)
	wantSignIn(t, err, "nobody has signed in yet")
	if err := os.WriteFile(a.Store.Path, []byte(`{"access_token":`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = a.Token(t.Context(), time.Minute)
	wantSignIn(t, err, "is damaged")
}

func TestAnswersThatEndASignIn(t *testing.T) {
	for _, c := range []struct {
		fault oauthsim.Fault
		want  string
	}{
		{oauthsim.Fault{Error: "invalid_grant", Text: "AADSTS70008: The refresh token has expired due to inactivity.\r\nTrace ID: 7"},
			`the sign-in has expired or was revoked ("invalid_grant": "AADSTS70008: The refresh token has expired due to inactivity.")`},
		{oauthsim.Fault{Error: "interaction_required"}, `revoked ("interaction_required")`},
		{oauthsim.Fault{Error: "invalid_grant", Status: 200}, "revoked"},
		{oauthsim.Fault{Error: "invalid_client", Status: 401, Text: "The OAuth client was not found."}, "does not accept this client"},
		{oauthsim.Fault{Error: "unauthorized_client"}, "look at the client id"},
		{oauthsim.Fault{Error: "invalid_scope"}, "and the scopes"},
	} {
		t.Run(c.fault.Error, func(t *testing.T) {
			a := signedIn(t, oauthsim.Config{})
			a.clock.pass(time.Hour)
			c.fault.Path = "/token"
			a.sim.SetFault(c.fault)
			_, err := a.Token(t.Context(), time.Minute)
			wantSignIn(t, err, c.want)
			if n := a.sim.Asked("/token"); n != 1 {
				t.Errorf("asked %d times", n)
			}
		})
	}
}

// What is no answer to the question must not make anybody sign in again.
func TestTroubleThatPasses(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a redirect took the refresh token elsewhere")
	}))
	defer elsewhere.Close()
	for name, c := range map[string]struct {
		fault oauthsim.Fault
		want  string
	}{
		"500":           {oauthsim.Fault{Status: 500, Body: "oops"}, "answered 500 Internal Server Error"},
		"503 page":      {oauthsim.Fault{Status: 503, Type: "text/html", Body: "<html>"}, "answered 503"},
		"500 grant":     {oauthsim.Fault{Status: 500, Error: "invalid_grant"}, "answered 500"},
		"429":           {oauthsim.Fault{Status: 429, Error: "invalid_grant", Text: "rate limited"}, "answered 429"},
		"unavailable":   {oauthsim.Fault{Error: "temporarily_unavailable"}, "temporarily_unavailable"},
		"portal, 400":   {oauthsim.Fault{Status: 400, Type: "text/html", Body: "<h1>Welcome to our hotel</h1>"}, "answered 400"},
		"portal, 200":   {oauthsim.Fault{Type: "text/html", Body: "<h1>Welcome to our hotel</h1>"}, "holds no token"},
		"portal, text":  {oauthsim.Fault{Type: "text/plain", Body: "welcome%zz"}, "holds no token"},
		"empty":         {oauthsim.Fault{}, "holds no token"},
		"empty object":  {oauthsim.Fault{Body: "{}"}, "holds no token"},
		"garbage":       {oauthsim.Fault{Body: "\x00\xff{]"}, "holds no token"},
		"wrong types":   {oauthsim.Fault{Body: `{"access_token":7}`}, "holds no token"},
		"huge":          {oauthsim.Fault{Body: "{", Filler: 100 << 20}, "longer than 64 KiB"},
		"huge error":    {oauthsim.Fault{Status: 400, Body: "{", Filler: 100 << 20}, "longer than 64 KiB"},
		"slow":          {oauthsim.Fault{Hang: true}, "no answer within 200ms"},
		"redirect":      {oauthsim.Fault{Status: 307, Location: elsewhere.URL}, "answered 307"},
		"see elsewhere": {oauthsim.Fault{Status: 303, Location: elsewhere.URL}, "answered 303"},
	} {
		t.Run(name, func(t *testing.T) {
			a := signedIn(t, oauthsim.Config{})
			if c.fault.Hang {
				a.Client.Timeout = 200 * time.Millisecond
			}
			a.clock.pass(time.Hour)
			before := a.file(t)
			c.fault.Path = "/token"
			a.sim.SetFault(c.fault)
			_, err := a.Token(t.Context(), time.Minute)
			wantPassing(t, err, c.want)
			silent(t, err, clientSecret, a.first.Access, a.first.Refresh, "hotel")
			if after := a.file(t); after.Access != before.Access || after.Refresh != before.Refresh {
				t.Error("the stored sign-in was changed")
			}
			a.sim.ClearFaults()
			a.Client.Timeout = 0
			a.must(t, time.Minute)
		})
	}
}

func TestProviderOutOfReach(t *testing.T) {
	a := signedIn(t, oauthsim.Config{})
	a.sim.Close()
	a.clock.pass(50 * time.Minute)
	got, err := a.Token(t.Context(), 35*time.Minute)
	if err != nil || got.Access != a.first.Access {
		t.Errorf("a token with ten minutes left is better than none: %v", err)
	}
	a.clock.pass(10 * time.Minute)
	_, err = a.Token(t.Context(), 35*time.Minute)
	wantPassing(t, err, "connection re")
}

// A refused token is not given out again because the provider cannot be reached.
func TestRenewWithProviderOutOfReach(t *testing.T) {
	a := signedIn(t, oauthsim.Config{})
	a.sim.Close()
	for range 2 {
		_, err := a.Renew(t.Context(), a.first.Access)
		wantPassing(t, err, "connection re")
	}
	_, err := a.Token(t.Context(), time.Minute)
	wantPassing(t, err, "connection re")
}

func TestProviderThatQuotesSecrets(t *testing.T) {
	a := signedIn(t, oauthsim.Config{})
	a.clock.pass(time.Hour)
	a.sim.SetFault(oauthsim.Fault{Path: "/token", Times: 1, Error: "invalid_grant", Text: "token " + a.first.Refresh + " of " + clientSecret + " is bad"})
	_, err := a.Token(t.Context(), time.Minute)
	wantSignIn(t, err, "token [redacted] of [redacted] is bad")
	silent(t, err, a.first.Refresh, clientSecret)
	a.sim.SetFault(oauthsim.Fault{Path: "/token", Times: 1, Error: "strange", Text: a.first.Refresh + strings.Repeat("\u202e", 1000)})
	_, err = a.Token(t.Context(), time.Minute)
	wantPassing(t, err, `"strange": "[redacted]\u202e`)
	if silent(t, err, a.first.Refresh); len(err.Error()) > 2000 {
		t.Errorf("the provider's words were not shortened: %d octets", len(err.Error()))
	}
}

// Many that find the token expired at the same time ask once.
func TestManyAtOnce(t *testing.T) {
	a := signedIn(t, oauthsim.Config{RotateRefresh: true})
	a.clock.pass(time.Hour)
	var all sync.WaitGroup
	tokens := make([]Token, 8)
	for i := range tokens {
		all.Go(func() {
			token, err := Source{a.Client, a.Store, a.Now}.Token(t.Context(), time.Minute)
			if err != nil {
				t.Error(err)
			}
			tokens[i] = token
		})
	}
	all.Wait()
	for _, token := range tokens {
		if token.Access != tokens[0].Access {
			t.Error("not all got the same token")
		}
	}
	if n := a.sim.Asked("/token"); n != 1 {
		t.Errorf("the provider was asked %d times", n)
	}
}

func TestCallerThatGivesUp(t *testing.T) {
	a := signedIn(t, oauthsim.Config{})
	a.clock.pass(time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Token(ctx, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("asking: got %v", err)
	}
	release, err := a.Store.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if _, err := a.Token(ctx, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting for another: got %v", err)
	}
}

// A refresh says nothing about the account; a sign-in, or a refresh token that took another's place, does.
func TestMark(t *testing.T) {
	a := signedIn(t, oauthsim.Config{})
	first := a.Mark()
	a.clock.pass(time.Hour)
	a.must(t, time.Minute)
	if first == nil || !bytes.Equal(first, a.Mark()) {
		t.Error("a plain refresh changed the mark")
	}
	if err := a.Store.Save(a.first); err != nil {
		t.Fatal(err)
	}
	second := a.Mark()
	if bytes.Equal(first, second) {
		t.Error("a new sign-in did not change the mark, for it gave the same refresh token")
	}
	if bytes.Contains(second, []byte(a.first.Refresh)) {
		t.Error("the mark tells the refresh token")
	}
	if err := a.Store.Remove(); err != nil {
		t.Fatal(err)
	}
	if a.Mark() != nil {
		t.Error("there is no sign-in, but a mark")
	}
	b := signedIn(t, oauthsim.Config{RotateRefresh: true})
	first = b.Mark()
	b.clock.pass(time.Hour)
	b.must(t, time.Minute)
	if bytes.Equal(first, b.Mark()) {
		t.Error("a new refresh token did not change the mark")
	}
}

func TestRevoke(t *testing.T) {
	a := signedIn(t, oauthsim.Config{})
	if err := a.Client.Revoke(t.Context(), a.first); err != nil {
		t.Fatal(err)
	}
	if a.sim.Valid(joe, a.first.Access) {
		t.Error("the access token still works")
	}
	a.clock.pass(time.Hour)
	_, err := a.Token(t.Context(), time.Minute)
	wantSignIn(t, err, "revoked")
	if err := a.Client.Revoke(t.Context(), a.first); err != nil {
		t.Errorf("what is revoked is revoked: %v", err)
	}
	a.sim.SetFault(oauthsim.Fault{Path: "/revoke", Status: 500, Body: a.first.Refresh})
	err = a.Client.Revoke(t.Context(), a.first)
	wantPassing(t, err, "answered 500")
	silent(t, err, a.first.Refresh)
	a.Client.RevokeURL = ""
	if err := a.Client.Revoke(t.Context(), a.first); err != nil {
		t.Errorf("a provider without revocation: %v", err)
	}
}
