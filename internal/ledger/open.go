package ledger

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	_ "modernc.org/sqlite" // the database/sql driver "sqlite"
)

//go:embed schema.sql
var schema string

const (
	// schemaVersion stands in PRAGMA user_version. A ledger of a higher one was written by a newer popfetchd.
	schemaVersion = 1
	// applicationID stands in PRAGMA application_id ("PoPf"), so that file(1) and we tell a ledger from other databases.
	applicationID = 0x506f5066
	// busyTimeout is how long a transaction waits for another process's, in milliseconds. Ours last far less.
	busyTimeout = 10_000
	// pageCache bounds SQLite's cache, in KiB: the working set of a poll, whatever the ledger's size.
	pageCache = 4096
)

// Ledger is the memory of what was stored where. It is safe for concurrent use, also by several processes.
type Ledger struct {
	path string
	db   *sql.DB

	mu  sync.Mutex
	ids map[string]int64 // account name to accounts.id
}

// Error is trouble with the ledger: it stops the account, since to go on without a memory would fetch everything again.
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

const damagedAdvice = "nothing was fetched or deleted; bring it back from a backup, or move it away to begin a new one"

// Open opens the ledger at path for reading and writing, and makes a new one, mode 0600, where there is none. The
// folder must exist. A file that is damaged, foreign, or of a newer version is an *Error. The whole file is checked.
func Open(path string) (*Ledger, error) {
	err := create(path)
	if err != nil {
		return nil, &Error{path, "making a new ledger", err}
	}
	// FULL: a transaction that was committed survives a power cut. Immediate: no deadlock between two writers.
	return open(path, "_txlock=immediate&_pragma=synchronous(FULL)")
}

// OpenReadOnly opens the ledger at path for reading, also while a daemon writes to it. Where there is none the error is
// fs.ErrNotExist.
func OpenReadOnly(path string) (*Ledger, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, &Error{path, "opening it", err}
	}
	return open(path, "_pragma=query_only(1)")
}

func open(path, options string) (*Ledger, error) {
	if err := looksWhole(path); err != nil {
		return nil, &Error{path, "opening it", err}
	}
	dsn := fmt.Sprintf("file:%s?_pragma=busy_timeout(%d)&_pragma=cache_size(-%d)&%s", (&url.URL{Path: path}).EscapedPath(), busyTimeout, pageCache, options)
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, &Error{path, "opening it", err}
	}
	db.SetMaxOpenConns(1) // SQLite has one writer; one connection keeps memory and locks plain
	if err := check(db); err != nil {
		return nil, errors.Join(&Error{path, "checking it", err}, db.Close())
	}
	return &Ledger{path: path, db: db, ids: map[string]int64{}}, nil
}

// Close closes the ledger.
func (l *Ledger) Close() error { return l.fail("closing it", l.db.Close()) }

// create makes an empty ledger in a file of its own, syncs it and renames it to path: a file at path is thus never half
// made, so that an empty one can only be a damaged one. The lock on the folder keeps two beginners apart.
func create(path string) error {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer folder.Close()
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Lstat(path + "-wal"); err == nil {
		return fmt.Errorf("it is gone but %s-wal is still there: %w; %s", path, ErrDamaged, damagedAdvice)
	}
	fresh := path + ".new"
	for _, leftover := range []string{fresh, fresh + "-wal", fresh + "-shm"} {
		if err := os.Remove(leftover); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := writeEmpty(fresh); err != nil {
		return err
	}
	if err := os.Rename(fresh, path); err != nil {
		return err
	}
	return folder.Sync()
}

func writeEmpty(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath())
	if err != nil {
		return err
	}
	_, err = db.Exec(fmt.Sprintf("PRAGMA journal_mode=WAL; BEGIN; %s PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT; PRAGMA wal_checkpoint(TRUNCATE)",
		schema, applicationID, schemaVersion))
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	return syncFile(path)
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// looksWhole refuses what SQLite would silently take for a new database: a file without its header.
func looksWhole(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var magic [16]byte
	if _, err := io.ReadFull(f, magic[:]); err != nil || string(magic[:]) != "SQLite format 3\x00" {
		return fmt.Errorf("%w: it does not begin as a ledger does; %s", ErrDamaged, damagedAdvice)
	}
	return nil
}

// check reads every page (about 25 ms for 100,000 messages) and compares versions.
func check(db *sql.DB) error {
	var application, version int
	var integrity string
	err := errors.Join(
		db.QueryRow("PRAGMA application_id").Scan(&application),
		db.QueryRow("PRAGMA user_version").Scan(&version))
	if err == nil {
		err = db.QueryRow("PRAGMA integrity_check(1)").Scan(&integrity)
	}
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w; %s", ErrDamaged, err, damagedAdvice)
	case application != applicationID:
		return errors.New("this is no ledger of popfetchd; point state_dir elsewhere")
	case version > schemaVersion:
		return fmt.Errorf("it was written by a newer popfetchd (schema %d, this one knows %d); install that one again", version, schemaVersion)
	case integrity != "ok":
		return fmt.Errorf("%w: %s; %s", ErrDamaged, integrity, damagedAdvice)
	}
	return nil
}

// fail wraps err with what was being done; nil stays nil.
func (l *Ledger) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{l.path, op, err}
}

// change runs do in one durable transaction: all of it or nothing.
func (l *Ledger) change(op string, do func(*sql.Tx) error) error {
	tx, err := l.db.BeginTx(context.Background(), nil) // a local commit is finished even when the run is being cancelled
	if err != nil {
		return l.fail(op, err)
	}
	if err := do(tx); err != nil {
		return l.fail(op, errors.Join(err, tx.Rollback()))
	}
	return l.fail(op, tx.Commit())
}
