package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// RunningError says that another daemon has the state folder.
type RunningError struct {
	StateDir string
	Process  string // its id, "" when not known
}

func (e *RunningError) Error() string {
	who := "another popfetchd"
	if e.Process != "" {
		who += " (process " + e.Process + ")"
	}
	return fmt.Sprintf("%s is running with the state folder %s; stop it first, or give this one a state_dir of its own", who, e.StateDir)
}

// Listener is the daemon's end of the socket, and its claim to the state folder.
type Listener struct {
	*net.UnixListener
	path  string
	lock  *os.File
	close func() error
}

// Listen claims a state folder, which has to exist, and opens the socket in it, mode 0600. A *RunningError says that another
// daemon has claimed it. A socket that one left behind is replaced.
func Listen(ctx context.Context, stateDir string) (*Listener, error) {
	lock, err := claim(stateDir)
	if err != nil {
		return nil, err
	}
	l := &Listener{path: filepath.Join(stateDir, socketName), lock: lock}
	l.close = sync.OnceValue(l.giveUp)
	if err := os.Remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		lock.Close()
		return nil, err
	}
	err = socket(stateDir, func(path string) error {
		// The mode of a socket before it is bound is the most that its file gets: nobody finds it open wider, not even for a moment.
		private := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
			problem := raw.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) })
			return cmp.Or(problem, err)
		}}
		listener, err := private.Listen(ctx, "unix", path)
		if err == nil {
			l.UnixListener = listener.(*net.UnixListener)
			l.UnixListener.SetUnlinkOnClose(false) // Close does, by the right name
		}
		return err
	})
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("opening the control socket %s: %w", l.path, err)
	}
	return l, nil
}

// Close removes the socket and gives up the state folder. More than one call does no more than the first: what is there
// afterwards may belong to another daemon.
func (l *Listener) Close() error { return l.close() }

func (l *Listener) giveUp() error {
	err := os.Remove(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(l.UnixListener.Close(), err, l.lock.Close())
}

// claim takes the lock that only one daemon has.
func claim(stateDir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(stateDir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer lock.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, &fs.PathError{Op: "lock", Path: lock.Name(), Err: err}
		}
		holder, _ := io.ReadAll(io.LimitReader(lock, 20)) // for the message only
		return nil, &RunningError{StateDir: stateDir, Process: strings.TrimSpace(string(holder))}
	}
	if err := lock.Truncate(0); err == nil { // who it is helps people; nothing depends on it
		_, _ = fmt.Fprintf(lock, "%d\n", os.Getpid())
	}
	return lock, nil
}
