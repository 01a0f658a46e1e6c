package ledger_test

import (
	"cmp"
	"errors"
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

// machine drives a ledger and a model of it side by side.
type machine struct {
	folder string // new ones are made in it
	path   string
	ledger *ledger.Ledger
	model  model
	copies int
}

// TestModel holds every method against a model, with the ledger closed and opened again in between, and with crashes.
func TestModel(t *testing.T) {
	t.Parallel()
	folders := newFolders(t)
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{folder: folders(), model: model{}}
		m.path = filepath.Join(m.folder, "ledger.db")
		m.reopen(t)
		defer func() { _ = m.ledger.Close() }()
		actions := map[string]func(*rapid.T){"reopen": m.reopen, "crash": m.crash, "": m.compare}
		for method := range draws {
			actions[method] = func(t *rapid.T) { m.take(t, drawStep(t, m.model, method)) }
		}
		t.Repeat(actions)
	})
}

// newFolders returns a function that makes a new folder each time: rapid runs a test many times.
func newFolders(t *testing.T) func() string {
	root, made := t.TempDir(), 0
	return func() string {
		made++
		folder := filepath.Join(root, fmt.Sprint(made))
		ok(t, os.Mkdir(folder, 0o700))
		return folder
	}
}

// take has ledger and model take a step.
func (m *machine) take(t *rapid.T, s step) {
	want, refused := m.model.take(s)
	number, err := s.do(m.ledger)
	var problem *ledger.Error
	if (err != nil) != refused || (refused && !errors.As(err, &problem)) || (!refused && number != want) {
		t.Fatalf("%+v\nreturned %d, %v; want %d, refused %t", s, number, err, want, refused)
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
		ok(t, err)
		ok(t, os.WriteFile(path+suffix, data, 0o600))
	}
	ok(t, m.ledger.Close())
	m.ledger, m.path = nil, path
	m.reopen(t)
}

func (m *machine) compare(t *rapid.T) {
	extra := rapid.SliceOfN(rapid.Custom(drawKey), 0, 8).Draw(t, "keys")
	if difference := m.model.differs(m.ledger, []string{drawName(t)}, extra); difference != "" {
		t.Fatal(difference)
	}
}

// comparison keeps the first difference between a ledger and a model.
type comparison struct{ difference string }

func (c *comparison) same(what string, got any, err error, want any) {
	g, w := reflect.ValueOf(got), reflect.ValueOf(want)
	empty := g.Kind() == reflect.Slice && g.Len() == 0 && w.Len() == 0 // nil or not
	if c.difference == "" && (err != nil || !empty && !reflect.DeepEqual(got, want)) {
		c.difference = fmt.Sprintf("%s = %+v, %v\nwant %+v", what, got, err, want)
	}
}

// differs holds all that the ledger tells of some accounts against the model, and returns the first difference. It asks for
// extra keys too.
func (m model) differs(l *ledger.Ledger, accounts []string, extra []ledger.Key) string {
	c := &comparison{}
	for _, name := range accounts {
		a := m[name]
		if a == nil {
			a = newAccount()
		}
		c.account(l, name, a)
		c.messages(l, name, a)
		c.watched(l, name, a)
		c.states(l, name, a, append(slices.Clone(extra), slices.Collect(maps.Keys(a.messages))...))
	}
	c.history(l, m, time.FixedZone("+05:45", 5*60*60+45*60))
	for _, path := range []string{"/mail/box", "/mail/\xff", "/mail/none"} {
		var want []ledger.Intent
		for _, a := range m {
			want = append(want, slices.Collect(maps.Values(a.intents))...)
		}
		want = slices.DeleteFunc(want, func(intent ledger.Intent) bool { return intent.Path != path })
		slices.SortFunc(want, compareIntents)
		intents, err := l.IntentsAt(path)
		c.same("IntentsAt", intents, err, want)
	}
	return c.difference
}

func (c *comparison) account(l *ledger.Ledger, name string, a *account) {
	baseline, err := l.HasBaseline(name)
	c.same("HasBaseline", baseline, err, a.baseline)
	moved, err := l.HasMoved(name)
	c.same("HasMoved", moved, err, a.moved)
	attempt, err := l.LastAttempt(name)
	c.same("LastAttempt", attempt, err, a.runs.LastAttempt)
	summary, err := l.Summary(name)
	c.same("Summary", summary, err, a.summary())
	failures, err := l.Failures(name)
	c.same("Failures", failures, err, slices.SortedFunc(maps.Values(a.failures), func(x, y ledger.Failure) int { return compareKeys(x.Key, y.Key) }))
	intents, err := l.Intents(name)
	c.same("Intents", intents, err, slices.SortedFunc(maps.Values(a.intents), compareIntents))
	unsettled, err := l.Unsettled(name)
	c.same("Unsettled", unsettled, err, slices.Sorted(maps.Keys(a.unsettled)))
}

