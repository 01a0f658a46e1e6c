package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
)

// Survey implements [Mailbox].
func (m *Maildir) Survey(ctx context.Context) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) {
		if err := m.syncFolders(); err != nil {
			yield(Found{}, err)
			return
		}
		s := survey{m: m, seen: make(map[string]bool)}
		for range scansForMoved {
			s.again = false
			for found, err := range s.pass(ctx) {
				if !yield(found, err) || err != nil {
					return
				}
			}
			if !s.again {
				return
			}
		}
	}
}

// survey goes through a Maildir more than once: a file that a mail reader
// renames meanwhile may be listed twice, or not at all.
type survey struct {
	m     *Maildir
	seen  map[string]bool // names without flags
	again bool            // the pass found something new, or something gone
}

// pass yields what was not seen before.
func (s *survey) pass(ctx context.Context) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) {
		for _, sub := range []string{"new", "cur"} {
			dir := filepath.Join(s.m.path, sub)
			for name, err := range eachName(dir) {
				if err == nil {
					err = context.Cause(ctx)
				}
				if err != nil {
					yield(Found{}, err)
					return
				}
				found, ok := s.look(filepath.Join(dir, name))
				if ok && !yield(found, nil) {
					return
				}
			}
		}
	}
}

// look looks at a file; it is not ok when that is not ours, or seen before.
func (s *survey) look(path string) (found Found, ok bool) {
	name := filepath.Base(path)
	id, size, ok := parseName(name)
	base := baseName(name)
	if !ok || id.tag() != s.m.tag || s.seen[base] {
		return Found{}, false
	}
	s.again = true
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Found{}, false // to be seen under another name
	}
	s.seen[base] = true
	found = Found{Message: Message{ID: id, Size: size, Location: Location{Path: s.m.path, Name: base}}, file: path}
	switch {
	case err != nil:
		found.Torn = failed("looking at", path, err).Error()
	case !info.Mode().IsRegular():
		found.Torn = fmt.Sprintf("%s is no regular file, this is %s", path, describeType(info.Mode()))
	case info.Size() != size:
		found.Torn = fmt.Sprintf("%s has %d bytes, but its name says %d", path, info.Size(), size)
	}
	return found, true
}

// Sum returns the SHA-256 of the message and its size, both of what is really
// there. A Maildir's file is made durable and read for that, also after a mail
// reader has moved it within the Maildir; when it has gone the error is
// fs.ErrNotExist. Of an mbox they are known already.
func (f Found) Sum() (sum [sha256.Size]byte, size int64, err error) {
	if f.file == "" {
		return f.SHA256, f.Size, nil
	}
	m, path := Maildir{path: f.Location.Path}, f.file
	for range scansForMoved {
		sum, size, err = flushAndHash(path)
		if !errors.Is(err, fs.ErrNotExist) {
			return sum, size, err
		}
		paths, lost := m.locate([]Message{f.Message}, []int{0})
		if lost != nil {
			return sum, 0, lost
		}
		if path = paths[f.Location.Name]; path == "" {
			break
		}
	}
	return sum, 0, failed("reading", f.file, fs.ErrNotExist)
}

// Renamed looks through new/ and cur/ for messages of ours to which a mail
// reader has given a name of its own, as mutt does when it saves one elsewhere.
// It returns the files with a wanted content whose names carry no identity;
// fields that mail readers add to a header do not count. What it returns is
// durable, and has no ID. All such files are read; those that cannot be are
// passed over.
func (m *Maildir) Renamed(ctx context.Context, wanted func([sha256.Size]byte) bool) ([]Message, error) {
	var renamed []Message
	for _, sub := range []string{"new", "cur"} {
		dir := filepath.Join(m.path, sub)
		for name, err := range eachName(dir) {
			if err == nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				return nil, err
			}
			base := baseName(name)
			if base == "" || base[0] == '.' || CarriesID(base) {
				continue
			}
			if c, ok := wantedContent(filepath.Join(dir, name), wanted); ok {
				renamed = append(renamed, Message{Size: c.Size, SHA256: c.SHA256, Location: Location{Path: m.path, Name: base}})
			}
		}
	}
	if len(renamed) == 0 {
		return nil, nil
	}
	return renamed, m.syncFolders()
}

// wantedContent returns what a file has of what is wanted, once it is durable.
func wantedContent(path string, wanted func([sha256.Size]byte) bool) (c Content, ok bool) {
	f, err := openRegular(path)
	if err != nil {
		return c, false
	}
	defer f.Close()
	c, bare, err := contentsOf(f)
	if err == nil && !wanted(c.SHA256) {
		c = bare
	}
	return c, err == nil && wanted(c.SHA256) && f.Sync() == nil
}

// Survey implements [Mailbox].
func (m *Mbox) Survey(ctx context.Context) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) {
		f, _, err := m.openToRead()
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			yield(Found{}, err)
			return
		}
		defer f.Close()
		if err := join(failed("flushing", f.Name(), f.Sync()), syncName(f)); err != nil {
			yield(Found{}, err)
			return
		}
		for found, err := range m.scan(ctx, f) {
			if !yield(found, err) {
				return
			}
		}
	}
}
