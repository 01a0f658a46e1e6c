package popsim_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/popfetchd/popfetchd/internal/popsim"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func xoauth2(user, token string) string {
	return b64("user=" + user + "\x01auth=Bearer " + token + "\x01\x01")
}

func bearer(user, token string) string {
	return b64("n,a=" + user + ",\x01host=pop.gmail.com\x01port=995\x01auth=Bearer " + token + "\x01\x01")
}

// good lets in whoever has the token "good".
func good(username, token string) bool { return username == joe && token == "good" }

// The challenge of 2017, from a log.
const challenged = "+ eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIiwic2NvcGUiOiJodHRwczovL21haWwuZ29vZ2xlLmNvbS8ifQ=="

// exchange is what a client says, and how each answer must begin.
type exchange [][2]string

func TestTokens(t *testing.T) {
	const invalid = "-ERR [AUTH] Invalid credentials."
	for _, tt := range []struct {
		name   string
		config popsim.Config
		knobs  popsim.Knobs
		said   exchange
		gone   bool
	}{
		{"two-step", popsim.Config{Token: good}, popsim.Knobs{},
			exchange{{"AUTH XOAUTH2", "+ "}, {xoauth2(joe, "good"), "+OK Welcome."}, {"STAT", "+OK 1 "}}, false},
		{"one line", popsim.Config{Token: good}, popsim.Knobs{}, exchange{{"auth xoauth2 " + xoauth2(joe, "good"), "+OK Welcome."}}, false},
		{"OAUTHBEARER", popsim.Config{Token: good}, popsim.Knobs{},
			exchange{{"AUTH OAUTHBEARER", "+ "}, {bearer(joe, "good"), "+OK Welcome."}}, false},
		{"OAUTHBEARER on one line", popsim.Config{Token: good}, popsim.Knobs{}, exchange{{"AUTH OAUTHBEARER " + bearer(joe, "good"), "+OK Welcome."}}, false},
		{"recent", popsim.Config{Token: good}, popsim.Knobs{}, exchange{{"AUTH XOAUTH2 " + xoauth2("recent:"+joe, "good"), "+OK Welcome."}}, false},
		{"recent is refused", popsim.Config{Token: good}, popsim.Knobs{RecentNoToken: true},
			exchange{{"AUTH XOAUTH2 " + xoauth2("recent:"+joe, "good"), challenged}, {"", invalid}}, false},
		{"wrong token, then the right one", popsim.Config{Token: good}, popsim.Knobs{},
			exchange{{"AUTH XOAUTH2", "+ "}, {xoauth2(joe, "bad"), challenged}, {"", invalid}, {"AUTH XOAUTH2", "+ "}, {xoauth2(joe, "good"), "+OK"}}, false},
		{"challenge taken for success", popsim.Config{Token: good}, popsim.Knobs{},
			exchange{{"AUTH XOAUTH2 " + xoauth2(joe, "bad"), challenged}, {"STAT", "-ERR bad command"}}, true},
		{"challenge of OAUTHBEARER", popsim.Config{Token: good}, popsim.Knobs{},
			exchange{{"AUTH OAUTHBEARER " + bearer(joe, "bad"), challenged}, {"AQ==", invalid}}, false},
		{"AQ== is not for XOAUTH2", popsim.Config{Token: good}, popsim.Knobs{},
			exchange{{"AUTH XOAUTH2 " + xoauth2(joe, "bad"), challenged}, {"AQ==", "-ERR bad command"}}, true},
		{"another challenge", popsim.Config{Token: good, Challenge: "{}"}, popsim.Knobs{},
			exchange{{"AUTH XOAUTH2 " + xoauth2(joe, "bad"), "+ e30="}, {"", invalid}}, false},
		{"other user", popsim.Config{Token: good}, popsim.Knobs{}, exchange{{"AUTH XOAUTH2 " + xoauth2("jane", "good"), challenged}, {"", invalid}}, false},
		{"no token is good", popsim.Config{}, popsim.Knobs{}, exchange{{"AUTH XOAUTH2 " + xoauth2(joe, "good"), challenged}, {"", invalid}}, false},
		{"not XOAUTH2", popsim.Config{Token: good}, popsim.Knobs{},
			exchange{{"AUTH XOAUTH2 " + b64("user="+joe), challenged}, {"", invalid}, {"AUTH OAUTHBEARER " + xoauth2(joe, "good"), challenged}}, false},
		{"second thoughts", popsim.Config{Token: good}, popsim.Knobs{}, exchange{{"AUTH XOAUTH2", "+ "}, {"*", "-ERR"}, {"AUTH XOAUTH2", "+ "}, {"!", "-ERR"}}, false},
		{"two steps only", popsim.Config{Token: good, TwoStepOnly: true}, popsim.Knobs{},
			exchange{{"AUTH XOAUTH2 " + xoauth2(joe, "good"), "-ERR Protocol error. Connection is closed. 10"}}, true},
		{"two steps are fine", popsim.Config{Token: good, TwoStepOnly: true}, popsim.Knobs{}, exchange{{"AUTH XOAUTH2", "+ "}, {xoauth2(joe, "good"), "+OK"}}, false},
		{"a password on one line", popsim.Config{TwoStepOnly: true}, popsim.Knobs{}, exchange{{"AUTH PLAIN " + b64("\x00"+joe+"\x00open sesame"), "+OK"}}, false},
		{"one line only", popsim.Config{Token: good, OneLineOnly: true}, popsim.Knobs{}, exchange{{"AUTH XOAUTH2", "-ERR bad command"}}, true},
		{"one line is fine", popsim.Config{Token: good, OneLineOnly: true}, popsim.Knobs{}, exchange{{"AUTH XOAUTH2 " + xoauth2(joe, "good"), "+OK"}}, false},
		{"a fault at LOGIN", popsim.Config{Token: good, Fault: popsim.On("LOGIN", 0, popsim.Refuse("[AUTH] no"))}, popsim.Knobs{},
			exchange{{"AUTH XOAUTH2", "+ "}, {xoauth2(joe, "good"), "-ERR [AUTH] no"}, {"STAT", "-ERR bad command"}}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, _, _ := gmail(t, popsim.GmailBox{Knobs: tt.knobs}, tt.config, mail("a", 1))
			c := clear(t, server)
			c.expect("+OK")
			for _, e := range tt.said {
				c.do(e[0], e[1])
			}
			if tt.gone {
				c.gone()
			} else {
				c.do("NOOP", "")
			}
		})
	}
}

