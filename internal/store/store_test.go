package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func TestNewID(t *testing.T) {
	type parts struct {
		account, uid string
		size         int64
		occurrence   int
	}
	seen := make(map[ID]parts)
	for _, p := range []parts{
		{"a", "b", 1, 0}, {"ab", "", 1, 0}, {"", "ab", 1, 0}, {"a", "b\x00", 1, 0}, {"a\x00", "b", 1, 0},
		{"a", "b", 0, 1}, {"a", "b", 1, 1}, {"a", "b", -1, 0}, {"a", "b1", 0, 0}, {"a", "", 0, 0}, {"", "", 0, 0},
	} {
		id := NewID(p.account, p.uid, p.size, p.occurrence)
		if other, ok := seen[id]; ok {
			t.Errorf("%+v and %+v are the same", p, other)
		}
		seen[id] = p
		if id != NewID(p.account, p.uid, p.size, p.occurrence) {
			t.Errorf("%+v differs from itself", p)
		}
		if id.tag() != accountTag(p.account) {
			t.Errorf("%+v does not begin with its account", p)
		}
	}
	// Files of earlier versions have to be known again: this must not change.
	const want = "ba2bcdd2ee0a7f3833760fee57fdf374"
	if got := NewID("gmail", "GmailId18c5e", 4711, 0).String(); got != want {
		t.Errorf("an identity has become %s, it was %s", got, want)
	}
}

// nasty draws a message of pieces that have a meaning to somebody; the
// longest run of one thing is of so many bytes.
func nasty(longest int) *rapid.Generator[string] {
	piece := rapid.OneOf(
		rapid.SampledFrom([]string{
			"From ", "From", "F", "Fro", ">", ">>", ">From ", ">>From me", "From x@y Thu Jan  1 00:00:00 1970",
			"\n", "\r\n", "\r", "\r\r\n", "\n\n", "\n\r", "\x00", "\xff\xfe", "..", "Subject: x\r\n", "Return-Path: <a@b>\r\n", "Status: RO\r\n", " ",
		}),
		rapid.StringMatching(`[ -~]{0,80}\r\n`),
		rapid.Custom(func(t *rapid.T) string {
			unit := rapid.SampledFrom([]string{"x", ">", "\r", "\n", "From ", ">From \n"}).Draw(t, "unit")
			return strings.Repeat(unit, rapid.SampledFrom([]int{5, 30, longest/4 + 1, longest}).Draw(t, "length")/len(unit))
		}),
	)
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(piece, 0, 12).Draw(t, "pieces"), "")
	})
}

// Every message, in whatever pieces it comes, is there afterwards, once and
// byte for byte, and is what the returned Message says.
func TestStoredIsTheModel(t *testing.T) {
	t.Parallel()
	kinds := map[string]func() testMailbox{
		"maildir": func() testMailbox { return newMaildir(t) },
		"mbox":    func() testMailbox { return newMbox(t) },
	}
	for name, open := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				m := open()
				var want []string
				for range rapid.IntRange(1, 3).Draw(t, "batches") {
					want = append(want, storeDrawn(t, m, len(want))...)
				}
				sameSet(t, all(t, m), want)
			})
		})
	}
}

