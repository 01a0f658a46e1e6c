package pop3

import (
	"cmp"
	"errors"
	"slices"
	"strings"
)

const (
	// maxListLine bounds a line of UIDL, LIST and CAPA: a number and a UID need less than 300 octets, RFC 2449 allows 512.
	maxListLine = 1 << 10

	// maxEntries bounds a listing: 2,000,000 entries are some 150 MB here, and more messages than any known mailbox has.
	maxEntries = 2_000_000

	// maxUID bounds a UID. RFC 1939 section 7 says 70 octets; some servers made theirs of longer file names.
	maxUID = 255

	// trustedCount bounds the memory taken on STAT's word alone, before any entry came.
	trustedCount = 1 << 17
)

// An Entry is one message of a listing.
type Entry struct {
	Number int    // of this session, from 1
	UID    string // octets 0x21 to 0x7E and 0x80 to 0xFF, 1 to 255 of them; meant to be unique, but not every server's is. Bytes, never a path
	Size   int64  // octets as the server counts them: a hint, some count line ends as one
}

// Listing returns the messages that are not marked as deleted, in order of number: UIDL and LIST (RFC 1939 sections 5 and 7) joined by
// number, each with exactly as many entries as STAT says. All three leave in one go when the session is pipelined; UIDL and LIST
// are not asked for when STAT says 0. A server without UIDL yields a *ReplyError whose Command is UIDL;
// anything malformed, missing, double or superfluous is a *ProtocolError and ends the session.
func (s *Session) Listing() ([]Entry, error) {
	l := listing{session: s}
	steps := []struct {
		command string
		read    func(text []byte) error
	}{{"STAT", l.stat}, {"UIDL", l.uidl}, {"LIST", l.list}}

	if err := s.ready(); err != nil {
		return nil, err
	}
	if s.pipelined {
		for _, step := range steps {
			if err := s.send(step.command); err != nil {
				return nil, err
			}
		}
	}
	for _, step := range steps {
		if !s.pipelined {
			if l.refused != nil || l.empty {
				break
			}
			if err := s.send(step.command); err != nil {
				return nil, err
			}
		}
		text, err := s.reply(step.command)
		if err == nil {
			err = step.read(text)
		}
		if err = l.keepRefusal(err); err != nil {
			return nil, err
		}
	}
	return l.result()
}

// A listing is under construction: entries come from UIDL, sizes from LIST.
type listing struct {
	session *Session
	count   int   // what STAT says
	empty   bool  // STAT says 0
	refused error // the first *ReplyError; what else is under way is read and dropped
	entries []Entry
	uids    arena
	sized   int // entries with a size
}

// keepRefusal remembers a *ReplyError, so that the replies behind it can be read, and returns any other error.
// An empty mailbox owes no lists.
func (l *listing) keepRefusal(err error) error {
	if refused := (*ReplyError)(nil); errors.As(err, &refused) {
		if l.refused == nil && !l.empty {
			l.refused = err
		}
		return nil
	}
	return err
}

func (l *listing) result() ([]Entry, error) {
	if l.refused != nil {
		return nil, l.refused
	}
	return l.entries, nil
}

func (l *listing) stat(text []byte) error {
	count, _, err := l.session.parseStat(text)
	if err == nil {
		l.count, l.empty = count, count == 0
	}
	return err
}

// uidl reads the unique-id listing and puts it in order.
func (l *listing) uidl(text []byte) error {
	if l.refused != nil {
		return l.drop()
	}
	said := notNow("UIDL", l.session.wire.text(text))
	l.entries = make([]Entry, 0, min(l.count, trustedCount))
	inOrder := true
	err := l.session.lines(l.count, func(line []byte) error {
		number, uid, err := l.parseUIDL(line)
		if err != nil {
			return err
		}
		if n := len(l.entries); n > 0 && l.entries[n-1].Number >= number {
			inOrder = false
		}
		l.entries = append(l.entries, Entry{Number: number, UID: l.uids.add(uid), Size: -1})
		return nil
	})
	if err != nil {
		return err
	}
	if !inOrder {
		slices.SortFunc(l.entries, func(a, b Entry) int { return cmp.Compare(a.Number, b.Number) })
		for i := range l.entries[1:] {
			if l.entries[i].Number == l.entries[i+1].Number {
				return l.session.wire.fail(protocolError("UIDL lists message %d twice", l.entries[i].Number))
			}
		}
	}
	if len(l.entries) != l.count {
		return l.session.wire.fail(protocolError("STAT says %d messages, UIDL lists %d", l.count, len(l.entries)))
	}
	return said
}

