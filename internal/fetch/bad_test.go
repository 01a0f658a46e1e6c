package fetch_test

import (
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// A message in which the server falls silent costs its timeout and no other message.
func TestMessageThatStalls(t *testing.T) {
	for name, action := range map[string]popsim.Action{"at once": popsim.Stall(), "in its body": popsim.StallInBody(10), "before the dot": popsim.StallInBody(1 << 20)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, popsim.Config{}, "policy: delete", "timeout: 1s")
			a, b, c := w.deliver("a", "1"), w.deliver("b", "2"), w.deliver("c", "3")
			w.fault("RETR", "b", action)
			r := w.fail(fetch.Temporary, fetch.Report{Listed: 3, New: 3, Stored: 2, Failed: 1, Deleted: 2})
			if text := r.Err.Error(); !strings.Contains(text, `receiving message "b" of `) {
				t.Error(text)
			}
			w.left("b")
			w.holds(a, c)
			failures, err := w.ledger.Failures("joe")
			if err != nil || len(failures) != 1 || failures[0].UID != "b" || failures[0].Reason != ledger.Broken || failures[0].NextAt.IsZero() {
				t.Errorf("%+v, %v", failures, err)
			}
			w.mend()
			w.pass(time.Hour)
			w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1, Deleted: 1})
			w.holds(a, b, c)
		})
	}
}

// What was set aside tells why, with UID and size, and is taken up again, all of it or by UID; what is too large is not.
func TestRetry(t *testing.T) {
	boxes(t, func(t *testing.T, box string) {
		w := newWorld(t, popsim.Config{Pipelining: true}, box, "policy: delete", "max_message_size: 1KB")
		a, b, c := w.deliver("a", "1"), w.deliver("b", "2"), w.deliver("c", "3")
		w.deliver("large", strings.Repeat("x\r\n", 1000))
		w.server.SetFault(popsim.FirstOf(w.onUID("RETR", "a", popsim.Refuse("damaged")), w.onUID("RETR", "b", popsim.Refuse("damaged too"))))
		w.succeed(fetch.Report{Listed: 4, New: 3, Stored: 1, Failed: 2, Skipped: 1, Deleted: 1})
		for range 4 {
			w.pass(20 * time.Minute)
			w.succeed(fetch.Report{Listed: 3, New: 2, Failed: 2, Skipped: 1})
		}
		w.pass(1000 * time.Hour)
		w.succeed(fetch.Report{Listed: 3, Skipped: 3})
		if n := w.summary().SetAside; n != 3 {
			t.Errorf("%d are set aside, want 3", n)
		}
		failures, err := w.ledger.Failures("joe")
		if err != nil || len(failures) != 3 || failures[0].UID != "a" || failures[0].ListedSize != a.Octets() || failures[0].Attempts != 5 ||
			!failures[0].NextAt.IsZero() || !strings.Contains(failures[0].Error, "damaged") {
			t.Errorf("%+v, %v", failures, err)
		}
		w.mend()
		if n, err := w.ledger.Retry("joe", []string{"b", "large", "unknown"}); n != 1 || err != nil {
			t.Errorf("%d are taken up, %v", n, err)
		}
		w.succeed(fetch.Report{Listed: 3, New: 1, Stored: 1, Skipped: 2, Deleted: 1})
		w.left("a", "large")
		if n, err := w.ledger.Retry("joe", nil); n != 1 || err != nil {
			t.Errorf("%d are taken up, %v", n, err)
		}
		w.succeed(fetch.Report{Listed: 2, New: 1, Stored: 1, Skipped: 1, Deleted: 1})
		w.left("large")
		w.holds(a, b, c)
	})
}

// Taken up again and failing again, a message has all its tries again.
func TestRetryThatFails(t *testing.T) {
	w := newWorld(t, popsim.Config{})
	w.deliver("a", "1")
	w.fault("RETR", "a", popsim.Refuse("damaged"))
	for range 2 {
		for range 5 {
			w.pass(20 * time.Minute)
			w.succeed(fetch.Report{Listed: 1, New: 1, Failed: 1})
		}
		w.pass(20 * time.Minute)
		w.succeed(fetch.Report{Listed: 1, Skipped: 1})
		if n, err := w.ledger.Retry("joe", []string{"a"}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
}

// A message that was refused and then breaks the connection begins to count anew: it may be the line's fault this time.
func TestOneReasonThenAnother(t *testing.T) {
	w := newWorld(t, popsim.Config{})
	w.deliver("a", "1")
	w.fault("RETR", "a", popsim.Refuse("damaged"))
	for range 4 {
		w.pass(20 * time.Minute)
		w.run()
	}
	w.pass(20 * time.Minute)
	w.fault("RETR", "a", popsim.HangUpInBody(3))
	w.run()
	failures, err := w.ledger.Failures("joe")
	if err != nil || len(failures) != 1 || failures[0].Reason != ledger.Broken || failures[0].NextAt.IsZero() {
		t.Errorf("%+v, %v", failures, err)
	}
}
