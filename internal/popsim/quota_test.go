package popsim_test

import (
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/popsim"
)

const exceeded = "-ERR [AUTH] Account exceeded pop command or bandwidth limits (Failure)"

// refusedAtPass logs in and wants to be told so.
func refusedAtPass(t *testing.T, server *popsim.Server, want string) *client {
	t.Helper()
	c := clear(t, server)
	c.expect("+OK")
	c.do("USER "+joe, "+OK")
	c.do("PASS open sesame", want)
	return c
}

// When the day's octets are used up, commands fail and so do logins, for an hour; QUIT still pops.
func TestQuota(t *testing.T) {
	body := func(m *popsim.Message) { m.Body = []byte(strings.Repeat("x", 98) + "\r\n") }
	server, account, clock := gmail(t, popsim.GmailBox{}, popsim.Config{DailyOctets: 150},
		mail("a", 5, body), mail("b", 4, body), mail("c", 3, body), mail("d", 2, body))
	c := as(t, server, joe)
	c.retr(1, 2) // the limit may be overrun by one message
	for _, command := range []string{"RETR 3", "TOP 3 0", "LIST", "UIDL 1", "STAT", "DELE 1"} {
		c.do(command, exceeded)
	}
	if n := account.Sent(); n != 200 {
		t.Errorf("%d octets sent", n)
	}
	refusedAtPass(t, server, exceeded)
	c.do("QUIT", "+OK Farewell.")

	clock.pass(time.Hour - time.Second)
	refusedAtPass(t, server, exceeded)
	clock.pass(time.Second)
	c = as(t, server, joe)
	if got := c.uids(); got != "c d" {
		t.Errorf("after an hour: %q", got)
	}
	c.do("RETR 1", exceeded) // still within 24 hours, so that another hour begins
	refusedAtPass(t, server, exceeded)

	clock.pass(23*time.Hour + time.Second)
	c = as(t, server, joe)
	c.retr(1, 2)
	c.do("QUIT", "+OK")
	clock.pass(2 * time.Hour)
	wantListed(t, server, joe, "")
}

func TestQuotaHangsUp(t *testing.T) {
	server, _, _ := gmail(t, popsim.GmailBox{Knobs: popsim.Knobs{QuotaHangsUp: true}}, popsim.Config{DailyOctets: 1, Suspension: time.Minute},
		mail("a", 5), mail("b", 4))
	c := as(t, server, joe)
	c.retr(1)
	c.do("RETR 2", exceeded)
	c.gone()
}

// Any account can be locked, in the middle of a session, too.
func TestSuspend(t *testing.T) {
	server, account, clock := gmail(t, popsim.GmailBox{}, popsim.Config{}, mail("a", 5))
	c := as(t, server, joe)
	account.Suspend(10 * time.Minute)
	c.do("RETR 1", exceeded)
	refusedAtPass(t, server, exceeded)
	clock.pass(10 * time.Minute)
	c.retr(1)

	plain, other := start(t, popsim.Config{Mode: popsim.NoTLS}, two...)
	other.Suspend(time.Hour)
	refusedAtPass(t, plain, exceeded)
}
