package gmail

import (
	"slices"
	"testing"

	"github.com/popfetchd/popfetchd/internal/popsim"
)

// TestBackup: one run brings all that Gmail would ever offer of 5,000 messages, each once, the oldest first as Gmail lists
// them, in as many sessions as that takes. The next run brings nothing.
func TestBackup(t *testing.T) {
	for _, kind := range []string{"maildir", "mbox"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, chance(t), setting{volume: whole, kind: kind, policy: "keep"})
			if n := w.volume.offered(); len(w.offered) != n {
				t.Fatalf("%d messages are on offer, want %d", len(w.offered), n)
			}
			order := w.order()
			w.succeed()
			w.whole()
			for uid := range w.offered {
				if n := w.account.Retrieved(uid); n != 1 {
					t.Errorf("%s was asked for %d times", uid, n)
				}
			}
			if c := w.account.Counts(); c.Waiting > 0 {
				t.Errorf("%d messages wait", c.Waiting)
			}
			if kind == "mbox" && !slices.Equal(w.shelf.order, order) {
				t.Error("the messages are not in the order in which Gmail lists them")
			}
			if n, most := w.account.Sessions(), w.volume.conversations/popsim.DefaultWindow+2; n > most {
				t.Errorf("%d sessions, of which %d would do", n, most)
			}
			w.succeed()
			w.settle()
		})
	}
}

// TestBackupThroughTroubles is the same account where nearly every run comes to grief.
func TestBackupThroughTroubles(t *testing.T) {
	t.Run("password", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, chance(t), setting{volume: whole, kind: "maildir", policy: "keep"})
		w.suffer(14)
		w.settle()
	})
	t.Run("xoauth2", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, chance(t), setting{volume: whole, kind: "mbox", policy: "delete", oauth: true,
			box: popsim.GmailBox{Disposition: popsim.Trash}})
		w.suffer(14)
		w.settle()
	})
}

// offered is how many messages Gmail would ever list.
func (v volume) offered() int { return v.messages - v.spam - v.trash - v.chats - v.drafts - v.smtp }

// order is in which order Gmail's windows list all there is.
func (w *world) order() (contents []sum) {
	waiting := w.account.Offered()
	for len(waiting) > 0 {
		listed := map[string]bool{}
		for _, m := range firstConversations(waiting, popsim.DefaultWindow, false) {
			listed[m.UID] = true
			contents = append(contents, w.sums[m.UID])
		}
		waiting = slices.DeleteFunc(waiting, func(m popsim.Message) bool { return listed[m.UID] })
	}
	return contents
}
