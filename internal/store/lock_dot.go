package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// staleAfter is the age from which a dot lock counts as left behind when
// nothing better is known of it (liblockfile's five minutes).
const staleAfter = 5 * time.Minute

// lockDot takes the dot lock for the file that is open, or says who has it.
// The fcntl lock is held. What came before counts only if the path still names
// that file then.
func (l *lockedMbox) lockDot(path string, o Options) (holder string, err error) {
	holder, err = l.takeDot(path, o)
	if err != nil || holder != "" {
		return holder, err
	}
	return l.stillThere()
}

func (l *lockedMbox) takeDot(path string, o Options) (holder string, err error) {
	dot := path + ".lock"
	own, err := newLockFile(filepath.Dir(path), o)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		holder, _, err := judgeDot(dot, o, time.Now())
		return holder, err
	}
	if err != nil {
		return "", err
	}
	defer os.Remove(own.path)
	for {
		holder, old, err := judgeDot(dot, o, own.info.ModTime())
		if holder != "" || err != nil {
			return holder, err
		}
		if old != nil {
			if err := removeStale(dot, old); err != nil {
				return "", err
			}
		}
		taken, err := own.linkTo(dot, o)
		if err != nil {
			return "", err
		}
		if !taken {
			l.dot, l.dotInfo = dot, own.info
			return "", nil
		}
	}
}

// lockFile is a dot lock to be, under a name of its own.
type lockFile struct {
	path string
	info fs.FileInfo // its time is the file server's
}

// lockFileName is the pattern of those names; Sweep looks for it.
func lockFileName(account, digits, host string) string {
	tag := accountTag(account)
	return fmt.Sprintf(".popfetchd-%x.%s.%s.lock", tag, digits, escapeHost(host))
}

func newLockFile(dir string, o Options) (lockFile, error) {
	return writeLockFile(filepath.Join(dir, lockFileName(o.Account, randomDigits(), o.Hostname)), o)
}

// writeLockFile creates a lock file that does not exist.
func writeLockFile(path string, o Options) (lockFile, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return lockFile{}, failed("creating", path, err)
	}
	_, err = fmt.Fprintf(f, "%d:%s\n", os.Getpid(), o.Hostname)
	info, statErr := f.Stat()
	// A power cut must not leave a lock that names nobody: it would keep all out until it is old.
	if err = join(err, statErr, f.Sync(), f.Close()); err != nil {
		os.Remove(path)
		return lockFile{}, failed("writing", path, err)
	}
	return lockFile{path, info}, nil
}

// linkTo gives the lock file the dot lock's name; taken says that another one
// has it. Over NFS an answer can get lost, so not the error but the number of
// names tells whether it worked. Where there are no second names (FAT), the
// lock file is renamed, without replacing anything; where that is not to be had
// either, another one is made at the dot lock's name with O_EXCL, which for a
// moment is empty and thus nobody's, but counts as a lock all the same.
func (own *lockFile) linkTo(dot string, o Options) (taken bool, err error) {
	err = os.Link(own.path, dot)
	var s unix.Stat_t
	if unix.Lstat(own.path, &s) == nil && s.Nlink == 2 {
		return false, nil
	}
	if noSecondNames(err) {
		err = unix.Renameat2(unix.AT_FDCWD, own.path, unix.AT_FDCWD, dot, unix.RENAME_NOREPLACE)
	}
	if errors.Is(err, unix.EINVAL) || noSecondNames(err) {
		var made lockFile
		if made, err = writeLockFile(dot, o); err == nil {
			own.info = made.info
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return true, nil
	}
	return false, failed("creating", dot, err)
}

// judgeDot says who holds a dot lock; nobody when it is stale, then it is
// also returned, or when there is none.
func judgeDot(dot string, o Options, now time.Time) (holder string, stale fs.FileInfo, err error) {
	info, err := os.Lstat(dot)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, failed("looking at", dot, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Sprintf("%s is there, and is no lock file", dot), nil, nil
	}
	text, err := readStart(dot)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, nil
	}
	pid, host := parseDot(text) // what cannot be read names nobody
	if isStale(pid, host == "" || host == o.Hostname, host != "", info.ModTime(), now) {
		return "", info, nil
	}
	return describeDot(dot, pid, host, o.Hostname, now.Sub(info.ModTime())), nil, nil
}

// isStale is the rule at the head of lock.go.
func isStale(pid int, here, hostNamed bool, made, now time.Time) bool {
	old := now.Sub(made).Abs() > staleAfter // also one from a future that a clock once showed
	if pid <= 0 || !here {
		return old
	}
	if pid == os.Getpid() && hostNamed {
		return true
	}
	if !alive(pid) {
		return true
	}
	started, err := startTime(pid)
	return old && err == nil && started.After(made)
}

// parseDot reads "<pid>" or "<pid>:<host>".
func parseDot(text string) (pid int, host string) {
	line, _, _ := strings.Cut(text, "\n")
	number, host, _ := strings.Cut(line, ":")
	pid, err := strconv.Atoi(strings.TrimSpace(number))
	if err != nil {
		return 0, ""
	}
	return pid, strings.TrimSpace(host)
}

// readStart returns the first bytes of a small file.
func readStart(path string) (string, error) {
	f, err := openRegular(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	buf := make([]byte, 512)
	n, _ := f.Read(buf)
	return string(buf[:n]), nil
}

func describeDot(dot string, pid int, host, ownHost string, age time.Duration) string {
	text := "dot lock " + dot
	switch {
	case pid > 0 && host != "" && host != ownHost:
		text += fmt.Sprintf(" of process %d on host %q", pid, host)
	case pid > 0:
		text += " of " + process(pid)
	}
	return fmt.Sprintf("%s, made %v ago", text, age.Round(time.Second))
}

// removeStale removes a dot lock if it is still the one that was judged. In
// the moment between looking and removing only a program that ignores the
// fcntl lock, which is held, could replace it.
func removeStale(dot string, judged fs.FileInfo) error {
	now, err := os.Lstat(dot)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && os.SameFile(now, judged) && now.ModTime().Equal(judged.ModTime()) {
		err = os.Remove(dot)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	return failed("removing the stale lock", dot, err)
}

func alive(pid int) bool {
	err := unix.Kill(pid, 0)
	return err == nil || err == unix.EPERM
}

// process names a process for people.
func process(pid int) string {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return fmt.Sprintf("process %d", pid)
	}
	printable := strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) || c == utf8.RuneError {
			return '?'
		}
		return c
	}, strings.TrimSpace(string(name)))
	return fmt.Sprintf("process %d (%s)", pid, printable)
}

// ticksPerSecond is the unit of proc_pid_stat(5), the same on all of Linux.
const ticksPerSecond = 100

// startTime returns when a process started, on the clock of the wall.
func startTime(pid int) (time.Time, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return time.Time{}, err
	}
	// The second field, the name in parentheses, may hold anything; field 22
	// is the start, in ticks since boot.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	const start = 22 - 3
	if len(fields) <= start {
		return time.Time{}, fmt.Errorf("/proc/%d/stat has too few fields", pid)
	}
	ticks, err := strconv.ParseInt(fields[start], 10, 64)
	if err != nil {
		return time.Time{}, err
	}
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return time.Time{}, err
	}
	age := time.Duration(up.Nano()) - time.Duration(ticks)*(time.Second/ticksPerSecond)
	return time.Now().Add(-age), nil
}
