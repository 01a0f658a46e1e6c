package pop3

import (
	"io"
	"iter"
	"strconv"
)

const (
	// maxUnderWay bounds the commands that were sent and not answered: enough for messages of a few KB over a long line.
	maxUnderWay = 256

	// maxUnderWayOctets bounds the same in octets, so that pipelining cannot deadlock. While we write, we do not read, so the
	// server may come to wait for room to write its replies and not read either. Our write must then find room by itself.
	// It does: every octet written and not yet taken by the server belongs to a command that is not answered, so there are
	// at most this many, which fits the smallest socket buffers in use (4 KiB, Linux's minimum, less some for TLS's framing),
	// whatever the server does.
	maxUnderWayOctets = 4<<10 - 512

	// maxHeader bounds the octets of a message's header. Of the usual mail servers Exim takes the longest, 1 MiB; still more
	// comes of a server that sends whole messages instead.
	maxHeader = 4 << 20
)

// A window sends one command for many messages, ahead of the replies when the session is pipelined, one at a time otherwise.
type window struct {
	session        *Session
	verb           string
	arguments      string // behind the message's number
	numbers        []int
	sent, answered int
	octets         int // of the commands under way
}

func (w *window) command(i int) string {
	return w.verb + " " + strconv.Itoa(w.numbers[i]) + w.arguments
}

// topUp sends commands when half of the window or less is under way: often enough that the server never waits,
// seldom enough that many commands share a TLS record.
func (w *window) topUp() error {
	depth := 1
	if w.session.pipelined {
		depth = maxUnderWay
	}
	if err := w.session.settle(); err != nil {
		return err
	}
	if w.sent-w.answered > depth/2 {
		return w.session.wire.err
	}
	if w.sent == w.answered {
		if err := w.session.ready(); err != nil {
			return err
		}
	}
	for w.sent < len(w.numbers) && w.sent-w.answered < depth {
		line := w.command(w.sent)
		if w.octets+len(line)+len("\r\n") > maxUnderWayOctets {
			break
		}
		if err := w.session.send(line); err != nil {
			return err
		}
		w.octets += len(line) + len("\r\n")
		w.sent++
	}
	return nil
}

// next returns the reply to the oldest command under way, having topped up the window.
// refused is a *ReplyError; with err the session is at its end.
func (w *window) next() (refused, err error) {
	if err := w.topUp(); err != nil {
		return nil, err
	}
	_, err = w.session.reply(w.verb)
	command := w.command(w.answered)
	w.octets -= len(command) + len("\r\n")
	w.answered++
	if refused = refusal(err, command); refused != nil {
		return refused, nil
	}
	return nil, err
}

// abandon breaks the session if the caller stops while replies are under way: nobody would know whose they are.
func (w *window) abandon() {
	b := w.session.current
	if w.sent > w.answered || (b != nil && b.err != io.EOF) {
		w.session.wire.fail(errAbandoned)
	}
}

// A Message is one message as the server sent it, or the error that came instead.
type Message struct {
	Number int
	Err    error // a *ReplyError when the server refused this message: the sequence goes on; any other ends it

	// Reader is the body: CRLF line ends as sent, stuffing removed, io.EOF only after CRLF.CRLF, an error that wraps
	// io.ErrUnexpectedEOF when the connection ends before. It serves until the sequence goes on. With Err set it returns Err.
	io.Reader
}

// WriteTo writes the rest of the body without a buffer between.
func (m *Message) WriteTo(w io.Writer) (int64, error) {
	if direct, ok := m.Reader.(io.WriterTo); ok {
		return direct.WriteTo(w)
	}
	return io.Copy(w, struct{ io.Reader }{m.Reader})
}

// failed is the body of a message that did not come.
type failed struct{ err error }

func (f failed) Read([]byte) (int, error) { return 0, f.err }

// Retrieve fetches messages (RETR, RFC 1939 section 5) in the order of numbers, pipelined in a bounded window or one by one.
// A body that was not read to its end is drained before the next message. An error of the connection or the protocol
// comes from the Reader of the message in hand, or else as the Err of the next, and ends the sequence. Leaving the loop while replies
// are under way breaks the session (see Broken).
func (s *Session) Retrieve(numbers []int) iter.Seq[*Message] {
	return messages(window{session: s, verb: "RETR", numbers: numbers}, func(number int) *body {
		return newBody(s.wire, number, s.server.MaxMessage)
	})
}

// Headers fetches messages' headers with the empty line behind them (TOP, RFC 1939 section 7: servers need not know it), in the way of
// Retrieve. A header of more than 4 MiB is a *ProtocolError and ends the session.
func (s *Session) Headers(numbers []int) iter.Seq[*Message] {
	return messages(window{session: s, verb: "TOP", arguments: " 0", numbers: numbers}, func(number int) *body {
		return newHeader(s.wire, number)
	})
}

// messages yields what a window's commands bring, each begun by begin.
func messages(w window, begin func(number int) *body) iter.Seq[*Message] {
	return func(yield func(*Message) bool) {
		w := w // each loop over the sequence sends the commands anew
		s := w.session
		for _, number := range w.numbers {
			refused, err := w.next()
			message := &Message{Number: number}
			switch {
			case err != nil:
				yield(&Message{Number: number, Err: err, Reader: failed{err}})
				return
			case refused != nil:
				message.Err, message.Reader = refused, failed{refused}
			default:
				s.current = begin(number)
				message.Reader = s.current
			}
			if !yield(message) {
				w.abandon()
				return
			}
			if s.wire.err != nil { // the caller has it from the reader
				return
			}
		}
	}
}

// Delete marks messages as deleted (DELE, RFC 1939 section 5), pipelined like Retrieve. The server deletes at Quit. The sequence
// yields each number with nil, with a *ReplyError, or with an error that ends it. Leaving the loop while replies are under way
// breaks the session.
func (s *Session) Delete(numbers []int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		w := &window{session: s, verb: "DELE", numbers: numbers}
		for _, number := range numbers {
			refused, err := w.next()
			if err != nil {
				yield(number, err)
				return
			}
			if refused == nil {
				s.deleted++
			}
			if !yield(number, refused) {
				w.abandon()
				return
			}
		}
	}
}
