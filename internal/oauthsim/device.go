package oauthsim

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// device is a device authorization, RFC 8628.
type device struct {
	grant    grant
	userCode string
	expiry   time.Time
	polled   time.Time
	choice   string // "", "allow" or "deny"
}

// deviceCode is the device authorization endpoint, RFC 8628 section 3.1.
func (s *Server) deviceCode(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	scopes := strings.Fields(r.FormValue("scope"))
	for _, scope := range scopes {
		if scope == gmailScope || strings.HasPrefix(scope, "https://www.googleapis.com/auth/gmail.") {
			refuse(w, http.StatusBadRequest, "invalid_scope", "Invalid device flow scope: "+scope)
			return
		}
	}
	if r.FormValue("client_id") != s.config.ClientID {
		refuse(w, http.StatusUnauthorized, "invalid_client", "The OAuth client was not found.")
		return
	}
	code, letters := rand.Text(), rand.Text()
	d := &device{
		grant:    grant{user: s.config.Username, scopes: scopes},
		userCode: letters[:4] + "-" + letters[4:8],
		expiry:   s.config.Now().Add(s.config.DeviceLife),
	}
	s.mu.Lock()
	s.devices[code] = d
	s.mu.Unlock()
	answerJSON(w, http.StatusOK, map[string]any{
		"device_code": code, "user_code": d.userCode, "verification_uri": s.URL() + "/device/verify",
		"expires_in": int(s.config.DeviceLife.Seconds()), "interval": max(1, int(s.config.DeviceInterval.Seconds())),
		"message": fmt.Sprintf("To sign in, use a web browser to open the page %s/device/verify and enter the code %s to authenticate.", s.URL(), d.userCode),
	})
}

// pollDevice answers a poll, RFC 8628 section 3.5. The caller has the lock.
func (s *Server) pollDevice(w http.ResponseWriter, code string) {
	d, now := s.devices[code], s.config.Now()
	if d == nil {
		refuse(w, http.StatusBadRequest, "invalid_grant", "Bad device code.")
		return
	}
	early := s.config.SlowDown && now.Sub(d.polled) < s.config.DeviceInterval
	d.polled = now
	switch {
	case !now.Before(d.expiry):
		refuse(w, http.StatusBadRequest, "expired_token", "The device code has expired.")
	case early:
		refuse(w, http.StatusBadRequest, "slow_down", "Polling too fast.")
	case d.choice == "":
		refuse(w, http.StatusBadRequest, "authorization_pending", "The user has not typed in the code yet.")
	case d.choice == "allow":
		delete(s.devices, code)
		s.give(w, d.grant, slices.ContainsFunc(d.grant.scopes, isOffline), nil)
	default:
		refuse(w, http.StatusBadRequest, "access_denied", "The user refused.")
	}
}

// devicePage asks the user for the code, and whether to allow.
func (s *Server) devicePage(w http.ResponseWriter, _ *http.Request) {
	show(w, http.StatusOK, page{Title: "Enter the code", Form: "/device/verify", AskCode: true, User: s.config.Username})
}

// deviceConsent takes the user's choice.
func (s *Server) deviceConsent(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if !s.Approve(r.FormValue("code"), r.FormValue("choice") == "allow") {
		complain(w, http.StatusBadRequest, "code", "There is no such code. Go back and try again.")
		return
	}
	show(w, http.StatusOK, page{Title: "Done", Text: "You can close this window and go back to your device."})
}

// Approve takes a user's choice at the device page. It is false when no device has the code.
func (s *Server) Approve(userCode string, allow bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.devices {
		if strings.EqualFold(d.userCode, strings.TrimSpace(userCode)) {
			d.choice = "deny"
			if allow {
				d.choice = "allow"
			}
			return true
		}
	}
	return false
}
