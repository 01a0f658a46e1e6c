package ledger_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/ledger"
)

// nastyUIDs are UIDs of every byte but NUL, alone and together, as a server that heeds no RFC could list them.
func nastyUIDs() []string {
	uids := []string{`'; DROP TABLE messages; --`, `"`, "%s%d", "é", "e\u0301", "\xe9", "\xed\xa0\x80", "\xf4\x90\x80\x80", strings.Repeat("\xff", 1000), "1", "01", "1.0", "x", "X", "x "}
	var all []byte
	for b := 1; b <= 0xff; b++ {
		uids = append(uids, "byte "+string([]byte{byte(b)}))
		all = append(all, byte(b))
	}
	return append(uids, string(all))
}

func TestUIDsAreBytes(t *testing.T) {
	l, path := newLedger(t)
	var messages []ledger.Message
	var keys []ledger.Key
	for i, uid := range nastyUIDs() {
		key := ledger.Key{UID: uid, ListedSize: 7}
		keys = append(keys, key)
		messages = append(messages, ledger.Message{Key: key, Mailbox: "/mail/\xff box", Offset: int64(i), Length: 1, StoredAt: time.Unix(1, 0), Deletion: ledger.Pending})
	}
	intent := ledger.Intent{Account: "gmail", Path: "/mail/\xff box", Spool: "/state/\xfe spool", Messages: messages}
	var err error
	intent.ID, err = l.Intend("gmail", intent)
	ok(t, err)
	intents, err := l.Intents("gmail")
	ok(t, err)
	if !reflect.DeepEqual(intents, []ledger.Intent{intent}) {
		t.Fatalf("an intent came back as %+v", intents)
	}
	var failures []ledger.Failure
	for _, key := range keys {
		failures = append(failures, ledger.Failure{Key: key, Reason: ledger.Refused, Error: key.UID})
	}
	ok(t, l.Fail("gmail", failures))
	ok(t, l.Close())

	l = open(t, path)
	defer l.Close()
	states, err := l.States("gmail", keys)
	ok(t, err)
	for i, state := range states {
		if state.Known || state.Failure == nil || *state.Failure != failures[i] {
			t.Errorf("before it is stored, %q is %+v", keys[i].UID, state)
		}
	}
	ok(t, l.Commit("gmail", intents[0].Messages, intent.ID))
	states, err = l.States("gmail", keys)
	ok(t, err)
	for i, state := range states {
		if want := (ledger.State{Known: true, Stored: true, StoredAt: time.Unix(1, 0), Deletion: ledger.Pending}); state != want {
			t.Errorf("once it is stored, %q is %+v", keys[i].UID, state)
		}
	}
	pending, err := l.Deletions("gmail", ledger.Pending)
	ok(t, err)
	if len(pending) != len(keys) || !sameKeys(pending, keys) {
		t.Errorf("%d UIDs to delete of %d", len(pending), len(keys))
	}
	i := 0
	for message, err := range l.Stored("gmail") {
		ok(t, err)
		if message != messages[i] {
			t.Errorf("stored %+v, came back as %+v", messages[i], message)
		}
		i++
	}
}

func sameKeys(a, b []ledger.Key) bool {
	set := map[ledger.Key]bool{}
	for _, key := range a {
		set[key] = true
	}
	for _, key := range b {
		if !set[key] {
			return false
		}
	}
	return len(set) == len(b)
}

