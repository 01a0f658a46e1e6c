package store

// How a Maildir batch becomes durable (https://cr.yp.to/proto/maildir.html,
// made stricter where that leaves a gap for a power cut):
//
//	Begin   mkdir what is missing, fsync each parent
//	        open the folder (the descriptor that syncfs will report errors by)
//	Add     open tmp/NAME O_CREAT|O_EXCL 0600, write
//	Commit  fsync the files (many at a time), or one syncfs for a large batch
//	        renameat2(tmp/NAME, new/NAME, RENAME_NOREPLACE), file by file
//	        fsync new/
//	        look whether the path still names that new/, as before the renames
//	Discard unlink what is left in tmp/
//
// A failed flush is final, since the next one may succeed without having
// written a thing (fsync(2), NOTES). So when that of new/ fails, what this
// batch has put there is unlinked: it must not be found and adopted.
//
// What a crash leaves, by the step that it comes after:
//
//	Add            files in tmp/ that no mail reader looks at; Sweep removes
//	               them, the messages are fetched again
//	fsync          the same
//	some renames   those files are complete and visible, but nobody remembers
//	               them. Adopt knows them by the identity in their names,
//	               flushes file and folder again (a power cut may come before
//	               the folder's own flush) and returns them
//	fsync new/     the same, until the caller has remembered the messages
//
// Names are derived from the message's identity, so a rename may find its
// target in place. That file is never replaced: when its content is the same
// it is the message, else Commit fails. Nothing else is ever removed from new/,
// and nothing at all from cur/.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// filesKeptOpen is how many files a batch keeps open to flush each of them
// by itself. A larger batch is flushed by one syncfs where that is sound, or
// else in groups of this size.
const filesKeptOpen = 32

// Maildir is a folder in Maildir format. It is safe for use by several
// goroutines; its batches are not.
type Maildir struct {
	path    string
	tag     [4]byte
	host    string
	durable atomic.Bool // the folders are there and flushed
}

var _ Mailbox = (*Maildir)(nil)

// OpenMaildir opens the Maildir at path, which has to be absolute. It touches
// nothing: the first batch creates path, tmp, new and cur with mode 0700 when
// they are missing, and for a Maildir++ subfolder (a name that begins with a
// "." inside a Maildir) its maildirfolder file.
func OpenMaildir(path string, o Options) (*Maildir, error) {
	path, err := absolute(path)
	if err != nil {
		return nil, err
	}
	return &Maildir{path: path, tag: accountTag(o.Account), host: escapeHost(o.settled().Hostname)}, nil
}

// Path implements [Mailbox].
func (m *Maildir) Path() string { return m.path }

// Close implements [Mailbox]. A Maildir holds nothing open between batches.
func (m *Maildir) Close() error { return nil }

// Begin implements [Mailbox].
func (m *Maildir) Begin() (Batch, error) {
	if err := m.create(); err != nil {
		return nil, err
	}
	b := &maildirBatch{m: m, now: time.Now(), buf: make([]byte, chunkSize), sum: newDigest()}
	var err error
	if b.tmp, err = os.Open(filepath.Join(m.path, "tmp")); err != nil {
		return nil, failed("opening", filepath.Join(m.path, "tmp"), err)
	}
	// For Sweep. Where the file system has no such locks, only the account's lock keeps it away.
	_ = unix.Flock(int(b.tmp.Fd()), unix.LOCK_SH)
	if b.new, err = os.Open(filepath.Join(m.path, "new")); err != nil {
		b.tmp.Close()
		return nil, failed("opening", filepath.Join(m.path, "new"), err)
	}
	b.bySyncfs = syncfsSound(b.new)
	return b, nil
}

// create makes the folders durable, also those that a run made which ended
// before it could flush them.
func (m *Maildir) create() error {
	for _, name := range []string{"tmp", "new", "cur"} {
		if err := makeDirs(filepath.Join(m.path, name)); err != nil {
			return err
		}
	}
	if m.durable.Load() {
		return nil
	}
	if m.isSubfolder() {
		mark := filepath.Join(m.path, "maildirfolder")
		f, err := os.OpenFile(mark, os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			return failed("creating", mark, err)
		}
		f.Close() // empty, there is nothing to flush
	}
	dir, err := os.Open(m.path)
	if err != nil {
		return failed("opening", m.path, err)
	}
	defer dir.Close()
	if err := join(syncOpenDir(dir), syncName(dir)); err != nil {
		return err
	}
	m.durable.Store(true)
	return nil
}

// isSubfolder says whether m is a Maildir++ folder inside another Maildir.
func (m *Maildir) isSubfolder() bool {
	parent, name := filepath.Split(m.path)
	if !strings.HasPrefix(name, ".") {
		return false
	}
	for _, sub := range []string{"tmp", "new", "cur"} {
		if info, err := os.Stat(filepath.Join(parent, sub)); err != nil || !info.IsDir() {
			return false
		}
	}
	return true
}