// A plain server has the mechanisms where it takes tokens, and then says so.
func TestTokensOfAPlainServer(t *testing.T) {
	server, _ := start(t, popsim.Config{Mode: popsim.NoTLS, Token: good}, two...)
	c := clear(t, server)
	c.expect("+OK")
	if got := strings.Join(c.lines("CAPA"), "\n"); !strings.Contains(got, "SASL PLAIN XOAUTH2 OAUTHBEARER") {
		t.Errorf("CAPA: %s", got)
	}
	c.do("AUTH XOAUTH2 "+xoauth2("recent:"+joe, "good"), challenged) // only Gmail knows that prefix
	c.do("", "-ERR")
	c.do("AUTH XOAUTH2 "+xoauth2(joe, "good"), "+OK")
	c.do("QUIT", "+OK")

	server, _ = start(t, popsim.Config{Mode: popsim.NoTLS, Token: good, OneLineOnly: true}, two...)
	c = clear(t, server)
	c.expect("+OK")
	c.do("AUTH XOAUTH2", "-ERR")
	c.do("AUTH XOAUTH2 "+xoauth2(joe, "good"), "+OK") // on the same connection

	server, _ = start(t, popsim.Config{Mode: popsim.NoTLS}, two...)
	c = clear(t, server)
	c.expect("+OK")
	c.do("AUTH XOAUTH2", "-ERR unknown mechanism")
}

func TestMicrosoft(t *testing.T) {
	server, account := start(t, popsim.Config{Mode: popsim.NoTLS, Dialect: popsim.Microsoft, Token: good}, two...)
	c := clear(t, server)
	c.expect("+OK The Microsoft Exchange POP3 service is ready. [")
	if got := strings.Join(c.lines("CAPA"), " "); got != "TOP UIDL SASL XOAUTH2 USER" {
		t.Errorf("CAPA: %s", got)
	}
	c.do("USER "+joe, "+OK")
	c.do("PASS open sesame", "-ERR Basic authentication is disabled")
	c.do("AUTH XOAUTH2", "+ ")
	c.do(xoauth2(joe, "bad"), "-ERR Authentication failure: unknown user name or bad password.")
	c.do("AUTH XOAUTH2", "+ ")
	c.do(xoauth2(joe, "good"), "+OK User successfully authenticated.")
	c.do("DELE 1", "+OK")
	c.do("QUIT", "+OK")
	if n := len(account.Messages()); n != 1 {
		t.Errorf("%d messages left", n)
	}
	c = clear(t, server)
	c.expect("+OK")
	c.do("AUTH XOAUTH2 "+xoauth2(joe, "good"), "-ERR Protocol error. Connection is closed. 10")
	c.gone()
}

