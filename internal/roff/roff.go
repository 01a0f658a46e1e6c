// Package roff writes manual pages in the macros of man(7), as both groff and
// mandoc read them.
package roff

import (
	"bytes"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Page is a manual page in the making; Header begins it.
type Page struct {
	b     bytes.Buffer
	begun bool // a section: its first paragraph needs no macro
}

// Text is a piece of running text that is escaped already: the result of
// Plain, Bold, Italic, or several of them one behind the other.
type Text string

// escapes stands for what roff would take as its own, or set as another
// character than the one on the keyboard, which could not be copied into a
// shell then.
var escapes = strings.NewReplacer(`\`, `\e`, `-`, `\-`, `'`, `\(aq`, "`", `\(ga`, `^`, `\(ha`, `~`, `\(ti`, `"`, `\(dq`)

// Plain is text as it stands.
func Plain(s string) Text {
	var b strings.Builder
	for _, r := range escapes.Replace(s) {
		if r < utf8.RuneSelf {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\[u%04X]`, r)
		}
	}
	return Text(b.String())
}

// Bold is what the reader types as it stands: no word of it is hyphenated.
func Bold(s string) Text {
	if s == "" {
		return ""
	}
	return `\fB` + Text(strings.ReplaceAll(`\%`+string(Plain(s)), " ", ` \%`)) + `\fR`
}

// Italic is what the reader replaces by something of his own.
func Italic(s string) Text {
	if s == "" {
		return ""
	}
	return `\fI` + Plain(s) + `\fR`
}

// Header begins the page of name in a section. The date, version and manual
// stand in its head and foot; a zero date leaves it out.
func (p *Page) Header(name string, section int, date time.Time, version, manual string) {
	day := ""
	if !date.IsZero() {
		day = date.UTC().Format(time.DateOnly)
	}
	fmt.Fprintf(&p.b, ".TH \"%s\" \"%d\" \"%s\" \"%s\" \"%s\"\n", Plain(name), section, day, Plain(version), Plain(manual))
	p.b.WriteString(".ad l\n")
}

// Section begins a chapter, with a heading in capitals.
func (p *Page) Section(title string) {
	fmt.Fprintf(&p.b, ".SH \"%s\"\n", Plain(strings.ToUpper(title)))
	p.begun = true
}

// Subsection begins a part of a chapter.
func (p *Page) Subsection(title string) {
	fmt.Fprintf(&p.b, ".SS \"%s\"\n", Plain(title))
	p.begun = true
}

// Paragraph is text after an empty line.
func (p *Page) Paragraph(t Text) {
	if !p.begun {
		p.b.WriteString(".PP\n")
	}
	p.text(t)
}

// Line is a line of its own within a paragraph.
func (p *Page) Line(t Text) {
	p.b.WriteString(".br\n")
	p.text(t)
}

// Item is an entry of a list: its tags, one a line, and below and further right
// what is said of them.
func (p *Page) Item(t Text, tags ...Text) {
	for i, tag := range tags {
		if i == 0 {
			p.b.WriteString(".TP\n")
		} else {
			p.b.WriteString(".TQ\n")
		}
		p.text(tag)
	}
	p.text(t)
}

// Bullet is an entry of a list that begins with a mark, a dot or a number.
func (p *Page) Bullet(mark string, t Text) {
	if mark == "" {
		mark = `\(bu`
	}
	fmt.Fprintf(&p.b, ".IP \"%s\" 4\n", mark)
	p.text(t)
}

// More is a further paragraph of an Item or a Bullet.
func (p *Page) More(t Text) {
	p.b.WriteString(".IP\n")
	p.text(t)
}

// Code is lines that stay as they are. within tells that they belong to the
// Item or Bullet before.
func (p *Page) Code(code string, within bool) {
	begin, end := ".RS 4\n.EX\n", ".EE\n.RE\n"
	if within {
		begin, end = ".IP\n.EX\n", ".EE\n"
	}
	if !within && !p.begun {
		p.b.WriteString(".PP\n")
	}
	p.b.WriteString(begin)
	for line := range strings.SplitSeq(strings.TrimRight(code, "\n"), "\n") {
		p.text(Plain(line))
	}
	p.b.WriteString(end)
}

// text writes lines of which none is taken as a macro.
func (p *Page) text(t Text) {
	p.begun = false
	for line := range strings.SplitSeq(string(t), "\n") {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, " ") {
			p.b.WriteString(`\&`)
		}
		p.b.WriteString(line + "\n")
	}
}

// Bytes is the page so far.
func (p *Page) Bytes() []byte { return p.b.Bytes() }
