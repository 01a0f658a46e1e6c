package popsim

import (
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
)

// command is one of POP3's: run does the work and says what to answer.
type command struct {
	run   func(*session, string) answer
	early bool // for the AUTHORIZATION state only (RFC 1939 §4)
	login bool // for the TRANSACTION state only (§5)
}

// lookup finds a command by its name in capitals.
func lookup(name string) (command, bool) {
	switch name {
	case "USER":
		return command{run: (*session).userName, early: true}, true
	case "PASS":
		return command{run: (*session).password, early: true}, true
	case "AUTH":
		return command{run: (*session).auth, early: true}, true
	case "STLS":
		return command{run: (*session).stls, early: true}, true
	case "CAPA":
		return command{run: (*session).capa}, true
	case "QUIT":
		return command{run: (*session).quit}, true
	case "STAT":
		return command{run: (*session).stat, login: true}, true
	case "LIST":
		return command{run: (*session).listing, login: true}, true
	case "UIDL":
		return command{run: (*session).uidl, login: true}, true
	case "RETR":
		return command{run: (*session).retr, login: true}, true
	case "TOP":
		return command{run: (*session).top, login: true}, true
	case "DELE":
		return command{run: (*session).dele, login: true}, true
	case "RSET":
		return command{run: (*session).rset, login: true}, true
	case "NOOP":
		return command{run: (*session).noop, login: true}, true
	case "LAST":
		return command{run: (*session).last, login: true}, true
	}
	return command{}, false
}

func (s *session) execute(name, arg string) answer {
	c, known := lookup(name)
	in := s.account != nil
	switch {
	case !known || c.login && !in || c.early && in:
		return s.unknown(known)
	case c.login && s.locked():
		return s.refuseOverQuota()
	case c.login && s.powerless(name):
		return answer{status: "-ERR " + POPOff}
	default:
		return c.run(s, arg)
	}
}

// locked tells whether the account's quota was used up, which ends what a session can do, too.
func (s *session) locked() bool { return s.account.suspended(0, 0) }

func (s *session) refuseOverQuota() answer {
	a := answer{status: "-ERR " + Exceeded}
	if g := s.account.Gmail; g != nil && g.Knobs.QuotaHangsUp {
		a.end = errDone
	}
	return a
}

// quit is the only way to the UPDATE state, RFC 1939 §6.
func (s *session) quit(string) answer {
	if s.account == nil {
		a := s.say("+OK bye", "+OK Bye "+s.id)
		a.end = errDone
		return a
	}
	s.popped += s.account.update(s.view)
	s.tell(Event{Kind: Left, Quit: true})
	s.account = nil
	a := s.say(fmt.Sprintf("+OK bye, %d messages deleted", len(s.view.deleted)), "+OK Farewell.")
	a.end = errDone
	return a
}

// present goes over the messages that are not marked as deleted, with their numbers.
func (s *session) present() iter.Seq2[int, *entry] {
	return func(yield func(int, *entry) bool) {
		for i, m := range s.list {
			if !s.view.deleted[m] && !yield(i+1, m) {
				return
			}
		}
	}
}

func (s *session) listedSize(m *entry) int64 {
	if f := s.server.config.ListedSize; f != nil {
		return f(*m.Message)
	}
	if g := s.account.Gmail; g != nil && g.Knobs.CountLF {
		return CountLF(*m.Message)
	}
	return m.Octets()
}

func (s *session) totals() (messages int, octets int64) {
	for _, m := range s.present() {
		messages++
		octets += s.listedSize(m)
	}
	return messages, octets
}

func (s *session) stat(string) answer {
	messages, octets := s.totals()
	return answer{status: fmt.Sprintf("+OK %d %d", messages, octets)}
}

func (s *session) listing(arg string) answer {
	size := func(m *entry) string { return strconv.FormatInt(s.listedSize(m), 10) }
	if arg != "" {
		return s.one(arg, size)
	}
	messages, octets := s.totals()
	text := fmt.Sprintf("+OK %d messages (%d bytes)", messages, octets)
	return answer{status: text, lines: s.all(size)}
}

