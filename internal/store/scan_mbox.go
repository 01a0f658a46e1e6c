package store

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"os"
)

// scan reads a whole mbox and yields what lies in it, piece by piece, in
// memory that does not depend on it.
//
// A message begins with a From_ line at the file's start or after a blank
// line, and ends with the blank line before the next one. A From_ line without
// a blank line before it is one as well if it tells a time, as they all do:
// then the message before it was cut off, and another program appended. In
// mail that is quoted as it should be no such line occurs.
func (m *Mbox) scan(ctx context.Context, f *os.File) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) {
		r := bufio.NewReaderSize(io.NewSectionReader(f, 0, 1<<63-1), chunkSize)
		s := newMboxScan(m.path)
		for {
			line, err := r.ReadSlice('\n')
			if s.begins(line) {
				if ctx.Err() != nil {
					yield(Found{}, context.Cause(ctx))
					return
				}
				if !s.end(yield) {
					return
				}
			}
			s.add(line)
			if err == io.EOF {
				s.end(yield)
				return
			}
			if err != nil && err != bufio.ErrBufferFull {
				yield(Found{}, failed("reading", f.Name(), err))
				return
			}
		}
	}
}

// mboxScan takes the lines, or pieces of long ones, of an mbox.
type mboxScan struct {
	path   string
	sum    *bareDigest
	quoted unquoter // before sum
	body   frame    // before quoted; withholds the blank line at the end

	start   int64 // where the piece in hand begins
	at      int64 // where the next line will
	started bool  // a From_ line was seen
	empty   bool  // nothing but line ends came so far
	inFrom  bool  // the line in hand is a From_ line
	midLine bool  // the last piece did not end in a line end
	blank   bool  // the line before was blank, or there is none
}

func newMboxScan(path string) *mboxScan {
	s := &mboxScan{path: path, sum: newBareDigest(), empty: true, blank: true}
	s.quoted.w, s.body.w = s.sum, &s.quoted
	return s
}

func (s *mboxScan) begins(line []byte) bool {
	return !s.midLine && bytes.HasPrefix(line, fromWord) && (s.blank || tellsTime(line))
}

// tellsTime says whether a From_ line holds a time as asctime(3) writes it,
// also without seconds, or with a time zone.
func tellsTime(line []byte) bool {
	clock := false
	for _, word := range bytes.Fields(line) {
		switch {
		case len(word) >= len("00:00") && isDigits(word[:2]) && word[2] == ':' && isDigits(word[3:5]):
			clock = true
		case clock && len(word) == len("1970") && isDigits(word):
			return true
		}
	}
	return false
}

func isDigits(word []byte) bool {
	return len(bytes.TrimLeft(word, "0123456789")) == 0
}

// add takes the next piece. Writing to a digest does not fail.
func (s *mboxScan) add(line []byte) {
	if len(line) == 0 {
		return
	}
	if !s.midLine {
		s.inFrom = s.begins(line)
		s.started = s.started || s.inFrom
		s.blank = len(line) == 1 && line[0] == '\n'
	}
	s.midLine = line[len(line)-1] != '\n'
	s.at += int64(len(line))
	s.empty = s.empty && len(bytes.Trim(line, "\r\n")) == 0
	if s.started && !s.inFrom {
		s.body.Write(line)
	}
}

// end ends the piece in hand, and yields it if there is one. Line ends before
// the first From_ line are none: programs are known to leave some there.
func (s *mboxScan) end(yield func(Found, error) bool) bool {
	found := Found{Message: Message{Location: Location{Path: s.path, Offset: s.start, Length: s.at - s.start}}}
	s.start = s.at
	if !s.started {
		found.Torn = fmt.Sprintf("the first %d bytes of the file are no message: no From_ line begins them", found.Location.Length)
		return s.empty || yield(found, nil)
	}
	if !s.blank {
		found.Torn = fmt.Sprintf("the message at offset %d is cut off: no blank line ends it", found.Location.Offset)
		if s.body.held {
			s.quoted.Write([]byte("\n")) // was withheld for a blank line, and is the message's own
		}
	}
	s.quoted.flush()
	whole, bare := s.sum.end()
	found.Size, found.SHA256, found.Virtual = whole.Size, whole.SHA256, whole.Virtual
	found.Bare = bare
	s.sum.reset()
	s.body.held = false
	return yield(found, nil)
}
