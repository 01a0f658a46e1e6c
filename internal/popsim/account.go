package popsim

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Account is a maildrop and the credentials that open it. Username and Password are set before the server starts; the
// methods may be called at any time, by any goroutine. The zero value holds no mail.
type Account struct {
	Username, Password string

	mu        sync.Mutex
	messages  []*Message
	delivered int            // for the UIDs made here
	retrieved map[string]int // by UID; outlives the message
	logins    int
	quits     int
	unlocked  chan struct{} // not nil while a session has the maildrop; closed when it lets go
}

// Deliver puts a message at the end of the maildrop; sessions under way do not see it (RFC 1939 §4). A message without
// a UID gets one as Gmail makes them. UIDs that are given are kept as they are, even if another message has the same.
func (a *Account) Deliver(m Message) (uid string) {
	if m.Open != nil && m.Size == 0 {
		m.Size = m.Octets() // read once here, rather than at each LIST
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if m.Received.IsZero() {
		m.Received = time.Date(2026, 1, 1, 0, 0, a.delivered, 0, time.UTC)
	}
	if m.UID == "" {
		m.UID = GmailUID(m.Received, a.delivered)
	}
	a.delivered++
	a.messages = append(a.messages, &m)
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
	a.messages = slices.DeleteFunc(a.messages, func(m *Message) bool { return m.UID == uid })
	return before - len(a.messages)
}

// Messages is what the maildrop holds now, in order. Message.Reader gives the octets that a client receives.
func (a *Account) Messages() []Message {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]Message, len(a.messages))
	for i, m := range a.messages {
		all[i] = *m
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
// session to let go: one whose client hung up a moment ago may not have noticed yet.
func (a *Account) enter(wait time.Duration) (list []*Message, ok bool) {
	timeout := time.After(wait)
	for {
		a.mu.Lock()
		if a.unlocked == nil {
			a.unlocked = make(chan struct{})
			a.logins++
			list = slices.Clone(a.messages)
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

// leave lets go of the maildrop with nothing deleted.
func (a *Account) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unlock()
}

// update is the UPDATE state, RFC 1939 §6: the messages go, the lock too.
func (a *Account) update(deleted map[*Message]bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(deleted) > 0 {
		a.messages = slices.DeleteFunc(a.messages, func(m *Message) bool { return deleted[m] })
	}
	a.quits++
	a.unlock()
}

func (a *Account) unlock() {
	close(a.unlocked)
	a.unlocked = nil
}
