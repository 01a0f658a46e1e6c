package faults

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/test/program"
)

const rowUser = "neighbours: the user moves and deletes mail here"

// readsAndDeletes does as a user does without popfetchd's knowledge: mail that was read goes from new/ to cur/, some of it
// into a folder, and some is deleted. Those are returned, and are no longer wanted.
func (p *postbox) readsAndDeletes(subjects ...string) {
	p.t.Helper()
	if p.Kind == "mbox" {
		newNeighbour(p.t, p.Account).rewrites(false, subjects...)
	} else {
		p.sortsMaildir(subjects)
	}
	for _, subject := range subjects {
		delete(p.want, subject)
	}
}

func (p *postbox) sortsMaildir(subjects []string) {
	p.t.Helper()
	folder := filepath.Join(p.Mailbox, ".Old", "cur")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		p.t.Fatal(err)
	}
	for i, path := range maildirFiles(p.t, p.Account) {
		text, err := os.ReadFile(path)
		if err != nil {
			p.t.Fatal(err)
		}
		name, _, _ := strings.Cut(filepath.Base(path), ":")
		switch {
		case !slices.Contains(subjects, subjectOf(string(text))):
			err = os.Rename(path, filepath.Join(p.Mailbox, "cur", name+":2,"+[]string{"", "S", "FRS", "Sab"}[i%4]))
		case i%2 == 0:
			err = os.Rename(path, filepath.Join(folder, name+":2,S"))
		default:
			err = os.Remove(path)
		}
		if err != nil {
			p.t.Fatal(err)
		}
	}
}

// What the user deletes here, or moves elsewhere, is not fetched again, whatever is asked for: not by the next run, not
// after verify said what is missing, not after repair.
func TestDeletedHere(t *testing.T) {
	inBoth(t, "", func(t *testing.T, kind string) {
		p := newPostbox(t, kind)
		p.receives(numbered("a", 12)...)
		p.fetches(12)
		p.readsAndDeletes("a-0", "a-5", "a-6", "a-11")
		p.misses(4)
		p.fetches(0)
		p.runs(0, "repair")
		p.fetches(0)
		p.misses(4)
		p.receives("b")
		p.fetches(1)
		weigh(t, rowUser, p.Account, p.want, false)
		p.misses(4)
		p.NoLeftovers(t)
	})
}

// With delete_after the server's copy of what the user deleted here stays, because it may be the last one; all others go
// when their time is over, also those that a mail reader has moved and marked.
func TestDeletedHereBeforeItGoesThere(t *testing.T) {
	for _, marks := range []bool{false, true} {
		prefix := map[bool]string{false: "", true: "marked by mutt/"}[marks]
		inBoth(t, prefix, func(t *testing.T, kind string) {
			c := newClocked(t, kind, "policy: delete", "delete_after: 30d")
			c.receives(append(numbered("keep", 6), "flag-0", "gone-0", "gone-1")...)
			c.fetches()
			if marks {
				newMutt(t, c.postbox)(true)
				delete(c.want, "gone-0")
				delete(c.want, "gone-1")
			} else {
				c.readsAndDeletes("gone-0", "gone-1")
			}
			c.set(31 * 24 * time.Hour)
			c.fetches()
			c.fetches()
			weigh(t, rowUser, c.Account, c.want, marks)
			var left []string
			for _, m := range c.server.Messages() {
				left = append(left, m.UID)
			}
			if !slices.Equal(left, []string{"uid-gone-0", "uid-gone-1"}) {
				t.Errorf("on the server are still %q", left)
			}
			if o := program.Finish(t, c.command("status", "--json")); !strings.Contains(o.Stdout, `"held_back":2`) {
				t.Errorf("status does not say that two are held back: %s", o.Stdout)
			}
		})
	}
}
