package popsim

import (
	"slices"
	"strings"
	"time"
)

// GmailBox is how Gmail keeps an account. A session lists a window: all that is not popped yet of the oldest 250
// conversations, spam, trash and chats left out. What a session retrieves is popped by its QUIT, is listed no more, and the
// account's disposition is applied to it; without QUIT nothing happens. A user name "recent:NAME" opens the mail of the
// last 30 days instead, popped or not. No message ever leaves the account.
//
// The fields are set before the server starts; SaveSettings changes the settings later. What nobody knows of Gmail is a
// knob. The zero GmailBox is fit for use.
type GmailBox struct {
	Window      int // conversations that a session lists; 0: 250
	Access      AccessWindow
	Since       time.Time // with FromNowOn: what arrived before is not listed
	Disposition Disposition
	Now         func() time.Time // nil: time.Now
	Knobs       Knobs
}

// DefaultWindow is how many conversations a session of Gmail lists.
const DefaultWindow = 250

// recentDays is how far recent mode looks back.
const recentDays = 30 * 24 * time.Hour

// AccessWindow is what Gmail lets POP have, in the words of its API.
type AccessWindow string

// The access windows. The empty one is AllMail.
const (
	AllMail   AccessWindow = "allMail"   // all that is not popped
	FromNowOn AccessWindow = "fromNowOn" // what arrived since the setting was saved
	Disabled  AccessWindow = "disabled"  // POP is off
)

// Disposition is what Gmail does to a message that was popped, in the words of its API.
type Disposition string

// The four dispositions. The empty one is LeaveInInbox.
const (
	LeaveInInbox Disposition = "leaveInInbox"
	MarkRead     Disposition = "markRead"
	Archive      Disposition = "archive"
	Trash        Disposition = "trash"
)

// DeleEffect is what DELE does in a Gmail account. It hides the message for the rest of the session in any case.
type DeleEffect string

// What DELE may come to at QUIT.
const (
	DelePops     DeleEffect = ""            // it is popped, and the disposition applied only if it was retrieved, too
	DeleIgnored  DeleEffect = "ignore"      // nothing
	DeleDisposes DeleEffect = "disposition" // it is popped and the disposition applied, retrieved or not
	DeleTrashes  DeleEffect = "trash"       // it is popped and goes to the trash, whatever the disposition
)

// Knobs are what is not settled about Gmail. All off is what the reports lean to.
type Knobs struct {
	PopOnRETR      bool       // RETR pops at once, even if the transfer fails and no QUIT comes
	TopPops        bool       // TOP counts as RETR
	DeleEffect     DeleEffect // of DELE, in normal and in recent mode
	RsetUndoesRetr bool       // after RSET, QUIT pops only what is retrieved again
	RecentPops     bool       // RETR and QUIT pop in recent mode, too
	RecentWindow   int        // recent mode lists the newest so many conversations only; 0: all
	RecentNoToken  bool       // "recent:" is refused with a token
	WindowCuts     bool       // a window ends where the first conversation too many begins, rather than that its later messages are left out
	ListDrafts     bool       // drafts are listed
	RelistSMTP     bool       // saving AllMail makes listable also what was sent through SMTP

	CountLF      bool // LIST and STAT count each CRLF as one octet
	NoPipelining bool // PIPELINING is not announced after login

	POPOffAtStat bool // with Disabled, a password opens the account and STAT is refused, as it is with a token
	POPOffAtAuth bool // with Disabled, a token is refused at AUTH, as a password is at PASS

	SpacesRefused     bool // an app password must come without spaces
	EnforceLoginDelay bool // a login within 5 minutes of the last is refused with [LOGIN-DELAY]
	InUse             bool // one session at a time, others are refused with [IN-USE]
	QuotaHangsUp      bool // where the quota refuses a command, the session ends
}

// Labels are where a message is to be found in Gmail.
type Labels uint8

// The labels that matter here. A message without any that is delivered to a Gmail account goes to the inbox.
const (
	InInbox Labels = 1 << iota
	InSent
	InSpam
	InTrash
	InChats
	InDrafts
	Archived // in All Mail only
)

// Has tells whether any of the labels is there.
func (l Labels) Has(any Labels) bool { return l&any != 0 }

// Counts is how many messages of an account are where.
type Counts struct {
	Inbox, Archived, Sent, Spam, Trash int
	Unread                             int // in the inbox
	Popped                             int // sent through SMTP included
	Waiting                            int // what later sessions in normal mode are going to list
}

// SaveSettings is what saving Gmail's settings page does, or its API: AllMail makes all that was popped listable again,
// FromNowOn begins now. An empty value leaves that setting as it is.
func (a *Account) SaveSettings(access AccessWindow, d Disposition) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if d != "" {
		a.Gmail.Disposition = d
	}
	if access == "" {
		return
	}
	a.Gmail.Access = access
	switch access {
	case AllMail:
		for _, m := range a.messages {
			m.popped = m.ViaSMTP && !a.Gmail.Knobs.RelistSMTP
		}
	case FromNowOn:
		a.Gmail.Since = a.now()
	}
}

// Settings are the account's POP settings, never empty.
func (a *Account) Settings() (AccessWindow, Disposition) {
	a.mu.Lock()
	defer a.mu.Unlock()
	access, d := a.Gmail.Access, a.Gmail.Disposition
	if access == "" {
		access = AllMail
	}
	if d == "" {
		d = LeaveInInbox
	}
	return access, d
}

