package store

// Locks of an mbox, in the order of Debian's policy (section 11.6): first the
// fcntl lock on the file, then the dot lock beside it. Whoever finds one of
// them taken releases the other and tries again later, so programs that take
// them the other way round cannot wait for each other for ever.
//
// The fcntl lock is one of the open file description (F_OFD_SETLK). It and
// the traditional F_SETLK locks of other programs exclude each other
// (fcntl_locking(2)), but unlike those it also excludes two accounts of this
// process, and is not lost when some other descriptor of the file is closed.
//
// The dot lock is "<mbox>.lock", made as a second name (link(2)) of a file
// that is already complete: that is atomic on NFS too, and nobody ever sees
// it empty. It holds "<pid>:<host>", which Dovecot reads; liblockfile and
// mutt read the number before the colon. Mode 0444, as liblockfile has it:
// other users have to be able to see whose it is.
//
// A dot lock that others have left behind is removed. By then the fcntl lock
// is held, so it is not that of a program that obeys the policy, nor of
// another popfetchd. It is stale when
//   - it names a process of this host that is not alive, or this very process;
//   - or it is older than 5 minutes, by the file server's clock, and does not
//     name a process of this host that was alive when it was made. (A number
//     that belongs to a younger process was given out again, as after a
//     reboot; a live holder may take as long as it likes.)
// Without a host the number is taken for one of this host, as liblockfile does.
//
// A lock counts only while the path names the file that was opened. Mail
// readers put a new file in place of an mbox to delete from it, and those
// that know the dot lock alone may do so until we have it: so we look again
// then, and once more when all is written, for programs that know no lock.
//
// Where the folder does not let us make files (/var/mail without the group
// mail, a single file mounted into a container) the fcntl lock has to do; a
// dot lock of others is respected there, too.

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// How long to wait between two tries: it doubles from the first to the last,
// and each wait is cut by up to half at random.
const (
	firstLockWait = 20 * time.Millisecond
	lastLockWait  = time.Second
)

// noticeAfter is how long one waits before anybody is told: others hold a lock
// for the moment that it takes to deliver a message.
const noticeAfter = 2 * time.Second

// lockedMbox is an mbox that is open for appending and locked.
type lockedMbox struct {
	*os.File
	dot     string      // the dot lock's path; "" without one
	dotInfo fs.FileInfo // what it was when it was made
}

// lockMbox opens and locks the mbox at path, which has to be resolved. With
// create a missing file is made, else that is fs.ErrNotExist. It tries until
// o.LockTimeout ends, then the error is ErrLocked, or until the context does;
// that is nobody's fault, so its cause is not made an [Error].
func lockMbox(ctx context.Context, path string, o Options, create bool) (*lockedMbox, error) {
	timeout := time.NewTimer(o.LockTimeout)
	defer timeout.Stop()
	began, told := time.Now(), o.Waiting == nil
	for wait := firstLockWait; ; wait = min(2*wait, lastLockWait) {
		l, holder, err := tryLock(path, o, create)
		if err != nil || l != nil {
			return l, err
		}
		if !told && time.Since(began) >= noticeAfter {
			o.Waiting(path, holder)
			told = true
		}
		pause := time.NewTimer(wait/2 + rand.N(wait/2))
		select {
		case <-pause.C:
			continue
		case <-ctx.Done():
			err = fmt.Errorf("waiting for %s: %s: %w", path, holder, context.Cause(ctx))
		case <-timeout.C:
			err = fmt.Errorf("%w for %v: %s; close that program, or try again later", ErrLocked, o.LockTimeout, holder)
			err = failed("locking", path, err)
		}
		pause.Stop()
		return nil, err
	}
}

// tryLock takes both locks, or none and says who holds one.
func tryLock(path string, o Options, create bool) (l *lockedMbox, holder string, err error) {
	f, err := openMbox(path, create)
	if err != nil {
		return nil, "", err
	}
	l = &lockedMbox{File: f}
	holder, err = l.lockFile()
	if err == nil && holder == "" {
		holder, err = l.stillThere()
	}
	if err == nil && holder == "" {
		holder, err = l.lockDot(path, o)
	}
	if err != nil || holder != "" {
		l.unlock() // nothing was done under the locks
		return nil, holder, err
	}
	return l, "", nil
}

