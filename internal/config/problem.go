package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Error is everything that is wrong with a configuration.
type Error struct {
	Problems []Problem // at least one, sorted by line
}

// Error returns one line for each problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Problem is one mistake and what would be right.
type Problem struct {
	File string // as it was named to Load; "" when there is none
	Line int    // from 1; 0 when the whole file is meant
	Key  string // such as accounts[gmail].policy; "" when none is meant
	Text string // what is wrong; what would be right
}

// String returns "file:line: key: text", leaving out what is not known.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			b.WriteString(":" + strconv.Itoa(p.Line))
		}
		b.WriteString(": ")
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	return b.String() + p.Text
}

// maxProblems is how many are reported: aliases let a small file repeat one
// mistake without end.
const maxProblems = 1000

// fail notes a problem.
func (p *parser) fail(line int, key, format string, args ...any) {
	if len(p.problems) >= maxProblems {
		return
	}
	p.problems = append(p.problems, Problem{p.name, line, key, oneLine(fmt.Sprintf(format, args...))})
}

// maxText bounds a problem's text, which may quote what others wrote.
const maxText = 2000

// oneLine returns a text with its control characters escaped, cut when it is
// out of all proportion.
func oneLine(text string) string {
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	if !strings.ContainsFunc(text, unicode.IsControl) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if unicode.IsControl(r) {
			fmt.Fprintf(&b, `\x%02x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// err returns all problems as an *Error, or nil when there is none.
func (p *parser) err() error {
	if len(p.problems) == 0 {
		return nil
	}
	full := len(p.problems) == maxProblems
	slices.SortStableFunc(p.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	p.problems = slices.Compact(p.problems)
	if full {
		p.problems = append(p.problems, Problem{File: p.name, Text: "there may be more mistakes; mend these first"})
	}
	return &Error{Problems: p.problems}
}

// maxQuoted is how much of a value a message shows.
const maxQuoted = 60

// quoted shows a value with its control characters escaped, and not all of it
// when it is long.
func quoted(value string) string {
	if len(value) > maxQuoted {
		return strconv.Quote(value[:maxQuoted]) + "…"
	}
	return strconv.Quote(value)
}

// didYouMean returns "; did you mean X?" when one of the known words is near,
// else "".
func didYouMean(word string, known []string) string {
	if near := nearest(word, known); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// nearest returns the known word that word was probably meant to be, else "".
func nearest(word string, known []string) string {
	const longest = 64 // longer words are no typing mistakes, and distance is quadratic
	if word == "" || len(word) > longest {
		return ""
	}
	best, least := "", 1+max(1, len(word)/3)
	for _, candidate := range known {
		d := distance(plain(word), plain(candidate))
		if len(word) >= 4 && strings.HasPrefix(plain(candidate), plain(word)) {
			d = min(d, 1)
		}
		if d < least {
			best, least = candidate, d
		}
	}
	return best
}

// plain makes words equal that differ in case, hyphens and underscores alone.
func plain(word string) string {
	return strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(word))
}

// distance is how many bytes must be put in, taken out, replaced or swapped
// with their neighbour to make b of a.
func distance(a, b string) int {
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := last[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(replace, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
