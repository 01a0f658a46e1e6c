package fetch_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// lacks is a server that does not know these commands and does not announce them.
func lacks(commands ...string) popsim.Fault {
	return func(r popsim.Request) popsim.Action {
		switch {
		case len(commands) == 0:
		case slices.Contains(commands, r.Command):
			return popsim.Refuse("unknown command")
		case r.Command == "CAPA":
			return popsim.Rewrite(func(line string) string {
				if slices.Contains(commands, line) {
					return ""
				}
				return line
			})
		}
		return popsim.Action{}
	}
}

// withoutUIDL runs a test against servers that have no UIDL, with and without TOP, and without CAPA to say so.
func withoutUIDL(t *testing.T, test func(t *testing.T, lacking []string)) {
	t.Helper()
	for _, lacking := range [][]string{{"UIDL"}, {"UIDL", "CAPA"}, {"UIDL", "TOP"}, {"UIDL", "TOP", "CAPA"}} {
		t.Run("without "+strings.Join(lacking, " and "), func(t *testing.T) {
			t.Parallel()
			test(t, lacking)
		})
	}
}

func (w *world) sent() (n int) {
	seen := map[string]bool{}
	for _, m := range w.account.Messages() {
		if !seen[m.UID] {
			n += w.account.Retrieved(m.UID)
		}
		seen[m.UID] = true
	}
	return n
}

// Without UIDL each message is new to an account that deletes what it fetched, also one that is the same as an earlier one.
func TestDeleteWithoutUIDL(t *testing.T) {
	withoutUIDL(t, func(t *testing.T, lacking []string) {
		boxes(t, func(t *testing.T, box string) {
			w := newWorld(t, popsim.Config{Pipelining: true}, box, "policy: delete")
			w.server.SetFault(lacks(lacking...))
			a, b := w.deliver("a", "1"), w.deliver("b", "2")
			w.account.Deliver(b)
			w.succeed(fetch.Report{Listed: 3, New: 3, Stored: 3, Deleted: 3})
			w.left()
			w.holds(a, b, b)
			w.pass(time.Minute)
			w.succeed(fetch.Report{})
			w.account.Deliver(b)
			c := w.deliver("c", "3")
			w.pass(time.Minute)
			w.succeed(fetch.Report{Listed: 2, New: 2, Stored: 2, Deleted: 2})
			w.left()
			w.holds(a, b, b, b, c)
			w.noLeftovers()
			if s := w.summary(); s.PendingDelete+s.HeldBack+s.SetAside > 0 {
				t.Errorf("%+v", s)
			}
		})
	})
}

// The end of the session that was to delete got lost: what was stored is not stored again, wherever it was lost, and it is
// deleted now. Without TOP only a look at the whole message tells.
func TestDeleteWithoutUIDLInterrupted(t *testing.T) {
	for name, fault := range map[string]popsim.Fault{
		"QUIT is refused":   popsim.On("QUIT", 0, popsim.Refuse("some deleted messages not removed")),
		"cut before QUIT":   popsim.On("QUIT", 0, popsim.HangUp()),
		"cut before DELE":   popsim.On("DELE", 1, popsim.HangUp()),
		"cut at the second": popsim.On("DELE", 2, popsim.HangUpUnanswered()),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			withoutUIDL(t, func(t *testing.T, lacking []string) {
				w := newWorld(t, popsim.Config{}, "policy: delete")
				a, b := w.deliver("a", "1"), w.deliver("b", "2")
				w.account.Deliver(b)
				w.server.SetFault(popsim.FirstOf(lacks(lacking...), fault))
				w.fail(fetch.Temporary, fetch.Report{Listed: 3, New: 3, Stored: 3, PendingDelete: 3})
				w.left("a", "b", "b")
				w.server.SetFault(lacks(lacking...))
				c := w.deliver("c", "3")
				w.pass(time.Minute)
				w.succeed(fetch.Report{Listed: 4, New: 1, Stored: 1, Deleted: 4})
				w.left()
				w.holds(a, b, b, c)
				w.pass(time.Minute)
				w.account.Deliver(a)
				w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1, Deleted: 1})
				w.holds(a, a, b, b, c)
			})
		})
	}
}

// The server deleted, and its answer got lost: the books are settled by the next listing that has mail, and an empty one
// settles nothing.
func TestDeleteWithoutUIDLAnswerLost(t *testing.T) {
	withoutUIDL(t, func(t *testing.T, lacking []string) {
		w := newWorld(t, popsim.Config{}, "policy: delete")
		a, b := w.deliver("a", "1"), w.deliver("b", "2")
		w.server.SetFault(popsim.FirstOf(lacks(lacking...), popsim.On("QUIT", 0, popsim.HangUpUnanswered())))
		w.fail(fetch.Temporary, fetch.Report{Listed: 2, New: 2, Stored: 2, PendingDelete: 2})
		w.left()
		w.server.SetFault(lacks(lacking...))
		w.pass(time.Minute)
		c := w.deliver("c", "3")
		w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1, Deleted: 1})
		w.holds(a, b, c)
		w.noLeftovers()
		w.pass(time.Minute)
		w.account.Deliver(c)
		w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1, Deleted: 1})
		w.holds(a, b, c, c)
	})
}