// storeDrawn stores one batch of drawn messages and returns their model.
func storeDrawn(t *rapid.T, m testMailbox, first int) (want []string) {
	b, err := m.Begin()
	check(t, err)
	var size int64
	for i, mail := range rapid.SliceOfN(nasty(chunkSize+1), 0, 3).Draw(t, "mails") {
		sizes := rapid.SliceOfN(rapid.SampledFrom([]int{1, 2, 3, 7, 4095, 1 << 16}), 0, 4).Draw(t, "reads")
		_, err := b.Add(testID(first+i), &smallReads{data: []byte(mail), sizes: sizes})
		check(t, err)
		want = append(want, stored(m, mail))
		size += int64(len(want[i]))
	}
	if b.Len() != len(want) || b.Bytes() != size {
		t.Fatalf("the batch holds %d messages of %d bytes, want %d of %d", b.Len(), b.Bytes(), len(want), size)
	}
	messages, err := b.Commit(context.Background(), noRecord)
	check(t, err)
	check(t, b.Discard())
	for i, message := range messages {
		if message.ID != testID(first+i) || message.Size != int64(len(want[i])) || message.SHA256 != sha256.Sum256([]byte(want[i])) {
			t.Fatalf("message %d is said to be %+v", i, message)
		}
		if got := content(t, m, message.Location); got != want[i] {
			t.Fatalf("message %d reads %.300q, want %.300q", i, got, want[i])
		}
	}
	findings, err := m.Verify(context.Background(), messages, true)
	check(t, err)
	if len(messages) != len(want) || len(findings) != 0 {
		t.Fatalf("%d of %d messages, findings %+v", len(messages), len(want), findings)
	}
	return want
}

// A message that breaks off leaves no trace, and the others are stored.
func TestReaderErrorDropsOneMessage(t *testing.T) {
	t.Parallel()
	cut := errors.New("line cut")
	for name, size := range map[string]int{"small": 100, "beyond every buffer": 3 << 20} {
		t.Run(name, func(t *testing.T) {
			bothKinds(t, func(t *testing.T, m testMailbox) {
				b := begin(t, m, 0, "first\r\n")
				torn := io.MultiReader(strings.NewReader("From \r\n"+strings.Repeat("torn\r\n", size/6)+"\r\n>Fro"), iotest.ErrReader(cut))
				if _, err := b.Add(testID(1), torn); err != cut {
					t.Fatalf("Add said %v", err)
				}
				for _, err := range []error{io.ErrUnexpectedEOF, io.ErrNoProgress} {
					if _, got := b.Add(testID(1), iotest.ErrReader(err)); got != err {
						t.Fatalf("Add said %v", got)
					}
				}
				_, err := b.Add(testID(2), strings.NewReader("m second\r\n"))
				check(t, err)
				if b.Len() != 2 || b.Bytes() != 15 {
					t.Errorf("the batch holds %d messages of %d bytes", b.Len(), b.Bytes())
				}
				messages, err := b.Commit(context.Background(), noRecord)
				check(t, err)
				check(t, b.Discard())
				if len(messages) != 2 || messages[1].ID != testID(2) {
					t.Errorf("Commit returned %+v", messages)
				}
				sameSet(t, all(t, m), []string{"first\n", "m second\n"})
			})
		})
	}
}

// A reader that returns nothing for ever does not hang us.
func TestReaderWithoutProgress(t *testing.T) {
	bothKinds(t, func(t *testing.T, m testMailbox) {
		b := begin(t, m, 0)
		if _, err := b.Add(testID(0), noProgress{}); !errors.Is(err, io.ErrNoProgress) {
			t.Errorf("Add said %v", err)
		}
		check(t, b.Discard())
	})
}

type noProgress struct{}

func (noProgress) Read([]byte) (int, error) { return 0, nil }

// What is discarded, or never committed, was never there.
func TestDiscard(t *testing.T) {
	bothKinds(t, func(t *testing.T, m testMailbox) {
		for _, count := range []int{1, filesKeptOpen + 5} {
			b := begin(t, m, 0, make([]string, count)...)
			check(t, b.Discard())
			check(t, b.Discard())
			if _, err := b.Commit(context.Background(), noRecord); err == nil {
				t.Error("a discarded batch was committed")
			}
			if _, err := b.Add(testID(9), strings.NewReader("x")); err == nil {
				t.Error("a discarded batch took a message")
			}
		}
		sameSet(t, all(t, m), nil)
		nothingUnfinished(t, m)
	})
}

