package ledger_test

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/ledger"
)

// FuzzKeys: whatever bytes a server lists as UIDs, they come back as they were, tell messages apart, and can be replaced.
func FuzzKeys(f *testing.F) {
	for i, uid := range nastyUIDs()[:40] {
		f.Add([]byte(uid), []byte(uid+"\x00"), int64(i), uint8(i))
	}
	f.Add([]byte(""), []byte("\x00"), int64(0), uint8(0))
	f.Add([]byte("\x00"), []byte("\x00\x00"), int64(-1), uint8(1))
	f.Add([]byte("a\x00b"), []byte("a\x00c"), int64(1<<62), uint8(255))
	f.Add([]byte("\xff"), []byte("\xef\xbf\xbd"), int64(1), uint8(2)) // what no UTF-8 is replaced with elsewhere
	path := filepath.Join(f.TempDir(), "ledger.db")
	l := open(f, path)
	f.Cleanup(func() { _ = l.Close() })
	ok(f, l.Enroll("gmail", "/mail"))
	round := 0
	f.Fuzz(func(t *testing.T, a, b []byte, size int64, occurrence uint8) {
		round++ // a size that no earlier round had: what they left is in the way of none
		keyA := ledger.Key{UID: string(a), ListedSize: size, Occurrence: int(occurrence) + 1000*round}
		keyB := ledger.Key{UID: string(b), ListedSize: size, Occurrence: keyA.Occurrence}
		checkKeys(t, l, keyA, keyB)
	})
}

// checkKeys has a message of key a stored, then known by key b instead.
func checkKeys(t *testing.T, l *ledger.Ledger, a, b ledger.Key) {
	message := ledger.Message{Key: a, Mailbox: "/mail", Name: "name", Size: 1, StoredAt: time.Unix(1, 0), Deletion: ledger.Held}
	intent := ledger.Intent{Account: "gmail", Path: "/box", Messages: []ledger.Message{message}}
	number, err := l.Intend("gmail", intent)
	ok(t, err)
	intents, err := l.Intents("gmail")
	ok(t, err)
	if len(intents) != 1 || intents[0].Messages[0].Key != a {
		t.Fatalf("the intent of %+v came back as %+v", a, intents)
	}
	ok(t, l.Fail("gmail", []ledger.Failure{{Key: a, Reason: ledger.Refused, Error: a.UID}, {Key: b, Reason: ledger.Broken, Error: b.UID}}))
	failures, err := l.Failures("gmail")
	ok(t, err)
	want := 2
	if a == b {
		want = 1
	}
	if len(failures) != want || !slices.ContainsFunc(failures, func(f ledger.Failure) bool { return f.Key == b && f.Error == b.UID }) {
		t.Fatalf("failures of %+v and %+v came back as %+v", a, b, failures)
	}
	ok(t, l.Commit("gmail", []ledger.Message{message}, number))
	checkKnown(t, l, message, b)
	ok(t, l.Rekey("gmail", []ledger.Key{a}, []ledger.Key{b}))
	message.Key = b
	checkKnown(t, l, message, a)
	if has, err := l.HasUIDs("gmail"); err != nil || len(b.UID) > 0 && b.UID[0] != ' ' && !has {
		t.Fatalf("HasUIDs with %q: %t, %v", b.UID, has, err)
	}
	ok(t, l.SetDeletion("gmail", []ledger.Key{b}, ledger.Deleted))
	if failures, err = l.Failures("gmail"); err != nil || len(failures) != 0 {
		t.Fatalf("failures are left: %+v, %v", failures, err)
	}
}

// checkKnown wants the message to be held back and the only one known of the two keys.
func checkKnown(t *testing.T, l *ledger.Ledger, message ledger.Message, other ledger.Key) {
	t.Helper()
	keys := []ledger.Key{other, message.Key}
	states, err := l.States("gmail", keys)
	ok(t, err)
	if !states[1].Known || !states[1].Stored || states[1].Deletion != ledger.Held || states[1].Failure != nil || states[0].Known != (other == message.Key) {
		t.Fatalf("states of %+v: %+v", keys, states)
	}
	held, err := l.Deletions("gmail", ledger.Held)
	ok(t, err)
	if !slices.Equal(held, []ledger.Key{message.Key}) {
		t.Fatalf("%+v is held back as %+v", message.Key, held)
	}
	rows, err := l.Rows("gmail", []ledger.Key{message.Key})
	ok(t, err)
	if !slices.Equal(rows, []ledger.Message{message}) {
		t.Fatalf("%+v came back as %+v", message, rows)
	}
}
