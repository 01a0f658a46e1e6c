package oauth

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/oauth2"
)

// A SignInError says that only the user can help: by signing in again, or by mending the client's id and secret in the
// configuration. Asking the provider again does not.
type SignInError struct {
	Reason string // what happened; never a token or secret
	Err    error  // the cause, or nil
}

// Error says what happened. Callers add how to sign in.
func (e *SignInError) Error() string { return e.Reason }

// Unwrap returns the cause.
func (e *SignInError) Unwrap() error { return e.Err }

// answerError is a refusal by the provider that may be over later.
type answerError struct {
	host        string
	status      int
	code        string // RFC 6749 section 5.2; "" when the answer held none
	description string // the provider's words, without our secrets
}

func (e *answerError) Error() string {
	text := fmt.Sprintf("%s answered %d %s", e.host, e.status, http.StatusText(e.status))
	if e.code != "" {
		text = fmt.Sprintf("%s, %s", text, e.words())
	}
	return text + "; this may pass"
}

func (e *answerError) words() string {
	if e.description == "" {
		return fmt.Sprintf("%q", e.code)
	}
	return fmt.Sprintf("%q: %q", e.code, e.description)
}

// What the provider answers when asking again is of no use. The first row is RFC 6749 section 5.2's and 4.1.2.1's, the
// second OpenID's (Core, section 3.1.2.6) as Microsoft uses it, the third Google's own.
var (
	endOfSignIn = []string{
		"invalid_grant", "access_denied",
		"interaction_required", "login_required", "consent_required", "account_selection_required",
		"admin_policy_enforced", "org_internal",
	}
	badClient = []string{
		"invalid_client", "unauthorized_client", "invalid_scope", "unsupported_grant_type",
		"deleted_client", "disabled_client", "redirect_uri_mismatch",
	}
)

// explain makes an error of x/oauth2 into one for users. What it returns holds neither the answer's body nor a secret;
// refused says what an end of the sign-in means at this point.
func (c Client) explain(err error, endpoint, refused string, secrets ...string) error {
	var answer *oauth2.RetrieveError
	if errors.As(err, &answer) && answer.Response != nil {
		return c.judge(&answerError{
			host: host(endpoint), status: answer.Response.StatusCode,
			code: answer.ErrorCode, description: scrub(answer.ErrorDescription, append(secrets, c.Secret)),
		}, refused)
	}
	var failed *url.Error
	if errors.As(err, &failed) {
		return fmt.Errorf("%s: %w", host(endpoint), failed.Err) // without the address, which may hold a query
	}
	return fmt.Errorf("%s gave an answer that holds no token; is the address right, or is a proxy or sign-in page of the network in the way", host(endpoint))
}

// judge tells refusals for good from those that may pass.
func (c Client) judge(e *answerError, refused string) error {
	switch {
	case e.status >= 500 || e.status == http.StatusTooManyRequests:
		return e
	case slices.Contains(endOfSignIn, e.code):
		return &SignInError{Reason: fmt.Sprintf("%s (%s)", refused, e.words())}
	case slices.Contains(badClient, e.code):
		return &SignInError{Reason: fmt.Sprintf("%s does not accept this client (%s); look at the client id, its secret and the scopes", e.host, e.words())}
	}
	return e
}

// maxDescription bounds what is shown of a provider's own words.
const maxDescription = 200

// scrub returns the first line of a provider's words, shortened, and without the secrets that were sent to it.
func scrub(text string, secrets []string) string {
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[redacted]")
		}
	}
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	text = strings.ToValidUTF8(strings.TrimSpace(text), "?")
	if runes := []rune(text); len(runes) > maxDescription {
		text = string(runes[:maxDescription]) + "…"
	}
	return text
}

func host(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "the provider"
	}
	return u.Host
}

func quotedList(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = fmt.Sprintf("%q", word)
	}
	return strings.Join(quoted, " and ")
}
