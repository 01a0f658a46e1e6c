package gmail

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// ErrTokenRefused says that the access token is of no use any more: get another one (oauth.Source.Renew) and try again.
var ErrTokenRefused = errors.New("the Gmail API refused the access token")

// A ScopeError says that the user has not allowed what was asked for: a sign-in with Scope among its scopes helps.
type ScopeError struct {
	Scope string
}

// Error names the scope. Callers add how to sign in.
func (e *ScopeError) Error() string {
	return "the sign-in does not allow this; it needs the scope " + e.Scope
}

// A NotEnabledError says that the Gmail API is off in the Google Cloud project that the client id belongs to.
type NotEnabledError struct {
	Page string // where to enable it
}

// Error says where to enable it.
func (e *NotEnabledError) Error() string {
	return "the Gmail API is not enabled in the Google Cloud project of your client id; enable it at " + e.Page + " and try again in a few minutes"
}

// libraryPage enables the API in the project that the browser has chosen.
const libraryPage = "https://console.cloud.google.com/apis/library/gmail.googleapis.com"

// failure is an error answer of Google's APIs (google.rpc.Status as JSON, and what was there before it).
type failure struct {
	Error struct {
		Message string `json:"message"`
		Errors  []struct {
			Reason string `json:"reason"`
		} `json:"errors"`
		Details []struct {
			Reason string `json:"reason"`
			Links  []struct {
				URL string `json:"url"`
			} `json:"links"`
		} `json:"details"`
	} `json:"error"`
}

// says tells whether one of the reasons is among the failure's.
func (f failure) says(reasons ...string) bool {
	for _, e := range f.Error.Errors {
		if slices.Contains(reasons, e.Reason) {
			return true
		}
	}
	for _, d := range f.Error.Details {
		if slices.Contains(reasons, d.Reason) {
			return true
		}
	}
	return false
}

// refusal makes an error of an answer that is not 200.
func refusal(status int, scope string, body []byte, token string) error {
	var f failure
	_ = json.Unmarshal(body, &f) // what is no JSON leaves the status to tell
	words := f.Error.Message
	switch {
	case status == http.StatusUnauthorized:
		return ErrTokenRefused
	case f.says("accessNotConfigured", "SERVICE_DISABLED") || strings.Contains(words, "has not been used in project"):
		return &NotEnabledError{Page: f.page()}
	case status == http.StatusForbidden &&
		(f.says("insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT") || strings.Contains(words, "insufficient authentication scopes")):
		return &ScopeError{Scope: scope}
	}
	text := fmt.Sprintf("the Gmail API answered %d %s", status, http.StatusText(status))
	if words != "" {
		if token != "" {
			words = strings.ReplaceAll(words, token, "[redacted]")
		}
		text = fmt.Sprintf("%s: %.300q", text, words)
	}
	return errors.New(text)
}

// page returns where the answer says that the API can be enabled, if that is at Google's.
func (f failure) page() string {
	candidates := strings.Fields(f.Error.Message)
	for _, d := range f.Error.Details {
		for _, link := range d.Links {
			candidates = append(candidates, link.URL)
		}
	}
	for _, candidate := range candidates {
		u, err := url.Parse(strings.TrimRight(candidate, ".,"))
		if err == nil && u.Scheme == "https" && u.User == nil && strings.HasSuffix(u.Host, ".google.com") &&
			strings.Contains(u.Path, "gmail.googleapis.com") {
			return u.String()
		}
	}
	return libraryPage
}
