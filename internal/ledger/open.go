package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite" // the database/sql driver "sqlite"
)

const (
	// schemaVersion stands in PRAGMA user_version. A ledger of a higher one was written by a newer popfetchd.
	schemaVersion = 4
	// applicationID stands in PRAGMA application_id ("PoPf"), so that file(1) and we tell a ledger from other databases.
	applicationID = 0x506f5066
	// busyTimeout is how long a transaction waits for another process's, in milliseconds. Ours last far less.
	busyTimeout = 10_000
	// pageCache bounds SQLite's cache, in KiB: the working set of a poll, whatever the ledger's size.
	pageCache = 4096
	// smallestPage is the size of SQLite's smallest pages, in bytes; ours are larger.
	smallestPage = 512
	// walLimit is what the -wal file is cut back to once a large transaction made it larger, in bytes.
	walLimit = 16 << 20
)

// Ledger is the memory of what was stored where. It is safe for concurrent use, also by several processes.
type Ledger struct {
	path   string
	db     *sql.DB
	opened [2]os.FileInfo // of files, when they were opened for writing

	mu  sync.Mutex
	ids map[string]int64 // account name to accounts.id
}

// Open opens the ledger at path for reading and writing, and makes a new one, mode 0600, where there is none. The
// folder must exist. A file that is damaged, foreign, or of a newer version is an *Error; one of an older version is
// brought up to date. The whole file is checked.
func Open(path string) (*Ledger, error) {
	path = filepath.Clean(path)
	if err := create(path); err != nil {
		return nil, problem(path, "making a new ledger", err)
	}
	// SQLite would open it for reading all the same, and leave -wal and -shm files of the ledger's mode.
	if err := unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK, unix.AT_EACCESS); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, problem(path, "opening it for writing", err)
	}
	// FULL: a transaction that was committed survives a power cut. Immediate: no deadlock between two writers.
	options := fmt.Sprintf("_txlock=immediate&_pragma=synchronous(FULL)&_pragma=journal_size_limit(%d)", walLimit)
	return open(path, busyTimeout, options, (*Ledger).prepare)
}

// OpenReadOnly opens the ledger at path for reading, also while a daemon writes to it. Where there is none the error is
// fs.ErrNotExist. The user must be one who could write to it, since SQLite's readers keep their locks in a file beside it.
func OpenReadOnly(path string) (*Ledger, error) {
	path = filepath.Clean(path)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if lost := notLost(path); lost != nil {
			err = lost
		}
		return nil, problem(path, "opening it", err)
	}
	return open(path, busyTimeout, "_pragma=query_only(1)", func(_ *Ledger, version int) error {
		if version < schemaVersion {
			return errors.New("it was written by an older popfetchd; the next run brings it up to date")
		}
		return nil
	})
}

// open opens what is there and examines it; patience is a busyTimeout; ready does what is left to do with a whole ledger of the version found.
func open(path string, patience int, options string, ready func(l *Ledger, version int) error) (*Ledger, error) {
	if err := looksWhole(path); err != nil {
		return nil, problem(path, "opening it", err)
	}
	// mode=rw: SQLite must not make a file that vanished just now.
	dsn := fmt.Sprintf("%s?mode=rw&_pragma=busy_timeout(%d)&_pragma=cache_size(-%d)&%s", uri(path), patience, pageCache, options)
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, problem(path, "opening it", err)
	}
	db.SetMaxOpenConns(1) // SQLite has one writer; one connection keeps memory and locks plain
	l := &Ledger{path: path, db: db, ids: map[string]int64{}}
	version, err := examine(db)
	if err == nil {
		err = l.endsWhole()
	}
	if err == nil {
		err = ready(l, version)
	}
	if err = problem(path, "checking it", err); err != nil {
		// To close a damaged one would write its -wal into it. It stays open until the process ends, which it does without a ledger.
		if !errors.Is(err, ErrDamaged) {
			_ = db.Close() // nothing is under way
		}
		return nil, err
	}
	return l, nil
}

// prepare readies a ledger for writing: in WAL mode, of this version. It notes which files it is made of.
func (l *Ledger) prepare(version int) error {
	// It is in WAL mode already, unless it is a copy by VACUUM INTO or somebody has changed that. The -wal file comes with
	// what is read next.
	if _, err := l.db.Exec("PRAGMA journal_mode=WAL; PRAGMA user_version"); err != nil {
		return err
	}
	if version < schemaVersion {
		if err := upgrade(l.db); err != nil {
			return err
		}
	}
	for i, name := range l.files() {
		var err error
		if l.opened[i], err = os.Stat(name); err != nil {
			return err
		}
	}
	return l.flushLeft()
}