// The same, and then there is a message with the header and size of one that was deleted: it is another one.
func TestSameHeaderAfterAnswerLost(t *testing.T) {
	withoutUIDL(t, func(t *testing.T, lacking []string) {
		w := newWorld(t, popsim.Config{}, "policy: delete")
		a := w.deliver("a", "12.7 degrees")
		w.server.SetFault(popsim.FirstOf(lacks(lacking...), popsim.On("QUIT", 0, popsim.HangUpUnanswered())))
		w.fail(fetch.Temporary, fetch.Report{Listed: 1, New: 1, Stored: 1, PendingDelete: 1})
		w.left()
		w.server.SetFault(lacks(lacking...))
		w.pass(time.Minute)
		b := w.deliver("a", "13.1 degrees")
		w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1, Deleted: 1})
		w.left()
		w.holds(a, b)
	})
}

// A listing that seems empty for once does not make what is still to be deleted new.
func TestEmptyListingBetweenWithoutUIDL(t *testing.T) {
	withoutUIDL(t, func(t *testing.T, lacking []string) {
		w := newWorld(t, popsim.Config{}, "policy: delete")
		a, b := w.deliver("a", "1"), w.deliver("b", "2")
		w.server.SetFault(popsim.FirstOf(lacks(lacking...), popsim.On("QUIT", 0, popsim.HangUp())))
		w.fail(fetch.Temporary, fetch.Report{Listed: 2, New: 2, Stored: 2, PendingDelete: 2})
		w.server.SetFault(popsim.FirstOf(lacks(lacking...), popsim.On("STAT", 0, popsim.Raw("+OK 0 0\r\n"))))
		w.pass(time.Minute)
		w.run()
		w.server.SetFault(lacks(lacking...))
		w.pass(time.Minute)
		w.run()
		w.left()
		w.holds(a, b)
	})
}

// The line breaks over one message each time: the others are stored and deleted all the same.
func TestBrokenWithoutUIDL(t *testing.T) {
	withoutUIDL(t, func(t *testing.T, lacking []string) {
		boxes(t, func(t *testing.T, box string) {
			w := newWorld(t, popsim.Config{}, box, "policy: delete")
			a, b, c := w.deliver("a", "1"), w.deliver("b", "2"), w.deliver("c", "3")
			w.server.SetFault(popsim.FirstOf(lacks(lacking...), w.onUID("RETR", "b", popsim.HangUpInBody(3))))
			w.fail(fetch.Temporary, fetch.Report{Listed: 3, New: 3, Stored: 2, Failed: 1, Deleted: 2})
			w.left("b")
			w.holds(a, c)
			w.server.SetFault(lacks(lacking...))
			w.pass(time.Hour)
			w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1, Deleted: 1})
			w.left()
			w.holds(a, b, c)
		})
	})
}

// Another program deletes mail between two sessions of one run, and the numbers shift: no message is deleted that was never
// fetched, although its size is that of one that was.
func TestNumbersShiftWithoutUIDL(t *testing.T) {
	withoutUIDL(t, func(t *testing.T, lacking []string) {
		w := newWorld(t, popsim.Config{}, "policy: delete")
		a, b, c := w.deliver("a", "1"), w.deliver("b", "2"), w.deliver("c", "3")
		w.server.SetFault(popsim.FirstOf(lacks(lacking...),
			popsim.InSession(1, popsim.On("RETR", 2, popsim.HangUpInBody(3))),
			func(r popsim.Request) popsim.Action {
				if r.Session == 2 && r.Command == "CONNECT" {
					w.account.Remove("a")
				}
				return popsim.Action{}
			}))
		w.run()
		for range 3 {
			w.pass(time.Hour)
			w.run()
		}
		w.left()
		w.holds(a, b, c)
	})
}

