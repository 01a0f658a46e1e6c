package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestVerifyMaildir(t *testing.T) {
	m := newMaildir(t)
	messages := put(t, m, 0, "zero\r\n", "one\r\n", "two\r\n", "three\r\n", "four\r\n", "five\r\n")
	path := func(i int) string { return filepath.Join(m.path, "new", messages[i].Location.Name) }
	check(t, os.Rename(path(0), filepath.Join(m.path, "cur", messages[0].Location.Name+":2,RS")))
	check(t, os.Remove(path(1)))
	write(t, path(2), "short")
	write(t, path(3), "THREE\n") // the same size
	check(t, os.Remove(path(4)))
	check(t, os.Mkdir(path(4), 0o700))

	quick := must(m.Verify(context.Background(), messages, false))(t)
	wantFindings(t, quick, messages, map[int]Damage{1: Missing, 2: Changed, 4: Changed})
	thorough := must(m.Verify(context.Background(), messages, true))(t)
	wantFindings(t, thorough, messages, map[int]Damage{1: Missing, 2: Changed, 3: Changed, 4: Changed})

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := m.Verify(ctx, messages, true); !errors.Is(err, context.Canceled) {
		t.Errorf("when cancelled it said %v", err)
	}
	if err := m.Copy(t.Output(), messages[1].Location); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Copy of a missing message said %v", err)
	}
	check(t, os.RemoveAll(m.path))
	if gone := must(m.Verify(context.Background(), messages, false))(t); len(gone) != len(messages) || len(names(t, m.path)) > 0 {
		t.Errorf("of a removed Maildir %d messages are missing", len(gone))
	}
}

// wantFindings compares findings with those wanted, by index, in order.
func wantFindings(t rapid.TB, got []Finding, messages []Message, want map[int]Damage) {
	t.Helper()
	for i, message := range messages {
		damage, wrong := want[i]
		if !wrong {
			continue
		}
		if len(got) == 0 {
			t.Errorf("message %d is not found %v", i, damage)
			continue
		}
		if got[0].Message != message || got[0].Damage != damage || got[0].Detail == "" {
			t.Errorf("message %d: %+v, want %v", i, got[0], damage)
		}
		got = got[1:]
	}
	if len(got) > 0 {
		t.Errorf("found wrong as well: %+v", got)
	}
}

// A message that a mail reader has put into a subfolder is told from one that
// is gone; copies elsewhere do not matter to one that is in its place.
func TestVerifyFindsMailInSubfolders(t *testing.T) {
	m := newMaildir(t)
	messages := put(t, m, 0, "zero\r\n", "one\r\n", "two\r\n", "three\r\n", "four\r\n", "five\r\n")
	path := func(i int) string { return filepath.Join(m.path, "new", messages[i].Location.Name) }
	for _, name := range []string{".Archive/cur", ".Archive/new", ".Sent.2024/cur", ".Sent.2024/new", "plain/cur", ".Archive/.Deep/cur"} {
		check(t, os.MkdirAll(filepath.Join(m.path, name), 0o700))
	}
	write(t, filepath.Join(m.path, ".file"), "")
	move := func(i int, sub, flags string) {
		check(t, os.Rename(path(i), filepath.Join(m.path, sub, messages[i].Location.Name+flags)))
	}
	check(t, os.Link(path(0), filepath.Join(m.path, ".Archive/cur", messages[0].Location.Name+":2,")))
	move(1, ".Archive/new", "")
	check(t, os.Link(filepath.Join(m.path, ".Archive/new", messages[1].Location.Name), filepath.Join(m.path, ".Sent.2024/cur", messages[1].Location.Name)))
	move(2, ".Sent.2024/cur", ":2,RS")
	move(3, "plain/cur", ":2,")
	move(4, ".Archive/.Deep/cur", ":2,")
	write(t, path(5), "FIVE\n")
	move(5, ".Archive/cur", ":2,")

	for _, read := range []bool{false, true} {
		want := map[int]Damage{1: Moved, 2: Moved, 3: Missing, 4: Missing, 5: Moved}
		if read {
			want[5] = Changed
		}
		findings := must(m.Verify(context.Background(), messages, read))(t)
		wantFindings(t, findings, messages, want)
		for _, f := range findings {
			if (f.Damage == Moved) != (f.Found != Location{}) {
				t.Errorf("%+v", f)
			}
		}
		if at := findings[1].Found; at != (Location{Path: filepath.Join(m.path, ".Sent.2024"), Name: messages[2].Location.Name}) {
			t.Errorf("message 2 is said to be at %+v", at)
		}
	}
}

