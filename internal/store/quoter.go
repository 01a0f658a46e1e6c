package store

import (
	"bytes"
	"io"
)

// The mboxrd format (qmail's mbox(5)): a line of the message that is zero or
// more ">" and then "From " gets one more ">". Unlike the older habit, which
// quotes the bare "From " only, this can be undone: unquoter takes one ">"
// from every line that is one or more ">" and then "From ".
//
// Both work on chunks, not on lines: they look for the word "From ", which is
// rare, and back to the start of its line. Nothing of a line is kept but what
// could still become that word at a chunk's end, so a line may have any
// length. Since ">"s are alike, it does not matter which one is put in or
// left out; it is the last one here, because by then it is known that the
// word follows.

var fromWord = []byte("From ")

// quoter passes a message on to w in mboxrd quoting. Its zero value with w
// set is ready; flush ends the message.
type quoter struct {
	w    io.Writer
	mid  bool // the line in hand began with something that is no ">"
	held int  // bytes of fromWord that ended the last chunk, not yet passed on
}

// Write implements io.Writer; p is not changed.
func (q *quoter) Write(p []byte) (int, error) {
	length := len(p)
	if q.held > 0 {
		var err error
		if p, err = q.resume(p); err != nil {
			return 0, err
		}
	}
	mid := q.mid
	q.mid, q.held = lineState(p, mid, q.held)
	p = p[:len(p)-min(q.held, len(p))]
	done := 0
	for at := 0; ; {
		i := bytes.Index(p[at:], fromWord)
		if i < 0 {
			break
		}
		if begin := at + i; startsLine(p[:begin], mid) {
			if err := writeAll(q.w, p[done:begin], quoteMark); err != nil {
				return 0, err
			}
			done = begin
		}
		at += i + len(fromWord)
	}
	return length, writeAll(q.w, p[done:])
}

var quoteMark = []byte(">")

// resume goes on with a word that the last chunk broke off in, and returns
// what of p is left.
func (q *quoter) resume(p []byte) ([]byte, error) {
	n := matching(p, fromWord[q.held:])
	known := q.held + n
	if n == len(p) && known < len(fromWord) {
		q.held = known
		return nil, nil
	}
	q.mid, q.held = true, 0
	if known == len(fromWord) {
		return p[n:], writeAll(q.w, quoteMark, fromWord)
	}
	return p[n:], writeAll(q.w, fromWord[:known])
}

// flush passes on what was held back. The next Write begins a new message.
func (q *quoter) flush() error {
	held := q.held
	q.mid, q.held = false, 0
	return writeAll(q.w, fromWord[:held])
}

// lineState says how a chunk leaves off: whether its last line can no longer
// become a From_ line, and how many bytes at its end begin the word. An empty
// chunk leaves things as they are.
func lineState(p []byte, mid bool, held int) (bool, int) {
	if len(p) == 0 {
		return mid, held
	}
	if i := bytes.LastIndexByte(p, '\n'); i >= 0 {
		p, mid = p[i+1:], false
	}
	if mid {
		return true, 0
	}
	word := bytes.TrimLeft(p, ">")
	switch {
	case len(word) == 0:
		return false, 0
	case len(word) < len(fromWord) && bytes.HasPrefix(fromWord, word):
		return false, len(word)
	}
	return true, 0
}

// startsLine says whether what stands before a word is nothing but ">"s since
// the line began; mid is the state of the line that before began in.
func startsLine(before []byte, mid bool) bool {
	before = bytes.TrimRight(before, ">")
	if len(before) == 0 {
		return !mid
	}
	return before[len(before)-1] == '\n'
}

// matching returns how many bytes p and q have in common at their start.
func matching(p, q []byte) int {
	n := 0
	for n < len(p) && n < len(q) && p[n] == q[n] {
		n++
	}
	return n
}

func writeAll(w io.Writer, pieces ...[]byte) error {
	for _, p := range pieces {
		if len(p) == 0 {
			continue
		}
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// unquoter undoes the quoting of a message it is given in chunks and passes
// it on to w. Its zero value with w set is ready; flush ends the message.
type unquoter struct {
	w    io.Writer
	mid  bool // the line in hand began with something that is no ">"
	mark bool // a ">" that the line's start ended in is held back
	held int  // bytes of fromWord after it, likewise
}

// Write implements io.Writer; p is not changed.
func (u *unquoter) Write(p []byte) (int, error) {
	length := len(p)
	if u.mark || u.held > 0 {
		var err error
		if p, err = u.resume(p); err != nil {
			return 0, err
		}
	}
	mid, done := u.mid, 0
	for at := 0; ; {
		i := bytes.Index(p[at:], fromWord)
		if i < 0 {
			break
		}
		begin := at + i
		if begin > 0 && p[begin-1] == '>' && startsLine(p[:begin], mid) {
			if err := writeAll(u.w, p[done:begin-1]); err != nil {
				return 0, err
			}
			done = begin
		}
		at = begin + len(fromWord)
	}
	rest := p[done:]
	u.mid, u.held = lineState(p, mid, u.held)
	if len(p) > 0 {
		rest = rest[:len(rest)-u.held]
		u.mark = !u.mid && len(rest) > 0 && rest[len(rest)-1] == '>'
		if u.mark {
			rest = rest[:len(rest)-1]
		}
	}
	return length, writeAll(u.w, rest)
}

// resume goes on where the last chunk broke off in a line's start, and
// returns what of p is left.
func (u *unquoter) resume(p []byte) ([]byte, error) {
	if len(p) == 0 {
		return nil, nil
	}
	if u.held == 0 && p[0] == '>' {
		u.mark = false // another one follows, so this one stays; the new one is judged with p
		return p, writeAll(u.w, quoteMark)
	}
	n := matching(p, fromWord[u.held:])
	known := u.held + n
	if n == len(p) && known < len(fromWord) {
		u.held = known
		return nil, nil
	}
	quoted := u.mark && known == len(fromWord)
	u.mid, u.mark, u.held = true, u.mark && !quoted, known
	return p[n:], u.release()
}

// release passes on what is held back.
func (u *unquoter) release() error {
	mark, held := u.mark, u.held
	u.mark, u.held = false, 0
	if mark {
		return writeAll(u.w, quoteMark, fromWord[:held])
	}
	return writeAll(u.w, fromWord[:held])
}

// flush passes on what was held back. The next Write begins a new message.
func (u *unquoter) flush() error {
	u.mid = false
	return u.release()
}