func (c *comparison) messages(l *ledger.Ledger, name string, a *account) {
	count, err := l.Count(name)
	c.same("Count", count, err, a.summary().Messages)
	has, err := l.HasUIDs(name)
	c.same("HasUIDs", has, err, a.hasUIDs())
	strays, err := l.Strays(name)
	c.same("Strays", strays, err, a.strays)
	stored, err := collect(l, name)
	c.same("Stored", stored, err, a.stored())
	for _, state := range []ledger.Deletion{ledger.Pending, ledger.Held} {
		keys, err := l.Deletions(name, state)
		slices.SortFunc(keys, compareKeys)
		c.same(fmt.Sprintf("Deletions in state %d", state), keys, err, a.deletions(state))
	}
}

// watched asks for what keeps an eye on a server.
func (c *comparison) watched(l *ledger.Ledger, name string, a *account) {
	hold, err := l.Hold(name)
	c.same("Hold", hold, err, a.runs.Hold)
	for _, since := range []time.Time{{}, time.Unix(1_790_000_000-86_400, 0), time.Unix(1_790_000_000+86_500, 5)} {
		traffic, err := l.Traffic(name, since)
		c.same("Traffic since "+since.String(), traffic, err, a.trafficSince(since))
	}
	underway, err := l.Underway(name)
	c.same("Underway", underway, err, slices.SortedFunc(maps.Keys(a.underway), compareKeys))
	for _, note := range noteNames {
		at, err := l.Note(name, note)
		c.same("Note "+note, at, err, a.notes[note])
	}
	uids := []string{"none"}
	for key := range a.messages {
		uids = append(uids, key.UID)
	}
	found, err := l.ByUID(name, uids)
	c.same("ByUID", found, err, a.byUID())
}

// states asks for keys by States, and for the rows with them.
func (c *comparison) states(l *ledger.Ledger, name string, a *account, keys []ledger.Key) {
	keys = append(keys, slices.Collect(maps.Keys(a.failures))...)
	states := make([]ledger.State, len(keys))
	var rows []ledger.Message
	for i, key := range keys {
		if message, known := a.messages[key]; known {
			states[i] = ledger.State{Known: true, Stored: message.Mailbox != "", StoredAt: message.StoredAt, Deletion: message.Deletion}
			if states[i].Stored {
				rows = append(rows, message)
			}
		}
		if f, failed := a.failures[key]; failed {
			states[i].Failure = &f
		}
	}
	got, err := l.States(name, keys)
	c.same("States", got, err, states)
	messages, err := l.Rows(name, keys)
	c.same("Rows", messages, err, rows)
}

// collect returns the stored messages by key, once it is sure that they came by place.
func collect(l *ledger.Ledger, name string) ([]ledger.Message, error) {
	var messages []ledger.Message
	for message, err := range l.Stored(name) {
		if err != nil {
			return nil, err
		}
		messages = append(messages, message)
	}
	if !slices.IsSortedFunc(messages, func(x, y ledger.Message) int {
		return cmp.Or(cmp.Compare(x.Mailbox, y.Mailbox), cmp.Compare(x.Offset, y.Offset), cmp.Compare(x.Name, y.Name))
	}) {
		return nil, errors.New("Stored is not in the order of mailbox and place")
	}
	slices.SortFunc(messages, func(x, y ledger.Message) int { return compareKeys(x.Key, y.Key) })
	return messages, nil
}

func compareIntents(x, y ledger.Intent) int { return cmp.Compare(x.ID, y.ID) }

// TestHoldRoundsUp: a login is never a part of a second too early.
func TestHoldRoundsUp(t *testing.T) {
	l, _ := newLedger(t)
	for at, want := range map[time.Time]int64{time.Unix(100, 0): 100, time.Unix(100, 1): 101, time.Unix(100, 999_999_999): 101} {
		ok(t, l.SetHold("gmail", ledger.Hold{Reason: ledger.SignIn, Since: at, Until: at}))
		if h, err := l.Hold("gmail"); err != nil || h.Until.Unix() != want || h.Since.Unix() != 100 {
			t.Errorf("%v became %+v, %v", at, h, err)
		}
	}
}
