package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// appendTo adds to a file as a program does that knows no locks.
func appendTo(t rapid.TB, path, data string) {
	t.Helper()
	f := must(os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0))(t)
	must(f.WriteString(data))(t)
	check(t, f.Close())
}

// A program that appends without locks, before the first of our bytes: ours
// stand behind its own then, and count there, unless the first message is not
// set apart from what the program left.
func TestAppendedBeforeUs(t *testing.T) {
	for before, ends := range map[string][]string{
		"":                    {"From theirs\nx\n\n", "\n", "\n\n"},
		"From old\nx\n\n":     {"From theirs\nx\n\n", "\n"},
		"From old\nno end":    {"\n\nFrom theirs\nx\n\n", " at all", "\n"},
		"From old\none end\n": {"\nFrom theirs\nx\n\n", "\nFrom theirs\nx\n"},
	} {
		for _, theirs := range ends {
			m, intent, messages, err := commitBehind(t, before, theirs)
			check(t, err)
			data := read(t, m.path)
			if !strings.HasPrefix(data, before+theirs) || int64(len(data)) != int64(len(before+theirs))+intent.Length {
				t.Errorf("after %q and %q the mbox holds %q", before, theirs, data)
			}
			if findings := must(m.Verify(context.Background(), messages, true))(t); len(findings) > 0 {
				t.Errorf("after %q and %q: %v", before, theirs, findings)
			}
			for i, want := range []string{"one\n", "From two\n"} {
				if got := content(t, m, messages[i].Location); got != want {
					t.Errorf("after %q and %q message %d reads %q", before, theirs, i, got)
				}
				if intent.Messages[i].Location.Offset+int64(len(theirs)) != messages[i].Location.Offset {
					t.Errorf("the recorded intent was changed: %+v", intent.Messages[i])
				}
			}
			outcome, at, err := Redo(context.Background(), intent, m.options)
			if outcome != Whole || at != intent.Offset+int64(len(theirs)) || err != nil || read(t, m.path) != data {
				t.Errorf("after %q and %q Redo says %v, %d, %v", before, theirs, outcome, at, err)
			}
		}
	}
}

// commitBehind commits two messages to an mbox, to whose end another program
// appends between our intent and our append.
func commitBehind(t *testing.T, before, theirs string) (m *Mbox, intent Intent, messages []Message, err error) {
	m = newMbox(t)
	check(t, os.MkdirAll(filepath.Dir(m.path), 0o700))
	write(t, m.path, before)
	messages, err = begin(t, m, 0, "one\r\n", "From two\r\n").Commit(context.Background(), func(i Intent) error {
		intent = i
		appendTo(t, m.path, theirs)
		return nil
	})
	return m, intent, messages, err
}

// What the other program left ends within a line, or a message: ours would be
// taken for a part of that. It does not count, and nothing is touched.
func TestAppendedUnfinishedBeforeUs(t *testing.T) {
	for _, theirs := range []string{"From theirs\nx\n", "From theirs\nx", "\n\nFrom theirs"} {
		m, intent, _, err := commitBehind(t, "From old\nx\n\n", theirs)
		spoiled(t, m, intent, err)
		if !strings.HasPrefix(read(t, m.path), "From old\nx\n\n"+theirs+"From MAILER-DAEMON ") {
			t.Errorf("the mbox holds %q", read(t, m.path))
		}
	}
}

// spoiled looks at a Commit that another program spoiled: an error of one
// line, and everything stays for Redo, which touches nothing either.
func spoiled(t *testing.T, m *Mbox, intent Intent, err error) {
	t.Helper()
	var local *Error
	if !errors.As(err, &local) || !strings.Contains(err.Error(), "without locking") || strings.Contains(err.Error(), "\n") ||
		strings.Contains(err.Error(), "incomplete") || strings.Contains(err.Error(), "size") {
		t.Errorf("Commit said %v", err)
	}
	t.Log(err)
	if _, err := os.Stat(intent.Spool); err != nil {
		t.Error(err)
	}
	data := read(t, m.path)
	if outcome, at, err := Redo(context.Background(), intent, m.options); outcome != Foreign || at != 0 || err != nil {
		t.Errorf("Redo says %v, %d, %v", outcome, at, err)
	}
	if read(t, m.path) != data {
		t.Error("Redo changed the mbox")
	}
}

// A program that appends in the middle of ours tears them: all of it stays as
// it is and does not count.
func TestAppendedAmongOurs(t *testing.T) {
	x := interrupt(t, "From old\nx\n\n")
	const theirs = "From theirs\nx\n\n"
	l := must(lockMbox(context.Background(), x.m.path, x.m.options, false))(t)
	must(l.WriteString(x.ours[:len(x.ours)/2]))(t)
	appendTo(t, x.m.path, theirs)
	must(l.WriteString(x.ours[len(x.ours)/2:]))(t)
	_, err := settle(l, x.intent, x.intent.Length, nil)
	check(t, l.unlock())
	spoiled(t, x.m, x.intent, err)
	if want := x.before + x.ours[:len(x.ours)/2] + theirs + x.ours[len(x.ours)/2:]; read(t, x.m.path) != want {
		t.Errorf("the mbox holds %q, want %q", read(t, x.m.path), want)
	}
}

// The disk is full and others have appended, too: what they wrote stays, and
// nothing is said of ours when there is nothing of ours.
func TestAppendFailsBesideOthers(t *testing.T) {
	full := failed("writing", "box", unix.ENOSPC)
	for _, n := range []int{0, 30} {
		x := interrupt(t, "From old\nx\n\n")
		l := must(lockMbox(context.Background(), x.m.path, x.m.options, false))(t)
		must(l.WriteString(x.ours[:n]))(t)
		appendTo(t, x.m.path, "From theirs\nx\n\n")
		_, err := settle(l, x.intent, int64(n), full)
		check(t, l.unlock())
		if !errors.Is(err, unix.ENOSPC) || strings.Contains(err.Error(), "without locking") != (n > 0) || strings.Contains(err.Error(), "\n") {
			t.Errorf("with %d bytes written: %v", n, err)
		}
		t.Log(err)
		if got, want := read(t, x.m.path), x.before+x.ours[:n]+"From theirs\nx\n\n"; got != want {
			t.Errorf("the mbox holds %q, want %q", got, want)
		}
	}
}