// flushLeft makes durable what a run left in the -wal file that was killed before it could: SQLite shows it as committed,
// and what is done next would rely on it.
func (l *Ledger) flushLeft() error {
	wal := l.files()[1]
	if info, err := os.Stat(wal); err != nil || info.Size() == 0 {
		return err
	}
	if err := syncFile(wal); err != nil { // no locks of SQLite's are on this one
		return err
	}
	return syncFile(filepath.Dir(wal))
}

// files are the two that hold what was committed.
func (l *Ledger) files() [2]string { return [2]string{l.path, l.path + "-wal"} }

// inPlace makes sure that the files are still those that were opened. What is written into removed ones is lost.
func (l *Ledger) inPlace() error {
	for i, name := range l.files() {
		now, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) || (err == nil && !os.SameFile(now, l.opened[i])) {
			return fmt.Errorf("%s %w", filepath.Base(name), errReplaced)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// uri returns path as SQLite takes it with options, whatever characters it holds.
func uri(path string) string { return "file:" + (&url.URL{Path: path}).EscapedPath() }

// Close closes the ledger.
func (l *Ledger) Close() error { return l.fail("closing it", l.db.Close()) }

// looksWhole refuses what SQLite would take for a new database, or mend without a word. It must not open the file: to
// close it again would drop the locks that SQLite holds on it for another Ledger of this process (fcntl locks go with
// the first close of any descriptor).
func looksWhole(path string) error {
	info, err := os.Stat(path)
	if _, gone := os.Lstat(path); err != nil && gone == nil && errors.Is(err, fs.ErrNotExist) {
		return errors.New("it is a symbolic link to nothing; bring back what it leads to, or remove the link to begin a new ledger")
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is no regular file; point state_dir elsewhere")
	}
	if info.Size() == 0 {
		return damaged("it is empty, which a ledger never is")
	}
	if info.Size() < smallestPage { // it was whole before there was a -wal file
		return damaged("most of it is cut off")
	}
	return nil
}

// endsWhole refuses a ledger without all of its last page: SQLite would fill it with zeros. While the -wal file holds
// anything, that page may come from there. The transaction keeps others from changing the files meanwhile.
func (l *Ledger) endsWhole() error {
	tx, err := l.db.BeginTx(context.Background(), &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback() // it only reads
	var pages, pageSize int64
	if err := tx.QueryRow("SELECT page_count, page_size FROM pragma_page_count, pragma_page_size").Scan(&pages, &pageSize); err != nil {
		return err
	}
	if wal, err := os.Stat(l.files()[1]); err == nil && wal.Size() > 0 {
		return nil
	}
	info, err := os.Stat(l.path)
	if err == nil && info.Size() < pages*pageSize {
		return damaged("its end is cut off")
	}
	return err
}

// examine reads every page (about 40 ms for 100,000 messages) and returns the version.
func examine(db *sql.DB) (version int, err error) {
	var application int
	var integrity string
	for _, ask := range []struct {
		pragma string
		answer any
	}{{"application_id", &application}, {"user_version", &version}, {"integrity_check(1)", &integrity}} {
		if err := db.QueryRow("PRAGMA " + ask.pragma).Scan(ask.answer); err != nil {
			return 0, err
		}
	}
	switch {
	case application != applicationID:
		return 0, errors.New("this is no ledger of popfetchd; point state_dir elsewhere")
	case version > schemaVersion:
		return 0, fmt.Errorf("it was written by a newer popfetchd (schema %d, this one knows %d); install that one again", version, schemaVersion)
	case version < 1:
		return 0, damaged("its schema has no version")
	case integrity != "ok":
		return 0, damaged(strings.TrimPrefix(integrity, "*** in database main ***\n"))
	}
	return version, nil
}

// change runs do in one durable transaction: all of it or nothing. All that is written goes this way.
func (l *Ledger) change(op string, do func(*sql.Tx) error) error {
	tx, err := l.db.BeginTx(context.Background(), nil) // a local commit is finished even when the run is being cancelled
	if err != nil {
		return l.fail(op, err)
	}
	err = do(tx)
	if err == nil {
		err = l.inPlace()
	}
	if err != nil {
		_ = tx.Rollback() // SQLite itself has done so after some errors; if it failed, so will the next BEGIN
		return l.fail(op, err)
	}
	return l.fail(op, tx.Commit())
}
