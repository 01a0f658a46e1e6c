package fetch

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lockPatience is how long a run waits for another run of the same account, and lockPoll how often it looks: long
// enough for a poll that finds nothing, short enough for cron.
const (
	lockPatience = 5 * time.Second
	lockPoll     = 50 * time.Millisecond
)

var errElsewhere = errors.New("another popfetchd is fetching this account")

// lockAccount takes an account's lock; errElsewhere says that another run held it for all of patience. The kernel drops
// the lock when the process ends, however it ends: it is never stale.
func (f *Fetcher) lockAccount(ctx context.Context, account string, patience time.Duration) (unlock func(), err error) {
	folder := filepath.Join(f.StateDir, "locks")
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err // also when the state folder is gone, and the ledger with it: a new one would be a lie
	}
	file, err := os.OpenFile(filepath.Join(folder, account+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := waitForLock(ctx, file, patience); err != nil {
		file.Close()
		return nil, err
	}
	return func() { file.Close() }, nil
}

// pathError makes err tell which file it is about; nil stays nil.
func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

func waitForLock(ctx context.Context, f *os.File, patience time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errElsewhere)
	defer cancel()
	look := time.NewTicker(lockPoll)
	defer look.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return pathError("flock", f.Name(), err)
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
