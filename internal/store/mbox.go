package store

// How an mbox batch becomes durable. An mbox can be torn by a crash while it
// is appended to, so a batch is gathered in a spool file first, which serves
// as a redo log:
//
//	Add     append the framed message to the spool
//	Commit  fsync the spool, fsync its folder
//	        lock: fcntl, then dot lock (lock.go)
//	        note the mbox's length; record the intent (the caller's ledger)
//	        append the spool's bytes; fsync the mbox
//	        fsync its folder when the mbox may be new
//	        look whether the path still names this file
//	        unlock; judge what close says
//	        (error: cut back to the noted length, fsync, unlock)
//	Discard unlink the spool, after the caller has remembered the messages
//
// What a crash leaves, by the step that it comes after:
//
//	Add, fsync  a spool nobody refers to; Sweep removes it, the messages are
//	            fetched again
//	locks       the same; the kernel drops the fcntl lock, and the dot lock
//	            names a process that is dead
//	intent      the mbox ends at the noted length: Redo appends
//	append      the mbox ends within our bytes, or holds blocks of zeros where
//	            the disk never got them: Redo cuts back and appends again
//	fsync       all our bytes stand: Redo flushes and says so
//
// A program that takes no lock may append at any time. The file is open with
// O_APPEND, so that nothing of it is overwritten, but our bytes may come to
// stand further on than the intent says. They are looked for there and count
// when they are whole; when they were torn apart nothing is touched.
//
// The spool begins with two line ends. How many of them are needed depends on
// how the mbox ends when it is locked: messages are set apart by exactly one
// blank line, also after a file that another program left without one. What
// is appended is thus the spool's last Intent.Length bytes.
//
// A message in the mbox is its From_ line ("From ", sender, " ", the time in
// UTC as asctime(3) has it), the mboxrd-quoted message, and a blank line. A
// message that does not end in a line end gets one, which counts as part of
// it; bodies from POP3 always end in one, or are empty (RFC 1939, section 3).

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-mbox"
)

// Mbox is a file in mboxrd format. It is safe for use by several goroutines;
// its batches are not.
type Mbox struct {
	path    string
	options Options
}

var _ Mailbox = (*Mbox)(nil)

// OpenMbox opens the mbox at path, which has to be absolute; o.SpoolDir has
// to be set. It touches nothing: the first Commit creates the file with mode
// 0600 and missing folders above it with 0700. What is there and is not a
// regular file, or a symbolic link to one, is refused.
func OpenMbox(path string, o Options) (*Mbox, error) {
	path, err := absolute(path)
	if err != nil {
		return nil, err
	}
	if o.SpoolDir == "" {
		return nil, errors.New("internal error: an mbox needs Options.SpoolDir")
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, notRegular(path, info)
	}
	return &Mbox{path: path, options: o.settled()}, nil
}

// Path implements [Mailbox].
func (m *Mbox) Path() string { return m.path }

// Close implements [Mailbox]. An mbox holds nothing open between batches.
func (m *Mbox) Close() error { return nil }

// Adopt implements [Mailbox].
func (m *Mbox) Adopt(func(ID) bool) ([]Message, error) { return nil, nil }

// Begin implements [Mailbox].
func (m *Mbox) Begin() (Batch, error) {
	if f, _, err := m.openToRead(); err == nil { // else Commit says what is wrong
		err := isMbox(f)
		f.Close()
		if errors.Is(err, errNoMbox) {
			return nil, err
		}
	}
	if err := makeDirs(m.options.SpoolDir); err != nil {
		return nil, err
	}
	s, err := newSpool(m.options)
	if err != nil {
		return nil, err
	}
	b := &mboxBatch{m: m, spool: s, now: time.Now(), buf: make([]byte, chunkSize), sum: newDigest()}
	return b, nil
}

// Sweep implements [Mailbox].
func (m *Mbox) Sweep() error {
	err := sweep(m.options.SpoolDir, func(name string) bool { return isSpoolName(name, m.options.Account) })
	path, resolveErr := resolve(m.path)
	if resolveErr != nil {
		return join(err, resolveErr)
	}
	sweepDot(path, m.options)
	return join(err, sweepLockFiles(path, m.options))
}

// sweepLockFiles removes the account's dot locks to be (lock_dot.go) that dead
// runs left. Who makes one holds the fcntl lock, so while that is ours nobody
// is at it, not even an account of the same name in another state folder.
func sweepLockFiles(path string, o Options) error {
	f, err := openMbox(path, false)
	if err != nil {
		return nil // for the append to say
	}
	l := &lockedMbox{File: f}
	defer l.unlock()
	if holder, err := l.lockFile(); err != nil || holder != "" {
		return nil
	}
	before, after, _ := strings.Cut(lockFileName(o.Account, "*", o.Hostname), "*")
	return sweep(filepath.Dir(path), func(name string) bool {
		digits, begins := strings.CutPrefix(name, before)
		digits, ends := strings.CutSuffix(digits, after)
		return begins && ends && isRandomDigits(digits)
	})
}

