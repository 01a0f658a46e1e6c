package oauthsim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

const settingsPath = "/gmail/v1/users/me/settings/pop"

// settings is the API's resource PopSettings.
type settings struct {
	Access      string `json:"accessWindow"`
	Disposition string `json:"disposition"`
}

// getSettings is users.settings.getPop. The scope for POP allows it.
func (s *Server) getSettings(w http.ResponseWriter, r *http.Request) {
	if s.mayUse(w, r, gmailScope, settingsScope) {
		answerJSON(w, http.StatusOK, s.current())
	}
}

// putSettings is users.settings.updatePop. The scope for POP does not allow it.
func (s *Server) putSettings(w http.ResponseWriter, r *http.Request) {
	if !s.mayUse(w, r, settingsScope) {
		return
	}
	var next settings
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxForm)).Decode(&next); err != nil ||
		!slices.Contains([]string{"disabled", "fromNowOn", "allMail"}, next.Access) ||
		!slices.Contains([]string{"leaveInInbox", "archive", "trash", "markRead"}, next.Disposition) {
		refuseAPI(w, http.StatusBadRequest, "INVALID_ARGUMENT", "invalidArgument", "Invalid value")
		return
	}
	s.mu.Lock()
	s.settings = [2]string{next.Access, next.Disposition}
	s.mu.Unlock()
	if s.config.SetSettings != nil {
		s.config.SetSettings(next.Access, next.Disposition)
	}
	answerJSON(w, http.StatusOK, s.current())
}

func (s *Server) current() settings {
	if s.config.Settings != nil {
		access, disposition := s.config.Settings()
		return settings{access, disposition}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return settings{s.settings[0], s.settings[1]}
}

// mayUse says whether a request's token is good and allows one of the scopes; if not, it answers as Google does.
func (s *Server) mayUse(w http.ResponseWriter, r *http.Request, scopes ...string) bool {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	g := s.access[token]
	good := g != nil && s.config.Now().Before(g.expiry)
	s.mu.Unlock()
	switch {
	case !good:
		refuseAPI(w, http.StatusUnauthorized, "UNAUTHENTICATED", "authError",
			"Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.")
	case !g.allows(scopes):
		refuseAPI(w, http.StatusForbidden, "PERMISSION_DENIED", "insufficientPermissions", "Request had insufficient authentication scopes.")
	default:
		return true
	}
	return false
}

// refuseAPI answers in the form of Google's APIs.
func refuseAPI(w http.ResponseWriter, status int, name, reason, message string) {
	answerJSON(w, status, map[string]any{"error": map[string]any{
		"code": status, "message": message, "status": name,
		"errors": []any{map[string]string{"message": message, "domain": "global", "reason": reason}},
	}})
}
