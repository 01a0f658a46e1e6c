package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// MakeDirs creates the folder at path and missing ones above it, durably, with
// mode 0700.
func MakeDirs(path string) error { return makeDirs(path) }

// makeDirs creates path and its missing parents with mode 0700 and makes each
// of them durable in its parent before anything is put into it.
func makeDirs(path string) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return syncIfEmpty(path)
	case err == nil:
		return failed("creating", path, unix.ENOTDIR)
	case !errors.Is(err, fs.ErrNotExist):
		return failed("looking at", path, err)
	}
	parent := filepath.Dir(path)
	if err := makeDirs(parent); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return failed("creating", path, err)
	}
	return syncDir(parent)
}

// syncIfEmpty makes a folder durable in its parent when nothing is in it: a run
// that made it may have ended before it could. Once something is in a folder
// of ours it is durable.
func syncIfEmpty(path string) error {
	dir, err := os.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return nil // not made by us: ours can be read
	}
	if err != nil {
		return failed("opening", path, err)
	}
	defer dir.Close()
	if _, err := dir.Readdirnames(1); err != io.EOF {
		return nil
	}
	return syncName(dir)
}

// syncDir makes the entries of a folder durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return failed("opening", path, err)
	}
	defer dir.Close()
	return syncOpenDir(dir)
}

// syncOpenDir is syncDir for a folder that is open. Some file systems (FUSE,
// CIFS) know no flush of folders and say EINVAL; there is nothing better to
// be had from them.
func syncOpenDir(dir *os.File) error {
	err := dir.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	return failed("flushing", dir.Name(), err)
}

// syncName makes the name of an open file or folder durable in its parent. A
// parent that we may not read cannot be opened for that; then the whole file
// system is flushed, by what is open.
func syncName(f *os.File) error {
	err := syncDir(filepath.Dir(f.Name()))
	if errors.Is(err, fs.ErrPermission) {
		return syncfs(f)
	}
	return err
}

// syncAndClose flushes the files at the same time, which lets the file system
// serve them with few commits of its journal, and closes them. A failed flush
// is final: the kernel reports it once and then forgets (fsync(2), NOTES).
func syncAndClose(files []*os.File) error {
	errs := make([]error, len(files))
	var flushes sync.WaitGroup
	for i, f := range files {
		flushes.Go(func() {
			errs[i] = failed("flushing", f.Name(), f.Sync())
			if err := f.Close(); errs[i] == nil {
				errs[i] = failed("closing", f.Name(), err)
			}
		})
	}
	flushes.Wait()
	return join(errs...)
}

// syncfs flushes the whole file system f is on. The kernel keeps write errors
// by open file and tells those that happened since it was opened: f has to
// have been opened before the first write that is to be covered.
func syncfs(f *os.File) error {
	for {
		err := unix.Syncfs(int(f.Fd()))
		if err != unix.EINTR {
			return failed("flushing the file system of", f.Name(), err)
		}
	}
}

// syncfsSound says whether syncfs on dir's file system writes everything to
// the disk and reports what could not be written. Linux reports errors of
// file data since 5.8, and errors of the journal (what the file system's own
// sync_fs returns) since 5.17. Network, FUSE and stacked file systems are
// left out: not all of them pass the flush on.
func syncfsSound(dir *os.File) bool {
	var s unix.Statfs_t
	if unix.Fstatfs(int(dir.Fd()), &s) != nil {
		return false
	}
	switch uint32(s.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.TMPFS_MAGIC:
		return kernelAtLeast(5, 17)
	}
	return false
}

func kernelAtLeast(major, minor int) bool {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return false
	}
	return releaseAtLeast(unix.ByteSliceToString(name.Release[:]), major, minor)
}

// releaseAtLeast compares a kernel release such as "6.1.0-18-amd64".
func releaseAtLeast(release string, major, minor int) bool {
	var x, y int
	if _, err := fmt.Sscanf(release, "%d.%d", &x, &y); err != nil {
		return false
	}
	return x > major || x == major && y >= minor
}
