package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Error is trouble with the local disk or mailbox. Its text says what was
// being done to which file and, where that is known, what to do about it.
type Error struct {
	Op   string // what was being done: "writing", "locking" …
	Path string
	Err  error
}

// ErrLocked says that another program kept the mbox locked for the whole of
// Options.LockTimeout. Trying again later is right.
var ErrLocked = errors.New("mailbox is locked by another program")

// Error implements error.
func (e *Error) Error() string {
	text := e.Op + " " + e.Path + ": " + e.Err.Error()
	if h := hint(e.Err); h != "" {
		text += "; " + h
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// failed wraps an error of the local disk as *Error, once: the path and the
// system call's name that package os adds would only say the same again.
// A nil error stays nil.
func failed(op, path string, err error) error {
	if err == nil {
		return nil
	}
	var done *Error
	if errors.As(err, &done) {
		return err
	}
	var (
		atPath *fs.PathError
		atLink *os.LinkError
		inCall *os.SyscallError
	)
	switch {
	case errors.As(err, &atPath):
		err = atPath.Err
	case errors.As(err, &atLink):
		err = atLink.Err
	case errors.As(err, &inCall):
		err = inCall.Err
	}
	return &Error{Op: op, Path: path, Err: err}
}

// join is [errors.Join], but what it returns reads as one line, and one error
// stays what it is.
func join(errs ...error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	return joined(errs)
}

type joined []error

// Error implements error. It tells the first few: a disk in trouble has as
// many errors as the batch has files.
func (j joined) Error() string {
	const most = 3
	var text strings.Builder
	for i, err := range j {
		if i == most {
			fmt.Fprintf(&text, "; and %d more errors", len(j)-most)
			break
		}
		if i > 0 {
			text.WriteString("; ")
		}
		text.WriteString(err.Error())
	}
	return text.String()
}

// Unwrap returns all of them.
func (j joined) Unwrap() []error { return j }

// hint says what to do about an error of the system; "" when there is
// nothing to add.
func hint(err error) string {
	for _, h := range [...]struct {
		errno unix.Errno
		text  string
	}{
		{unix.ENOSPC, "the disk is full: free some space, nothing was lost and the next run goes on from here"},
		{unix.EDQUOT, "the disk quota is used up: free some space or have it raised, the next run goes on from here"},
		{unix.EFBIG, "the file may not grow that large: raise the limit (ulimit -f), or split the mailbox with %Y-%m in its path"},
		{unix.EROFS, "the file system is mounted read-only: mount it for writing, or choose another path"},
		{unix.EACCES, "let the user that popfetchd runs as write there (chown, chmod), or choose another path"},
		{unix.EPERM, "let the user that popfetchd runs as write there (chown, chmod), or choose another path"},
		{unix.EXDEV, "tmp and new must be on one file system: have no link or mount among them"},
		{unix.ENAMETOOLONG, "choose a shorter path"},
		{unix.ENOENT, "it was moved or removed while it was in use: bring it back, or the next run makes a new one"},
		{unix.ENOTDIR, "a part of the path is a file: choose another path"},
		{unix.ELOOP, "the symbolic links of this path run in a circle: mend them"},
		{unix.EIO, "the disk has trouble: look at the kernel's messages (dmesg)"},
		{unix.EMFILE, "too many files are open: raise the limit (ulimit -n)"},
	} {
		if errors.Is(err, h.errno) {
			return h.text
		}
	}
	return ""
}
