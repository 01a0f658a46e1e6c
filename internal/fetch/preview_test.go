package fetch_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// foreseen holds a preview against this one, and makes sure that it changed nothing here.
func (w *world) foreseen(want fetch.Preview) {
	w.Helper()
	before := w.snapshot()
	p, err := w.fetcher.Preview(w.Context(), w.config())
	w.must(err)
	p.FetchBytes, p.NotBefore, want.NotBefore = 0, p.NotBefore.UTC(), want.NotBefore.UTC()
	if p != want {
		w.Fatalf("preview: %+v\nwant:    %+v", p, want)
	}
	for path, content := range w.snapshot() {
		if before[path] != content && !strings.HasSuffix(path, "-shm") { // SQLite's locks
			w.Errorf("%s is not what it was", path)
		}
	}
}

// What a run would hold back is foreseen, before it was noted and after; and that it comes back.
func TestPreviewOfHeldBack(t *testing.T) {
	dues(t, func(t *testing.T, w *world, all []popsim.Message) {
		before := w.snapshot()
		w.discard(all[1])
		w.foreseen(fetch.Preview{Listed: 3, Known: 3, ToDelete: 2, HeldBack: 1, Deletes: w.line("delete_after: ") == ""})
		w.succeed(fetch.Report{Listed: 3, Deleted: 2})
		w.foreseen(fetch.Preview{Listed: 1, Known: 1, HeldBack: 1, Deletes: w.line("delete_after: ") == ""})
		w.succeed(fetch.Report{Listed: 1})
		w.set("delete_missing", "true")
		w.foreseen(fetch.Preview{Listed: 1, Known: 1, ToDelete: 1, Deletes: w.line("delete_after: ") == ""})
		w.set("delete_missing", "")
		for path, data := range before {
			if strings.HasPrefix(path, w.box) && data != "folder" {
				w.must(os.WriteFile(path, []byte(data), 0o600))
			}
		}
		w.foreseen(fetch.Preview{Listed: 1, Known: 1, ToDelete: 1, Deletes: w.line("delete_after: ") == ""})
		w.succeed(fetch.Report{Listed: 1, Deleted: 1})
	})
}

// The daily limit: what fits is foreseen, and when it is reached, when it goes on, and with how many.
func TestPreviewOfDailyLimit(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "daily_limit: 100KB")
	for i := range 24 {
		w.deliver(fmt.Sprint(i), strings.Repeat("x", 9980))
	}
	w.foreseen(fetch.Preview{Listed: 24, ToFetch: 10, Left: 14})
	r := w.succeed(fetch.Report{Listed: 24, New: 10, Stored: 10, Skipped: 14, Left: 14})
	w.pass(time.Hour)
	w.foreseen(fetch.Preview{Listed: 24, Known: 10, ToFetch: 10, Left: 4, Held: true, NotBefore: r.LimitedUntil})
	w.succeed(fetch.Report{Held: true})
	w.set("daily_limit", "500KB")
	w.foreseen(fetch.Preview{Listed: 24, Known: 10, ToFetch: 14})
	w.fetcher.Ledger = nil
	w.set("daily_limit", "50KB")
	w.must(os.RemoveAll(w.box))
	w.foreseen(fetch.Preview{Listed: 24, ToFetch: 5, Left: 19})
}

// An account that is left alone after a refusal would not be fetched, though the server lets one in by now.
func TestPreviewOfHold(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "policy: delete")
	w.deliver("a", "1")
	w.server.SetFault(popsim.On("AUTH", 0, popsim.Refuse("[AUTH] no")))
	r := w.run()
	if r.NotBefore.IsZero() {
		t.Fatal("no hold", r.Err)
	}
	w.mend()
	w.foreseen(fetch.Preview{Listed: 1, ToFetch: 1, Deletes: true, Held: true, NotBefore: r.NotBefore})
	if r := w.run(); !r.Held {
		t.Errorf("%+v", r)
	}
	w.pass(25 * time.Hour)
	w.foreseen(fetch.Preview{Listed: 1, ToFetch: 1, Deletes: true})
}

// The server has changed all UIDs: what will be recognised only the run finds out, so the numbers are an upper bound.
func TestPreviewOfNewUIDs(t *testing.T) {
	for name, test := range map[string]struct {
		lines []string
		want  fetch.Preview
		after fetch.Report
	}{
		"keep":         {nil, fetch.Preview{Listed: 25, ToFetch: 25, AtMost: true}, fetch.Report{Listed: 25}},
		"delete later": {[]string{"policy: delete", "delete_after: 2d"}, fetch.Preview{Listed: 25, ToFetch: 25, ToDelete: 25, AtMost: true}, fetch.Report{Listed: 25, Deleted: 25}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, popsim.Config{}, test.lines...)
			w.letters(25)
			w.succeed(fetch.Report{Listed: 25, New: 25, Stored: 25})
			w.pass(48 * time.Hour)
			w.migrate("new-")
			w.foreseen(test.want)
			w.succeed(test.after)
		})
	}
}

// The ledger was lost: the files of a Maildir tell which mail is here, an mbox's mail is known only once the server was asked
// more than what it lists.
func TestPreviewWithoutLedger(t *testing.T) {
	for name, test := range map[string]struct {
		lines []string
		want  fetch.Preview
		after fetch.Report
	}{
		"maildir":           {[]string{"maildir: mail"}, fetch.Preview{Listed: 11, Known: 10, ToFetch: 1}, fetch.Report{Listed: 11, New: 1, Stored: 1}},
		"maildir of a day":  {[]string{"maildir: mail-%Y-%m-%d"}, fetch.Preview{Listed: 11, Known: 10, ToFetch: 1}, fetch.Report{Listed: 11, New: 1, Stored: 1}},
		"mbox":              {[]string{"mbox: mail"}, fetch.Preview{Listed: 11, ToFetch: 11, AtMost: true}, fetch.Report{Listed: 11, New: 1, Stored: 1}},
		"mbox of a day":     {[]string{"mbox: mail-%Y-%m-%d"}, fetch.Preview{Listed: 11, ToFetch: 11, AtMost: true}, fetch.Report{Listed: 11, New: 1, Stored: 1}},
		"mbox to be purged": {[]string{"mbox: mail", "policy: delete"}, fetch.Preview{Listed: 11, ToFetch: 11, Deletes: true, AtMost: true}, fetch.Report{Listed: 11, New: 1, Stored: 1, Deleted: 11}},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := stored(t, 10, test.lines...)
			w.deliver("new", "x")
			w.pass(48 * time.Hour)
			w.loseLedger()
			l := w.fetcher.Ledger
			w.fetcher.Ledger = nil
			w.foreseen(test.want)
			w.fetcher.Ledger = l
			w.foreseen(test.want)
			w.succeed(test.after)
			w.foreseen(fetch.Preview{Listed: test.after.Listed - test.after.Deleted, Known: test.after.Listed - test.after.Deleted, Deletes: test.want.Deletes})
			w.deliver("newer", "x")
			w.foreseen(fetch.Preview{Listed: test.after.Listed - test.after.Deleted + 1, Known: test.after.Listed - test.after.Deleted, ToFetch: 1, Deletes: test.want.Deletes})
		})
	}
	w := newWorld(t, popsim.Config{}, "mbox: mail")
	w.deliver("a", "1")
	w.must(os.WriteFile(filepath.Join(w.folder, "mail"), nil, 0o600))
	w.foreseen(fetch.Preview{Listed: 1, ToFetch: 1})
}
