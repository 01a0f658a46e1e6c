package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// namesAtATime bounds the memory for reading a folder of any size.
const namesAtATime = 4096

// scansForMoved is how often a Maildir is read again because a file that was
// listed has gone: a mail reader moved it from new/ to cur/ meanwhile.
const scansForMoved = 3

// eachName yields the names in a folder, as the file system lists them. A
// folder that does not exist has none.
func eachName(dir string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		d, err := os.Open(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			yield("", failed("opening", dir, err))
			return
		}
		defer d.Close()
		for {
			names, err := d.Readdirnames(namesAtATime)
			for _, name := range names {
				if !yield(name, nil) {
					return
				}
			}
			if err == io.EOF {
				return
			}
			if err != nil {
				yield("", failed("reading", dir, err))
				return
			}
		}
	}
}

// Adopt implements [Mailbox]: it looks through new/ and cur/ for names with
// wanted identities of this account, and flushes what it found and its
// folder. A file whose size differs from its name's S= is not ours. When a
// message is there more than once, the oldest name counts.
func (m *Maildir) Adopt(wanted func(ID) bool) ([]Message, error) {
	adopted := make(map[ID]Message)
	for range scansForMoved {
		found, err := m.candidates(func(id ID) bool {
			_, done := adopted[id]
			return !done && wanted(id)
		})
		if err != nil {
			return nil, err
		}
		complete, err := m.adoptAll(found, adopted)
		if err != nil {
			return nil, err
		}
		if complete {
			break
		}
	}
	if len(adopted) == 0 {
		return nil, nil
	}
	if err := m.syncFolders(); err != nil {
		return nil, err
	}
	return inOrder(adopted), nil
}

// adoptAll adopts the files found, some at a time so that they share their
// flushes. It is incomplete when one of them was moved meanwhile.
func (m *Maildir) adoptAll(found map[ID]string, adopted map[ID]Message) (complete bool, err error) {
	complete = true
	for group := range slices.Chunk(slices.Collect(maps.Keys(found)), filesKeptOpen) {
		messages, errs := make([]Message, len(group)), make([]error, len(group))
		var flushes sync.WaitGroup
		for i, id := range group {
			flushes.Go(func() { messages[i], errs[i] = m.adopt(id, found[id]) })
		}
		flushes.Wait()
		for i, id := range group {
			switch err := errs[i]; {
			case errors.Is(err, fs.ErrNotExist):
				complete = false
			case err != nil:
				return false, err
			default:
				adopted[id] = messages[i]
			}
		}
	}
	return complete, nil
}

func inOrder(adopted map[ID]Message) []Message {
	messages := make([]Message, 0, len(adopted))
	for _, message := range adopted {
		messages = append(messages, message)
	}
	slices.SortFunc(messages, func(a, b Message) int { return strings.Compare(a.Location.Name, b.Location.Name) })
	return messages
}

// candidates returns the paths of files whose names are wanted.
func (m *Maildir) candidates(wanted func(ID) bool) (map[ID]string, error) {
	found := make(map[ID]string)
	for _, sub := range []string{"new", "cur"} {
		dir := filepath.Join(m.path, sub)
		for name, err := range eachName(dir) {
			if err != nil {
				return nil, err
			}
			id, size, ok := parseName(name)
			if !ok || id.tag() != m.tag || !wanted(id) {
				continue
			}
			path := filepath.Join(dir, name)
			if info, err := os.Lstat(path); err == nil && info.Size() != size {
				continue // not as we left it
			}
			if other, ok := found[id]; !ok || baseName(name) <= baseName(filepath.Base(other)) {
				found[id] = path
			}
		}
	}
	return found, nil
}

// adopt makes one file durable and reads it.
func (m *Maildir) adopt(id ID, path string) (Message, error) {
	_, size, _ := parseName(filepath.Base(path))
	sum, err := rescue(path, size)
	if err != nil {
		return Message{}, err
	}
	location := Location{Path: m.path, Name: baseName(filepath.Base(path))}
	return Message{ID: id, Size: size, SHA256: sum, Location: location}, nil
}

// syncFolders makes the names of files durable that somebody else put there.
func (m *Maildir) syncFolders() error {
	for _, sub := range []string{"new", "cur"} {
		if err := syncDir(filepath.Join(m.path, sub)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// rescue flushes a file of an earlier run and returns the hash of it.
func rescue(path string, size int64) (sum [sha256.Size]byte, err error) {
	sum, there, err := flushAndHash(path)
	if err == nil && there != size {
		err = failed("reading", path, fmt.Errorf("its size is %d, but its name says %d; move that file away", there, size))
	}
	return sum, err
}

// flushAndHash makes a file durable that somebody else has written.
func flushAndHash(path string) (sum [sha256.Size]byte, size int64, err error) {
	f, err := openRegular(path)
	if err != nil {
		return sum, 0, err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return sum, 0, failed("flushing", path, err)
	}
	info, err := f.Stat()
	if err != nil {
		return sum, 0, failed("looking at", path, err)
	}
	sum, err = hashSection(f, 0, info.Size())
	return sum, info.Size(), err
}

// onlyReader hides the other methods of a file from io.Copy, which would pass
// our buffer by for the sake of them.
type onlyReader struct{ io.Reader }

// openRegular opens a file for reading, and nothing else than a file.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, failed("opening", path, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("it has to be a regular file, this is %s", describeType(info.Mode()))
	}
	if err != nil {
		f.Close()
		return nil, failed("opening", path, err)
	}
	return f, nil
}

// Sweep implements [Mailbox].
func (m *Maildir) Sweep() error {
	dir := filepath.Join(m.path, "tmp")
	tmp, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return failed("opening", dir, err)
	}
	defer tmp.Close()
	// A popfetchd with a ledger of its own, but an account of the same name, may be at work here: its files are not left over.
	if unix.Flock(int(tmp.Fd()), unix.LOCK_EX|unix.LOCK_NB) == unix.EWOULDBLOCK {
		return nil
	}
	return sweep(dir, func(name string) bool { return isTmpName(name, m.tag, m.host) })
}

// sweep removes the files of a folder that are ours by name.
func sweep(dir string, ours func(name string) bool) error {
	var left []string
	var errs []error
	for name, err := range eachName(dir) {
		if err != nil {
			errs = append(errs, err)
		} else if ours(name) {
			left = append(left, name)
		}
	}
	for _, name := range left {
		path := filepath.Join(dir, name)
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, failed("removing", path, err))
		}
	}
	return join(errs...)
}
