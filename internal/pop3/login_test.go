package pop3

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

const (
	helloSASL = "S: +OK ready\nC: CAPA\nS: +OK\nS: SASL XOAUTH2 PLAIN\nS: .\n"
	capaAgain = "C: CAPA\nS: +OK\nS: PIPELINING\nS: .\n"
)

func plainResponse(c Credentials) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + c.Username + "\x00" + c.Password))
}

func TestLogin(t *testing.T) {
	joePlain := plainResponse(joe)
	long := Credentials{Username: "joe", Password: strings.Repeat("p", 180)}
	longPlain := plainResponse(long)
	for _, test := range []struct {
		name, script string
		credentials  Credentials
	}{
		{"auto without SASL", hello + "C: USER joe\nS: +OK\nC: PASS secret\nS: +OK", joe},
		{"auto with SASL", helloSASL + "C: AUTH PLAIN " + joePlain + "\nS: +OK\n" + capaAgain, joe},
		{"explicit auto", helloSASL + "C: AUTH PLAIN " + joePlain + "\nS: +OK\n" + capaAgain, Credentials{Username: "joe", Password: "secret", Mechanism: Auto}},
		{"user although SASL is there", helloSASL + "C: USER joe\nS: +OK\nC: PASS secret\nS: +OK\n" + capaAgain, Credentials{Username: "joe", Password: "secret", Mechanism: UserPass}},
		{"plain although nothing is announced", hello + "C: AUTH PLAIN " + joePlain + "\nS: +OK\n", Credentials{Username: "joe", Password: "secret", Mechanism: SASLPlain}},
		{"long response goes alone", helloSASL + "C: AUTH PLAIN\nS: + \nC: " + longPlain + "\nS: +OK\n" + capaAgain, long},
		{"challenge without a space", helloSASL + "C: AUTH PLAIN\nS: +\nC: " + longPlain + "\nS: +OK\n" + capaAgain, long},
		{"initial response overlooked", helloSASL + "C: AUTH PLAIN " + joePlain + "\nS: + \nC: " + joePlain + "\nS: +OK\n" + capaAgain, joe},
		{"announced but unknown", helloSASL + "C: AUTH PLAIN " + joePlain + "\nS: -ERR Unknown command.\nC: USER joe\nS: +OK\nC: PASS secret\nS: +OK\n" + capaAgain, joe},
		{"spaces stay", hello + "C: USER joe\nS: +OK\nC: PASS  a  b \nS: +OK", Credentials{Username: "joe", Password: " a  b ", Mechanism: Auto}},
		{"percent signs stay", hello + "C: USER j%d\nS: +OK\nC: PASS %s%v\nS: +OK", Credentials{Username: "j%d", Password: "%s%v", Mechanism: Auto}},
		{"code that refuses nothing", hello + "C: USER joe\nS: +OK\nC: PASS secret\nS: +OK [AUTH] fine", joe},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := scripted(t, test.script)
			if err := s.Login(test.credentials); err != nil {
				t.Fatal(err)
			}
			if again := strings.Contains(test.script, capaAgain); s.Capabilities().Has("PIPELINING") != again || s.Pipelined() != again {
				t.Errorf("pipelined %v, capabilities %q", s.Pipelined(), s.Capabilities().Lines())
			}
		})
	}
}

func TestPipeliningOffAndForgotten(t *testing.T) {
	server := serve(t, loopback, script("S: +OK\nC: CAPA\nS: +OK\nS: PIPELINING\nS: .\nC: USER joe\nS: +OK\nC: PASS secret\nS: +OK\n"+capaAgain))
	server.Pipelining = false
	s := dial(t, server)
	if err := s.Login(joe); err != nil || s.Pipelined() {
		t.Errorf("pipelining off: %v, pipelined %v", err, s.Pipelined())
	}
	s = dial(t, serve(t, loopback, script("S: +OK\nC: CAPA\nS: +OK\nS: PIPELINING\nS: .\nC: USER joe\nS: +OK\nC: PASS secret\nS: +OK\nC: CAPA\nS: -ERR")))
	if err := s.Login(joe); err != nil || s.Pipelined() || s.Capabilities().Known() {
		t.Errorf("CAPA refused after login: %v, pipelined %v", err, s.Pipelined())
	}
}