// unmoved returns the findings that are damage, after a look at the others.
func unmoved(t rapid.TB, m *Mbox, findings []Finding) (damage []Finding) {
	t.Helper()
	for _, f := range findings {
		switch {
		case f.Damage != Moved && f.Found == Location{}:
			damage = append(damage, f)
		case f.Damage != Moved || f.Found.Path != m.path || f.Found == f.Message.Location || f.Detail == "":
			t.Errorf("odd: %+v", f)
		default:
			d := newDigest()
			check(t, m.Copy(d, f.Found))
			if d.sha256() != f.Message.SHA256 {
				t.Errorf("where the message should be is another one: %+v", f)
			}
		}
	}
	return damage
}

func TestVerifyMbox(t *testing.T) {
	m := newMbox(t)
	twin := "twin\r\n"
	messages := put(t, m, 0, "zero\r\n", "From one\r\n", twin, twin, "four, no end", "")
	data := read(t, m.path)
	verify := func(data string, read bool, want map[int]Damage) {
		t.Helper()
		write(t, m.path, data)
		findings := must(m.Verify(context.Background(), messages, read))(t)
		wantFindings(t, unmoved(t, m, findings), messages, want)
	}
	cut := func(i int) string {
		at := messages[i].Location
		return data[:at.Offset] + data[at.Offset+at.Length:]
	}
	for _, read := range []bool{false, true} {
		verify(data, read, nil)
		verify(data+"From other\n\n", read, nil)
		verify("From other\nx\n\n"+data, read, nil) // moved
		verify(cut(0), read, map[int]Damage{0: Missing})
		verify(cut(3), read, map[int]Damage{3: Missing})
		verify(cut(2)+"From x\ntwin\n\n", read, nil)
		verify(data[:len(data)-3], read, map[int]Damage{5: Missing})
		verify("", read, map[int]Damage{0: Missing, 1: Missing, 2: Missing, 3: Missing, 4: Missing, 5: Missing})
	}
	verify(strings.Replace(data, "four", "FOUR", 1), false, nil)
	verify(strings.Replace(data, "four", "FOUR", 1), true, map[int]Damage{4: Changed})
	verify("From other\nx\n\n"+strings.Replace(data, "four", "FOUR", 1), true, map[int]Damage{4: Missing})
	check(t, os.Remove(m.path))
	if gone := must(m.Verify(context.Background(), messages, false))(t); len(gone) != len(messages) {
		t.Errorf("of a removed mbox %d messages are missing", len(gone))
	}
	if got := names(t, filepath.Dir(m.path)); len(got) > 0 {
		t.Errorf("Verify made %q", got)
	}
}

// Messages longer than any buffer are found by content as well.
func TestVerifyMovedLargeMessages(t *testing.T) {
	m := newMbox(t)
	messages := put(t, m, 0, strings.Repeat("x", 3*chunkSize), strings.Repeat("From x\r\n\r\n", chunkSize/4), strings.Repeat(">", 2*chunkSize)+"From \r\n")
	write(t, m.path, "junk before the first\nFrom line\n\n"+read(t, m.path))
	findings := must(m.Verify(context.Background(), messages, true))(t)
	wantFindings(t, findings, messages, map[int]Damage{0: Moved, 1: Moved, 2: Moved})
	wantFindings(t, unmoved(t, m, findings), messages, nil)
}

// Messages of the same length that have moved up by one: each stands framed
// where another did, but the one that is gone is named, and no other.
func TestVerifyShiftedByOne(t *testing.T) {
	m := newMbox(t)
	messages := put(t, m, 0, "aaa\r\n", "bbb\r\n", "ccc\r\n", "ddd\r\n")
	at := messages[1].Location
	data := read(t, m.path)
	write(t, m.path, data[:at.Offset]+data[at.Offset+at.Length:])
	for _, read := range []bool{false, true} {
		findings := must(m.Verify(context.Background(), messages, read))(t)
		wantFindings(t, findings, messages, map[int]Damage{1: Missing, 2: Moved, 3: Moved})
		wantFindings(t, unmoved(t, m, findings), messages, map[int]Damage{1: Missing})
	}
}