// An account that keeps mail on a server without UIDL knows it by its headers.
func TestKeepWithoutUIDL(t *testing.T) {
	for _, lacking := range [][]string{{"UIDL"}, {"UIDL", "CAPA"}} {
		boxes(t, func(t *testing.T, box string) {
			w := newWorld(t, popsim.Config{Pipelining: true}, box)
			w.server.SetFault(lacks(lacking...))
			a, b := w.deliver("a", "1"), w.deliver("b", "2")
			w.account.Deliver(b)
			w.succeed(fetch.Report{Listed: 3, New: 3, Stored: 3})
			w.holds(a, b, b)
			w.pass(time.Minute)
			w.succeed(fetch.Report{Listed: 3})
			w.account.Deliver(b)
			c := w.deliver("c", "3")
			longer := popsim.Message{UID: "c", Body: append(slices.Clone(c.Body), "the header is the same, the size is not\r\n"...)}
			w.account.Deliver(longer)
			w.succeed(fetch.Report{Listed: 6, New: 3, Stored: 3})
			w.account.Remove("a")
			w.succeed(fetch.Report{Listed: 5})
			w.holds(a, b, b, b, c, longer)
			w.retrieved(map[string]int{"a": 1, "b": 3, "c": 2})
			w.set("policy", "delete")
			w.succeed(fetch.Report{Listed: 5, Deleted: 5})
			w.left()
			w.noLeftovers()
		})
	}
}

// delete_after works likewise.
func TestDeleteAfterWithoutUIDL(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "policy: delete", "delete_after: 2d")
	w.server.SetFault(lacks("UIDL"))
	a, b := w.deliver("a", "1"), w.deliver("b", "2")
	w.succeed(fetch.Report{Listed: 2, New: 2, Stored: 2})
	w.pass(47 * time.Hour)
	w.succeed(fetch.Report{Listed: 2})
	w.pass(time.Hour)
	w.succeed(fetch.Report{Listed: 2, Deleted: 2})
	w.left()
	w.holds(a, b)
	w.account.Deliver(a)
	w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1})
	w.holds(a, a, b)
}

// One header that the server does not give leaves that message out, and the run says so.
func TestOneHeaderIsRefused(t *testing.T) {
	w := newWorld(t, popsim.Config{Pipelining: true})
	a := w.deliver("a", "1")
	b := w.deliver("b", "2")
	w.server.SetFault(popsim.FirstOf(lacks("UIDL"), w.onUID("TOP", "b", popsim.Refuse("damaged"))))
	r := w.fail(fetch.Temporary, fetch.Report{Listed: 2, New: 1, Stored: 1, Skipped: 1})
	if !strings.Contains(r.Err.Error(), "1 messages no unique id") {
		t.Error(r.Err)
	}
	w.holds(a)
	w.fail(fetch.Temporary, fetch.Report{Listed: 2, Skipped: 1})
	w.server.SetFault(lacks("UIDL"))
	w.succeed(fetch.Report{Listed: 2, New: 1, Stored: 1})
	w.holds(a, b)
}

// A connection that breaks over a header, or a refusal for now, ends the run before anything is fetched.
func TestHeaderBreaks(t *testing.T) {
	for name, action := range map[string]popsim.Action{
		"cut": popsim.HangUp(), "cut in the header": popsim.HangUpInBody(3), "cut behind it": popsim.HangUpInBody(16), "later": popsim.Refuse("[SYS/TEMP] later"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, popsim.Config{})
			a, b := w.deliver("a", "1"), w.deliver("b", "2")
			w.server.SetFault(popsim.FirstOf(lacks("UIDL"), w.onUID("TOP", "b", action)))
			w.fail(fetch.Temporary, fetch.Report{})
			w.holds()
			w.server.SetFault(lacks("UIDL"))
			w.succeed(fetch.Report{Listed: 2, New: 2, Stored: 2})
			w.holds(a, b)
		})
	}
}

// Where copies stay on the server, and it gives nothing to know them by, nothing is fetched, and the user learns why.
func TestKeepWithoutUIDLAndTOP(t *testing.T) {
	for _, lacking := range [][]string{{"UIDL", "TOP"}, {"UIDL", "TOP", "CAPA"}} {
		for name, lines := range map[string][]string{
			"keep":          nil,
			"delete after":  {"policy: delete", "delete_after: 2d"},
			"from-now-on":   {"access: from-now-on"},
			"and deleting":  {"access: from-now-on", "policy: delete"},
			"a size limit":  {"max_message_size: 10"},
			"no pipelining": {"pipelining: off"},
		} {
			t.Run(fmt.Sprint(len(lacking), " ", name), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, popsim.Config{Pipelining: true}, lines...)
				w.deliverN(3)
				w.server.SetFault(lacks(lacking...))
				for range 2 {
					r := w.fail(fetch.Configuration, fetch.Report{})
					if text := r.Err.Error(); !strings.Contains(text, "no UIDL") || !strings.Contains(text, "no TOP") {
						t.Error(text)
					}
					w.pass(time.Hour)
				}
				w.left("0", "1", "2")
				w.quits(0)
				if n := w.sent(); n > 0 {
					t.Errorf("%d messages were fetched", n)
				}
				if _, err := os.Stat(w.box); err == nil {
					t.Error("the mailbox was made")
				}
				w.mend()
				if name == "keep" {
					w.succeed(fetch.Report{Listed: 3, New: 3, Stored: 3})
				}
			})
		}
	}
}

