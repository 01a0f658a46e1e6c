package pop3

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// maxListLine bounds a line of UIDL, LIST and CAPA: a number and a UID need less than 300 octets, RFC 2449 allows 512.
	maxListLine = 1 << 10

	// maxUID bounds a UID. RFC 1939 section 7 says 70 octets; some servers made theirs of longer file names.
	maxUID = 255

	// maxSize bounds a listed size: no message has 1 TiB, and the sum of all that a listing can hold stays within 63 bits.
	maxSize = 1 << 40

	// listBudget bounds the memory that a server's lists may cost, so that a hostile one cannot take a small machine's.
	// It serves for some 240,000 messages with UIDs like Gmail's.
	listBudget = 28 << 20

	// lineCost is what a line is reckoned to take besides its UID's octets: an Entry with the slack of its slice, and what
	// callers keep beside each entry.
	lineCost = 100

	// spareLines is how many lines more than STAT says a list may have: mail that came meanwhile, and lines that stand twice.
	spareLines = 1000

	// trustedCount bounds the memory taken on STAT's word alone, before any line came.
	trustedCount = 1 << 17
)

// An Entry is one message of a listing.
type Entry struct {
	Number int    // of this session, from 1
	UID    string // 1 to 255 octets of any value, never a path, meant to be unique, but not every server's is. "": the server gave none that is usable
	Size   int64  // octets as the server counts them, up to 1 TiB: a hint, some count line ends as one. -1: the server gave none that is usable
}

// A Listing is what the server says the mailbox holds.
type Listing struct {
	Entries []Entry // by number, each number once

	// Refused is the server's refusal of UIDL, when it gave no response code as its reason: most likely it does not know
	// the command. No entry has a UID then. Nil otherwise.
	Refused *ReplyError

	// Damage is nil, or a *ProtocolError that tells the first thing wrong with the lists that can be lived with, and how many
	// messages it concerns. The entries are sound all the same, and the session goes on.
	Damage error
}

// List returns the messages that are not marked as deleted: UIDL and LIST (RFC 1939 sections 5 and 7) joined by number. STAT, UIDL and
// LIST leave in one go when the session is pipelined; the lists are not asked for when STAT says 0.
//
// Messages are the numbers in either list. What one of the lists lacks, repeats differently or garbles is unknown in the
// Entry, and Damage says so. Numbers beyond STAT's count are left out: mail that came after it, for the next session.
//
// Errors are a *ReplyError, but for the case of Listing.Refused, with the session in good order, or one that ends the session:
// a *ProtocolError for a line without a message number, for a list without end and for lists that need more than 28 MiB.
func (s *Session) List() (Listing, error) {
	if err := s.ready(); err != nil {
		return Listing{}, err
	}
	s.wire.until = time.Now().Add(listTime)
	defer func() { s.wire.until = time.Time{} }()
	l := &listing{session: s, maxLines: listBudget/lineCost + spareLines}
	steps := []struct {
		command string
		read    func(text []byte) error
	}{{"STAT", l.stat}, {"UIDL", l.uidl}, {"LIST", l.list}}
	if s.pipelined {
		for _, step := range steps {
			if err := s.send(step.command); err != nil {
				return Listing{}, err
			}
		}
	}
	for _, step := range steps {
		if !s.pipelined {
			if l.refused != nil || l.empty {
				break
			}
			if err := s.send(step.command); err != nil {
				return Listing{}, err
			}
		}
		text, err := s.reply(step.command)
		if err == nil {
			err = step.read(text)
		}
		if err = l.keepRefusal(err); err != nil {
			return Listing{}, err
		}
	}
	return l.result()
}

// What a line under construction does not say. No server can send these values.
const (
	noUID  = "\r\n" // a line of LIST
	noSize = -2     // a line of UIDL
)

// A listing is under construction: each line of UIDL becomes an entry, LIST fills in the sizes. A line of LIST that finds no entry
// waiting becomes one of its own. In the end, entries of the same number are made one.
type listing struct {
	session  *Session
	count    int         // what STAT says
	empty    bool        // STAT says 0: such a mailbox owes no lists
	refused  *ReplyError // the first that is an error; what else is under way is read and dropped
	unknown  *ReplyError // Listing.Refused
	maxLines int         // of one list
	entries  []Entry
	disorder bool // entries are not in order, or there are several of one number
	uids     arena
	cost     int // of entries and UIDs, see lineCost
	damage   damage
}

// keepRefusal remembers a *ReplyError, so that the replies behind it can be read, and returns any other error.
func (l *listing) keepRefusal(err error) error {
	refused := (*ReplyError)(nil)
	switch {
	case !errors.As(err, &refused):
		return err
	case l.refused != nil || l.empty:
	case refused.Command == "UIDL" && refused.Code == "":
		l.unknown = refused
	default:
		l.refused = refused
	}
	return nil
}

func (l *listing) stat(text []byte) error {
	count, _, err := l.session.parseStat(text)
	if err != nil {
		return err
	}
	l.count, l.empty = count, count == 0
	l.maxLines = min(count+l.session.deleted+spareLines, l.maxLines)
	l.entries = make([]Entry, 0, min(count, trustedCount))
	return nil
}

