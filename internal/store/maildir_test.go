package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMaildirNames(t *testing.T) {
	m := newMaildir(t)
	messages := put(t, m, 0, "a\r\nb\n\r\r\nc", "")
	form := regexp.MustCompile(`^[0-9]{10}\.popfetchd-[0-9a-f]{32}\.mail\.example\.org,S=[0-9]+,W=[0-9]+$`)
	got := names(t, m.path, "new")
	for i, sizes := range []string{",S=7,W=9", ",S=0,W=0"} {
		name := messages[i].Location.Name
		if !slices.Contains(got, name) || !form.MatchString(name) || !strings.HasSuffix(name, sizes) {
			t.Errorf("message %d is %s, want a name that ends in %s", i, name, sizes)
		}
		if id, size, ok := parseName(name + ":2,S"); !ok || id != testID(i) || size != messages[i].Size {
			t.Errorf("%s was read as %v, %d, %v", name, id, size, ok)
		}
		if messages[i].Location != (Location{Path: m.path, Name: name}) {
			t.Errorf("message %d is at %+v", i, messages[i].Location)
		}
	}
}

func TestForeignNames(t *testing.T) {
	id := testID(1).String()
	for _, name := range []string{
		"", ".", "1.popfetchd-", "1.popfetchd-" + id, "1.popfetchd-" + id + ".h", "1.popfetchd-" + id + ".h,S=", "popfetchd-" + id + ".h,S=1",
		".popfetchd-" + id + ".h,S=1", "1.popfetchd-" + id[1:] + ".h,S=1,W=1", "1.other-" + id + ".h,S=1", "1.popfetchd-" + id + ".h,W=1",
		"1.popfetchd-" + id[:31] + "g.h,S=1", "1.popfetchd-" + id + ".h,S=99999999999999999999", "1.popfetchd-" + id + ".h,S=-1",
	} {
		if _, _, ok := parseName(name); ok {
			t.Errorf("%q was taken for one of ours", name)
		}
	}
	now, tag := time.Now(), accountTag("test")
	if name := tmpName(now, testID(1), "h.x"); !isTmpName(name, tag, "h.x") || isTmpName(name, tag, "x") ||
		isTmpName(name, accountTag("other"), "h.x") || isTmpName(name+".h.x", tag, "h.x") {
		t.Errorf("%s was judged wrongly", name)
	}
	if isTmpName(finalName(now, testID(1), "h.x", newDigest()), tag, "h.x") {
		t.Error("a finished name was taken for an unfinished one")
	}
}

func TestHostsAreEscaped(t *testing.T) {
	for host, want := range map[string]string{
		"mail.example.org": "mail.example.org",
		"a/b:c":            `a\057b\072c`,
		"x,S=1":            `x\054S=1`,
		"büro x\n\\":       `b\303\274ro\040x\012\134`,
	} {
		if got := escapeHost(host); got != want {
			t.Errorf("%q became %q, want %q", host, got, want)
		}
	}
	m := must(OpenMaildir(filepath.Join(t.TempDir(), "box"), Options{Account: "test", Hostname: "../a:b,S=7"}))(t)
	put(t, m, 0, "mail\r\n")
	if adopted := must(m.Adopt(func(ID) bool { return true }))(t); len(adopted) != 1 || adopted[0].Size != 5 {
		t.Errorf("adopted %+v", adopted)
	}
}

func TestMaildirSubfolder(t *testing.T) {
	m := newMaildir(t)
	put(t, m, 0, "x\r\n")
	for name, want := range map[string]bool{".Archive": true, "plain": false} {
		sub := must(OpenMaildir(filepath.Join(m.path, name), testOptions(t)))(t)
		put(t, sub, 1, "y\r\n")
		info, err := os.Stat(filepath.Join(sub.path, "maildirfolder"))
		if got := err == nil; got != want || got && (info.Size() != 0 || info.Mode().Perm() != 0o600) {
			t.Errorf("%s: maildirfolder %v, %v", name, info, err)
		}
	}
	alone := must(OpenMaildir(filepath.Join(t.TempDir(), ".hidden"), testOptions(t)))(t)
	put(t, alone, 0, "z\r\n")
	if slices.Contains(names(t, alone.path), "maildirfolder") {
		t.Error("a Maildir that is in none got a maildirfolder file")
	}
}

