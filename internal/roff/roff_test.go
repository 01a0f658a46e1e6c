package roff

import (
	"testing"
	"time"
)

// What roff would take for itself comes out as it was written.
func TestEscapes(t *testing.T) {
	for text, want := range map[string]string{
		`C:\new`:  `C:\enew`,
		"--once":  `\-\-once`,
		"it's `~": `it\(aqs \(ga\(ti`,
		`"^"`:     `\(dq\(ha\(dq`,
		"a…é":     `a\[u2026]\[u00E9]`,
	} {
		if got := Plain(text); string(got) != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if Bold("") != "" || Italic("") != "" || Bold("a-b c") != `\fB\%a\-b \%c\fR` || Italic("x") != `\fIx\fR` {
		t.Error("fonts", Bold("a-b c"), Italic("x"))
	}
}

// A page as groff and mandoc want it; no line of a text is a macro.
func TestPage(t *testing.T) {
	p := &Page{}
	p.Header("mail-x", 5, time.Unix(86400, 0), "1.0", "Formats")
	p.Section("Name")
	p.Paragraph("a")
	p.Paragraph(".b\n b")
	p.Line("c")
	p.Item("d", "t1", "t2")
	p.More("e")
	p.Code("'x\n.y\n", true)
	p.Bullet("", "f")
	p.Subsection("Sub")
	p.Code("z", false)
	p.Code("z", false)
	want := `.TH "mail\-x" "5" "1970-01-02" "1.0" "Formats"
.ad l
.SH "NAME"
a
.PP
\&.b
\& b
.br
c
.TP
t1
.TQ
t2
d
.IP
e
.IP
.EX
\(aqx
\&.y
.EE
.IP "\(bu" 4
f
.SS "Sub"
.RS 4
.EX
z
.EE
.RE
.PP
.RS 4
.EX
z
.EE
.RE
`
	if got := string(p.Bytes()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
