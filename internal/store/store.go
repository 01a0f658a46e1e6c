// Package store puts messages into Maildir folders and mbox files, durably,
// once, and byte for byte.
//
// A message comes in as a stream with CRLF line ends (RFC 1939, section 3)
// and is stored with LF line ends; nothing else of it changes. Messages are
// stored in batches, so that one slow flush of the disk serves many of them:
// [Batch.Add] receives, [Batch.Commit] makes all of them durable and visible.
// The orders that keep the promises stand at the heads of maildir.go and
// mbox.go.
package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"time"
)

// ID is the identity of a message across runs: its first 4 bytes say the
// account, the other 12 the message. It is part of a Maildir file's name, so
// that a file that is in place but was not yet remembered is known again.
type ID [16]byte

// NewID derives the identity from what the server says about a message:
// account, unique-id (RFC 1939, section 7; any bytes), listed size, and which
// of several messages with that unique-id it is. Different parts give
// different identities, the same parts the same one, for ever.
func NewID(account, uid string, size int64, occurrence int) ID {
	var parts []byte
	for _, part := range []string{"popfetchd message", account, uid} {
		parts = binary.BigEndian.AppendUint64(parts, uint64(len(part)))
		parts = append(parts, part...)
	}
	parts = binary.BigEndian.AppendUint64(parts, uint64(size))
	parts = binary.BigEndian.AppendUint64(parts, uint64(occurrence))
	sum, tag := sha256.Sum256(parts), accountTag(account)
	var id ID
	copy(id[copy(id[:], tag[:]):], sum[:])
	return id
}

// String returns the identity as 32 hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// tag is the part of an ID that says the account.
func (id ID) tag() [4]byte { return [4]byte(id[:4]) }

func accountTag(account string) [4]byte {
	sum := sha256.Sum256([]byte("popfetchd account\x00" + account))
	return [4]byte(sum[:4])
}

// Options are what a mailbox needs to know besides its path.
type Options struct {
	Account     string        // the account's name; its files carry a hash of it
	SpoolDir    string        // where mbox batches are gathered; made with mode 0700. Not used by Maildir
	LockTimeout time.Duration // how long to wait for an mbox that others have locked; 0 means 60 seconds
	Hostname    string        // part of Maildir names and dot locks; empty means os.Hostname

	// Waiting, if set, is called when an mbox has been locked by others for
	// two seconds, once each time that it is waited for: with its path and, in
	// words, who holds the lock as far as that is known. It has to return soon.
	Waiting func(path, holder string)
}

const defaultLockTimeout = 60 * time.Second

// settled returns the options with the defaults filled in.
func (o Options) settled() Options {
	if o.LockTimeout <= 0 {
		o.LockTimeout = defaultLockTimeout
	}
	if o.Hostname == "" {
		o.Hostname, _ = os.Hostname()
	}
	if o.Hostname == "" {
		o.Hostname = "localhost"
	}
	return o
}

// Message is one message at its place.
type Message struct {
	ID       ID
	Size     int64             // bytes as stored: LF line ends, mbox quoting undone
	SHA256   [sha256.Size]byte // of those bytes
	Location Location          // where it lies; complete once it is committed
}

// Location says where a message lies.
type Location struct {
	Path   string // the Maildir folder or the mbox file, absolute, as it was opened
	Name   string // Maildir: the file's name without its ":2," flags
	Offset int64  // mbox: where the From_ line begins; negative when it is not known
	Length int64  // mbox: bytes from the From_ line to the closing blank line, both included
}

// Mailbox is a place for messages: a [*Maildir] or an [*Mbox]. Opening one
// touches nothing; the first batch creates what is missing.
type Mailbox interface {
	// Path returns the path as it was opened.
	Path() string

	// Begin starts a batch, after creating the folders that are missing. A
	// file that is no mbox is refused, here as in Commit and Probe: to be one
	// it has to be empty or to begin with a From_ line. Blank lines before
	// that are let pass, as mutt does, though Dovecot does not.
	Begin() (Batch, error)

	// Adopt finds messages of this account that are in place although nobody
	// remembers them: call it after an unclean end or a failed Commit, with
	// the identities that are wanted. What it returns is durable. For an mbox
	// it finds nothing, there the recorded [Intent] tells (see [Redo]).
	Adopt(wanted func(ID) bool) ([]Message, error)

	// Survey yields everything of ours that lies in the mailbox, whatever
	// anybody remembers of it: of a Maildir the files in new/ and cur/ that
	// are this account's by their names, each once; of an mbox every message,
	// since it does not tell whose they are. A mailbox that does not exist
	// holds nothing. The folders, and an mbox itself, are flushed first, so
	// that what is found there is durable (for a Maildir's files see
	// [Found.Sum]). It changes nothing and takes no lock: an mbox that another
	// program is writing to may show a message that is cut off. The first
	// error ends it.
	Survey(ctx context.Context) iter.Seq2[Found, error]

	// Verify holds the mailbox against what is expected to lie in it (every
	// Location must be of this mailbox) and returns what is wrong or has
	// moved, in the order of expect. It changes nothing and takes no lock.
	// With read every byte is read and hashed; without, a message counts as
	// well when it is there with the right size.
	Verify(ctx context.Context, expect []Message, read bool) ([]Finding, error)

	// HeaderSums yields the sums (see [HeaderSum]) of the headers of messages
	// that lie in this mailbox, to be held against those of a server that has
	// forgotten what they were called. A message that is not at its place with
	// its size, or cannot be read, is left out, and so is a header of more
	// than 1 MiB. Nothing but the headers is read. The first error ends it.
	HeaderSums(ctx context.Context, messages []Message) iter.Seq2[Header, error]

	// Probe says whether mail can be stored here, as far as one can know
	// without doing it. It leaves nothing behind. Of a mailbox that does not
	// exist the nearest folder that does is judged.
	Probe() error

	// Sweep removes the unfinished files that dead runs of this account left:
	// a Maildir's tmp files, an mbox's spools. The caller sees to it that no
	// other run of the account is alive, no batch of it is open, and no
	// intent remains to be redone.
	Sweep() error

	// Close releases what the mailbox holds open. Batches end before it.
	Close() error
}

