package popsim_test

import (
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/popfetchd/popfetchd/internal/popsim"
)

const body = "Subject: x\r\n\r\n.dot\r\nline\r\n"

// faulty starts a server in clear with three messages and a fault.
func faulty(t *testing.T, f popsim.Fault) (*popsim.Server, *popsim.Account) {
	t.Helper()
	return start(t, popsim.Config{Mode: popsim.NoTLS, Fault: f}, message("a", body), message("b", body), message("c", body))
}

func TestRefuseOne(t *testing.T) {
	server, account := faulty(t, popsim.On("RETR", 2, popsim.Refuse("[SYS/TEMP] not now")))
	c := login(t, server)
	if got := c.do("RETR 2", "-ERR"); got != "-ERR [SYS/TEMP] not now" {
		t.Errorf("RETR 2: %q", got)
	}
	c.do("RETR 3", "+OK")
	c.body()
	if account.Retrieved("b") != 0 || account.Retrieved("c") != 1 {
		t.Errorf("counted b %d times, c %d times", account.Retrieved("b"), account.Retrieved("c"))
	}
}

func TestRefuseGreeting(t *testing.T) {
	server, _ := faulty(t, popsim.On("CONNECT", 0, popsim.Refuse("[SYS/TEMP] too busy")))
	c := clear(t, server)
	c.expect("-ERR [SYS/TEMP] too busy")
	c.gone()
}

func TestRefuseQuit(t *testing.T) {
	server, account := faulty(t, popsim.On("QUIT", 0, popsim.Refuse("some deleted messages not removed")))
	c := login(t, server)
	c.do("DELE 1", "+OK")
	c.do("QUIT", "-ERR")
	c.gone()
	if len(account.Messages()) != 3 || account.Quits() != 0 {
		t.Errorf("%d messages, %d quits", len(account.Messages()), account.Quits())
	}
	login(t, server) // the lock is free
}

func TestHangUpAtQuit(t *testing.T) {
	for _, tt := range []struct {
		name   string
		action popsim.Action
		left   int
	}{
		{"before it is obeyed", popsim.HangUp(), 3},
		{"before it is answered", popsim.HangUpUnanswered(), 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, account := faulty(t, popsim.On("QUIT", 0, tt.action))
			c := login(t, server)
			c.do("DELE 1", "+OK")
			c.send("QUIT\r\n")
			c.gone()
			if got := len(account.Messages()); got != tt.left {
				t.Errorf("%d messages left, want %d", got, tt.left)
			}
			login(t, server)
		})
	}
}

func TestHangUpInBody(t *testing.T) {
	for _, n := range []int{0, 1, 14, 15, len(body)} {
		server, account := faulty(t, popsim.On("RETR", 1, popsim.HangUpInBody(int64(n))))
		c := login(t, server)
		c.do("RETR 1", "+OK")
		got, _ := io.ReadAll(c.r)
		want := strings.Replace(body[:n], "\r\n.", "\r\n..", 1)
		if string(got) != want {
			t.Errorf("cut after %d octets: %q, want %q", n, got, want)
		}
		if account.Retrieved("a") != 0 {
			t.Error("a torn message counts as retrieved")
		}
	}
}

// A cut over TLS must be a cut on the wire too: not a byte, so no close_notify, follows the command. (crypto/tls reads
// either end as io.EOF.)
func TestHangUpOverTLS(t *testing.T) {
	server, _ := start(t, popsim.Config{Fault: popsim.On("NOOP", 0, popsim.HangUp())})
	c := clear(t, server)
	wire := &counted{Conn: c.conn}
	c.conn = wire
	c.encrypt(server)
	c.expect("+OK")
	c.do("USER joe@example.org", "+OK")
	c.do("PASS open sesame", "+OK")
	before := wire.n
	c.send("NOOP\r\n")
	c.gone()
	if wire.n != before {
		t.Errorf("%d bytes came after the cut", wire.n-before)
	}
}

// counted counts what was read.
type counted struct {
	net.Conn
	n int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.n += n
	return n, err
}

