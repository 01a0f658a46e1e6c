package fetch_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// receiveLarge has n messages of ten thousand octets arrive, a minute apart until now.
func (w *world) receiveLarge(n int) (all []popsim.Message) {
	for i := range n {
		m := popsim.Message{Received: w.clock().Add(time.Duration(i-n) * time.Minute), Body: fmt.Appendf(nil, "Subject: %02d\r\n\r\n%s\r\n", i, strings.Repeat("x", 9981))}
		m.UID = w.account.Deliver(m)
		all = append(all, m)
	}
	return all
}

// A message that breaks the connection and a day that has no room for the others: they are counted once.
func TestDailyLimitAndAMessageThatBreaks(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{}, popsim.Config{}, "daily_limit: 50KB")
	all := w.receiveLarge(8)
	w.fault("RETR", all[0].UID, popsim.HangUpInBody(5))
	r := w.fail(fetch.Temporary, fetch.Report{Listed: 8, New: 6, Stored: 5, Failed: 1, Skipped: 2, Left: 2})
	if r.Sessions != 2 {
		t.Errorf("%d sessions", r.Sessions)
	}
	w.pass(time.Minute)
	w.succeed(fetch.Report{Listed: 3, New: 1, Failed: 1, Skipped: 2, Left: 2})
	w.mend()
	w.pass(25 * time.Hour)
	w.succeed(fetch.Report{Listed: 3, New: 3, Stored: 3})
	w.holds(all...)
}

// Where Gmail wants time between two logins, what vanished from its window is rescued in a run of its own.
func TestRescueWithLoginDelay(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{Knobs: popsim.Knobs{PopOnRETR: true, EnforceLoginDelay: true}}, popsim.Config{Pipelining: true})
	all := w.receive(120)
	w.server.SetFault(popsim.InSession(1, popsim.On("RETR", 70, popsim.HangUpInBody(5))))
	w.run()
	w.mend()
	for range 3 {
		w.pass(15 * time.Minute)
		if r := w.run(); r.Err != nil || r.Sessions != 1 {
			t.Errorf("%d sessions, %v", r.Sessions, r.Err)
		}
	}
	w.holds(all...)
	w.pass(15 * time.Minute)
	w.quiet(w.run())
}

// Should TOP count as RETR, no message may be looked at so that is not fetched in the same session.
func TestNoTOPInAWindow(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{Knobs: popsim.Knobs{TopPops: true}}, popsim.Config{}, "mbox: mail", "daily_limit: 50KB")
	all := w.receiveLarge(4)
	w.succeed(fetch.Report{Listed: 4, New: 4, Stored: 4})
	w.must(w.ledger.Close())
	files, err := filepath.Glob(filepath.Join(w.state, "ledger.db*"))
	w.must(err)
	for _, file := range files {
		w.must(os.Remove(file))
	}
	w.open()
	w.account.SaveSettings(popsim.AllMail, "")
	w.pass(25 * time.Hour)
	all = append(all, w.receiveLarge(12)...)
	for range 5 {
		w.run()
		w.pass(25 * time.Hour)
	}
	w.holds(all...)
}

// A server that never answers QUIT has the window of stored mail taken again little by little only.
func TestQuitIsNeverAnswered(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{}, popsim.Config{Pipelining: true})
	all := w.receive(300)
	w.server.SetFault(popsim.On("QUIT", 0, popsim.HangUp()))
	for range 5 {
		w.run()
		w.pass(15 * time.Minute)
	}
	sent := 0
	for _, m := range all {
		sent += w.account.Retrieved(m.UID)
	}
	if sent > 2*250+4*50 { // stored, taken again, and from then on in small portions
		t.Errorf("sent %d times", sent)
	}
	w.mend()
	w.run()
	w.holds(all...)
}

// A line that breaks after each message is no reason for a login for each message.
func TestLineThatBreaksAfterEachMessage(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{}, popsim.Config{})
	all := w.receive(100)
	w.server.SetFault(func(r popsim.Request) popsim.Action {
		if r.Command == "RETR" && r.Nth == 2 {
			return popsim.HangUp()
		}
		return popsim.Action{}
	})
	if r := w.run(); r.Err == nil || r.Sessions > 20 {
		t.Errorf("%d sessions: %v", r.Sessions, r.Err)
	}
	w.mend()
	w.pass(time.Hour)
	w.run()
	w.holds(all...)
}

