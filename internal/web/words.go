package web

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// plural is n with its noun: "1 message", "20,000 messages".
func plural[N int | int64](n N, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return grouped(int64(n)) + " " + noun
}

// grouped is n with a comma between thousands.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// size is a number of bytes in decimal units, as everywhere in popfetchd: "812 B", "4.7 KB", "45 MB".
func size(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v, unit := float64(n), ""
	for _, unit = range []string{"KB", "MB", "GB", "TB", "PB"} {
		v /= 1000
		if v < 999.5 {
			break
		}
	}
	if v < 9.95 {
		return strconv.FormatFloat(v, 'f', 1, 64) + " " + unit
	}
	return strconv.FormatFloat(v, 'f', 0, 64) + " " + unit
}

// span is a length of time in the one unit that fits: "35 seconds", "12 minutes", "3 hours", "5 days".
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return plural(int(d.Seconds()), "second")
	case d < time.Hour:
		return plural(int(d.Minutes()), "minute")
	case d < 48*time.Hour:
		return plural(int(d.Hours()), "hour")
	}
	return plural(int(d.Hours()/24), "day")
}

// ago says how long before now t was.
func ago(t, now time.Time) string {
	if now.Sub(t) < time.Minute {
		return "just now"
	}
	return span(now.Sub(t)) + " ago"
}

// until says how long after now t is.
func until(t, now time.Time) string {
	switch d := t.Sub(now); {
	case d <= 0:
		return "now"
	case d < time.Minute:
		return "in less than a minute"
	default:
		return "in " + span(d)
	}
}

// moment is a time of the day, with the day when that is not near, and the year when it is far.
func moment(t, now time.Time) string {
	t, now = t.Local(), now.Local()
	switch d := t.Sub(now).Abs(); {
	case d > 300*24*time.Hour:
		return t.Format("2 Jan 2006")
	case d > 20*time.Hour:
		return t.Format("2 Jan 15:04")
	}
	return t.Format("15:04")
}

// visible is text from somewhere else, fit to be shown in one line of at most so many characters. What would order the text around
// it anew or show nothing at all is left out, and white space and control characters are single spaces.
func visible(text string, most int) string {
	var b strings.Builder
	n, space := 0, false
	for _, r := range text {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			space = n > 0
			continue
		case hidden(r):
			continue
		}
		if space {
			b.WriteByte(' ')
			n++
		}
		space = false
		if n >= most {
			return strings.TrimRightFunc(b.String(), func(r rune) bool { return r == ' ' || unicode.Is(unicode.M, r) }) + "…"
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}

// hidden tells characters that are not to be seen themselves: overrides of the text's direction (Unicode Standard Annex 9, X1 to
// X5c), tags, and what nobody has assigned. Joiners and variation selectors belong to the letter before.
func hidden(r rune) bool {
	switch r {
	case '\u200c', '\u200d', '\u200e', '\u200f', '\u061c', utf8.RuneError:
		return false
	}
	return !unicode.IsGraphic(r)
}