func (s *session) uidl(arg string) answer {
	uid := func(m *entry) string { return m.UID }
	if arg != "" {
		return s.one(arg, uid)
	}
	a := s.say("+OK unique-id listing follows", "+OK")
	a.lines = s.all(uid)
	return a
}

func (s *session) all(column func(*entry) string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for number, m := range s.present() {
			if !yield(strconv.Itoa(number) + " " + column(m)) {
				return
			}
		}
	}
}

func (s *session) one(arg string, column func(*entry) string) answer {
	number, m := s.message(arg)
	if m == nil {
		return s.refuseNumber()
	}
	return answer{status: fmt.Sprintf("+OK %d %s", number, column(m))}
}

func (s *session) refuseNumber() answer { return answer{status: "-ERR no such message"} }

// message finds a message by its number; nil when there is none, or it is marked as deleted.
func (s *session) message(arg string) (int, *entry) {
	number, err := strconv.Atoi(arg)
	if err != nil || number < 1 || number > len(s.list) || s.view.deleted[s.list[number-1]] {
		return 0, nil
	}
	return number, s.list[number-1]
}

func (s *session) retr(arg string) answer {
	_, m := s.message(arg)
	if m == nil {
		return s.refuseNumber()
	}
	if s.spent() {
		return s.refuseOverQuota()
	}
	a := s.say(fmt.Sprintf("+OK %d octets", s.listedSize(m)), "+OK message follows")
	a.body = s.metered(m.Reader())
	account := s.account
	s.takeNow(m)
	a.sent = func() {
		account.countRetrieval(m.UID)
		s.view.retrieved[m] = true
	}
	return a
}

// takeNow pops a message before QUIT, where a knob says so.
func (s *session) takeNow(m *entry) {
	if s.account.Gmail != nil && s.account.takeNow(m, s.view.recent) {
		s.popped++
	}
}

// spent tells whether the day's octets are used up.
func (s *session) spent() bool {
	return s.account.suspended(s.server.config.DailyOctets, s.server.config.Suspension)
}

// metered counts a body where that matters to somebody.
func (s *session) metered(body io.Reader) io.Reader {
	if s.account.Gmail == nil && s.server.config.DailyOctets == 0 && s.token == "" {
		return body
	}
	return &meter{r: body, account: s.account, expired: s.expired}
}

func (s *session) top(arg string) answer {
	first, second, _ := strings.Cut(arg, " ")
	_, m := s.message(first)
	if m == nil {
		return s.refuseNumber()
	}
	lines, err := strconv.Atoi(second)
	if err != nil || lines < 0 {
		return answer{status: "-ERR TOP needs a number of lines"}
	}
	if s.spent() {
		return s.refuseOverQuota()
	}
	a := s.say("+OK top of the message follows", "+OK message follows")
	a.body = s.metered(newTopReader(m.Reader(), lines))
	if g := s.account.Gmail; g != nil && g.Knobs.TopPops {
		s.takeNow(m)
		s.view.retrieved[m] = true
	}
	return a
}

func (s *session) dele(arg string) answer {
	_, m := s.message(arg)
	if m == nil {
		return s.refuseNumber()
	}
	s.view.deleted[m] = true
	return s.say("+OK marked for deletion", "+OK marked for deletion")
}

func (s *session) rset(string) answer {
	clear(s.view.deleted)
	if g := s.account.Gmail; g != nil && g.Knobs.RsetUndoesRetr {
		clear(s.view.retrieved)
	}
	return s.say("+OK no message is marked for deletion", "+OK")
}

func (s *session) noop(string) answer { return s.say("+OK", "+OK") }

func (s *session) last(string) answer { return s.say("-ERR LAST is obsolete", "-ERR Not supported") }
