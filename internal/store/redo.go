package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Outcome is what Redo found.
type Outcome int

// The outcomes of Redo.
const (
	// Whole: all bytes stand in the mbox, perhaps behind those of a program
	// that took no lock. The intent's messages are there.
	Whole Outcome = iota + 1
	// Restored: none or a part of them stood at its end; it was cut back and
	// they were appended again. The intent's messages are there.
	Restored
	// Foreign: something else stands there. Nothing was touched; the intent's
	// messages are not there and have to be fetched again.
	Foreign
)

// String returns the outcome as a word.
func (o Outcome) String() string {
	switch o {
	case Whole:
		return "whole"
	case Restored:
		return "restored"
	case Foreign:
		return "foreign"
	}
	return fmt.Sprintf("Outcome(%d)", int(o))
}

// Redo finishes what an unclean end or a failed Commit left of an intent. It
// works under the mbox's locks and answers once the answer is durable; doing
// it again gives an answer that agrees. The intent's bytes begin at the place
// returned: when that is not its Offset, its messages are as much further on.
// The spool stays, see [Mailbox] Sweep. The context ends the waiting for locks
// and a search. An error (the mbox is locked, the disk has trouble) decides nothing: the
// intent stays valid.
func Redo(ctx context.Context, intent Intent, o Options) (outcome Outcome, at int64, err error) {
	path, err := resolve(intent.Path)
	if err != nil {
		return 0, 0, err
	}
	o = o.settled()
	spool, err := openSpool(intent)
	if err != nil {
		return 0, 0, err
	}
	if spool != nil {
		defer spool.Close()
	}
	// With nothing before our bytes the file may have been new, and lost.
	create := spool != nil && intent.Offset == 0
	if create {
		if err := makeDirs(filepath.Dir(path)); err != nil {
			return 0, 0, err
		}
	}
	l, err := lockMbox(ctx, path, o, create)
	if errors.Is(err, fs.ErrNotExist) {
		return Foreign, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	outcome, at, err = redo(ctx, l, spool, intent)
	if err := join(err, l.unlock()); err != nil {
		return 0, 0, err
	}
	return outcome, at, nil
}

// openSpool opens the intent's spool; nil when it is missing or does not hold
// what the intent says.
func openSpool(intent Intent) (*os.File, error) {
	spool, err := openRegular(intent.Spool)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	good, err := holds(spool, intent)
	if err != nil || !good {
		spool.Close()
		return nil, err
	}
	return spool, nil
}

// holds says whether the spool's last bytes are those of the intent.
func holds(spool *os.File, intent Intent) (bool, error) {
	info, err := spool.Stat()
	if err != nil {
		return false, failed("looking at", spool.Name(), err)
	}
	if info.Size() < intent.Length {
		return false, nil
	}
	sum, err := hashSection(spool, info.Size()-intent.Length, intent.Length)
	return sum == intent.SHA256, err
}

// redo decides and acts on the locked mbox; spool may be nil.
func redo(ctx context.Context, l *lockedMbox, spool *os.File, intent Intent) (outcome Outcome, at int64, err error) {
	info, err := l.Stat()
	if err != nil {
		return 0, 0, failed("looking at", l.Name(), err)
	}
	size, end := info.Size(), intent.Offset+intent.Length
	at, err = whereWhole(ctx, l.File, size, spool, intent)
	if err != nil {
		return 0, 0, err
	}
	if at >= 0 {
		return Whole, at, flushMbox(l)
	}
	if spool == nil || size < intent.Offset || size > end {
		return Foreign, 0, nil
	}
	torn, err := isTorn(l.File, spool, intent, size-intent.Offset)
	if err != nil || !torn {
		return Foreign, 0, err
	}
	if err := cutBack(l.File, intent.Offset, size-intent.Offset); err != nil {
		return 0, 0, err
	}
	at, err = appendSpool(l, spool, intent)
	return Restored, at, err
}

// whereWhole says where the intent's bytes stand, or -1: at its offset, where
// others may have appended behind them; at the end, behind what others did;
// or, which only the spool can tell, somewhere between.
func whereWhole(ctx context.Context, mbox *os.File, size int64, spool *os.File, intent Intent) (int64, error) {
	for _, at := range []int64{intent.Offset, size - intent.Length} {
		found, err := stands(mbox, size, intent, at)
		if err != nil || found {
			return at, err
		}
	}
	if spool == nil || size-intent.Offset <= intent.Length {
		return -1, nil
	}
	return find(ctx, mbox, size, spool, intent)
}

// flushMbox makes what stands in the mbox durable, also its name.
func flushMbox(l *lockedMbox) error {
	if err := l.Sync(); err != nil {
		return failed("flushing", l.Name(), err)
	}
	if err := syncName(l.File); err != nil {
		return err
	}
	return l.notReplaced()
}

// isTorn says whether the mbox's last n bytes, from the intent's offset on,
// are the beginning of ours, which fit there, apart from zeros: after a power cut file systems
// show zeros where a block of the file never reached the disk. Mail of others
// is never taken for that, since no mail is made of nothing but zeros and the
// very bytes that we would have written there.
func isTorn(mbox, spool *os.File, intent Intent, n int64) (bool, error) {
	info, err := spool.Stat()
	if err != nil {
		return false, failed("looking at", spool.Name(), err)
	}
	begin := info.Size() - intent.Length
	if fit, err := fits(mbox, intent.Offset, spool, begin); err != nil || !fit {
		return false, err
	}
	there, ours := make([]byte, chunkSize), make([]byte, chunkSize)
	for at := int64(0); at < n; at += chunkSize {
		there, ours = there[:min(chunkSize, n-at)], ours[:min(chunkSize, n-at)]
		if _, err := mbox.ReadAt(there, intent.Offset+at); err != nil {
			return false, failed("reading", mbox.Name(), err)
		}
		if _, err := spool.ReadAt(ours, begin+at); err != nil {
			return false, failed("reading", spool.Name(), err)
		}
		if !bytes.Equal(there, ours) && !equalOrZero(there, ours) {
			return false, nil
		}
	}
	return true, nil
}

func equalOrZero(there, ours []byte) bool {
	for i, c := range there {
		if c != 0 && c != ours[i] {
			return false
		}
	}
	return true
}
