package ledger_test

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/ledger"
	"pgregory.net/rapid"
)

// account is what the ledger should know of an account, in plain maps.
type account struct {
	messages  map[ledger.Key]ledger.Message // those of a baseline have no mailbox
	failures  map[ledger.Key]ledger.Failure
	intents   map[int64]ledger.Intent
	unsettled map[string]bool
	baseline  bool
	summary   ledger.Summary // only the fields about runs
}

// machine drives a ledger and a model of it side by side.
type machine struct {
	folder string // new ones are made in it
	path   string
	ledger *ledger.Ledger
	model  map[string]*account // the enrolled
	copies int
}

// TestModel holds every method against a model, with the ledger closed and opened again in between, and with crashes.
func TestModel(t *testing.T) {
	t.Parallel()
	root, runs := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		m := &machine{folder: filepath.Join(root, fmt.Sprint(runs)), model: map[string]*account{}}
		ok(t, os.Mkdir(m.folder, 0o700))
		m.path = filepath.Join(m.folder, "ledger.db")
		m.reopen(t)
		defer func() { _ = m.ledger.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"enroll":       m.enroll,
			"commit":       m.commit,
			"commit known": m.commitKnown,
			"baseline":     m.setBaseline,
			"delete":       m.setDeletion,
			"fail":         m.fail,
			"forget":       m.forget,
			"intend":       m.intend,
			"drop":         m.drop,
			"unsettle":     m.unsettle,
			"settle":       m.settle,
			"finish":       m.finish,
			"reopen":       m.reopen,
			"crash":        m.crash,
			"":             m.compare,
		})
	})
}

var names = []string{"gmail", "isp", `o'neil "work" १`}

func drawName(t *rapid.T) string { return rapid.SampledFrom(names).Draw(t, "account") }

// drawUID prefers a few UIDs, so that keys meet again, and makes up others of any bytes.
func drawUID(t *rapid.T) string {
	anyByte := rapid.SliceOfN(rapid.ByteRange(1, 255), 1, 70)
	return rapid.OneOf(rapid.SampledFrom([]string{"a", "A", "b", "GmailId18", "\xff\xfe", `'";--`, " "}),
		rapid.Map(anyByte, func(b []byte) string { return string(b) })).Draw(t, "uid")
}

func drawKey(t *rapid.T) ledger.Key {
	return ledger.Key{UID: drawUID(t), ListedSize: rapid.SampledFrom([]int64{0, 1, 4096, 1 << 40}).Draw(t, "size"), Occurrence: rapid.IntRange(0, 2).Draw(t, "occurrence")}
}

func drawKeys(t *rapid.T) []ledger.Key {
	return rapid.SliceOfNDistinct(rapid.Custom(drawKey), 0, 8, rapid.ID).Draw(t, "keys")
}

func drawTime(t *rapid.T) time.Time {
	return time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "time"), 0)
}

func drawMessage(t *rapid.T, key ledger.Key) ledger.Message {
	m := ledger.Message{Key: key, Size: rapid.Int64Range(0, 1<<40).Draw(t, "stored size"), StoredAt: drawTime(t),
		Deletion: rapid.SampledFrom([]ledger.Deletion{ledger.Kept, ledger.Pending}).Draw(t, "deletion")}
	copy(m.SHA256[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "sha256"))
	if rapid.Bool().Draw(t, "maildir") {
		m.Mailbox, m.Name = "/mail/dir", fmt.Sprintf("%x", m.SHA256)
	} else {
		m.Mailbox, m.Offset, m.Length = "/mail/box", rapid.Int64Range(0, 1<<40).Draw(t, "offset"), m.Size+40
	}
	return m
}

// strangers are messages with keys that the account does not know.
func (m *machine) strangers(t *rapid.T, name string) []ledger.Message {
	var messages []ledger.Message
	for _, key := range drawKeys(t) {
		if a := m.model[name]; a == nil || a.messages[key].Key != key {
			messages = append(messages, drawMessage(t, key))
		}
	}
	return messages
}

