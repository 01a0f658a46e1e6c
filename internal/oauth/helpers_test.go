package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/oauthsim"
)

const (
	clientID     = "popfetchd-test.apps.example"
	clientSecret = "GOCSPX-not-for-anybodys-eyes"
	joe          = "joe@example.org"
	mailScope    = "https://mail.google.com/"
	outlookScope = "https://outlook.office.com/POP.AccessAsUser.All"
)

// clock is a time that passes when a test says so.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock {
	return &clock{now: time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)}
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// provider starts a server and returns a client of it.
func provider(t *testing.T, c oauthsim.Config) (*oauthsim.Server, Client) {
	t.Helper()
	c.ClientID, c.ClientSecret, c.Username = clientID, clientSecret, joe
	sim, err := oauthsim.Start("127.0.0.1:0", c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sim.Close() })
	return sim, Client{
		ID: clientID, Secret: clientSecret,
		AuthURL: sim.URL() + "/auth", TokenURL: sim.URL() + "/token", DeviceURL: sim.URL() + "/device", RevokeURL: sim.URL() + "/revoke",
		Scopes: []string{mailScope},
	}
}

// account is a signed-in account.
type account struct {
	Source
	sim   *oauthsim.Server
	clock *clock
	first Token // what the sign-in gave
}

// signedIn starts a server and stores a sign-in there.
func signedIn(t *testing.T, c oauthsim.Config) *account {
	t.Helper()
	clock := newClock()
	c.Now = clock.Now
	sim, client := provider(t, c)
	a := &account{sim: sim, clock: clock, Source: Source{
		Client: client, Store: Store{StorePath(t.TempDir(), "joe")}, Now: clock.Now,
	}}
	a.first = a.grant(t, c.TokenLife)
	return a
}

// grant stores another sign-in.
func (a *account) grant(t *testing.T, life time.Duration) Token {
	t.Helper()
	if life == 0 {
		life = time.Hour
	}
	var token Token
	token.Access, token.Refresh = a.sim.Grant(mailScope)
	token.Issued, token.Expiry, token.Scopes = a.clock.Now(), a.clock.Now().Add(life), []string{mailScope}
	if err := a.Store.Save(token); err != nil {
		t.Fatal(err)
	}
	return token
}

// must returns what Token gives, which must be good for POP.
func (a *account) must(t *testing.T, atLeast time.Duration) Token {
	t.Helper()
	token, err := a.Token(t.Context(), atLeast)
	if err != nil {
		t.Fatal(err)
	}
	if !a.sim.Valid(joe, token.Access) {
		t.Error("the token lets nobody in")
	}
	return token
}

// file returns what the store's file holds.
func (a *account) file(t *testing.T) record {
	t.Helper()
	data, err := os.ReadFile(a.Store.Path)
	if err != nil {
		t.Fatal(err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// wantSignIn checks that err says that only signing in helps, and why.
func wantSignIn(t *testing.T, err error, text string) {
	t.Helper()
	var ended *SignInError
	if !errors.As(err, &ended) {
		t.Fatalf("got %v, want a SignInError", err)
	}
	if !strings.Contains(err.Error(), text) {
		t.Errorf("got %q, which does not say %q", err, text)
	}
}

// wantPassing checks that err says that it may pass.
func wantPassing(t *testing.T, err error, text string) {
	t.Helper()
	var ended *SignInError
	if err == nil || errors.As(err, &ended) {
		t.Fatalf("got %#v, want an error that may pass", err)
	}
	if !strings.Contains(err.Error(), text) {
		t.Errorf("got %q, which does not say %q", err, text)
	}
}

// patient is a context that ends long after every test should have.
func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// noLeftovers checks that the store's folder holds what it should and nothing else.
func noLeftovers(t *testing.T, s Store, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(s.Path))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got, want := strings.Join(names, " "), strings.Join(want, " "); got != want {
		t.Errorf("the folder holds %q, want %q", got, want)
	}
}