// Batches of all sizes: files kept open, closed and left to syncfs, and
// flushed in groups where syncfs is not to be trusted.
func TestMaildirBatchSizes(t *testing.T) {
	for _, bySyncfs := range []bool{true, false} {
		for _, count := range []int{1, filesKeptOpen, filesKeptOpen + 1, 3*filesKeptOpen + 1} {
			t.Run(fmt.Sprintf("syncfs=%v/%d", bySyncfs, count), func(t *testing.T) {
				t.Parallel()
				m := newMaildir(t)
				b := must(m.Begin())(t).(*maildirBatch)
				b.bySyncfs = bySyncfs
				var want []string
				for i := range count {
					want = append(want, fmt.Sprintf("message %d\n", i))
					must(b.Add(testID(i), strings.NewReader(want[i])))(t)
					if len(b.open) > filesKeptOpen {
						t.Fatalf("%d files are open", len(b.open))
					}
				}
				if got := b.unsynced; got != (bySyncfs && count > filesKeptOpen) {
					t.Errorf("left to syncfs: %v", got)
				}
				messages := must(b.Commit(context.Background(), nil))(t)
				check(t, b.Discard())
				for i, message := range messages {
					if message.ID != testID(i) || content(t, m, message.Location) != want[i] {
						t.Errorf("message %d is %+v", i, message)
					}
				}
				sameSet(t, all(t, m), want)
				nothingUnfinished(t, m)
			})
		}
	}
}

// A flush that fails is final: nothing of the batch becomes visible.
func TestMaildirFlushFails(t *testing.T) {
	for name, spoil := range map[string]func(*maildirBatch){
		"at commit": func(b *maildirBatch) { b.open[3].Close() },
		"syncfs":    func(b *maildirBatch) { b.unsynced = true; b.new.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMaildir(t)
			b := begin(t, m, 0, make([]string, 10)...).(*maildirBatch)
			spoil(b)
			var local *Error
			if _, err := b.Commit(context.Background(), nil); !errors.As(err, &local) {
				t.Errorf("Commit said %v", err)
			}
			sameSet(t, all(t, m), nil)
			check(t, b.Discard())
			nothingUnfinished(t, m)
		})
	}
	t.Run("between", func(t *testing.T) {
		m := newMaildir(t)
		b := begin(t, m, 0, make([]string, filesKeptOpen)...).(*maildirBatch)
		b.bySyncfs = false
		b.open[3].Close()
		if _, err := b.Add(testID(99), strings.NewReader("x")); err == nil {
			t.Error("Add said nothing")
		}
		if _, err := b.Commit(context.Background(), nil); err == nil {
			t.Error("Commit of a batch that could not be flushed said nothing")
		}
		check(t, b.Discard())
		sameSet(t, all(t, m), nil)
	})
}

// A name that is taken is never replaced. The same content is the message.
func TestMaildirNameTaken(t *testing.T) {
	for name, there := range map[string]string{"same": "mail\n", "other bytes": "else\n", "other size": "x\n"} {
		t.Run(name, func(t *testing.T) {
			m := newMaildir(t)
			b := begin(t, m, 0, "mail\r\n", "two\r\n").(*maildirBatch)
			path := filepath.Join(m.path, "new", b.received[0].message.Location.Name)
			write(t, path, there)
			messages, err := b.Commit(context.Background(), nil)
			check(t, b.Discard())
			nothingUnfinished(t, m)
			if read(t, path) != there {
				t.Fatal("the file was replaced")
			}
			if name == "same" {
				if err != nil || len(messages) != 2 {
					t.Errorf("Commit returned %v, %v", messages, err)
				}
				sameSet(t, all(t, m), []string{"mail\n", "two\n"})
			} else if err == nil || !strings.Contains(err.Error(), "move that file away") {
				t.Errorf("Commit said %v", err)
			}
		})
	}
}

// The way of file systems that cannot rename without replacing.
func TestLinkInPlaceOfRename(t *testing.T) {
	dir := must(os.Open(t.TempDir()))(t)
	defer dir.Close()
	fd, path := int(dir.Fd()), dir.Name()
	write(t, filepath.Join(path, "a"), "1")
	check(t, linkAt(fd, "a", fd, "b"))
	write(t, filepath.Join(path, "a"), "2")
	if err := linkAt(fd, "a", fd, "b"); err != unix.EEXIST {
		t.Errorf("a taken name gave %v", err)
	}
	if err := moveAt(dir, "a", dir, "b"); err != unix.EEXIST {
		t.Errorf("a taken name gave %v", err)
	}
	if got := read(t, filepath.Join(path, "b")); got != "1" || len(names(t, path)) != 2 {
		t.Errorf("b holds %q beside %q", got, names(t, path))
	}
}