// nothingUnfinished looks for what a batch or a lock may leave behind.
func nothingUnfinished(t rapid.TB, m Mailbox) {
	t.Helper()
	var left []string
	switch m := m.(type) {
	case *Maildir:
		left = names(t, m.path, "tmp")
	case *Mbox:
		left = names(t, m.options.SpoolDir)
		for _, name := range names(t, filepath.Dir(m.path)) {
			if strings.Contains(name, "lock") {
				left = append(left, name)
			}
		}
	}
	if len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestEmptyBatch(t *testing.T) {
	bothKinds(t, func(t *testing.T, m testMailbox) {
		b := begin(t, m, 0)
		messages, err := b.Commit(context.Background(), func(Intent) error { return errors.New("nothing to record") })
		if len(messages) != 0 || err != nil {
			t.Errorf("Commit returned %v, %v", messages, err)
		}
		check(t, b.Discard())
		sameSet(t, all(t, m), nil)
		nothingUnfinished(t, m)
	})
}

func TestModes(t *testing.T) {
	bothKinds(t, func(t *testing.T, m testMailbox) {
		put(t, m, 0, "x\r\n")
		check(t, filepath.WalkDir(filepath.Dir(m.Path()), func(path string, d os.DirEntry, err error) error {
			check(t, err)
			info, err := d.Info()
			want := os.FileMode(0o600)
			if d.IsDir() {
				want = 0o700
			}
			if info.Mode().Perm() != want {
				t.Errorf("%s has mode %v", path, info.Mode())
			}
			return err
		}))
		if mbox, ok := m.(*Mbox); ok {
			if info := must(os.Stat(mbox.options.SpoolDir))(t); info.Mode().Perm() != 0o700 {
				t.Errorf("the spool folder has mode %v", info.Mode())
			}
		}
	})
}

func TestRelativePathsAreRefused(t *testing.T) {
	_, err1 := OpenMaildir("Mail/box", testOptions(t))
	_, err2 := OpenMbox("box", testOptions(t))
	for _, err := range []error{err1, err2} {
		if err == nil || !strings.Contains(err.Error(), "is not absolute") {
			t.Errorf("got %v", err)
		}
	}
}

func TestErrorTexts(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{unix.ENOSPC, "writing /m: no space left on device; the disk is full: free some space"},
		{unix.EXDEV, "writing /m: invalid cross-device link; tmp and new must be on one file system"},
		{unix.EDQUOT, "the disk quota is used up"},
		{unix.EROFS, "mounted read-only"},
		{unix.EACCES, "let the user that popfetchd runs as write there"},
		{unix.ENAMETOOLONG, "choose a shorter path"},
		{&os.PathError{Op: "open", Path: "/m", Err: unix.ENOSPC}, "writing /m: no space left on device; "},
		{os.NewSyscallError("fsync", unix.EIO), "writing /m: input/output error; the disk has trouble"},
		{errors.New("odd"), "writing /m: odd"},
	} {
		err := failed("writing", "/m", c.err)
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %q, want %q", err, c.want)
		}
		again := fmt.Errorf("storing: %w", err)
		if local := new(Error); failed("other", "/n", again) != again || !errors.As(again, &local) || local.Path != "/m" {
			t.Errorf("%q was wrapped twice", err)
		}
	}
}

// Probe leaves everything as it is, and says what stands in the way.
// Several errors at once are one line, too, and not without end.
func TestErrorsAreOneLine(t *testing.T) {
	m := newMaildir(t)
	b := begin(t, m, 0, make([]string, 10)...).(*maildirBatch)
	for _, f := range b.open[2:8] {
		f.Close()
	}
	_, err := b.Commit(context.Background(), nil)
	var local *Error
	if !errors.As(err, &local) || !errors.Is(err, fs.ErrClosed) {
		t.Fatalf("Commit said %v", err)
	}
	name := func(i int) string { return filepath.Base(b.received[i].tmp) + ": file already closed" }
	text := err.Error()
	if strings.Contains(text, "\n") || !strings.Contains(text, name(2)+"; flushing ") || !strings.HasSuffix(text, name(4)+"; and 3 more errors") {
		t.Errorf("Commit said %s", text)
	}
	check(t, b.Discard())
	if err := join(nil, nil); err != nil {
		t.Errorf("no errors are %v", err)
	}
	if err := join(nil, io.EOF, nil); err != io.EOF {
		t.Errorf("one error is %v", err)
	}
}

