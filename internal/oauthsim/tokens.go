package oauthsim

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxForm bounds what a request may send.
const maxForm = 64 << 10

// What tokens may allow.
const (
	gmailScope    = "https://mail.google.com/"
	settingsScope = "https://www.googleapis.com/auth/gmail.settings.basic"
	outlookScope  = "https://outlook.office.com/POP.AccessAsUser.All"
	fastmailScope = "https://www.fastmail.com/dev/protocol-pop"
)

var popScopes = []string{gmailScope, outlookScope, fastmailScope}

func (g *grant) allows(scopes []string) bool {
	return slices.ContainsFunc(g.scopes, func(scope string) bool { return slices.Contains(scopes, scope) })
}

// newAccess and newRefresh give tokens that look like Google's. The caller has the lock.
func (s *Server) newAccess(g grant) string {
	token := "ya29.a0" + rand.Text() + rand.Text()
	g.expiry = s.config.Now().Add(s.config.TokenLife)
	s.access[token] = &g
	return token
}

func (s *Server) newRefresh(g grant, older []string) string {
	token := "1//0" + rand.Text() + rand.Text()
	g.older = older
	s.refresh[token] = &g
	return token
}

// token is the token endpoint, RFC 6749 section 3.2.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		refuse(w, http.StatusBadRequest, "invalid_request", "Bad Request")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.knowsClient(w, r.PostForm) {
		return
	}
	switch r.PostForm.Get("grant_type") {
	case "authorization_code":
		s.redeem(w, r.PostForm)
	case "refresh_token":
		s.refreshed(w, r.PostForm.Get("refresh_token"))
	case "urn:ietf:params:oauth:grant-type:device_code":
		s.pollDevice(w, r.PostForm.Get("device_code"))
	default:
		refuse(w, http.StatusBadRequest, "unsupported_grant_type", "Invalid grant_type: "+r.PostForm.Get("grant_type"))
	}
}

func (s *Server) knowsClient(w http.ResponseWriter, form url.Values) bool {
	switch {
	case form.Get("client_id") != s.config.ClientID:
		refuse(w, http.StatusUnauthorized, "invalid_client", "The OAuth client was not found.")
	case form.Get("client_secret") != s.config.ClientSecret:
		refuse(w, http.StatusUnauthorized, "invalid_client", "Unauthorized")
	default:
		return true
	}
	return false
}

// redeem takes an authorization code: it works once, for the address and the verifier that it was asked for with.
func (s *Server) redeem(w http.ResponseWriter, form url.Values) {
	code := form.Get("code")
	q := s.codes[code]
	delete(s.codes, code)
	sum := sha256.Sum256([]byte(form.Get("code_verifier")))
	switch {
	case q == nil:
		refuse(w, http.StatusBadRequest, "invalid_grant", "Malformed auth code.")
	case q.redirect != form.Get("redirect_uri"):
		refuse(w, http.StatusBadRequest, "redirect_uri_mismatch", "Bad Request")
	case base64.RawURLEncoding.EncodeToString(sum[:]) != q.challenge:
		refuse(w, http.StatusBadRequest, "invalid_grant", "Invalid code verifier.")
	default:
		s.give(w, q.grant, q.offline, nil)
	}
}

func (s *Server) refreshed(w http.ResponseWriter, token string) {
	g := s.refresh[token]
	if g == nil {
		refuse(w, http.StatusBadRequest, "invalid_grant", "Token has been expired or revoked.")
		return
	}
	for _, older := range g.older {
		delete(s.refresh, older)
	}
	s.give(w, *g, s.config.RotateRefresh, []string{token})
}

// give answers with tokens, RFC 6749 section 5.1.
func (s *Server) give(w http.ResponseWriter, g grant, withRefresh bool, older []string) {
	answer := map[string]any{
		"access_token": s.newAccess(g),
		"token_type":   "Bearer",
		"expires_in":   int(s.config.TokenLife.Seconds()),
		"scope":        strings.Join(slices.DeleteFunc(slices.Clone(g.scopes), isOffline), " "),
	}
	if withRefresh {
		answer["refresh_token"] = s.newRefresh(g, older)
	}
	answerJSON(w, http.StatusOK, answer)
}

func isOffline(scope string) bool { return scope == "offline_access" }

// revoke is RFC 7009, in Google's manner: an access token's end is its refresh token's as well, and the other way round.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		refuse(w, http.StatusBadRequest, "invalid_request", "Bad Request")
		return
	}
	token := r.Form.Get("token")
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.refresh[token]
	if g == nil {
		g = s.access[token]
	}
	if g == nil {
		refuse(w, http.StatusBadRequest, "invalid_token", "Token expired or revoked")
		return
	}
	user := g.user
	for _, tokens := range []map[string]*grant{s.access, s.refresh} {
		for token, g := range tokens {
			if g.user == user {
				delete(tokens, token)
			}
		}
	}
	answerJSON(w, http.StatusOK, struct{}{})
}

// refuse answers as RFC 6749 section 5.2 says.
func refuse(w http.ResponseWriter, status int, code, description string) {
	answerJSON(w, status, map[string]string{"error": code, "error_description": description})
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may have gone
}
