package oauth

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/oauthsim"
)

// patience is how a device waits between polls here: not at all. It notes for how long it was to wait.
type patience struct {
	waits []time.Duration
	then  func(n int, d time.Duration) // called at each wait, the first is 1; may be nil
}

func (p *patience) wait(ctx context.Context, d time.Duration) error {
	p.waits = append(p.waits, d)
	if p.then != nil {
		p.then(len(p.waits), d)
	}
	return ctx.Err()
}

func atMicrosoft(t *testing.T, c oauthsim.Config) (*oauthsim.Server, Device, *patience) {
	t.Helper()
	sim, client := provider(t, c)
	client.Scopes = []string{outlookScope, "offline_access"}
	p := &patience{}
	return sim, Device{Client: client, wait: p.wait, Show: func(string, string, time.Time) {}}, p
}

func TestDevice(t *testing.T) {
	clock := newClock()
	sim, d, p := atMicrosoft(t, oauthsim.Config{Now: clock.Now, DeviceInterval: 7 * time.Second, SlowDown: true})
	var code, page string
	d.Show = func(userCode, verification string, expires time.Time) {
		code, page = userCode, verification
		if left := time.Until(expires); left < 14*time.Minute || left > 15*time.Minute {
			t.Errorf("the code is said to expire in %v", left)
		}
	}
	p.then = func(n int, waited time.Duration) {
		clock.pass(waited)
		if n == 3 { // the first two polls were answered with authorization_pending
			answer, err := http.PostForm(page, url.Values{"code": {code}, "choice": {"allow"}})
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			if text, _ := io.ReadAll(answer.Body); !strings.Contains(string(text), "You can close this window") {
				t.Errorf("the page says %s", text)
			}
		}
	}
	token, err := d.SignIn(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	if !sim.Valid(joe, token.Access) || token.Refresh == "" || token.Expiry.IsZero() || !token.Allows(outlookScope) {
		t.Errorf("the token is not good for POP: %v %v", token, token.Scopes)
	}
	if want := []time.Duration{7 * time.Second, 7 * time.Second, 7 * time.Second}; !slices.Equal(p.waits, want) {
		t.Errorf("waited %v, want %v", p.waits, want)
	}
}

// Each slow_down makes it wait five seconds longer from then on (RFC 8628 section 3.5), up to a minute.
func TestDeviceSlowsDown(t *testing.T) {
	sim, d, p := atMicrosoft(t, oauthsim.Config{})
	d.Show = func(userCode, _ string, _ time.Time) { sim.Approve(userCode, false) }
	sim.SetFault(oauthsim.Fault{Path: "/token", Times: 1, Error: "authorization_pending"})
	sim.SetFault(oauthsim.Fault{Path: "/token", Times: 14, Error: "slow_down"})
	_, err := d.SignIn(patient(t))
	wantSignIn(t, err, "the sign-in was not allowed")
	if want := []time.Duration{5 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second}; !slices.Equal(p.waits[:4], want) {
		t.Errorf("waited %v, want %v and more", p.waits, want)
	}
	if last := p.waits[len(p.waits)-1]; len(p.waits) != 16 || last != time.Minute {
		t.Errorf("waited %v, in the end not a minute", p.waits)
	}
}

// Lost answers and trouble at the server do not end the sign-in.
func TestDeviceThroughTrouble(t *testing.T) {
	sim, d, _ := atMicrosoft(t, oauthsim.Config{})
	d.Client.Timeout = 100 * time.Millisecond
	d.Show = func(userCode, _ string, _ time.Time) { sim.Approve(userCode, true) }
	for _, f := range []oauthsim.Fault{
		{Error: "authorization_pending"}, {Error: "slow_down"}, {Hang: true}, {Status: 503, Body: "<html>"}, {Body: "garbage"}, {Status: 429},
	} {
		f.Path, f.Times = "/token", 1
		sim.SetFault(f)
	}
	token, err := d.SignIn(patient(t))
	if err != nil || !sim.Valid(joe, token.Access) {
		t.Fatalf("not signed in: %v", err)
	}
	if n := sim.Asked("/token"); n != 7 {
		t.Errorf("asked %d times, want 7", n)
	}
}

func TestDeviceRefused(t *testing.T) {
	for name, c := range map[string]struct {
		fault oauthsim.Fault
		end   bool
		want  string
	}{
		"denied":        {oauthsim.Fault{Path: "/token", Error: "access_denied"}, true, "the sign-in was not allowed"},
		"expired":       {oauthsim.Fault{Path: "/token", Error: "expired_token"}, true, "the code was not typed in before it expired"},
		"bad client":    {oauthsim.Fault{Path: "/token", Error: "invalid_client", Status: 401}, true, "does not accept this client"},
		"bad code":      {oauthsim.Fault{Path: "/token", Error: "invalid_grant", Text: "Bad device code."}, true, "Bad device code."},
		"no flow":       {oauthsim.Fault{Path: "/device", Error: "unauthorized_client"}, true, "does not accept this client"},
		"500":           {oauthsim.Fault{Path: "/device", Status: 500}, false, "answered 500"},
		"garbage":       {oauthsim.Fault{Path: "/device", Body: "<html>"}, false, "holds no"},
		"empty":         {oauthsim.Fault{Path: "/device", Body: "{}"}, false, "holds no device code"},
		"huge":          {oauthsim.Fault{Path: "/device", Body: "{", Filler: 100 << 20}, false, "longer than 64 KiB"},
		"slow":          {oauthsim.Fault{Path: "/device", Hang: true}, false, "no answer within 100ms"},
		"expires early": {oauthsim.Fault{Path: "/device", Body: `{"device_code":"d","user_code":"u","verification_uri":"http://x/","expires_in":1,"interval":60000}`}, true, "before it expired"},
	} {
		t.Run(name, func(t *testing.T) {
			sim, d, _ := atMicrosoft(t, oauthsim.Config{})
			if c.fault.Hang {
				d.Client.Timeout = 100 * time.Millisecond
			}
			if name == "expires early" {
				d.wait = nil // a minute, in which the second that the code lasts passes
			}
			sim.SetFault(c.fault)
			_, err := d.SignIn(patient(t))
			if c.end {
				wantSignIn(t, err, c.want)
			} else {
				wantPassing(t, err, c.want)
			}
			silent(t, err, clientSecret)
		})
	}
}

func TestDeviceDeniedAtThePage(t *testing.T) {
	sim, d, _ := atMicrosoft(t, oauthsim.Config{})
	d.Show = func(userCode, _ string, _ time.Time) {
		if sim.Approve("NONE-SUCH", true) || !sim.Approve(strings.ToLower(userCode), false) {
			t.Error("the page took a wrong code, or not the right one")
		}
	}
	_, err := d.SignIn(patient(t))
	wantSignIn(t, err, "the sign-in was not allowed")
}

// Google has a device flow, but not for mail.
func TestDeviceAtGoogle(t *testing.T) {
	_, d, _ := atMicrosoft(t, oauthsim.Config{})
	d.Client.Scopes = []string{mailScope}
	_, err := d.SignIn(patient(t))
	wantSignIn(t, err, `"Invalid device flow scope: https://mail.google.com/"`)
	d.Client.DeviceURL = ""
	_, err = d.SignIn(patient(t))
	wantSignIn(t, err, "use the browser")
}

func TestDeviceCallerThatGivesUp(t *testing.T) {
	_, d, _ := atMicrosoft(t, oauthsim.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	d.wait = nil
	d.Show = func(string, string, time.Time) { cancel() }
	if _, err := d.SignIn(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