// maildirBatch is a batch of a Maildir.
type maildirBatch struct {
	m        *Maildir
	now      time.Time
	tmp, new *os.File // the folders; nil once the batch is over
	bySyncfs bool     // what is not kept open may be left to syncfs
	unsynced bool     // files were closed without a flush: syncfs has to come
	open     []*os.File
	received []received
	bytes    int64
	added    bool // the last call was an Add that succeeded
	spent    bool

	buf []byte
	sum *digest
}

// received is a message in tmp/.
type received struct {
	message Message
	tmp     string // its name in tmp/; "" when it is there no longer
}

// Len implements [Batch].
func (b *maildirBatch) Len() int { return len(b.received) }

// Bytes implements [Batch].
func (b *maildirBatch) Bytes() int64 { return b.bytes }

var (
	errSpent    = errors.New("internal error: the batch is used after its end")
	errNotAdded = errors.New("internal error: there is no message to drop that was just added")
)

// Add implements [Batch].
func (b *maildirBatch) Add(id ID, r io.Reader) (Message, error) {
	if b.spent {
		return Message{}, errSpent
	}
	b.added = false
	if err := b.makeRoom(); err != nil {
		return Message{}, err
	}
	name := tmpName(b.now, id, b.m.host)
	f, err := createAt(b.tmp, name)
	if err != nil {
		return Message{}, err
	}
	if err := b.receive(f, r); err != nil {
		b.remove(f, name) // else Sweep will
		return Message{}, err
	}
	b.added, b.open = true, append(b.open, f)
	message := Message{
		ID: id, Size: b.sum.size, SHA256: b.sum.sha256(),
		Location: Location{Path: b.m.path, Name: finalName(b.now, id, b.m.host, b.sum)},
	}
	b.received = append(b.received, received{message, name})
	b.bytes += message.Size
	return message, nil
}

// Drop implements [Batch].
func (b *maildirBatch) Drop() error {
	if b.spent {
		return errSpent
	}
	if !b.added {
		return errNotAdded
	}
	b.added = false
	last, file := len(b.received)-1, len(b.open)-1
	r, f := b.received[last], b.open[file]
	b.received, b.open = b.received[:last], b.open[:file]
	b.bytes -= r.message.Size
	return b.remove(f, r.tmp)
}

// remove ends the existence of a file in tmp/ that is open. Its data does not
// matter, so nor does what closing it says.
func (b *maildirBatch) remove(f *os.File, name string) error {
	f.Close()
	return unlinkAt(b.tmp, name)
}

// unlinkAt removes a file, if it is there, from an open folder.
func unlinkAt(dir *os.File, name string) error {
	err := unix.Unlinkat(int(dir.Fd()), name, 0)
	if err == unix.ENOENT {
		return nil
	}
	return failed("removing", filepath.Join(dir.Name(), name), err)
}

// makeRoom ends the time of the files kept open when there are many of them.
func (b *maildirBatch) makeRoom() error {
	if len(b.open) < filesKeptOpen {
		return nil
	}
	files := b.open
	b.open = nil
	if !b.bySyncfs {
		return b.orSpent(syncAndClose(files))
	}
	b.unsynced = true
	for _, f := range files {
		if err := f.Close(); err != nil {
			return b.orSpent(failed("closing", f.Name(), err))
		}
	}
	return nil
}

// orSpent ends the batch when err is an error: what could not be flushed will
// not be reported again, so nothing that came before may count.
func (b *maildirBatch) orSpent(err error) error {
	if err != nil {
		b.spent = true
	}
	return err
}

// receive writes the message to f and leaves its digest in b.sum.
func (b *maildirBatch) receive(f *os.File, r io.Reader) error {
	b.sum.reset()
	message := unixReader{r: r, buf: b.buf}
	for {
		chunk, err := message.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		b.sum.Write(chunk)
		if _, err := f.Write(chunk); err != nil {
			return failed("writing", f.Name(), err)
		}
	}
}

// createAt creates a file that does not exist in an open folder.
func createAt(dir *os.File, name string) (*os.File, error) {
	path := filepath.Join(dir.Name(), name)
	for {
		fd, err := unix.Openat(int(dir.Fd()), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
		if err == nil {
			return os.NewFile(uintptr(fd), path), nil
		}
		if err != unix.EINTR {
			return nil, failed("creating", path, err)
		}
	}
}

// Commit implements [Batch]. It does not wait for anybody, so the context
// does not matter to it.
func (b *maildirBatch) Commit(context.Context, func(Intent) error) ([]Message, error) {
	if b.spent {
		return nil, errSpent
	}
	b.spent = true
	if len(b.received) == 0 {
		return nil, nil
	}
	if err := b.flush(); err != nil {
		return nil, err
	}
	if err := b.stillThere(); err != nil {
		return nil, err
	}
	messages := make([]Message, len(b.received))
	for i := range b.received {
		if err := b.publish(&b.received[i]); err != nil {
			return nil, err
		}
		messages[i] = b.received[i].message
	}
	if err := b.settle(); err != nil {
		return nil, err
	}
	return messages, nil
}

// settle does what comes after the renames.
func (b *maildirBatch) settle() error {
	if err := syncOpenDir(b.new); err != nil {
		return join(err, b.takeBack())
	}
	return b.stillThere()
}

// takeBack unlinks what this batch has put into new/. What a mail reader has
// moved to cur/ meanwhile stays.
func (b *maildirBatch) takeBack() error {
	var errs []error
	for _, r := range b.received {
		if r.tmp == "" { // else an earlier run's file has the name
			errs = append(errs, unlinkAt(b.new, r.message.Location.Name))
		}
	}
	return join(errs...)
}

// errMaildirMoved is mail that nobody will find at the path.
var errMaildirMoved = errors.New("the Maildir was moved or replaced while mail was being stored in it; " +
	"the messages are fetched again at the next run, into what is at this path then")

// stillThere says whether the path still names the new/ that is open. What
// becomes of tmp/ does not matter: the renames work all the same.
func (b *maildirBatch) stillThere() error {
	opened, err := b.new.Stat()
	if err != nil {
		return failed("looking at", b.new.Name(), err)
	}
	named, err := os.Stat(b.new.Name())
	if err == nil && os.SameFile(opened, named) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
		return failed("looking at", b.new.Name(), err)
	}
	b.m.durable.Store(false) // what is there now was not made by us
	return failed("storing in", b.m.path, errMaildirMoved)
}

