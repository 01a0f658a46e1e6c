package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Error is trouble with the ledger: it stops the account, since to go on without a memory would fetch everything again.
// A full disk is syscall.ENOSPC to errors.Is, a damaged file is ErrDamaged.
type Error struct {
	Path string
	Op   string // what was being done, as in "recording stored messages"
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("ledger %s: %s: %v", e.Path, e.Op, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ErrDamaged is wrapped by errors about a ledger that is there but cannot be trusted. It is never taken for an empty one.
var ErrDamaged = errors.New("the file is damaged")

// ErrBusy is wrapped by errors about a ledger that another process holds: it is free again later.
var ErrBusy = errors.New("another program holds it")

// errReplaced stops whoever would go on to write into a file that nobody will find again.
var errReplaced = errors.New("was removed or replaced while it was in use; bring it back, and start popfetchd anew")

// damaged returns an ErrDamaged that says how it shows, by the first line of detail, and what to do.
func damaged(detail string) error {
	detail, _, _ = strings.Cut(detail, "\n") // SQLite quotes whole statements
	return fmt.Errorf("%w: %s; bring it back from a backup, or move it and its -wal file away to begin a new one", ErrDamaged, detail)
}

// problem returns an *Error about err; nil for nil.
func problem(path, op string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{path, op, explain(path, err)}
}

// fail wraps err with what was being done; nil stays nil.
func (l *Ledger) fail(op string, err error) error { return problem(l.path, op, err) }

// explain adds to an error what it says of the cause, and what to do about it.
func explain(path string, err error) error {
	if errors.Is(err, ErrDamaged) {
		return err
	}
	var failure *sqlite.Error
	if !errors.As(err, &failure) {
		return advised(err)
	}
	if failure.Code() == sqlite3.SQLITE_IOERR_SHMSIZE { // no room for the -shm file
		return fmt.Errorf("%w: %w; make room on the disk", syscall.ENOSPC, err)
	}
	switch failure.Code() & 0xff { // the rest is SQLite's extended code
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("%w: %w; make room on the disk", syscall.ENOSPC, err)
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return damaged(err.Error())
	case sqlite3.SQLITE_BUSY:
		return fmt.Errorf("%w: %w; end what has it open for writing", ErrBusy, err)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		if reason := probe(filepath.Dir(path)); reason != nil {
			return advised(fmt.Errorf("%w: %w", err, reason))
		}
		return fmt.Errorf("%w; %s", err, adviceRights)
	case sqlite3.SQLITE_IOERR:
		return fmt.Errorf("%w; the disk fails or a quota is used up: see dmesg and quota", err)
	}
	return err
}

// probe finds what SQLite does not tell: why no file can be made in a folder. It is nil when one can.
func probe(folder string) error {
	f, err := os.CreateTemp(folder, ".popfetchd-probe-")
	if err != nil {
		return cause(err)
	}
	_, err = f.WriteString("x") // a full disk may have room for a file without content
	return cause(errors.Join(err, f.Close(), os.Remove(f.Name())))
}

// cause is the system's own word on err, without the path: that of a file made to try tells nobody anything.
func cause(err error) error {
	if number := syscall.Errno(0); errors.As(err, &number) {
		return number
	}
	return err
}

const adviceRights = "the ledger, its -wal and -shm files and their folder must be writable for the user who runs this"

// advised adds to an error of the system what to do about it.
func advised(err error) error {
	for _, known := range [...]struct {
		number syscall.Errno
		advice string
	}{
		{syscall.ENOSPC, "make room on the disk"},
		{syscall.EDQUOT, "the quota is used up: make room, or have it raised"},
		{syscall.EROFS, "mount the file system for writing, or point state_dir elsewhere"},
		{syscall.EACCES, adviceRights},
		{syscall.EPERM, adviceRights},
		{syscall.EIO, "the disk has trouble: see dmesg"},
		{syscall.ENOENT, "bring the state folder back, or point state_dir elsewhere"},
		{syscall.ENOTDIR, "a part of the path is a file; point state_dir elsewhere"},
		{syscall.ELOOP, "the symbolic links of this path run in a circle: mend them"},
		{syscall.EMFILE, "too many files are open: raise the limit (ulimit -n)"},
	} {
		if errors.Is(err, known.number) {
			return fmt.Errorf("%w; %s", err, known.advice)
		}
	}
	return err
}
