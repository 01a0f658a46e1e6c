package fetch_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// newGmail starts a Gmail account. Its time is the run's.
func newGmail(t tb, box popsim.GmailBox, c popsim.Config, lines ...string) *world {
	t.Helper()
	account := &popsim.Account{Gmail: &box}
	c.Accounts, c.Dialect = []*popsim.Account{account}, popsim.Gmail
	var w *world
	box.Now = func() time.Time { return w.clock() }
	w = newWorld(t, c, append(lines, "provider: gmail")...)
	return w
}

// receive has n messages arrive, each a conversation of its own, an hour apart until now.
func (w *world) receive(n int) (all []popsim.Message) {
	for i := range n {
		m := popsim.Message{Received: w.clock().Add(-time.Duration(n-i) * time.Hour), Body: fmt.Appendf(nil, "Subject: %d\r\n\r\n%s\r\n", i, strings.Repeat("x", i%50))}
		m.UID = w.account.Deliver(m)
		all = append(all, m)
	}
	return all
}

// sentOnce holds how often messages were sent, altogether.
func (w *world) sentTimes(messages []popsim.Message, want int) {
	w.Helper()
	n := 0
	for _, m := range messages {
		n += w.account.Retrieved(m.UID)
	}
	if n != want {
		w.Errorf("%d messages were sent %d times, want %d", len(messages), n, want)
	}
}

// One run takes whatever lies behind the window, and the next one nothing.
func TestWindowsAreDrained(t *testing.T) {
	boxes(t, func(t *testing.T, box string) {
		w := newGmail(t, popsim.GmailBox{Window: 20}, popsim.Config{Pipelining: true}, box)
		all := w.receive(130)
		r := w.succeed(fetch.Report{Listed: 130, New: 130, Stored: 130})
		if r.Sessions != 8 { // seven windows, and one that shows that there is no more
			t.Errorf("%d sessions", r.Sessions)
		}
		w.holds(all...)
		w.succeed(fetch.Report{})
		w.sentTimes(all, 130)
	})
}

// What a session stored that did not get to its QUIT is listed again, and costs nothing as long as it hides nothing.
func TestShortListingOfStoredMail(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{}, popsim.Config{})
	all := w.receive(150)
	w.server.SetFault(popsim.On("QUIT", 0, popsim.HangUp()))
	w.run()
	w.mend()
	w.sentTimes(all, 150)
	for range 3 {
		w.succeed(fetch.Report{Listed: 150})
	}
	w.sentTimes(all, 150)
	w.holds(all...)
}

// A window full of stored mail is taken once more, and what lies behind it is fetched in the same run.
func TestFullWindowOfStoredMail(t *testing.T) {
	for _, policy := range []string{"keep", "mark-read", "archive", "delete"} {
		t.Run(policy, func(t *testing.T) {
			w := newGmail(t, popsim.GmailBox{}, popsim.Config{Pipelining: true}, "policy: "+policy)
			all := w.receive(600)
			w.run()
			w.account.SaveSettings(popsim.AllMail, "")
			w.pass(time.Hour)
			fresh := w.receive(3)
			r := w.run()
			if r.Err != nil || r.Stored != 3 {
				t.Fatalf("%+v", r)
			}
			w.holds(append(all, fresh...)...)
			w.sentTimes(fresh, 3)
			w.sentTimes(all, 1100) // two windows; the rest fills none
			w.quiet(w.run())
		})
	}
}

// A server that goes on listing what was fetched is not asked for it day and night.
func TestWindowThatStays(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "provider: gmail", "password: opensesame")
	w.account.ChangePassword("opensesame")
	w.deliverN(260)
	w.succeed(fetch.Report{Listed: 260, New: 260, Stored: 260})
	for range 3 {
		w.succeed(fetch.Report{Listed: 260})
	}
	w.sentTimes(w.account.Messages(), 260)
	if !strings.Contains(w.log.String(), "goes on listing mail") {
		t.Error("the log does not tell")
	}
	w.pass(25 * time.Hour)
	for range 3 { // once a day
		w.succeed(fetch.Report{Listed: 260})
	}
	w.sentTimes(w.account.Messages(), 520)
}

