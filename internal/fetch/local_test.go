package fetch_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// Whatever goes wrong on this side, the server is not told that mail was fetched, and keeps all that is not durable.
func TestLocalTrouble(t *testing.T) {
	for name, trouble := range map[string]func(w *world){
		"the mailbox is below a file": func(w *world) {
			w.must(os.WriteFile(filepath.Join(w.folder, "file"), nil, 0o600))
			w.lines[0] += "/../file/mail"
		},
		"the mailbox is of the other kind": func(w *world) {
			if w.line("mbox: ") != "" {
				w.must(os.Mkdir(w.box, 0o700))
			} else {
				w.must(os.WriteFile(w.box, nil, 0o600))
			}
		},
		"the state folder is gone":      func(w *world) { w.must(os.RemoveAll(w.state)) },
		"the locks folder is a file":    func(w *world) { w.must(os.WriteFile(filepath.Join(w.state, "locks"), nil, 0o600)) },
		"the ledger fails at the start": func(w *world) { w.must(w.ledger.Close()) },
		"the ledger fails meanwhile":    func(w *world) { w.server.SetFault(atRetr(2, func() { w.ledger.Close() })) },
		"the mailbox goes meanwhile": func(w *world) {
			w.server.SetFault(atRetr(2, func() {
				os.RemoveAll(w.box)
				os.RemoveAll(filepath.Join(w.state, "spool"))
				os.WriteFile(w.box, nil, 0o600)
				os.WriteFile(filepath.Join(w.state, "spool"), nil, 0o600)
			}))
		},
	} {
		for _, box := range []string{"maildir: mail", "mbox: mail"} {
			t.Run(name+" "+box[:4], func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, popsim.Config{}, box, "policy: delete")
				w.deliverN(3)
				trouble(w)
				r := w.run()
				if fetch.KindOf(r.Err) != fetch.Local || r.Stored > 0 || r.Deleted > 0 {
					t.Fatalf("%+v", r)
				}
				w.quits(0)
				w.left("0", "1", "2")
				if !strings.Contains(r.Err.Error(), w.folder) {
					t.Errorf("does not say where: %v", r.Err)
				}
			})
		}
	}
}

// The ledger failed between mailbox and memory: the next run finds the mail in place.
func TestLedgerFailsAfterTheMailbox(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "policy: delete")
	a, b := w.deliver("a", "1"), w.deliver("b", "2")
	w.server.SetFault(func(r popsim.Request) popsim.Action {
		if r.Command == "RETR" && r.Message == 2 {
			w.ledger.Close()
		}
		return popsim.Action{}
	})
	if r := w.run(); fetch.KindOf(r.Err) != fetch.Local {
		t.Fatal(r.Err)
	}
	w.mend()
	w.open()
	w.succeed(fetch.Report{Listed: 2, Deleted: 2})
	w.holds(a, b)
	w.retrieved(map[string]int{"a": 1, "b": 1})
}

// The status tells of a failed run, and forgets it after a good one.
func TestSummaryTellsOfFailure(t *testing.T) {
	w := newWorld(t, popsim.Config{})
	w.server.SetFault(popsim.On("STAT", 0, popsim.HangUp()))
	w.fail(fetch.Temporary, fetch.Report{})
	w.fail(fetch.Temporary, fetch.Report{})
	s := w.summary()
	if s.ConsecutiveFailures != 2 || !s.LastSuccess.IsZero() || !s.LastAttempt.Equal(w.clock()) || !strings.HasPrefix(s.LastError, "account joe: listing the messages: ") {
		t.Errorf("%+v", s)
	}
	w.mend()
	w.succeed(fetch.Report{})
	if s := w.summary(); s.ConsecutiveFailures != 0 || s.LastError != "" || !s.LastSuccess.Equal(w.clock()) {
		t.Errorf("%+v", s)
	}
}

// A mistake of ours is an error of one account, not the end of the program.
func TestPanicIsAnError(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "policy: delete")
	a, b := w.deliver("a", "1"), w.deliver("b", "2")
	done := false
	r := w.check(w.fetcher.Run(t.Context(), w.config(), func(p fetch.Progress) {
		if p.Messages == 1 && !done {
			done = true
			panic("a mistake")
		}
	}))
	if fetch.KindOf(r.Err) != fetch.Bug || !strings.Contains(r.Err.Error(), "report it") {
		t.Fatal(r.Err)
	}
	w.quits(0)
	w.run()
	w.holds(a, b)
	w.left()
}
