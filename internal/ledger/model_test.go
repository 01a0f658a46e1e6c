package ledger_test

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/popfetchd/popfetchd/internal/ledger"
)

// model is what a ledger should know, in plain maps, by account.
type model map[string]*account

type account struct {
	messages        map[ledger.Key]ledger.Message // those of a baseline have no mailbox
	failures        map[ledger.Key]ledger.Failure
	strays          []ledger.Message
	intents         map[int64]ledger.Intent
	unsettled       map[string]bool
	baseline, moved bool
	runs            ledger.Summary  // only the fields about runs
	traffic         map[int64]int64 // Unix seconds to octets
	underway        map[ledger.Key]bool
	notes           map[string]time.Time
	incidents       map[string]ledger.Incident // by kind
}

// everybody is the account of the model, and of no ledger, that has the incidents of all: they need no account.
const everybody = "incidents"

func newAccount() *account {
	return &account{messages: map[ledger.Key]ledger.Message{}, failures: map[ledger.Key]ledger.Failure{}, intents: map[int64]ledger.Intent{}, unsettled: map[string]bool{},
		traffic: map[int64]int64{}, underway: map[ledger.Key]bool{}, notes: map[string]time.Time{}, incidents: map[string]ledger.Incident{}}
}

func (m model) clone() model {
	other := model{}
	for name, a := range m {
		b := *a
		b.messages, b.failures, b.intents, b.unsettled = maps.Clone(a.messages), maps.Clone(a.failures), maps.Clone(a.intents), maps.Clone(a.unsettled)
		b.traffic, b.underway, b.notes = maps.Clone(a.traffic), maps.Clone(a.underway), maps.Clone(a.notes)
		b.incidents = maps.Clone(a.incidents)
		b.strays = slices.Clone(a.strays)
		other[name] = &b
	}
	return other
}

// known returns the keys that the account knows, in order.
func (m model) known(name string) []ledger.Key {
	if m[name] == nil {
		return nil
	}
	return slices.SortedFunc(maps.Keys(m[name].messages), compareKeys)
}

// take does to the model what the step is to do to the ledger. Where it is to be refused, nothing changes.
func (m model) take(s step) (number int64, refused bool) {
	a := m[s.Account]
	switch s.Method {
	case "Enroll":
		if a == nil {
			m[s.Account] = newAccount()
			m[s.Account].unsettled[s.Text] = true
		}
		return 0, false
	case "Drop":
		m.drop(s.Number)
		return 0, false
	}
	if strings.HasSuffix(s.Method, "Incident") {
		m.incident(s)
		return 0, false
	}
	if a == nil {
		return 0, s.needsAccount()
	}
	switch s.Method {
	case "Commit":
		return 0, !m.commit(a, s)
	case "Rekey":
		return 0, len(s.Keys) > 0 && !a.rekey(s.Keys, s.To)
	case "Moved":
		if !a.rekey(s.Keys, s.To) {
			return 0, true
		}
		a.moved = true
	case "Relocate":
		m.relocate(a, s.Messages)
	case "SetStrays":
		a.strays = m.strays(s.Messages)
	case "Retry":
		return a.retry(s.UIDs), false
	case "Intend":
		s.Intent.ID = m.nextIntent()
		a.intents[s.Intent.ID] = s.Intent
		return s.Intent.ID, false
	default:
		a.note(s)
	}
	return 0, false
}

// needsAccount tells whether the step is an error for an account that is not enrolled: there is something to write.
func (s step) needsAccount() bool {
	switch s.Method {
	case "Retry", "Settle", "Lift":
		return false
	case "SetHold":
		return !s.Hold.IsZero()
	case "AddTraffic":
		return s.Number != 0
	case "SetDeletion", "Forget", "Rekey", "Redate", "SetUnderway", "Arrived":
		return len(s.Keys) > 0
	case "Relocate":
		return len(s.Messages) > 0
	case "Fail":
		return len(s.Failures) > 0
	}
	return true
}

