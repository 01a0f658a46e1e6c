package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// repeated is a reader of n bytes, made of one piece again and again.
type repeated struct {
	piece []byte
	n     int64
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.n == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(int64(len(p)), r.n)], r.piece)
	r.n -= int64(n)
	return n, nil
}

// peakMemory returns VmHWM in KiB.
func peakMemory() (int, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	return strconv.Atoi(strings.Fields(rest)[0])
}

// helperHuge stores one message that is one line, args[2] bytes long, and
// says by how many KiB the peak of its memory grew.
func helperHuge(args []string) error {
	options := Options{Account: "test", SpoolDir: args[1] + "-spool", Hostname: testHost}
	var m Mailbox
	var err error
	if args[0] == "mbox" {
		m, err = OpenMbox(args[1], options)
	} else {
		m, err = OpenMaildir(args[1], options)
	}
	if err != nil {
		return err
	}
	size, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return err
	}
	before, err := peakMemory()
	if err != nil {
		return err
	}
	if err := storeHuge(m, size); err != nil {
		return err
	}
	after, err := peakMemory()
	fmt.Print(after - before)
	return err
}

func storeHuge(m Mailbox, size int64) error {
	b, err := m.Begin()
	if err != nil {
		return err
	}
	line := []byte(strings.Repeat("x", 1<<16))
	if _, err := b.Add(testID(0), &repeated{line, size}); err != nil {
		return err
	}
	if _, err := b.Commit(context.Background(), noRecord); err != nil {
		return err
	}
	return b.Discard()
}

// A message of any size, be it one line, takes the same small memory.
func TestMemoryIsBounded(t *testing.T) {
	const size, most = 64 << 20, 16 << 10 // bytes, KiB
	for _, kind := range []string{"maildir", "mbox"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			c := helper(t, "huge", kind, filepath.Join(t.TempDir(), "box"), strconv.Itoa(size))
			grown := must(strconv.Atoi(string(must(c.Output())(t))))(t)
			t.Logf("a message of %d MiB took %d KiB more memory", size>>20, grown)
			if grown > most {
				t.Errorf("memory grew by %d KiB, want at most %d", grown, most)
			}
		})
	}
}

// limitVar makes TestFullDisk run with files limited in size.
const limitVar = "STORE_TEST_LIMITED"

const roomOnDisk = 256 << 10

