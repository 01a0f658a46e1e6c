package pop3

import (
	"bytes"
	"fmt"
	"io"
	"math"
)

var (
	bodyEnd = []byte(".\r\n") // at the beginning of a line
	crlfDot = []byte("\r\n.") // where a line begins that is stuffed, or the end
)

// A body reads one multi-line reply (RFC 1939 section 3) from the wire as the message it carries: CRLFs stay, a dot
// that stuffs a line is taken away, CRLF.CRLF alone ends it. Only CRLF begins a line: a dot behind a bare LF or a bare
// CR is a dot like others, so that a message cannot be made to end early and to smuggle in a reply of its own.
//
// One dot that begins the whole message, with no second behind it, stays: no server that stuffs would send that, but
// Dovecot 2.3 does not stuff the first line. (A first line of one dot is an end all the same; the real end that follows
// is then an answer that nobody asked for, and ends the session.)
//
// It searches the wire's buffer for CRLF and dot, and hands out what lies between as it stands.
type body struct {
	wire   *wire
	number int
	header bool  // no more was asked for
	limit  int64 // octets allowed in all
	left   int64 // octets still allowed
	ready  int   // octets at the front of the wire's buffer that belong to the message as they are
	bol    bool  // what follows them begins a line
	begun  bool  // what follows is not the first line
	err    error // sticky; io.EOF after CRLF.CRLF
}

// newBody begins to wait for the reply behind a status line.
func newBody(w *wire, number int, limit int64) *body {
	if limit <= 0 {
		limit = math.MaxInt64
	}
	w.await()
	return &body{wire: w, number: number, limit: limit, left: limit, bol: true}
}

// newHeader is newBody for the answer to TOP.
func newHeader(w *wire, number int) *body {
	b := newBody(w, number, maxHeader)
	b.header = true
	return b
}

// Read returns io.EOF only after CRLF.CRLF, io.ErrUnexpectedEOF (wrapped) when the connection ends before, and an
// error that wraps ErrMessageTooLarge, or a *ProtocolError of a header, when it is longer than the limit. Errors are sticky.
func (b *body) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	chunk, err := b.next()
	if err != nil {
		return 0, err
	}
	n := copy(p, chunk)
	b.take(n)
	return n, nil
}

// WriteTo writes the rest of the message straight from the wire's buffer.
func (b *body) WriteTo(dst io.Writer) (total int64, err error) {
	for {
		chunk, err := b.next()
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		n, err := dst.Write(chunk)
		b.take(n)
		total += int64(n)
		if err != nil {
			return total, err
		}
		if n < len(chunk) {
			return total, io.ErrShortWrite
		}
	}
}

// drain reads to the end of the message and drops it. The limit holds here too.
func (b *body) drain() error {
	for {
		chunk, err := b.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		b.take(len(chunk))
	}
}

// next returns octets of the message, at least one, that stay in the buffer until take.
func (b *body) next() ([]byte, error) {
	if b.err == nil && b.ready == 0 {
		b.err = b.scan()
	}
	if b.err != nil {
		return nil, b.err
	}
	if b.left == 0 {
		b.err = b.wire.fail(b.excess())
		return nil, b.err
	}
	return b.wire.buffered()[:min(int64(b.ready), b.left)], nil
}

// excess is the error of a reply that is longer than its limit.
func (b *body) excess() error {
	if b.header {
		return protocolError("the header of message %d is longer than %d octets", b.number, b.limit)
	}
	return fmt.Errorf("message %d: %w of %d octets", b.number, ErrMessageTooLarge, b.limit)
}

func (b *body) take(n int) {
	b.wire.take(n)
	b.ready -= n
	b.left -= int64(n)
}

// scan looks at the buffer until it knows that some octets belong to the message (ready > 0), or that it ended (io.EOF).
func (b *body) scan() error {
	for b.ready == 0 {
		data := b.wire.buffered()
		switch {
		case b.bol && bytes.HasPrefix(data, bodyEnd):
			b.wire.take(len(bodyEnd))
			return io.EOF
		case len(data) == 0, b.bol && bytes.HasPrefix(bodyEnd, data), string(data) == "\r":
			if err := b.wire.fill(); err != nil { // too little to tell
				return err
			}
			b.wire.renew(len(b.wire.buffered()) - len(data))
		case b.bol && data[0] == '.' && (b.begun || data[1] == '.'):
			b.wire.take(1)
			b.bol, b.begun = false, true
		default:
			b.measure(data)
			b.begun = true
		}
	}
	return nil
}

// measure sets ready and bol for data, which is not empty, not a lone CR, and does not begin with a stuffed line.
// A CR at the end stays back, for it may be the first half of the CRLF that begins a line.
func (b *body) measure(data []byte) {
	if i := bytes.Index(data, crlfDot); i >= 0 {
		b.ready, b.bol = i+len("\r\n"), true
		return
	}
	b.ready, b.bol = len(data), bytes.HasSuffix(data, []byte("\r\n"))
	if data[len(data)-1] == '\r' {
		b.ready--
	}
}
