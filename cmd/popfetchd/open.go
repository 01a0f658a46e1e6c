package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/store"
)

// ledgerName is the ledger's file within the state folder.
const ledgerName = "ledger.db"

// openFetcher makes the state folder and opens the ledger for a run; done
// closes it.
func openFetcher(c *config.Config, log *slog.Logger) (f *fetch.Fetcher, done func(), err error) {
	if err := store.MakeDirs(c.StateDir); err != nil {
		return nil, nil, &exitError{code: exitLocal, err: fmt.Errorf("making the state folder: %w; create it, or set state_dir to a place that can be written", err)}
	}
	books, err := ledger.Open(filepath.Join(c.StateDir, ledgerName))
	if err != nil {
		return nil, nil, err
	}
	return newFetcher(c, books, log), func() { books.Close() }, nil
}

// openReader is openFetcher for what changes nothing. Where there is no ledger
// yet, the Fetcher has none.
func openReader(c *config.Config, log *slog.Logger) (f *fetch.Fetcher, done func(), err error) {
	books, err := ledger.OpenReadOnly(filepath.Join(c.StateDir, ledgerName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return newFetcher(c, nil, log), func() {}, nil
	case err != nil:
		return nil, nil, err
	}
	return newFetcher(c, books, log), func() { books.Close() }, nil
}

// opener is openFetcher or openReader.
type opener func(*config.Config, *slog.Logger) (f *fetch.Fetcher, done func(), err error)

// openAccounts reads the configuration and opens what it says, for a command
// that fetches nothing; done closes it.
func (a *app) openAccounts(open opener, read func(string) (*config.Config, error), names []string) (f *fetch.Fetcher, accounts []config.Account, done func(), err error) {
	c, accounts, err := a.loadBy(read, names)
	if err != nil {
		return nil, nil, nil, err
	}
	log, err := a.logger(a.stderr, slog.LevelWarn)
	if err != nil {
		return nil, nil, nil, err
	}
	f, done, err = open(c, log)
	return f, accounts, done, err
}

// openQuietly is openReader with the log of a command that is no run.
func (a *app) openQuietly(c *config.Config) (f *fetch.Fetcher, done func(), err error) {
	log, err := a.logger(a.stderr, slog.LevelWarn)
	if err != nil {
		return nil, nil, err
	}
	return openReader(c, log)
}

func newFetcher(c *config.Config, books *ledger.Ledger, log *slog.Logger) *fetch.Fetcher {
	return &fetch.Fetcher{Ledger: books, StateDir: c.StateDir, Log: log, Now: time.Now}
}

// probeState says whether the state folder can be worked in or be made, as far
// as one can tell without making it.
func probeState(dir string) error {
	if err := probeFolder(dir); err != nil {
		return fmt.Errorf("the state folder %s: %w; create it, or set state_dir to a place that can be written", dir, err)
	}
	return nil
}

// probeFolder says whether a folder, or the nearest that exists above it, can
// be written.
func probeFolder(dir string) error {
	nearest := dir
	info, err := os.Stat(nearest)
	for errors.Is(err, fs.ErrNotExist) && nearest != filepath.Dir(nearest) {
		nearest = filepath.Dir(nearest)
		info, err = os.Stat(nearest)
	}
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is no folder", nearest)
	}
	if err == nil {
		err = unix.Access(nearest, unix.W_OK|unix.X_OK)
	}
	return err
}

// mailbox is where an account's mail goes at a time, and of which kind it is.
func mailbox(account config.Account, at time.Time) (path, kind string) {
	if account.Maildir != "" {
		return account.Maildir.At(at), "Maildir"
	}
	return account.Mbox.At(at), "mbox"
}
