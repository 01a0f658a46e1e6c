package main

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1: "1 B", 999: "999 B", 1000: "1.0 KB", 4700: "4.7 KB", 9949: "9.9 KB", 9950: "10 KB", 45_400_000: "45 MB",
		999_499: "999 KB", 999_500: "1.0 MB", 256 << 20: "268 MB", 5_000_000_000: "5.0 GB", 7 << 60: "8070 PB",
	} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestPlural(t *testing.T) {
	for n, want := range map[int]string{0: "0 messages", 1: "1 message", 300: "300 messages", 20000: "20,000 messages", 1234567: "1,234,567 messages"} {
		if got := plural(n, "message"); got != want {
			t.Errorf("plural(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestDurations(t *testing.T) {
	for d, want := range map[time.Duration][2]string{
		40 * time.Millisecond:                   {"0.0 s", "0:00"},
		2340 * time.Millisecond:                 {"2.3 s", "0:02"},
		59 * time.Second:                        {"59 s", "0:59"},
		61 * time.Second:                        {"1 min 1 s", "1:01"},
		time.Hour + 2*time.Minute:               {"1 h 2 min", "1:02:00"},
		26*time.Hour + 59*time.Second:           {"26 h 0 min", "26:00:59"},
		59*time.Minute + 59600*time.Millisecond: {"59 min 59 s", "1:00:00"},
	} {
		if got := took(d); got != want[0] {
			t.Errorf("took(%v) = %q, want %q", d, got, want[0])
		}
		if got := clock(d); got != want[1] {
			t.Errorf("clock(%v) = %q, want %q", d, got, want[1])
		}
	}
}

func TestAgo(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		-time.Hour: "just now", 0: "just now", 59 * time.Second: "just now", time.Minute: "1 minute ago", 59 * time.Minute: "59 minutes ago",
		time.Hour: "1 hour ago", 47 * time.Hour: "47 hours ago", 48 * time.Hour: "2 days ago", 800 * time.Hour: "33 days ago",
	} {
		if got := ago(now.Add(-d), now); got != want {
			t.Errorf("ago(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestOneLine(t *testing.T) {
	for s, want := range map[string]string{
		"plain text, Grüße, 你好": "plain text, Grüße, 你好",
		"two\nlines\r\n":        `two\nlines\r\n`,
		"\x1b[31mred":           `\x1b[31mred`,
		"bad \xff\xfe bytes":    `bad \xff\xfe bytes`,
		"right\u202eleft":       `right\u202eleft`,
		"\u009b31m":             `\u009b31m`,
		"said \"no\" and \\":    `said "no" and \`,
	} {
		if got := oneLine(s); got != want {
			t.Errorf("oneLine(%q) = %q, want %q", s, got, want)
		}
	}
}

// What a server says reaches the log in no form that a terminal obeys.
func TestLogIsEscaped(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		log, err := (&app{logFormat: format}).logger(&out, slog.LevelInfo)
		if err != nil {
			t.Fatal(err)
		}
		log.Warn("refused", "uid", "a\x1b[2J\u009b1m\u202eb\x7f\xff", "error", errors.New("said \u2066\u009b"))
		if text := strings.TrimSuffix(out.String(), "\n"); strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || !utf8.ValidString(text) {
			t.Errorf("%s: %q", format, text)
		}
	}
}

func TestWrapped(t *testing.T) {
	for _, test := range []struct {
		text, indent string
		width        int
		want         string
	}{
		{"", "", 10, "\n"},
		{"one two three", "", 20, "one two three\n"},
		{"one two three", "", 7, "one two\nthree\n"},
		{"one two three", "  ", 9, "one two\n  three\n"},
		{"https://example.org/long a", "    ", 10, "https://example.org/long\n    a\n"},
		{"/with  two/blanks", "", 30, "/with  two/blanks\n"},
		{"é你你 x", "", 5, "é你你\nx\n"},
	} {
		if got := wrapped(test.text, test.indent, test.width); got != test.want {
			t.Errorf("wrapped(%q, %q, %d) = %q, want %q", test.text, test.indent, test.width, got, test.want)
		}
	}
}