func TestLoginRefused(t *testing.T) {
	auth := helloSASL + "C: AUTH PLAIN " + plainResponse(joe) + "\n"
	pass := hello + "C: USER joe\nS: +OK\nC: PASS secret\n"
	for _, test := range []struct{ script, want string }{
		{pass + "S: -ERR [AUTH] Username and password not accepted.", `server refused PASS: [AUTH] "Username and password not accepted."`},
		{pass + "S: -ERR", `server refused PASS without a reason`},
		{pass + "S: +OK [SYS/TEMP] Due to a temporary system problem, this mailbox will seem empty.", `server refused PASS: [SYS/TEMP] "Due to`},
		{hello + "C: USER joe\nS: -ERR [IN-USE] locked", `server refused USER: [IN-USE] "locked"`},
		{hello + "C: USER joe\nS: +OK [LOGIN-DELAY] locked", `server refused USER: [LOGIN-DELAY] "locked"`},
		// a wrong password is sent once
		{auth + "S: -ERR [AUTH] Authentication failed, mechanism not supported for you", `server refused AUTH: [AUTH]`},
		{auth + "S: -ERR Authentication failed.", `server refused AUTH: "Authentication failed."`},
		{auth + "S: -ERR unknown user or wrong password", `server refused AUTH: "unknown user`},
		{auth + "S: +OK [SYS/TEMP] later", `server refused AUTH: [SYS/TEMP] "later"`},
		// a second mechanism is the last
		{auth + "S: -ERR unknown command\nC: USER joe\nS: -ERR unknown command", `server refused USER: "unknown command"`},
		// challenges that are none of PLAIN's
		{auth + "S: + eyJzdGF0dXMiOiI0MDAifQ==\nC: *\nS: -ERR cancelled", `server refused AUTH: "cancelled"`},
		{auth + "S: + \nC: " + plainResponse(joe) + "\nS: + \nC: *\nS: -ERR cancelled", `server refused AUTH: "cancelled"`},
	} {
		s := scripted(t, test.script)
		err := s.Login(joe)
		if !is[*ReplyError](err) || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%.200q: got %v", test.script, err)
		}
		if s.Pipelined() {
			t.Error("pipelined without a login")
		}
		s.Close()
	}
	s := scripted(t, auth+"S: + \nC: "+plainResponse(joe)+"\nS: + \nC: *\nS: + ")
	if err := s.Login(joe); !is[*ProtocolError](err) {
		t.Errorf("endless challenges: %v", err)
	}
	s = scripted(t, hello)
	if err := s.Login(Credentials{Username: "joe", Password: "secret", Mechanism: "apop"}); err == nil || !strings.Contains(err.Error(), `mechanism "apop"`) {
		t.Errorf("unknown mechanism: %v", err)
	}
	s.Close()
}

func TestCredentialsThatPOP3CannotCarry(t *testing.T) {
	for _, test := range []struct {
		c     Credentials
		field string
	}{
		{Credentials{Username: "joe", Password: "secret\n"}, "password"},
		{Credentials{Username: "joe", Password: "sec\rret"}, "password"},
		{Credentials{Username: "joe", Password: "sec\x00ret"}, "password"},
		{Credentials{Username: "joe", Password: ""}, "password"},
		{Credentials{Username: "joe\r\nDELE 1", Password: "secret"}, "user name"},
		{Credentials{Username: "\x00", Password: "secret"}, "user name"},
		{Credentials{Username: "", Password: "secret"}, "user name"},
	} {
		for _, m := range []Mechanism{Auto, UserPass, SASLPlain} {
			test.c.Mechanism = m
			s := scripted(t, helloSASL) // the script fails when anything is sent
			err := s.Login(test.c)
			var credential *CredentialError
			if !errors.As(err, &credential) || credential.Field != test.field || strings.Contains(err.Error(), "ret") {
				t.Errorf("%q: got %v", test.c.Username+" "+test.c.Password, err)
			}
			s.Close()
		}
	}
}

// Servers echo what they did not understand. The password and its base64 are in no error all the same.
func TestPasswordIsInNoError(t *testing.T) {
	c := Credentials{Username: "joe", Password: `tr"öub\4dor`}
	response := plainResponse(c)
	for _, answer := range []string{
		"S: -ERR bad command PASS %s", "S: -ERR [AUTH] %s", "S: %s", "S: PASS %s", `s: +OK %s\n`, "S: +OK [SYS/TEMP] %s",
		"S: %s" + strings.Repeat("x", 3000), "S: " + strings.Repeat("%s", 300), "S: +OK\nS: %s", "S: +OK\ns: %s", "close",
	} {
		for _, mechanism := range []struct {
			name         Mechanism
			sent, secret string
		}{
			{UserPass, "C: USER joe\nS: +OK\nC: PASS " + c.Password + "\n", c.Password},
			{SASLPlain, "C: AUTH PLAIN " + response + "\n", response},
		} {
			c.Mechanism = mechanism.name
			secret := mechanism.secret
			if strings.Contains(answer, "s:") {
				secret = strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(secret)
			}
			s := scripted(t, hello+mechanism.sent+strings.ReplaceAll(answer, "%s", secret))
			err := s.Login(c)
			if err == nil {
				err = s.Noop() // finds the answer that nobody asked for
			}
			if err == nil {
				t.Errorf("%.40q: no error", answer)
				continue
			}
			for _, secret := range []string{c.Password, response, `tr\"öub`, "4dor"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%.40q: %s", answer, err)
				}
			}
			s.Close()
		}
	}
}
