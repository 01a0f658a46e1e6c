package gmail

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/popfetchd/popfetchd/internal/oauthsim"
)

const path = "/gmail/v1/users/me/settings/pop"

func google(t *testing.T, c oauthsim.Config) *oauthsim.Server {
	t.Helper()
	c.ClientID, c.Username = "client", "joe@gmail.com"
	sim, err := oauthsim.Start("127.0.0.1:0", c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sim.Close() })
	return sim
}

func user(sim *oauthsim.Server, scopes ...string) API {
	token, _ := sim.Grant(scopes...)
	return API{URL: sim.URL(), Token: token}
}

func TestSettingsAreReadAndSet(t *testing.T) {
	sim := google(t, oauthsim.Config{})
	api := user(sim, "https://mail.google.com/", SettingsScope)
	got, err := api.Settings(t.Context())
	if want := (Settings{AllMail, LeaveInInbox}); err != nil || got != want {
		t.Fatalf("got %v, %v; want %v", got, err, want)
	}
	for _, access := range []Access{FromNowOn, Disabled, AllMail} {
		for _, disposition := range []Disposition{MarkRead, Archive, Trash, LeaveInInbox} {
			want := Settings{access, disposition}
			if got, err := api.Apply(t.Context(), want); err != nil || got != want {
				t.Errorf("applying %v gave %v, %v", want, got, err)
			}
			if got, err := api.Settings(t.Context()); err != nil || got != want {
				t.Errorf("after applying %v it is %v, %v", want, got, err)
			}
		}
	}
	api.URL += "/"
	if _, err := api.Settings(t.Context()); err != nil {
		t.Errorf("an address with a slash at its end: %v", err)
	}
}

// The scope for POP lets the settings be read; setting them takes more.
func TestMissingScope(t *testing.T) {
	sim := google(t, oauthsim.Config{})
	api := user(sim, "https://mail.google.com/")
	if _, err := api.Settings(t.Context()); err != nil {
		t.Errorf("the scope for POP lets nobody read: %v", err)
	}
	_, err := api.Apply(t.Context(), Settings{AllMail, Trash})
	var missing *ScopeError
	if !errors.As(err, &missing) || missing.Scope != SettingsScope {
		t.Fatalf("got %v, want a ScopeError for %s", err, SettingsScope)
	}
	if want := "the sign-in does not allow this; it needs the scope https://www.googleapis.com/auth/gmail.settings.basic"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	_, err = user(sim, "openid").Settings(t.Context())
	if !errors.As(err, &missing) || missing.Scope != "https://mail.google.com/" {
		t.Errorf("got %v, want a ScopeError for the scope of POP", err)
	}
	if got, err := api.Settings(t.Context()); err != nil || got.Disposition != LeaveInInbox {
		t.Errorf("something was set: %v %v", got, err)
	}
}

