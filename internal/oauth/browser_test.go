package oauth

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/popfetchd/popfetchd/internal/oauthsim"
)

// allow and deny click through the consent page, and return the address and the page that the browser ended at.
func allow(t *testing.T, address string) (final, page string) {
	return choose(t, address, "allow", follow)
}
func deny(t *testing.T, address string) (final, page string) {
	return choose(t, address, "deny", follow)
}

// allowElsewhere is a browser on another machine: it cannot reach the loopback of this one.
func allowElsewhere(t *testing.T, address string) (final, page string) {
	return choose(t, address, "allow", func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse })
}

func follow(*http.Request, []*http.Request) error { return nil }

var formID = regexp.MustCompile(`name="id" value="([^"]+)"`)

func choose(t *testing.T, address, choice string, redirects func(*http.Request, []*http.Request) error) (final, page string) {
	t.Helper()
	_, page = get(t, address)
	id := formID.FindStringSubmatch(page)
	if id == nil {
		t.Errorf("the consent page has no form: %s", page)
		return "", page
	}
	client := http.Client{CheckRedirect: redirects}
	u, _ := url.Parse(address)
	answer, err := client.PostForm(u.Scheme+"://"+u.Host+u.Path, url.Values{"id": {id[1]}, "choice": {choice}})
	if err != nil {
		t.Error(err)
		return "", ""
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Error(err)
	}
	if at, err := answer.Location(); err == nil {
		return at.String(), string(body)
	}
	return answer.Request.URL.String(), string(body)
}

func get(t *testing.T, address string) (status int, page string) {
	t.Helper()
	answer, err := http.Get(address)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Error(err)
	}
	return answer.StatusCode, string(body)
}

// signIn signs in while sit does what a user would. It returns after both have.
func signIn(t *testing.T, b Browser, sit func(address string)) (Token, error) {
	t.Helper()
	sat := make(chan struct{})
	b.Show = func(address string) {
		go func() {
			defer close(sat)
			sit(address)
		}()
	}
	token, err := b.SignIn(patient(t))
	select {
	case <-sat:
	case <-patient(t).Done():
		t.Fatal("the browser still waits for its page")
	}
	return token, err
}

