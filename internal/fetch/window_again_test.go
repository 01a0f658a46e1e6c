package fetch_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// uidOf lists one message's UID as another.
func uidOf(from, as string) popsim.Action {
	return popsim.Rewrite(func(line string) string {
		number, uid, _ := strings.Cut(line, " ")
		if uid != from {
			return line
		}
		return strings.TrimRight(number+" "+as, " ")
	})
}

// What is listed twice in recent mode is fetched once: two rows with one key would never get into the ledger, and an append to
// an mbox that cannot be finished stops all that share it.
func TestVanishedMailListedTwice(t *testing.T) {
	boxes(t, func(t *testing.T, box string) {
		w := newGmail(t, popsim.GmailBox{Knobs: popsim.Knobs{PopOnRETR: true}}, popsim.Config{}, box)
		all := w.receive(10)
		w.server.SetFault(func(r popsim.Request) popsim.Action {
			switch {
			case r.Session == 1 && r.Command == "RETR" && r.Message == 5:
				return popsim.HangUpInBody(5)
			case r.Session >= 4 && r.Command == "UIDL":
				return uidOf(all[5].UID, all[4].UID)
			}
			return popsim.Action{}
		})
		w.run()
		w.mend()
		ann := w.config()
		ann.Name = "ann"
		if r := w.fetcher.Run(w.Context(), ann, nil); r.Err != nil {
			t.Error(r.Err)
		}
		if r := w.run(); r.Err != nil {
			t.Error(r.Err)
		}
		w.holds(all...)
	})
}

// A damaged listing in recent mode does not mean that what it lacks is lost.
func TestVanishedMailAndADamagedListing(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{Knobs: popsim.Knobs{PopOnRETR: true}}, popsim.Config{})
	all := w.receive(10)
	w.server.SetFault(popsim.FirstOf(popsim.InSession(1, popsim.On("RETR", 5, popsim.HangUpInBody(5))),
		popsim.On("UIDL", 0, uidOf(all[4].UID, ""))))
	w.run()
	w.run()
	w.mend()
	w.run()
	w.holds(all...)
}

// Mail that vanished and came back with another size is missed no more.
func TestVanishedMailComesBackWithAnotherSize(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{Knobs: popsim.Knobs{PopOnRETR: true, RecentWindow: 1}}, popsim.Config{})
	all := w.receive(10)
	w.server.SetFault(popsim.InSession(1, popsim.On("RETR", 5, popsim.HangUpInBody(5))))
	w.run()
	w.mend()
	w.account.SaveSettings(popsim.AllMail, "")
	w.account.Gmail.Knobs.CountLF = true
	w.run()
	w.run()
	w.holds(all...)
	if lost, err := w.ledger.Failures("joe"); err != nil || len(lost) != 0 {
		t.Errorf("missed: %+v, %v", lost, err)
	}
}

// The session in recent mode deletes nothing, and forgets nothing that is held back either.
func TestRescueLeavesDeletionsAlone(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{}, popsim.Config{}, "policy: delete")
	w.receive(10)
	w.server.SetFault(popsim.On("QUIT", 0, popsim.HangUp()))
	w.run()
	w.must(os.RemoveAll(w.box))
	w.pass(time.Hour)
	lost := w.receive(1)
	w.server.SetFault(popsim.On("RETR", 11, popsim.HangUpInBody(5)))
	w.run()
	w.mend()
	w.account.Remove(lost[0].UID)
	w.run()
	if held := w.summary().HeldBack; held != 10 {
		t.Errorf("%d are held back", held)
	}
}

// What is held back, since it is not here any more, is not taken either, where to take is to throw away.
func TestFullWindowOfWhatIsHeldBack(t *testing.T) {
	for _, n := range []int{150, 250} {
		w := newGmail(t, popsim.GmailBox{Disposition: popsim.Trash, Knobs: popsim.Knobs{DeleEffect: popsim.DeleTrashes}}, popsim.Config{Pipelining: true}, "policy: delete")
		w.receive(n)
		w.server.SetFault(popsim.On("QUIT", 0, popsim.HangUp()))
		w.run()
		w.mend()
		w.must(os.RemoveAll(w.box))
		w.run()
		if trash, held := w.account.Counts().Trash, w.summary().HeldBack; trash != 0 || held != n {
			t.Errorf("of %d messages %d are in the trash, %d held back", n, trash, held)
		}
		if full := strings.Contains(w.log.String(), "the window is full"); full != (n == 250) {
			t.Errorf("of %d messages: %s", n, w.log)
		}
	}
}

// However long the lists took, a session fetches something.
func TestListsThatTakeASession(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{}, popsim.Config{})
	all := w.receive(10)
	w.server.SetFault(func(r popsim.Request) popsim.Action {
		if r.Command == "LIST" {
			w.pass(20 * time.Minute)
		}
		return popsim.Action{}
	})
	w.run()
	w.holds(all...)
}

// Sessions that expire may be many, as long as others between them bring mail.
func TestSessionsThatExpireNowAndThen(t *testing.T) {
	w := newGmail(t, popsim.GmailBox{Window: 20}, popsim.Config{})
	all := w.receive(200)
	w.server.SetFault(func(r popsim.Request) popsim.Action {
		if r.Session%3 == 1 && r.Command == "RETR" {
			return popsim.Refuse(popsim.SessionExpired)
		}
		return popsim.Action{}
	})
	w.succeed(fetch.Report{Listed: 200, New: 200, Stored: 200})
	w.holds(all...)
}
