// Package gmail reads and sets what Gmail's own settings say about POP, and tells what they mean for the user's mail.
//
// Which mail Gmail offers, and what it does with its copy of a message that was fetched, is decided by these settings
// and not by what a POP3 client asks for. The API is users.settings.getPop and updatePop of the Gmail API, v1.
package gmail

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// DefaultURL is where Google serves the API.
const DefaultURL = "https://gmail.googleapis.com"

// SettingsScope is what a token must allow for Apply. Reading needs less: the scope for POP does.
const SettingsScope = "https://www.googleapis.com/auth/gmail.settings.basic"

// readScope is the scope for POP, which lets the settings be read too.
const readScope = "https://mail.google.com/"

// Limits of one request. The answer is a few lines; an error of Google's is some 2 KB.
const (
	timeout   = 30 * time.Second
	maxAnswer = 64 << 10
)

// Access says which mail Gmail offers by POP, in the API's words.
type Access string

// The values of accessWindow.
const (
	AllMail   Access = "allMail"   // all mail not fetched yet
	FromNowOn Access = "fromNowOn" // mail not fetched yet that came after this was set
	Disabled  Access = "disabled"  // none: POP is off
)

// Disposition says what Gmail does with its copy of a message once it was fetched, in the API's words.
type Disposition string

// The values of disposition.
const (
	LeaveInInbox Disposition = "leaveInInbox" // nothing: it stays in the inbox, unread
	MarkRead     Disposition = "markRead"     // it stays in the inbox, read
	Archive      Disposition = "archive"      // it leaves the inbox and stays in All Mail
	Trash        Disposition = "trash"        // it goes to Trash, which Gmail empties of mail older than 30 days
)

// Settings are Gmail's settings for POP. Values that this version does not know are kept as they are.
type Settings struct {
	Access      Access      `json:"accessWindow"`
	Disposition Disposition `json:"disposition"`
}

// API reaches the Gmail API as one user. However it is printed or logged, the token is left out.
type API struct {
	URL   string       // "": DefaultURL
	Token string       // an access token
	HTTP  *http.Client // nil: one of its own
}

// String names the address, not the token.
func (a API) String() string { return fmt.Sprintf("Gmail API at %q", a.url()) }

// Format writes what String returns, whatever the verb.
func (a API) Format(f fmt.State, _ rune) { io.WriteString(f, a.String()) }

// MarshalText returns what String does; JSON and others use it.
func (a API) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// LogValue returns what String does.
func (a API) LogValue() slog.Value { return slog.StringValue(a.String()) }

// Settings reads Gmail's settings for POP. The errors are those of Apply.
func (a API) Settings(ctx context.Context) (Settings, error) {
	return a.call(ctx, http.MethodGet, readScope, nil)
}

// Apply sets Gmail's settings for POP and returns what they are then. What that does beside the change itself is told
// by Saving. The error is a *ScopeError when the token does not allow it, a *NotEnabledError when the API is off in the
// project that the client id belongs to, and wraps ErrTokenRefused when another access token is needed; other errors
// may pass.
func (a API) Apply(ctx context.Context, s Settings) (Settings, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return Settings{}, err
	}
	return a.call(ctx, http.MethodPut, SettingsScope, body)
}

func (a API) url() string {
	if a.URL == "" {
		return DefaultURL
	}
	return strings.TrimRight(a.URL, "/")
}

// call makes one request. Scope is the one to ask the user for when Google says that it is missing.
func (a API) call(ctx context.Context, method, scope string, body []byte) (Settings, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %s", timeout))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, a.url()+"/gmail/v1/users/me/settings/pop", bytes.NewReader(body))
	if err != nil {
		return Settings{}, fmt.Errorf("the address %q of the Gmail API cannot be used", a.url())
	}
	request.Header.Set("Authorization", "Bearer "+a.Token)
	request.Header.Set("Accept", "application/json")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	status, answer, err := a.do(request)
	if err != nil {
		return Settings{}, err
	}
	if status != http.StatusOK {
		return Settings{}, refusal(status, scope, answer, a.Token)
	}
	var s Settings
	if json.Unmarshal(answer, &s) != nil || s == (Settings{}) {
		return Settings{}, errors.New("the Gmail API gave an answer that holds no settings; is a proxy or sign-in page of the network in the way")
	}
	return s, nil
}

// do returns the whole answer, bounded.
func (a API) do(request *http.Request) (status int, body []byte, err error) {
	client := http.Client{}
	if a.HTTP != nil {
		client = *a.HTTP
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	answer, err := client.Do(request)
	if err != nil {
		return 0, nil, unreached(request.Context(), err)
	}
	defer answer.Body.Close()
	body, err = io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return 0, nil, unreached(request.Context(), err)
	}
	if len(body) > maxAnswer {
		return 0, nil, fmt.Errorf("the Gmail API gave an answer longer than %d KiB, which holds no settings", maxAnswer>>10)
	}
	return answer.StatusCode, body, nil
}

// unreached is the error of a request that had no answer.
func unreached(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err
	}
	return fmt.Errorf("the Gmail API could not be asked: %w", err)
}