// openMbox opens a regular file for reading and appending. Anything else that
// stands there is not even opened: that can have effects of its own.
func openMbox(path string, create bool) (*os.File, error) {
	info, err := os.Lstat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, notRegular(path, info)
	}
	flags := os.O_RDWR | os.O_APPEND | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY
	if create {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, failed("opening", path, err)
	}
	info, err = f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = notRegular(path, info)
	}
	if err != nil {
		f.Close()
		return nil, failed("opening", path, err)
	}
	return f, nil
}

// errNoMbox is a file that mail readers would take for something else, or
// whose mail they would not see.
var errNoMbox = errors.New(`it is no mbox: that would be empty or begin with "From "; choose another path, or move the file away`)

// isMbox refuses a file that holds something else than mail. Line ends at its
// beginning are let pass.
func isMbox(f *os.File) error {
	r := bufio.NewReaderSize(io.NewSectionReader(f, 0, 1<<63-1), headerChunk)
	for {
		start, err := r.Peek(1)
		if err == nil && (start[0] == '\n' || start[0] == '\r') {
			r.Discard(1)
			continue
		}
		if err == nil {
			start, err = r.Peek(len(fromWord))
		}
		switch {
		case err != nil && err != io.EOF:
			return failed("reading", f.Name(), err)
		case len(start) > 0 && !bytes.Equal(start, fromWord):
			return failed("appending to", f.Name(), errNoMbox)
		}
		return nil
	}
}

func notRegular(path string, info fs.FileInfo) error {
	kind := describeType(info.Mode())
	if info.IsDir() {
		kind += "; is it a Maildir?"
	}
	return failed("opening", path, fmt.Errorf("an mbox has to be a regular file, this is %s", kind))
}

// describeType names what is no regular file.
func describeType(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "something else"
}

// lockFile takes the fcntl lock, or says who has it.
func (l *lockedMbox) lockFile() (holder string, err error) {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: unix.SEEK_SET}
	err = unix.FcntlFlock(l.Fd(), unix.F_OFD_SETLK, &lock)
	if err == nil {
		return "", nil
	}
	if err != unix.EAGAIN && err != unix.EACCES {
		return "", failed("locking", l.Name(), err)
	}
	lock = unix.Flock_t{Type: unix.F_WRLCK, Whence: unix.SEEK_SET}
	if unix.FcntlFlock(l.Fd(), unix.F_OFD_GETLK, &lock) == nil && lock.Type != unix.F_UNLCK && lock.Pid > 0 {
		return "fcntl lock of " + process(int(lock.Pid)), nil
	}
	return "fcntl lock", nil
}

// errReplaced is an append that nobody will find.
var errReplaced = errors.New("another program replaced it although we hold its locks; have that program use fcntl and dot locks")

// stillThere says whether the path still names the file that was opened; a
// mail reader may have put a new one in its place.
func (l *lockedMbox) stillThere() (holder string, err error) {
	path := l.Name()
	opened, err := l.Stat()
	if err != nil {
		return "", failed("looking at", path, err)
	}
	named, err := os.Lstat(path)
	if err == nil && os.SameFile(opened, named) {
		return "", nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", failed("looking at", path, err)
	}
	return "it is being replaced", nil
}

// notReplaced is stillThere for the time when the locks are held.
func (l *lockedMbox) notReplaced() error {
	holder, err := l.stillThere()
	if err == nil && holder != "" {
		err = failed("writing", l.Name(), errReplaced)
	}
	return err
}

// unlock releases the dot lock and then the file's own with closing it. A dot
// lock that others took for stale and replaced is theirs.
func (l *lockedMbox) unlock() error {
	var errs []error
	if l.dot != "" {
		now, err := os.Lstat(l.dot)
		if err == nil && os.SameFile(now, l.dotInfo) {
			errs = append(errs, failed("removing", l.dot, os.Remove(l.dot)))
		}
	}
	errs = append(errs, failed("closing", l.Name(), l.Close()))
	return join(errs...)
}

// resolve follows the symbolic links of an mbox path, so that the dot lock
// stands beside the file itself, where other programs make theirs. The file,
// and folders above it, may be missing.
func resolve(path string) (string, error) {
	const most = 40 // as the kernel's own limit
	for range most {
		target, err := os.Readlink(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EINVAL) { // EINVAL: no link
			return path, nil
		}
		if err != nil {
			return "", failed("looking at", path, err)
		}
		if !filepath.IsAbs(target) {
			dir, err := filepath.EvalSymlinks(filepath.Dir(path))
			if err != nil {
				return "", failed("looking at", path, err)
			}
			target = filepath.Join(dir, target)
		}
		path = target
	}
	return "", failed("looking at", path, unix.ELOOP)
}