// A server that has one more message in each session, for ever, is not asked for ever.
func TestEndlessWindows(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{}, popsim.Config{})
	w.receive(1)
	w.server.SetFault(func(r popsim.Request) popsim.Action {
		if r.Command == "QUIT" && r.Session < 1000 {
			w.account.Deliver(popsim.Message{Received: w.clock().Add(-time.Minute), Body: fmt.Appendf(nil, "Subject: %d\r\n\r\n", r.Session)})
		}
		return popsim.Action{}
	})
	if r := w.run(); r.Sessions > 20 {
		t.Errorf("%d sessions", r.Sessions)
	}
}

// A server that gives the same mail new UIDs in each session is no Gmail: it is not fetched on and on.
func TestUIDsNewInEachSession(t *testing.T) {
	for name, quit := range map[string]popsim.Action{"QUIT is answered": {}, "QUIT is refused": popsim.Refuse("no")} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, popsim.Config{}, "provider: gmail", "password: opensesame", "daily_limit: off")
			w.account.ChangePassword("opensesame")
			w.deliverN(30)
			w.server.SetFault(func(r popsim.Request) popsim.Action {
				switch r.Command {
				case "UIDL":
					return popsim.Rewrite(func(line string) string { return fmt.Sprintf("%s-%d", line, r.Session) })
				case "QUIT":
					return quit
				}
				return popsim.Action{}
			})
			for range 5 {
				if r := w.run(); fetch.KindOf(r.Err) != fetch.Configuration || r.Sessions > 2 {
					t.Errorf("%d sessions: %v", r.Sessions, r.Err)
				}
				w.pass(15 * time.Minute)
			}
			w.mend() // the user has taken another provider
			w.set("provider", "")
			w.holds(w.account.Messages()...)
		})
	}
}

// Windows of messages with the same sizes, one after the other, are mail like any other.
func TestWindowsOfEqualSizes(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{Window: 20}, popsim.Config{Pipelining: true})
	all := w.receiveLarge(100)
	w.succeed(fetch.Report{Listed: 100, New: 100, Stored: 100})
	w.holds(all...)
}

// A refusal that has nothing to do with the token does not cost one, nor another login.
func TestNoTokenForOtherRefusals(t *testing.T) {
	for _, text := range []string{"[AUTH] Lockdown in sector 4", popsim.Exceeded, popsim.TemporaryProblem} {
		w, provider := newSignedIn(t, popsim.GmailBox{}, popsim.Config{})
		var logins atomic.Int64
		w.server.SetFault(func(r popsim.Request) popsim.Action {
			if r.Command == "LOGIN" {
				logins.Add(1)
				return popsim.Refuse(text)
			}
			return popsim.Action{}
		})
		w.fail(fetch.Temporary, fetch.Report{})
		if logins.Load() != 1 || provider.Asked("/token") != 0 {
			t.Errorf("%s: %d logins, %d tokens", text, logins.Load(), provider.Asked("/token"))
		}
	}
}

// A message that Gmail cannot give for the time being does not hold up the others for ever.
func TestMessageRefusedForNow(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{}, popsim.Config{Pipelining: true})
	all := w.receive(300)
	w.server.SetFault(func(r popsim.Request) popsim.Action {
		if r.Command == "RETR" && (r.Session == 1 && r.Message == 3 || r.Session > 1 && r.Message == 1) { // the oldest, then
			return popsim.Refuse("[SYS/TEMP] Temporary system problem. Please try again later.")
		}
		return popsim.Action{}
	})
	w.run()
	w.pass(15 * time.Minute)
	w.run()
	w.holds(slices.Delete(slices.Clone(all), 2, 3)...)
}

// Over a limit in mid-session nothing more is asked for, deletions neither: what was stored is taken by QUIT alone.
func TestNoDELEOverALimit(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{Disposition: popsim.Trash}, popsim.Config{}, "policy: delete")
	all := w.receive(10)
	w.server.SetFault(func(r popsim.Request) popsim.Action {
		switch {
		case r.Command == "DELE":
			t.Error("DELE")
		case r.Command == "RETR" && r.Message > 4:
			return popsim.Refuse(popsim.Exceeded)
		}
		return popsim.Action{}
	})
	w.fail(fetch.Temporary, fetch.Report{Listed: 10, New: 10, Stored: 4, Failed: 6, PendingDelete: 4})
	if c := w.account.Counts(); c.Waiting != 6 || c.Trash != 4 {
		t.Errorf("%+v", c)
	}
	w.mend()
	w.pass(61 * time.Minute)
	w.succeed(fetch.Report{Listed: 6, New: 6, Stored: 6, Deleted: 6})
	w.holds(all...)
}