// A disk that is full leaves nothing half done: where mounting is permitted
// it is a file system of 256 KiB, and always a limit on the size of files,
// which behaves alike.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if os.Getenv(limitVar) != "" {
		limit := unix.Rlimit{Cur: roomOnDisk, Max: roomOnDisk}
		check(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &limit))
		fullDisk(t, t.TempDir(), unix.EFBIG)
		return
	}
	t.Run("limit", func(t *testing.T) {
		c := helper(t, "", "-test.run=^TestFullDisk$")
		c.Env = append(c.Env, limitVar+"=1")
		out, err := c.Output()
		if err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	dir := t.TempDir()
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", roomOnDisk))
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		t.Log("mounting is not permitted here; tested by the limit alone")
		return
	}
	check(t, err)
	t.Cleanup(func() { check(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	t.Run("tmpfs", func(t *testing.T) { fullDisk(t, dir, unix.ENOSPC) })
}

// fullDisk stores more than fits into dir.
func fullDisk(t *testing.T, dir string, want error) {
	t.Run("maildir", func(t *testing.T) { fullMaildir(t, filepath.Join(dir, "maildir"), want) })
	t.Run("spool", func(t *testing.T) { fullSpool(t, filepath.Join(dir, "spool"), want) })
	if want == unix.ENOSPC { // a limit would stop the spool first
		t.Run("mbox", func(t *testing.T) { fullMbox(t, dir, want) })
	}
}

func isFull(t *testing.T, err, want error) {
	t.Helper()
	var local *Error
	if !errors.Is(err, want) || !errors.As(err, &local) || !strings.Contains(err.Error(), "; ") {
		t.Fatalf("got %v, want %v with a hint", err, want)
	}
	t.Log(err)
}

func fullMaildir(t *testing.T, path string, want error) {
	m := must(OpenMaildir(path, testOptions(t)))(t)
	b := begin(t, m, 0, "small\r\n")
	_, err := b.Add(testID(1), &repeated{[]byte("line\r\n"), 2 * roomOnDisk})
	isFull(t, err, want)
	_, err = b.Add(testID(2), strings.NewReader("small too\r\n"))
	check(t, err) // what was written of the large one is gone
	_, err = b.Commit(context.Background(), noRecord)
	check(t, err)
	check(t, b.Discard())
	sameSet(t, all(t, m), []string{"small\n", "small too\n"})
	nothingUnfinished(t, m)
	check(t, os.RemoveAll(path))
}

func fullSpool(t *testing.T, spool string, want error) {
	m := must(OpenMbox(filepath.Join(t.TempDir(), "box"), Options{Account: "test", SpoolDir: spool}))(t)
	b := begin(t, m, 0, "small\r\n")
	for range 2 { // the second time nothing but the failed message is in the way
		_, err := b.Add(testID(1), &repeated{[]byte("line\r\n"), 3 << 20})
		isFull(t, err, want)
	}
	_, err := b.Add(testID(2), strings.NewReader("small too\r\n"))
	check(t, err)
	_, err = b.Commit(context.Background(), noRecord)
	check(t, err)
	check(t, b.Discard())
	sameSet(t, all(t, m), []string{"small\n", "small too\n"})
	nothingUnfinished(t, m)
}

func fullMbox(t *testing.T, dir string, want error) {
	path := filepath.Join(dir, "box")
	m := must(OpenMbox(path, testOptions(t)))(t)
	put(t, m, 0, "before\r\n")
	before := read(t, path)
	b := begin(t, m, 1, strings.Repeat("line\r\n", roomOnDisk/4))
	var intent Intent
	_, err := b.Commit(context.Background(), func(i Intent) error { intent = i; return nil })
	isFull(t, err, want)
	if read(t, path) != before {
		t.Errorf("the mbox was changed")
	}
	_, _, err = Redo(context.Background(), intent, m.options)
	isFull(t, err, want)
	if read(t, path) != before {
		t.Errorf("the mbox was changed by Redo")
	}
	check(t, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=8m"))
	if got := redone(t, intent, m.options); got != Restored {
		t.Errorf("with room again Redo says %v", got)
	}
	check(t, b.Discard())
	sameSet(t, all(t, m), []string{"before\n", strings.Repeat("line\n", roomOnDisk/4)})
	nothingUnfinished(t, m)
}

// A folder that we may neither read nor make files in: the fcntl lock has to
// do, and the dot lock of others is heeded. The helper gives up root's rights
// for that.
func TestFolderThatIsNotOurs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	check(t, os.Chmod(filepath.Dir(dir), 0o755)) // the tests' own folder
	write(t, filepath.Join(dir, "box"), "")
	check(t, os.Chmod(filepath.Join(dir, "box"), 0o666))
	spool := filepath.Join(dir, "spool")
	check(t, os.Mkdir(spool, 0o700))
	check(t, os.Chmod(spool, 0o777))
	run := func() string {
		check(t, os.Chmod(dir, 0o111))
		defer os.Chmod(dir, 0o755)
		return string(must(helper(t, "locked", dir).Output())(t))
	}
	if said := run(); said != "stored" {
		t.Errorf("without a dot lock: %s", said)
	}
	write(t, filepath.Join(dir, "box.lock"), fmt.Sprint(os.Getpid()))
	check(t, os.Chmod(filepath.Join(dir, "box.lock"), 0o444))
	if said := run(); !strings.Contains(said, ErrLocked.Error()) || !strings.Contains(said, fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("with a dot lock: %s", said)
	}
}

// helperLocked stores a message in dir/box without rights on dir, and prints
// what came of it.
func helperLocked(args []string) error {
	if os.Getuid() == 0 {
		if err := unix.Setuid(65534); err != nil {
			return err
		}
	}
	if _, err := os.Create(filepath.Join(args[0], "try")); !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("the folder can be written after all: %w", err)
	}
	options := Options{Account: "test", SpoolDir: filepath.Join(args[0], "spool"), LockTimeout: 50 * time.Millisecond}
	m, err := OpenMbox(filepath.Join(args[0], "box"), options)
	if err != nil {
		return err
	}
	if err := storeHuge(m, 10); err != nil {
		fmt.Print(err)
		return nil
	}
	fmt.Print("stored")
	return nil
}
