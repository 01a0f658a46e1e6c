package forgetful

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

var (
	strict     = Loss{}
	journalled = Loss{Journalled: true}
	nothing    = Loss{Survives: 1}
)

// holder is a disk in use, and ways to use it that end the test when they fail.
type holder struct {
	t   *testing.T
	dir string
}

func (h holder) path(name string) string { return filepath.Join(h.dir, name) }

func (h holder) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h holder) write(name, text string) {
	h.t.Helper()
	h.must(os.WriteFile(h.path(name), []byte(text), 0o600))
}

func (h holder) mkdir(name string)      { h.t.Helper(); h.must(os.Mkdir(h.path(name), 0o700)) }
func (h holder) remove(name string)     { h.t.Helper(); h.must(os.Remove(h.path(name))) }
func (h holder) rename(from, to string) { h.t.Helper(); h.must(os.Rename(h.path(from), h.path(to))) }

// sync is fsync of files and folders.
func (h holder) sync(names ...string) {
	h.t.Helper()
	for _, name := range names {
		f, err := os.Open(h.path(name))
		h.must(err)
		h.must(f.Sync())
		h.must(f.Close())
	}
}

// tree is what a mounted disk holds: contents of files by path, and folders with a slash at their end.
func (h holder) tree() map[string]string {
	h.t.Helper()
	all := map[string]string{}
	h.must(filepath.WalkDir(h.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == h.dir {
			return err
		}
		name := strings.TrimPrefix(path, h.dir+"/")
		if entry.IsDir() {
			all[name+"/"] = ""
			return nil
		}
		text, err := os.ReadFile(path)
		all[name] = string(text)
		return err
	}))
	return all
}

// use mounts a disk for as long as do takes.
func use(t *testing.T, d *Disk, do func(holder, *Mount)) {
	t.Helper()
	dir := t.TempDir()
	m := d.Mount(t, dir)
	defer m.Unmount(t)
	do(holder{t, dir}, m)
}

// afterCut is what a disk that was used so holds when the power comes back.
func afterCut(t *testing.T, d *Disk, l Loss, do func(holder)) (left map[string]string) {
	t.Helper()
	use(t, d, func(h holder, _ *Mount) { do(h) })
	use(t, d.AfterCut(l), func(h holder, _ *Mount) { left = h.tree() })
	return left
}