// A message of Gmail's that comes without its UID has one the next time. TOP, to tell it by its header, might hide it.
func TestWindowWithoutAUID(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{Knobs: popsim.Knobs{TopPops: true}}, popsim.Config{})
	all := w.receive(5)
	w.server.SetFault(func(r popsim.Request) popsim.Action {
		switch r.Command {
		case "UIDL":
			return popsim.Rewrite(func(line string) string {
				if strings.HasPrefix(line, "3 ") {
					return "3 "
				}
				return line
			})
		case "TOP":
			t.Error("TOP")
		}
		return popsim.Action{}
	})
	if r := w.run(); r.Stored != 5 || r.Err == nil { // the second session has its UID
		t.Errorf("%+v", r)
	}
	w.mend()
	w.run()
	w.holds(all...)
}

// WEB.DE takes a second login within a quarter of an hour for a wrong password: a run has one.
func TestOneLogin(t *testing.T) {
	w := newWorld(t, popsim.Config{Pipelining: true}, "provider: web.de")
	w.deliverN(5)
	all := w.account.Messages()
	w.server.SetFault(popsim.InSession(1, w.onUID("RETR", "2", popsim.HangUpInBody(5))))
	if r := w.fail(fetch.Temporary, fetch.Report{Listed: 5, New: 5, Stored: 2, Failed: 3}); r.Sessions != 1 {
		t.Errorf("%d sessions", r.Sessions)
	}
	for range 2 { // the message over which the line broke comes in a session of its own
		w.pass(20 * time.Minute)
		if r := w.run(); r.Err != nil || r.Sessions != 1 {
			t.Errorf("%d sessions: %v", r.Sessions, r.Err)
		}
	}
	w.holds(all...)
}

// What was never stored is not taken out of Gmail's window, whatever the file said of it before.
func TestBaselineStaysInTheWindow(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{Disposition: popsim.Trash}, popsim.Config{}, "recent: true", "access: from-now-on")
	all := w.receive(260)
	w.succeed(fetch.Report{Listed: 260})
	w.set("recent", "")
	w.set("access", "all-mail")
	w.run()
	w.run()
	w.sentTimes(all, 0)
	if c := w.account.Counts(); c.Trash > 0 || c.Popped > 0 {
		t.Errorf("%+v", c)
	}
	if !strings.Contains(w.log.String(), "the window is full") {
		t.Error("the log does not tell")
	}
}

// A message that is too large by now is not what a full window of stored mail fails at.
func TestFullWindowWithALargeMessage(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{}, popsim.Config{}, "max_message_size: 20KB")
	all := w.receiveLarge(1)
	w.pass(300 * time.Hour)
	all = append(all, w.receive(260)...)
	w.run()
	w.set("max_message_size", "5KB")
	w.account.SaveSettings(popsim.AllMail, "")
	w.pass(time.Hour)
	fresh := w.receive(1)
	if r := w.run(); r.Err != nil || r.Stored != 1 {
		t.Errorf("%+v", r)
	}
	w.holds(append(all, fresh...)...)
}

// Over its limits a server may hang up as well, also while stored mail is taken once more: it is left alone for the hour.
func TestOverQuotaWhileTakingAgain(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{}, popsim.Config{Pipelining: true})
	all := w.receive(260)
	w.run()
	w.account.SaveSettings(popsim.AllMail, "")
	w.server.SetFault(func(r popsim.Request) popsim.Action {
		switch {
		case r.Command == "RETR" && r.Nth == 20:
			return popsim.Refuse(popsim.Exceeded)
		case r.Command == "RETR" && r.Nth == 21:
			return popsim.HangUp()
		}
		return popsim.Action{}
	})
	if r := w.run(); fetch.KindOf(r.Err) != fetch.Temporary || !strings.Contains(r.Err.Error(), "exceeded") || r.NotBefore.Sub(w.clock()) < time.Hour {
		t.Errorf("%+v", r)
	}
	w.mend()
	w.waits(fetch.Temporary)
	w.run()
	w.holds(all...)
}

// However many messages are larger than they were listed, the others come.
func TestManyLargerThanListed(t *testing.T) {
	w := newWorld(t, popsim.Config{ListedSize: func(popsim.Message) int64 { return 30 }}, "max_message_size: 1KB")
	for i := range 6 {
		w.deliver(fmt.Sprint("large", i), strings.Repeat("all work and no play\r\n", 1000))
	}
	small := w.deliver("small", "x")
	w.run()
	w.boxHolds(w.box, small)
}
