package ledger_test

import (
	"slices"
	"testing"

	"github.com/popfetchd/popfetchd/internal/ledger"
)

// at is a message at a place in an mbox that two accounts share.
func at(offset int64) ledger.Message {
	return ledger.Message{Mailbox: "/mail/box", Offset: offset, Length: 10, Size: 5}
}

func named(name string) ledger.Message {
	return ledger.Message{Mailbox: "/mail/dir", Name: name, Size: 5}
}

func keyed(uid string, m ledger.Message) ledger.Message {
	m.Key = ledger.Key{UID: uid}
	return m
}

func checkStrays(t *testing.T, l *ledger.Ledger, account string, want ...ledger.Message) {
	t.Helper()
	if strays, err := l.Strays(account); err != nil || !slices.Equal(strays, want) {
		t.Errorf("the strays of %s are %+v, %v\nwant %+v", account, strays, err, want)
	}
}

// TestStraysLieAtNoRowsPlace: what has a row, whosever it is and however it got there, is no stray, nor is it one twice.
func TestStraysLieAtNoRowsPlace(t *testing.T) {
	l, _ := newLedger(t)
	ok(t, l.Enroll("isp", "/mail/isp"))
	ok(t, l.Commit("gmail", []ledger.Message{keyed("a", at(0)), keyed("b", named("b")), keyed("c", at(1000))}, 0))
	found := []ledger.Message{at(0), at(10), at(20), at(30), named("b"), named("x"), named("x"), named("y")}
	for _, account := range []string{"gmail", "isp"} {
		ok(t, l.SetStrays(account, found))
		checkStrays(t, l, account, at(10), at(20), at(30), named("x"), named("y"))
	}
	ok(t, l.Commit("isp", []ledger.Message{keyed("a", at(10)), keyed("b", named("x"))}, 0))
	ok(t, l.Relocate("gmail", []ledger.Message{keyed("c", at(20)), keyed("unknown", at(30))}))
	for _, account := range []string{"gmail", "isp"} {
		checkStrays(t, l, account, at(30), named("y"))
	}
	ok(t, l.SetStrays("gmail", nil))
	checkStrays(t, l, "gmail")
	checkStrays(t, l, "isp", at(30), named("y"))
}

// TestRelocate: from an mbox to a Maildir and back; a message taken as already had lies nowhere, and is not moved.
func TestRelocate(t *testing.T) {
	l, _ := newLedger(t)
	a, had := keyed("a", at(7)), keyed("had", at(8))
	ok(t, l.Commit("gmail", []ledger.Message{a}, 0))
	ok(t, l.SetBaseline("gmail", a.StoredAt, []ledger.Key{had.Key}))
	for _, place := range []ledger.Message{named("n"), at(9)} {
		ok(t, l.Relocate("gmail", []ledger.Message{keyed("a", place), had}))
		rows, err := l.Rows("gmail", []ledger.Key{had.Key, a.Key})
		ok(t, err)
		if len(rows) != 1 || rows[0].Key != a.Key || rows[0].Mailbox != place.Mailbox || rows[0].Name != place.Name || rows[0].Offset != place.Offset || rows[0].Length != place.Length {
			t.Errorf("relocated to %+v, it lies at %+v", place, rows)
		}
	}
}

// TestRekey: a message goes on under its new key with all that is known of it, and is no failure by that key.
func TestRekey(t *testing.T) {
	l, _ := newLedger(t)
	message := keyed("old", named("n"))
	message.Deletion = ledger.Pending
	ok(t, l.Commit("gmail", []ledger.Message{message, keyed("other", named("o"))}, 0))
	next := ledger.Key{UID: "new", ListedSize: 9, Occurrence: 1}
	ok(t, l.Fail("gmail", []ledger.Failure{{Key: next, Reason: ledger.Refused}, {Key: message.Key, Reason: ledger.Refused}}))
	if err := l.Rekey("gmail", []ledger.Key{message.Key, message.Key}, []ledger.Key{next, {UID: "other"}}); err != nil {
		t.Error("the second time there is no such message any more: ", err)
	}
	failures, err := l.Failures("gmail")
	ok(t, err)
	if len(failures) != 1 || failures[0].Key != message.Key {
		t.Errorf("failures: %+v", failures)
	}
	if err := l.Rekey("gmail", []ledger.Key{next}, []ledger.Key{{UID: "other"}}); err == nil {
		t.Error("a message took the key of another")
	}
	keys, err := l.Deletions("gmail", ledger.Pending)
	ok(t, err)
	if !slices.Equal(keys, []ledger.Key{next}) {
		t.Errorf("to be deleted: %+v", keys)
	}
}

// TestHasUIDs: keys of popfetchd's own do not count, nor do those of other accounts.
func TestHasUIDs(t *testing.T) {
	l, _ := newLedger(t)
	ok(t, l.Enroll("isp", "/mail/isp"))
	for _, step := range []struct {
		account, uid string
		gmail, isp   bool
	}{{"gmail", " own", false, false}, {"isp", "x", false, true}, {"gmail", "", true, true}} {
		ok(t, l.Commit(step.account, []ledger.Message{keyed(step.uid, named("n"+step.uid))}, 0))
		gmail, err := l.HasUIDs("gmail")
		ok(t, err)
		isp, err := l.HasUIDs("isp")
		ok(t, err)
		if gmail != step.gmail || isp != step.isp {
			t.Errorf("after %q of %s: gmail %t, isp %t", step.uid, step.account, gmail, isp)
		}
	}
}

// TestRetry takes up what failed, by UID or all of it, but not what is too large.
func TestRetry(t *testing.T) {
	l, _ := newLedger(t)
	failures := []ledger.Failure{{Key: ledger.Key{UID: "a"}, Reason: ledger.Refused}, {Key: ledger.Key{UID: "a", Occurrence: 1}, Reason: ledger.Broken},
		{Key: ledger.Key{UID: "b"}, Reason: ledger.Refused}, {Key: ledger.Key{UID: "large"}, Reason: ledger.TooLarge}}
	ok(t, l.Fail("gmail", failures))
	for _, step := range []struct {
		account string
		uids    []string
		n, left int
	}{{"nobody", nil, 0, 4}, {"gmail", []string{"large", "none"}, 0, 4}, {"gmail", []string{"a", "a"}, 2, 2}, {"gmail", nil, 1, 1}, {"gmail", nil, 0, 1}} {
		n, err := l.Retry(step.account, step.uids)
		ok(t, err)
		left, err := l.Failures("gmail")
		ok(t, err)
		if n != step.n || len(left) != step.left {
			t.Errorf("%s %q: %d taken up, %d left; want %d and %d", step.account, step.uids, n, len(left), step.n, step.left)
		}
	}
}
