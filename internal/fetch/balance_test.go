package fetch_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// behind changes the ledger as no run of ours would.
func (w *world) behind(statement string) {
	w.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(w.state, "ledger.db")+"?_pragma=busy_timeout(10000)")
	w.must(err)
	defer db.Close()
	_, err = db.Exec(statement)
	w.must(err)
}

// A row that vanishes from the ledger in mid-run, or one that comes from nowhere, is a mistake somewhere, and not passed over.
func TestLedgerIsMiscounted(t *testing.T) {
	for name, statement := range map[string]string{
		"one less":              "DELETE FROM messages WHERE uid = '1'",
		"an old one less":       "DELETE FROM messages WHERE uid = 'old'",
		"one in no mailbox":     "UPDATE messages SET mailbox = NULL, name = NULL, \"offset\" = NULL, length = NULL, size = NULL, sha256 = NULL WHERE uid = '1'",
		"one more":              "INSERT INTO messages SELECT account, 'twice', listed_size, occurrence, mailbox, name || 'x', \"offset\", length, size, sha256, stored_at, deletion FROM messages WHERE uid = '1'",
		"another one's instead": "UPDATE messages SET account = account + 1 WHERE uid = '1'",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, popsim.Config{})
			w.must(w.ledger.Enroll("ann", "/nowhere"))
			w.deliver("old", "x")
			w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1})
			w.deliverN(3)
			var once sync.Once
			w.server.SetFault(func(r popsim.Request) popsim.Action {
				if r.Command == "QUIT" {
					once.Do(func() { w.behind(statement) })
				}
				return popsim.Action{}
			})
			r := w.fail(fetch.Bug, fetch.Report{Listed: 4, New: 3, Stored: 3})
			if text := r.Err.Error(); !strings.Contains(text, "the numbers do not add up") || !strings.Contains(text, "report it") {
				t.Error(text)
			}
			if s := w.summary(); !strings.Contains(s.LastError, "do not add up") || s.ConsecutiveFailures != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// What other accounts do to the ledger at the same time does not matter.
func TestLedgerOfAnotherAccount(t *testing.T) {
	w := newWorld(t, popsim.Config{})
	w.deliverN(3)
	w.succeed(fetch.Report{Listed: 3, New: 3, Stored: 3})
	w.deliver("x", "1")
	ann := w.config()
	ann.Name, ann.Maildir = "ann", ann.Maildir+"-of-ann"
	var once sync.Once
	w.server.SetFault(func(r popsim.Request) popsim.Action {
		if r.Command == "QUIT" {
			once.Do(func() {
				w.behind("INSERT INTO accounts (name) VALUES ('ben'); INSERT INTO messages SELECT 2, uid, listed_size, occurrence, mailbox, name, \"offset\", length, size, sha256, stored_at, deletion FROM messages")
			})
		}
		return popsim.Action{}
	})
	w.succeed(fetch.Report{Listed: 4, New: 1, Stored: 1})
	w.mend()
	if r := w.fetcher.Run(w.Context(), ann, nil); r.Err != nil || r.Stored != 4 {
		t.Fatalf("%+v", r)
	}
}

// All that can happen to a listed message happens in one run, and the numbers add up.
func TestNumbersOfAMixedRun(t *testing.T) {
	boxes(t, func(t *testing.T, box string) {
		w := newWorld(t, popsim.Config{Pipelining: true, ListedSize: func(m popsim.Message) int64 {
			if m.UID == "liar" {
				return 10
			}
			return m.Octets()
		}}, box, "max_message_size: 1KB")
		known := w.deliver("known", "1")
		w.deliver("aside", "2")
		w.fault("RETR", "aside", popsim.Refuse("damaged"))
		w.succeed(fetch.Report{Listed: 2, New: 2, Stored: 1, Failed: 1})
		w.deliver("refused", "3")
		w.deliver("broken", strings.Repeat("x\r\n", 30))
		w.deliver("large", strings.Repeat("x\r\n", 1000))
		w.deliver("liar", strings.Repeat("y\r\n", 1000))
		w.deliver("nameless", "4")
		good := w.deliver("good", "5")
		w.server.SetFault(popsim.FirstOf(w.onUID("RETR", "refused", popsim.Refuse("damaged")), w.onUID("RETR", "broken", popsim.HangUpInBody(50)),
			rewrites("UIDL", map[string]string{"7 nameless": "7 "}), lacks("TOP")))
		// known 1; skipped: aside, large, nameless; new: refused, broken, liar, good
		w.fail(fetch.Temporary, fetch.Report{Listed: 8, New: 4, Stored: 1, Failed: 3, Skipped: 3})
		w.boxHolds(w.box, known, good)
		if n, err := w.ledger.Count("joe"); n != 2 || err != nil {
			t.Errorf("the ledger has %d messages, %v", n, err)
		}
	})
}
