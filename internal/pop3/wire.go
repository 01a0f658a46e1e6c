package pop3

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

const (
	// readBuffer is the size of the wire's buffer: several TLS records (16 KiB each), and more than any line we allow.
	readBuffer = 64 << 10

	// maxStatusLine bounds a status line: four times the 512 octets of RFC 2449 section 4, for talkative
	// servers, and less than the 4 KiB buffer of go-pop3, so that the library gets each line in one Read.
	maxStatusLine = 2 << 10

	// maxGathered bounds the commands that wait to be written. The window of retrieve.go keeps below it.
	maxGathered = 16 << 10
)

// A wire is the net.Conn that go-pop3 talks through. It gives the library one status line at a time and
// keeps everything behind that line in its own buffer, where our readers of bodies and lists go on.
//
// The wire sets a deadline before each read and write, gathers writes until a read would block, and
// remembers its first error: from then on the connection is closed and every call returns that error.
type wire struct {
	net.Conn               // TCP, or TLS over it
	raw      net.Conn      // the TCP connection: closing it never waits, as closing TLS may
	address  string        // for errors
	timeout  time.Duration // for each read and write
	cause    func() error  // why the session's context ended; nil while it has not

	buf         []byte
	start, end  int    // buf[start:end] was received and not yet taken
	gathered    []byte // written and not yet sent
	statusText  []byte // text of the last status line, behind +OK or -ERR
	secrets     []string
	err         error
	interrupted bool // the error is the connection's end, as opposed to silence or nonsense
}

func newWire(raw, conn net.Conn, server *Server, cause func() error) *wire {
	return &wire{
		Conn: conn, raw: raw, address: server.address(), timeout: server.timeout(), cause: cause,
		buf: make([]byte, readBuffer),
	}
}

// fail closes the connection and makes err the wire's error, unless it has one. It returns the wire's error.
func (w *wire) fail(err error) error {
	if w.err == nil {
		w.err = err
		w.raw.Close()
	}
	return w.err
}

// failTransport is fail for an error of the connection, which it explains.
func (w *wire) failTransport(doing string, err error) error {
	switch cause := w.cause(); {
	case w.err != nil:
		return w.err
	case cause != nil:
		return w.fail(fmt.Errorf("session with %s was ended: %w", w.address, cause))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		w.interrupted = true
		return w.fail(fmt.Errorf("%s closed the connection: %w", w.address, io.ErrUnexpectedEOF))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return w.fail(fmt.Errorf("%s was silent for %s: %w", w.address, w.timeout, err))
	}
	w.interrupted = true
	return w.fail(fmt.Errorf("%s %s: %w", doing, w.address, err))
}

// hide keeps a secret out of every later error, also when the server echoes it.
func (w *wire) hide(secrets ...string) {
	w.secrets = append(w.secrets, secrets...)
}

// text is what the server sent, without our secrets.
func (w *wire) text(b []byte) string {
	text := string(b)
	for _, secret := range w.secrets {
		text = strings.ReplaceAll(text, secret, "***")
	}
	return text
}

// unasked describes what is in the buffer but should not be. Part of a line is not shown: it could be part of a secret.
func (w *wire) unasked() string {
	line, _, whole := bytes.Cut(w.buffered(), []byte("\n"))
	if !whole {
		return fmt.Sprintf("part of a line, %d octets", len(line))
	}
	return shown(w.text(line))
}

// Write gathers what is to be sent. A read that would block sends it.
func (w *wire) Write(p []byte) (int, error) {
	if len(w.gathered)+len(p) > maxGathered {
		if err := w.flush(); err != nil {
			return 0, err
		}
	}
	if w.err != nil {
		return 0, w.err
	}
	w.gathered = append(w.gathered, p...)
	return len(p), nil
}

// flush sends what was gathered, in one TLS record if it fits.
func (w *wire) flush() error {
	if w.err != nil {
		return w.err
	}
	if len(w.gathered) == 0 {
		return nil
	}
	w.setDeadline()
	if _, err := w.Conn.Write(w.gathered); err != nil {
		return w.failTransport("write to", err)
	}
	clear(w.gathered) // it may have held a password
	w.gathered = w.gathered[:0]
	return nil
}