// happened judges the error of a method that writes: with the account enrolled there is none. It returns the account,
// or nil when nothing should have happened.
func (m *machine) happened(t *rapid.T, name string, err error) *account {
	a := m.model[name]
	if (err == nil) != (a != nil) {
		t.Fatalf("account %q enrolled: %t; the ledger says %v", name, a != nil, err)
	}
	return a
}

func (m *machine) enroll(t *rapid.T) {
	name := drawName(t)
	ok(t, m.ledger.Enroll(name, "/mail/"+name))
	if m.model[name] == nil {
		m.model[name] = &account{messages: map[ledger.Key]ledger.Message{}, failures: map[ledger.Key]ledger.Failure{},
			intents: map[int64]ledger.Intent{}, unsettled: map[string]bool{"/mail/" + name: true}}
	}
}

func (m *machine) commit(t *rapid.T) {
	name := drawName(t)
	messages, intent := m.strangers(t, name), int64(0)
	if a := m.model[name]; a != nil && len(a.intents) > 0 {
		intent = rapid.SampledFrom(append(slices.Sorted(maps.Keys(a.intents)), 0)).Draw(t, "intent")
	}
	if a := m.happened(t, name, m.ledger.Commit(name, messages, intent)); a != nil {
		for _, message := range messages {
			a.messages[message.Key] = message
		}
		delete(a.intents, intent)
		maps.DeleteFunc(a.failures, func(key ledger.Key, _ ledger.Failure) bool { _, known := a.messages[key]; return known })
	}
}

// commitKnown commits a batch of which one message is known: that is a bug of the caller, and nothing may come of it.
func (m *machine) commitKnown(t *rapid.T) {
	name := drawName(t)
	a := m.model[name]
	if a == nil || len(a.messages) == 0 {
		return
	}
	known := slices.SortedFunc(maps.Keys(a.messages), compareKeys)[0]
	if err := m.ledger.Commit(name, append(m.strangers(t, name), drawMessage(t, known)), 0); err == nil {
		t.Fatalf("a second message %+v was taken", known)
	}
}

func (m *machine) setBaseline(t *rapid.T) {
	name, keys, at := drawName(t), drawKeys(t), drawTime(t)
	if a := m.happened(t, name, m.ledger.SetBaseline(name, at, keys)); a != nil {
		for _, key := range keys {
			if _, known := a.messages[key]; !known {
				a.messages[key] = ledger.Message{Key: key, StoredAt: at}
			}
		}
		a.baseline = true
	}
}

func (m *machine) setDeletion(t *rapid.T) {
	name, keys := drawName(t), drawKeys(t)
	deletion := rapid.SampledFrom([]ledger.Deletion{ledger.Kept, ledger.Pending, ledger.Deleted}).Draw(t, "deletion")
	err := m.ledger.SetDeletion(name, keys, deletion)
	if len(keys) == 0 {
		ok(t, err)
		return
	}
	if a := m.happened(t, name, err); a != nil {
		for _, key := range keys {
			if message := a.messages[key]; message.Mailbox != "" {
				message.Deletion = deletion
				a.messages[key] = message
			}
		}
	}
}

func (m *machine) fail(t *rapid.T) {
	name := drawName(t)
	var failures []ledger.Failure
	for _, key := range drawKeys(t) {
		f := ledger.Failure{Key: key, Reason: rapid.SampledFrom([]ledger.Reason{ledger.Refused, ledger.Broken, ledger.TooLarge}).Draw(t, "reason"),
			Attempts: rapid.IntRange(1, 9).Draw(t, "attempts"), Error: rapid.String().Draw(t, "error")}
		if rapid.Bool().Draw(t, "again") {
			f.NextAt = drawTime(t)
		}
		failures = append(failures, f)
	}
	err := m.ledger.Fail(name, failures)
	if len(failures) == 0 {
		ok(t, err)
		return
	}
	if a := m.happened(t, name, err); a != nil {
		for _, f := range failures {
			a.failures[f.Key] = f
		}
	}
}

