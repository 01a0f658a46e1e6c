package store

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"io"
)

// chunkSize is how much of a message is in memory at a time: large enough for
// few system calls, small enough for many accounts at once.
const chunkSize = 128 << 10

// maxEmptyReads is how often in a row a reader may return nothing at all
// before it is taken for broken (as bufio does).
const maxEmptyReads = 100

// unixReader hands out a message in chunks, with LF for CRLF. Only CRLF is
// changed (RFC 1939, section 3, has every line end so): a CR or LF of its own
// is part of the message. The first chunk holds the whole message or at least
// chunkSize/2 bytes.
type unixReader struct {
	r    io.Reader
	buf  []byte // of chunkSize; lent to the caller until the next call
	held bool   // the last chunk ended in a CR whose next byte is not known yet
	err  error  // sticky; io.EOF after the last chunk
}

// next returns the next chunk, or an error: io.EOF after the last one,
// whatever r said otherwise. Chunks before an error of r are not complete
// lines; the message has failed.
func (u *unixReader) next() ([]byte, error) {
	if u.err != nil {
		return nil, u.err
	}
	n := 0
	if u.held {
		u.buf[0], n, u.held = '\r', 1, false
	}
	n, u.err = fill(u.r, u.buf, n)
	if u.err != nil && u.err != io.EOF {
		return nil, u.err
	}
	if u.err == nil && u.buf[n-1] == '\r' {
		n--
		u.held = true
	}
	return unixLines(u.buf[:n]), nil
}

// fill reads into buf from n on until it is full, and returns how far it got.
func fill(r io.Reader, buf []byte, n int) (int, error) {
	for empty := 0; n < len(buf); {
		m, err := r.Read(buf[n:])
		n += m
		if err != nil {
			return n, err
		}
		if m > 0 {
			empty = 0
		} else if empty++; empty == maxEmptyReads {
			return n, io.ErrNoProgress
		}
	}
	return n, nil
}

// unixLines turns CRLF into LF in place and returns what remains of p.
func unixLines(p []byte) []byte {
	n := 0
	for rest := p; ; {
		i := bytes.IndexByte(rest, '\r')
		if i < 0 {
			if n == len(p)-len(rest) {
				return p
			}
			return p[:n+copy(p[n:], rest)]
		}
		keep := i + 1
		if keep < len(rest) && rest[keep] == '\n' {
			keep = i // the CR goes, the LF comes along with the next piece
		}
		if n == len(p)-len(rest) {
			n += keep // nothing has moved so far
		} else {
			n += copy(p[n:], rest[:keep])
		}
		rest = rest[i+1:]
	}
}

// digest counts and hashes a message as it is stored.
type digest struct {
	sum     hash.Hash
	size    int64
	virtual int64 // size if every LF that follows no CR were CRLF: what IMAP says of it (RFC 3501, section 2.3.4)
	last    byte
}

func newDigest() *digest { return &digest{sum: sha256.New()} }

func (d *digest) reset() {
	d.sum.Reset()
	d.size, d.virtual, d.last = 0, 0, 0
}

// Write never fails.
func (d *digest) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	d.sum.Write(p)
	lone := bytes.Count(p, []byte("\n"))
	if bytes.IndexByte(p, '\r') >= 0 {
		lone -= bytes.Count(p, []byte("\r\n"))
	}
	if p[0] == '\n' && d.last == '\r' {
		lone--
	}
	d.size += int64(len(p))
	d.virtual += int64(len(p) + lone)
	d.last = p[len(p)-1]
	return len(p), nil
}

func (d *digest) sha256() (sum [sha256.Size]byte) {
	d.sum.Sum(sum[:0])
	return sum
}