// A process may name itself as it likes.
func TestProcessNames(t *testing.T) {
	c := python(t, `
import ctypes, sys
ctypes.CDLL(None).prctl(15, b"a\x1b[31m\nb\xff", 0, 0, 0)
print("named", flush=True)
sys.stdin.read()
`)
	in, out := must(c.StdinPipe())(t), must(c.StdoutPipe())(t)
	check(t, c.Start())
	must(out.Read(make([]byte, 10)))(t)
	if got, want := process(c.Process.Pid), fmt.Sprintf(`process %d (a?[31m?b?)`, c.Process.Pid); got != want {
		t.Errorf("a process is called %q, want %q", got, want)
	}
	check(t, in.Close())
	check(t, c.Wait())
}

func TestProbe(t *testing.T) {
	bothKinds(t, func(t *testing.T, m testMailbox) {
		root := filepath.Dir(filepath.Dir(m.Path()))
		check(t, m.Probe())
		if left := names(t, root); len(left) > 0 {
			t.Errorf("Probe made %q", left)
		}
		put(t, m, 0, "x\r\n")
		check(t, m.Probe())
		nothingUnfinished(t, m)
		sameSet(t, all(t, m), []string{"x\n"})

		check(t, os.RemoveAll(filepath.Join(root, "Mail")))
		write(t, filepath.Join(root, "Mail"), "a file")
		var local *Error
		if err := m.Probe(); !errors.As(err, &local) || !errors.Is(err, unix.ENOTDIR) {
			t.Errorf("under a file Probe said %v", err)
		}
		if _, err := m.Begin(); err == nil {
			b := begin(t, m, 0, "x\r\n")
			_, err = b.Commit(context.Background(), noRecord)
			if !errors.Is(err, unix.ENOTDIR) {
				t.Errorf("under a file Commit said %v", err)
			}
		} else if !errors.Is(err, unix.ENOTDIR) {
			t.Errorf("under a file Begin said %v", err)
		}
	})
}

// A batch that is larger than every buffer, with a message that is.
func TestLargeMessages(t *testing.T) {
	t.Parallel()
	bothKinds(t, func(t *testing.T, m testMailbox) {
		line := strings.Repeat("x", 3<<20)
		mails := []string{line + "\r\n", "a\r\n", strings.Repeat("From me\r\n", 100_000), ">" + line, line + "\r"}
		var want []string
		for i, message := range put(t, m, 0, mails...) {
			want = append(want, stored(m, mails[i]))
			if got := content(t, m, message.Location); got != want[i] {
				t.Errorf("message %d differs", i)
			}
		}
		sameSet(t, all(t, m), want)
	})
}

func TestLineEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mail := nasty(200).Draw(t, "mail")
		u := unixReader{
			r:   &smallReads{data: []byte(mail), sizes: rapid.SliceOfN(rapid.IntRange(1, 9), 0, 3).Draw(t, "reads")},
			buf: make([]byte, rapid.SampledFrom([]int{2, 3, 5, 64, chunkSize}).Draw(t, "buffer")),
		}
		var got bytes.Buffer
		d := newDigest()
		for {
			chunk, err := u.next()
			if err == io.EOF {
				break
			}
			check(t, err)
			got.Write(chunk)
			d.Write(chunk)
		}
		want := strings.ReplaceAll(mail, "\r\n", "\n")
		if got.String() != want {
			t.Fatalf("got %q, want %q", got.String(), want)
		}
		virtual := len(want) + strings.Count(want, "\n") - strings.Count(want, "\r\n")
		if d.size != int64(len(want)) || d.virtual != int64(virtual) || d.sha256() != sha256.Sum256([]byte(want)) {
			t.Fatalf("the digest says %d, %d of %q", d.size, d.virtual, want)
		}
	})
}