func TestBrowser(t *testing.T) {
	sim, client := provider(t, oauthsim.Config{})
	var shown, final, page string
	token, err := signIn(t, Browser{Client: client, LoginHint: joe, Open: func(string) error { return errors.New("no display") }}, func(address string) {
		shown = address
		final, page = allow(t, address)
	})
	if err != nil {
		t.Fatal(err)
	}
	if !sim.Valid(joe, token.Access) || token.Refresh == "" || token.Expiry.IsZero() || !token.Allows(mailScope) {
		t.Errorf("the token is not good for POP: %v %v", token, token.Scopes)
	}
	if !strings.Contains(page, "Signed in") || !strings.Contains(page, "You can close this window") {
		t.Errorf("the browser showed %s", page)
	}
	q, _ := url.Parse(shown)
	for name, want := range map[string]string{
		"response_type": "code", "code_challenge_method": "S256", "access_type": "offline", "prompt": "consent", "login_hint": joe, "scope": mailScope,
	} {
		if got := q.Query().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if redirect := q.Query().Get("redirect_uri"); !strings.HasPrefix(redirect, "http://127.0.0.1:") || !strings.HasPrefix(final, redirect+"/?") && !strings.HasPrefix(final, redirect+"?") {
		t.Errorf("sent back to %q for %q", final, redirect)
	}
	if strings.Contains(shown, clientSecret) {
		t.Error("the address tells the client secret")
	}
	if _, err := http.Get(q.Query().Get("redirect_uri")); err == nil {
		t.Error("something still listens after the sign-in")
	}
}

// A browser that runs in the terminal keeps Open from returning until it has shown the last page.
func TestBrowserThatIsTheOneOpened(t *testing.T) {
	sim, client := provider(t, oauthsim.Config{})
	ended := make(chan struct{})
	token, err := Browser{Client: client, Show: func(string) {}, Open: func(address string) error {
		defer close(ended)
		allow(t, address)
		return nil
	}}.SignIn(patient(t))
	if err != nil || !sim.Valid(joe, token.Access) {
		t.Errorf("not signed in: %v", err)
	}
	<-ended
}

// What is stored of a sign-in is what later runs start from.
func TestBrowserThenSource(t *testing.T) {
	clock := newClock()
	sim, client := provider(t, oauthsim.Config{Now: clock.Now})
	token, err := signIn(t, Browser{Client: client}, func(address string) { allow(t, address) })
	if err != nil {
		t.Fatal(err)
	}
	token.Issued, token.Expiry = clock.Now(), clock.Now()
	a := account{sim: sim, clock: clock, Source: Source{Client: client, Store: store(t), Now: clock.Now}}
	if err := a.Store.Save(token); err != nil {
		t.Fatal(err)
	}
	a.must(t, 0)
}

// Microsoft's way to ask for a refresh token is a scope, and its redirect has a name.
func TestBrowserAtMicrosoft(t *testing.T) {
	sim, client := provider(t, oauthsim.Config{})
	client.Scopes = []string{outlookScope, "offline_access"}
	var shown string
	token, err := signIn(t, Browser{Client: client}, func(address string) {
		shown = address
		allow(t, address)
	})
	if err != nil || !sim.Valid(joe, token.Access) || token.Refresh == "" {
		t.Fatalf("not signed in: %v", err)
	}
	if q, _ := url.Parse(shown); q.Query().Has("prompt") || q.Query().Has("access_type") {
		t.Errorf("Google's parameters are in %s", shown)
	}
	for address, want := range map[string]string{
		"https://login.microsoftonline.com/common/oauth2/v2.0/authorize": "localhost",
		"https://accounts.google.com/o/oauth2/v2/auth":                   "127.0.0.1",
	} {
		if got := loopbackName(address); got != want {
			t.Errorf("%s sends back to %s, want %s", address, got, want)
		}
	}
}

func TestBrowserRefused(t *testing.T) {
	_, client := provider(t, oauthsim.Config{})
	var page string
	_, err := signIn(t, Browser{Client: client}, func(address string) { _, page = deny(t, address) })
	wantSignIn(t, err, "the consent page was left without allowing")
	if !strings.Contains(page, "Not signed in") || !strings.Contains(page, "without allowing") {
		t.Errorf("the browser showed %s", page)
	}
}

func TestBrowserThatNeverComesBack(t *testing.T) {
	_, client := provider(t, oauthsim.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Browser{Client: client, Show: func(string) { cancel() }}.SignIn(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Any program and page on this machine can send the browser to the loopback. Only the answer to this sign-in ends it.
func TestAnswersToOtherSignIns(t *testing.T) {
	sim, client := provider(t, oauthsim.Config{})
	var told []string
	token, err := signIn(t, Browser{Client: client, Wrong: func(problem error) { told = append(told, problem.Error()) }}, func(address string) {
		u, _ := url.Parse(address)
		redirect, state := u.Query().Get("redirect_uri"), u.Query().Get("state")
		for query, want := range map[string]int{
			"/?code=4/stolen&state=another":       http.StatusBadRequest,
			"/?code=4/stolen":                     http.StatusBadRequest,
			"/?error=access_denied&state=":        http.StatusBadRequest,
			"/?state=" + state:                    http.StatusBadRequest,
			"/":                                   http.StatusBadRequest,
			"/favicon.ico":                        http.StatusNotFound,
			"/x?code=4/stolen&state=" + state:     http.StatusNotFound,
			"/?" + strings.Repeat("a=%zz&", 1000): http.StatusBadRequest,
		} {
			status, page := get(t, redirect+query)
			if status != want {
				t.Errorf("%s: status %d, want %d", query, status, want)
			}
			if want == http.StatusBadRequest && !strings.Contains(page, "popfetchd is still waiting") {
				t.Errorf("%s: the browser showed %s", query, page)
			}
		}
		if _, page := allow(t, address); !strings.Contains(page, "Signed in") {
			t.Errorf("the browser showed %s", page)
		}
	})
	if err != nil || !sim.Valid(joe, token.Access) {
		t.Fatalf("not signed in: %v", err)
	}
	if len(told) != 6 || !strings.Contains(strings.Join(told, "\n"), "this is the answer to another sign-in (its state is another)") {
		t.Errorf("the user was told %q", told)
	}
}

// Somebody who took the code on its way has not the verifier (RFC 7636).
func TestWrongVerifier(t *testing.T) {
	_, client := provider(t, oauthsim.Config{})
	var page string
	_, err := signIn(t, Browser{Client: client}, func(address string) {
		u, _ := url.Parse(address)
		q := u.Query()
		q.Set("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")
		u.RawQuery = q.Encode()
		_, page = allow(t, u.String())
	})
	wantSignIn(t, err, `the provider refused the code of this sign-in ("invalid_grant": "Invalid code verifier.")`)
	if !strings.Contains(page, "Not signed in") {
		t.Errorf("the browser showed %s", page)
	}
}

func TestTokenEndpointThatFails(t *testing.T) {
	for name, c := range map[string]struct {
		fault oauthsim.Fault
		end   bool
		want  string
	}{
		"500":            {oauthsim.Fault{Status: 500}, false, "answered 500"},
		"garbage":        {oauthsim.Fault{Body: "<html>"}, false, "holds no token"},
		"invalid client": {oauthsim.Fault{Status: 401, Error: "invalid_client"}, true, "does not accept this client"},
		"no refresh token": {oauthsim.Fault{Body: `{"access_token":"ya29.x","expires_in":3599,"scope":"https://mail.google.com/"}`},
			true, "gave no refresh token"},
		"box not ticked": {oauthsim.Fault{Body: `{"access_token":"ya29.x","refresh_token":"1//x","scope":"openid email"}`},
			true, `the sign-in does not allow "https://mail.google.com/"; tick all`},
	} {
		t.Run(name, func(t *testing.T) {
			sim, client := provider(t, oauthsim.Config{})
			c.fault.Path = "/token"
			sim.SetFault(c.fault)
			var page, final string
			_, err := signIn(t, Browser{Client: client}, func(address string) { final, page = allow(t, address) })
			if c.end {
				wantSignIn(t, err, c.want)
			} else {
				wantPassing(t, err, c.want)
			}
			if !strings.Contains(page, "Not signed in") {
				t.Errorf("the browser showed %s", page)
			}
			u, _ := url.Parse(final)
			silent(t, err, clientSecret, u.Query().Get("code"), u.Query().Get("state"))
		})
	}
}

func TestUnknownClient(t *testing.T) {
	_, client := provider(t, oauthsim.Config{})
	client.ID = "somebody else"
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Browser{Client: client, Show: func(address string) {
		if status, page := get(t, address); status != http.StatusUnauthorized || !strings.Contains(page, "The OAuth client was not found.") {
			t.Errorf("the provider showed %d %s", status, page)
		}
		cancel() // as the user does who reads that
	}}.SignIn(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// On a headless server the user pastes what the browser elsewhere ended at.
func TestPasted(t *testing.T) {
	for name, mangle := range map[string]func(final string) string{
		"whole":      func(final string) string { return final },
		"line end":   func(final string) string { return "  " + final + "\r\n" },
		"wrapped":    func(final string) string { return final[:40] + "\n  " + final[40:60] + " " + final[60:] },
		"quoted":     func(final string) string { return `"` + final + `"` },
		"in angles":  func(final string) string { return "<" + final + ">" },
		"query only": func(final string) string { return final[strings.Index(final, "?")+1:] },
		"fragment":   func(final string) string { return final + "#" },
	} {
		t.Run(name, func(t *testing.T) {
			sim, client := provider(t, oauthsim.Config{})
			pasted := make(chan string, 1)
			token, err := signIn(t, Browser{Client: client, Pasted: pasted, Wrong: func(err error) { t.Error(err) }}, func(address string) {
				final, _ := allowElsewhere(t, address)
				pasted <- mangle(final)
			})
			if err != nil || !sim.Valid(joe, token.Access) {
				t.Errorf("not signed in: %v", err)
			}
		})
	}
}

// What cannot be used is told, and another may be pasted.
func TestPastedWrong(t *testing.T) {
	sim, client := provider(t, oauthsim.Config{})
	pasted, told := make(chan string), make(chan string, 1)
	b := Browser{Client: client, Pasted: pasted, Wrong: func(problem error) { told <- problem.Error() }}
	token, err := signIn(t, b, func(address string) {
		final, _ := allowElsewhere(t, address)
		for text, want := range map[string]string{
			"":                                    "holds no answer of the provider",
			"y":                                   "holds no answer of the provider",
			"https://mail.google.com/mail/u/0":    "copy the whole address",
			address:                               "holds no code",
			final[:strings.Index(final, "state")]: "holds no answer of the provider",
			final[:len(final)/2]:                  "",
			"http://127.0.0.1:1/?code=%zz":        "this is no address",
			strings.Replace(final, "state=", "state=A", 1): "its state is another",
		} {
			pasted <- text
			if got := <-told; !strings.Contains(got, want) {
				t.Errorf("%q: told %q, want %q", text, got, want)
			} else if strings.Contains(got, "4/0A") {
				t.Errorf("the code is in %q", got)
			}
		}
		pasted <- final
	})
	if err != nil || !sim.Valid(joe, token.Access) {
		t.Fatalf("not signed in: %v", err)
	}
}

func TestPastedRefusal(t *testing.T) {
	_, client := provider(t, oauthsim.Config{})
	for code, want := range map[string]string{
		"access_denied":         "without allowing",
		"admin_policy_enforced": "the provider refused the sign-in",
		"server_error":          "",
	} {
		pasted := make(chan string, 1)
		_, err := signIn(t, Browser{Client: client, Pasted: pasted}, func(address string) {
			u, _ := url.Parse(address)
			pasted <- u.Query().Get("redirect_uri") + "/?error=" + code + "&error_description=Sorry%0A%1b[2J&state=" + u.Query().Get("state")
		})
		if code == "server_error" {
			wantPassing(t, err, "try again later")
			continue
		}
		wantSignIn(t, err, want)
		if strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("the provider's words are not quoted: %q", err)
		}
	}
}

// The end of what can be pasted, as of a standard input that is closed, is not the end of the sign-in.
func TestNothingCanBePastedAnyMore(t *testing.T) {
	sim, client := provider(t, oauthsim.Config{})
	pasted := make(chan string)
	close(pasted)
	token, err := signIn(t, Browser{Client: client, Pasted: pasted}, func(address string) { allow(t, address) })
	if err != nil || !sim.Valid(joe, token.Access) {
		t.Errorf("not signed in: %v", err)
	}
}

func TestPort(t *testing.T) {
	_, client := provider(t, oauthsim.Config{})
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := taken.Addr().(*net.TCPAddr).Port
	b := Browser{Client: client, Port: port, Show: func(string) { t.Error("the user was sent to sign in in vain") }}
	if _, err := b.SignIn(patient(t)); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("got %v", err)
	}
	taken.Close()
	if _, err := signIn(t, Browser{Client: client, Port: port}, func(address string) {
		if u, _ := url.Parse(address); !strings.HasSuffix(u.Query().Get("redirect_uri"), taken.Addr().String()) {
			t.Errorf("sent back to %s, want port %d", u.Query().Get("redirect_uri"), port)
		}
		allow(t, address)
	}); err != nil {
		t.Error(err)
	}
}