// A server that had UIDL, or says that it has, and refuses it now is not one without: nothing is taken for new.
func TestUIDLIsRefusedNow(t *testing.T) {
	for name, refused := range map[string]popsim.Fault{
		"announced":     popsim.On("UIDL", 0, popsim.Refuse("not now")),
		"for now":       popsim.On("UIDL", 0, popsim.Refuse("[SYS/TEMP] not now")),
		"no longer":     lacks("UIDL"),
		"without CAPA":  lacks("UIDL", "CAPA"),
		"and no TOP":    lacks("UIDL", "TOP"),
		"without a say": lacks("UIDL", "TOP", "CAPA"),
	} {
		for _, policy := range []string{"keep", "delete", "delete\n    delete_after: 2d"} {
			t.Run(name+", "+policy[:4], func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, popsim.Config{}, "policy: "+policy)
				a := w.deliver("a", "1")
				if policy == "delete" {
					w.fault("DELE", "a", popsim.Refuse("no"))
				}
				w.run()
				w.holds(a)
				b := w.deliver("b", "2")
				w.server.SetFault(refused)
				r := w.run()
				if fetch.KindOf(r.Err) != fetch.Temporary || r.New+r.Stored+r.Deleted > 0 {
					t.Fatalf("%+v", r)
				}
				w.left("a", "b")
				w.holds(a)
				w.mend()
				w.run()
				w.holds(a, b)
				w.retrieved(map[string]int{"a": 1, "b": 1})
			})
		}
	}
}

// A server that has UIDL since it was mended lists by it what is known by its header: nothing is stored twice.
func TestUIDLComes(t *testing.T) {
	for _, n := range []int{3, 25} {
		for _, policy := range []string{"keep", "delete\n    delete_after: 2d"} {
			t.Run(fmt.Sprint(n, " ", policy[:4]), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, popsim.Config{}, "policy: "+policy)
				w.deliverN(n)
				all := w.account.Messages()
				w.server.SetFault(lacks("UIDL", "CAPA"))
				w.succeed(fetch.Report{Listed: n, New: n, Stored: n})
				w.mend()
				x := w.deliver("x", "new")
				w.succeed(fetch.Report{Listed: n + 1, New: 1, Stored: 1})
				w.succeed(fetch.Report{Listed: n + 1})
				w.holds(append(all, x)...)
			})
		}
	}
}

// Killed between the rename and the ledger, on a server that gives nothing to know a message by but itself: it is there once.
func TestKilledWithoutUIDLAndTOP(t *testing.T) {
	boxes(t, func(t *testing.T, box string) {
		w := newWorld(t, popsim.Config{}, box, "policy: delete")
		w.server.SetFault(lacks("UIDL", "TOP"))
		x := w.deliver("x", "0")
		w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1, Deleted: 1})
		a, b := w.deliver("a", "1"), w.deliver("b", "2")
		named := []popsim.Message{a, b}
		for i := range named {
			named[i].UID = fmt.Sprintf(" once of that session %d", i+1)
		}
		w.storeByHand(named...)
		w.pass(time.Minute)
		w.succeed(fetch.Report{Listed: 2, Deleted: 2})
		w.left()
		w.holds(x, a, b)
		w.noLeftovers()
	})
}

// A server that announces UIDL and refuses it in the very first run is not taken for one without, either.
func TestUIDLIsRefusedAtFirst(t *testing.T) {
	for _, policy := range []string{"keep", "delete"} {
		w := newWorld(t, popsim.Config{}, "policy: "+policy)
		w.deliverN(2)
		w.server.SetFault(popsim.On("UIDL", 0, popsim.Refuse("not now")))
		w.fail(fetch.Temporary, fetch.Report{})
		w.left("0", "1")
		w.retrieved(map[string]int{"0": 0, "1": 0})
	}
}

// What a server refuses to hand out may be a message whose deletion it did not confirm: it is not gone because the others came.
func TestRefusedAfterLostAnswerWithoutUIDL(t *testing.T) {
	withoutUIDL(t, func(t *testing.T, lacking []string) {
		w := newWorld(t, popsim.Config{}, "policy: delete")
		a := w.deliver("a", "1")
		w.server.SetFault(popsim.FirstOf(lacks(lacking...), popsim.On("QUIT", 0, popsim.HangUp())))
		w.run()
		b := w.deliver("b", "22")
		w.server.SetFault(popsim.FirstOf(lacks(lacking...), w.onUID("RETR", "a", popsim.Refuse("not now"))))
		w.run()
		w.server.SetFault(lacks(lacking...))
		w.pass(time.Hour)
		w.run()
		w.holds(a, b)
		w.left()
	})
}
