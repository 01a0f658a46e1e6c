package pop3

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A TokenError says that the server refused an OAuth token: another one may be let in, this one will not be.
type TokenError struct {
	Status string      // what the server's challenge gave as "status" (RFC 7628 section 3.2.2), as in "401"; "" if it gave none
	Reply  *ReplyError // the refusal that followed
}

// Error shows the status, and the refusal as ReplyError does.
func (e *TokenError) Error() string {
	if e.Status == "" {
		return "token refused: " + e.Reply.Error()
	}
	return fmt.Sprintf("token refused with status %s: %s", e.Status, e.Reply.Error())
}

// Unwrap returns the Reply.
func (e *TokenError) Unwrap() error { return e.Reply }

// A OneLineError says that the server hung up when AUTH came without the token. It may want both on one line: dial again, and log
// in with Credentials.OneLine, once.
type OneLineError struct {
	Err error // the end of the connection
}

// Error says what the server did.
func (e *OneLineError) Error() string { return "AUTH without the token on its line: " + e.Err.Error() }

// Unwrap returns the end of the connection.
func (e *OneLineError) Unwrap() error { return e.Err }

// A tokenExchange is what AUTH says with a token.
type tokenExchange struct {
	line     string // of the command, without the response
	response string // base64
	giveUp   string // what answers a challenge that tells of a refusal, so that the refusal may follow
}

func (s *Session) tokenExchange(c Credentials) tokenExchange {
	bearer := "auth=Bearer " + c.Token + "\x01\x01"
	if c.Mechanism == XOAUTH2 { // https://developers.google.com/workspace/gmail/imap/xoauth2-protocol
		return tokenExchange{"AUTH XOAUTH2", base64.StdEncoding.EncodeToString([]byte("user=" + c.Username + "\x01" + bearer)), ""}
	}
	user := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(c.Username) // RFC 5801 section 4
	message := fmt.Sprintf("n,a=%s,\x01host=%s\x01port=%d\x01%s", user, s.server.host(), s.server.Port, bearer)
	return tokenExchange{"AUTH OAUTHBEARER", base64.StdEncoding.EncodeToString([]byte(message)),
		base64.StdEncoding.EncodeToString([]byte("\x01"))} // RFC 7628 section 3.2.3
}

// authToken logs in by XOAUTH2 or OAUTHBEARER. The response waits for the server's empty challenge: Microsoft's server takes nothing
// else, a token seldom fits in the length of a command, and no known server minds. One that does gets it on one line.
func (s *Session) authToken(c Credentials) error {
	e := s.tokenExchange(c)
	s.wire.hide(e.response)
	if err := s.ready(); err != nil {
		return err
	}
	if c.OneLine {
		return s.tokenOnLine(e)
	}
	if err := s.send(e.line); err != nil {
		return err
	}
	_, asked, err := s.wire.challenge()
	switch {
	case err != nil:
		return s.orOneLine(err)
	case asked:
		if err := s.conn.Send(e.response); err != nil {
			return err
		}
		return s.tokenVerdict(e, true)
	}
	err = s.verdict()
	if err == nil {
		return s.wire.fail(protocolError("%s was answered by +OK before the token was sent", e.line))
	}
	if refused := (*ReplyError)(nil); !errors.As(err, &refused) || refused.Code != "" {
		return err // a code is about the account or the server, not about the form
	}
	return s.orOneLine(s.tokenOnLine(e))
}

// orOneLine makes an end of the connection that came while the token waited for its challenge a OneLineError.
func (s *Session) orOneLine(err error) error {
	if reply := (*ReplyError)(nil); !s.wire.interrupted || errors.As(err, &reply) {
		return err
	}
	return &OneLineError{err}
}

// tokenOnLine sends AUTH with the token, however long that makes the line: it is what the server wants.
func (s *Session) tokenOnLine(e tokenExchange) error {
	if err := s.send(e.line + " " + e.response); err != nil {
		return err
	}
	return s.tokenVerdict(e, false)
}

// tokenVerdict reads what the server makes of the token. A challenge now tells why it refuses it (RFC 7628 section 3.2.2), and
// wants an answer before the refusal itself; only where the response went on the first line may it be an older server's that has
// overlooked it.
func (s *Session) tokenVerdict(e tokenExchange, asked bool) error {
	status, refused := "", false
	for {
		challenge, found, err := s.wire.challenge()
		if err != nil {
			return s.orRefused(status, err)
		}
		if !found {
			break
		}
		answer := "*"
		switch {
		case !asked && challenge == "":
			answer = e.response
		case !refused:
			status, refused, answer = s.tokenStatus(challenge), true, e.giveUp
		}
		asked = true
		if err := s.conn.Send(answer); err != nil {
			return err
		}
		if answer == "*" {
			break
		}
	}
	err := s.verdict()
	if reply := (*ReplyError)(nil); errors.As(err, &reply) && (refused || refusesToken(reply)) {
		return &TokenError{status, reply}
	}
	return s.orRefused(status, err)
}

// orRefused is the error of a session that ended after the server said why it refused the token: the refusal itself.
func (s *Session) orRefused(status string, err error) error {
	if status == "" || !s.wire.interrupted {
		return err
	}
	return &TokenError{status, &ReplyError{Command: "AUTH"}}
}

// maxStatus is how long a status may be, in octets. Known ones have three.
const maxStatus = 40

// tokenStatus reads the status out of a challenge; "" when there is none that is fit to be shown.
func (s *Session) tokenStatus(challenge string) string {
	text, err := base64.StdEncoding.DecodeString(challenge)
	if err != nil {
		return ""
	}
	var told struct{ Status any }
	if err := json.Unmarshal(text, &told); err != nil {
		return ""
	}
	switch told.Status.(type) {
	case string, float64:
	default:
		return ""
	}
	status := s.wire.text([]byte(fmt.Sprint(told.Status)))
	if len(status) > maxStatus || strings.ContainsFunc(status, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return status
}

// refusesToken tells from a refusal that came without a challenge whether it is about the token. Gmail has a code for that, which
// it also uses for what is exceeded; Microsoft's server has no codes.
func refusesToken(e *ReplyError) bool {
	text := strings.ToLower(e.Text)
	if strings.Contains(text, "exceeded") {
		return false
	}
	return e.Code == "AUTH" || e.Code == "" && slices.ContainsFunc([]string{
		"authentication fail", "logon fail", "login fail", "credential", "password", "token",
	}, func(words string) bool { return strings.Contains(text, words) })
}
