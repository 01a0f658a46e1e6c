package popsim

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

var crlfDot = []byte("\r\n.")

// stuffer writes a body with a dot before each line that begins with one, RFC 1939 §3. Lines end at CRLF only.
// Its zero value but for w is in the middle of a line; start with place lineStart.
type stuffer struct {
	w     *bufio.Writer
	place place
}

type place int

const (
	inLine place = iota
	afterCR
	lineStart
)

func (s *stuffer) Write(p []byte) (int, error) {
	length := len(p)
	if s.place == afterCR && length > 0 && p[0] == '\n' {
		s.w.WriteByte('\n')
		p, s.place = p[1:], lineStart
	}
	for len(p) > 0 {
		if s.place == lineStart && p[0] == '.' {
			s.w.WriteByte('.')
		}
		end := bytes.Index(p, crlfDot)
		if end < 0 {
			break
		}
		s.w.Write(p[:end+2])
		p, s.place = p[end+2:], lineStart
	}
	if len(p) > 0 {
		s.place = placeAfter(p)
	}
	_, err := s.w.Write(p) // bufio.Writer keeps its first error
	return length, err
}

// placeAfter tells where p leaves the line.
func placeAfter(p []byte) place {
	switch {
	case bytes.HasSuffix(p, crlf):
		return lineStart
	case p[len(p)-1] == '\r':
		return afterCR
	default:
		return inLine
	}
}

// topReader gives the header, the blank line and the first lines of the body, RFC 1939 §7 (TOP).
type topReader struct {
	r      *bufio.Reader
	lines  int
	inBody bool
	last   byte   // of the piece before
	within bool   // the piece before did not end its line
	piece  []byte // what is to be handed out
}

func newTopReader(r io.Reader, lines int) *topReader {
	return &topReader{r: bufio.NewReaderSize(r, 64<<10), lines: lines}
}

func (t *topReader) Read(p []byte) (int, error) {
	if len(t.piece) == 0 {
		if t.inBody && t.lines == 0 {
			return 0, io.EOF
		}
		if err := t.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, t.piece)
	t.piece = t.piece[n:]
	return n, nil
}

// next takes a line, or a piece of a long one, from the message.
func (t *topReader) next() error {
	piece, err := t.r.ReadSlice('\n')
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) && len(piece) == 0 {
		return err
	}
	ended := bytes.HasSuffix(piece, crlf) || t.last == '\r' && string(piece) == "\n"
	switch {
	case ended && t.inBody:
		t.lines--
	case ended && !t.within && len(piece) == 2:
		t.inBody = true
	}
	t.last, t.within, t.piece = piece[len(piece)-1], !ended, piece
	return nil
}