// note takes a step that only touches the account, and is never refused.
func (a *account) note(s step) {
	switch s.Method {
	case "SetBaseline":
		a.baseline = true
		for _, key := range s.Keys {
			if _, known := a.messages[key]; !known {
				a.messages[key] = ledger.Message{Key: key, StoredAt: s.At}
			}
		}
		a.forgetKnown()
	case "SetDeletion":
		for _, key := range s.Keys {
			if message := a.messages[key]; message.Mailbox != "" {
				message.Deletion = s.Deletion
				a.messages[key] = message
			}
		}
	case "Redate":
		for _, key := range s.Keys {
			if message := a.messages[key]; message.Mailbox != "" {
				message.StoredAt = s.At
				a.messages[key] = message
			}
		}
	case "Fail":
		for _, f := range s.Failures {
			a.failures[f.Key] = f
		}
	case "Forget":
		for _, key := range s.Keys {
			delete(a.failures, key)
		}
	case "Unsettle":
		a.unsettled[s.Text] = true
	case "Settle":
		clear(a.unsettled)
	case "Finish":
		a.finish(s)
	default:
		a.watch(s)
	}
}

// watch is note for what keeps an eye on a server: holds, traffic, what is underway, notes.
func (a *account) watch(s step) {
	switch s.Method {
	case "SetHold":
		a.runs.Hold = s.Hold
	case "Lift":
		a.runs.Hold = ledger.Hold{}
	case "AddTraffic":
		a.addTraffic(s.At, s.Number)
	case "SetUnderway":
		for _, key := range s.Keys {
			a.underway[key] = true
		}
		a.forgetKnown()
	case "Arrived":
		for _, key := range s.Keys {
			delete(a.underway, key)
		}
	case "SetNote":
		a.notes[s.Text] = s.At
	default:
		panic("no method " + s.Method)
	}
}

func (a *account) addTraffic(at time.Time, octets int64) {
	if octets == 0 {
		return
	}
	maps.DeleteFunc(a.traffic, func(end, _ int64) bool { return max(end-at.Unix(), at.Unix()-end) > 25*60*60 })
	a.traffic[at.Truncate(5*time.Minute).Add(5*time.Minute).Unix()] += octets
}

// trafficSince is what Traffic should return.
func (a *account) trafficSince(since time.Time) []ledger.Traffic {
	var traffic []ledger.Traffic
	for _, end := range slices.Sorted(maps.Keys(a.traffic)) {
		if at := time.Unix(end, 0); end > since.Unix() && !at.After(since.Add(48*time.Hour)) {
			traffic = append(traffic, ledger.Traffic{At: at, Octets: a.traffic[end]})
		}
	}
	return traffic
}

// byUID is what ByUID should return when asked for all UIDs.
func (a *account) byUID() map[string]ledger.Key {
	found := map[string]ledger.Key{}
	for key, message := range a.messages {
		other, had := found[key.UID]
		stored, otherStored := message.Mailbox != "", a.messages[other].Mailbox != ""
		if !had || stored && !otherStored || stored == otherStored && compareKeys(key, other) < 0 {
			found[key.UID] = key
		}
	}
	return found
}

func (a *account) finish(s step) {
	if s.Settled {
		clear(a.unsettled)
	}
	a.runs.LastAttempt, a.runs.LastError = s.At, s.Text
	if s.Text != "" {
		a.runs.ConsecutiveFailures++
		return
	}
	a.runs.LastSuccess, a.runs.ConsecutiveFailures, a.runs.Hold = s.At, 0, ledger.Hold{}
	a.moved = a.moved && !s.Settled
}

func (m model) commit(a *account, s step) bool {
	for _, message := range s.Messages {
		if _, known := a.messages[message.Key]; known {
			return false
		}
	}
	for _, message := range s.Messages {
		a.messages[message.Key] = message
		m.claim(message)
	}
	m.drop(s.Number)
	a.forgetKnown()
	return true
}

func (m model) drop(intent int64) {
	for _, a := range m {
		delete(a.intents, intent)
	}
}

// nextIntent is what SQLite numbers the next one.
func (m model) nextIntent() int64 {
	last := int64(0)
	for _, a := range m {
		for number := range a.intents {
			last = max(last, number)
		}
	}
	return last + 1
}

func (a *account) forgetKnown() {
	uids := map[string]bool{}
	for key := range a.messages {
		uids[key.UID] = true
	}
	maps.DeleteFunc(a.failures, func(key ledger.Key, f ledger.Failure) bool {
		_, known := a.messages[key]
		return known || f.Reason == ledger.Vanished && uids[key.UID]
	})
	maps.DeleteFunc(a.underway, func(key ledger.Key, _ bool) bool { return uids[key.UID] })
}

