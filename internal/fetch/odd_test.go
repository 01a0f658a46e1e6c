package fetch_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// A listing that seems empty for once settles nothing: deletions that were never confirmed are sent when the messages are
// listed again, without another download.
func TestEmptyListingBetween(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "policy: delete", "pipelining: off")
	w.deliverN(3)
	w.server.SetFault(popsim.On("QUIT", 0, popsim.HangUp()))
	w.fail(fetch.Temporary, fetch.Report{Listed: 3, New: 3, Stored: 3, PendingDelete: 3})
	w.server.SetFault(popsim.On("STAT", 0, popsim.Raw("+OK 0 0\r\n")))
	w.succeed(fetch.Report{})
	w.mend()
	w.succeed(fetch.Report{Listed: 3, Deleted: 3})
	w.left()
	w.retrieved(map[string]int{"0": 1, "1": 1, "2": 1})
}

// A server that does not stuff a first line of a single dot seems to send an empty message, and then replies out of turn.
// Nothing of that is stored under any name, the others are fetched, and in the end the message is set aside.
func TestUnstuffedFirstLine(t *testing.T) {
	for _, pipelining := range []bool{true, false} {
		w := newWorld(t, popsim.Config{Pipelining: pipelining}, "policy: delete")
		a := w.deliver("a", "0")
		w.deliver("b", "the body of a message that begins with a dot")
		c, d := w.deliver("c", "1"), w.deliver("d", "2")
		w.fault("RETR", "b", popsim.Raw("+OK\r\n.\r\n+OK\r\nSubject: forged\r\n\r\n.\r\n"))
		w.fail(fetch.Temporary, fetch.Report{Listed: 4, New: 4, Stored: 3, Failed: 1, Deleted: 3})
		w.holds(a, c, d)
		for range 3 {
			w.pass(20 * time.Minute)
			w.fail(fetch.Temporary, fetch.Report{Listed: 1, New: 1, Failed: 1})
		}
		w.pass(20 * time.Minute)
		w.succeed(fetch.Report{Listed: 1, Skipped: 1})
		w.left("b")
		w.holds(a, c, d)
		if n := w.summary().SetAside; n != 1 {
			t.Errorf("%d messages set aside", n)
		}
	}
}

// A time to try again that lies years ahead came of a clock that went wrong: it is not waited for.
func TestRetryTimeOfAWrongClock(t *testing.T) {
	w := newWorld(t, popsim.Config{})
	w.pass(10 * 365 * 24 * time.Hour)
	w.deliver("a", "0")
	w.deliver("b", "1")
	w.fault("RETR", "b", popsim.Refuse("not now"))
	w.succeed(fetch.Report{Listed: 2, New: 2, Stored: 1, Failed: 1})
	w.mend()
	w.pass(-10 * 365 * 24 * time.Hour)
	w.succeed(fetch.Report{Listed: 2, New: 1, Stored: 1})
}

// Two accounts share an mbox, and the run of one was killed in mid-append: the other one finishes that append before it
// appends its own, so that nothing torn is left in between.
func TestKilledInAppendToASharedMbox(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "mbox: mail")
	a, b := w.deliver("a", strings.Repeat("text\r\n", 100)), w.deliver("b", "x")
	intent := w.storeByHand(a, b)
	w.must(os.Truncate(w.box, intent.Offset+intent.Length/2))
	ann := w.config()
	ann.Name = "ann"
	if r := w.fetcher.Run(w.Context(), ann, nil); r.Err != nil || r.Stored != 2 {
		t.Fatalf("%+v", r)
	}
	w.boxHolds(w.box, a, b, a, b)
	w.succeed(fetch.Report{Listed: 2})
	w.boxHolds(w.box, a, b, a, b)
	w.noLeftovers()
}
