package oauthsim

import (
	"crypto/rand"
	_ "embed"
	"html/template"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// request is an authorization request, RFC 6749 section 4.1.1.
type request struct {
	grant     grant
	redirect  string
	state     string
	challenge string
	offline   bool // a refresh token was asked for
}

//go:embed page.html
var pageText string

// page is what page.html shows.
type page struct {
	Title, Text string
	Form        string // the path that the form goes to; "": no form
	ID          string // of the request
	Code        string // a device's code, filled in; AskCode: to be typed in
	AskCode     bool
	User        string
	Scopes      []string
}

func show(w http.ResponseWriter, status int, p page) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = template.Must(template.New("page").Parse(pageText)).Execute(w, p) // the browser may have gone
}

// complain shows a mistake of the program that sent the user here. As at Google's, the browser is not sent back.
func complain(w http.ResponseWriter, status int, code, text string) {
	show(w, status, page{Title: "Error " + code, Text: text})
}

// consentPage asks the user, RFC 6749 section 4.1.1.
func (s *Server) consentPage(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	switch {
	case q.Get("client_id") != s.config.ClientID:
		complain(w, http.StatusUnauthorized, "invalid_client", "The OAuth client was not found.")
		return
	case !isLoopback(q.Get("redirect_uri")):
		complain(w, http.StatusBadRequest, "redirect_uri_mismatch", "This app sent an invalid request: its redirect_uri is not on the loopback.")
		return
	case q.Get("response_type") != "code" || q.Get("scope") == "" || q.Get("state") == "":
		complain(w, http.StatusBadRequest, "invalid_request", "response_type=code, scope and state are needed.")
		return
	case q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43:
		complain(w, http.StatusBadRequest, "invalid_request", "A code_challenge with the method S256 is needed.")
		return
	}
	scopes := strings.Fields(q.Get("scope"))
	p := &request{
		grant:    grant{user: s.user(q.Get("login_hint")), scopes: scopes},
		redirect: q.Get("redirect_uri"), state: q.Get("state"), challenge: q.Get("code_challenge"),
		// Google gives a refresh token with the first consent only, unless it is asked to ask again.
		offline: q.Get("access_type") == "offline" && q.Get("prompt") == "consent" || slices.ContainsFunc(scopes, isOffline),
	}
	id := rand.Text()
	s.mu.Lock()
	s.requests[id] = p
	s.mu.Unlock()
	show(w, http.StatusOK, page{Title: "popfetchd wants to read your mail", Form: "/auth", ID: id, User: p.grant.user, Scopes: scopes})
}

func (s *Server) user(hint string) string {
	if s.config.Username != "" {
		return s.config.Username
	}
	return hint
}

func isLoopback(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" || u.Port() == "" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// consent takes the user's choice and sends the browser back, RFC 6749 section 4.1.2.
func (s *Server) consent(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	id, choice := r.FormValue("id"), r.FormValue("choice")
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.requests[id]
	delete(s.requests, id)
	if q == nil {
		complain(w, http.StatusBadRequest, "invalid_request", "This page was used already. Start again.")
		return
	}
	back := url.Values{"state": {q.state}}
	if choice == "allow" {
		code := "4/0A" + rand.Text()
		s.codes[code] = q
		back.Set("code", code)
		back.Set("scope", strings.Join(q.grant.scopes, " "))
	} else {
		back.Set("error", "access_denied")
	}
	http.Redirect(w, r, q.redirect+"?"+back.Encode(), http.StatusFound)
}