func TestAdopt(t *testing.T) {
	m := newMaildir(t)
	put(t, m, 0, "zero\r\n", "one\r\n", "two\r\n", "three\r\n", "four\r\n")
	at := func(i int) (dir, name string) {
		for _, dir := range []string{"new", "cur"} {
			for _, name := range names(t, m.path, dir) {
				if id, _, _ := parseName(name); id == testID(i) {
					return filepath.Join(m.path, dir), name
				}
			}
		}
		t.Fatalf("message %d has gone", i)
		return
	}
	dir, name := at(1)
	check(t, os.Rename(filepath.Join(dir, name), filepath.Join(m.path, "cur", name+":2,FS")))
	dir, name = at(2)
	write(t, filepath.Join(dir, name), "torn!") // not the size of its name
	_, name = at(3)
	write(t, filepath.Join(m.path, "cur", "9"+name[1:]+":2,"), "three\n") // a later copy
	other := testOptions(t)
	other.Account = "other"
	put(t, must(OpenMaildir(m.path, other))(t), 9, "of another account, by its name\r\n")
	write(t, filepath.Join(m.path, "new", "1.M2P3.host"), "of another program")

	wanted := []int{0, 1, 2, 3, 99}
	adopted := must(m.Adopt(func(id ID) bool {
		return slices.ContainsFunc(wanted, func(i int) bool { return testID(i) == id })
	}))(t)
	var got []string
	for _, message := range adopted {
		text := content(t, m, message.Location)
		got = append(got, text)
		if message.Size != int64(len(text)) || message.SHA256 != sha256.Sum256([]byte(text)) || strings.Contains(message.Location.Name, ":") {
			t.Errorf("adopted %+v", message)
		}
	}
	sameSet(t, got, []string{"zero\n", "one\n", "three\n"})
	if findings := must(m.Verify(context.Background(), adopted, true))(t); len(findings) > 0 {
		t.Errorf("findings %+v", findings)
	}
	if adopted := must(newMaildir(t).Adopt(func(ID) bool { return true }))(t); len(adopted) > 0 {
		t.Errorf("a Maildir that does not exist had %+v", adopted)
	}
}

// More than are flushed at a time.
func TestAdoptMany(t *testing.T) {
	m := newMaildir(t)
	const count = 3*filesKeptOpen + 1
	put(t, m, 0, make([]string, count)...)
	if adopted := must(m.Adopt(func(ID) bool { return true }))(t); len(adopted) != count {
		t.Errorf("adopted %d of %d", len(adopted), count)
	}
}

func TestSweepMaildir(t *testing.T) {
	m := newMaildir(t)
	check(t, m.Sweep()) // nothing there
	put(t, m, 0, "x\r\n")
	b := begin(t, m, 1, "unfinished\r\n", "too\r\n").(*maildirBatch)
	keep := []string{
		"1700000000.M1P2.mail.example.org",
		tmpName(time.Now(), NewID("other", "u", 1, 0), testHost),
		tmpName(time.Now(), testID(7), "elsewhere"),
	}
	for _, name := range keep {
		write(t, filepath.Join(m.path, "tmp", name), "of others")
	}
	check(t, m.Sweep()) // of somebody who is at work
	if n := len(names(t, m.path, "tmp")); n != len(keep)+2 {
		t.Errorf("%d files are left of a batch that goes on, want 2", n-len(keep))
	}
	check(t, b.tmp.Close()) // as if we had died now
	check(t, m.Sweep())
	sameSet(t, names(t, m.path, "tmp"), keep)
	sameSet(t, all(t, m), []string{"x\n"})
}

func TestKernelReleases(t *testing.T) {
	for release, want := range map[string]bool{
		"5.17.0": true, "6.1.0-18-amd64": true, "10.0": true, "5.16.99": false, "4.19.0-x": false, "5": false, "": false, "x.y": false,
	} {
		if got := releaseAtLeast(release, 5, 17); got != want {
			t.Errorf("%q: %v", release, got)
		}
	}
}

// TestMaildirFlushOfNewFails: what was renamed into a new/ that could not be
// flushed is taken back, since a later flush would prove nothing. What a mail
// reader has moved meanwhile, and what an earlier run has put there, stays.
func TestMaildirFlushOfNewFails(t *testing.T) {
	m := newMaildir(t)
	put(t, m, 0, "earlier\r\n")
	b := begin(t, m, 1, "one\r\n", "read\r\n", "two\r\n").(*maildirBatch)
	defer b.Discard()
	fd := must(unix.Open(b.new.Name(), unix.O_PATH|unix.O_CLOEXEC, 0))(t) // all can be done with it but a flush
	b.new.Close()
	b.new = os.NewFile(uintptr(fd), b.new.Name())
	check(t, b.flush())
	for i := range b.received {
		check(t, b.publish(&b.received[i]))
	}
	read := b.received[1].message.Location.Name
	check(t, os.Rename(filepath.Join(m.path, "new", read), filepath.Join(m.path, "cur", read+":2,S")))
	if err := b.settle(); !errors.Is(err, unix.EBADF) {
		t.Errorf("the error is %v", err)
	}
	sameSet(t, all(t, m), []string{"earlier\n", "read\n"})
}