// read reads the lines of a list, "number" and what each makes of the rest, after the status line's text. Messages marked as deleted keep
// their numbers though STAT does not count them.
func (l *listing) read(command string, text []byte, each func(number int, rest []byte) error) error {
	l.keepRefusal(notNow(command, l.session.wire.text(text)))
	highest := int64(l.count + l.session.deleted)
	return l.session.lines(l.maxLines, func(line []byte) error {
		if l.refused != nil { // it serves no more, but we stay in step
			return nil
		}
		number, rest, ok := leadingNumber(line)
		if !ok || number == 0 || line[0] == ' ' || (len(rest) > 0 && rest[0] != ' ') {
			return protocolError("no message number in a line of the answer to %s: %s", command, shown(l.session.wire.text(line)))
		}
		if number > highest {
			l.damage.note(command, "names, beyond what STAT counts,", number)
			return nil
		}
		return each(int(number), rest)
	})
}

// uidl reads lines of "number unique-id". RFC 1939 section 7 allows 0x21 to 0x7E in a UID, but whatever stands there names the message.
func (l *listing) uidl(text []byte) error {
	return l.read("UIDL", text, func(number int, rest []byte) error {
		uid := bytes.Trim(rest, " ")
		if len(uid) == 0 || len(uid) > maxUID {
			l.damage.note("UIDL", "has no usable unique-id for", int64(number))
			uid = nil
		}
		return l.add(Entry{Number: number, Size: noSize}, uid)
	})
}

// list reads lines of "number size". More may follow the size (RFC 1939 section 5).
func (l *listing) list(text []byte) error {
	next, end := 0, len(l.entries) // servers list in the same order both times: the next entry is nearly always the right one
	return l.read("LIST", text, func(number int, rest []byte) error {
		size, rest, ok := leadingNumber(rest)
		if !ok || size > maxSize || (len(rest) > 0 && rest[0] != ' ') {
			l.damage.note("LIST", "has no usable size for", int64(number))
			size = -1
		}
		for next < end && l.entries[next].Number < number {
			next++
		}
		if next < end && l.entries[next].Number == number {
			l.entries[next].Size = size
			next++
			return nil
		}
		return l.add(Entry{Number: number, UID: noUID, Size: size}, nil)
	})
}

// add appends an entry, with its UID when that is given, within the budget.
func (l *listing) add(e Entry, uid []byte) error {
	if l.cost += lineCost + len(uid); l.cost > listBudget {
		return protocolError("the list needs more than %d MiB: %d messages came, STAT says %d", listBudget>>20, len(l.entries), l.count)
	}
	if e.UID == "" {
		e.UID = l.uids.add(uid)
	}
	if n := len(l.entries); n > 0 && l.entries[n-1].Number >= e.Number {
		l.disorder = true
	}
	l.entries = append(l.entries, e)
	return nil
}

func (l *listing) result() (Listing, error) {
	if l.refused != nil {
		return Listing{}, l.refused
	}
	if l.disorder {
		l.join()
	}
	for i := range l.entries {
		e := &l.entries[i]
		if e.UID == noUID {
			e.UID = ""
			if l.unknown == nil {
				l.damage.note("UIDL", "lacks", int64(e.Number))
			}
		}
		if e.Size == noSize {
			e.Size = -1
			l.damage.note("LIST", "lacks", int64(e.Number))
		}
	}
	damage := l.damage.err()
	if damage == nil && len(l.entries) != l.count {
		damage = protocolError("STAT says %d messages, the lists have %d", l.count, len(l.entries))
	}
	return Listing{Entries: l.entries, Refused: l.unknown, Damage: damage}, nil
}

// join puts the entries in order of number and makes those of the same number one.
func (l *listing) join() {
	slices.SortFunc(l.entries, func(a, b Entry) int { return cmp.Compare(a.Number, b.Number) })
	joined := l.entries[:0]
	for _, e := range l.entries {
		if n := len(joined); n > 0 && joined[n-1].Number == e.Number {
			l.agree(&joined[n-1], e)
		} else {
			joined = append(joined, e)
		}
	}
	l.entries = joined
}

// agree leaves in a what both say, or one says alone. Of two different answers nobody knows which is the right one.
func (l *listing) agree(a *Entry, b Entry) {
	switch {
	case a.UID == noUID:
		a.UID = b.UID
	case b.UID == noUID:
	case a.UID == b.UID:
		l.damage.note("UIDL", "repeats", int64(a.Number))
	default:
		a.UID = ""
		l.damage.note("UIDL", "has different unique-ids for", int64(a.Number))
	}
	switch {
	case a.Size == noSize:
		a.Size = b.Size
	case b.Size == noSize:
	case a.Size == b.Size:
		l.damage.note("LIST", "repeats", int64(a.Number))
	default:
		a.Size = -1
		l.damage.note("LIST", "has different sizes for", int64(a.Number))
	}
}

// damage is the first thing wrong with the lists, and how often it is.
type damage struct {
	command, what string
	first, last   int64 // messages it concerns
	count         int   // of them
}

// note takes down that something is wrong with a message.
func (d *damage) note(command, what string, message int64) {
	if d.count == 0 {
		d.command, d.what, d.first = command, what, message
	}
	if d.command == command && d.what == what && (d.count == 0 || d.last != message) {
		d.last = message
		d.count++
	}
}

func (d *damage) err() error {
	if d.count == 0 {
		return nil
	}
	more := ""
	if d.count > 1 {
		more = fmt.Sprintf(" and %d more", d.count-1)
	}
	return protocolError("%s %s message %d%s", d.command, d.what, d.first, more)
}

// lines reads the lines of a multi-line reply, at most limit of them, without CRLF and stuffing. Lines are valid
// only within each. An error of each ends the session.
func (s *Session) lines(limit int, each func(line []byte) error) error {
	s.wire.await()
	for n := 0; ; n++ {
		line, err := s.wire.line(maxListLine)
		if err != nil {
			return err
		}
		s.wire.renew(len(line) + len("\r\n"))
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
