package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The framing, byte for byte, apart from the time.
func TestMboxFraming(t *testing.T) {
	fromLine := regexp.MustCompile(`(?m)^From (\S+) [A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8} [0-9]{4}$`)
	for mail, want := range map[string]string{
		"":                          "FROM MAILER-DAEMON\n\n",
		"\r\n":                      "FROM MAILER-DAEMON\n\n\n",
		"\r\n\r\n":                  "FROM MAILER-DAEMON\n\n\n\n",
		"x":                         "FROM MAILER-DAEMON\nx\n\n",
		"A: b\r\n\r\n":              "FROM MAILER-DAEMON\nA: b\n\n\n",
		"A: b\r\n\r\ntext\r\n":      "FROM MAILER-DAEMON\nA: b\n\ntext\n\n",
		"From x\r\n>From y\r\n>>Fr": "FROM MAILER-DAEMON\n>From x\n>>From y\n>>Fr\n\n",
		"Return-Path: <a@b>\r\nX: y\r\n\r\nFrom \r\n": "FROM a@b\nReturn-Path: <a@b>\nX: y\n\n>From \n\n",
		"a\r\r\nb\rc\nd": "FROM MAILER-DAEMON\na\r\nb\rc\nd\n\n",
	} {
		m := newMbox(t)
		messages := put(t, m, 0, mail)
		data := read(t, m.path)
		if got := fromLine.ReplaceAllString(data, "FROM $1"); got != want {
			t.Errorf("%q is stored as %q, want %q", mail, got, want)
		}
		if at := messages[0].Location; at != (Location{Path: m.path, Length: int64(len(data))}) {
			t.Errorf("%q is said to be at %+v", mail, at)
		}
	}
}

func TestSender(t *testing.T) {
	const nobody = "MAILER-DAEMON"
	long := strings.Repeat("X-Long: line\n", senderWithin/13-3)
	for head, want := range map[string]string{
		"Return-Path: <a@b.example>\nX: y\n":   "a@b.example",
		"return-PATH:a@b\nX: y\n":              "a@b",
		"X: y\nReturn-Path: <a@b>\n\n":         "a@b",
		"X: y\n\nReturn-Path: <a@b>\n\n":       nobody,
		"":                                     nobody,
		"Return-Path: <>\n\n":                  nobody,
		"Return-Path: <a b@c>\n\n":             nobody,
		"Return-Path: <a@b>\n (more)\n\n":      nobody,
		"Return-Path: <a@b>\n\tmore\n\n":       nobody,
		"Return-Path: <a\rFrom x@b>\n\n":       nobody,
		"Return-Path: <a\x00@b>\n\n":           nobody,
		"Return-Path: <b\xc3\xbc@b>\n\n":       nobody,
		"Return-Path: <a@b> (c)\n\n":           nobody,
		"Return-Path: <<a@b>>\n\n":             nobody,
		"Return-Path: <a@b":                    nobody,
		"Return-Path: <a@b>\n":                 nobody,
		long + "Return-Path: <a@b>\nX: y\n\n":  "a@b",
		long + "X: " + long[:30] + "\n" + long: nobody,
		"Return-Path: <" + strings.Repeat("a", senderLength) + ">\nX: y\n":   strings.Repeat("a", senderLength),
		"Return-Path: <" + strings.Repeat("a", senderLength+1) + ">\nX: y\n": nobody,
	} {
		if got := sender([]byte(head)); got != want {
			t.Errorf("%.60q gives %q, want %q", head, got, want)
		}
	}
}

