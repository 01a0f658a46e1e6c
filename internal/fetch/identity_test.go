package fetch_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// Two messages with the same UID are two messages, whether or not they have the same size.
func TestDuplicateUIDs(t *testing.T) {
	for _, second := range []string{"two", "longer"} {
		t.Run(second, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, popsim.Config{})
			one, two := w.deliver("same", "one"), w.deliver("same", second)
			w.succeed(fetch.Report{Listed: 2, New: 2, Stored: 2})
			w.succeed(fetch.Report{Listed: 2})
			three := w.deliver("same", "six")
			w.succeed(fetch.Report{Listed: 3, New: 1, Stored: 1})
			w.holds(one, two, three)
			w.set("policy", "delete")
			w.succeed(fetch.Report{Listed: 3, Deleted: 3})
			w.left()
		})
	}
}

// One of two with the same UID goes away on the server: the other is not fetched again.
func TestOneDuplicateIsRemoved(t *testing.T) {
	for _, second := range []string{"two", "longer"} {
		t.Run(second, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, popsim.Config{})
			one, two := w.deliver("same", "one"), w.deliver("same", second)
			w.succeed(fetch.Report{Listed: 2, New: 2, Stored: 2})
			w.account.Remove("same")
			w.account.Deliver(two)
			w.succeed(fetch.Report{Listed: 1})
			w.holds(one, two)
		})
	}
}

// While one of two with the same UID and size is not stored, the other is not deleted: it would leave its place in the
// listing, by which alone they can be told apart, to the one that was never fetched.
func TestDuplicateIsNotDeletedBeforeTheOtherIsStored(t *testing.T) {
	w := newWorld(t, popsim.Config{Pipelining: true}, "policy: delete")
	one, two := w.deliver("same", "one"), w.deliver("same", "two")
	w.deliver("other", "x")
	w.server.SetFault(popsim.On("RETR", 2, popsim.Refuse("not now")))
	w.succeed(fetch.Report{Listed: 3, New: 3, Stored: 2, Failed: 1, Deleted: 1, PendingDelete: 1})
	w.left("same", "same")
	w.succeed(fetch.Report{Listed: 2, Skipped: 1, PendingDelete: 1})
	w.left("same", "same")
	w.mend()
	w.pass(time.Minute)
	w.succeed(fetch.Report{Listed: 2, New: 1, Stored: 1, Deleted: 2})
	w.left()
	w.retrieved(map[string]int{"same": 2})
	if got := w.mail(w.box); len(got) != 3 || !strings.Contains(strings.Join(got, ""), string(one.Stored())) || !strings.Contains(strings.Join(got, ""), string(two.Stored())) {
		t.Errorf("stored: %q", got)
	}
}

// A UID that is used again for a message of another size and other content is another message.
func TestReusedUID(t *testing.T) {
	for _, policy := range []string{"keep", "delete"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, popsim.Config{}, "policy: "+policy)
			one := w.deliver("1", "one")
			w.run()
			w.account.Remove("1")
			two := w.deliver("1", "another")
			want := fetch.Report{Listed: 1, New: 1, Stored: 1}
			if policy == "delete" {
				want.Deleted = 1
			}
			w.succeed(want)
			w.holds(one, two)
		})
	}
}

// A server that lists other sizes than before for some of its messages, by the same UIDs, lists the same messages: their content
// says so. They are fetched once more for that, and no more.
func TestOtherSizes(t *testing.T) {
	for _, lines := range [][]string{{"policy: keep"}, {"policy: delete"}, {"policy: delete", "delete_after: 30d"}} {
		boxes(t, func(t *testing.T, box string) {
			more := int64(0)
			size := func(m popsim.Message) int64 {
				if len(m.UID) == 2 {
					return m.Octets()
				}
				return m.Octets() + more
			}
			w := newWorld(t, popsim.Config{ListedSize: size}, append(lines, box)...)
			w.deliverN(12)
			w.deliver("twice", "one")
			w.deliver("twice", "another")
			all := w.account.Messages()
			w.server.SetFault(popsim.On("QUIT", 0, popsim.HangUp()))
			if r := w.run(); r.Stored != 14 {
				t.Fatalf("%+v", r)
			}
			w.mend()
			w.pass(time.Hour)
			more = 5
			w.account.Remove("0") // another message has its UID now
			fresh := w.deliver("0", "all play and no work")
			want := fetch.Report{Listed: 14, New: 1, Stored: 1}
			if len(lines) == 1 && lines[0] == "policy: delete" {
				want.Deleted = 14
			}
			w.succeed(want)
			w.holds(append(all, fresh)...)
			w.retrieved(map[string]int{"1": 2, "9": 2, "10": 1, "11": 1})
			want = fetch.Report{Listed: 14 - want.Deleted}
			w.succeed(want)
			if len(lines) == 2 {
				w.pass(31 * 24 * time.Hour)
				want.Deleted = 14
				w.succeed(want)
			}
			w.holds(append(all, fresh)...)
		})
	}
}

