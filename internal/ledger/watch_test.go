package ledger_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/ledger"
)

// TestTrafficCountsADay: what was received counts for 24 hours and no less, by five minutes; a clock that goes wrong counts nothing
// for ever.
func TestTrafficCountsADay(t *testing.T) {
	l, _ := newLedger(t)
	noon := time.Unix(1_790_000_100, 0) // a multiple of five minutes
	sum := func(now time.Time) (octets int64) {
		t.Helper()
		traffic, err := l.Traffic("gmail", now.Add(-24*time.Hour))
		ok(t, err)
		for _, counted := range traffic {
			octets += counted.Octets
		}
		return octets
	}
	for _, counted := range []struct {
		at     time.Duration
		octets int64
	}{{0, 100}, {299*time.Second + 999_999_999, 10}, {300 * time.Second, 1000}, {301 * time.Second, -400}, {time.Second, 0}} {
		ok(t, l.AddTraffic("gmail", noon.Add(counted.at), counted.octets))
	}
	traffic, err := l.Traffic("gmail", noon.Add(-24*time.Hour))
	if want := []ledger.Traffic{{At: noon.Add(5 * time.Minute), Octets: 110}, {At: noon.Add(10 * time.Minute), Octets: 600}}; err != nil || !slices.Equal(traffic, want) {
		t.Errorf("counted %+v, %v, want %+v", traffic, err, want)
	}
	const day = 24 * time.Hour
	for later, want := range map[time.Duration]int64{0: 710, day: 710, day + 299*time.Second: 710, day + 300*time.Second: 600, day + 600*time.Second: 0} {
		if got := sum(noon.Add(later)); got != want {
			t.Errorf("%v later %d octets count, want %d", later, got, want)
		}
	}
	ok(t, l.AddTraffic("gmail", noon.AddDate(10, 0, 0), 1<<40))
	if got := sum(noon); got != 0 {
		t.Errorf("after a clock was ten years ahead %d octets count", got)
	}
	ok(t, l.AddTraffic("gmail", noon, 7))
	if got := sum(noon.AddDate(10, 0, 0)); got != 0 {
		t.Errorf("ten years later %d octets count", got)
	}
}

// TestHolds: one replaces the other, the end of a run that failed leaves it, a success or Lift ends it; other accounts have their own.
func TestHolds(t *testing.T) {
	l, _ := newLedger(t)
	ok(t, l.Enroll("isp", "/mail/isp"))
	at := time.Unix(1_790_000_000, 0)
	refused := ledger.Hold{Reason: ledger.LoginRefused, Since: at, Until: at.Add(time.Hour), Times: 2, Mark: []byte{0, 0xff}, Salt: []byte{1}, Problem: "no \xff"}
	quota := ledger.Hold{Reason: ledger.OverQuota, Since: at, Times: 1}
	check := func(what string, want ledger.Hold) {
		t.Helper()
		hold, err := l.Hold("gmail")
		ok(t, err)
		summary, err := l.Summary("gmail")
		ok(t, err)
		if !reflect.DeepEqual(hold, want) || !reflect.DeepEqual(summary.Hold, want) || hold.IsZero() != (want.Reason == "") {
			t.Errorf("%s: %+v, in the summary %+v; want %+v", what, hold, summary.Hold, want)
		}
	}
	check("at first", ledger.Hold{})
	ok(t, l.SetHold("isp", quota))
	for name, end := range map[string]func() error{
		"a success":   func() error { return l.Finish("gmail", at, "", false) },
		"Lift":        func() error { return l.Lift("gmail") },
		"a zero hold": func() error { return l.SetHold("gmail", ledger.Hold{}) },
	} {
		ok(t, l.SetHold("gmail", refused))
		ok(t, l.Finish("gmail", at, "login refused", true))
		check("after a run that failed", refused)
		ok(t, l.SetHold("gmail", quota))
		check("replaced", quota)
		ok(t, end())
		check("after "+name, ledger.Hold{})
	}
	if hold, err := l.Hold("isp"); err != nil || !reflect.DeepEqual(hold, quota) {
		t.Errorf("another account's: %+v, %v", hold, err)
	}
	ok(t, l.Lift("nobody"))
}