// rekey goes through the keys one by one, and changes nothing when a new one is known.
func (a *account) rekey(from, to []ledger.Key) bool {
	messages := maps.Clone(a.messages)
	for i, key := range from {
		message := messages[key]
		if message.Mailbox == "" {
			continue
		}
		delete(messages, key)
		if _, known := messages[to[i]]; known {
			return false
		}
		message.Key = to[i]
		messages[to[i]] = message
	}
	a.messages = messages
	a.forgetKnown()
	return true
}

func (m model) relocate(a *account, messages []ledger.Message) {
	for _, to := range messages {
		if message := a.messages[to.Key]; message.Mailbox != "" {
			message.Mailbox, message.Name, message.Offset, message.Length = to.Mailbox, to.Name, to.Offset, to.Length
			a.messages[to.Key] = message
			m.claim(message)
		}
	}
}

// claim makes the stray at the message's place, of any account, a stray no more.
func (m model) claim(message ledger.Message) {
	for _, a := range m {
		a.strays = slices.DeleteFunc(a.strays, func(stray ledger.Message) bool { return comparePlaces(stray, message) == 0 })
	}
}

// strays returns those of the found that lie at no row's place, one for each place, in order, as the ledger has them.
func (m model) strays(found []ledger.Message) []ledger.Message {
	var strays []ledger.Message
	for _, f := range found {
		stray := ledger.Message{Key: ledger.Key{ListedSize: f.ListedSize}, Mailbox: f.Mailbox, Name: f.Name, Offset: f.Offset, Length: f.Length, Size: f.Size, SHA256: f.SHA256}
		same := func(other ledger.Message) bool { return comparePlaces(stray, other) == 0 }
		taken := slices.ContainsFunc(strays, same)
		for _, a := range m {
			taken = taken || slices.ContainsFunc(slices.Collect(maps.Values(a.messages)), same)
		}
		if !taken {
			strays = append(strays, stray)
		}
	}
	slices.SortFunc(strays, comparePlaces)
	return strays
}

func (a *account) retry(uids []string) (number int64) {
	maps.DeleteFunc(a.failures, func(key ledger.Key, f ledger.Failure) bool {
		again := f.Reason != ledger.TooLarge && (len(uids) == 0 || slices.Contains(uids, key.UID))
		if again {
			number++
		}
		return again
	})
	return number
}

// summary is what Summary should return.
func (a *account) summary() ledger.Summary {
	s := a.runs
	for _, message := range a.messages {
		if message.Mailbox != "" {
			s.Messages++
			s.Bytes += message.Size
		}
	}
	s.PendingDelete, s.HeldBack = len(a.deletions(ledger.Pending)), len(a.deletions(ledger.Held))
	for _, f := range a.failures {
		if f.NextAt.IsZero() {
			s.SetAside++
		}
	}
	return s
}

func (a *account) deletions(state ledger.Deletion) []ledger.Key {
	var keys []ledger.Key
	for key, message := range a.messages {
		if message.Deletion == state {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, compareKeys)
	return keys
}

// stored returns the messages in mailboxes, by key.
func (a *account) stored() []ledger.Message {
	stored := slices.SortedFunc(maps.Values(a.messages), func(x, y ledger.Message) int { return compareKeys(x.Key, y.Key) })
	return slices.DeleteFunc(stored, func(message ledger.Message) bool { return message.Mailbox == "" })
}

func (a *account) hasUIDs() bool {
	for key := range a.messages {
		if !strings.HasPrefix(key.UID, " ") {
			return true
		}
	}
	return false
}

func compareKeys(x, y ledger.Key) int {
	return cmp.Or(cmp.Compare(x.UID, y.UID), cmp.Compare(x.ListedSize, y.ListedSize), cmp.Compare(x.Occurrence, y.Occurrence))
}

func comparePlaces(x, y ledger.Message) int {
	return cmp.Or(cmp.Compare(x.Mailbox, y.Mailbox), cmp.Compare(x.Name, y.Name), cmp.Compare(x.Offset, y.Offset))
}
