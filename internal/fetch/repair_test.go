package fetch_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// repair repairs, and holds that no mail was touched by it, here or on the server.
func (w *world) repair(want fetch.Repaired) {
	w.Helper()
	if err := w.repairs(want); err != nil {
		w.Fatal(err)
	}
}

// repairs is repair for when an error is expected.
func (w *world) repairs(want fetch.Repaired) error {
	w.Helper()
	before, uids := w.mailFiles(), fmt.Sprint(w.account.Messages())
	sent := w.transferred()
	r := w.fetcher.Repair(w.Context(), w.config())
	err := r.Err
	r.Account, r.Err = "", nil
	if r != want {
		w.Fatalf("repaired: %+v, %v\nwant:     %+v", r, err, want)
	}
	if !maps.Equal(before, w.mailFiles()) {
		w.Fatal("the mailbox is not what it was")
	}
	if uids != fmt.Sprint(w.account.Messages()) || sent != w.transferred() {
		w.Fatal("mail was fetched or deleted on the server")
	}
	return err
}

// mailFiles is all that the mailboxes hold.
func (w *world) mailFiles() map[string]string {
	w.Helper()
	all := w.snapshot()
	maps.DeleteFunc(all, func(path, _ string) bool { return strings.HasPrefix(path, w.state) })
	return all
}

// verified is what verify says, without its lines.
func (w *world) verified(share float64, want fetch.Verification) []string {
	w.Helper()
	v, err := w.fetcher.Verify(w.Context(), w.config(), share)
	w.must(err)
	findings := v.Findings
	v.Account, v.Findings = "", nil
	if fmt.Sprint(v) != fmt.Sprint(want) {
		w.Fatalf("verify: %+v\nwant:   %+v\n%s", v, want, strings.Join(findings, "\n"))
	}
	return findings
}

// known holds how many messages the ledger has.
func (w *world) known(want int) {
	w.Helper()
	if n, err := w.ledger.Count("joe"); n != want || err != nil {
		w.Fatalf("the ledger has %d messages, want %d; %v", n, want, err)
	}
}

// stored makes a world of n messages that are stored, and with policy delete not yet deleted on the server.
func stored(t *testing.T, n int, lines ...string) (w *world, all []popsim.Message) {
	t.Helper()
	w = newWorld(t, popsim.Config{Pipelining: true}, lines...)
	w.deliverN(n)
	w.server.SetFault(popsim.On("QUIT", 0, popsim.HangUp()))
	if r := w.run(); r.Stored != n {
		t.Fatalf("%+v", r)
	}
	w.mend()
	w.pass(time.Hour)
	return w, w.account.Messages()
}

// The ledger is lost, and repair makes it anew from the mailbox and the server's listing: of an mbox only mail that is to be
// kept, since a header does not vouch for a body. Then a run fetches what is new, and nothing twice.
func TestRepairLostLedger(t *testing.T) {
	for _, test := range []struct {
		box, policy string
		want        fetch.Repaired
	}{
		{"maildir: mail", "keep", fetch.Repaired{Recognised: 7}},
		{"maildir: mail", "delete", fetch.Repaired{Recognised: 7}},
		{"maildir: mail-%Y-%m", "keep", fetch.Repaired{Recognised: 7}},
		{"mbox: mail", "keep", fetch.Repaired{Recognised: 7}},
		{"mbox: mail", "delete", fetch.Repaired{Waiting: 7}},
		{"mbox: mail-%Y-%m", "keep", fetch.Repaired{Recognised: 7}},
		{"mbox: mail-%Y-%m", "delete", fetch.Repaired{Waiting: 7}},
	} {
		for _, up := range []bool{true, false} {
			t.Run(fmt.Sprint(test.box, " ", test.policy, " ", up), func(t *testing.T) {
				t.Parallel()
				w, all := stored(t, 7, test.box, "policy: "+test.policy)
				if strings.Contains(test.box, "%") {
					w.pass(65 * 24 * time.Hour) // nothing of this month is there
				}
				w.loseLedger()
				if up {
					w.repair(test.want)
					w.known(test.want.Recognised)
					w.repair(fetch.Repaired{Waiting: test.want.Waiting})
				} else {
					w.server.SetFault(popsim.On("CONNECT", 0, popsim.HangUp()))
					for range 2 {
						if err := w.repairs(fetch.Repaired{Waiting: 7}); fetch.KindOf(err) != fetch.Temporary {
							t.Fatal(err)
						}
					}
					w.known(0)
					w.mend()
				}
				checked := 0
				if up && test.want.Recognised > 0 || strings.HasPrefix(test.box, "maildir") {
					checked = 7 // a Maildir's files are known to be ours, whether or not the server has listed them
				}
				w.verified(1, fetch.Verification{Checked: checked, Read: checked})
				x := w.deliver("x", "new")
				want := fetch.Report{Listed: 8, New: 1, Stored: 1}
				if test.policy == "delete" {
					want.Deleted = 8
				}
				w.succeed(want)
				w.known(8)
				w.verified(1, fetch.Verification{Checked: 8, Read: 8})
				if !strings.Contains(test.box, "%") {
					w.holds(append(all, x)...)
				}
				w.repair(fetch.Repaired{})
			})
		}
	}
}