// TestUnderway: what was asked for stays until it is stored, known, or said to have arrived, also when the ledger is opened anew.
func TestUnderway(t *testing.T) {
	l, path := newLedger(t)
	key := func(uid string) ledger.Key { return ledger.Key{UID: uid, ListedSize: 5, Occurrence: 1} }
	check := func(what string, want ...ledger.Key) {
		t.Helper()
		if keys, err := l.Underway("gmail"); err != nil || !slices.Equal(keys, want) {
			t.Errorf("%s: %v, %v; want %v", what, keys, err, want)
		}
	}
	stored := ledger.Message{Key: key("stored"), Mailbox: "/mail/gmail", Name: "s"}
	ok(t, l.Commit("gmail", []ledger.Message{stored}, 0))
	ok(t, l.SetUnderway("gmail", []ledger.Key{key("d"), key("c"), key("b"), key("stored")}))
	ok(t, l.SetUnderway("gmail", []ledger.Key{key("a"), key("b"), {UID: "a"}, key("e")}))
	check("asked for", ledger.Key{UID: "a"}, key("a"), key("b"), key("c"), key("d"), key("e"))
	ok(t, l.Close())
	l = open(t, path)
	defer l.Close()
	check("opened anew", ledger.Key{UID: "a"}, key("a"), key("b"), key("c"), key("d"), key("e"))
	ok(t, l.Commit("gmail", []ledger.Message{{Key: key("a"), Mailbox: "/mail/gmail", Name: "a"}}, 0))
	check("stored, in whatever size", key("b"), key("c"), key("d"), key("e"))
	ok(t, l.SetBaseline("gmail", time.Unix(1, 0), []ledger.Key{key("b")}))
	ok(t, l.Arrived("gmail", []ledger.Key{key("e"), key("none")}))
	check("taken as had, and arrived", key("c"), key("d"))
	ok(t, l.Rekey("gmail", []ledger.Key{stored.Key}, []ledger.Key{key("c")}))
	check("known by another key", key("d"))
}

// TestCommitThatFailsLeavesUnderway: what is stored and what is underway change together or not at all.
func TestCommitThatFailsLeavesUnderway(t *testing.T) {
	l, _ := newLedger(t)
	a := ledger.Message{Key: ledger.Key{UID: "a"}, Mailbox: "/mail/gmail", Name: "a"}
	b := ledger.Message{Key: ledger.Key{UID: "b"}, Mailbox: "/mail/gmail", Name: "b"}
	ok(t, l.Commit("gmail", []ledger.Message{b}, 0))
	ok(t, l.SetUnderway("gmail", []ledger.Key{a.Key}))
	if err := l.Commit("gmail", []ledger.Message{a, b}, 0); err == nil {
		t.Fatal("b was stored twice")
	}
	if keys, err := l.Underway("gmail"); err != nil || !slices.Equal(keys, []ledger.Key{a.Key}) {
		t.Errorf("underway: %v, %v", keys, err)
	}
}

// TestByUID: whatever their sizes, across the borders of the groups that are asked for at once; what is stored goes first.
func TestByUID(t *testing.T) {
	l, _ := newLedger(t)
	keys := gmailKeys(1200)
	ok(t, l.Commit("gmail", filed(keys), 0))
	twice := ledger.Key{UID: "twice", ListedSize: 900}
	ok(t, l.SetBaseline("gmail", time.Unix(1, 0), []ledger.Key{{UID: "twice", ListedSize: 1}, {UID: "had", ListedSize: 3}, {UID: "had", ListedSize: 2, Occurrence: 1}}))
	ok(t, l.Commit("gmail", []ledger.Message{{Key: twice, Mailbox: "/mail/gmail", Name: "twice"}}, 0))
	for _, n := range []int{0, 1, 497, 498, 499, 500, 997, 1200} {
		uids := []string{"none", "twice", "had"}
		want := map[string]ledger.Key{"twice": twice, "had": {UID: "had", ListedSize: 2, Occurrence: 1}}
		for _, key := range keys[:n] {
			uids, want[key.UID] = append(uids, key.UID), key
		}
		found, err := l.ByUID("gmail", append(uids, "twice"))
		if err != nil || !reflect.DeepEqual(found, want) {
			t.Fatalf("of %d UIDs: %d found, %v", len(uids), len(found), err)
		}
	}
	for _, account := range []string{"gmail", "nobody"} {
		if found, err := l.ByUID(account, nil); err != nil || found == nil || len(found) > 0 {
			t.Errorf("of no UIDs: %v, %v", found, err)
		}
	}
}

func TestNotes(t *testing.T) {
	l, _ := newLedger(t)
	at := time.Unix(1_790_000_000, 0)
	ok(t, l.SetNote("gmail", "a", at.Add(time.Hour)))
	ok(t, l.SetNote("gmail", "a", at.Add(time.Second-1)))
	ok(t, l.SetNote("gmail", "b", at))
	ok(t, l.SetNote("gmail", "b", time.Time{}))
	for name, want := range map[string]time.Time{"a": at, "b": {}, "none": {}} {
		if got, err := l.Note("gmail", name); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
	}
}
