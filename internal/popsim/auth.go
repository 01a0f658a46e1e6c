package popsim

import (
	"encoding/base64"
	"strings"
	"time"
)

// credentials are what a client logs in with: a password, or with a mechanism for it a token.
type credentials struct {
	method          string // "PASS", "AUTH PLAIN", "AUTH XOAUTH2", "AUTH OAUTHBEARER"
	username        string
	password, token string
}

func (c credentials) byToken() bool {
	return c.method == "AUTH XOAUTH2" || c.method == "AUTH OAUTHBEARER"
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
	return s.login(credentials{method: "PASS", username: user, password: arg})
}

// auth is RFC 5034's: a mechanism, with or without the response on the same line.
func (s *session) auth(arg string) answer {
	if !s.mayLogin() {
		return answer{status: "-ERR [AUTH] no login in clear: send STLS first"}
	}
	mechanism, initial, given := strings.Cut(arg, " ")
	parse := s.mechanism(strings.ToUpper(mechanism))
	c := &s.server.config
	switch {
	case parse == nil:
		return s.say("-ERR unknown mechanism", "-ERR bad command "+s.id)
	case given && (c.TwoStepOnly && !strings.EqualFold(mechanism, "PLAIN") || s.microsoft()):
		return answer{status: "-ERR " + ProtocolError, end: errDone}
	case !given && c.OneLineOnly && s.gmail():
		return s.badCommand()
	case !given && c.OneLineOnly:
		return answer{status: "-ERR the response belongs on the same line"}
	case given:
		return s.respond(initial, parse)
	}
	s.next = func(line string) answer { return s.respond(line, parse) }
	return answer{status: "+ "}
}

// mechanism finds the parser of a mechanism's response; nil when the server does not have it.
func (s *session) mechanism(name string) func(response string) (credentials, bool) {
	switch {
	case name == "PLAIN":
		return parsePlain
	case name == "XOAUTH2" && (s.server.config.Token != nil || s.gmail() || s.microsoft()):
		return parseXOAUTH2
	case name == "OAUTHBEARER" && (s.server.config.Token != nil || s.gmail()):
		return parseBearer
	}
	return nil
}

// respond takes a response in base64, "=" being the empty one and "*" second thoughts (RFC 5034 §4).
func (s *session) respond(response string, parse func(string) (credentials, bool)) answer {
	if response == "*" {
		return answer{status: "-ERR login cancelled"}
	}
	text, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(response, "="))
	if err != nil {
		return answer{status: "-ERR this is not base64"}
	}
	c, ok := parse(string(text))
	if !ok {
		return s.refuseLogin(c)
	}
	return s.login(c)
}

// parsePlain is RFC 4616.
func parsePlain(response string) (credentials, bool) {
	parts := strings.Split(response, "\x00")
	if len(parts) != 3 || parts[0] != "" && parts[0] != parts[1] {
		return credentials{method: "AUTH PLAIN"}, false
	}
	return credentials{method: "AUTH PLAIN", username: parts[1], password: parts[2]}, true
}

// parseXOAUTH2 is Google's own, before OAUTHBEARER was.
func parseXOAUTH2(response string) (credentials, bool) {
	c := credentials{method: "AUTH XOAUTH2"}
	parts := strings.Split(response, "\x01")
	if len(parts) != 4 || parts[2] != "" || parts[3] != "" {
		return c, false
	}
	user, ok := strings.CutPrefix(parts[0], "user=")
	c.username = user
	if ok {
		c.token, ok = cutBearer(parts[1])
	}
	return c, ok
}

// parseBearer is RFC 7628 §3.1.
func parseBearer(response string) (credentials, bool) {
	c := credentials{method: "AUTH OAUTHBEARER"}
	parts := strings.Split(response, "\x01")
	header := strings.Split(parts[0], ",")
	if n := len(parts); n < 4 || parts[n-1] != "" || parts[n-2] != "" || len(header) != 3 || header[0] != "n" || header[2] != "" {
		return c, false
	}
	user, ok := strings.CutPrefix(header[1], "a=")
	if !ok {
		return c, false
	}
	c.username = strings.NewReplacer("=2C", ",", "=3D", "=").Replace(user)
	for _, pair := range parts[1:] {
		if token, ok := cutBearer(pair); ok {
			c.token = token
		}
	}
	return c, c.token != ""
}