// Whatever an mbox ends in, exactly one blank line comes before our message,
// nothing of what was there changes, and the intent says it all.
func TestMboxEndings(t *testing.T) {
	for before, missing := range map[string]string{
		"": "", "\n": "", "\n\n": "", "\r\n\nFrom x": "\n\n", "From x\n": "\n", "From x\n\n": "", "From x\n\n\n": "", "From a\nb\n\nc": "\n\n",
	} {
		m := newMbox(t)
		check(t, os.MkdirAll(filepath.Dir(m.path), 0o700))
		write(t, m.path, before)
		b := begin(t, m, 0, "one\r\n", "two\r\n")
		var intent Intent
		messages, err := b.Commit(context.Background(), func(i Intent) error {
			intent = i
			if got := read(t, m.path); got != before {
				t.Errorf("at the time of the record the mbox holds %q", got)
			}
			return nil
		})
		check(t, err)
		data := read(t, m.path)
		ours := data[min(len(before), len(data)):]
		if !strings.HasPrefix(data, before+missing+"From MAILER-DAEMON ") || !strings.HasSuffix(data, "\ntwo\n\n") {
			t.Errorf("after %q the mbox holds %q", before, data)
		}
		spool := read(t, intent.Spool)
		if intent.Path != m.path || intent.Offset != int64(len(before)) || intent.Length != int64(len(ours)) ||
			intent.SHA256 != sha256.Sum256([]byte(ours)) || !strings.HasSuffix(spool, ours) || fmt.Sprint(intent.Messages) != fmt.Sprint(messages) {
			t.Errorf("after %q the intent is %+v", before, intent)
		}
		for i, want := range []string{"one\n", "two\n"} {
			if got := content(t, m, messages[i].Location); got != want {
				t.Errorf("after %q message %d reads %q", before, i, got)
			}
		}
		check(t, b.Discard())
		nothingUnfinished(t, m)
	}
}

// When the intent cannot be recorded nothing is appended.
func TestRecordFails(t *testing.T) {
	m := newMbox(t)
	put(t, m, 0, "before\r\n")
	before := read(t, m.path)
	b := begin(t, m, 1, "x\r\n")
	no := errors.New("the ledger is closed")
	if messages, err := b.Commit(context.Background(), func(Intent) error { return no }); !errors.Is(err, no) || messages != nil {
		t.Errorf("Commit returned %v, %v", messages, err)
	}
	check(t, b.Discard())
	if read(t, m.path) != before {
		t.Error("the mbox was changed")
	}
	nothingUnfinished(t, m)
}

func TestMboxHasToBeAFile(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	check(t, unix.Mkfifo(fifo, 0o600))
	check(t, os.Symlink(fifo, filepath.Join(dir, "link")))
	socket := must(net.Listen("unix", filepath.Join(dir, "socket")))(t)
	defer socket.Close()
	for path, kind := range map[string]string{
		dir:                          "folder; is it a Maildir?",
		fifo:                         "named pipe",
		filepath.Join(dir, "link"):   "named pipe",
		filepath.Join(dir, "socket"): "socket",
		"/dev/null":                  "device",
	} {
		if _, err := OpenMbox(path, testOptions(t)); err == nil || !strings.Contains(err.Error(), "has to be a regular file, this is a "+kind) {
			t.Errorf("%s gave %v", path, err)
		}
		m := &Mbox{path: path, options: testOptions(t).settled()} // as if it had changed after the opening
		b := begin(t, m, 0, "x\r\n")
		if _, err := b.Commit(context.Background(), noRecord); err == nil || !strings.Contains(err.Error(), "has to be a regular file") {
			t.Errorf("Commit to %s gave %v", path, err)
		}
		check(t, b.Discard())
	}
}