// What a power cut leaves of a few calls, on a disk that has a file "old" with the text "old" and a folder "d".
func TestCut(t *testing.T) {
	for name, test := range map[string]struct {
		do                          func(holder)
		strict, journalled, nothing string
	}{
		"nothing is done": {func(h holder) {}, "d/ old=old", "d/ old=old", "d/ old=old"},
		"a file is written": {func(h holder) { h.write("new", "text") },
			"d/ old=old", "d/ old=old", "d/ new=text old=old"},
		"and it is flushed": {func(h holder) { h.write("new", "text"); h.sync("new") },
			"d/ old=old", "d/ new=text old=old", "d/ new=text old=old"},
		"or its folder is": {func(h holder) { h.write("new", "text"); h.sync(".") },
			"d/ new= old=old", "d/ new= old=old", "d/ new=text old=old"},
		"or both are": {func(h holder) { h.write("new", "text"); h.sync("new", ".") },
			"d/ new=text old=old", "d/ new=text old=old", "d/ new=text old=old"},
		"or another folder is": {func(h holder) { h.write("new", "text"); h.mkdir("e"); h.sync("new"); h.sync("d", "e") },
			"d/ old=old", "d/ e/ new=text old=old", "d/ e/ new=text old=old"},
		"a folder is made, and what is in it is flushed": {func(h holder) { h.mkdir("e"); h.write("e/new", "text"); h.sync("e/new", "e") },
			"d/ old=old", "d/ e/ e/new=text old=old", "d/ e/ e/new=text old=old"},
		"a file is written anew": {func(h holder) { h.write("old", "longer") },
			"d/ old=old", "d/ old=old", "d/ old=longer"},
		"a file is cut off": {func(h holder) { h.must(os.Truncate(h.path("old"), 1)) },
			"d/ old=old", "d/ old=old", "d/ old=o"},
		"and that is flushed": {func(h holder) { h.must(os.Truncate(h.path("old"), 1)); h.sync("old") },
			"d/ old=o", "d/ old=o", "d/ old=o"},
		"a file is renamed": {func(h holder) { h.rename("old", "other") },
			"d/ old=old", "d/ old=old", "d/ other=old"},
		"and it is flushed, not its folder": {func(h holder) { h.rename("old", "other"); h.sync("other") },
			"d/ old=old", "d/ other=old", "d/ other=old"},
		"and its folder is flushed": {func(h holder) { h.rename("old", "other"); h.sync(".") },
			"d/ other=old", "d/ other=old", "d/ other=old"},
		"a file is moved": {func(h holder) { h.rename("old", "d/old") },
			"d/ old=old", "d/ old=old", "d/ d/old=old"},
		"and the folder it went to is flushed": {func(h holder) { h.rename("old", "d/old"); h.sync("d") },
			"d/ d/old=old old=old", "d/ d/old=old", "d/ d/old=old"},
		"and the folder it came from is": {func(h holder) { h.rename("old", "d/old"); h.sync(".") },
			"d/", "d/ d/old=old", "d/ d/old=old"},
		"a file is replaced": {func(h holder) { h.write("new", "text"); h.sync("new"); h.rename("new", "old") },
			"d/ old=old", "d/ new=text old=old", "d/ old=text"},
		"and the folder is flushed": {func(h holder) { h.write("new", "text"); h.sync("new"); h.rename("new", "old"); h.sync(".") },
			"d/ old=text", "d/ old=text", "d/ old=text"},
		"without the file": {func(h holder) { h.write("new", "text"); h.rename("new", "old"); h.sync(".") },
			"d/ old=", "d/ old=", "d/ old=text"},
		"a file is removed": {func(h holder) { h.remove("old") },
			"d/ old=old", "d/ old=old", "d/"},
		"and it is gone for good": {func(h holder) { h.remove("old"); h.sync(".") },
			"d/", "d/", "d/"},
		"a folder is removed": {func(h holder) { h.remove("d"); h.sync(".") },
			"old=old", "old=old", "old=old"},
		"a file gets a second name": {func(h holder) {
			h.must(os.Link(h.path("old"), h.path("d/too")))
			h.write("old", "both")
			h.sync("old", "d")
		},
			"d/ d/too=both old=both", "d/ d/too=both old=both", "d/ d/too=both old=both"},
		"a file is removed and made again": {func(h holder) { h.remove("old"); h.write("old", "again"); h.sync("old") },
			"d/ old=old", "d/ old=again", "d/ old=again"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, l := range []struct {
				loss Loss
				want string
			}{{strict, test.strict}, {journalled, test.journalled}, {nothing, test.nothing}} {
				d := New()
				use(t, d, func(h holder, _ *Mount) { h.write("old", "old"); h.mkdir("d") })
				d.Flush()
				if got := text(afterCut(t, d, l.loss, test.do)); got != l.want {
					t.Errorf("%+v: %q is left, not %q", l.loss, got, l.want)
				}
			}
		})
	}
}

// text writes a tree on one line.
func text(tree map[string]string) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		if !strings.HasSuffix(name, "/") {
			name += "=" + tree[name]
		}
		words = append(words, name)
	}
	return strings.Join(words, " ")
}

// A part of what was not flushed survives: some sectors of a write and not others, a length before or after it, the first
// few new names. What was flushed survives always, and the same seed leaves the same.
func TestSomeSurvives(t *testing.T) {
	const names, size = 9, 8 * 4096
	flushed, over := strings.Repeat("f", 3*4096), strings.Repeat("w", size)
	d := New()
	use(t, d, func(h holder, _ *Mount) {
		h.write("file", flushed)
		h.sync("file", ".")
		h.write("file2", "x")
		f, err := os.OpenFile(h.path("file"), os.O_RDWR, 0)
		h.must(err)
		defer f.Close()
		_, err = f.WriteAt([]byte(over), 4096)
		h.must(err)
		for i := range names {
			h.write(fmt.Sprintf("name%d", i), "")
		}
	})
	lengths, kept, torn := map[int]bool{}, map[int]bool{}, 0
	for seed := range uint64(60) {
		l := Loss{Survives: 0.5, Seed: seed, Journalled: seed%2 == 0}
		var left, again map[string]string
		use(t, d.AfterCut(l), func(h holder, _ *Mount) { left = h.tree() })
		use(t, d.AfterCut(l), func(h holder, _ *Mount) { again = h.tree() })
		if !maps.Equal(left, again) {
			t.Fatalf("%+v leaves different things", l)
		}
		content := left["file"]
		lengths[len(content)] = true
		if mixed(t, content, flushed, over) {
			torn++
		}
		n := 0
		for n < names && slices.Contains(slices.Collect(maps.Keys(left)), fmt.Sprintf("name%d", n)) {
			n++
		}
		kept[n] = true
		if more := len(left) - n; more > 2 {
			t.Errorf("%+v: names are left that came after one that is gone: %v", l, slices.Sorted(maps.Keys(left)))
		}
	}
	if len(lengths) < 4 || len(kept) < 5 || torn < 20 {
		t.Errorf("the cuts were too much alike: lengths %v, names %v, torn files %d", lengths, kept, torn)
	}
}

