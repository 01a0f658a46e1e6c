package pop3

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-sasl"
)

// A Mechanism is a way to log in.
type Mechanism string

const (
	Auto        Mechanism = "auto"        // SASL PLAIN when the server announces it, else USER and PASS
	UserPass    Mechanism = "user"        // USER and PASS (RFC 1939 section 7)
	SASLPlain   Mechanism = "plain"       // AUTH PLAIN (RFC 5034, RFC 4616)
	XOAUTH2     Mechanism = "xoauth2"     // AUTH XOAUTH2, of Google: an OAuth access token instead of a password
	OAuthBearer Mechanism = "oauthbearer" // AUTH OAUTHBEARER (RFC 7628), the same as a standard
)

// maxCommandLine is the most octets of a command with its CRLF that a server must take (RFC 2449 section 4).
const maxCommandLine = 255

// Credentials are what a login takes. An empty Mechanism means Auto.
type Credentials struct {
	Username  string
	Password  string // for all mechanisms but XOAUTH2 and OAuthBearer
	Token     string // for these: an OAuth access token
	Mechanism Mechanism
	OneLine   bool // send the token on the line of AUTH, see OneLineError
}

// takesToken tells whether the mechanism wants a token instead of a password.
func (m Mechanism) takesToken() bool { return m == XOAUTH2 || m == OAuthBearer }

// secret returns what the mechanism proves by who the user is, and what that is called.
func (c Credentials) secret() (name, value string) {
	if c.Mechanism.takesToken() {
		return "token", c.Token
	}
	return "password", c.Password
}

// check refuses what would end the command line early, or the field in a SASL response: a second line of a secret's file would
// be a command of its own, whose answer would be taken for the next one's.
func (c Credentials) check() error {
	name, secret := c.secret()
	for _, field := range []struct{ name, value string }{{"user name", c.Username}, {name, secret}} {
		switch {
		case field.value == "":
			return &CredentialError{Field: field.name, Problem: "is empty"}
		case c.Mechanism.takesToken() && strings.ContainsFunc(field.value, isControl):
			return &CredentialError{Field: field.name, Problem: "holds a control character, which AUTH cannot carry: look for a second line or a binary byte where it comes from"}
		case strings.ContainsAny(field.value, "\r\n\x00"):
			return &CredentialError{Field: field.name, Problem: "holds a CR, LF or NUL, which POP3 cannot carry: look for a second line or a binary byte where it comes from"}
		}
	}
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// Login logs in and asks for the capabilities again, for they may differ now (RFC 2449 section 5; Gmail announces PIPELINING only then).
// A *CredentialError means that nothing was sent, a *ReplyError that the server refused, a *TokenError around it that another token
// may help, a *OneLineError that another way to send it may.
// Neither the password or token nor what was made of it is in any error, also when the server echoes it.
func (s *Session) Login(c Credentials) error {
	if err := c.check(); err != nil {
		return err
	}
	_, secret := c.secret()
	s.wire.hide(secret)
	if err := s.authenticate(c); err != nil {
		return err
	}
	if s.capabilities.Known() {
		if err := s.askCapabilities(); err != nil {
			return err
		}
	}
	s.pipelined = s.server.Pipelining && s.capabilities.Has("PIPELINING")
	return nil
}

// authenticate tries one mechanism. There is a second try in one case only: the server announced PLAIN but does not know AUTH.
// A wrong password is never sent twice, for servers count.
func (s *Session) authenticate(c Credentials) error {
	switch c.Mechanism {
	case UserPass:
		return s.userPass(c)
	case SASLPlain:
		return s.authPlain(c)
	case XOAUTH2, OAuthBearer:
		return s.authToken(c)
	case Auto, "":
	default:
		return fmt.Errorf("mechanism %q is none of auto, user, plain, xoauth2 and oauthbearer", c.Mechanism)
	}
	if !slices.Contains(s.capabilities.SASL(), sasl.Plain) {
		return s.userPass(c)
	}
	err := s.authPlain(c)
	if isUnknownCommand(err) {
		return s.userPass(c)
	}
	return err
}

// isUnknownCommand tells from the words of a refusal without a response code that the server did not know the command.
func isUnknownCommand(err error) bool {
	refused := (*ReplyError)(nil)
	if !errors.As(err, &refused) || refused.Code != "" {
		return false
	}
	text := strings.ToLower(refused.Text)
	return slices.ContainsFunc([]string{
		"unknown command", "unknown auth", "unknown mechanism", "unrecogni", "not recogni", "not implemented",
		"not supported", "unsupported", "bad command", "invalid command", "command not", "syntax error",
	}, func(words string) bool { return strings.Contains(text, words) })
}

// userPass logs in by USER and PASS (RFC 1939 section 7).
func (s *Session) userPass(c Credentials) error {
	text, err := s.secretCommand("USER", "USER "+c.Username)
	if err == nil {
		err = notNow("USER", s.wire.text(text))
	}
	if err != nil {
		return err
	}
	text, err = s.secretCommand("PASS", "PASS "+c.Password)
	if err == nil {
		err = notNow("PASS", s.wire.text(text))
	}
	return err
}

// authPlain logs in by AUTH PLAIN. The response goes on the same line if that stays within what a server must take,
// else behind an empty challenge (RFC 5034 section 4).
func (s *Session) authPlain(c Credentials) error {
	mechanism, initial, err := sasl.NewPlainClient("", c.Username, c.Password).Start()
	if err != nil {
		return fmt.Errorf("AUTH: %w", err)
	}
	response := base64.StdEncoding.EncodeToString(initial)
	s.wire.hide(response)
	line := "AUTH " + mechanism
	if inline := line + " " + response; len(inline)+len("\r\n") <= maxCommandLine {
		line = inline
	}
	if err := s.ready(); err != nil {
		return err
	}
	if err := s.send(line); err != nil {
		return err
	}
	if err := s.answerChallenges(response); err != nil {
		return err
	}
	return s.verdict()
}

// verdict reads the status line that ends AUTH.
func (s *Session) verdict() error {
	text, err := s.reply("AUTH")
	if err == nil {
		err = notNow("AUTH", s.wire.text(text))
	}
	return err
}

// answerChallenges answers one empty challenge with the response: the server waits for it, or, being older than
// RFC 5034, overlooked it on the first line. Any other challenge is not of PLAIN and gets "*", which ends the exchange.
func (s *Session) answerChallenges(response string) error {
	for answered := false; ; {
		challenge, found, err := s.wire.challenge()
		if err != nil || !found {
			return err
		}
		if answered || challenge != "" {
			return s.conn.Send("*")
		}
		answered = true
		if err := s.conn.Send(response); err != nil {
			return err
		}
	}
}