// A UID may be used again once its message is gone (RFC 1939 §7), and the new one may have the old one's size. Only a look at
// it tells them apart: another message is stored and deleted like any other, the same one is only deleted again.
func TestUIDReusedAfterDeletion(t *testing.T) {
	boxes(t, func(t *testing.T, box string) {
		w := newWorld(t, popsim.Config{}, box, "policy: delete")
		one := w.deliver("1", "one")
		w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1, Deleted: 1})
		two := w.deliver("1", "two")
		w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1, Deleted: 1})
		w.left()
		w.holds(one, two)
		w.deliver("1", "two")
		w.succeed(fetch.Report{Listed: 1, Deleted: 1})
		w.left()
		w.holds(one, two)
		three := w.deliver("1", "six")
		w.deliver("1", "one")
		w.succeed(fetch.Report{Listed: 2, New: 1, Stored: 1, Deleted: 2})
		w.left()
		w.holds(one, two, three)
	})
}

// A message that comes back after its deletion was confirmed, with a policy that keeps it by now, is looked at once.
func TestListedAgainWithPolicyKeep(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "policy: delete")
	one := w.deliver("1", "one")
	w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1, Deleted: 1})
	w.set("policy", "keep")
	w.deliver("1", "one")
	w.succeed(fetch.Report{Listed: 1})
	w.succeed(fetch.Report{Listed: 1})
	w.retrieved(map[string]int{"1": 2})
	w.holds(one)
}

// With two of the same UID and size, of which one was deleted earlier, the one that is left is still deleted in time.
func TestDuplicateLeftOver(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "policy: delete", "delete_after: 2d")
	one := w.deliver("same", "one")
	w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1})
	w.pass(24 * time.Hour)
	two := w.deliver("same", "two")
	w.succeed(fetch.Report{Listed: 2, New: 1, Stored: 1})
	w.pass(24 * time.Hour)
	w.succeed(fetch.Report{Listed: 2, Deleted: 1})
	w.left("same")
	w.pass(24*time.Hour - time.Second)
	w.succeed(fetch.Report{Listed: 1})
	w.pass(time.Second)
	w.succeed(fetch.Report{Listed: 1, Deleted: 1})
	w.left()
	w.holds(one, two)
}

// A message that vanishes from a listing and comes back is still known.
func TestVanishedMessageIsNotForgotten(t *testing.T) {
	w := newWorld(t, popsim.Config{})
	a := w.deliver("a", "1")
	w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1})
	w.account.Remove("a")
	w.succeed(fetch.Report{})
	w.account.Deliver(a)
	w.succeed(fetch.Report{Listed: 1})
	w.holds(a)
}

func TestFromNowOn(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "access: from-now-on", "policy: delete")
	w.deliver("old", "1")
	w.deliver("older", "2")
	w.succeed(fetch.Report{Listed: 2})
	a := w.deliver("new", "3")
	w.succeed(fetch.Report{Listed: 3, New: 1, Stored: 1, Deleted: 1})
	w.left("old", "older")
	w.pass(1000 * time.Hour)
	w.succeed(fetch.Report{Listed: 2})
	w.left("old", "older")
	w.holds(a)
}

// An empty first listing is one too.
func TestFromNowOnWithEmptyMailbox(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "access: from-now-on")
	w.succeed(fetch.Report{})
	a := w.deliver("new", "1")
	w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1})
	w.holds(a)
}

