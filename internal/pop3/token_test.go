package pop3

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

var (
	ada       = Credentials{Username: "ada@example.com", Token: "ya29.Zq3vXw9LkT0pRs6u", Mechanism: XOAUTH2}
	adaBearer = Credentials{Username: "ada@example.com", Token: "ya29.Zq3vXw9LkT0pRs6u", Mechanism: OAuthBearer}
)

// gmailsChallenge is Gmail's answer to a token that it refuses: status 400.
const gmailsChallenge = "eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIiwic2NvcGUiOiJodHRwczovL21haWwuZ29vZ2xlLmNvbS8ifQ=="

func encoded(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// tokenResponse is what the client should send to the server at address.
func tokenResponse(c Credentials, address net.Addr) string {
	if c.Mechanism == XOAUTH2 {
		return encoded("user=" + c.Username + "\x01auth=Bearer " + c.Token + "\x01\x01")
	}
	host, port, _ := net.SplitHostPort(address.String())
	return encoded("n,a=" + c.Username + ",\x01host=" + host + "\x01port=" + port + "\x01auth=Bearer " + c.Token + "\x01\x01")
}

// tokenScript is script with AUTH for the mechanism's command, RESPONSE for the response and GIVE-UP for what ends a refused exchange.
func tokenScript(c Credentials, text string) func(*peer) {
	auth, giveUp := "AUTH XOAUTH2", ""
	if c.Mechanism == OAuthBearer {
		auth, giveUp = "AUTH OAUTHBEARER", "AQ=="
	}
	return func(p *peer) {
		response := tokenResponse(c, p.LocalAddr())
		script(strings.NewReplacer("C: AUTH", "C: "+auth, "RESPONSE", response, "GIVE-UP", giveUp).Replace(text))(p)
	}
}

// The responses of Google's documentation and of RFC 7628 section 4.
func TestTokenResponses(t *testing.T) {
	for _, test := range []struct {
		c    Credentials
		want string
	}{
		{Credentials{Username: "someuser@example.com", Token: "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg", Mechanism: XOAUTH2},
			"dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ=="},
		{Credentials{Username: "user@example.com", Token: "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==", Mechanism: OAuthBearer},
			"bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"},
		{Credentials{Username: "a=b,c", Token: "t", Mechanism: OAuthBearer}, encoded("n,a=a=3Db=2Cc,\x01host=server.example.com\x01port=143\x01auth=Bearer t\x01\x01")},
	} {
		s := &Session{server: Server{Host: "server.example.com", Port: 143}}
		if e := s.tokenExchange(test.c); e.response != test.want {
			t.Errorf("%s of %s: %s, want %s", test.c.Mechanism, test.c.Username, e.response, test.want)
		}
	}
}

func TestTokenLogin(t *testing.T) {
	for _, mechanism := range []Credentials{ada, adaBearer} {
		for _, length := range []int{1, 21, 178, 300, 9000, 20_000} {
			c := mechanism
			c.Token = strings.Repeat("Zq3vXw9LkT", length/10+1)[:length]
			oneLine := c
			oneLine.OneLine = true
			for _, test := range []struct {
				name, script string
				c            Credentials
			}{
				{"two steps", "C: AUTH\nS: + \nC: RESPONSE\nS: +OK Welcome.", c},
				{"a challenge without a space", "C: AUTH\nS: +\nC: RESPONSE\nS: +OK", c},
				{"a challenge with many", "C: AUTH\nS: +   \nC: RESPONSE\nS: +OK", c},
				{"a challenge with words", "C: AUTH\nS: + go ahead\nC: RESPONSE\nS: +OK", c},
				{"wants one line", "C: AUTH\nS: -ERR Command not understood\nC: AUTH RESPONSE\nS: +OK", c},
				{"wants one line, and overlooks what is on it", "C: AUTH\nS: -ERR\nC: AUTH RESPONSE\nS: +\nC: RESPONSE\nS: +OK", c},
				{"is to get one line", "C: AUTH RESPONSE\nS: +OK", oneLine},
				{"is to get one line, and overlooks it", "C: AUTH RESPONSE\nS: + \nC: RESPONSE\nS: +OK", oneLine},
				{"a code that refuses nothing", "C: AUTH\nS: +\nC: RESPONSE\nS: +OK [AUTH] fine", c},
			} {
				s := dial(t, serve(t, loopback, tokenScript(c, helloSASL+test.script+"\n"+capaAgain)))
				if err := s.Login(test.c); err != nil || !s.Pipelined() {
					t.Errorf("%s, %s, token of %d: %v, pipelined %t", c.Mechanism, test.name, length, err, s.Pipelined())
				}
				s.Close()
			}
		}
	}
}

// TestTokenRefused: what servers say to a token, and what it means. A status of "-" is none at all: no TokenError.
func TestTokenRefused(t *testing.T) {
	const step, none = "C: AUTH\nS: + \nC: RESPONSE\n", "-"
	challenged := func(challenge, then string) string { return step + "S: + " + challenge + "\nC: GIVE-UP\n" + then }
	for _, test := range []struct{ script, status, code, want string }{
		{challenged(gmailsChallenge, "S: -ERR [AUTH] Invalid credentials."), "400", "AUTH", `token refused with status 400: server refused AUTH: [AUTH] "Invalid credentials."`},
		{challenged(encoded(`{"status":"401","schemes":"bearer mac","scope":"https://mail.google.com/"}`), "S: -ERR"), "401", "", "token refused with status 401: server refused AUTH without a reason"},
		{challenged(encoded(`{"status":"invalid_token"}`), "S: -ERR no"), "invalid_token", "", `token refused with status invalid_token: server refused AUTH: "no"`},
		{challenged(encoded(`{"status":401}`), "S: -ERR [SYS/TEMP] later"), "401", "SYS/TEMP", `token refused with status 401: server refused AUTH: [SYS/TEMP] "later"`},
		{challenged(gmailsChallenge, "close"), "400", "", "token refused with status 400: server refused AUTH without a reason"},
		// challenges that tell nothing
		{challenged("&%$!", "S: -ERR no"), "", "", `token refused: server refused AUTH: "no"`},
		{challenged("", "S: -ERR no"), "", "", `token refused: server refused AUTH: "no"`},
		{challenged(encoded("no JSON"), "S: -ERR no"), "", "", `token refused: server refused AUTH: "no"`},
		{challenged(encoded(`["status"]`), "S: -ERR no"), "", "", `token refused: server refused AUTH: "no"`},
		{challenged(encoded(`{"status":{"code":"401"}}`), "S: -ERR no"), "", "", `token refused: server refused AUTH: "no"`},
		{challenged(encoded(`{"scope":"x"}`), "S: -ERR no"), "", "", `token refused: server refused AUTH: "no"`},
		{challenged(encoded(`{"status":"4\n0"}`), "S: -ERR no"), "", "", `token refused: server refused AUTH: "no"`},
		{challenged(encoded(`{"status":"`+strings.Repeat("4", 41)+`"}`), "S: -ERR no"), "", "", `token refused: server refused AUTH: "no"`},
		{challenged(gmailsChallenge, "S: + "+gmailsChallenge+"\nC: *\nS: -ERR cancelled"), "400", "", `token refused with status 400: server refused AUTH: "cancelled"`},
		// without a challenge
		{step + "S: -ERR [AUTH] Invalid credentials.", "", "AUTH", `token refused: server refused AUTH: [AUTH] "Invalid credentials."`},
		{step + "S: -ERR Authentication failure: unknown user name or bad password.", "", "", `token refused: server refused AUTH: "Authentication failure: unknown user name or bad password."`},
		{step + "S: -ERR [AUTH] Account exceeded pop command or bandwidth limits (Failure)", none, "AUTH", `server refused AUTH: [AUTH] "Account exceeded`},
		{step + "S: -ERR Server Unavailable. 21", none, "", `server refused AUTH: "Server Unavailable. 21"`},
		{step + "S: -ERR [SYS/PERM] Your account is not enabled for POP access.", none, "SYS/PERM", `server refused AUTH: [SYS/PERM] "Your`},
		{step + "S: +OK [SYS/TEMP] Due to a temporary system problem, this mailbox will seem empty.", none, "SYS/TEMP", `server refused AUTH: [SYS/TEMP] "Due`},
		// before the token was sent
		{"C: AUTH\nS: -ERR [AUTH] POP is off", none, "AUTH", `server refused AUTH: [AUTH] "POP is off"`},
		{"C: AUTH\nS: -ERR [SYS/TEMP] later", none, "SYS/TEMP", `server refused AUTH: [SYS/TEMP] "later"`},
		{"C: AUTH\nS: +OK [IN-USE] later", none, "IN-USE", `server refused AUTH: [IN-USE] "later"`},
		// on one line
		{"C: AUTH\nS: -ERR bad command\nC: AUTH RESPONSE\nS: -ERR unknown mechanism", none, "", `server refused AUTH: "unknown mechanism"`},
		{"C: AUTH\nS: -ERR bad command\nC: AUTH RESPONSE\nS: + " + gmailsChallenge + "\nC: GIVE-UP\nS: -ERR [AUTH] no", "400", "AUTH", `token refused with status 400: server refused AUTH: [AUTH] "no"`},
		{"C: AUTH\nS: -ERR bad command\nC: AUTH RESPONSE\nS: +\nC: RESPONSE\nS: + " + gmailsChallenge + "\nC: GIVE-UP\nS: -ERR", "400", "", `token refused with status 400`},
	} {
		for _, c := range []Credentials{ada, adaBearer} {
			s := dial(t, serve(t, loopback, tokenScript(c, hello+test.script)))
			err := s.Login(c)
			var refused *TokenError
			var reply *ReplyError
			status := none
			if errors.As(err, &refused) {
				status = refused.Status
			}
			if !errors.As(err, &reply) || status != test.status || reply.Code != test.code || !strings.HasPrefix(err.Error(), test.want) || is[*OneLineError](err) {
				t.Errorf("%s, %q:\ngot status %q, %v", c.Mechanism, test.script, status, err)
			}
			s.Close()
		}
	}
}

// TestTokenProtocolErrors: what is no answer ends the session.
func TestTokenProtocolErrors(t *testing.T) {
	const step = "C: AUTH\nS: + \nC: RESPONSE\n"
	for _, script := range []string{
		"C: AUTH\nS: +OK welcome",
		"C: AUTH\nS: hello",
		"C: AUTH\nS: + " + strings.Repeat("x", 3000),
		step + "S: hello",
		step + "S: + " + strings.Repeat("eyJz", 600),
		step + "S: + " + gmailsChallenge + "\nC: GIVE-UP\nS: +\nC: *\nS: +",
	} {
		s := dial(t, serve(t, loopback, tokenScript(ada, hello+script)))
		if err := s.Login(ada); !is[*ProtocolError](err) || !s.Broken() {
			t.Errorf("%.60q: got %v", script, err)
		}
	}
}

// TestOneLine: a server that hangs up on AUTH without a token is dialled again by the caller, and gets it on one line.
func TestOneLine(t *testing.T) {
	c := ada
	for _, script := range []string{"C: AUTH\nclose", "C: AUTH\nS: -ERR Protocol error. Connection is closed.\nclose"} {
		server := serve(t, loopback, tokenScript(ada, hello+script), tokenScript(ada, hello+"C: AUTH RESPONSE\nS: +OK"))
		c.OneLine = false
		s := dial(t, server)
		err := s.Login(c)
		if !is[*OneLineError](err) || is[*ReplyError](err) || !s.Broken() || !strings.HasPrefix(err.Error(), "AUTH without the token on its line: ") {
			t.Errorf("%q: %v", script, err)
		}
		c.OneLine = true
		if err := dial(t, server).Login(c); err != nil {
			t.Errorf("%q, on one line: %v", script, err)
		}
	}
	const microsoft = "Protocol error. Connection is closed. 10"
	s := dial(t, serve(t, loopback, tokenScript(ada, hello+"C: AUTH RESPONSE\nS: -ERR "+microsoft+"\nclose")))
	if err := s.Login(c); !is[*ReplyError](err) || is[*TokenError](err) || is[*OneLineError](err) || !strings.Contains(err.Error(), microsoft) {
		t.Errorf("a server that wants two steps: %v", err)
	}
	s = dial(t, serve(t, loopback, tokenScript(ada, hello+"C: AUTH RESPONSE\nclose")))
	if err := s.Login(c); is[*OneLineError](err) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("hung up on one line: %v", err)
	}
}

