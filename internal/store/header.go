package store

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"io/fs"
	"iter"
	"os"
)

// What the header of a message is compared by: the SHA-256 of its lines, with
// LF line ends, without the blank line that ends it (RFC 5322, section 2.1) and
// without the fields that mail readers, and some servers for their sake, put in
// and change (see readersFields). It is the same for what a server shows with
// TOP n 0 and for both kinds of local copies.

// maxHeader is the longest header that is looked at: servers and mail readers
// refuse far shorter ones, and there has to be a limit to what a line of
// nonsense may cost.
const maxHeader = 1 << 20

// headerChunk is how much is read at a time: few headers are longer, and what
// follows them is read in vain.
const headerChunk = 4 << 10

// ErrHeaderTooLong says that a header has not ended within 1 MiB.
var ErrHeaderTooLong = errors.New("the header is longer than 1 MiB")

// HeaderSum returns the SHA-256 of a message's header as it comes from a
// server: its lines, with LF for CRLF as in storing, up to the blank line that
// ends the header and without it, or all there is when there is none. Fields
// that belong to mail readers (Status and the like) are left out, and a last
// line that lacks its line end counts as if it had it. Little more than the
// header is read. An error of r comes back as it is; a header of more than
// 1 MiB is [ErrHeaderTooLong].
func HeaderSum(r io.Reader) (sum [sha256.Size]byte, err error) {
	h := headerDigest{sum: sha256.New()}
	u := unixReader{r: r, buf: make([]byte, headerChunk)}
	for {
		chunk, err := u.next()
		if err == nil {
			_, err = h.Write(chunk)
		}
		if err == io.EOF || err == errHeaderEnds {
			return h.sha256(), nil
		}
		if err != nil {
			return sum, err
		}
	}
}

// errHeaderEnds stops who writes to a headerDigest.
var errHeaderEnds = errors.New("the header ends here")

// headerDigest takes a message as it is stored, from its beginning on, until
// it says errHeaderEnds. Its zero value with sum set is ready.
type headerDigest struct {
	sum     hash.Hash
	size    int
	fields  fields
	midLine bool // the last line that counts has no end so far
}

// Write implements io.Writer.
func (h *headerDigest) Write(p []byte) (int, error) {
	h.fields.each(p, h.add)
	switch {
	case h.size > maxHeader:
		return 0, ErrHeaderTooLong
	case h.fields.body:
		return 0, errHeaderEnds
	}
	return len(p), nil
}

func (h *headerDigest) add(p []byte, readers bool) {
	if h.fields.body {
		return
	}
	h.size += len(p)
	if !readers {
		h.sum.Write(p)
		h.midLine = p[len(p)-1] != '\n'
	}
}

// sha256 ends the header.
func (h *headerDigest) sha256() (sum [sha256.Size]byte) {
	h.fields.flush(h.add)
	if h.midLine {
		h.sum.Write([]byte("\n"))
	}
	h.sum.Sum(sum[:0])
	return sum
}

// Header is what the header of one of several messages has as its sum.
type Header struct {
	Index int // of the message
	Sum   [sha256.Size]byte
}

// HeaderSums implements [Mailbox].
func (m *Maildir) HeaderSums(ctx context.Context, messages []Message) iter.Seq2[Header, error] {
	return func(yield func(Header, error) bool) {
		pending := make([]int, len(messages))
		for i := range pending {
			pending[i] = i
		}
		for range scansForMoved {
			paths, err := m.locate(messages, pending)
			if err != nil {
				yield(Header{}, err)
				return
			}
			var gone []int
			for _, i := range pending {
				if ctx.Err() != nil {
					yield(Header{}, context.Cause(ctx))
					return
				}
				sum, err := headerOfFile(paths[messages[i].Location.Name], messages[i])
				if errors.Is(err, fs.ErrNotExist) {
					gone = append(gone, i)
				}
				if err == nil && !yield(Header{i, sum}, nil) {
					return
				}
			}
			if pending = gone; len(pending) == 0 {
				return
			}
		}
	}
}

// headerOfFile reads the header of a file that looks as it was stored.
func headerOfFile(path string, expect Message) (sum [sha256.Size]byte, err error) {
	wrong, err := examine(path, expect, false)
	if err == nil && wrong != nil {
		err = errors.New(wrong.Detail)
	}
	if err != nil {
		return sum, err
	}
	f, err := openRegular(path)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h := headerDigest{sum: sha256.New()}
	_, err = io.CopyBuffer(&h, onlyReader{f}, make([]byte, headerChunk))
	if err != nil && err != errHeaderEnds {
		return sum, failed("reading", path, err)
	}
	return h.sha256(), nil
}

// HeaderSums implements [Mailbox].
func (m *Mbox) HeaderSums(ctx context.Context, messages []Message) iter.Seq2[Header, error] {
	return func(yield func(Header, error) bool) {
		f, size, err := m.openToRead()
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			yield(Header{}, err)
			return
		}
		defer f.Close()
		r := bufio.NewReaderSize(nil, headerChunk)
		for i, message := range messages {
			if ctx.Err() != nil {
				yield(Header{}, context.Cause(ctx))
				return
			}
			sum, err := headerAtPlace(f, size, message.Location, r)
			if err == nil && !yield(Header{i, sum}, nil) {
				return
			}
		}
	}
}

// headerAtPlace reads the header of a message that stands framed as it was
// stored.
func headerAtPlace(f *os.File, size int64, at Location, r *bufio.Reader) (sum [sha256.Size]byte, err error) {
	framed, err := isFramed(f, size, at)
	if err == nil && !framed {
		err = noMessage(f, at)
	}
	if err != nil {
		return sum, err
	}
	h := headerDigest{sum: sha256.New()}
	r.Reset(io.NewSectionReader(f, at.Offset, at.Length))
	if err := copyFramed(&h, r); err != nil && !errors.Is(err, errHeaderEnds) {
		return sum, failed("reading", f.Name(), err)
	}
	return h.sha256(), nil
}
