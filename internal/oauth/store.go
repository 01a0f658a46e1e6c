package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// maxFile bounds a store's file: three tokens and some words.
const maxFile = 4 * maxAnswer

// Store is the file that an account's sign-in is kept in: JSON, mode 0600 in a folder of mode 0700, replaced as a whole
// so that a crash leaves the old or the new one. Several processes may use it at the same time.
type Store struct {
	Path string
}

// StorePath returns where an account's sign-in is kept. Account names are file names by themselves.
func StorePath(stateDir, account string) string {
	return filepath.Join(stateDir, "tokens", account+".json")
}

// record is what a store's file holds.
type record struct {
	Access   string    `json:"access_token"`
	Issued   time.Time `json:"issued"`
	Expiry   time.Time `json:"expiry,omitzero"`
	Scopes   []string  `json:"scopes,omitempty"`
	Refresh  string    `json:"refresh_token"`
	SignedIn time.Time `json:"signed_in"`

	// Proven is a refresh token that has worked, for as long as Refresh has not. Providers that hand out a new one with
	// each refresh may lose it on the way, or take it back.
	Proven string `json:"proven_refresh_token,omitempty"`
}

func (r record) token() Token {
	return Token{Access: r.Access, Refresh: r.Refresh, Issued: r.Issued, Expiry: r.Expiry, Scopes: r.Scopes}
}

// with returns the record after the provider gave t. Used is the refresh token that it was given for, or "".
func (r record) with(t Token, used string) record {
	if used == "" {
		used = r.proven()
	}
	next := record{Access: t.Access, Issued: t.Issued, Expiry: t.Expiry, Scopes: t.Scopes, Refresh: t.Refresh, SignedIn: r.SignedIn}
	if used != next.Refresh {
		next.Proven = used
	}
	return next
}

func (r record) proven() string {
	if r.Proven != "" {
		return r.Proven
	}
	return r.Refresh
}

// Load returns the stored token. When there is none the error wraps fs.ErrNotExist. A file that others can read is
// refused.
func (s Store) Load() (Token, error) {
	r, err := s.read()
	return r.token(), err
}

// LoadToRevoke is Load for a token that is to be ended: one that others can read all the more.
func (s Store) LoadToRevoke() (Token, error) {
	r, err := s.readIf(func(fs.FileMode) bool { return true })
	return r.token(), err
}

// Save keeps the token of a sign-in just made. A refresh token that was there before stays in the file until the new
// one has worked.
func (s Store) Save(t Token) error {
	release, err := s.lock(context.Background())
	if err != nil {
		return err
	}
	defer release()
	before, err := s.read()
	if err != nil {
		before = record{} // none, or damaged: this one takes its place
	}
	next := before.with(t, "")
	next.SignedIn = time.Now()
	return s.write(next)
}

// forget removes an access token that was refused, so that nobody tries it again. Without a refresh token it stays: a sign-in
// is more than nothing.
func (s Store) forget(ctx context.Context, refused string) error {
	release, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	r, err := s.read()
	if err != nil || r.Access != refused || r.Refresh == "" {
		return nil // what is wrong was said, or is for another time
	}
	r.Access = ""
	return s.write(r)
}

// Remove forgets the sign-in. One that is not there is removed already.
func (s Store) Remove() error {
	release, err := s.lock(context.Background())
	if err != nil {
		return err
	}
	defer release()
	for _, path := range []string{s.temporary(), s.Path} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return failed("removing", path, err)
		}
	}
	return syncDir(filepath.Dir(s.Path))
}

// mark is a hash that changes with each sign-in and each new refresh token; nil without a sign-in.
func (s Store) mark() []byte {
	r, err := s.read()
	if err != nil {
		return nil
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s", r.SignedIn.UnixNano(), r.Refresh))
	return sum[:]
}

// damaged says that a store's file cannot be understood.
type damaged struct{ path string }

func (d *damaged) Error() string { return d.path + " is damaged" }

// An UnsafeError says that a store's file is not used as it stands: only the user can tell whether the sign-in in it is still
// theirs alone. Trying again does not help.
type UnsafeError struct{ Problem string }

// Error says what is wrong and how to mend it.
func (e *UnsafeError) Error() string { return e.Problem }

func (s Store) read() (record, error) {
	return s.readIf(func(mode fs.FileMode) bool { return mode&0o077 == 0 })
}

// readIf reads the file when its permissions will do.
func (s Store) readIf(fine func(fs.FileMode) bool) (record, error) {
	// Without O_NONBLOCK a FIFO in the file's place would hold us for ever.
	f, err := os.OpenFile(s.Path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return record{}, failed("opening", s.Path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return record{}, failed("looking at", s.Path, err)
	}
	if !info.Mode().IsRegular() {
		return record{}, &UnsafeError{s.Path + " is no regular file; remove it"}
	}
	if mode := info.Mode().Perm(); !fine(mode) {
		return record{}, &UnsafeError{fmt.Sprintf("others can read %s and the sign-in in it (mode %04o); run chmod 600 %s", s.Path, mode, s.Path)}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return record{}, failed("reading", s.Path, err)
	}
	var r record
	if json.Unmarshal(data, &r) != nil || r.Access == "" && r.Refresh == "" {
		return record{}, &damaged{s.Path}
	}
	return r, nil
}

// write replaces the file: temporary file, fsync, rename, fsync of the folder. The caller has the lock.
func (s Store) write(r record) error {
	data, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return errors.New("the token cannot be written as JSON") // err could quote it
	}
	temporary := s.temporary()
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failed("removing", temporary, err)
	}
	if err := writeFile(temporary, append(data, '\n')); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	if err := os.Rename(temporary, s.Path); err != nil {
		return failed("renaming", temporary, err)
	}
	return syncDir(filepath.Dir(s.Path))
}

// temporary has one name only, so that crashes do not leave tokens lying about under many.
func (s Store) temporary() string { return s.Path + ".new" }

func writeFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return failed("creating", path, err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return failed("writing", path, err)
}

// syncDir makes the entries of a folder durable. Some file systems (FUSE, CIFS) know no flush of folders.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return failed("opening", path, err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) {
		return failed("flushing", path, err)
	}
	return nil
}

// failed names a step and a path before an error, and drops the path that the error may hold itself.
func failed(doing, path string, err error) error {
	if err == nil {
		return nil
	}
	var inner *fs.PathError
	if errors.As(err, &inner) {
		err = inner.Err
	}
	return fmt.Errorf("%s %s: %w", doing, path, err)
}