// parseUIDL reads "number unique-id".
func (l *listing) parseUIDL(line []byte) (number int, uid []byte, err error) {
	number, rest, err := l.number("UIDL", line)
	if err != nil {
		return 0, nil, err
	}
	for len(rest) > 0 && rest[0] == ' ' {
		rest = rest[1:]
	}
	for len(rest) > 0 && rest[len(rest)-1] == ' ' {
		rest = rest[:len(rest)-1]
	}
	if len(rest) == 0 || len(rest) > maxUID {
		return 0, nil, l.malformed("UIDL", line)
	}
	for _, c := range rest {
		if c <= ' ' || c == 0x7F {
			return 0, nil, l.malformed("UIDL", line)
		}
	}
	return number, rest, nil
}

// list reads the scan listing into the entries of UIDL.
func (l *listing) list(text []byte) error {
	if l.refused != nil {
		return l.drop()
	}
	said := notNow("LIST", l.session.wire.text(text))
	next := 0 // servers list in order: the next entry is nearly always the right one
	err := l.session.lines(l.count, func(line []byte) error {
		number, rest, err := l.number("LIST", line)
		if err != nil {
			return err
		}
		size, rest, ok := leadingNumber(rest)
		if !ok || (len(rest) > 0 && rest[0] != ' ') { // more may follow the size (RFC 1939 section 5)
			return l.malformed("LIST", line)
		}
		if next == len(l.entries) || l.entries[next].Number != number {
			next, ok = slices.BinarySearchFunc(l.entries, number, func(e Entry, n int) int { return cmp.Compare(e.Number, n) })
			if !ok {
				return protocolError("LIST has message %d, UIDL has not", number)
			}
		}
		if l.entries[next].Size >= 0 {
			return protocolError("LIST lists message %d twice", number)
		}
		l.entries[next].Size = size
		l.sized++
		next++
		return nil
	})
	if err != nil {
		return err
	}
	if l.sized != len(l.entries) {
		return l.session.wire.fail(protocolError("UIDL lists %d messages, LIST %d", len(l.entries), l.sized))
	}
	return said
}

// number reads the message number at the front of a line and the space behind it. Messages marked as deleted keep their
// numbers though STAT does not count them.
func (l *listing) number(command string, line []byte) (int, []byte, error) {
	number, rest, ok := leadingNumber(line)
	if !ok || line[0] == ' ' || len(rest) == 0 || rest[0] != ' ' {
		return 0, nil, l.malformed(command, line)
	}
	if highest := l.count + l.session.deleted; number < 1 || number > int64(highest) {
		return 0, nil, protocolError("%s lists message %d; numbers go from 1 to %d", command, number, highest)
	}
	return int(number), rest, nil
}

func (l *listing) malformed(command string, line []byte) error {
	return protocolError("malformed line in the answer to %s: %s", command, shown(l.session.wire.text(line)))
}

// drop reads a list that serves no more, to stay in step.
func (l *listing) drop() error {
	return l.session.lines(maxEntries, func([]byte) error { return nil })
}

// lines reads the lines of a multi-line reply, at most limit of them, without CRLF and stuffing. Lines are valid
// only within each. An error of each ends the session.
func (s *Session) lines(limit int, each func(line []byte) error) error {
	for n := 0; ; n++ {
		line, err := s.wire.line(maxListLine)
		if err != nil {
			return err
		}
		if len(line) > 0 && line[0] == '.' {
			if line = line[1:]; len(line) == 0 {
				return nil
			}
		}
		if n == limit {
			return s.wire.fail(protocolError("list is longer than the %d lines it may have", limit))
		}
		if err := each(line); err != nil {
			return s.wire.fail(err)
		}
	}
}

// arenaChunk is how many bytes of UIDs share one allocation. A single UID kept keeps its chunk.
const arenaChunk = 64 << 10

// An arena makes strings that share few allocations.
type arena struct{ chunk strings.Builder }

func (a *arena) add(b []byte) string {
	if a.chunk.Cap()-a.chunk.Len() < len(b) {
		a.chunk.Reset() // lets go of the chunk; its strings keep it
		a.chunk.Grow(arenaChunk)
	}
	start := a.chunk.Len()
	a.chunk.Write(b)
	return a.chunk.String()[start:]
}
