package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/popfetchd/popfetchd/internal/oauthsim"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// oauthServers are the sign-in servers of a script, by name.
type oauthServers map[string]*oauthsim.Server

type oauthKey struct{}

func cmdOAuthServer(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) > 0, "oauthserver NAME [user=ADDRESS] [pop=SERVER]")
	name, options := args[0], map[string]string{}
	for _, arg := range args[1:] {
		key, value, _ := strings.Cut(arg, "=")
		options[key] = value
	}
	c := oauthsim.Config{ClientID: "client-" + name, Username: options["user"], DeviceInterval: time.Second}
	if pop := options["pop"]; pop != "" {
		c.Settings = func() (string, string) {
			access, disposition := ts.Value(serversKey{}).(servers)[pop].account.Settings()
			return string(access), string(disposition)
		}
		c.SetSettings = func(access, disposition string) {
			ts.Value(serversKey{}).(servers)[pop].account.SaveSettings(popsim.AccessWindow(access), popsim.Disposition(disposition))
		}
	}
	s, err := oauthsim.Start("127.0.0.1:0", c)
	ts.Check(err)
	ts.Defer(func() { s.Close() })
	ts.Value(oauthKey{}).(oauthServers)[name] = s
	ts.Setenv(name, s.URL())
}

// cmdOAuth has a sign-in server do something.
func cmdOAuth(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) > 1, "oauth NAME expire|revoke|fail PATH|well")
	s := ts.Value(oauthKey{}).(oauthServers)[args[0]]
	switch args[1] {
	case "expire":
		s.Expire()
	case "revoke":
		s.RevokeAll()
	case "fail":
		s.SetFault(oauthsim.Fault{Path: args[2], Status: http.StatusInternalServerError, Body: "{}"})
	case "well":
		s.ClearFaults()
	default:
		ts.Fatalf("oauth %s: expire, revoke, fail PATH or well", args[1])
	}
}

// cmdConsent goes through the consent page whose address the program in the
// background wrote to FILE.
func cmdConsent(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && (len(args) == 1 || len(args) == 2), "consent FILE [deny]")
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(patience); ; <-look.C {
		if address := regexp.MustCompile(consentAddress.String() + `\n`).FindString(ts.ReadFile(args[0])); address != "" {
			follow(ts, consented(ts, strings.TrimSpace(address), strings.Join(args[1:], "")))
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%s gets no address:\n%s", args[0], ts.ReadFile(args[0]))
		}
	}
}

// browser is one that shows where it is sent instead of going there.
func browser() *http.Client {
	return &http.Client{Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func fetchPage(ts *testscript.TestScript, address string) string {
	answer, err := browser().Get(address)
	ts.Check(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	ts.Check(err)
	return string(text)
}

// submit sends a form, and returns the address that the browser is sent to.
func submit(ts *testscript.TestScript, address string, form url.Values) string {
	answer, err := browser().PostForm(address, form)
	ts.Check(err)
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusFound {
		ts.Fatalf("%s: %s, want a redirect", address, answer.Status)
	}
	return answer.Header.Get("Location")
}

// follow goes to the address of the program's own page, and keeps what it says
// in the file page.html.
func follow(ts *testscript.TestScript, address string) {
	ts.Check(os.WriteFile(ts.MkAbs("page.html"), []byte(fetchPage(ts, address)), 0o600))
}

// cmdSilent makes sure that what was printed or logged holds no secret.
func cmdSilent(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) > 1, "silent STORE FILE…")
	var stored map[string]any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &stored))
	tokens := 0
	for key, value := range stored {
		secret, _ := value.(string)
		if !strings.HasSuffix(key, "_token") || secret == "" {
			continue
		}
		tokens++
		for _, file := range args[1:] {
			if text := ts.ReadFile(file); strings.Contains(text, secret) || strings.Contains(text, url.QueryEscape(secret)) {
				ts.Fatalf("%s holds the %s", file, key)
			}
		}
	}
	if tokens < 2 {
		ts.Fatalf("%s holds %d tokens, want access and refresh", args[0], tokens)
	}
}