// The form that Google gives this refusal today has details in place of errors.
func TestMissingScopeInOtherWords(t *testing.T) {
	for name, body := range map[string]string{
		"details": `{"error":{"code":403,"message":"x","status":"PERMISSION_DENIED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"ACCESS_TOKEN_SCOPE_INSUFFICIENT"}]}}`,
		"message": `{"error":{"code":403,"message":"Request had insufficient authentication scopes."}}`,
	} {
		sim := google(t, oauthsim.Config{})
		sim.SetFault(oauthsim.Fault{Path: path, Status: 403, Body: body})
		_, err := user(sim).Apply(t.Context(), Settings{})
		if missing := new(ScopeError); !errors.As(err, &missing) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestTokenThatIsNoGoodAnyMore(t *testing.T) {
	sim := google(t, oauthsim.Config{})
	api := user(sim)
	sim.Expire()
	if _, err := api.Settings(t.Context()); !errors.Is(err, ErrTokenRefused) {
		t.Errorf("reading: got %v", err)
	}
	if _, err := api.Apply(t.Context(), Settings{AllMail, Trash}); !errors.Is(err, ErrTokenRefused) {
		t.Errorf("setting: got %v", err)
	}
}

func TestAPIThatIsNotEnabled(t *testing.T) {
	const page = "https://console.developers.google.com/apis/api/gmail.googleapis.com/overview?project=123456789"
	const words = "Gmail API has not been used in project 123456789 before or it is disabled. Enable it by visiting %s then retry. " +
		"If you enabled this action recently, wait a few minutes for the action to propagate to our systems and retry."
	for name, c := range map[string]struct{ body, page string }{
		"as today": {`{"error":{"code":403,"message":"` + fmt.Sprintf(words, page) + `","errors":[{"message":"x","domain":"usageLimits","reason":"accessNotConfigured"}],
			"status":"PERMISSION_DENIED","details":[{"@type":"type.googleapis.com/google.rpc.Help","links":[{"url":"` + page + `"}]},{"reason":"SERVICE_DISABLED"}]}}`, page},
		"words only":   {`{"error":{"code":404,"message":"` + fmt.Sprintf(words, page) + `"}}`, page},
		"link only":    {`{"error":{"message":"x","details":[{"reason":"SERVICE_DISABLED"},{"links":[{"url":"` + page + `"}]}]}}`, page},
		"full stop":    {`{"error":{"message":"has not been used in project 1. Enable it by visiting ` + page + `."}}`, page},
		"no address":   {`{"error":{"message":"x","errors":[{"reason":"accessNotConfigured"}]}}`, libraryPage},
		"elsewhere":    {`{"error":{"message":"` + fmt.Sprintf(words, "https://evil.example/gmail.googleapis.com") + `"}}`, libraryPage},
		"in the clear": {`{"error":{"message":"` + fmt.Sprintf(words, strings.Replace(page, "https", "http", 1)) + `"}}`, libraryPage},
		"disguised":    {`{"error":{"message":"` + fmt.Sprintf(words, "https://console.google.com@evil.example/gmail.googleapis.com") + `"}}`, libraryPage},
	} {
		t.Run(name, func(t *testing.T) {
			sim := google(t, oauthsim.Config{})
			for _, status := range []int{403, 404} {
				sim.ClearFaults()
				sim.SetFault(oauthsim.Fault{Path: path, Status: status, Body: c.body})
				_, err := user(sim).Settings(t.Context())
				var off *NotEnabledError
				if !errors.As(err, &off) || off.Page != c.page {
					t.Fatalf("%d: got %v, want a NotEnabledError with %s", status, err, c.page)
				}
				if want := "enable it at " + c.page + " and try again"; !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

func TestOtherTrouble(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a redirect took the token elsewhere")
	}))
	defer elsewhere.Close()
	for name, c := range map[string]struct {
		fault oauthsim.Fault
		want  string
	}{
		"500":         {oauthsim.Fault{Status: 500, Body: "<html>"}, "the Gmail API answered 500 Internal Server Error"},
		"quota":       {oauthsim.Fault{Status: 403, Body: `{"error":{"message":"Quota exceeded\u001b[2J","errors":[{"reason":"rateLimitExceeded"}]}}`}, `answered 403 Forbidden: "Quota exceeded\x1b[2J"`},
		"404":         {oauthsim.Fault{Status: 404}, "answered 404 Not Found"},
		"garbage":     {oauthsim.Fault{Body: "<html>"}, "holds no settings"},
		"empty":       {oauthsim.Fault{}, "holds no settings"},
		"other":       {oauthsim.Fault{Body: "{}"}, "holds no settings"},
		"wrong types": {oauthsim.Fault{Body: `{"accessWindow":1}`}, "holds no settings"},
		"huge":        {oauthsim.Fault{Body: "{", Filler: 100 << 20}, "longer than 64 KiB"},
		"redirect":    {oauthsim.Fault{Status: 307, Location: elsewhere.URL}, "answered 307"},
	} {
		t.Run(name, func(t *testing.T) {
			sim := google(t, oauthsim.Config{})
			c.fault.Path = path
			sim.SetFault(c.fault)
			api := user(sim)
			_, err := api.Settings(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			silent(t, err, api.Token)
		})
	}
}

func TestAPIOutOfReach(t *testing.T) {
	sim := google(t, oauthsim.Config{})
	api := user(sim)
	sim.SetFault(oauthsim.Fault{Path: path, Hang: true})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := api.Settings(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that gave up: %v", err)
	}
	sim.Close()
	_, err := api.Settings(t.Context())
	if err == nil || !strings.Contains(err.Error(), "the Gmail API could not be asked: dial tcp") {
		t.Errorf("nobody there: %v", err)
	}
	silent(t, err, api.Token)
}

// Words that Gmail may come to use are kept, and told apart from those known.
func TestValuesThatAreNotKnown(t *testing.T) {
	sim := google(t, oauthsim.Config{})
	sim.SetFault(oauthsim.Fault{Path: path, Body: `{"accessWindow":"lastYear","disposition":"shred\u001b"}`})
	got, err := user(sim).Settings(t.Context())
	if want := (Settings{"lastYear", "shred\x1b"}); err != nil || got != want {
		t.Errorf("got %v, %v", got, err)
	}
	if got.Access.Label() != `unknown ("lastYear")` || got.Disposition.Label() != `unknown ("shred\x1b")` {
		t.Errorf("they are called %s and %s", got.Access.Label(), got.Disposition.Label())
	}
}

func TestNothingTellsTheToken(t *testing.T) {
	api := API{Token: "ya29.not-for-anybodys-eyes"}
	silent(t, api, api.Token)
	silent(t, &api, api.Token)
	sim := google(t, oauthsim.Config{})
	api.URL = sim.URL()
	sim.SetFault(oauthsim.Fault{Path: path, Status: 400, Body: `{"error":{"message":"bad token ` + api.Token + `"}}`})
	_, err := api.Settings(t.Context())
	if silent(t, err, api.Token); !strings.Contains(err.Error(), "bad token [redacted]") {
		t.Errorf("got %v", err)
	}
}

// silent checks that v does not tell the secret, however it is printed.
func silent(t *testing.T, v any, secret string) {
	t.Helper()
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v, "in", []any{v})
	fmt.Fprintf(&log, "%v %+v %#v %s %q %d %+v", v, v, v, v, v, v, []any{v})
	if data, err := json.Marshal(v); err == nil {
		log.Write(data)
	}
	if strings.Contains(log.String(), secret) {
		t.Errorf("%T tells the token: %s", v, log.String())
	}
}