func cutBearer(pair string) (token string, ok bool) {
	const prefix = "auth=Bearer "
	if len(pair) <= len(prefix) || !strings.EqualFold(pair[:len(prefix)], prefix) {
		return "", false
	}
	return pair[len(prefix):], true
}

// refuseLogin says no. To a token that is first a challenge which tells why, in the form of success; the client has to
// answer it with an empty line, or as RFC 7628 §3.2.3 wants with a lone ^A, to be told the error.
func (s *session) refuseLogin(c credentials) answer {
	switch {
	case c.byToken() && s.microsoft():
		return answer{status: "-ERR " + BadToken}
	case c.byToken():
		s.next = func(line string) answer {
			if line == "" || line == "AQ==" && c.method == "AUTH OAUTHBEARER" {
				return answer{status: "-ERR " + InvalidCredentials}
			}
			return s.badCommand()
		}
		return answer{status: "+ " + base64.StdEncoding.EncodeToString([]byte(s.server.config.Challenge))}
	case s.microsoft():
		return answer{status: "-ERR " + BasicAuthDisabled}
	default:
		return s.say("-ERR [AUTH] wrong user name or password", "-ERR "+BadPassword)
	}
}

// login judges credentials. A fault for LOGIN comes first.
func (s *session) login(c credentials) answer {
	a := s.apply(s.fault("LOGIN", c.username), "LOGIN", func() answer { return s.judge(c) })
	if s.account != nil {
		s.tell(Event{Kind: Entered})
	} else {
		name, recent := cutRecent(c.username)
		s.tell(Event{Kind: Refused, Username: name, Recent: recent, Method: c.method, Answer: a.status})
	}
	return a
}

func (s *session) judge(c credentials) answer {
	account, recent := s.server.account(c.username)
	if account == nil || !s.right(account, recent, c) {
		return s.refuseLogin(c)
	}
	if text := s.closed(account, c); text != "" {
		return answer{status: "-ERR " + text}
	}
	list, ok := account.enter(recent, s.server.config.LockWait)
	if !ok {
		return s.say("-ERR [IN-USE] another session has the maildrop", "-ERR "+InUse)
	}
	s.account, s.list, s.method, s.token = account, list, c.method, c.token
	s.view = view{recent: recent, retrieved: make(map[*entry]bool), deleted: make(map[*entry]bool)}
	if s.microsoft() {
		return answer{status: "+OK User successfully authenticated."}
	}
	return s.say("+OK logged in", "+OK Welcome.")
}

// right tells whether credentials open an account.
func (s *session) right(account *Account, recent bool, c credentials) bool {
	g := account.Gmail
	switch {
	case c.byToken():
		valid := s.server.config.Token
		return valid != nil && c.token != "" && valid(account.Username, c.token) && !(recent && g.Knobs.RecentNoToken)
	case s.microsoft():
		return false
	case g != nil && !g.Knobs.SpacesRefused:
		cut := func(password string) string { return strings.ReplaceAll(password, " ", "") }
		return cut(account.secret()) == cut(c.password)
	default:
		return account.secret() == c.password
	}
}

// loginDelay is what Gmail announces.
const loginDelay = 300 * time.Second

// closed is why an account cannot be entered though the credentials are right; empty when it can.
func (s *session) closed(account *Account, c credentials) string {
	if account.suspended(0, 0) {
		return Exceeded
	}
	g := account.Gmail
	if g == nil {
		return ""
	}
	access, _ := account.Settings()
	k := g.Knobs
	switch {
	case access == Disabled && (c.byToken() && k.POPOffAtAuth || !c.byToken() && !k.POPOffAtStat):
		return POPOff
	case k.EnforceLoginDelay && account.enteredWithin(loginDelay):
		return LoginDelay
	}
	return ""
}

// powerless tells whether POP is switched off, which one who is logged in learns from every command.
func (s *session) powerless(command string) bool {
	if s.account.Gmail == nil || command == "NOOP" || command == "RSET" {
		return false
	}
	access, _ := s.account.Settings()
	return access == Disabled
}

// expired tells whether the token that opened the session is good no more.
func (s *session) expired() bool {
	return s.token != "" && s.account != nil && !s.server.config.Token(s.account.Username, s.token)
}
