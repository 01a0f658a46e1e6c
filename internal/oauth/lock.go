package oauth

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A refresh holds the lock for two requests at most (see Source.refresh); who waits longer waits for something broken.
const (
	lockWait  = 3 * defaultTimeout
	lockRetry = 50 * time.Millisecond
)

// lock keeps other processes, and other goroutines of this one, from changing the file until release is called. Two
// that refresh at the same time would be handed two refresh tokens, of which the one stored last may be the one that
// the provider takes back.
func (s Store) lock(ctx context.Context) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(s.Path), 0o700); err != nil {
		return nil, failed("creating", filepath.Dir(s.Path), err)
	}
	path := s.Path + ".lock"
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, failed("opening", path, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, lockWait, fmt.Errorf("another popfetchd has held it for more than %s; end that one", lockWait))
	defer cancel()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil, errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOLCK):
			return func() { f.Close() }, nil // a file system without locks: the file is still replaced as a whole
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			f.Close()
			return nil, failed("locking", path, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, failed("locking", path, context.Cause(ctx))
		case <-time.After(lockRetry):
		}
	}
}
