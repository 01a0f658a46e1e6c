package popsim

import (
	"encoding/base64"
	"fmt"
	"iter"
	"net"
	"slices"
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
	default:
		return c.run(s, arg)
	}
}

// unknown refuses what is not a command, or not one of this state. Gmail hangs up on it before login (seen in 2024).
func (s *session) unknown(known bool) answer {
	switch {
	case s.gmail() && s.account == nil:
		return answer{status: "-ERR bad command " + s.id, end: errDone}
	case s.gmail():
		return answer{status: "-ERR Command not understood"}
	case known:
		return answer{status: "-ERR this command is not for this state"}
	default:
		return answer{status: "-ERR unknown command"}
	}
}

func (s *session) gmail() bool { return s.server.config.Dialect == Gmail }

// say picks the text of the dialect.
func (s *session) say(plain, gmail string) answer {
	if s.gmail() {
		return answer{status: gmail}
	}
	return answer{status: plain}
}

func (s *session) greeting() string {
	if !s.gmail() {
		return "+OK popsim ready"
	}
	host, _, err := net.SplitHostPort(s.tcp.RemoteAddr().String())
	if err != nil {
		host = "127.0.0.1"
	}
	return "+OK Gpop ready for requests from " + host + " " + s.id
}

func (s *session) capa(string) answer {
	list := s.capabilities
	if s.gmail() {
		list = s.gmailCapabilities
	}
	return answer{status: "+OK Capability list follows", lines: slices.Values(list())}
}

func (s *session) capabilities() []string {
	list := []string{"TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "EXPIRE NEVER", "IMPLEMENTATION popsim"}
	if s.mayLogin() {
		list = append(list, "USER", "SASL PLAIN")
	}
	if s.mayStartTLS() {
		list = append(list, "STLS")
	}
	if s.server.config.Pipelining {
		list = append(list, "PIPELINING")
	}
	return list
}

// gmailCapabilities are those seen from pop.gmail.com in 2025; after login as recorded earlier: without SASL, and only
// there PIPELINING.
func (s *session) gmailCapabilities() []string {
	list := []string{"USER", "RESP-CODES"}
	if s.account != nil && s.server.config.Pipelining {
		list = append(list, "PIPELINING")
	}
	list = append(list, "EXPIRE 0", "LOGIN-DELAY 300", "TOP", "UIDL", "X-GOOGLE-RICO")
	if s.mayStartTLS() {
		list = append(list, "STLS")
	}
	if s.account == nil {
		list = append(list, "SASL PLAIN XOAUTH2 OAUTHBEARER")
	}
	return list
}

func (s *session) mayStartTLS() bool {
	return s.server.config.Mode == StartTLS && !s.encrypted() && s.account == nil
}

// mayLogin: with STLS on offer, no password goes over the line in clear.
func (s *session) mayLogin() bool { return s.server.config.Mode != StartTLS || s.encrypted() }

func (s *session) stls(string) answer {
	if !s.mayStartTLS() {
		return answer{status: "-ERR TLS cannot be started here"}
	}
	s.user = ""
	return answer{status: "+OK begin TLS negotiation", end: errUp}
}

func (s *session) userName(arg string) answer {
	if !s.mayLogin() {
		return answer{status: "-ERR [AUTH] no login in clear: send STLS first"}
	}
	if arg == "" {
		return answer{status: "-ERR USER needs a name"}
	}
	s.user = arg
	return s.say("+OK now PASS", "+OK send PASS")
}

// password takes all that follows "PASS ", for spaces may be part of it (RFC 1939 §7).
func (s *session) password(arg string) answer {
	if s.user == "" {
		return answer{status: "-ERR USER first"}
	}
	user := s.user
	s.user = ""
	return s.login(user, arg)
}

func (s *session) auth(arg string) answer {
	if !s.mayLogin() {
		return answer{status: "-ERR [AUTH] no login in clear: send STLS first"}
	}
	mechanism, initial, given := strings.Cut(arg, " ")
	switch {
	case strings.EqualFold(mechanism, "PLAIN") && given:
		return s.authPlain(initial)
	case strings.EqualFold(mechanism, "PLAIN"):
		s.next = s.authPlain
		return answer{status: "+ "}
	default:
		return s.say("-ERR unknown mechanism", "-ERR bad command "+s.id)
	}
}

// authPlain takes an initial response of RFC 4616 in base64, "*" being second thoughts (RFC 5034 §4).
func (s *session) authPlain(response string) answer {
	if response == "*" {
		return answer{status: "-ERR login cancelled"}
	}
	secret, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(response, "="))
	if err != nil {
		return answer{status: "-ERR this is not base64"}
	}
	parts := strings.Split(string(secret), "\x00")
	if len(parts) != 3 || parts[0] != "" && parts[0] != parts[1] {
		return s.refuseLogin()
	}
	return s.login(parts[1], parts[2])
}