// Two that are said to lie at one place need two messages.
func TestVerifyOfOnePlaceForTwo(t *testing.T) {
	m := newMbox(t)
	messages := put(t, m, 0, "mail\r\n", "mail\r\n")
	messages[1].Location = messages[0].Location
	wantFindings(t, must(m.Verify(context.Background(), messages, true))(t), messages, map[int]Damage{1: Moved})
	check(t, os.Truncate(m.path, messages[0].Location.Length))
	for _, read := range []bool{false, true} {
		wantFindings(t, must(m.Verify(context.Background(), messages, read))(t), messages, map[int]Damage{1: Missing})
	}
}

// A drawn mbox is put together anew from drawn pieces of it. Of each content
// as many messages are found as are expected and there, each at a place of its
// own; what is not reported lies where it was stored.
func TestVerifyOfRewrittenMbox(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		dir := must(os.MkdirTemp("", "verify"))(t)
		defer os.RemoveAll(dir)
		m := must(OpenMbox(filepath.Join(dir, "box"), Options{Account: "test", SpoolDir: dir, Hostname: testHost}))(t)
		few := rapid.SampledFrom([]string{"", "a\r\n", "b\r\n", "From c\r\n", "longer\r\n"})
		mails := rapid.SliceOfN(few, 1, 6).Draw(t, "mails")
		messages := put(t, m, 0, mails...)
		data := read(t, m.path)
		var rewritten strings.Builder
		copies := make(map[[32]byte]int)
		for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(mails)), 0, 8).Draw(t, "pieces") {
			if i == len(mails) {
				rewritten.WriteString("From a@b Thu Jan  1 00:00:00 1970\nof others\n\n")
				continue
			}
			at := messages[i].Location
			rewritten.WriteString(data[at.Offset:][:at.Length])
			copies[messages[i].SHA256]++
		}
		write(t, m.path, rewritten.String())
		findings := must(m.Verify(context.Background(), messages, true))(t)
		places := make(map[int64]bool)
		for _, message := range messages {
			place := message.Location
			if len(findings) > 0 && findings[0].Message == message {
				place, findings = findings[0].Found, findings[1:]
				if place == (Location{}) {
					continue // counted below
				}
			}
			copies[message.SHA256]--
			d := newDigest()
			check(t, m.Copy(d, place))
			if places[place.Offset] || d.sha256() != message.SHA256 {
				t.Fatalf("%+v is said to lie at %+v", message, place)
			}
			places[place.Offset] = true
		}
		for _, finding := range must(m.Verify(context.Background(), messages, true))(t) {
			if finding.Damage != Moved && copies[finding.Message.SHA256] > 0 {
				t.Fatalf("%+v, but a copy is there", finding)
			}
		}
	})
}

// A Maildir's subfolders are told by their names, also where they are links, but for one to the Maildir itself; a file has none,
// nor has what is not there.
func TestSubfolders(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".b", ".a.c", "cur", "new", "plain"} {
		check(t, os.Mkdir(filepath.Join(dir, name), 0o700))
	}
	check(t, os.WriteFile(filepath.Join(dir, ".file"), nil, 0o600))
	check(t, os.Symlink("plain", filepath.Join(dir, ".link")))
	check(t, os.Symlink(".", filepath.Join(dir, ".self")))
	for path, want := range map[string][]string{
		dir:                         {filepath.Join(dir, ".a.c"), filepath.Join(dir, ".b"), filepath.Join(dir, ".link")},
		filepath.Join(dir, ".file"): nil,
		filepath.Join(dir, "none"):  nil,
	} {
		if got, err := Subfolders(path); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v, want %q", path, got, err, want)
		}
	}
}

// What mail readers write into the header of a file leaves it the message that it was, and only that.
func TestVerifyMaildirWithReadersFields(t *testing.T) {
	m := newMaildir(t)
	messages := put(t, m, 0, "Subject: 0\r\n\r\ntext\r\n", "Subject: 1\r\n\r\ntext\r\n", "Subject: 2\r\n\r\ntext\r\n")
	for i, data := range []string{"Subject: 0\nStatus: RO\nLines: 1\n\ntext\n", "Subject: 1\nStatus: RO\n\ntext\n\n", "Subject: 2\nSeen: yes\n\ntext\n"} {
		write(t, filepath.Join(m.path, "new", messages[i].Location.Name), data)
	}
	for _, read := range []bool{false, true} {
		wantFindings(t, must(m.Verify(t.Context(), messages, read))(t), messages, map[int]Damage{1: Changed, 2: Changed})
	}
}