// Mail of other programs in the mbox stays theirs, also when it looks like ours: as many as the server lists are ours.
func TestRepairLeavesTheMailOfOthers(t *testing.T) {
	w, all := stored(t, 3, "mbox: mail")
	other := popsim.Message{Body: []byte("Subject: of another program\r\n\r\nText.\r\n")}
	w.append("From else Sat Mar 14 15:09:26 2026\n" + string(other.Stored()) + "\n")
	w.append(w.framed()[1]) // somebody has copied one of ours
	w.loseLedger()
	w.repair(fetch.Repaired{Recognised: 3, Waiting: 2})
	w.succeed(fetch.Report{Listed: 3})
	w.account.Deliver(all[1]) // the same by the same UID: one more
	w.boxHolds(w.box, append(all, other, all[1])...)
	w.known(3)
	w.succeed(fetch.Report{Listed: 4})
	w.boxHolds(w.box, append(all, other, all[1])...)
	w.known(4)
}

// A mail reader has rewritten the mbox: repair notes where the messages are now, and those that it deleted stay missing.
func TestRepairRewrittenMbox(t *testing.T) {
	for name, rewrite := range map[string]func(w *world){
		"Status": func(w *world) {
			all := w.framed()
			for i := range all {
				all[i] = withStatus(all[i])
			}
			w.rewrite(all[1:]...)
		},
		"order": func(w *world) {
			all := w.framed()[1:]
			slices.Reverse(all)
			w.rewrite(all...)
		},
		"first": func(w *world) { w.rewrite(w.framed()[1:]...) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, all := stored(t, 5, "mbox: mail")
			rewrite(w)
			w.verified(1, fetch.Verification{Checked: 5, Read: 5, Missing: 1, Moved: 4})
			w.repair(fetch.Repaired{Relocated: 4})
			findings := w.verified(1, fetch.Verification{Checked: 5, Read: 5, Missing: 1})
			if want := fmt.Sprintf(`%s: missing: message %q, `, w.box, all[0].UID); !strings.HasPrefix(findings[0], want) || !strings.HasSuffix(findings[0], ": it is not there any more") {
				t.Errorf("verify says %q", findings[0])
			}
			w.repair(fetch.Repaired{})
			w.succeed(fetch.Report{Listed: 5})
			w.retrieved(map[string]int{"0": 1, "1": 1})
		})
	}
}

// Mail that was filed in a subfolder of the Maildir is found there.
func TestRepairFiledMail(t *testing.T) {
	w, all := stored(t, 5)
	for _, m := range all[:2] {
		w.fileIn(".Archive", m)
	}
	w.verified(1, fetch.Verification{Checked: 5, Read: 5, Moved: 2})
	w.repair(fetch.Repaired{Relocated: 2})
	w.verified(1, fetch.Verification{Checked: 5, Read: 5})
	w.repair(fetch.Repaired{})
	w.succeed(fetch.Report{Listed: 5})
}

// So it is after the ledger was lost, also when nothing is left in the Maildir itself.
func TestRepairLostLedgerOfFiledMail(t *testing.T) {
	w, all := stored(t, 3)
	for _, m := range all {
		w.fileIn(".Archive", m)
	}
	w.loseLedger()
	w.repair(fetch.Repaired{Waiting: 3})
	w.verified(1, fetch.Verification{Checked: 3, Read: 3})
	w.succeed(fetch.Report{Listed: 3})
	w.noLeftovers()
}

