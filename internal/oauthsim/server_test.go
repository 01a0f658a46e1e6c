package oauthsim

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// The verifier and challenge of RFC 7636 appendix B.
const (
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	redirect  = "http://127.0.0.1:1"
)

func start(t *testing.T, c Config) *Server {
	t.Helper()
	c.ClientID, c.Username = "id", "joe@gmail.com"
	s, err := Start("127.0.0.1:0", c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// post sends a form and returns the status and what of the JSON answer is text.
func post(t *testing.T, s *Server, path string, fields ...string) (status int, answer map[string]string) {
	t.Helper()
	form := url.Values{"client_id": {"id"}}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	r, err := http.PostForm(s.URL()+path, form)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	raw := map[string]any{}
	if err := json.NewDecoder(r.Body).Decode(&raw); err != nil {
		t.Fatal(err)
	}
	answer = map[string]string{}
	for key, value := range raw {
		if text, ok := value.(string); ok {
			answer[key] = text
		}
	}
	return r.StatusCode, answer
}

// consent asks for a consent page, with parameters changed, and returns the address that the browser is sent to after
// the choice, or the text of the page when it has no form.
func consent(t *testing.T, s *Server, choice string, changed ...string) (back *url.URL, page string) {
	t.Helper()
	q := url.Values{
		"client_id": {"id"}, "redirect_uri": {redirect}, "response_type": {"code"}, "scope": {gmailScope}, "state": {"s"},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"}, "access_type": {"offline"}, "prompt": {"consent"},
	}
	for i := 0; i < len(changed); i += 2 {
		q.Set(changed[i], changed[i+1])
	}
	r, err := http.Get(s.URL() + "/auth?" + q.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	id := regexp.MustCompile(`name="id" value="(\w+)"`).FindSubmatch(body)
	if id == nil {
		return nil, string(body)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r, err = client.PostForm(s.URL()+"/auth", url.Values{"id": {string(id[1])}, "choice": {choice}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if back, err = r.Location(); err != nil {
		t.Fatal(err)
	}
	return back, string(body)
}

func TestCodeWorksOnceForWhoAskedForIt(t *testing.T) {
	s := start(t, Config{})
	code := func(changed ...string) string {
		back, _ := consent(t, s, "allow", changed...)
		if back.Query().Get("state") != "s" || !strings.HasPrefix(back.String(), redirect+"?") {
			t.Fatalf("sent back to %s", back)
		}
		return back.Query().Get("code")
	}
	good := []string{"grant_type", "authorization_code", "redirect_uri", redirect, "code_verifier", verifier, "code"}
	first := code()
	status, tokens := post(t, s, "/token", append(good, first)...)
	if status != 200 || !s.Valid("joe@gmail.com", tokens["access_token"]) || tokens["refresh_token"] == "" || tokens["scope"] != gmailScope {
		t.Fatalf("got %d %v", status, tokens)
	}
	for name, c := range map[string]struct {
		fields []string
		want   string
	}{
		"twice":          {append(good, first), "invalid_grant"},
		"wrong verifier": {[]string{"grant_type", "authorization_code", "redirect_uri", redirect, "code_verifier", challenge, "code", code()}, "invalid_grant"},
		"no verifier":    {[]string{"grant_type", "authorization_code", "redirect_uri", redirect, "code", code()}, "invalid_grant"},
		"wrong redirect": {[]string{"grant_type", "authorization_code", "redirect_uri", redirect + "1", "code_verifier", verifier, "code", code()}, "redirect_uri_mismatch"},
		"wrong client":   {append(good, code(), "client_id", "other"), "invalid_client"},
		"a secret":       {append(good, code(), "client_secret", "other"), "invalid_client"},
		"wrong grant":    {[]string{"grant_type", "password"}, "unsupported_grant_type"},
	} {
		if status, answer := post(t, s, "/token", c.fields...); status < 400 || answer["error"] != c.want {
			t.Errorf("%s: got %d %v, want %s", name, status, answer, c.want)
		}
	}
	// Google's and Microsoft's ways to a refresh token, and none.
	for _, c := range []struct {
		changed []string
		want    bool
	}{
		{[]string{"prompt", ""}, false},
		{[]string{"access_type", ""}, false},
		{[]string{"prompt", "", "access_type", "", "scope", outlookScope + " offline_access"}, true},
	} {
		if _, tokens := post(t, s, "/token", append(good, code(c.changed...))...); (tokens["refresh_token"] != "") != c.want {
			t.Errorf("%q: refresh token %q", c.changed, tokens["refresh_token"])
		}
	}
}

func TestConsentPageRefusesWhatIsNotSafe(t *testing.T) {
	s := start(t, Config{})
	for _, changed := range [][]string{
		{"client_id", "other"}, {"redirect_uri", "https://evil.example/"}, {"redirect_uri", "http://127.0.0.1.evil.example:80/"}, {"redirect_uri", "http://127.0.0.1"},
		{"response_type", "token"}, {"scope", ""}, {"state", ""}, {"code_challenge_method", "plain"}, {"code_challenge", "short"},
	} {
		if back, page := consent(t, s, "allow", changed...); back != nil || !strings.Contains(page, "Error ") {
			t.Errorf("%q: sent back to %v, page %s", changed, back, page)
		}
	}
	back, page := consent(t, s, "deny", "login_hint", "<b>")
	if back.Query().Get("error") != "access_denied" || back.Query().Has("code") || back.Query().Get("state") != "s" {
		t.Errorf("a user who refuses is sent back to %s", back)
	}
	if !strings.Contains(page, "joe@gmail.com") || !strings.Contains(page, gmailScope) {
		t.Errorf("the page does not say who allows what: %s", page)
	}
}

func TestTokensEnd(t *testing.T) {
	var passed atomic.Int64
	s := start(t, Config{TokenLife: time.Minute, Now: func() time.Time { return time.Unix(1e9+passed.Load(), 0) }})
	access, refresh := s.Grant()
	for user, want := range map[string]bool{"joe@gmail.com": true, "Joe@Gmail.com": true, "recent:joe@gmail.com": true, "ann@gmail.com": false} {
		if got := s.Valid(user, access); got != want {
			t.Errorf("%s: let in %v", user, got)
		}
	}
	if s.Valid("joe@gmail.com", refresh) || s.Valid("joe@gmail.com", "") {
		t.Error("what is no access token lets somebody in")
	}
	if other, _ := s.Grant(settingsScope); s.Valid("joe@gmail.com", other) {
		t.Error("a token for something else lets somebody in")
	}
	passed.Store(60)
	if s.Valid("joe@gmail.com", access) {
		t.Error("a token outlives its life")
	}
	_, tokens := post(t, s, "/token", "grant_type", "refresh_token", "refresh_token", refresh)
	if !s.Valid("joe@gmail.com", tokens["access_token"]) || tokens["refresh_token"] != "" {
		t.Errorf("refreshing gave %v", tokens)
	}
	s.Expire()
	if s.Valid("joe@gmail.com", tokens["access_token"]) {
		t.Error("Expire ends no token")
	}
	if status, answer := post(t, s, "/revoke", "token", refresh); status != 200 {
		t.Errorf("revoking: %d %v", status, answer)
	}
	if status, answer := post(t, s, "/revoke", "token", refresh); status != 400 || answer["error"] != "invalid_token" {
		t.Errorf("revoking twice: %d %v", status, answer)
	}
	if _, answer := post(t, s, "/token", "grant_type", "refresh_token", "refresh_token", refresh); answer["error"] != "invalid_grant" {
		t.Errorf("a revoked token gave %v", answer)
	}
	access, refresh = s.Grant()
	s.RevokeAll()
	if _, answer := post(t, s, "/token", "grant_type", "refresh_token", "refresh_token", refresh); s.Valid("joe@gmail.com", access) || answer["error"] != "invalid_grant" {
		t.Errorf("RevokeAll leaves %v", answer)
	}
}

// With rotation the old refresh token works until the new one was used, so that a lost answer costs nothing.
func TestRotation(t *testing.T) {
	s := start(t, Config{RotateRefresh: true})
	_, first := s.Grant()
	use := func(token string) (next, problem string) {
		_, answer := post(t, s, "/token", "grant_type", "refresh_token", "refresh_token", token)
		return answer["refresh_token"], answer["error"]
	}
	lost, _ := use(first)
	second, problem := use(first)
	if problem != "" || second == "" || second == first || second == lost {
		t.Fatalf("again: %q, %s", second, problem)
	}
	if _, problem := use(second); problem != "" {
		t.Errorf("the new one: %s", problem)
	}
	if _, problem := use(first); problem != "invalid_grant" {
		t.Errorf("the old one after that: %q", problem)
	}
}

func TestSettingsOfOthers(t *testing.T) {
	kept := [2]string{"fromNowOn", "trash"}
	s := start(t, Config{
		Settings:    func() (access, disposition string) { return kept[0], kept[1] },
		SetSettings: func(access, disposition string) { kept = [2]string{access, disposition} },
	})
	token, _ := s.Grant()
	ask := func(method, body string) (int, string) {
		r, _ := http.NewRequestWithContext(t.Context(), method, s.URL()+settingsPath, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+token)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body)
		return answer.StatusCode, string(text)
	}
	if status, text := ask("GET", ""); status != 200 || !strings.Contains(text, `"fromNowOn"`) || !strings.Contains(text, `"trash"`) {
		t.Errorf("got %d %s", status, text)
	}
	if status, text := ask("PUT", `{"accessWindow":"allMail","disposition":"archive"}`); status != 200 || kept != [2]string{"allMail", "archive"} {
		t.Errorf("got %d %s, kept %v", status, text, kept)
	}
	if status, _ := ask("PUT", `{"accessWindow":"allMail"}`); status != 400 || kept != [2]string{"allMail", "archive"} {
		t.Errorf("half a setting: got %d, kept %v", status, kept)
	}
	s.Revoke(token)
	if status, _ := ask("GET", ""); status != 401 {
		t.Errorf("with a token that is revoked: %d", status)
	}
}

func TestFaultsComeInOrderAndEnd(t *testing.T) {
	s := start(t, Config{})
	s.SetFault(Fault{Path: "/token", Times: 2, Error: "server_error", Text: "x"})
	s.SetFault(Fault{Path: "/token", Status: 503, Body: "{}"})
	s.SetFault(Fault{Path: "/revoke", Body: `{"a":"b"}`})
	for i, want := range []int{400, 400, 503, 503} {
		if status, _ := post(t, s, "/token"); status != want {
			t.Errorf("request %d: %d, want %d", i, status, want)
		}
	}
	if _, answer := post(t, s, "/revoke"); answer["a"] != "b" {
		t.Errorf("got %v", answer)
	}
	s.ClearFaults()
	if _, answer := post(t, s, "/token"); answer["error"] != "unsupported_grant_type" || s.Asked("/token") != 5 {
		t.Errorf("got %v after %d requests", answer, s.Asked("/token"))
	}
}

func TestStartSaysWhatIsMissing(t *testing.T) {
	if _, err := Start("127.0.0.1:0", Config{}); err == nil {
		t.Error("started without a client id")
	}
	s := start(t, Config{})
	if _, err := Start(strings.TrimPrefix(s.URL(), "http://"), Config{ClientID: "id"}); err == nil {
		t.Error("started where another listens")
	}
}