// sweepDot removes a stale dot lock. The next append would do that, but until
// then mail readers could not write to the mbox. To take both locks and to
// release them is all it takes; what is in the way is for the append to say.
func sweepDot(path string, o Options) {
	if _, err := os.Lstat(path + ".lock"); err != nil {
		return
	}
	if l, _, err := tryLock(path, o, false); err == nil && l != nil {
		l.unlock()
	}
}

// mboxBatch is a batch of an mbox.
type mboxBatch struct {
	m        *Mbox
	spool    *spool
	now      time.Time
	messages []Message // their offsets count from the spool's first From_ line
	bytes    int64
	last     spoolMark // where the last message begins
	added    bool      // the last call was an Add that succeeded
	broken   error     // the spool could not be set back; nothing more can be done
	spent    bool
	keep     bool // Redo will need the spool

	buf []byte
	sum *digest
}

// Len implements [Batch].
func (b *mboxBatch) Len() int { return len(b.messages) }

// Bytes implements [Batch].
func (b *mboxBatch) Bytes() int64 { return b.bytes }

// Add implements [Batch].
func (b *mboxBatch) Add(id ID, r io.Reader) (Message, error) {
	if b.spent {
		return Message{}, errSpent
	}
	if b.broken != nil {
		return Message{}, b.broken
	}
	start := b.spool.mark()
	b.last, b.added = start, false
	if err := b.receive(r); err != nil {
		b.rewind()
		return Message{}, err
	}
	b.added = true
	message := Message{
		ID: id, Size: b.sum.size, SHA256: b.sum.sha256(),
		Location: Location{Path: b.m.path, Offset: start.size - spoolHead, Length: b.spool.size() - start.size},
	}
	b.messages = append(b.messages, message)
	b.bytes += message.Size
	return message, nil
}

// Drop implements [Batch].
func (b *mboxBatch) Drop() error {
	if b.spent {
		return errSpent
	}
	if !b.added {
		return errNotAdded
	}
	b.added = false
	last := len(b.messages) - 1
	b.bytes -= b.messages[last].Size
	b.messages = b.messages[:last]
	return b.rewind()
}

// rewind takes from the spool what the last Add wrote.
func (b *mboxBatch) rewind() error {
	b.broken = b.spool.rewind(b.last)
	return b.broken
}

// receive appends one framed message to the spool and leaves the digest of
// its stored form in b.sum.
//
// go-mbox writes the frame: the From_ line, and the line end and blank line
// behind the message. The message itself goes past the writer that go-mbox
// has for it: that one keeps a whole line in memory and scans it again at each
// Write (one line of 256 MB, in pieces of 128 KB: 515 MB of memory and 12 s;
// this way: 10 MB and 1.7 s with all flushes), and it turns CRLF into LF, which
// has happened already here and would take a CR from "\r\r\n". Its quoting is
// the older one; [quoter] quotes all that mboxrd wants quoted.
func (b *mboxBatch) receive(r io.Reader) error {
	b.sum.reset()
	message := unixReader{r: r, buf: b.buf}
	chunk, err := message.next()
	if err != nil {
		return err
	}
	frame := frame{w: b.spool}
	quoter := quoter{w: &frame}
	w := mbox.NewWriter(&frame)
	if _, err := w.CreateMessage(sender(chunk), b.now); err != nil {
		return err
	}
	for ; err == nil; chunk, err = message.next() {
		b.sum.Write(chunk)
		if _, err := quoter.Write(chunk); err != nil {
			return err
		}
	}
	if err != io.EOF {
		return err
	}
	if b.sum.size > 0 && b.sum.last != '\n' {
		b.sum.Write([]byte("\n")) // go-mbox is about to write it
	}
	return join(quoter.flush(), frame.end(w))
}

// frame passes on what is written, but withholds a line end that comes last.
// go-mbox ends a message with two line ends, the message's own and the blank
// line. Without the withheld one that is right for every message: for one
// that has its last line end, for one that lacks it, and for an empty one,
// where it is the From_ line's.
type frame struct {
	w    io.Writer
	held bool
}

// Write implements io.Writer.
func (f *frame) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if f.held {
		if _, err := f.w.Write([]byte("\n")); err != nil {
			return 0, err
		}
	}
	rest := p
	if f.held = p[len(p)-1] == '\n'; f.held {
		rest = p[:len(p)-1]
	}
	return len(p), writeAll(f.w, rest)
}

// end lets w write the end of the message in place of what is withheld.
func (f *frame) end(w *mbox.Writer) error {
	f.held = false
	if err := w.Close(); err != nil {
		return err
	}
	f.held = false
	return writeAll(f.w, []byte("\n"))
}

// Limits of the search for a sender: where the field is looked for, and the
// longest address (RFC 5321, section 4.5.3.1.3, allows a path of 256).
const (
	senderWithin = 4 << 10
	senderLength = 256
)