// TestNotOneLine: other ends of the connection say nothing about the form of AUTH.
func TestNotOneLine(t *testing.T) {
	silent := func(p *peer) {
		p.play(hello + "C: AUTH XOAUTH2\n")
		io.Copy(io.Discard, p.r)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	stopping := func(p *peer) {
		p.play(hello + "C: AUTH XOAUTH2\n")
		cancel(stopped)
		io.Copy(io.Discard, p.r)
	}
	server := serve(t, loopback, silent, stopping, tokenScript(ada, hello+"C: AUTH\nS: +\nC: RESPONSE\nclose"))
	server.Timeout = 100 * time.Millisecond
	if err := dial(t, server).Login(ada); err == nil || is[*OneLineError](err) || !strings.Contains(err.Error(), "was silent") {
		t.Errorf("silence: %v", err)
	}
	server.Timeout = patience
	s, err := Dial(ctx, server)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Login(ada); is[*OneLineError](err) || !errors.Is(err, stopped) {
		t.Errorf("stopped: %v", err)
	}
	if err := dial(t, server).Login(ada); is[*OneLineError](err) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("hung up on the token: %v", err)
	}
}

func TestTokensThatAUTHCannotCarry(t *testing.T) {
	for _, test := range []struct{ username, token, field string }{
		{"ada", "", "token"}, {"ada", "tok\nret", "token"}, {"ada", "tok\x01ret", "token"}, {"ada", "tok\x7fret", "token"},
		{"", "tok", "user name"}, {"ada\x01auth=Bearer x", "tok", "user name"}, {"ada\r\nDELE 1", "tok", "user name"},
	} {
		for _, mechanism := range []Mechanism{XOAUTH2, OAuthBearer} {
			s := scripted(t, hello) // the script fails when anything is sent
			err := s.Login(Credentials{Username: test.username, Token: test.token, Password: "pass", Mechanism: mechanism})
			var credential *CredentialError
			if !errors.As(err, &credential) || credential.Field != test.field || strings.Contains(err.Error(), "ret") {
				t.Errorf("%q: %v", test.username+" "+test.token, err)
			}
			s.Close()
		}
	}
}