// The user has renamed the mailbox, and said so in the configuration: its messages are found at the new place, each once, and
// those that were held back on the server meanwhile may go. What is not there any more stays missing.
func TestRepairRenamedMailbox(t *testing.T) {
	for _, policy := range []string{"keep", "delete"} {
		boxes(t, func(t *testing.T, box string) {
			w := newWorld(t, popsim.Config{}, box, "policy: "+policy)
			w.deliverN(3)
			w.account.Deliver(popsim.Message{UID: "status", Body: []byte("Status: RO\r\nSubject: its own\r\n\r\ntext\r\n")})
			for _, uid := range []string{"x", "y"} { // equal
				w.account.Deliver(popsim.Message{UID: uid, Body: []byte("Subject: twice\r\n\r\ntext\r\n")})
			}
			w.server.SetFault(popsim.On("QUIT", 0, popsim.HangUp()))
			if r := w.run(); r.Stored != 6 {
				t.Fatalf("%+v", r)
			}
			w.mend()
			all, unknown := w.account.Messages(), 0
			if box == "maildir: mail" {
				w.fileIn(".Archive", all[1])
				w.repair(fetch.Repaired{Relocated: 1})
				unknown = 4 // of those in the Maildir itself
			}
			w.rename("renamed")
			w.discard(all[0])
			w.succeed(fetch.Report{Listed: 6})
			w.verified(1, fetch.Verification{Checked: 6, Missing: 6, Unknown: unknown})
			w.repair(fetch.Repaired{Relocated: 5})
			w.verified(1, fetch.Verification{Checked: 6, Read: 5, Missing: 1})
			w.repair(fetch.Repaired{})
			want := fetch.Report{Listed: 6}
			if policy == "delete" {
				want.Deleted = 5
			}
			w.succeed(want)
			w.retrieved(map[string]int{"0": 1, "x": 1, "y": 1})
		})
	}
}

// rename gives the mailbox another path, in the configuration too.
func (w *world) rename(name string) {
	w.Helper()
	path, key := filepath.Join(w.folder, name), "maildir"
	if w.line("mbox: ") != "" {
		key = "mbox"
	}
	w.must(os.Rename(w.box, path))
	w.set(key, name)
	w.box = path
}

// A message that is there once is given to one row only.
func TestRepairRenamedMboxLacksACopy(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "mbox: mail")
	w.deliver("0", "x")
	for _, uid := range []string{"x", "y"} {
		w.account.Deliver(popsim.Message{UID: uid, Body: []byte("Subject: twice\r\n\r\ntext\r\n")})
	}
	w.succeed(fetch.Report{Listed: 3, New: 3, Stored: 3})
	w.rename("renamed")
	w.rewrite(w.framed()[1:2]...)
	w.repair(fetch.Repaired{Relocated: 1})
	w.verified(1, fetch.Verification{Checked: 3, Read: 1, Missing: 2})
	w.repair(fetch.Repaired{})
}

// A mail reader gave a message a name of its own, in another folder, and wrote into its header: it is found by its content, each
// time it is expected once, and its copy on the server may go.
func TestRepairMailByAnotherName(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "policy: delete")
	w.deliverN(3)
	for _, uid := range []string{"x", "y"} { // equal
		w.account.Deliver(popsim.Message{UID: uid, Body: []byte("Subject: twice\r\n\r\ntext\r\n")})
	}
	w.server.SetFault(popsim.On("QUIT", 0, popsim.HangUp()))
	w.run()
	w.mend()
	all := w.account.Messages()
	w.must(os.Rename(w.file(all[0]), w.box+"/cur/by hand.eml"))
	w.saveAs(all[1], ".Archive/cur/1.R2.mutt:2,S")
	w.saveAs(all[3], "cur/1.R3.mutt:2,S") // one of the two that are equal
	w.must(os.WriteFile(w.box+"/cur/1.R4.else:2,", []byte("Subject: of another program\n\n"), 0o600))
	w.succeed(fetch.Report{Listed: 5, Deleted: 2})
	w.verified(1, fetch.Verification{Checked: 5, Read: 5, Missing: 3})
	w.repair(fetch.Repaired{Relocated: 3})
	w.verified(1, fetch.Verification{Checked: 5, Read: 5})
	w.verified(0, fetch.Verification{Checked: 5})
	w.repair(fetch.Repaired{})
	w.succeed(fetch.Report{Listed: 3, Deleted: 3})
	w.discard(all[2])
	w.repair(fetch.Repaired{})
	w.verified(1, fetch.Verification{Checked: 5, Read: 5, Missing: 1})
}

