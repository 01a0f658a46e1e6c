package config

import (
	"fmt"
	"io"
	"log/slog"
	"net/url"
)

// Hidden is a text that others may not see: an address that whoever knows it
// may post to, or the value of a header. Whatever prints it shows the host of
// an address at most. A conversion to string gives all of it.
type Hidden string

// String returns what may be shown.
func (h Hidden) String() string {
	if u, err := url.Parse(string(h)); err == nil && u.Host != "" && u.Scheme != "" {
		return u.Scheme + "://" + u.Host + "/" + redacted
	}
	return redacted
}

// Format writes what may be shown, whatever the verb.
func (h Hidden) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, h.String()) }

// MarshalText returns what may be shown; JSON and others use it.
func (h Hidden) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// LogValue returns what may be shown.
func (h Hidden) LogValue() slog.Value { return slog.StringValue(h.String()) }
