package alert

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/popfetchd/popfetchd/internal/ledger"
)

// Event says what a message is about.
type Event string

const (
	Trouble  Event = "alert"     // something is wrong
	Reminder Event = "reminder"  // it still is
	AllClear Event = "all-clear" // it is over
	Trial    Event = "test"      // nothing: somebody wants to see whether messages arrive
)

// Message is what a channel is to tell. It holds no secret, and no control characters but line ends in Text.
type Message struct {
	Event     Event
	At        time.Time
	Host      string // of the machine that popfetchd runs on
	Subject   string // one line: whose trouble, and what to do
	Text      string // lines, each ending in LF
	Incidents []ledger.Incident
}

// accounts are the names of those concerned, each once.
func (m Message) accounts() []string {
	return accountsOf(m.Incidents)
}

// kinds are those of the incidents, each once.
func (m Message) kinds() []string {
	var kinds []string
	seen := map[string]bool{}
	for _, i := range m.Incidents {
		if !seen[i.Kind] {
			seen[i.Kind] = true
			kinds = append(kinds, i.Kind)
		}
	}
	return kinds
}

// accountsOf are the accounts of incidents, each once.
func accountsOf(incidents []ledger.Incident) []string {
	var accounts []string
	seen := map[string]bool{}
	for _, i := range incidents {
		if i.Account != "" && !seen[i.Account] {
			seen[i.Account] = true
			accounts = append(accounts, i.Account)
		}
	}
	return accounts
}

// thread names what belongs together: an alert, its reminders and its all-clear. Mail readers show them as one conversation.
func (m Message) thread() string {
	if len(m.Incidents) == 0 {
		return ""
	}
	first := m.Incidents[0]
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %d", first.Account, first.Kind, first.Since.Unix()))
	return "popfetchd-" + hex.EncodeToString(sum[:8])
}

// id is this message's own name within its thread.
func (m Message) id() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %d %s", m.thread(), m.Event, m.At.UnixNano(), m.Text))
	return "popfetchd-" + hex.EncodeToString(sum[:12])
}
