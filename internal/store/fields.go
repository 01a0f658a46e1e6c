package store

import (
	"bytes"
	"hash"
)

// What mail readers write into the header of a message when they rewrite an
// mbox: whether it was read, its flags, its number, and how long it is. mutt
// adds Status, Content-Length and Lines to every message that it keeps, Dovecot
// and UW IMAP keep all they know in such fields, Mozilla likewise. The message
// is the one that was stored all the same; without these fields it has the
// bytes that it had, unless it came with some of them.
var readersFields = map[string]bool{
	"status": true, "x-status": true, "content-length": true, "lines": true, "x-keywords": true,
	"x-uid": true, "x-uidl": true, "x-imap": true, "x-imapbase": true,
	"x-mozilla-status": true, "x-mozilla-status2": true, "x-mozilla-keys": true,
}

// longestField is more than the longest of those names and its colon need.
const longestField = 20

// fields goes through the header of a message that comes in pieces, to tell
// the fields of mail readers from the others. Its zero value is ready.
type fields struct {
	start   []byte // of the line in hand, while its field is not known
	midLine bool   // the field is known
	readers bool   // it is one of mail readers
	body    bool   // the blank line has come
}

// each hands p on in pieces, and says of each whether it belongs to a mail
// reader's field. Up to longestField bytes are kept back.
func (f *fields) each(p []byte, emit func(p []byte, readers bool)) {
	for len(p) > 0 && !f.body {
		piece := p
		if i := bytes.IndexByte(p, '\n'); i >= 0 {
			piece = p[:i+1]
		}
		p = p[len(piece):]
		ends := piece[len(piece)-1] == '\n'
		if f.midLine {
			emit(piece, f.readers)
		} else {
			f.start = append(f.start, piece...)
			if !ends && len(f.start) < longestField {
				return // p is used up
			}
			f.flush(emit)
		}
		f.midLine = !ends
	}
	if len(p) > 0 {
		emit(p, false)
	}
}

// flush hands on what is kept back: the message ends, or enough is known.
func (f *fields) flush(emit func(p []byte, readers bool)) {
	if len(f.start) == 0 {
		return
	}
	switch f.start[0] {
	case '\n':
		f.readers, f.body = false, true
	case ' ', '\t': // goes on with the field before
	default:
		name, _, found := bytes.Cut(f.start, []byte(":"))
		f.readers = found && readersFields[string(bytes.ToLower(name))]
	}
	emit(f.start, f.readers)
	f.start = f.start[:0]
}

// bareDigest is a digest of a message, and one of the same message without
// mail readers' fields. The two share their work up to the first of these.
type bareDigest struct {
	whole, bare digest // bare is of use when differs is set
	differs     bool
	fields      fields
}

func newBareDigest() *bareDigest { return &bareDigest{whole: *newDigest()} }

// Write never fails.
func (b *bareDigest) Write(p []byte) (int, error) {
	b.fields.each(p, b.add)
	return len(p), nil
}

func (b *bareDigest) add(p []byte, readers bool) {
	if readers && !b.differs {
		b.differs, b.bare = true, b.whole
		b.bare.sum, _ = b.whole.sum.(hash.Cloner).Clone() // SHA-256 never fails here
	}
	b.whole.Write(p)
	if b.differs && !readers {
		b.bare.Write(p)
	}
}

// end ends the message and says what it is, and what without those fields.
func (b *bareDigest) end() (whole, bare Content) {
	b.fields.flush(b.add)
	whole = b.whole.content()
	if !b.differs {
		return whole, whole
	}
	return whole, b.bare.content()
}

func (d *digest) content() Content { return Content{d.size, d.virtual, d.sha256()} }

func (b *bareDigest) reset() {
	b.whole.reset()
	b.differs, b.fields = false, fields{start: b.fields.start[:0]}
}
