package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Probe implements [Mailbox].
func (m *Maildir) Probe() error {
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := probeDir(filepath.Join(m.path, sub)); err != nil {
			return err
		}
	}
	return nil
}

// Probe implements [Mailbox]; it judges the spool folder as well.
func (m *Mbox) Probe() error {
	path, err := resolve(m.path)
	if err != nil {
		return err
	}
	f, err := openMbox(path, false)
	switch {
	case err == nil:
		err := isMbox(f)
		f.Close()
		if err != nil {
			return err
		}
	case errors.Is(err, fs.ErrNotExist):
		if err := probeDir(filepath.Dir(path)); err != nil {
			return err
		}
	default:
		return err
	}
	return probeDir(m.options.SpoolDir)
}

// probeDir says whether files can be made in a folder, or, when it does not
// exist, in the nearest one above it that does.
func probeDir(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) != dir:
		return probeDir(filepath.Dir(dir))
	case err != nil:
		return failed("looking at", dir, err)
	case !info.IsDir():
		return failed("looking at", dir, unix.ENOTDIR)
	}
	err = unix.Faccessat(unix.AT_FDCWD, dir, unix.R_OK|unix.W_OK|unix.X_OK, unix.AT_EACCESS)
	if err != nil {
		return failed("writing to", dir, err)
	}
	return probeFile(dir)
}

// probeFile writes a byte to a file without a name, which is gone when it is
// closed, whatever happens. A full disk shows here.
func probeFile(dir string) error {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EINVAL) {
		return nil // a file system without such files: the access check has to do
	}
	if err != nil {
		return failed("creating a file in", dir, err)
	}
	f := os.NewFile(uintptr(fd), dir)
	defer f.Close()
	_, err = f.Write([]byte{0})
	return failed("writing to", dir, err)
}