// setDeadline sets the deadline for reading and writing: a TLS read may have to write (a key update, an alert).
func (w *wire) setDeadline() {
	w.Conn.SetDeadline(time.Now().Add(w.timeout)) // fails only on a closed connection, as the next call will
}

// fill waits for more bytes, having sent what was gathered.
// It must not be called with a full buffer; no caller needs more than a line or four octets at once.
func (w *wire) fill() error {
	if err := w.flush(); err != nil {
		return err
	}
	copy(w.buf, w.buf[w.start:w.end])
	w.start, w.end = 0, w.end-w.start
	w.setDeadline()
	n, err := w.Conn.Read(w.buf[w.end:])
	w.end += n
	if n == 0 && err != nil {
		return w.failTransport("read from", err)
	}
	return nil
}

// buffered is what was received and not yet taken. It is valid until the next fill.
func (w *wire) buffered() []byte { return w.buf[w.start:w.end] }

// take drops the first n buffered bytes.
func (w *wire) take(n int) { w.start += n }

// peekLine waits for a whole line and returns it without its CRLF, still in the buffer and valid until the next fill.
// A line of more than limit octets or one that ends in a bare LF is a ProtocolError.
func (w *wire) peekLine(limit int) ([]byte, error) {
	for seen := 0; ; {
		data := w.buffered()
		if i := bytes.IndexByte(data[seen:], '\n'); i >= 0 && seen+i < limit {
			line := data[:seen+i]
			if len(line) == 0 || line[len(line)-1] != '\r' {
				return nil, w.fail(protocolError("line %s ends in a bare LF instead of CRLF", shown(w.text(line))))
			}
			return line[:len(line)-1], nil
		}
		if len(data) >= limit {
			return nil, w.fail(protocolError("line is longer than %d octets", limit))
		}
		seen = len(data)
		if err := w.fill(); err != nil {
			return nil, err
		}
	}
}

// line is peekLine, with the line and its CRLF taken out of the buffer.
func (w *wire) line(limit int) ([]byte, error) {
	line, err := w.peekLine(limit)
	if err == nil {
		w.take(len(line) + len("\r\n"))
	}
	return line, err
}

// Read gives go-pop3 exactly one status line, +OK or -ERR in upper case (RFC 1939 section 3), and remembers its text.
// Anything else is a ProtocolError; the library would take an empty line for success.
func (w *wire) Read(p []byte) (int, error) {
	line, err := w.peekLine(maxStatusLine)
	if err != nil {
		return 0, err
	}
	text, ok := cutStatus(line)
	if !ok {
		return 0, w.fail(protocolError("expected +OK or -ERR, not %s", shown(w.text(line))))
	}
	whole := len(line) + len("\r\n")
	if len(p) < whole {
		return 0, w.fail(io.ErrShortBuffer)
	}
	w.statusText = append(w.statusText[:0], text...)
	n := copy(p, w.buffered()[:whole])
	w.take(n)
	return n, nil
}

// cutStatus returns what follows the status indicator.
func cutStatus(line []byte) (text []byte, ok bool) {
	for _, indicator := range []string{"+OK", "-ERR"} {
		if rest, found := bytes.CutPrefix(line, []byte(indicator)); found && (len(rest) == 0 || rest[0] == ' ') {
			return bytes.TrimPrefix(rest, []byte(" ")), true
		}
	}
	return nil, false
}

// challenge takes a SASL challenge, "+ " and base64 (RFC 5034 section 4), if that is what comes next, and returns the base64.
func (w *wire) challenge() (challenge string, found bool, err error) {
	line, err := w.peekLine(maxStatusLine)
	if err != nil || len(line) == 0 || line[0] != '+' || (len(line) > 1 && line[1] != ' ') {
		return "", false, err
	}
	w.take(len(line) + len("\r\n"))
	return strings.TrimSpace(string(line[1:])), true, nil
}

// Close is what go-pop3 would call. It closes without waiting.
func (w *wire) Close() error {
	w.fail(errClosed)
	return nil
}