// Batch is a group of messages that become durable together. It is used by
// one goroutine at a time; several batches of a mailbox may be open at once.
type Batch interface {
	// Add reads one message to its end: CRLF becomes LF, a lone CR or LF
	// stays what it is. An error of r comes back as it is; an error of the
	// local disk is an [*Error]. In both cases this message is dropped and
	// the batch stays usable. The Location is filled in by Commit.
	Add(id ID, r io.Reader) (Message, error)

	// Drop takes back the message that the last Add put in, as if that Add had
	// not been called. It is for a message that turns out to be here already,
	// which only its hash tells. It has to come right after an Add that
	// succeeded. An error is an [*Error]; the message is out all the same, and
	// should the batch no longer be good, Add and Commit say so.
	Drop() error

	// Len returns the number of messages in the batch.
	Len() int

	// Bytes returns the sum of their sizes.
	Bytes() int64

	// Commit makes the batch durable and then visible, and returns its
	// messages in the order of Add. An mbox calls record, between taking the
	// locks and the first byte it appends; the intent has to be remembered
	// durably before record returns. A Maildir never calls it. The context
	// ends only the waiting for locks, with an error that wraps its cause and
	// is no [Error]: what is begun is finished.
	//
	// Messages count only when the error is nil. After an error the batch is
	// spent: of a Maildir some files may be in new/ already, where Adopt
	// finds them; an mbox has its old length, or [Redo] mends it. A Maildir
	// that was moved away meanwhile is an error, too.
	Commit(ctx context.Context, record func(Intent) error) ([]Message, error)

	// Discard removes the batch's unfinished files, an mbox's spool among
	// them: call it at the end of every batch, for an mbox once what Commit
	// returned is remembered. Calling it again does no harm.
	Discard() error
}

// Found is a message that lies in a mailbox, or what is left of one.
type Found struct {
	// Message is what can be told without reading more than needed. Maildir:
	// ID, Size and Location by the name, and no SHA256 (see Sum). Mbox: all
	// but the ID.
	Message

	// Virtual is the size with CRLF line ends, as a server would list it.
	// Mbox only.
	Virtual int64

	// Bare is what the message is without the header fields that mail readers
	// add when they rewrite an mbox (Status, Content-Length and others): what
	// was stored, if it did not come with such fields. Mbox only.
	Bare Content

	// Torn says, for people, how it is not whole; "" means that it is.
	// Maildir: it has another size than its name says, or is no file at all.
	// Mbox: no blank line ends it, or it is what comes before the first From_
	// line, whose Size and SHA256 are zero.
	Torn string

	file string // Maildir: where it was
}

// Content is what is told of a message's bytes.
type Content struct {
	Size    int64
	Virtual int64 // the size with CRLF line ends
	SHA256  [sha256.Size]byte
}

// Intent is what an mbox batch is about to append, recorded so that it can be
// finished or undone after an unclean end.
type Intent struct {
	Path     string            // the mbox
	Offset   int64             // its length before the batch
	Length   int64             // bytes to be appended
	SHA256   [sha256.Size]byte // of those bytes
	Spool    string            // the file whose last Length bytes they are, already durable
	Messages []Message         // what the batch holds, with the locations they will have
}

// Damage says what is wrong with a stored message.
type Damage int

// The kinds of damage. Moved is none: the message is there, but not where it
// was stored.
const (
	Missing Damage = iota + 1 // the message is not there
	Changed                   // something is there, but not what was stored
	Moved                     // it stands elsewhere in the mbox, or lies in a subfolder of the Maildir
)

// String returns "missing", "changed" or "moved".
func (d Damage) String() string {
	switch d {
	case Missing:
		return "missing"
	case Changed:
		return "changed"
	case Moved:
		return "moved"
	}
	return fmt.Sprintf("Damage(%d)", int(d))
}

// Finding is one stored message that Verify found wrong, or moved.
type Finding struct {
	Message Message
	Damage  Damage
	Detail  string   // what was found instead, for people
	Found   Location // of a message that is Moved: where it is now
}

// absolute refuses a path that depends on where the program was started.
func absolute(path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("mailbox path %q is not absolute; write it from the root of the file system", path)
	}
	return filepath.Clean(path), nil
}
