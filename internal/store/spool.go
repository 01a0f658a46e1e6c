package store

import (
	"crypto/sha256"
	"encoding"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// spoolHead is the number of line ends a spool begins with (see mbox.go).
const spoolHead = 2

// spoolBuffer is how much is gathered before it is written: large, so that
// small messages do not cost a system call each.
const spoolBuffer = 1 << 20

// spool is the file that a batch of an mbox is gathered in.
type spool struct {
	f       *os.File
	buf     []byte // not yet written
	written int64  // bytes before buf
	sum     hash.Hash
	state   []byte // of sum, at the last mark
}

// spoolMark is a place to go back to.
type spoolMark struct{ size int64 }

func spoolName(account, digits string) string {
	return fmt.Sprintf("popfetchd-%x.%s.spool", accountTag(account), digits)
}

// isSpoolName says whether name is a spool of the account. It carries no
// host: the folder is the state folder, whose ledger one host uses at a time.
func isSpoolName(name, account string) bool {
	before, after, _ := strings.Cut(spoolName(account, "*"), "*")
	digits, begins := strings.CutPrefix(name, before)
	digits, ends := strings.CutSuffix(digits, after)
	return begins && ends && isRandomDigits(digits)
}

func newSpool(o Options) (*spool, error) {
	path := filepath.Join(o.SpoolDir, spoolName(o.Account, randomDigits()))
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, failed("creating", path, err)
	}
	s := &spool{f: f, buf: make([]byte, 0, spoolBuffer), sum: sha256.New()}
	for range spoolHead {
		s.buf = append(s.buf, '\n')
	}
	return s, nil
}

// size returns the length of what was written so far.
func (s *spool) size() int64 { return s.written + int64(len(s.buf)) }

// Write implements io.Writer.
func (s *spool) Write(p []byte) (int, error) {
	s.sum.Write(p)
	for rest := p; len(rest) > 0; {
		if len(s.buf) == cap(s.buf) {
			if err := s.flush(); err != nil {
				return 0, err
			}
		}
		n := min(len(rest), cap(s.buf)-len(s.buf))
		s.buf = append(s.buf, rest[:n]...)
		rest = rest[n:]
	}
	return len(p), nil
}

func (s *spool) flush() error {
	if _, err := s.f.WriteAt(s.buf, s.written); err != nil {
		return failed("writing", s.f.Name(), err)
	}
	s.written += int64(len(s.buf))
	s.buf = s.buf[:0]
	return nil
}

// mark returns the place reached, for one rewind.
func (s *spool) mark() spoolMark {
	s.state, _ = s.sum.(encoding.BinaryAppender).AppendBinary(s.state[:0]) // SHA-256 never fails here
	return spoolMark{s.size()}
}

// rewind forgets what was written since the mark, which was the last one.
func (s *spool) rewind(to spoolMark) error {
	if err := s.sum.(encoding.BinaryUnmarshaler).UnmarshalBinary(s.state); err != nil {
		return fmt.Errorf("internal error: %w", err)
	}
	if to.size < s.written {
		s.buf, s.written = s.buf[:0], to.size
	} else {
		s.buf = s.buf[:to.size-s.written]
	}
	// Also when nothing whole was written: a write that failed may have left
	// a part of it behind.
	return failed("cutting back", s.f.Name(), s.f.Truncate(s.written))
}

// sync makes the spool and its name durable.
func (s *spool) sync() error {
	if err := s.flush(); err != nil {
		return err
	}
	if err := s.f.Sync(); err != nil {
		return failed("flushing", s.f.Name(), err)
	}
	return syncDir(filepath.Dir(s.f.Name()))
}

// close closes the spool and, with remove, ends its existence.
func (s *spool) close(remove bool) error {
	path := s.f.Name()
	s.f.Close() // was flushed, or is of no use
	if !remove {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failed("removing", path, err)
	}
	return nil
}

// tornError says that an append failed and could not be undone: all or part of
// it stands at the end of the mbox, or among what others wrote.
type tornError struct{ err error }

func (t *tornError) Error() string { return t.err.Error() }