// sender returns the address for the From_ line: the message's Return-Path if
// it is plain, else MAILER-DAEMON, as qmail's mbox(5) has it for mail without
// a sender. Nothing else may get into that line, for what follows the address
// is the time, and a line end would be a message of its own.
func sender(start []byte) string {
	const nobody = "MAILER-DAEMON"
	start = start[:min(len(start), senderWithin)]
	for {
		line, rest, whole := bytes.Cut(start, []byte("\n"))
		if !whole || len(line) == 0 {
			return nobody
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("Return-Path")) {
			address := bytes.TrimSpace(value)
			address = bytes.TrimSuffix(bytes.TrimPrefix(address, []byte("<")), []byte(">"))
			if isPlain(address) && !continues(rest) {
				return string(address)
			}
			return nobody
		}
		start = rest
	}
}

func isPlain(address []byte) bool {
	for _, c := range address {
		if c <= ' ' || c >= 0x7f || c == '<' || c == '>' {
			return false
		}
	}
	return len(address) > 0 && len(address) <= senderLength
}

// continues says whether a header field goes on in the next line.
func continues(next []byte) bool {
	return len(next) == 0 || next[0] == ' ' || next[0] == '\t'
}

// Commit implements [Batch].
func (b *mboxBatch) Commit(ctx context.Context, record func(Intent) error) ([]Message, error) {
	if b.spent {
		return nil, errSpent
	}
	b.spent = true
	if b.broken != nil {
		return nil, b.broken
	}
	if len(b.messages) == 0 {
		return nil, nil
	}
	if err := b.spool.sync(); err != nil {
		return nil, err
	}
	path, err := resolve(b.m.path)
	if err != nil {
		return nil, err
	}
	if err := makeDirs(filepath.Dir(path)); err != nil {
		return nil, err
	}
	l, err := lockMbox(ctx, path, b.m.options, true)
	if err != nil {
		return nil, err
	}
	messages, err := b.append(l, record)
	if err := join(err, l.unlock()); err != nil {
		return nil, err
	}
	return messages, nil
}

// append does what is done under the locks.
func (b *mboxBatch) append(l *lockedMbox, record func(Intent) error) ([]Message, error) {
	if err := isMbox(l.File); err != nil {
		return nil, err
	}
	intent, err := b.intent(l.File)
	if err != nil {
		return nil, err
	}
	if err := record(intent); err != nil {
		return nil, err
	}
	b.keep = true
	at, err := appendSpool(l, b.spool.f, intent)
	var torn *tornError
	b.keep = errors.As(err, &torn)
	if err != nil {
		return nil, err
	}
	messages := slices.Clone(intent.Messages)
	for i := range messages {
		messages[i].Location.Offset += at - intent.Offset
	}
	return messages, nil
}

// intent is what is to be appended to the mbox as it stands.
func (b *mboxBatch) intent(mbox *os.File) (Intent, error) {
	size, missing, err := ending(mbox)
	if err != nil {
		return Intent{}, err
	}
	intent := Intent{
		Path:     b.m.path,
		Offset:   size,
		Length:   int64(missing) + b.spool.size() - spoolHead,
		Spool:    b.spool.f.Name(),
		Messages: make([]Message, len(b.messages)),
	}
	for i, m := range b.messages {
		m.Location.Offset += size + int64(missing)
		intent.Messages[i] = m
	}
	b.spool.sum.Sum(intent.SHA256[:0])
	if missing > 0 {
		intent.SHA256, err = hashSection(b.spool.f, spoolHead-int64(missing), intent.Length)
	}
	return intent, err
}

// ending returns an mbox's size and how many line ends its end lacks to be
// followed by a message: at its end there has to be a blank line.
func ending(mbox *os.File) (size int64, missing int, err error) {
	info, err := mbox.Stat()
	if err != nil {
		return 0, 0, failed("looking at", mbox.Name(), err)
	}
	missing, err = missingAt(mbox, info.Size())
	return info.Size(), missing, err
}

// missingAt is ending for a place within the mbox.
func missingAt(mbox *os.File, at int64) (missing int, err error) {
	last := []byte("\n\n") // as before an empty file
	n := int(min(at, 2))
	if _, err := mbox.ReadAt(last[2-n:], at-int64(n)); err != nil {
		return 0, failed("reading", mbox.Name(), err)
	}
	switch {
	case last[1] != '\n':
		return 2, nil
	case last[0] != '\n':
		return 1, nil
	}
	return 0, nil
}

// Discard implements [Batch]. A spool that Redo needs, because a torn end
// could not be cut back, stays until Sweep.
func (b *mboxBatch) Discard() error {
	b.spent = true
	if b.spool == nil {
		return nil
	}
	err := b.spool.close(!b.keep)
	b.spool, b.buf = nil, nil
	return err
}

// hashSection hashes n bytes of f from offset on.
func hashSection(f *os.File, offset, n int64) (sum [sha256.Size]byte, err error) {
	d := newDigest()
	buf := make([]byte, min(max(n, 1), chunkSize))
	_, err = io.CopyBuffer(d, onlyReader{io.NewSectionReader(f, offset, n)}, buf)
	if err == nil && d.size < n {
		err = fmt.Errorf("the file ends after %d bytes of %d: %w", d.size, n, io.ErrUnexpectedEOF)
	}
	return d.sha256(), failed("reading", f.Name(), err)
}