// The locks lie beside the file itself, wherever links lead from.
func TestMboxBehindLinks(t *testing.T) {
	dir := t.TempDir()
	check(t, os.MkdirAll(filepath.Join(dir, "real", "deep"), 0o700))
	check(t, os.Symlink("real/deep", filepath.Join(dir, "folder")))
	check(t, os.Symlink("../box", filepath.Join(dir, "real", "deep", "link"))) // "folder/.." is not what it seems
	m := must(OpenMbox(filepath.Join(dir, "folder", "link"), testOptions(t)))(t)
	for i := range 2 { // first the file is missing
		b := begin(t, m, i, "x\r\n")
		_, err := b.Commit(context.Background(), func(intent Intent) error {
			if intent.Path != m.path {
				t.Errorf("the intent is for %s", intent.Path)
			}
			if got := names(t, dir, "real"); fmt.Sprint(got) != "[box box.lock deep]" {
				t.Errorf("while locked there are %v", got)
			}
			return nil
		})
		check(t, err)
		check(t, b.Discard())
	}
	if got := splitMbox(t, read(t, filepath.Join(dir, "real", "box"))); len(got) != 2 {
		t.Errorf("the file behind the link holds %q", got)
	}
	check(t, os.Symlink("a", filepath.Join(dir, "b")))
	check(t, os.Symlink("b", filepath.Join(dir, "a")))
	loop := must(OpenMbox(filepath.Join(dir, "a"), testOptions(t)))(t)
	if err := loop.Probe(); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a circle of links gave %v", err)
	}
}

func TestSweepMbox(t *testing.T) {
	m := newMbox(t)
	check(t, m.Sweep()) // nothing there
	put(t, m, 0, "x\r\n")
	begin(t, m, 1, "unfinished\r\n") // as if we had died now
	dir := filepath.Dir(m.path)
	write(t, filepath.Join(dir, lockFileName("test", "0123456789abcdef", testHost)), "died while locking")
	keep := []string{spoolName("other", "0123456789abcdef"), spoolName("test", "0123"), "ledger.db"}
	for _, name := range keep {
		write(t, filepath.Join(m.options.SpoolDir, name), "of others")
	}
	write(t, filepath.Join(dir, lockFileName("other", "0123456789abcdef", testHost)), "of another account")

	locked := must(lockMbox(t.Context(), m.path, m.options, false))(t)
	check(t, m.Sweep()) // an account of the same name, in another state folder, is at it
	if !slices.Contains(names(t, dir), lockFileName("test", "0123456789abcdef", testHost)) {
		t.Error("the file that another one's dot lock is being made of was removed")
	}
	check(t, locked.unlock())

	check(t, m.Sweep())
	sameSet(t, names(t, m.options.SpoolDir), keep)
	sameSet(t, names(t, dir), []string{"box", lockFileName("other", "0123456789abcdef", testHost)})
}

func TestMboxNeedsASpool(t *testing.T) {
	if _, err := OpenMbox("/m/box", Options{}); err == nil {
		t.Error("an mbox was opened without a spool folder")
	}
}

// A file that holds something else is told from an mbox before anything is
// fetched for it, and is never written to.
func TestFileThatIsNoMbox(t *testing.T) {
	for _, there := range []string{"x", "Fro", "From", "from x\n\n", "\n\n>From x\n\n", "\x00\x00\nFrom x\n\n", "Subject: a message\n\n", " \nFrom x\n\n", "\x01\x01\x01\x01\n"} {
		m := newMbox(t)
		b := begin(t, m, 0, "x\r\n") // when there is no file yet
		check(t, os.MkdirAll(filepath.Dir(m.path), 0o700))
		write(t, m.path, there)
		_, err := b.Commit(context.Background(), func(Intent) error {
			t.Errorf("%q: an intent was recorded", there)
			return nil
		})
		check(t, b.Discard())
		_, again := m.Begin()
		for _, err := range []error{err, again, m.Probe()} {
			var local *Error
			if !errors.As(err, &local) || !strings.Contains(err.Error(), m.path+": it is no mbox") {
				t.Errorf("%q: %v", there, err)
			}
		}
		if read(t, m.path) != there {
			t.Errorf("%q was changed", there)
		}
		nothingUnfinished(t, m)
	}
	for _, there := range []string{"", "\n\r\n", "From x\n", strings.Repeat("\n", headerChunk) + "From x\n"} {
		m := newMbox(t)
		check(t, os.MkdirAll(filepath.Dir(m.path), 0o700))
		write(t, m.path, there)
		check(t, m.Probe())
		put(t, m, 0, "x\r\n")
	}
}