func (s *session) refuseLogin() answer {
	return s.say("-ERR [AUTH] wrong user name or password", "-ERR [AUTH] Username and password not accepted.")
}

func (s *session) login(user, password string) answer {
	account := s.server.account(user)
	if account == nil || account.Password != password {
		return s.refuseLogin()
	}
	list, ok := account.enter(s.server.config.LockWait)
	if !ok {
		return answer{status: "-ERR [IN-USE] another session has the maildrop"}
	}
	s.account, s.list, s.deleted = account, list, make(map[*Message]bool)
	return s.say("+OK logged in", "+OK Welcome.")
}

// quit is the only way to the UPDATE state, RFC 1939 §6.
func (s *session) quit(string) answer {
	if s.account == nil {
		a := s.say("+OK bye", "+OK Bye "+s.id)
		a.end = errDone
		return a
	}
	s.account.update(s.deleted)
	s.account = nil
	a := s.say(fmt.Sprintf("+OK bye, %d messages deleted", len(s.deleted)), "+OK Farewell.")
	a.end = errDone
	return a
}

// present goes over the messages that are not marked as deleted, with their numbers.
func (s *session) present() iter.Seq2[int, *Message] {
	return func(yield func(int, *Message) bool) {
		for i, m := range s.list {
			if !s.deleted[m] && !yield(i+1, m) {
				return
			}
		}
	}
}

func (s *session) listedSize(m *Message) int64 {
	if f := s.server.config.ListedSize; f != nil {
		return f(*m)
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
	size := func(m *Message) string { return strconv.FormatInt(s.listedSize(m), 10) }
	if arg != "" {
		return s.one(arg, size)
	}
	messages, octets := s.totals()
	text := fmt.Sprintf("+OK %d messages (%d bytes)", messages, octets)
	return answer{status: text, lines: s.all(size)}
}

func (s *session) uidl(arg string) answer {
	uid := func(m *Message) string { return m.UID }
	if arg != "" {
		return s.one(arg, uid)
	}
	a := s.say("+OK unique-id listing follows", "+OK")
	a.lines = s.all(uid)
	return a
}

func (s *session) all(column func(*Message) string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for number, m := range s.present() {
			if !yield(strconv.Itoa(number) + " " + column(m)) {
				return
			}
		}
	}
}

func (s *session) one(arg string, column func(*Message) string) answer {
	number, m := s.message(arg)
	if m == nil {
		return s.refuseNumber()
	}
	return answer{status: fmt.Sprintf("+OK %d %s", number, column(m))}
}

func (s *session) refuseNumber() answer { return answer{status: "-ERR no such message"} }

// message finds a message by its number; nil when there is none, or it is marked as deleted.
func (s *session) message(arg string) (int, *Message) {
	number, err := strconv.Atoi(arg)
	if err != nil || number < 1 || number > len(s.list) || s.deleted[s.list[number-1]] {
		return 0, nil
	}
	return number, s.list[number-1]
}

func (s *session) retr(arg string) answer {
	_, m := s.message(arg)
	if m == nil {
		return s.refuseNumber()
	}
	a := s.say(fmt.Sprintf("+OK %d octets", s.listedSize(m)), "+OK message follows")
	a.body = m.Reader()
	account := s.account
	a.sent = func() { account.countRetrieval(m.UID) }
	return a
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
	a := s.say("+OK top of the message follows", "+OK message follows")
	a.body = newTopReader(m.Reader(), lines)
	return a
}

func (s *session) dele(arg string) answer {
	_, m := s.message(arg)
	if m == nil {
		return s.refuseNumber()
	}
	s.deleted[m] = true
	return s.say("+OK marked for deletion", "+OK marked for deletion")
}

func (s *session) rset(string) answer {
	clear(s.deleted)
	return s.say("+OK no message is marked for deletion", "+OK")
}

func (s *session) noop(string) answer { return s.say("+OK", "+OK") }

func (s *session) last(string) answer { return s.say("-ERR LAST is obsolete", "-ERR Not supported") }