func (t *tornError) Unwrap() error { return t.err }

// errUnlocked is an append that others disturbed. Whose bytes are where is
// for a person to say, so all of them stay.
var errUnlocked = errors.New("another program wrote to it without locking it, so that our messages do not stand there as they should; " +
	"nothing was cut off, and they will be fetched again; have that program use fcntl or dot locks")

// appendSpool appends the bytes of the intent to the locked mbox, which ends
// at the intent's offset, makes them durable, and says where they stand; or
// else puts the mbox back as it was.
func appendSpool(l *lockedMbox, spool *os.File, intent Intent) (at int64, err error) {
	written, err := copySpool(l.File, spool, intent.Length)
	return settle(l, intent, written, err)
}

// settle does what comes after writing: so much was written, and then came
// the error, if any.
func settle(l *lockedMbox, intent Intent, written int64, err error) (at int64, _ error) {
	if err == nil {
		err = failed("flushing", l.Name(), l.Sync())
	}
	if err == nil && intent.Offset == 0 {
		err = syncName(l.File) // the file may be new, by us or a run that ended too early
	}
	if err == nil {
		at, err = landed(l.File, intent)
	}
	if err == nil {
		err = l.notReplaced()
	}
	if err == nil {
		return at, nil
	}
	switch undo := cutBack(l.File, intent.Offset, written); {
	case undo == nil:
		return 0, err
	case errors.Is(err, errUnlocked):
		return 0, &tornError{err}
	case errors.Is(undo, errUnlocked):
		return 0, &tornError{fmt.Errorf("%w; %w", err, undo)}
	default:
		return 0, &tornError{fmt.Errorf("%w; %w (the mailbox now ends in an incomplete message, which the next run will mend)", err, undo)}
	}
}

// copySpool appends the last n bytes of the spool to the mbox, and returns
// how many it has written. The mbox is open with O_APPEND: should a program
// that knows no locks write to it now, nothing of either is overwritten.
func copySpool(mbox, spool *os.File, n int64) (written int64, err error) {
	info, err := spool.Stat()
	if err != nil {
		return 0, failed("looking at", spool.Name(), err)
	}
	buf := make([]byte, min(n, spoolBuffer))
	for at := info.Size() - n; written < n; {
		piece := buf[:min(n-written, int64(len(buf)))]
		if _, err := spool.ReadAt(piece, at+written); err != nil {
			return written, failed("reading", spool.Name(), err)
		}
		m, err := mbox.Write(piece)
		written += int64(m)
		if err != nil {
			return written, failed("writing", mbox.Name(), err)
		}
	}
	return written, nil
}

// landed says where the bytes stand that were just appended: at the intent's
// offset, or further on when another program appended without taking the
// locks and was faster. With O_APPEND the file's own position is now where the
// last of ours ended. If they stand at neither place they were torn apart.
func landed(mbox *os.File, intent Intent) (at int64, err error) {
	info, err := mbox.Stat()
	if err != nil {
		return 0, failed("looking at", mbox.Name(), err)
	}
	if info.Size() == intent.Offset+intent.Length {
		return intent.Offset, nil
	}
	end, err := mbox.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, failed("looking at", mbox.Name(), err)
	}
	for _, at := range []int64{intent.Offset, end - intent.Length} {
		found, err := stands(mbox, info.Size(), intent, at)
		if err != nil || found {
			return at, err
		}
	}
	return 0, failed("writing", mbox.Name(), errUnlocked)
}

// cutBack undoes an append of which so much was written. It cuts off nothing
// else: when the mbox does not end where that many bytes of ours would, others
// have written to it and it stays as it is.
func cutBack(mbox *os.File, offset, written int64) error {
	info, err := mbox.Stat()
	if err != nil {
		return failed("looking at", mbox.Name(), err)
	}
	if info.Size() != offset+written {
		if written == 0 {
			return nil
		}
		return failed("cutting back", mbox.Name(), errUnlocked)
	}
	if err := mbox.Truncate(offset); err != nil {
		return failed("cutting back", mbox.Name(), err)
	}
	return failed("flushing", mbox.Name(), mbox.Sync())
}
