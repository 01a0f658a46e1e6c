package fetch_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// letters delivers n messages, each with a header of its own, and returns them.
func (w *world) letters(n int) []popsim.Message {
	for i := range n {
		w.account.Deliver(popsim.Message{UID: fmt.Sprintf("old%d", i), Body: fmt.Appendf(nil, "Subject: letter %d\r\n\r\nDear number %d,\r\n%s", i, i, strings.Repeat("text\r\n", i%5))})
	}
	return w.account.Messages()
}

// migrate gives all messages on the server new UIDs, in another order.
func (w *world) migrate(prefix string) {
	all := w.account.Messages()
	for _, m := range all {
		w.account.Remove(m.UID)
	}
	slices.Reverse(all)
	for _, m := range all {
		m.UID = prefix + m.UID
		w.account.Deliver(m)
	}
}

// transferred is how many messages were sent whole, of those on the server now.
func (w *world) transferred() (n int) {
	seen := map[string]bool{}
	for _, m := range w.account.Messages() {
		if !seen[m.UID] {
			n += w.account.Retrieved(m.UID)
		}
		seen[m.UID] = true
	}
	return n
}

// The mail moved to a server that lists it by new UIDs: it is known by header and size and not fetched again, what is new is
// fetched, and from then on the new UIDs are the known ones.
func TestMovedServer(t *testing.T) {
	boxes(t, func(t *testing.T, box string) {
		w := newWorld(t, popsim.Config{Pipelining: true}, box)
		all := w.letters(25)
		w.account.Deliver(all[24]) // two that are the same
		all = w.account.Messages()
		w.succeed(fetch.Report{Listed: 26, New: 26, Stored: 26})
		w.migrate("new-")
		x, y := w.deliver("x", "1"), w.deliver("y", "2")
		all = append(all, x, y)
		w.succeed(fetch.Report{Listed: 28, New: 2, Stored: 2})
		if n := w.transferred(); n != 2 {
			t.Errorf("%d messages were fetched, want 2", n)
		}
		if !strings.Contains(w.log.String(), "seems to have changed them all") || !strings.Contains(w.log.String(), "recognised=26") {
			t.Error("the log does not tell of it")
		}
		w.holds(all...)
		w.succeed(fetch.Report{Listed: 28})
		if has, err := w.ledger.HasMoved("joe"); has || err != nil {
			t.Error("the move has not ended", err)
		}
		w.migrate("newer-") // and once more
		w.succeed(fetch.Report{Listed: 28})
		if n := w.transferred(); n != 0 {
			t.Errorf("%d messages were fetched, want none", n)
		}
		w.holds(all...)
		if n := len(w.mail(w.box)); n != 28 {
			t.Error(n)
		}
	})
}

// The new server counts octets differently, has no TOP, or the connection breaks: nothing is stored twice, and nothing is left out.
func TestMovedServerInTrouble(t *testing.T) {
	for name, test := range map[string]struct {
		size  func(popsim.Message) int64
		fault popsim.Fault
		runs  int
	}{
		"other sizes":            {popsim.WrongBy(3), nil, 1},
		"no TOP":                 {nil, lacks("TOP"), 1},
		"no TOP, no CAPA":        {nil, lacks("TOP", "CAPA"), 1},
		"cut over a header":      {nil, popsim.On("TOP", 7, popsim.HangUp()), 2},
		"cut in a header":        {nil, popsim.On("TOP", 7, popsim.HangUpInBody(10)), 2},
		"a header is refused":    {nil, popsim.On("TOP", 7, popsim.Refuse("no")), 1},
		"headers later":          {nil, popsim.On("TOP", 7, popsim.Refuse("[SYS/TEMP] later")), 2},
		"cut after the headers":  {popsim.WrongBy(3), popsim.On("RETR", 0, popsim.Refuse("[SYS/TEMP] later")), 2},
		"cut in the middle":      {popsim.WrongBy(3), popsim.On("RETR", 12, popsim.Refuse("[SYS/TEMP] later")), 2},
		"cut between two bodies": {popsim.WrongBy(3), popsim.On("RETR", 12, popsim.HangUp()), 2},
		"cut in a body":          {popsim.WrongBy(3), popsim.On("RETR", 12, popsim.HangUpInBody(20)), 2},
		"no TOP, cut in a body":  {nil, popsim.FirstOf(lacks("TOP"), popsim.On("RETR", 12, popsim.HangUpInBody(20))), 2},
	} {
		kinds := []string{"mbox: mail"}
		if name == "no TOP" || name == "cut in a body" {
			kinds = append(kinds, "maildir: mail") // whose files cost more time
		}
		for _, box := range kinds {
			t.Run(name+" "+box[:4], func(t *testing.T) {
				t.Parallel()
				moved := false
				w := newWorld(t, popsim.Config{ListedSize: func(m popsim.Message) int64 {
					if test.size != nil && moved {
						return test.size(m)
					}
					return m.Octets()
				}}, box)
				all := w.letters(25)
				w.succeed(fetch.Report{Listed: 25, New: 25, Stored: 25})
				w.migrate("new-")
				moved = true
				x := w.deliver("x", "1")
				all = append(all, x)
				w.server.SetFault(test.fault)
				if r := w.run(); (r.Err == nil) != (test.runs == 1) {
					t.Fatalf("%+v", r)
				}
				w.mend()
				w.pass(time.Hour)
				for range test.runs {
					if r := w.run(); r.Err != nil {
						t.Fatal(r.Err)
					}
				}
				w.holds(all...)
				w.succeed(fetch.Report{Listed: 26})
			})
		}
	}
}

