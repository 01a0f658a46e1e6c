package store

import (
	"context"
	"crypto/sha256"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// bareOf is the model: a message without the fields of mail readers, line by
// line.
func bareOf(mail string) string {
	var b strings.Builder
	header, dropping := true, false
	for line := range strings.Lines(mail) {
		name, _, colon := strings.Cut(line, ":")
		switch {
		case !header:
			dropping = false
		case line == "\n":
			header, dropping = false, false
		case line[0] == ' ' || line[0] == '\t':
		case !colon:
			dropping = false
		default:
			switch strings.ToLower(name) {
			case "status", "x-status", "content-length", "lines", "x-keywords", "x-uid", "x-uidl", "x-imap", "x-imapbase",
				"x-mozilla-status", "x-mozilla-status2", "x-mozilla-keys":
				dropping = true
			default:
				dropping = false
			}
		}
		if !dropping {
			b.WriteString(line)
		}
	}
	return b.String()
}

func contentOf(mail string) Content {
	virtual := len(mail) + strings.Count(mail, "\n") - strings.Count(mail, "\r\n")
	return Content{int64(len(mail)), int64(virtual), sha256.Sum256([]byte(mail))}
}

// withFields draws a header as mail readers leave it, and a body.
func withFields() *rapid.Generator[string] {
	line := rapid.OneOf(
		rapid.SampledFrom([]string{
			"Status: RO\n", "X-Status: A\n", "status:\n", "Content-Length: 77\n", "Lines: 3\n", "X-IMAPbase: 1 2\n", "X-Mozilla-Status2: 00\n",
			"Status\n", "Statuses: x\n", "X-Mozilla-Statuses: x\n", " Status: folded\n", "\tx\n", ": x\n", "Subject: x\n", "Status : x\n", "\n", "\r\n", "Status:",
		}),
		rapid.StringMatching(`[A-Za-z-]{1,30}: [ -~]{0,30}\n`),
		rapid.Just("X-Long: "+strings.Repeat("x", chunkSize)+"\n"),
	)
	return rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOfN(line, 0, 12).Draw(t, "lines"), "") })
}

func bareBoth(t rapid.TB, mail string, sizes []int) {
	t.Helper()
	d := newBareDigest()
	for range 2 { // the second time after a reset
		r := smallReads{data: []byte(mail), sizes: sizes}
		buf := make([]byte, chunkSize)
		for len(r.data) > 0 {
			n := must(r.Read(buf))(t)
			must(d.Write(buf[:n]))(t)
		}
		whole, bare := d.end()
		if whole != contentOf(mail) || bare != contentOf(bareOf(mail)) {
			t.Fatalf("%.300q is %+v and %+v, want %+v and %+v", mail, whole, bare, contentOf(mail), contentOf(bareOf(mail)))
		}
		d.reset()
	}
}

func TestBareDigestIsTheModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		bareBoth(t, withFields().Draw(t, "mail"), rapid.SliceOfN(rapid.SampledFrom([]int{1, 2, 3, 7, 19, 20, 21, 4096}), 0, 4).Draw(t, "writes"))
	})
}

func FuzzBareDigest(f *testing.F) {
	for _, mail := range []string{"", "\n", "Status: O\n", "A: b\nStatus: O\n more\nC: d\n\nStatus: x\n", "Status", "status:x", " x\nLines: 1"} {
		f.Add(mail, uint8(0), uint8(2))
	}
	f.Fuzz(func(t *testing.T, mail string, x, y uint8) {
		bareBoth(t, mail, []int{int(x) + 1, int(y) + 1})
	})
}

// rewritten is an mbox as mutt leaves it, with fields of its own at the end of
// every header.
func rewritten(data string) string {
	var b strings.Builder
	header := false
	for line := range strings.Lines(data) {
		if strings.HasPrefix(line, "From ") {
			header = true
		} else if header && line == "\n" {
			b.WriteString("Status: RO\nContent-Length: 4711\nLines: 5\n")
			header = false
		}
		b.WriteString(line)
	}
	return b.String()
}

// A mail reader that rewrites an mbox changes headers. The messages are the
// same all the same, one of which was deleted, and once their new places are
// known all is well.
func TestVerifyOfMailThatWasRead(t *testing.T) {
	m := newMbox(t)
	messages := put(t, m, 0,
		"Subject: 0\r\n\r\nzero\r\n",
		"Subject: 1\r\n\r\none\r\n\r\nFrom me\r\n",
		"Subject: 2\r\nStatus: RO\r\n\r\ncame with such a field\r\n",
		"Subject: 3\r\n\r\ntwin\r\n",
		"Subject: 3\r\n\r\ntwin\r\n",
		"Subject: 5\r\n\r\n"+strings.Repeat("five\r\n", chunkSize/3))
	at := messages[1].Location
	data := read(t, m.path)
	untouched := data[messages[4].Location.Offset:][:messages[4].Location.Length]
	write(t, m.path, rewritten(data[:at.Offset]+data[at.Offset+at.Length:])+untouched)

	for _, read := range []bool{false, true} {
		findings := must(m.Verify(context.Background(), messages, read))(t)
		// What it came with cannot be told from what was added.
		wantFindings(t, findings, messages, map[int]Damage{0: Moved, 1: Missing, 2: Missing, 3: Moved, 4: Moved, 5: Moved})
		offsets := make(map[int64]bool)
		var there []Message
		for _, f := range findings {
			if f.Damage != Moved {
				continue
			}
			if offsets[f.Found.Offset] {
				t.Errorf("two messages are said to stand at %d", f.Found.Offset)
			}
			offsets[f.Found.Offset] = true
			f.Message.Location = f.Found
			there = append(there, f.Message)
		}
		if again := must(m.Verify(context.Background(), there, read))(t); len(again) > 0 {
			t.Errorf("at their new places: %+v", again)
		}
	}
	found := surveyed(t, m)
	for i, bare := range []int{0, -1, 3, 4, 5, 4} {
		if bare >= 0 && found[i].Bare.SHA256 != messages[bare].SHA256 {
			t.Errorf("piece %d is not message %d", i, bare)
		}
	}
}