// A token that ends in mid-session ends the session, with nothing popped, also while a message is being sent.
func TestTokenExpires(t *testing.T) {
	for _, inBody := range []bool{false, true} {
		t.Run(fmt.Sprintf("in body: %t", inBody), func(t *testing.T) {
			var expired atomic.Bool
			token := func(username, token string) bool { return good(username, token) && !expired.Load() }
			server, account, _ := gmail(t, popsim.GmailBox{}, popsim.Config{Token: token}, mail("a", 2), mail("b", 1, func(m *popsim.Message) {
				m.Size = 2 << 20
				m.Open = func() io.Reader {
					ends := readerFunc(func([]byte) (int, error) { expired.Store(inBody); return 0, io.EOF })
					return io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20)), ends, strings.NewReader(strings.Repeat("y", 1<<20-2)+"\r\n"))
				}
			}))
			c := clear(t, server)
			c.expect("+OK")
			c.do("AUTH XOAUTH2 "+xoauth2(joe, "good"), "+OK")
			c.retr(1)
			c.do("RETR 2", "+OK")
			if inBody {
				rest, err := io.ReadAll(c.r)
				if err != nil || len(rest) < 1<<20 || len(rest) >= 2<<20 || strings.HasSuffix(string(rest), "\r\n.\r\n") {
					t.Errorf("%d octets before the end (%v)", len(rest), err)
				}
			} else {
				c.body()
				expired.Store(true)
				c.do("QUIT", "-ERR Session expired, please login again.")
				c.gone()
			}
			if n := account.Counts().Popped; n != 0 || account.Quits() != 0 {
				t.Errorf("%d popped", n)
			}
		})
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// POP that is switched off is told at PASS, and with a token only at STAT; both are knobs.
func TestPOPOff(t *testing.T) {
	const off = "-ERR [SYS/PERM] Your account is not enabled for POP access."
	pass, token := "PASS open sesame", "AUTH XOAUTH2 "+xoauth2(joe, "good")
	for _, tt := range []struct {
		name    string
		knobs   popsim.Knobs
		command string
		login   string
	}{
		{"password", popsim.Knobs{}, pass, off},
		{"token", popsim.Knobs{}, token, "+OK Welcome."},
		{"password, at STAT", popsim.Knobs{POPOffAtStat: true}, pass, "+OK Welcome."},
		{"token, at AUTH", popsim.Knobs{POPOffAtAuth: true}, token, off},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, _, _ := gmail(t, popsim.GmailBox{Access: popsim.Disabled, Knobs: tt.knobs}, popsim.Config{Token: good}, mail("a", 1))
			c := clear(t, server)
			c.expect("+OK")
			c.do("USER "+joe, "+OK")
			c.do(tt.command, tt.login)
			if tt.login != off {
				for _, command := range []string{"STAT", "LIST", "UIDL", "RETR 1"} {
					c.do(command, off)
				}
				c.do("QUIT", "+OK Farewell.")
			}
		})
	}
}

func TestLogHidesTokens(t *testing.T) {
	lines := make(chan string, 100)
	server, _, _ := gmail(t, popsim.GmailBox{}, popsim.Config{Token: good, Log: func(_ int, line string) { lines <- line }})
	for _, said := range []exchange{
		{{"AUTH XOAUTH2", "+ "}, {xoauth2(joe, "good"), "+OK"}}, {{"AUTH XOAUTH2 " + xoauth2(joe, "good"), "+OK"}},
	} {
		c := clear(t, server)
		c.expect("+OK")
		for _, e := range said {
			c.do(e[0], e[1])
		}
		c.do("QUIT", "+OK")
	}
	server.Close()
	close(lines)
	for line := range lines {
		if strings.Contains(line, xoauth2(joe, "good")) || strings.Contains(line, "good") {
			t.Errorf("the log shows a token: %s", line)
		}
	}
}