func (m *machine) forget(t *rapid.T) {
	name, keys := drawName(t), drawKeys(t)
	err := m.ledger.Forget(name, keys)
	if len(keys) == 0 {
		ok(t, err)
		return
	}
	if a := m.happened(t, name, err); a != nil {
		for _, key := range keys {
			delete(a.failures, key)
		}
	}
}

func (m *machine) intend(t *rapid.T) {
	name := drawName(t)
	intent := ledger.Intent{Account: name, Path: "/mail/box", Offset: rapid.Int64Range(0, 1<<40).Draw(t, "offset"), Length: 7, SHA256: [32]byte{1, 0xff}, Spool: "/state/spool", Messages: []ledger.Message{}}
	for _, message := range m.strangers(t, name) {
		if message.Name == "" {
			intent.Messages = append(intent.Messages, message)
		}
	}
	id, err := m.ledger.Intend(name, intent)
	if a := m.happened(t, name, err); a != nil {
		intent.ID = id
		a.intents[id] = intent
	}
}

func (m *machine) drop(t *rapid.T) {
	if a := m.model[drawName(t)]; a != nil && len(a.intents) > 0 {
		id := rapid.SampledFrom(slices.Sorted(maps.Keys(a.intents))).Draw(t, "intent")
		ok(t, m.ledger.Drop(id))
		delete(a.intents, id)
	}
}

func (m *machine) unsettle(t *rapid.T) {
	name, path := drawName(t), rapid.SampledFrom([]string{"/mail/box", "/mail/dir"}).Draw(t, "path")
	if a := m.happened(t, name, m.ledger.Unsettle(name, path)); a != nil {
		a.unsettled[path] = true
	}
}

func (m *machine) settle(t *rapid.T) {
	name := drawName(t)
	ok(t, m.ledger.Settle(name))
	if a := m.model[name]; a != nil {
		clear(a.unsettled)
	}
}

func (m *machine) finish(t *rapid.T) {
	name, at, settled := drawName(t), drawTime(t), rapid.Bool().Draw(t, "settled")
	text := rapid.SampledFrom([]string{"", "login refused"}).Draw(t, "problem")
	a := m.happened(t, name, m.ledger.Finish(name, at, text, settled))
	if a == nil {
		return
	}
	if settled {
		clear(a.unsettled)
	}
	a.summary.LastAttempt, a.summary.LastError = at, text
	if text == "" {
		a.summary.LastSuccess, a.summary.ConsecutiveFailures = at, 0
	} else {
		a.summary.ConsecutiveFailures++
	}
}

func (m *machine) reopen(t *rapid.T) {
	if m.ledger != nil {
		ok(t, m.ledger.Close())
	}
	var err error
	m.ledger, err = ledger.Open(m.path)
	ok(t, err)
}

// crash goes on with what is on the disk at this moment: the database and its -wal file, taken aside while in use.
func (m *machine) crash(t *rapid.T) {
	m.copies++
	path := filepath.Join(m.folder, fmt.Sprintf("after crash %d.db", m.copies))
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(m.path + suffix)
		if suffix == "-wal" && os.IsNotExist(err) {
			continue // nothing was written since it was opened
		}
		ok(t, err)
		ok(t, os.WriteFile(path+suffix, data, 0o600))
	}
	ok(t, m.ledger.Close())
	m.ledger, m.path = nil, path
	m.reopen(t)
}