// A session ends well before the server would end it, and the next one goes on.
func TestSessionEndsInTime(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{}, popsim.Config{Pipelining: true})
	all := w.receive(240)
	w.server.SetFault(func(r popsim.Request) popsim.Action {
		if r.Command == "RETR" {
			w.pass(12 * time.Second)
		}
		return popsim.Action{}
	})
	r := w.succeed(fetch.Report{Listed: 240, New: 240, Stored: 240})
	if r.Sessions != 4 { // 50 messages take ten minutes; after two portions it is time to go
		t.Errorf("%d sessions", r.Sessions)
	}
	w.holds(all...)
	w.sentTimes(all, 240)
}

// Should Gmail count as fetched what it sent in a session that broke, recent mode still has it.
func TestMailThatVanishes(t *testing.T) {
	boxes(t, func(t *testing.T, box string) {
		w := newGmail(t, popsim.GmailBox{Knobs: popsim.Knobs{PopOnRETR: true}}, popsim.Config{Pipelining: true}, box, "policy: delete")
		all := w.receive(120)
		w.server.SetFault(popsim.InSession(1, popsim.On("RETR", 70, popsim.HangUpInBody(5))))
		w.run()
		w.mend()
		w.run()
		w.holds(all...)
		w.quiet(w.run())
	})
}

// What is not even in recent mode is told of once.
func TestMailThatVanishesForGood(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{Knobs: popsim.Knobs{PopOnRETR: true}}, popsim.Config{})
	w.pass(24 * time.Hour)
	all := w.receive(1000) // over six weeks
	w.server.SetFault(popsim.InSession(1, popsim.On("RETR", 20, popsim.HangUpInBody(5))))
	w.run()
	w.mend()
	w.run()
	w.holds(slices.Delete(slices.Clone(all), 19, 20)...)
	if !strings.Contains(w.log.String(), "listed no more, not even among the last 30 days") {
		t.Error("the log does not tell")
	}
	lost, err := w.ledger.Failures("joe")
	w.must(err)
	if len(lost) != 1 || lost[0].Reason != ledger.Vanished || !lost[0].NextAt.IsZero() {
		t.Errorf("status tells of %+v", lost)
	}
	w.quiet(w.run())
	w.account.SaveSettings(popsim.AllMail, "")
	w.run()
	w.holds(all...)
	if lost, err = w.ledger.Failures("joe"); err != nil || len(lost) != 0 {
		t.Errorf("after it came status tells of %+v, %v", lost, err)
	}
}

// Recent mode lists everything each time: it is known by its UID, also when it was stored in normal mode and with other sizes.
func TestRecentMode(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{Knobs: popsim.Knobs{DeleEffect: popsim.DeleTrashes}}, popsim.Config{})
	all := w.receive(40)
	w.succeed(fetch.Report{Listed: 40, New: 40, Stored: 40})
	w.set("recent", "true")
	w.succeed(fetch.Report{Listed: 40})
	w.account.Gmail.Knobs.CountLF = true
	w.succeed(fetch.Report{Listed: 40})
	fresh := w.receive(2)
	w.succeed(fetch.Report{Listed: 42, New: 2, Stored: 2})
	w.set("recent", "")
	w.succeed(fetch.Report{Listed: 2})
	w.holds(append(all, fresh...)...)
	if c := w.account.Counts(); c.Trash > 0 {
		t.Errorf("%+v", c)
	}
}

