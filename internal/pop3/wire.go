package pop3

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
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

	// minRate is how many octets a second a list or a message must bring on average: half of what a line of 1200 baud
	// carries, and enough that a server cannot hold a session for years by an octet now and then.
	minRate = 64

	// listTime is what all lists of a session may take together, however steadily they drip: who waits for them sees no
	// progress. 100,000 messages fit in over a modem.
	listTime = 20 * time.Minute
)

// A wire is the net.Conn that go-pop3 talks through. It gives the library one status line at a time and
// keeps everything behind that line in its own buffer, where our readers of bodies and lists go on.
//
// The wire gathers writes until a read would block, and remembers its first error: from then on the connection is
// closed and every call returns that error.
//
// Its time is bounded. A write may take the timeout. For replies there is patience, which waiting uses up and which is never
// more than the timeout: a line must come whole in it; each line of a list and each octet of a message renews
// it by the time that they may take at minRate. Only waiting counts, not what our side does between two reads.
type wire struct {
	net.Conn               // TCP, or TLS over it
	raw      net.Conn      // the TCP connection: closing it never waits, as closing TLS may
	address  string        // for errors
	timeout  time.Duration // for a write, and the most patience
	cause    func() error  // why the session's context ended; nil while it has not

	buf         []byte
	start, end  int           // buf[start:end] was received and not yet taken
	patience    time.Duration // how long the next read may wait
	until       time.Time     // no read waits for longer; zero: no such time
	gathered    []byte        // written and not yet sent
	statusText  []byte        // text of the last status line, behind +OK or -ERR
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

// What the wire does when an error of the connection comes.
const (
	reading = "read from"
	writing = "write to"
)

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
		return w.fail(fmt.Errorf("%s %s: %w", w.address, w.lateness(doing), err))
	}
	w.interrupted = true
	return w.fail(&transportError{doing + " " + w.address, err})
}

// lateness says how the server outlasted a deadline. Whoever sent something since the wait began was not silent.
func (w *wire) lateness(doing string) string {
	switch {
	case doing == writing:
		return fmt.Sprintf("took no command for %s", w.timeout)
	case !w.until.IsZero() && !time.Now().Before(w.until):
		return fmt.Sprintf("is too slow: its lists took more than %s", listTime)
	case w.patience < w.timeout:
		return fmt.Sprintf("is too slow: it has %s for a line, and in a longer reply a second for each %d octets", w.timeout, minRate)
	}
	return fmt.Sprintf("was silent for %s", w.timeout)
}

// hide keeps a secret out of every later error, also when the server echoes it.
func (w *wire) hide(secrets ...string) {
	w.secrets = append(w.secrets, secrets...)
}

// text is what the server sent, without our secrets and without pieces of them: servers cut off what they echo.
func (w *wire) text(b []byte) string {
	text := string(b)
	for _, secret := range w.secrets {
		text = without(text, secret)
	}
	return text
}

// minPiece is the length in octets from which a piece of a secret is no coincidence, nor fit to be seen.
const minPiece = 8

// without puts *** in the place of the secret and of all its pieces of minPiece octets and more.
func without(text, secret string) string {
	piece := min(minPiece, len(secret))
	var rest strings.Builder
	for i := 0; i < len(text); {
		n := 0
		for length := piece; i+length <= len(text) && strings.Contains(secret, text[i:i+length]); length++ {
			n = length
		}
		if n > 0 && (n == len(secret) || !harmless(text[i:i+n])) {
			rest.WriteString("***")
			i += n
			continue
		}
		rest.WriteByte(text[i])
		i++
	}
	return rest.String()
}

// harmless tells words of the refusals themselves, which passwords hold, too: without them nobody knows what was refused.
func harmless(piece string) bool {
	return slices.Contains([]string{"password", "username", "application", "specific"}, strings.ToLower(strings.TrimSpace(piece)))
}

// unasked describes what is in the buffer but should not be. Part of a line is not shown: it could be part of a secret.
func (w *wire) unasked() string {
	line, _, whole := bytes.Cut(w.buffered(), []byte("\n"))
	if !whole {
		return fmt.Sprintf("part of a line, %d octets", len(line))
	}
	return shown(w.text(bytes.TrimSuffix(line, []byte("\r"))))
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
	w.setDeadline(time.Now(), w.timeout)
	if _, err := w.Conn.Write(w.gathered); err != nil {
		return w.failTransport(writing, err)
	}
	clear(w.gathered) // it may have held a password
	w.gathered = w.gathered[:0]
	return nil
}

// setDeadline sets the deadline for reading and writing: a TLS read may have to write (a key update, an alert).
func (w *wire) setDeadline(now time.Time, wait time.Duration) {
	w.Conn.SetDeadline(now.Add(wait)) // fails only on a closed connection, as the next call will
}

// await begins the wait for a status line, or for what follows one.
func (w *wire) await() { w.patience = w.timeout }

// renew gives the patience back that n octets of a longer reply are worth.
func (w *wire) renew(n int) {
	w.patience = min(w.patience+time.Duration(n)*(time.Second/minRate), w.timeout)
}

// fill waits for more bytes as long as patience lasts, having sent what was gathered.
// It must not be called with a full buffer; no caller needs more than a line or four octets at once.
func (w *wire) fill() error {
	if err := w.flush(); err != nil {
		return err
	}
	copy(w.buf, w.buf[w.start:w.end])
	w.start, w.end = 0, w.end-w.start
	start := time.Now()
	wait := w.patience
	if !w.until.IsZero() {
		wait = min(wait, w.until.Sub(start))
	}
	w.setDeadline(start, wait)
	n, err := w.Conn.Read(w.buf[w.end:])
	w.end += n
	if n == 0 && err != nil {
		return w.failTransport(reading, err)
	}
	w.patience -= time.Since(start)
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
	w.await()
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
	w.await()
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
