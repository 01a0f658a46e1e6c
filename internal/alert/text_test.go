package alert

import (
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/popfetchd/popfetchd/internal/ledger"
)

// Subjects say whose trouble it is and what to do, within what a phone shows of one; texts are lines without surprises.
func TestTexts(t *testing.T) {
	for _, test := range []struct{ kind, text, subject string }{
		{Silence, "no connection: refused", "gmail: not fetched for 26 hours"},
		{Refused, "server refused PASS", "gmail: login refused, check the password"},
		{SignIn, "the sign-in has expired or was revoked", "gmail: sign in again"},
		{Certificate, "certificate of pop.example.net expired on 2026-11-21", "gmail: the server's certificate expired"},
		{Certificate, "certificate of pop.example.net is valid only from 2026-11-21: set the clock right, or", "gmail: certificate not valid yet, check the clock"},
		{Certificate, "certificate of pop.example.net is signed by x, which is not trusted", "gmail: certificate not trusted, look why"},
		{Disk, "writing /mail: no space left on device; the disk is full: free some space", "gmail: disk full, free some space"},
		{Disk, "ledger /l: recording: database or disk is full; make room on the disk", "gmail: disk full, free some space"},
		{Disk, "writing /mail: disk quota exceeded", "gmail: disk quota used up, free some space"},
		{Disk, "writing /mail: read-only file system", "gmail: disk read-only, look at it"},
		{Disk, "opening /mail: permission denied", "gmail: mail cannot be stored, mend the mailbox"},
		{Ledger, "the file is damaged", "gmail: ledger damaged, bring back a backup"},
		{Configuration, "password_file: no such file", "gmail: configuration cannot be used, mend it"},
		{SetAside, "3 messages set aside after several tries", "gmail: 3 messages could not be fetched"},
		{SetAside, "1 message over max_message_size and left on the server", "gmail: 1 message too large, left there"},
		{Settings, "the file says policy: keep", "gmail: Gmail's POP settings differ"},
		{"of a later version", "?", "gmail: trouble, see inside"},
	} {
		hostile := test.text + "\r\nBcc: all@example.net\n\n.\n\x1b[2J\u202e"
		incident := ledger.Incident{Account: "gmail", Kind: test.kind, Since: noon.Add(-26 * time.Hour), Text: hostile}
		m := compose(Trouble, []ledger.Incident{incident}, "nas", noon, 7*24*time.Hour)
		if m.Subject != test.subject || len(m.Subject) > 60 {
			t.Errorf("%s: subject %q, want %q", test.kind, m.Subject, test.subject)
		}
		for line := range strings.Lines(m.Text) {
			line, ended := strings.CutSuffix(line, "\n")
			if !ended || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) || line == "." || strings.HasPrefix(line, "Bcc") {
				t.Errorf("%s: line %q", test.kind, line)
			}
		}
		for _, part := range []string{"What to do: ", "again in a week if it lasts", "popfetchd on nas\n", test.text} {
			if !strings.Contains(m.Text, part) {
				t.Errorf("%s: no %q in\n%s", test.kind, part, m.Text)
			}
		}
		over := compose(AllClear, []ledger.Incident{incident}, "nas", noon, 0)
		if over.Subject != "gmail: fine again" || !strings.HasPrefix(over.Text, "gmail: over after 26 hours: ") || !strings.Contains(over.Text, "nothing to do") {
			t.Errorf("%s: %q\n%s", test.kind, over.Subject, over.Text)
		}
	}
}

func TestWholeText(t *testing.T) {
	since := noon.Add(-2 * time.Hour)
	m := compose(Trouble, []ledger.Incident{
		{Account: "isp", Kind: Refused, Since: since, Text: `account isp: logging in to pop.example.net:995: server refused PASS: [AUTH] "no"`},
	}, "nas", noon, 7*24*time.Hour)
	want := `isp: the server refuses the login.
What to do: look at the details; as a rule the password was changed or revoked: put the new one where the configuration says, it is tried at once.
Nothing is lost: mail waits on the server until then.
Since: ` + since.Local().Format(moments) + `
Details: account isp: logging in to pop.example.net:995: server refused PASS: [AUTH] "no"

You are told this once, again in a week if it lasts, and when it is over.
popfetchd status tells more.

popfetchd on nas
`
	if m.Text != want {
		t.Errorf("text\n%s, want\n%s", m.Text, want)
	}
	differ := []ledger.Incident{{Account: "joe", Kind: Settings, Since: since}, {Account: "ann", Kind: Settings, Since: since}}
	for n, more := range map[int]string{1: "popfetchd gmail settings joe", 2: "popfetchd gmail settings joe ann"} {
		if text := compose(Trouble, differ[:n], "nas", noon, 0).Text; !strings.Contains(text, "\n"+more+" tells more.\n") {
			t.Errorf("%q is not named by\n%s", more, text)
		}
	}
	both := append(differ, ledger.Incident{Account: "joe", Kind: Refused, Since: since})
	if text := compose(Trouble, both, "nas", noon, 0).Text; !strings.Contains(text, "\npopfetchd status tells more.\n") {
		t.Errorf("status is not named by\n%s", text)
	}
	huge := compose(Trouble, []ledger.Incident{{Account: "isp", Kind: Refused, Since: since, Text: strings.Repeat("x", 1<<20)}}, "nas", noon, 0)
	if len(huge.Text) > 4<<10 || strings.Contains(huge.Text, "again in") {
		t.Errorf("%d bytes", len(huge.Text))
	}
}
