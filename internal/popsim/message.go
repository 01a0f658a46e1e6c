package popsim

import (
	"bufio"
	"bytes"
	"io"
	"time"
)

var crlf = []byte("\r\n")

// Message is one message of a maildrop, line ends as on the wire (CRLF). Its bytes are Body or, when Open is set, what
// Open's readers yield, so that a huge message or very many cost no memory.
//
// POP3 cannot end a message but at a line end (RFC 1939 §3), so where the last line lacks its CRLF the server adds it; a
// message of zero bytes stays so.
type Message struct {
	UID      string
	Received time.Time
	Body     []byte
	Open     func() io.Reader // must give the same bytes each time; may be called by several goroutines
	Size     int64            // with Open: its octets, the last CRLF included; 0: they are counted when needed, by reading all

	// For Gmail's maildrops; see GmailBox.
	Thread  string // the conversation it belongs to; empty: one of its own
	Labels  Labels
	Unread  bool
	ViaSMTP bool // sent by a client through SMTP: popped from the beginning
	Popped  bool // downloaded by POP, as Gmail takes it
}

// Reader gives the octets that a client receives, with the CRLF added at the end if it lacks.
func (m Message) Reader() io.Reader {
	if m.Open != nil {
		return &finisher{r: m.Open()}
	}
	if len(m.Body) == 0 || bytes.HasSuffix(m.Body, crlf) {
		return bytes.NewReader(m.Body)
	}
	return io.MultiReader(bytes.NewReader(m.Body), bytes.NewReader(crlf))
}

// Octets is the length of what Reader gives: the true size.
func (m Message) Octets() int64 {
	switch {
	case m.Open != nil && m.Size > 0:
		return m.Size
	case m.Open != nil:
		n, _ := io.Copy(io.Discard, m.Reader())
		return n
	case len(m.Body) == 0 || bytes.HasSuffix(m.Body, crlf):
		return int64(len(m.Body))
	default:
		return int64(len(m.Body) + len(crlf))
	}
}

// Stored is the message as a mailbox must hold it: the octets of Reader, each CRLF a LF, all else as it is. This is the
// oracle of tests, simple on purpose. It holds the message in memory; for the huge ones there is StoredReader.
func (m Message) Stored() []byte {
	octets, _ := io.ReadAll(m.Reader())
	return bytes.ReplaceAll(octets, crlf, []byte("\n"))
}

// StoredReader gives the same bytes as Stored, one by one.
func (m Message) StoredReader() io.Reader {
	return &unixReader{r: bufio.NewReader(m.Reader())}
}

type unixReader struct{ r *bufio.Reader }

func (u *unixReader) Read(p []byte) (int, error) {
	for i := range p {
		b, err := u.r.ReadByte()
		if err != nil {
			return i, err
		}
		if b == '\r' {
			if next, _ := u.r.Peek(1); len(next) == 1 && next[0] == '\n' {
				b, _ = u.r.ReadByte()
			}
		}
		p[i] = b
	}
	return len(p), nil
}

// finisher adds the CRLF that a stream lacks at its end.
type finisher struct {
	r     io.Reader
	last  [2]byte
	any   bool
	added []byte // what is still to be handed out after the end
	ended bool
}

func (f *finisher) Read(p []byte) (int, error) {
	if f.ended {
		n := copy(p, f.added)
		f.added = f.added[n:]
		if n == 0 && len(p) > 0 {
			return 0, io.EOF
		}
		return n, nil
	}
	n, err := f.r.Read(p)
	switch {
	case n >= 2:
		f.last = [2]byte(p[n-2 : n])
	case n == 1:
		f.last = [2]byte{f.last[1], p[0]}
	}
	f.any = f.any || n > 0
	if err == io.EOF {
		f.ended, err = true, nil
		if f.any && !bytes.Equal(f.last[:], crlf) {
			f.added = crlf
		}
		if n == 0 {
			return f.Read(p)
		}
	}
	return n, err
}

// WrongBy makes a server list sizes that are wrong by n octets (but never negative).
func WrongBy(n int64) func(Message) int64 {
	return func(m Message) int64 { return max(0, m.Octets()+n) }
}

// CountLF lists a size that counts each CRLF as one octet, as Gmail did in 2007. It reads the whole message.
func CountLF(m Message) int64 {
	n, _ := io.Copy(io.Discard, m.StoredReader())
	return n
}