// compare holds all that the ledger tells of an account against the model.
func (m *machine) compare(t *rapid.T) {
	name := drawName(t)
	a := m.model[name]
	if a == nil {
		a = &account{}
	}
	baseline, err := m.ledger.HasBaseline(name)
	same(t, "HasBaseline", baseline, err, a.baseline)
	m.compareMessages(t, name, a)
	failures, err := m.ledger.Failures(name)
	same(t, "Failures", failures, err, slices.SortedFunc(maps.Values(a.failures), func(x, y ledger.Failure) int { return compareKeys(x.Key, y.Key) }))
	intents, err := m.ledger.Intents(name)
	same(t, "Intents", intents, err, slices.SortedFunc(maps.Values(a.intents), func(x, y ledger.Intent) int { return cmp.Compare(x.ID, y.ID) }))
	unsettled, err := m.ledger.Unsettled(name)
	same(t, "Unsettled", unsettled, err, slices.Sorted(maps.Keys(a.unsettled)))
}

func (m *machine) compareMessages(t *rapid.T, name string, a *account) {
	summary := a.summary
	var stored []ledger.Message
	var pending []ledger.Key
	for _, message := range a.messages {
		if message.Mailbox != "" {
			summary.Messages++
			summary.Bytes += message.Size
			stored = append(stored, message)
		}
		if message.Deletion == ledger.Pending {
			summary.PendingDelete++
			pending = append(pending, message.Key)
		}
	}
	for _, f := range a.failures {
		if f.NextAt.IsZero() {
			summary.SetAside++
		}
	}
	got, err := m.ledger.Summary(name)
	same(t, "Summary", got, err, summary)
	keys, err := m.ledger.Deletions(name, ledger.Pending)
	slices.SortFunc(keys, compareKeys)
	slices.SortFunc(pending, compareKeys)
	same(t, "PendingDeletions", keys, err, pending)
	slices.SortFunc(stored, func(x, y ledger.Message) int { return compareKeys(x.Key, y.Key) })
	same(t, "Stored", collect(t, m.ledger, name), nil, stored)
	m.compareStates(t, name, a)
}

// compareStates asks for all keys of the account and for as many that it does not know.
func (m *machine) compareStates(t *rapid.T, name string, a *account) {
	keys := append(drawKeys(t), slices.SortedFunc(maps.Keys(a.messages), compareKeys)...)
	for key := range a.failures {
		keys = append(keys, key)
	}
	states, err := m.ledger.States(name, keys)
	want := make([]ledger.State, len(keys))
	for i, key := range keys {
		if message, known := a.messages[key]; known {
			want[i] = ledger.State{Known: true, Stored: message.Mailbox != "", StoredAt: message.StoredAt, Deletion: message.Deletion}
		}
		if f, failed := a.failures[key]; failed {
			want[i].Failure = &f
		}
	}
	same(t, "States", states, err, want)
}

// collect returns the stored messages by key, once it is sure that they came by place.
func collect(t fataler, l *ledger.Ledger, name string) []ledger.Message {
	t.Helper()
	var messages []ledger.Message
	for message, err := range l.Stored(name) {
		ok(t, err)
		messages = append(messages, message)
	}
	if !slices.IsSortedFunc(messages, func(x, y ledger.Message) int {
		return cmp.Or(cmp.Compare(x.Mailbox, y.Mailbox), cmp.Compare(x.Offset, y.Offset), cmp.Compare(x.Name, y.Name))
	}) {
		t.Fatal("Stored is not in the order of mailbox and place")
	}
	slices.SortFunc(messages, func(x, y ledger.Message) int { return compareKeys(x.Key, y.Key) })
	return messages
}

func compareKeys(x, y ledger.Key) int {
	return cmp.Or(cmp.Compare(x.UID, y.UID), cmp.Compare(x.ListedSize, y.ListedSize), cmp.Compare(x.Occurrence, y.Occurrence))
}

func same[T any](t *rapid.T, what string, got T, err error, want T) {
	t.Helper()
	ok(t, err)
	if !reflect.DeepEqual(got, want) && (reflect.ValueOf(got).Kind() != reflect.Slice || reflect.ValueOf(got).Len()+reflect.ValueOf(want).Len() > 0) {
		t.Fatalf("%s = %+v\nwant %+v", what, got, want)
	}
}