// mixed says whether a file is neither the old nor the new one. Each sector of it has to be of one of them, or zeros.
func mixed(t *testing.T, content, flushed, over string) bool {
	t.Helper()
	whole := flushed[:4096] + over
	if len(content) < len(flushed) || len(content) > len(whole) {
		t.Fatalf("%d bytes are left", len(content))
	}
	for at := 0; at < len(content); at += 512 {
		sector := content[at:min(at+512, len(content))]
		if at+512 <= len(flushed) && sector == flushed[at:at+512] || strings.HasPrefix(whole[at:], sector) || at >= len(flushed) && strings.Trim(sector, "\x00") == "" {
			continue
		}
		t.Fatalf("at %d there is %q", at, sector)
	}
	return content != flushed && content != whole
}

// The power goes at the change that was named, and whoever comes later waits until it is told that the file system is gone.
func TestCutAfter(t *testing.T) {
	for _, answered := range []bool{false, true} {
		d := New()
		use(t, d, func(h holder, m *Mount) {
			h.mkdir("before")
			cut := m.CutAfter(4, answered)
			made, failed := make(chan string, 10), make(chan error, 1)
			go func() {
				for i := range 9 {
					name := fmt.Sprint(i)
					if err := os.Mkdir(h.path(name), 0o700); err != nil {
						failed <- err
						return
					}
					made <- name
				}
				failed <- nil
			}()
			<-cut
			m.Release()
			if err := <-failed; !errors.Is(err, syscall.EIO) {
				t.Errorf("after the power cut: %v", err)
			}
			want := 3
			if answered {
				want = 4
			}
			if len(made) != want {
				t.Errorf("answered %v: %d folders were made, as far as their maker knows, not %d", answered, len(made), want)
			}
			if _, err := os.ReadFile(h.path("nobody")); !errors.Is(err, syscall.EIO) {
				t.Errorf("reading after the power cut: %v", err)
			}
			if n := m.Changes(); n != 5 {
				t.Errorf("%d changes, not 5", n)
			}
		})
		use(t, d.AfterCut(nothing), func(h holder, _ *Mount) {
			if got := text(h.tree()); got != "0/ 1/ 2/ 3/ before/" {
				t.Errorf("answered %v: %s", answered, got)
			}
		})
	}
}

// A process that hangs at the moment of the cut can be killed, and nothing of it stays behind.
func TestKilledWhileItHangs(t *testing.T) {
	d := New()
	use(t, d, func(h holder, m *Mount) {
		shell := exec.Command("sh", "-c", "i=0; while :; do i=$((i+1)); echo $i >file$i; done")
		shell.Dir = h.dir
		cut := m.CutAfter(20, true)
		h.must(shell.Start())
		<-cut
		shell.Process.Kill()
		m.Release()
		if err := shell.Wait(); err == nil || shell.ProcessState.ExitCode() >= 0 {
			t.Errorf("it was not killed: %v", err)
		}
	})
}