// Offered is all that normal mode has handed out so far, or is going to list if nothing more happens to the account; in
// order of arrival. A plain maildrop offers what it holds.
func (a *Account) Offered() []Message {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []Message
	for _, m := range byArrival(a.messages) {
		if a.Gmail == nil || m.offered || a.Gmail.waits(m) {
			all = append(all, m.state())
		}
	}
	return all
}

// Counts counts the messages.
func (a *Account) Counts() Counts {
	a.mu.Lock()
	defer a.mu.Unlock()
	var c Counts
	add := func(n *int, yes bool) {
		if yes {
			*n++
		}
	}
	for _, m := range a.messages {
		add(&c.Inbox, m.labels.Has(InInbox))
		add(&c.Archived, m.labels.Has(Archived))
		add(&c.Sent, m.labels.Has(InSent))
		add(&c.Spam, m.labels.Has(InSpam))
		add(&c.Trash, m.labels.Has(InTrash))
		add(&c.Unread, m.labels.Has(InInbox) && m.unread)
		add(&c.Popped, m.popped)
		add(&c.Waiting, a.Gmail == nil || a.Gmail.waits(m))
	}
	return c
}

// now is the account's time.
func (a *Account) now() time.Time {
	if a.Gmail == nil || a.Gmail.Now == nil {
		return time.Now()
	}
	return a.Gmail.Now()
}

func byArrival(all []*entry) []*entry {
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(x, y *entry) int { return x.Received.Compare(y.Received) })
	return sorted
}

// visible tells whether POP shows messages from there at all.
func (g *GmailBox) visible(m *entry) bool {
	hidden := InSpam | InTrash | InChats
	if !g.Knobs.ListDrafts {
		hidden |= InDrafts
	}
	return !m.labels.Has(hidden)
}

// waits tells whether normal mode lists a message, in this window or a later one.
func (g *GmailBox) waits(m *entry) bool {
	switch g.Access {
	case Disabled:
		return false
	case FromNowOn:
		return !m.popped && g.visible(m) && !m.Received.Before(g.Since)
	default:
		return !m.popped && g.visible(m)
	}
}

// list is what a session lists, the oldest first.
func (g *GmailBox) list(all []*entry, recent bool) []*entry {
	if recent {
		return g.listRecent(all)
	}
	all = slices.DeleteFunc(byArrival(all), func(m *entry) bool { return !g.waits(m) })
	window := g.Window
	if window == 0 {
		window = DefaultWindow
	}
	return conversations(all, window, g.Knobs.WindowCuts)
}

// listRecent is recent mode. Were its window, if it has one, that of the oldest, nobody could ever see the newest: they
// are popped or not, they stay in.
func (g *GmailBox) listRecent(all []*entry) []*entry {
	now := time.Now
	if g.Now != nil {
		now = g.Now
	}
	since := now().Add(-recentDays)
	all = slices.DeleteFunc(byArrival(all), func(m *entry) bool { return m.Received.Before(since) || !g.visible(m) })
	if g.Knobs.RecentWindow > 0 {
		slices.Reverse(all)
		all = conversations(all, g.Knobs.RecentWindow, g.Knobs.WindowCuts)
		slices.Reverse(all)
	}
	return all
}

// conversations keeps what belongs to the first n conversations of a list. With cut, it ends where the next one begins.
func conversations(list []*entry, n int, cut bool) []*entry {
	type conversation any // a thread's name, or a message that has none
	seen := make(map[conversation]bool)
	var kept []*entry
	for _, m := range list {
		var key conversation = m
		if m.Thread != "" {
			key = m.Thread
		}
		if !seen[key] && len(seen) == n {
			if cut {
				break
			}
			continue
		}
		seen[key] = true
		kept = append(kept, m)
	}
	return kept
}

// view is what a session did with its list.
type view struct {
	recent             bool
	retrieved, deleted map[*entry]bool
}

// settle is what QUIT does to what a session retrieved and marked as deleted. It says how many it popped.
func (g *GmailBox) settle(v view) (popped int) {
	take := func(m *entry, d Disposition) {
		if g.take(m, v.recent, d) {
			popped++
		}
	}
	if !v.recent || g.Knobs.RecentPops {
		for m := range v.retrieved {
			take(m, g.Disposition)
		}
	}
	for m := range v.deleted {
		switch g.Knobs.DeleEffect {
		case DelePops:
			take(m, LeaveInInbox)
		case DeleDisposes:
			take(m, g.Disposition)
		case DeleTrashes:
			take(m, Trash)
		}
	}
	return popped
}

// take pops a message and applies a disposition. It tells whether the message was not popped before.
func (g *GmailBox) take(m *entry, recent bool, d Disposition) bool {
	fresh := !m.popped
	m.popped, m.offered = true, m.offered || !recent
	switch d {
	case MarkRead:
		m.unread = false
	case Archive:
		if m.labels &^= InInbox; m.labels == 0 {
			m.labels = Archived
		}
	case Trash:
		m.labels = InTrash
	}
	return fresh
}

// takeNow is for PopOnRETR, which does not wait for QUIT.
func (a *Account) takeNow(m *entry, recent bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	g := a.Gmail
	return g.Knobs.PopOnRETR && (!recent || g.Knobs.RecentPops) && g.take(m, recent, g.Disposition)
}

// recentPrefix before a user name asks for recent mode.
const recentPrefix = "recent:"

// cutRecent takes the prefix off a user name.
func cutRecent(username string) (name string, recent bool) {
	if len(username) > len(recentPrefix) && strings.EqualFold(username[:len(recentPrefix)], recentPrefix) {
		return username[len(recentPrefix):], true
	}
	return username, false
}