func TestStall(t *testing.T) {
	for i, action := range []popsim.Action{popsim.Stall(), popsim.StallInBody(3)} {
		server, _ := faulty(t, popsim.InSession(1, popsim.On("RETR", 1, action)))
		c := login(t, server)
		c.send("RETR 1\r\nNOOP\r\n")
		if i == 1 {
			c.expect("+OK")
			if got, _ := io.ReadAll(io.LimitReader(c.r, 3)); string(got) != body[:3] {
				t.Errorf("before the stall: %q", got)
			}
		}
		c.conn.Close()
		c = login(t, server) // a client that gives up frees the maildrop
		c.do("RETR 1", "+OK")
		c.body()
	}
}

func TestRaw(t *testing.T) {
	server, _ := faulty(t, popsim.On("STAT", 0, popsim.Raw("*garbage\r\n")))
	c := login(t, server)
	c.do("STAT", "*garbage")
	c.do("NOOP", "+OK")
}

func TestStatus(t *testing.T) {
	server, _ := faulty(t, popsim.On("PASS", 0, popsim.Status("+OK [SYS/TEMP] this mailbox will seem empty")))
	c := clear(t, server)
	c.expect("+OK")
	c.do("USER joe@example.org", "+OK")
	c.do("PASS open sesame", "+OK [SYS/TEMP]")
	c.do("STAT", "+OK 3")
}

func TestRewrite(t *testing.T) {
	server, _ := faulty(t, popsim.FirstOf(
		popsim.On("UIDL", 0, popsim.Rewrite(func(line string) string {
			switch line {
			case "1 a":
				return ""
			case "2 b":
				return "2 c"
			default:
				return line + "\r\n4 d"
			}
		})),
		popsim.On("LIST", 0, popsim.Rewrite(strings.ToUpper)),
	))
	c := login(t, server)
	if got := c.lines("UIDL"); !slices.Equal(got, []string{"2 c", "3 c", "4 d"}) {
		t.Errorf("UIDL: %q", got)
	}
	if got := c.lines("LIST"); len(got) != 3 {
		t.Errorf("LIST: %q", got)
	}
}

func TestRequest(t *testing.T) {
	var seen []popsim.Request
	server, _ := faulty(t, func(r popsim.Request) popsim.Action {
		seen = append(seen, r) // one session at a time here
		return popsim.Action{}
	})
	c := login(t, server)
	c.do("TOP 2 0", "+OK")
	c.body()
	c.do("top 3 0", "+OK")
	c.body()
	c.do("QUIT", "+OK")
	server.Close()
	joe := "joe@example.org"
	want := []popsim.Request{
		{Session: 1, Command: "CONNECT", Nth: 1}, {Session: 1, Command: "USER", Nth: 1}, {Session: 1, Command: "PASS", Nth: 1},
		{Session: 1, Username: joe, Command: "LOGIN", Nth: 1}, {Session: 1, Username: joe, Command: "TOP", Message: 2, Nth: 1}, {Session: 1, Username: joe, Command: "TOP", Message: 3, Nth: 2},
		{Session: 1, Username: joe, Command: "QUIT", Nth: 1},
	}
	if !slices.Equal(seen, want) {
		t.Errorf("the fault saw %+v,\nwant %+v", seen, want)
	}
}

// The same UID may stand for two messages at once, and for another message later.
func TestSecondHandUIDs(t *testing.T) {
	server, account := start(t, popsim.Config{Mode: popsim.NoTLS}, message("a", "one\r\n"), message("a", "two\r\n"))
	if got := login(t, server).lines("UIDL"); !slices.Equal(got, []string{"1 a", "2 a"}) {
		t.Errorf("UIDL: %q", got)
	}
	if n := account.Remove("a"); n != 2 {
		t.Errorf("removed %d", n)
	}
	account.Deliver(message("a", "three\r\n"))
	if left := account.Messages(); len(left) != 1 || string(left[0].Body) != "three\r\n" {
		t.Errorf("messages: %v", left)
	}
}