// The daily limit holds over 24 hours, whatever ends in between, and the run that reaches it ends well.
func TestDailyLimit(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{}, popsim.Config{}, "daily_limit: 100KB")
	var all []popsim.Message
	for i := range 24 {
		m := popsim.Message{Received: w.clock().Add(time.Duration(i-50) * time.Minute), Body: fmt.Appendf(nil, "Subject: %d\r\n\r\n%s\r\n", i, strings.Repeat("x", 9980))}
		m.UID = w.account.Deliver(m)
		all = append(all, m)
	}
	r := w.succeed(fetch.Report{Listed: 24, New: 10, Stored: 10, Skipped: 14, Left: 14})
	if wait := r.LimitedUntil.Sub(w.clock()); wait < 24*time.Hour || wait > 24*time.Hour+5*time.Minute {
		t.Errorf("limited for %s", wait)
	}
	w.open() // as after a restart
	sessions := w.account.Sessions()
	for range 3 {
		w.pass(7 * time.Hour)
		w.succeed(fetch.Report{Held: true})
	}
	if w.account.Sessions() != sessions {
		t.Error("logged in with nothing to be had")
	}
	w.pass(3*time.Hour + 5*time.Minute)
	w.succeed(fetch.Report{Listed: 14, New: 10, Stored: 10, Skipped: 4, Left: 4})
	w.set("daily_limit", "200KB") // whoever changes it need not wait
	w.succeed(fetch.Report{Listed: 4, New: 4, Stored: 4})
	w.holds(all...)
	w.sentTimes(all, 24)
}

// What was booked before a crash counts, though it may not have come.
func TestDailyLimitOverACrash(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{}, popsim.Config{}, "daily_limit: 50KB")
	w.must(w.ledger.Enroll("joe", w.box))
	w.must(w.ledger.AddTraffic("joe", w.clock().Add(-time.Hour), 45_000))
	m := popsim.Message{Received: w.clock().Add(-time.Minute), Body: []byte(strings.Repeat("x", 9998) + "\r\n")}
	w.account.Deliver(m)
	w.succeed(fetch.Report{Listed: 1, Skipped: 1, Left: 1})
	w.pass(24 * time.Hour)
	w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1})
	w.holds(m)
}

// A message beyond the whole limit is fetched on a day on which nothing else was.
func TestMessageBeyondTheDailyLimit(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{}, popsim.Config{}, "daily_limit: 5KB")
	m := popsim.Message{Received: w.clock().Add(-time.Minute), Body: []byte(strings.Repeat("x", 9998) + "\r\n")}
	w.account.Deliver(m)
	w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1})
	w.holds(m)
}

// The server's own limits are told from a refused password, hold the account for an hour and then longer, and pass.
func TestOverQuota(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{}, popsim.Config{DailyOctets: 5_000, Pipelining: true})
	all := w.receive(300)
	r := w.run()
	if fetch.KindOf(r.Err) != fetch.Temporary || !strings.Contains(r.Err.Error(), "exceeded") {
		t.Fatal(r.Err)
	}
	sessions := w.account.Sessions()
	w.pass(50 * time.Minute)
	w.fail(fetch.Temporary, fetch.Report{Held: true})
	if w.account.Sessions() != sessions {
		t.Error("logged in while suspended")
	}
	for range 10 {
		w.pass(25 * time.Hour)
		w.run()
	}
	w.holds(all...)
}

// A window of stored mail is taken once more little by little, where sessions break before they end.
func TestFullWindowWhereSessionsBreak(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{}, popsim.Config{Pipelining: true})
	all := w.receive(300)
	w.server.SetFault(popsim.On("QUIT", 0, popsim.HangUp()))
	w.run()
	if n := w.summary().Messages; n != 250 {
		t.Fatalf("%d messages", n)
	}
	w.server.SetFault(func(r popsim.Request) popsim.Action {
		if r.Command == "RETR" && r.Nth == 60 {
			return popsim.HangUp()
		}
		return popsim.Action{}
	})
	for range 3 {
		w.pass(time.Hour)
		w.run()
	}
	w.holds(all...)
}

