package fetch_test

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// flip changes one byte of a message where it lies, and nothing of its size.
func (w *world) flip(m popsim.Message) {
	w.Helper()
	path := w.box
	if w.line("mbox: ") == "" {
		path = w.file(m)
	}
	data, err := os.ReadFile(path)
	w.must(err)
	changed := strings.Replace(string(data), string(m.Stored()), strings.Replace(string(m.Stored()), "Subject", "Subjekt", 1), 1)
	if changed == string(data) {
		w.Fatalf("message %q is not there", m.UID)
	}
	w.must(os.WriteFile(path, []byte(changed), 0o600))
}

// Whatever happens to a Maildir's messages is told by what it is, and each with a line that names the file.
func TestVerifyMaildir(t *testing.T) {
	w, all := stored(t, 8)
	w.verified(0, fetch.Verification{Checked: 8})
	names := make([]string, 8)
	for i, m := range all {
		names[i] = filepath.Base(w.file(m))
	}
	w.flip(all[0])                                                        // changed, which only reading tells
	w.must(os.Truncate(w.file(all[1]), 5))                                // changed
	w.must(os.Remove(w.file(all[2])))                                     // missing
	w.must(os.MkdirAll(w.box+"/.Sub/cur", 0o700))                         //
	w.must(os.Rename(w.file(all[3]), w.box+"/.Sub/cur/"+names[3]+":2,S")) // moved
	w.must(os.Rename(w.file(all[4]), w.box+"/cur/"+names[4]+":2,S"))      // fine
	w.behind("DELETE FROM messages WHERE uid = '5'")                      // unknown
	w.behind("DELETE FROM messages WHERE uid = '6'")                      // unknown, and a piece
	w.must(os.Truncate(w.file(all[6]), 5))
	w.must(os.WriteFile(w.box+"/new/1.2.else", []byte("Subject: of another program\n\n"), 0o600))
	for share, want := range map[float64]fetch.Verification{
		0: {Checked: 6, Missing: 1, Changed: 1, Moved: 1, Torn: 1, Unknown: 1},
		1: {Checked: 6, Read: 6, Missing: 1, Changed: 2, Moved: 1, Torn: 1, Unknown: 1},
	} {
		before := w.snapshotOfMail()
		findings := strings.Join(w.verified(share, want), "\n")
		for i, named := range []bool{share == 1, true, true, false, false, true, true, false} {
			if strings.Contains(findings, names[i]) != named {
				t.Errorf("read %v: message %d is named: %v, want %v:\n%s", share, i, !named, named, findings)
			}
		}
		for i, damaged := range []bool{share == 1, true, true, false} {
			name := fmt.Sprintf("message %q, stored %s: ", all[i].UID, w.clock().Add(-time.Hour).Local().Format("2006-01-02 15:04"))
			if strings.Contains(findings, name) != damaged {
				t.Errorf("read %v: %s is told: %v, want %v:\n%s", share, name, !damaged, damaged, findings)
			}
		}
		if n := strings.Count(findings, "\n") + 1; n != 4+int(share) {
			t.Errorf("%d findings:\n%s", n, findings)
		}
		if before != w.snapshotOfMail() {
			t.Error("something was changed")
		}
	}
}

func (w *world) snapshotOfMail() string { return fmt.Sprint(w.mailFiles()) }

// The same for an mbox, in which what is not in the ledger may be anybody's.
func TestVerifyMbox(t *testing.T) {
	w, all := stored(t, 6, "mbox: mail")
	w.flip(all[1])
	w.verified(0, fetch.Verification{Checked: 6})
	w.verified(1, fetch.Verification{Checked: 6, Read: 6, Changed: 1})
	w.append("From else Sat Mar 14 15:09:26 2026\nSubject: of another program\n\nText.\n\n")
	w.verified(1, fetch.Verification{Checked: 6, Read: 6, Changed: 1})
	w.append("From torn Sat Mar 14 15:09:26 2026\nSubject: a pie")
	w.verified(0, fetch.Verification{Checked: 6})
	w.verified(1, fetch.Verification{Checked: 6, Read: 6, Changed: 1, Torn: 1})
	framed := w.framed()
	framed[0] = withStatus(framed[0])
	w.rewrite(slices.Delete(framed[:6], 2, 3)...) // the first moves the others on, the third is gone
	w.verified(1, fetch.Verification{Checked: 6, Read: 6, Missing: 2, Moved: 4})
	w.must(os.Remove(w.box))
	if findings := w.verified(1, fetch.Verification{Checked: 6, Missing: 6}); len(findings) != 1 || !strings.Contains(findings[0], "6 messages, stored from 2026-03-1") {
		t.Error(findings)
	}
}

