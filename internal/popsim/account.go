package popsim

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Account is a maildrop and the credentials that open it. The exported fields are set before the server starts; the
// methods may be called at any time, by any goroutine. The zero value holds no mail.
type Account struct {
	Username, Password string

	// Gmail makes the maildrop one of Gmail's: see GmailBox. Nil: RFC 1939's, where a message stays until DELE and QUIT.
	Gmail *GmailBox

	mu        sync.Mutex
	messages  []*entry
	delivered int            // for the UIDs made here
	retrieved map[string]int // by UID; outlives the message
	logins    int
	quits     int
	entered   time.Time     // the last login
	unlocked  chan struct{} // not nil while a session has the maildrop; closed when it lets go
	quota     quota
}

// ChangePassword sets another password while the server runs.
func (a *Account) ChangePassword(to string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Password = to
}

func (a *Account) secret() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.Password
}

// entry is a message in a maildrop and what became of it there.
type entry struct {
	*Message // as it was delivered, never changed: sessions read it without the lock

	labels  Labels
	unread  bool
	popped  bool
	offered bool // a session in normal mode has popped it
}

// state is the message as it is now.
func (e *entry) state() Message {
	m := *e.Message
	m.Labels, m.Unread, m.Popped = e.labels, e.unread, e.popped
	return m
}

// Deliver puts a message at the end of the maildrop; sessions under way do not see it (RFC 1939 §4). A message without
// a UID gets one as Gmail makes them. UIDs that are given are kept as they are, even if another message has the same.
// One without a time of arrival gets the account's time when it is Gmail's, else one in the order of delivery.
func (a *Account) Deliver(m Message) (uid string) {
	if m.Open != nil && m.Size == 0 {
		m.Size = m.Octets() // read once here, rather than at each LIST
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case !m.Received.IsZero():
	case a.Gmail != nil:
		m.Received = a.now()
	default:
		m.Received = time.Date(2026, 1, 1, 0, 0, a.delivered, 0, time.UTC)
	}
	if m.UID == "" {
		m.UID = GmailUID(m.Received, a.delivered)
	}
	if a.Gmail != nil && m.Labels == 0 {
		m.Labels = InInbox
	}
	a.delivered++
	a.messages = append(a.messages, &entry{Message: &m, labels: m.Labels, unread: m.Unread, popped: m.Popped || m.ViaSMTP})
	return m.UID
}

// GmailUID is a UID in Gmail's form: "GmailId" and 16 hexadecimal digits, of which the first 44 bits are the arrival in
// Unix milliseconds. serial tells apart what arrives in the same millisecond.
func GmailUID(received time.Time, serial int) string {
	return fmt.Sprintf("GmailId%016x", uint64(received.UnixMilli())<<20|uint64(serial)&(1<<20-1))
}

// Remove takes every message with that UID out of the maildrop, as if another client had deleted it, and says how many
// there were. Sessions under way still have them.
func (a *Account) Remove(uid string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := len(a.messages)
	a.messages = slices.DeleteFunc(a.messages, func(m *entry) bool { return m.UID == uid })
	return before - len(a.messages)
}

// Messages is what the maildrop holds now, in order of delivery; Gmail's holds also what no session lists. Message.Reader
// gives the octets that a client receives.
func (a *Account) Messages() []Message {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]Message, len(a.messages))
	for i, m := range a.messages {
		all[i] = m.state()
	}
	return all
}

// Retrieved is how often a message of that UID was sent whole in answer to RETR.
func (a *Account) Retrieved(uid string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.retrieved[uid]
}

// Sessions is how many logins there were.
func (a *Account) Sessions() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.logins
}

// Quits is how many sessions ended with a QUIT that was obeyed, whether or not the client got to know.
func (a *Account) Quits() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.quits
}

func (a *Account) countRetrieval(uid string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.retrieved == nil {
		a.retrieved = make(map[string]int)
	}
	a.retrieved[uid]++
}

// enter takes the maildrop's lock and the session's view of the mail (RFC 1939 §4), and waits up to wait for another
// session to let go: one whose client hung up a moment ago may not have noticed yet. Gmail is not known to lock.
func (a *Account) enter(recent bool, wait time.Duration) (list []*entry, ok bool) {
	timeout := time.After(wait)
	for {
		a.mu.Lock()
		if a.unlocked == nil || !a.exclusive() {
			if a.exclusive() {
				a.unlocked = make(chan struct{})
			}
			a.logins++
			a.entered = a.now()
			list = a.view(recent)
			a.mu.Unlock()
			return list, true
		}
		unlocked := a.unlocked
		a.mu.Unlock()
		select {
		case <-unlocked:
		case <-timeout:
			return nil, false
		}
	}
}

// enteredWithin tells whether there was a login not long ago.
func (a *Account) enteredWithin(d time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.entered.IsZero() && a.now().Sub(a.entered) < d
}

// exclusive tells whether a session has the maildrop for itself.
func (a *Account) exclusive() bool { return a.Gmail == nil || a.Gmail.Knobs.InUse }

// view is what a session lists.
func (a *Account) view(recent bool) []*entry {
	if a.Gmail == nil {
		return slices.Clone(a.messages)
	}
	return a.Gmail.list(a.messages, recent)
}

// leave lets go of the maildrop with nothing deleted.
func (a *Account) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unlock()
}

// update is the UPDATE state, RFC 1939 §6: the messages go, the lock too. In Gmail's maildrop they are popped instead, and
// so is what was retrieved; it says how many.
func (a *Account) update(v view) (popped int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.Gmail != nil:
		popped = a.Gmail.settle(v)
	case len(v.deleted) > 0:
		a.messages = slices.DeleteFunc(a.messages, func(m *entry) bool { return v.deleted[m] })
	}
	a.quits++
	a.unlock()
	return popped
}

func (a *Account) unlock() {
	if a.unlocked != nil {
		close(a.unlocked)
		a.unlocked = nil
	}
}
