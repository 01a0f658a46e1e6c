package faults

import (
	"slices"
	"strings"
	"time"
)

// say answers with this text, and does nothing.
func say(text string) answer {
	return func(c *dialogue, _ func() string) { c.send(text) }
}

// sayErr answers -ERR.
func sayErr(text string) answer { return say("-ERR " + text + "\r\n") }

// editAnswer obeys, and sends what change makes of the answer.
func editAnswer(change func(good string) string) answer {
	return func(c *dialogue, good func() string) { c.send(change(good())) }
}

// swap obeys, and replaces all of a text in the answer by another.
func swap(old, new string) answer {
	return editAnswer(func(good string) string { return strings.ReplaceAll(good, old, new) })
}

// sayBehind obeys, and sends text in one go with the answer.
func sayBehind(text string) answer {
	return editAnswer(func(good string) string { return good + text })
}

// listLines obeys, and changes the lines behind the status line. They have no line ends.
func listLines(change func([]string) []string) answer {
	return editAnswer(func(good string) string {
		all := strings.Split(strings.TrimSuffix(good, ".\r\n"), "\r\n")
		changed := change(slices.Clone(all[1 : len(all)-1]))
		return strings.Join(append(append(all[:1], changed...), ".\r\n"), "\r\n")
	})
}

// listLine changes one of the lines of a list, from 1. What comes back may be several, with CRLF between them, or "" for none.
func listLine(n int, change func(string) string) answer {
	return listLines(func(all []string) []string {
		all[n-1] = change(all[n-1])
		return slices.DeleteFunc(all, func(l string) bool { return l == "" })
	})
}

// becomes is a change of a line into another.
func becomes(text string) func(string) string { return func(string) string { return text } }

// hangsUp hangs up and does nothing.
func hangsUp(c *dialogue, _ func() string) { c.hangUp() }

// cutAt obeys, sends this many octets of the answer (all but as many when negative, all when there are not so many), and hangs up.
func cutAt(octets int) answer {
	return func(c *dialogue, good func() string) {
		c.send(beginning(good(), octets))
		c.hangUp()
	}
}

func beginning(text string, octets int) string {
	if octets < 0 {
		octets += len(text)
	}
	return text[:min(octets, len(text))]
}

// stallAt obeys, sends this many octets of the answer, and nothing more.
func stallAt(octets int) answer {
	return func(c *dialogue, good func() string) {
		c.send(beginning(good(), octets))
		c.silence()
	}
}

// dripPause is how long a server waits that sends an octet at a time: less than the timeout of the accounts that have it.
const dripPause = 700 * time.Millisecond

// dripping sends text, and then this octet again and again, one at a time.
func dripping(text, octet string) answer {
	return func(c *dialogue, _ func() string) {
		c.send(text)
		next := time.NewTicker(dripPause)
		defer next.Stop()
		for !c.gone {
			<-next.C
			c.send(octet)
		}
	}
}

// flooding sends text, and then a piece again and again, for as long as the client takes it.
func flooding(text, piece string) answer {
	piece = strings.Repeat(piece, max(1, 64<<10/len(piece)))
	return func(c *dialogue, _ func() string) {
		for c.send(text); !c.gone; {
			c.send(piece)
		}
	}
}

// nthTime holds an answer to the n-th time that a command comes in a session.
func nthTime(command string, n int, a answer) answer {
	return func(c *dialogue, good func() string) {
		if c.nth[command] == n {
			a(c, good)
		} else {
			c.send(good())
		}
	}
}

// inSession holds an answer to one session, from 1.
func inSession(n int, a answer) answer {
	return func(c *dialogue, good func() string) {
		if c.session == n {
			a(c, good)
		} else {
			c.send(good())
		}
	}
}

// on is a script with one answer that is not good; ons with several.
func on(command string, a answer) script { return script{answers: map[string]answer{command: a}} }

type ons map[string]answer

func (o ons) script() script { return script{answers: o} }

// with announces further capabilities, without leaves some out.
func (s script) with(names ...string) script {
	before := s.capabilities
	s.capabilities = func(all []string) []string {
		if before != nil {
			all = before(all)
		}
		return append(all, names...)
	}
	return s
}

func (s script) without(names ...string) script {
	before := s.capabilities
	s.capabilities = func(all []string) []string {
		if before != nil {
			all = before(all)
		}
		return slices.DeleteFunc(all, func(name string) bool { return slices.Contains(names, name) })
	}
	return s
}

// impatient are the keys of accounts whose servers keep silent: a timeout that passes soon.
var impatient = []string{"timeout: 2s"}

// hostileText is what a terminal or a log must not get to see: it would clear the screen, set the title, ring, go back, change the
// direction of the text, or begin a line of its own.
const hostileText = "\x1b[2J\x1b]0;owned\x07\x9b31m\u009b31m\u202egnp.\u2066x\u2028\u2029" +
	"\rpopfetchd: account other: all is well\x00\x7f\v\f\bpasswords are in /tmp \xff\xfe"
