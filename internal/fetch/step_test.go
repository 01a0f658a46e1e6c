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
