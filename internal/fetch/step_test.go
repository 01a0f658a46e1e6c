package fetch_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// A server that counts each CRLF as one octet counts a bare LF as one, too: its sizes are right.
func TestSizesWithBareLFs(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{Knobs: popsim.Knobs{CountLF: true}}, popsim.Config{Pipelining: true})
	var all []popsim.Message
	for i, text := range []string{"one\r\n", "bare\nLFs\n\n", "\n\r\n", "\r\r\n\r", "two\r\n"} {
		m := popsim.Message{Received: w.clock().Add(time.Duration(i-9) * time.Hour), Body: fmt.Appendf(nil, "Subject: %d\r\n\r\n%s\r\n", i, text)}
		w.account.Deliver(m)
		all = append(all, m)
	}
	if r := w.succeed(fetch.Report{Listed: 5, New: 5, Stored: 5}); r.Sessions != 2 { // the second shows that there is no more
		t.Errorf("%d sessions", r.Sessions)
	}
	w.holds(all...)
}

// A server whose sizes are wrong is asked one question at a time, also by the next runs: where it wants time between two
// logins, or hides what it sent in sessions that broke, no run would get any further.
func TestWrongSizesAreRemembered(t *testing.T) {
	for _, knobs := range []popsim.Knobs{{EnforceLoginDelay: true}, {PopOnRETR: true}} {
		w := newGmail(t, popsim.GmailBox{Window: 100, Knobs: knobs}, popsim.Config{Pipelining: true, ListedSize: popsim.WrongBy(1)})
		all := w.receive(240) // of ten days: recent mode has them, too
		for range 5 {
			w.run()
			w.pass(25 * time.Hour)
		}
		w.holds(all...)
		if broken := w.account.Sessions() - w.account.Quits(); broken != 1 {
			t.Errorf("%d sessions broke", broken)
		}
	}
}

// Who fetches once a day comes by what vanished, too, where Gmail wants time between two logins.
func TestRescueOnceADay(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{Knobs: popsim.Knobs{PopOnRETR: true, EnforceLoginDelay: true}}, popsim.Config{Pipelining: true})
	all := w.receive(120)
	w.server.SetFault(popsim.InSession(1, popsim.On("RETR", 70, popsim.HangUpInBody(5))))
	w.run()
	w.mend()
	for range 3 {
		w.pass(25 * time.Hour)
		w.run()
	}
	w.holds(all...)
}

// One answer too many, among messages of equal length: it shows at the third, and what came before counts no more, nor what
// seemed to be here already.
func TestAnswerTooMany(t *testing.T) {
	for name, after := range map[string]string{"and no more": "", "and nonsense": "nonsense\r\n"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, popsim.Config{Pipelining: true}, "policy: delete")
			a, b, c := w.deliver("a", "1"), w.deliver("b", "2"), w.deliver("c", "this one is longer")
			answer := "+OK\r\n" + string(a.Body) + ".\r\n"
			w.server.SetFault(popsim.InSession(1, popsim.On("RETR", 1, popsim.Raw(answer+answer+after))))
			w.run()
			w.mend()
			w.run()
			w.boxHolds(w.box, a, b, c)
			w.left()
		})
	}
	t.Run("and what is here already", func(t *testing.T) {
		w := newWorld(t, popsim.Config{Pipelining: true}, "mbox: mail", "policy: delete", "delete_after: 30d")
		a, b := w.deliver("a", "1"), w.deliver("b", "2")
		w.run()
		w.loseLedger()
		w.set("delete_after", "")
		c := w.deliver("c", "this is new")
		answer := "+OK\r\n" + string(a.Body) + ".\r\n"
		w.server.SetFault(popsim.InSession(2, popsim.On("RETR", 1, popsim.Raw(answer+answer))))
		w.run()
		w.mend()
		w.run()
		w.boxHolds(w.box, a, b, c)
		w.left()
	})
}

// The same before a batch is full: it is not committed before it is known to hold what it seems to.
func TestAnswerTooManyInAFullBatch(t *testing.T) {
	w := newWorld(t, popsim.Config{Pipelining: true}, "policy: delete")
	var all []popsim.Message
	for i := range 1200 {
		all = append(all, w.deliver(fmt.Sprint(1000+i), "all of one length"))
	}
	answer := "+OK\r\n" + string(all[699].Body) + ".\r\n"
	w.server.SetFault(popsim.InSession(1, popsim.FirstOf(popsim.On("RETR", 700, popsim.Raw(answer+answer)),
		func(r popsim.Request) popsim.Action {
			if r.Command == "RETR" && r.Message > 100 {
				w.pass(time.Second) // a batch grows old
			}
			return popsim.Action{}
		})))
	w.run()
	w.mend()
	w.run()
	w.boxHolds(w.box, all...)
	w.left()
}
