package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Policy says what becomes of the server's copy once a message is stored here,
// in the words of Gmail's "When messages are accessed with POP".
type Policy string

const (
	// Keep leaves the server's copy alone.
	Keep Policy = "keep"
	// MarkRead tells that Gmail marks its copy as read, which it does itself.
	MarkRead Policy = "mark-read"
	// Archive tells that Gmail archives its copy, which it does itself.
	Archive Policy = "archive"
	// Delete has the server delete its copy.
	Delete Policy = "delete"
)

// Access says which of the mail on the server is wanted, in Gmail's words.
type Access string

const (
	// AllMail is all that the server lists.
	AllMail Access = "all-mail"
	// FromNowOn takes the first listing as already had.
	FromNowOn Access = "from-now-on"
)

// The values of Account.TLS.
const (
	tlsImplicit = "implicit"
	tlsStart    = "starttls"
	tlsNone     = "none"
)

// Fingerprint is the SHA-256 of a certificate's DER form.
type Fingerprint [sha256.Size]byte

// String returns 64 hexadecimal digits.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// parseFingerprint reads 64 hexadecimal digits, with colons between as openssl
// writes them or without.
func parseFingerprint(text string) (Fingerprint, error) {
	digits := strings.ReplaceAll(text, ":", "")
	raw, err := hex.DecodeString(digits)
	if err != nil || len(raw) != sha256.Size {
		return Fingerprint{}, fmt.Errorf("%s is no SHA-256; give 64 hexadecimal digits, as printed by openssl x509 -noout -fingerprint -sha256", quoted(text))
	}
	return Fingerprint(raw), nil
}

// unit is a suffix of a number and what it stands for.
type unit struct {
	name   string
	amount int64
}

var sizeUnits = []unit{
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9},
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
	{"", 1},
}

// ParseSize reads a number of bytes above 0, such as 50MB, 64MiB or 1000000.
func ParseSize(text string) (int64, error) {
	const right = "write a whole number with KB, MB, GB, KiB, MiB or GiB, as in 50MB"
	digits := strings.TrimRight(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
	n, ok := wholeNumber(digits)
	if !ok {
		return 0, fmt.Errorf("%s is not a size; %s", quoted(text), right)
	}
	for _, u := range sizeUnits {
		if text[len(digits):] != u.name {
			continue
		}
		if n == 0 {
			return 0, errors.New("must be more than 0; leave the key out for no limit")
		}
		if n > math.MaxInt64/u.amount {
			return 0, fmt.Errorf("%s is larger than any message; %s", quoted(text), right)
		}
		return n * u.amount, nil
	}
	return 0, fmt.Errorf("%s is not a size; %s", quoted(text), right)
}

// parseLimit reads a size, or off.
func parseLimit(text string) (int64, error) {
	if text == "off" {
		return 0, nil
	}
	n, err := ParseSize(text)
	if err != nil && text == "0" {
		return 0, errors.New("must be more than 0; write off for no limit")
	}
	return n, err
}

var durationUnits = map[byte]time.Duration{
	's': time.Second,
	'm': time.Minute,
	'h': time.Hour,
	'd': 24 * time.Hour,
	'w': 7 * 24 * time.Hour,
}

// maxDuration is 100 years: beyond it, dates overflow.
const maxDuration = 36500 * 24 * time.Hour

// ParseDuration reads a time span above 0 such as 30s, 15m, 12h, 30d, 2w or
// 1h30m. A day has 24 hours.
func ParseDuration(text string) (time.Duration, error) {
	const right = "write a whole number with s, m, h, d or w, as in 30s, 15m, 12h, 30d or 2w"
	var sum time.Duration
	rest := text
	for rest != "" {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		n, ok := wholeNumber(rest[:digits])
		if !ok || digits == len(rest) || durationUnits[rest[digits]] == 0 {
			return 0, fmt.Errorf("%s is not a time span; %s", quoted(text), right)
		}
		each := durationUnits[rest[digits]]
		if n > int64((maxDuration-sum)/each) {
			return 0, fmt.Errorf("%s is more than 100 years; %s", quoted(text), right)
		}
		sum += time.Duration(n) * each
		rest = rest[digits+1:]
	}
	if sum == 0 {
		return 0, fmt.Errorf("%s is no time at all; %s", quoted(text), right)
	}
	return sum, nil
}

// wholeNumber reads decimal digits and nothing else.
func wholeNumber(digits string) (int64, bool) {
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, err == nil
}

// parseTimeout bounds a timeout: less than a second fails on a slow line, more
// than an hour waits for the dead.
func parseTimeout(text string) (time.Duration, error) {
	d, err := ParseDuration(text)
	if err == nil && d > time.Hour {
		return 0, fmt.Errorf("%s is too long; give from 1s to 1h", quoted(text))
	}
	return d, err
}

// number makes a parser of whole numbers from least to most.
func number(least, most int64) func(string) (int, error) {
	return func(text string) (int, error) {
		n, ok := wholeNumber(text)
		if !ok || n < least || n > most {
			return 0, fmt.Errorf("%s is not a whole number from %d to %d", quoted(text), least, most)
		}
		return int(n), nil
	}
}

// oneOf makes a parser of words.
func oneOf[T ~string](known ...T) func(string) (T, error) {
	return func(text string) (T, error) {
		words := make([]string, len(known))
		for i, k := range known {
			words[i] = string(k)
			if text == words[i] {
				return k, nil
			}
		}
		near := strings.TrimPrefix(didYouMean(text, words), ";")
		if near != "" {
			return "", fmt.Errorf("%s is unknown;%s known: %s", quoted(text), near, strings.Join(words, ", "))
		}
		return "", fmt.Errorf("%s is unknown; known: %s", quoted(text), strings.Join(words, ", "))
	}
}

func parseBool(text string) (bool, error) {
	switch text {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%s is neither true nor false; write one of them", quoted(text))
}

func parsePipelining(text string) (bool, error) {
	word, err := oneOf("auto", "off")(text)
	return word == "auto", err
}

// accountName is what names look like: they go into file names and messages.
var accountName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$`)

func parseName(text string) (string, error) {
	if !accountName.MatchString(text) {
		return "", fmt.Errorf("%s cannot be a name; use up to 64 letters, digits and . _ @ + -, and begin with a letter or digit", quoted(text))
	}
	return text, nil
}

// hostName is what host names look like; underscores do occur in home networks.
var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})$`)

func parseHost(text string) (string, error) {
	if _, err := netip.ParseAddr(text); err == nil {
		return text, nil
	}
	if hostName.MatchString(text) {
		return text, nil
	}
	advice := "give a host name or an address"
	if _, after, found := strings.Cut(text, "://"); found {
		advice = "leave out what stands before " + quoted(after)
	} else if strings.HasPrefix(text, "[") {
		advice = "write an IPv6 address without brackets"
	} else if strings.Contains(text, ":") {
		advice = "write the port as port: 995"
	} else if !ascii(text) {
		advice = "write an international name in its xn-- form"
	}
	return "", fmt.Errorf("%s is not a host; %s", quoted(text), advice)
}

func ascii(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r > 0x7e })
}

func parseUsername(text string) (string, error) {
	if strings.ContainsFunc(text, isControl) {
		return "", errors.New("holds a control character; write the name as the server knows it")
	}
	return text, nil
}

// isControl says whether a character has no place in a user name or password:
// a line end would be a command of its own (RFC 1939 section 3).
func isControl(r rune) bool { return r < 0x20 || r == 0x7f }