func TestMaxMessageSize(t *testing.T) {
	w := newWorld(t, popsim.Config{Pipelining: true}, "policy: delete", "max_message_size: 1KB")
	small, large := w.deliver("small", "x"), w.deliver("large", strings.Repeat("x", 2000))
	w.succeed(fetch.Report{Listed: 2, New: 1, Stored: 1, Skipped: 1, Deleted: 1})
	w.left("large")
	w.retrieved(map[string]int{"large": 0})
	if n := w.summary().SetAside; n != 1 {
		t.Errorf("%d set aside, want 1", n)
	}
	w.succeed(fetch.Report{Listed: 1, Skipped: 1})
	if n := strings.Count(w.log.String(), "max_message_size"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	w.set("max_message_size", "10KB")
	w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1, Deleted: 1})
	w.holds(small, large)
	if n := w.summary().SetAside; n != 0 {
		t.Errorf("%d set aside, want none", n)
	}
}

// A size that is a lie costs a session, but no other message.
func TestMaxMessageSizeLiedAbout(t *testing.T) {
	w := newWorld(t, popsim.Config{Pipelining: true, ListedSize: func(popsim.Message) int64 { return 100 }}, "policy: delete", "max_message_size: 1KB")
	a := w.deliver("a", "x")
	w.deliver("large", strings.Repeat("x", 200_000))
	b := w.deliver("b", "y")
	w.deliver("larger", strings.Repeat("x", 1000))
	c := w.deliver("c", "z")
	r := w.succeed(fetch.Report{Listed: 5, New: 5, Stored: 3, Failed: 2, Deleted: 3})
	if r.Sessions != 4 { // the first shows that sizes are lies
		t.Errorf("%d sessions, want 4", r.Sessions)
	}
	w.left("large", "larger")
	w.holds(a, b, c)
	if n := w.summary().SetAside; n != 2 {
		t.Errorf("%d set aside, want 2", n)
	}
	w.succeed(fetch.Report{Listed: 2, Skipped: 2})
}

// What arrives, falls due or goes away between the sessions of one run is counted once, as what it is.
func TestCountsOverSessions(t *testing.T) {
	w := newWorld(t, popsim.Config{ListedSize: func(m popsim.Message) int64 { return min(m.Octets(), 900) }}, "max_message_size: 1KB")
	w.deliver("waiting", "x")
	w.fault("RETR", "waiting", popsim.Refuse("later"))
	w.succeed(fetch.Report{Listed: 1, New: 1, Failed: 1})
	w.deliver("a", "x")
	w.deliver("large", strings.Repeat("x", 2000))
	w.deliver("b", "x")
	w.server.SetFault(func(r popsim.Request) popsim.Action {
		if r.Command == "CONNECT" && r.Session == 3 {
			w.pass(time.Hour)
			w.deliver("c", "x")
			w.deliver("d", "x")
		}
		return popsim.Action{}
	})
	r := w.succeed(fetch.Report{Listed: 6, New: 5, Skipped: 1, Stored: 4, Failed: 1})
	if r.Sessions != 2 {
		t.Errorf("%d sessions, want 2", r.Sessions)
	}
	w.succeed(fetch.Report{Listed: 6, New: 1, Stored: 1, Skipped: 1})
}

// Paths with %Y-%m: by the day a message is stored, within one run and between two.
func TestMonthEnd(t *testing.T) {
	for _, box := range []string{"maildir", "mbox"} {
		t.Run(box, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, popsim.Config{}, box+": mail-%Y-%m")
			w.now = time.Date(2026, 1, 31, 23, 59, 50, 0, time.Local)
			a, b, c := w.deliver("a", "1"), w.deliver("b", "2"), w.deliver("c", "3")
			w.server.SetFault(func(r popsim.Request) popsim.Action {
				if r.Command == "RETR" && r.Message == 2 {
					w.pass(10 * time.Second) // a batch is ten seconds old at most: b is the last of its
				}
				return popsim.Action{}
			})
			w.succeed(fetch.Report{Listed: 3, New: 3, Stored: 3})
			w.mend()
			d := w.deliver("d", "4")
			w.pass(28 * 24 * time.Hour)
			w.succeed(fetch.Report{Listed: 4, New: 1, Stored: 1})
			w.boxHolds(filepath.Join(w.folder, "mail-2026-01"), a, b)
			w.boxHolds(filepath.Join(w.folder, "mail-2026-02"), c)
			w.boxHolds(filepath.Join(w.folder, "mail-2026-03"), d)
			v, err := w.fetcher.Verify(t.Context(), w.config(), 1)
			if err != nil || !v.OK() || v.Checked != 4 {
				t.Errorf("verify: %+v, %v", v, err)
			}
		})
	}
}