// Whatever is the case with Gmail, and whatever goes wrong: in the end everything that Gmail offered is here once, and
// nothing was taken out of its window that is not.
func TestGmailAnyTroubleEndsWell(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		on := func(name string) bool { return rapid.Bool().Draw(t, name) }
		knobs := popsim.Knobs{PopOnRETR: on("pop on RETR"), TopPops: on("TOP pops"), RsetUndoesRetr: on("RSET undoes"), RecentPops: on("recent pops"),
			WindowCuts: on("window cuts"), CountLF: on("count LF"), NoPipelining: on("no pipelining"), QuotaHangsUp: on("quota hangs up"),
			DeleEffect: rapid.SampledFrom([]popsim.DeleEffect{popsim.DelePops, popsim.DeleIgnored, popsim.DeleDisposes, popsim.DeleTrashes}).Draw(t, "DELE")}
		disposition := rapid.SampledFrom([]popsim.Disposition{popsim.LeaveInInbox, popsim.MarkRead, popsim.Archive, popsim.Trash}).Draw(t, "disposition")
		policy := rapid.SampledFrom([]string{"keep", "mark-read", "archive", "delete"}).Draw(t, "policy")
		if knobs.PopOnRETR { // what the server throws away before it is here, nobody can fetch
			disposition, knobs.DeleEffect = popsim.LeaveInInbox, popsim.DelePops
		}
		box := rapid.SampledFrom([]string{"maildir: mail", "mbox: mail"}).Draw(t, "box")
		w := newGmail(t, popsim.GmailBox{Disposition: disposition, Knobs: knobs},
			popsim.Config{Pipelining: true}, box, "policy: "+policy)
		offered := map[string]popsim.Message{}
		for range rapid.IntRange(1, 4).Draw(t, "runs") {
			for _, m := range w.receive(rapid.SampledFrom([]int{0, 1, 1, 40, 260}).Draw(t, "messages")) {
				offered[m.UID] = m
			}
			if rapid.IntRange(0, 5).Draw(t, "saved again") == 0 {
				w.account.SaveSettings(popsim.AllMail, "")
			}
			w.server.SetFault(popsim.FirstOf(drawFault(t, func() {}), drawFault(t, func() {})))
			w.run()
			if !knobs.PopOnRETR && knobs.DeleEffect != popsim.DeleTrashes {
				w.nothingPoppedUnstored()
			}
			w.must(w.ledger.Lift("joe"))
			w.pass(time.Duration(rapid.IntRange(0, 90).Draw(t, "minutes")) * time.Minute)
		}
		w.mend()
		for range 7 {
			w.pass(25 * time.Hour)
			w.must(w.ledger.Lift("joe"))
			w.run()
		}
		var all []popsim.Message
		for _, m := range offered {
			all = append(all, m)
		}
		w.holds(all...)
	})
}

// nothingPoppedUnstored holds that every message that Gmail lists no more is in the mailbox.
func (w *world) nothingPoppedUnstored() {
	w.Helper()
	here := map[string]bool{}
	for _, text := range w.mail(w.box) {
		here[text] = true
	}
	for _, m := range w.account.Messages() {
		if m.Popped && !here[string(m.Stored())] {
			w.Fatalf("message %s is popped and not stored", m.UID)
		}
	}
}

// A server that wants minutes between two logins gets them: each run takes a window, and none of them fails for it.
func TestLoginDelay(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{Window: 20, Knobs: popsim.Knobs{EnforceLoginDelay: true}}, popsim.Config{})
	all := w.receive(50)
	for _, n := range []int{20, 20, 10} {
		w.succeed(fetch.Report{Listed: n, New: n, Stored: n})
		w.pass(15 * time.Minute)
	}
	w.holds(all...)
	w.quiet(w.run())
}

// What is left on the server stays in the window; when nothing else is in it, somebody has to know.
func TestWindowOfWhatIsTooLarge(t *testing.T) {
	for limit, full := range map[string]bool{"50": false, "10": true} {
		w := newGmail(t, popsim.GmailBox{}, popsim.Config{}, "max_message_size: "+limit)
		w.receive(251)
		if w.run(); strings.Contains(w.log.String(), "window is full") != full {
			t.Errorf("with a limit of %s octets: %s", limit, w.log)
		}
	}
}