// A header and a size do not prove that the server's copy is one that is here: before it is deleted for that, it is fetched.
func TestMovedServerThatIsToBeEmptied(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "policy: delete", "delete_after: 2d")
	all := w.letters(25)
	w.succeed(fetch.Report{Listed: 25, New: 25, Stored: 25})
	w.pass(24 * time.Hour)
	w.migrate("new-")
	w.account.Remove("new-old7")
	other := popsim.Message{UID: "new-old7", Body: slices.Clone(all[7].Body)}
	other.Body[len(other.Body)-3] = 'X' // the header and the size of one that is here
	w.account.Deliver(other)
	w.succeed(fetch.Report{Listed: 25, New: 1, Stored: 1})
	w.holds(append(all, other)...)
	for _, m := range w.account.Messages() {
		w.retrieved(map[string]int{m.UID: 1})
	}
	w.pass(24 * time.Hour)
	w.succeed(fetch.Report{Listed: 25, Deleted: 24})
	w.left("new-old7")
	w.pass(24 * time.Hour)
	w.succeed(fetch.Report{Listed: 1, Deleted: 1})
	w.left()
	w.holds(append(all, other)...)
}

// With policy delete nothing is known that should be listed: new UIDs mean new mail.
func TestMovedServerThatIsEmpty(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "policy: delete")
	all := w.letters(25)
	w.succeed(fetch.Report{Listed: 25, New: 25, Stored: 25, Deleted: 25})
	for _, m := range all {
		m.UID = "new-" + m.UID
		w.account.Deliver(m)
	}
	w.succeed(fetch.Report{Listed: 25, New: 25, Stored: 25, Deleted: 25})
	w.holds(append(all, all...)...)
}

// Where mail is not to be listed again as a rule, or too little is known or listed to tell, or some of it is known, other UIDs
// are other messages.
func TestNotMoved(t *testing.T) {
	for name, test := range map[string]struct {
		known, listed int
		one           bool // of the known is listed still
		lines         []string
	}{
		"few are known":  {19, 25, false, nil},
		"few are listed": {25, 19, false, nil},
		"one is listed":  {25, 25, true, nil},
		"Gmail":          {25, 25, false, []string{"provider: gmail", "tls: implicit"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, popsim.Config{Pipelining: true}, test.lines...)
			if name == "Gmail" {
				w.account.ChangePassword(strings.ReplaceAll(password, " ", "")) // as in app passwords
			}
			all := w.letters(test.known)
			w.succeed(fetch.Report{Listed: test.known, New: test.known, Stored: test.known})
			for _, m := range all[min(test.listed, test.known):] {
				w.account.Remove(m.UID)
			}
			again := w.account.Messages()
			w.migrate("new-")
			for i := len(again); i < test.listed; i++ {
				m := popsim.Message{UID: fmt.Sprint("more", i), Body: fmt.Appendf(nil, "Subject: more %d\r\n\r\n", i)}
				w.account.Deliver(m)
				again = append(again, m)
			}
			if test.one {
				w.account.Remove("new-old3")
				w.account.Deliver(all[3])
				again = slices.DeleteFunc(again, func(m popsim.Message) bool { return m.UID == "old3" })
			}
			w.succeed(fetch.Report{Listed: test.listed, New: len(again), Stored: len(again)})
			w.holds(append(all, again...)...)
			if strings.Contains(w.log.String(), "changed them all") {
				t.Error("it was taken for a move")
			}
		})
	}
}

// Of the messages that are known some are no longer here: they are fetched, since there is no header here to hold theirs
// against, but what the user has deleted does not come back.
func TestMovedServerAndMailGoneHere(t *testing.T) {
	boxes(t, func(t *testing.T, box string) {
		w := newWorld(t, popsim.Config{}, box)
		all := w.letters(25)
		w.succeed(fetch.Report{Listed: 25, New: 25, Stored: 25})
		w.discard(all[3], all[9])
		w.migrate("new-")
		r := w.run()
		if r.Err != nil || r.Listed != 25 {
			t.Fatalf("%+v", r)
		}
		w.succeed(fetch.Report{Listed: 25})
		kept := slices.DeleteFunc(slices.Clone(all), func(m popsim.Message) bool { return m.UID == "old3" || m.UID == "old9" })
		w.boxHolds(w.box, kept...)
		if n := w.summary().Messages; n != 25 {
			t.Errorf("the ledger knows %d messages, want 25", n)
		}
	})
}