// Each day the share that was asked for is read, another one each day, until after 1/share days each message was: damage that
// only reading finds is found on one of them. That mail comes in meanwhile changes nothing of it.
func TestVerifyByParts(t *testing.T) {
	for share, days := range map[float64]int{0.05: 20, 0.3: 4, 0.34: 3, 0.5: 2, 0.6: 2, 0.999: 2, 1: 1, 5: 1} {
		boxes(t, func(t *testing.T, box string) {
			const n = 50
			w, all := stored(t, n, box)
			w.flip(all[7])
			w.pass(time.Duration(share*1e5) * time.Hour) // on any day
			found := 0
			for d := range days {
				for _, hours := range []int{0, 1} { // twice a day is not twice as much
					w.pass(time.Duration(hours) * time.Hour)
					v, err := w.fetcher.Verify(t.Context(), w.config(), share)
					if err != nil || v.Checked != n+d || v.Missing+v.Torn+v.Unknown > 0 {
						t.Fatalf("%+v, %v", v, err)
					}
					if want := min(share, 1) * float64(n+d); math.Abs(float64(v.Read)-want) >= 1 {
						t.Errorf("share %v: %d of %d messages read", share, v.Read, n+d)
					}
					found += v.Changed
				}
				w.pass(23 * time.Hour)
				w.deliver(fmt.Sprint("later", d), "x")
				w.run()
			}
			if found < 2 || found > 2 && share*float64(days) == 1 {
				t.Errorf("share %v: in %d days damage was found %d times", share, days, found)
			}
		})
	}
}

// Many small mailboxes have their turns as one large one has.
func TestVerifyPartsOfManyMailboxes(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "mbox: mail-%Y-%m-%d")
	for i := range 10 {
		w.deliver(fmt.Sprint(i), "x")
		w.run()
		w.pass(24 * time.Hour)
	}
	w.verified(0.3, fetch.Verification{Checked: 10, Read: 3})
}

// Mail of all mailboxes is looked at: those of other months, and those from before the path was changed.
func TestVerifyAllMailboxes(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "maildir: mail-%Y-%m")
	a := w.deliver("a", "1")
	w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1})
	w.pass(40 * 24 * time.Hour)
	w.deliver("b", "2")
	w.succeed(fetch.Report{Listed: 2, New: 1, Stored: 1})
	w.set("maildir", "")
	w.set("mbox", "other")
	w.deliver("c", "3")
	w.succeed(fetch.Report{Listed: 3, New: 1, Stored: 1})
	w.verified(1, fetch.Verification{Checked: 3, Read: 3})
	w.box = filepath.Join(w.folder, "mail-2026-03")
	w.must(os.Remove(w.file(a)))
	w.verified(1, fetch.Verification{Checked: 3, Read: 3, Missing: 1})
}

// Where the ledger is gone, mail that is here is in none: that is no sound state, and looking makes no new ledger.
func TestVerifyWithoutLedger(t *testing.T) {
	for name, test := range map[string]struct {
		line string
		torn int
	}{
		"maildir": {"maildir: mail", 1},
		"mbox":    {"mbox: mail", 0},
		"daily":   {"maildir: mail-%Y-%m-%d", 0},
	} {
		t.Run(name, func(t *testing.T) {
			w, all := stored(t, 8, test.line)
			w.fetcher.Ledger = nil
			if test.torn > 0 {
				w.must(os.Truncate(w.file(all[3]), 5))
			}
			w.pass(40 * 24 * time.Hour)
			before := w.snapshot()
			findings := w.verified(0, fetch.Verification{Unknown: 8 - test.torn, Torn: test.torn})
			if last := findings[len(findings)-1]; len(findings) != 1+test.torn || !strings.Contains(last, "holds 8 messages") && !strings.Contains(last, "holds 7 messages") ||
				!strings.Contains(last, "no ledger") || !strings.Contains(last, "backup") || !strings.Contains(last, "popfetchd repair") {
				t.Error(findings)
			}
			if !maps.Equal(before, w.snapshot()) {
				t.Error("something was changed")
			}
		})
	}
	w := newWorld(t, popsim.Config{}, "mbox: mail")
	w.fetcher.Ledger = nil
	w.verified(1, fetch.Verification{})
	w.must(os.WriteFile(w.box, nil, 0o600))
	w.verified(1, fetch.Verification{})
}

// A Maildir full of files that the ledger does not know, as after an old ledger was restored, is told in one line.
func TestVerifyManyUnknown(t *testing.T) {
	w := newWorld(t, popsim.Config{})
	w.deliverN(30)
	w.run()
	w.loseLedger()
	w.server.SetFault(popsim.On("LIST", 0, popsim.HangUp()))
	w.run() // the ledger is there again
	if findings := w.verified(0, fetch.Verification{Unknown: 30}); len(findings) != 1 || !strings.Contains(findings[0], "30 files, one of them ") {
		t.Errorf("%q", findings)
	}
}