// flush makes all files in tmp/ durable.
func (b *maildirBatch) flush() error {
	files := b.open
	b.open = nil
	if !b.unsynced {
		return syncAndClose(files)
	}
	for _, f := range files {
		if err := f.Close(); err != nil {
			return failed("closing", f.Name(), err)
		}
	}
	return syncfs(b.new)
}

// publish moves a message from tmp/ to new/.
func (b *maildirBatch) publish(r *received) error {
	name := r.message.Location.Name
	err := moveAt(b.tmp, r.tmp, b.new, name)
	if err == unix.EEXIST {
		return b.settleTaken(r)
	}
	if err != nil {
		return failed("moving a message to", filepath.Join(b.new.Name(), name), err)
	}
	r.tmp = ""
	return nil
}

// settleTaken decides about a name that is taken in new/. Only this account
// makes such names, so it is the same message from an earlier run; if it is
// not, it must not be harmed.
func (b *maildirBatch) settleTaken(r *received) error {
	path := filepath.Join(b.new.Name(), r.message.Location.Name)
	there, err := rescue(path, r.message.Size)
	if err != nil {
		return err
	}
	if there != r.message.SHA256 {
		return failed("moving a message to", path, fmt.Errorf("%w with another content; move that file away", unix.EEXIST))
	}
	return nil // the copy in tmp/ goes with Discard
}

// moveAt renames without ever replacing anything. On file systems that cannot
// (NFS and some FUSE ones say EINVAL) the file gets a second name and loses the
// first; where there are no second names either (FAT, exFAT and much of what
// is mounted by FUSE), see renameAt.
func moveAt(from *os.File, oldName string, to *os.File, newName string) error {
	oldFD, newFD := int(from.Fd()), int(to.Fd())
	for {
		err := unix.Renameat2(oldFD, oldName, newFD, newName, unix.RENAME_NOREPLACE)
		switch err {
		case unix.EINTR:
			continue
		case unix.EINVAL, unix.ENOSYS, unix.ENOTSUP:
			err = linkAt(oldFD, oldName, newFD, newName)
			if noSecondNames(err) {
				err = renameAt(oldFD, oldName, newFD, newName)
			}
		}
		return err
	}
}

// noSecondNames says whether link(2) failed because of the file system.
func noSecondNames(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOSYS)
}

// renameAt is moveAt by looking whether the name is taken and a rename that
// would replace it. Between the two somebody could take it, but nobody does:
// the name says the message's identity, the second and the host, and only a
// run of this account makes such names, of which there is one at a time.
func renameAt(oldFD int, oldName string, newFD int, newName string) error {
	var s unix.Stat_t
	switch err := unix.Fstatat(newFD, newName, &s, unix.AT_SYMLINK_NOFOLLOW); err {
	case unix.ENOENT:
		return unix.Renameat(oldFD, oldName, newFD, newName)
	case nil:
		return unix.EEXIST
	default:
		return err
	}
}

// linkAt is moveAt by link and unlink. A first name that stays behind is a
// file in tmp/, which Sweep removes.
func linkAt(oldFD int, oldName string, newFD int, newName string) error {
	if err := unix.Linkat(oldFD, oldName, newFD, newName, 0); err != nil {
		return err
	}
	unix.Unlinkat(oldFD, oldName, 0)
	return nil
}

// Discard implements [Batch].
func (b *maildirBatch) Discard() error {
	b.spent = true
	if b.tmp == nil {
		return nil
	}
	for _, f := range b.open {
		f.Close() // to be removed, so its data does not matter
	}
	var errs []error
	for _, r := range b.received {
		if r.tmp != "" {
			errs = append(errs, unlinkAt(b.tmp, r.tmp))
		}
	}
	b.tmp.Close()
	b.new.Close()
	b.tmp, b.new, b.open, b.received = nil, nil, nil, nil
	return join(errs...)
}
