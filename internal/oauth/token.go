package oauth

import (
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Token is what a sign-in or a refresh gave. However it is printed, logged or encoded, its tokens are left out.
type Token struct {
	Access  string
	Refresh string
	Issued  time.Time // when the access token was asked for
	Expiry  time.Time // of the access token; zero: not told
	Scopes  []string  // what it allows
}

// Allows says whether the token was granted a scope.
func (t Token) Allows(scope string) bool {
	return len(missingScopes([]string{scope}, t.Scopes)) == 0
}

// left is how long the access token lasts from now. One that came without an expiry lasts until it is refused.
func (t Token) left(now time.Time) time.Duration {
	switch {
	case t.Access == "":
		return -1
	case t.Expiry.IsZero():
		return 1<<63 - 1
	}
	return t.Expiry.Sub(now)
}

// String says how long the token lasts, and nothing of it.
func (t Token) String() string {
	if t.Expiry.IsZero() {
		return "token [redacted]"
	}
	return "token [redacted] until " + t.Expiry.UTC().Format(time.RFC3339)
}

// Format writes what String returns, whatever the verb.
func (t Token) Format(f fmt.State, _ rune) { io.WriteString(f, t.String()) }

// MarshalText returns what String does; JSON and others use it. Stores have a form of their own.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// LogValue returns what String does.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// String names the client and its addresses, not its secret.
func (c Client) String() string {
	return fmt.Sprintf("client %q at %q", c.ID, c.TokenURL)
}

// Format writes what String returns, whatever the verb.
func (c Client) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// MarshalText returns what String does; JSON and others use it.
func (c Client) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// LogValue returns what String does.
func (c Client) LogValue() slog.Value { return slog.StringValue(c.String()) }