// What programs need beside reading and writing.
func TestServesPrograms(t *testing.T) {
	use(t, New(), func(h holder, _ *Mount) {
		h.write("a", "a")
		h.mkdir("d")
		h.write("d/b", "b")
		if err := unix.Renameat2(unix.AT_FDCWD, h.path("a"), unix.AT_FDCWD, h.path("d/b"), unix.RENAME_NOREPLACE); err != unix.EEXIST {
			t.Errorf("a rename that must not replace: %v", err)
		}
		h.must(unix.Renameat2(unix.AT_FDCWD, h.path("a"), unix.AT_FDCWD, h.path("d/a"), unix.RENAME_NOREPLACE))
		if _, err := os.OpenFile(h.path("d/a"), os.O_CREATE|os.O_EXCL, 0o600); !errors.Is(err, fs.ErrExist) {
			t.Errorf("O_EXCL: %v", err)
		}
		h.must(os.Link(h.path("d/a"), h.path("second")))
		if info, err := os.Stat(h.path("second")); err != nil || info.Sys().(*syscall.Stat_t).Nlink != 2 {
			t.Errorf("a second name: %v", err)
		}
		if err := os.Link(h.path("d/a"), h.path("second")); !errors.Is(err, fs.ErrExist) {
			t.Errorf("a name that is taken: %v", err)
		}
		if err := os.Remove(h.path("d")); !errors.Is(err, syscall.ENOTEMPTY) {
			t.Errorf("removing a folder with files: %v", err)
		}
		var s unix.Statfs_t
		if err := unix.Statfs(h.dir, &s); err != nil || s.Type != unix.FUSE_SUPER_MAGIC || s.Bavail == 0 {
			t.Errorf("statfs: %v, type %x, %d blocks free", err, s.Type, s.Bavail)
		}
		h.must(os.Chmod(h.path("second"), 0o640))
		if info, err := os.Stat(h.path("d/a")); err != nil || info.Mode() != 0o640 {
			t.Errorf("chmod: %v", err)
		}
	})
}

// A file that has lost its last name is there for those who have it open.
func TestOpenWithoutName(t *testing.T) {
	use(t, New(), func(h holder, _ *Mount) {
		f, err := os.Create(h.path("file"))
		h.must(err)
		defer f.Close()
		h.remove("file")
		_, err = f.WriteString("text")
		h.must(err)
		got := make([]byte, 4)
		if _, err := f.ReadAt(got, 0); err != nil || string(got) != "text" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// Locks of all three kinds exclude others.
func TestLocks(t *testing.T) {
	use(t, New(), func(h holder, _ *Mount) {
		h.write("file", "")
		open := func() *os.File {
			f, err := os.OpenFile(h.path("file"), os.O_RDWR, 0)
			h.must(err)
			t.Cleanup(func() { f.Close() })
			return f
		}
		one, two := open(), open()
		defer one.Close()
		defer two.Close()
		h.must(unix.Flock(int(one.Fd()), unix.LOCK_EX|unix.LOCK_NB))
		if err := unix.Flock(int(two.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != unix.EWOULDBLOCK {
			t.Errorf("flock: %v", err)
		}
		h.must(unix.FcntlFlock(one.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}))
		if err := unix.FcntlFlock(two.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != unix.EAGAIN {
			t.Errorf("a lock of the open file: %v", err)
		}
		if err := unix.FcntlFlock(two.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != unix.EAGAIN {
			t.Errorf("fcntl: %v", err)
		}
	})
}

// Shared memory is shared between processes, as SQLite wants it, and ends up in the file. Another process does it: one
// that waits for its own file system in the middle of a load cannot be stopped.
func TestSharedMemory(t *testing.T) {
	const script = `
import mmap, os, sys
f = os.open(sys.argv[1], os.O_RDWR)
m = mmap.mmap(f, 8192)
if os.fork() == 0:
    mmap.mmap(f, 8192)[5000:5004] = b"text"
    os._exit(0)
os.wait()
assert m[5000:5004] == b"text"
assert os.pread(f, 4, 5000) == b"text"
m.flush()
`
	use(t, New(), func(h holder, _ *Mount) {
		h.write("file", string(make([]byte, 8192)))
		if out, err := exec.Command("python3", "-c", script, h.path("file")).CombinedOutput(); err != nil {
			t.Fatalf("python3: %v\n%s", err, out)
		}
		got, err := os.ReadFile(h.path("file"))
		h.must(err)
		if !bytes.Equal(got[5000:5004], []byte("text")) {
			t.Errorf("the file has %q", got[5000:5004])
		}
	})
}
