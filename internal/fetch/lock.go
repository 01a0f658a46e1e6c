package fetch

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/popfetchd/popfetchd/internal/store"
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
		return nil, diskError("making", folder, err) // also when the state folder is gone, and the ledger with it: a new one would be a lie
	}
	path := filepath.Join(folder, account+".lock")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, diskError("opening", path, err)
	}
	if err := waitForLock(ctx, file, patience); err != nil {
		file.Close()
		return nil, err
	}
	return func() { file.Close() }, nil
}

// diskError is an error of the system about a file, as the store tells it: with what to do. Nil stays nil.
func diskError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	if at := (*fs.PathError)(nil); errors.As(err, &at) {
		err = at.Err
	}
	return &store.Error{Op: op, Path: path, Err: err}
}

func waitForLock(ctx context.Context, f *os.File, patience time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errElsewhere)
	defer cancel()
	look := time.NewTicker(lockPoll)
	defer look.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return diskError("locking", f.Name(), err)
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