// saveAs moves a message within the Maildir to another name, and writes into its header, as mutt does.
func (w *world) saveAs(m popsim.Message, name string) {
	w.Helper()
	path := filepath.Join(w.box, name)
	w.must(os.MkdirAll(filepath.Dir(path), 0o700))
	w.must(os.WriteFile(path, []byte(withStatus(string(m.Stored()))), 0o600))
	w.must(os.Remove(w.file(m)))
}

// A piece of a message is left alone, and is not taken for the message: that is fetched again. In an mbox it becomes a message
// of its own when mail is added behind it.
func TestRepairTornMail(t *testing.T) {
	boxes(t, func(t *testing.T, box string) {
		w, all := stored(t, 3, box)
		last, path := all[2], w.box
		if box == "maildir: mail" {
			_, rest, _ := strings.Cut(filepath.Base(w.file(last)), ".")
			path = filepath.Join(w.box, "new", "1000000000."+rest) // of long ago
			w.must(os.Rename(w.file(last), path))
		}
		info, err := os.Stat(path)
		w.must(err)
		w.must(os.Truncate(path, info.Size()-5))
		w.loseLedger()
		w.repair(fetch.Repaired{Recognised: 2})
		w.verified(1, fetch.Verification{Checked: 2, Read: 2, Torn: 1})
		waiting := 1
		if box == "maildir: mail" {
			w.must(os.Rename(path, filepath.Join(w.folder, "a piece")))
			waiting = 0
		}
		w.succeed(fetch.Report{Listed: 3, New: 1, Stored: 1})
		w.known(3)
		if n := strings.Count(strings.Join(w.mail(w.box), ""), string(last.Stored())); n != 1 {
			t.Errorf("the message is there %d times, want once", n)
		}
		w.repair(fetch.Repaired{Waiting: waiting})
		w.verified(1, fetch.Verification{Checked: 3, Read: 3})
	})
}

// An old ledger was restored from a backup: what was stored since is known again. A Maildir's names tell at once, an mbox
// wants repair.
func TestRestoredLedger(t *testing.T) {
	for _, policy := range []string{"keep", "delete"} {
		boxes(t, func(t *testing.T, box string) {
			w, all := stored(t, 3, box, "policy: "+policy)
			w.must(w.ledger.Close())
			backup, err := os.ReadFile(filepath.Join(w.state, "ledger.db"))
			w.must(err)
			w.open()
			x, y := w.deliver("x", "1"), w.deliver("y", "2")
			w.server.SetFault(popsim.On("QUIT", 0, popsim.HangUp()))
			if r := w.run(); r.Stored != 2 {
				t.Fatalf("%+v", r)
			}
			w.mend()
			w.must(w.ledger.Close())
			w.must(os.WriteFile(filepath.Join(w.state, "ledger.db"), backup, 0o600))
			w.open()
			if box == "mbox: mail" {
				want := fetch.Repaired{Recognised: 2}
				if policy == "delete" {
					want = fetch.Repaired{Waiting: 2}
				}
				w.repair(want)
			}
			z := w.deliver("z", "3")
			want := fetch.Report{Listed: 6, New: 1, Stored: 1}
			if policy == "delete" {
				want.Deleted = 6
			}
			w.succeed(want)
			w.holds(append(all, x, y, z)...)
			w.noLeftovers()
		})
	}
}

// Repair finishes an append that was interrupted.
func TestRepairAfterAKill(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "mbox: mail", "policy: delete")
	a, b := w.deliver("a", strings.Repeat("text\r\n", 100)), w.deliver("b", "x")
	intent := w.storeByHand(a, b)
	w.must(os.Truncate(w.box, intent.Offset+intent.Length/2))
	if r := w.fetcher.Repair(t.Context(), w.config()); r.Err != nil || r.Recognised+r.Waiting+r.Relocated > 0 {
		t.Fatalf("%+v", r)
	}
	w.holds(a, b)
	w.left("a", "b")
	w.succeed(fetch.Report{Listed: 2, Deleted: 2})
	w.retrieved(map[string]int{"a": 0, "b": 0})
	w.noLeftovers()
}