// Servers echo what they did not understand, and cut it off. No piece of the token or its base64 is in an error all the same.
func TestTokenIsInNoError(t *testing.T) {
	c := ada
	c.Token = "ya29." + strings.Repeat("Zq3vXw9LkT0pRs6u-", 40)
	response := tokenResponse(c, nil)
	for _, secret := range []string{c.Token, response} {
		for _, echo := range []string{secret, secret[:200], secret[100:], secret[3:90], "user=" + secret[:30]} {
			for _, answer := range []string{
				"S: -ERR bad command " + echo, "S: -ERR [AUTH] " + echo, "S: " + echo, "S: +OK [SYS/TEMP] " + echo, "s: -ERR " + echo + `\n`,
				"S: + " + encoded(`{"status":"`+echo+`"}`) + "\nC: \nS: -ERR", "S: +OK\nS: " + echo,
			} {
				s := dial(t, serve(t, loopback, tokenScript(c, hello+"C: AUTH\nS: + \nC: RESPONSE\n"+answer)))
				err := s.Login(c)
				if err == nil {
					err = s.Noop() // finds the answer that nobody asked for
				}
				if err == nil {
					t.Errorf("%.40q: no error", answer)
				} else if piece := leaked(err, c.Token, response); piece != "" {
					t.Errorf("%.40q: %q in %v", answer, piece, err)
				}
				s.Close()
			}
		}
	}
}

// leaked returns a piece of a secret that is in the error.
func leaked(err error, secrets ...string) string {
	text := fmt.Sprintf("%v %+v", err, err)
	for _, secret := range secrets {
		for i := range len(secret) - 7 {
			if strings.Contains(text, secret[i:i+8]) {
				return secret[i : i+8]
			}
		}
	}
	return ""
}

func TestWithout(t *testing.T) {
	for _, test := range []struct{ text, secret, want string }{
		{"PASS x", "x", "PASS ***"}, {"xx", "x", "******"}, {"", "secret", ""},
		{"no secre", "secret", "no secre"}, {"a secret!", "secret", "a ***!"},
		{"abcdefg", "abcdefghijkl", "abcdefg"}, {"abcdefgh", "abcdefghijkl", "***"}, {"-cdefghijkl-abcdefgh", "abcdefghijkl", "-***-***"},
		{"Username and password not accepted", "mynormalpassword", "Username and password not accepted"}, {"password?", "password", "***?"},
	} {
		if got := without(test.text, test.secret); got != test.want {
			t.Errorf("%q without %q is %q, want %q", test.text, test.secret, got, test.want)
		}
	}
}