// TestKeyIsUIDSizeAndOccurrence: what differs in any of them, or is another account's, is another message.
func TestKeyIsUIDSizeAndOccurrence(t *testing.T) {
	l, _ := newLedger(t)
	ok(t, l.Enroll("isp", "/mail/isp"))
	key := ledger.Key{UID: "a", ListedSize: 100, Occurrence: 1}
	others := []ledger.Key{{UID: "A", ListedSize: 100, Occurrence: 1}, {UID: "a ", ListedSize: 100, Occurrence: 1}, {UID: "", ListedSize: 100, Occurrence: 1},
		{UID: "a", ListedSize: 101, Occurrence: 1}, {UID: "a", ListedSize: 100}, {UID: "a", ListedSize: 100, Occurrence: 2}}
	ok(t, l.Commit("gmail", []ledger.Message{{Key: key, Mailbox: "/m", Name: "n"}}, 0))
	states, err := l.States("gmail", append(others, key))
	ok(t, err)
	for i, other := range others {
		if states[i].Known {
			t.Errorf("%+v passes for %+v", other, key)
		}
	}
	if !states[len(others)].Known {
		t.Errorf("%+v is not known", key)
	}
	states, err = l.States("isp", []ledger.Key{key})
	ok(t, err)
	if states[0].Known {
		t.Error("another account's message is known")
	}
	for i, other := range others {
		ok(t, l.Commit("gmail", []ledger.Message{{Key: other, Mailbox: "/m", Name: fmt.Sprint(i)}}, 0))
	}
}

// TestStatesOfManyKeys asks across the borders of the groups in which keys are looked up, in no order, some twice.
func TestStatesOfManyKeys(t *testing.T) {
	l, _ := newLedger(t)
	known := gmailKeys(1500)
	ok(t, l.Commit("gmail", filed(known), 0))
	ok(t, l.Fail("gmail", []ledger.Failure{{Key: ledger.Key{UID: "failed"}, Reason: ledger.Broken, Attempts: 3}}))
	for _, n := range []int{0, 1, 499, 500, 501, 999, 1000, 1001, 1500} {
		keys := append([]ledger.Key{{UID: "unknown"}, {UID: "failed"}}, known[:n]...)
		keys = append(keys, ledger.Key{UID: "zzz"}, ledger.Key{UID: "failed"}, known[0])
		states, err := l.States("gmail", keys)
		ok(t, err)
		for i, state := range states {
			failed := keys[i].UID == "failed"
			stored := i >= 2 && i < n+2 || i == len(keys)-1
			if state.Known != stored || state.Stored != stored || (state.Failure != nil) != failed || failed && state.Failure.Attempts != 3 {
				t.Fatalf("with %d keys, number %d (%+v) is %+v", n, i, keys[i], state)
			}
		}
	}
}

func TestUnknownAccountIsEmptyToReadersAndAnErrorToWriters(t *testing.T) {
	l, _ := newLedger(t)
	keys := []ledger.Key{{UID: "a"}}
	states, err := l.States("isp", keys)
	ok(t, err)
	if len(states) != 1 || states[0] != (ledger.State{}) {
		t.Errorf("states %+v", states)
	}
	summary, err := l.Summary("isp")
	ok(t, err)
	if !reflect.DeepEqual(summary, ledger.Summary{}) {
		t.Errorf("summary %+v", summary)
	}
	_, intendErr := l.Intend("isp", ledger.Intent{})
	for what, err := range map[string]error{
		"Commit":      l.Commit("isp", []ledger.Message{{Key: keys[0], Mailbox: "/m", Name: "n"}}, 0),
		"Fail":        l.Fail("isp", []ledger.Failure{{Key: keys[0]}}),
		"SetBaseline": l.SetBaseline("isp", time.Unix(1, 0), keys),
		"SetDeletion": l.SetDeletion("isp", keys, ledger.Pending),
		"Finish":      l.Finish("isp", time.Unix(1, 0), "", true),
		"Unsettle":    l.Unsettle("isp", "/m"),
		"Intend":      intendErr,
	} {
		var problem *ledger.Error
		if !errors.As(err, &problem) || !strings.Contains(err.Error(), `account "isp" is not enrolled`) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestNewAccountIsUnsettled: its mailbox may hold mail from before this ledger, so the first run looks there.
func TestNewAccountIsUnsettled(t *testing.T) {
	l, _ := newLedger(t)
	paths, err := l.Unsettled("gmail")
	ok(t, err)
	if !reflect.DeepEqual(paths, []string{"/mail/gmail"}) {
		t.Errorf("unsettled: %q", paths)
	}
	ok(t, l.Settle("gmail"))
	ok(t, l.Enroll("gmail", "/mail/elsewhere"))
	if paths, err = l.Unsettled("gmail"); err != nil || len(paths) != 0 {
		t.Errorf("enrolled again: %q, %v", paths, err)
	}
}
