package gmail

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/popfetchd/popfetchd/internal/oauthsim"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// trouble strikes a run once, when a command comes for the nth time in it.
type trouble struct {
	kind    kind
	command string // empty: any
	nth     int
	octets  int64 // of a message that come before a cut
	delay   time.Duration

	mu     sync.Mutex
	seen   int
	struck bool
}

// kind is what goes wrong.
type kind string

const (
	cut         kind = "the line is cut"
	cutInBody   kind = "the line is cut in a message"
	cutObeyed   kind = "the line is cut in the place of an answer"
	kill        kind = "the program is killed"
	suspend     kind = "the account is suspended"
	expire      kind = "the token expires"
	expireFirst kind = "the token has expired, and the sign-in server fails once"
	refuseOne   kind = "one message is refused"
	refuse      kind = "the server has a temporary problem"
	seemEmpty   kind = "the mailbox seems empty"
	enabling    kind = "POP is being enabled"
	saved       kind = "Enable POP for all mail is saved"
)

func (t *trouble) String() string {
	t.mu.Lock() // the server may not have noticed yet that the program is gone
	defer t.mu.Unlock()
	if !t.struck {
		return fmt.Sprintf("(%s at %s %d)", t.kind, t.command, t.nth)
	}
	return fmt.Sprintf("%s at %s %d", t.kind, t.command, t.nth)
}

// trials are the troubles of one run.
type trials []*trouble

func (all trials) String() string {
	texts := []string{"no trouble"}
	for i, t := range all {
		texts = append(texts[:i], t.String())
	}
	return strings.Join(texts, ", ")
}

// kill tells whether the program may end by one of them.
func (all trials) kill() bool {
	return slices.ContainsFunc(all, func(t *trouble) bool { return t.kind == kill })
}

// draw draws the troubles of a run: some that strike anywhere while it asks for so many messages, and mostly one that
// stops it there.
func (w *world) draw(messages int) (all trials) {
	for range w.random.IntN(4) {
		all = append(all, w.anyTrouble(messages))
	}
	if w.random.IntN(6) > 0 {
		last := &trouble{kind: oneOf(w.random, kill, suspend, expireFirst), command: "RETR", nth: messages, delay: w.delay()}
		if last.kind == expireFirst && w.signIn == nil {
			last.kind = kill
		}
		all = append(all, last)
	}
	return all
}

// anyTrouble draws one, half of the time not among the messages.
func (w *world) anyTrouble(messages int) *trouble {
	t := &trouble{nth: 1 + w.random.IntN(messages), command: "RETR", octets: w.random.Int64N(2000), delay: w.delay()}
	t.kind = oneOf(w.random, cut, cut, cutInBody, cutInBody, cutObeyed, kill, kill, suspend, refuseOne, refuse, seemEmpty, enabling, saved, expire, expire, expireFirst)
	if w.signIn == nil && (t.kind == expire || t.kind == expireFirst) {
		t.kind = cut
	}
	switch t.kind {
	case cut, cutObeyed, refuse:
		if w.random.IntN(2) == 0 {
			t.command, t.nth = oneOf(w.random, "QUIT", "QUIT", "DELE", "UIDL", "LIST", ""), 1+w.random.IntN(3)
		}
	case kill:
		if w.random.IntN(2) == 0 {
			t.command, t.nth = "QUIT", 1+w.random.IntN(3)
		}
	case seemEmpty, enabling:
		t.command, t.nth = "LOGIN", 1+w.random.IntN(3)
	}
	return t
}

// delay is how long after a command the program dies: at once, or while it stores what came.
func (w *world) delay() time.Duration {
	return time.Duration(w.random.Int64N(int64(oneOf(w.random, time.Nanosecond, 5*time.Millisecond, 100*time.Millisecond))))
}

// begin is the troubles for a run that dies when die is called.
func (all trials) begin(w *world, die func()) popsim.Fault {
	faults := make([]popsim.Fault, len(all))
	for i, t := range all {
		faults[i] = t.begin(w, die)
	}
	return popsim.FirstOf(faults...)
}

// begin is the trouble for a run that dies when die is called.
func (t *trouble) begin(w *world, die func()) popsim.Fault {
	return func(r popsim.Request) popsim.Action {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.command != "" && r.Command != t.command {
			return popsim.Action{}
		}
		if t.seen++; t.seen < t.nth || t.struck && t.kind != refuse {
			return popsim.Action{}
		}
		t.struck = true
		return t.strike(w, die)
	}
}

func (t *trouble) strike(w *world, die func()) popsim.Action {
	switch t.kind {
	case cut:
		return popsim.HangUp()
	case cutInBody:
		return popsim.HangUpInBody(t.octets)
	case cutObeyed:
		return popsim.HangUpUnanswered()
	case kill:
		time.AfterFunc(t.delay, die)
	case suspend:
		w.account.Suspend(time.Hour)
	case expire:
		w.signIn.Expire()
	case expireFirst:
		w.signIn.Expire()
		w.signIn.SetFault(oauthsim.Fault{Path: "/token", Times: 1, Status: 500, Body: "{}"})
	case refuseOne:
		return popsim.Refuse("this one cannot be read")
	case refuse:
		return popsim.Refuse(popsim.TemporaryProblem)
	case seemEmpty:
		return popsim.SeemEmpty(popsim.SeemsEmpty)
	case enabling:
		return popsim.Refuse(popsim.EnablingPOP)
	case saved:
		w.account.SaveSettings(popsim.AllMail, "")
	}
	return popsim.Action{}
}

// arrive has some more mail come in, now.
func (w *world) arrive(n int) {
	for i := range n {
		m := popsim.Message{Received: w.now(), Labels: popsim.InInbox, Unread: true, Thread: fmt.Sprintf("thread-%d", w.random.IntN(2*w.volume.messages))}
		m.Body = letter(w.random, i, m, 300)
		w.deliver(m)
	}
}

// suffer has so many runs go wrong, with mail coming in and time passing between. No run gets much further than its share.
func (w *world) suffer(runs int) {
	w.Helper()
	for range runs {
		share := len(w.offered)/runs + 1
		o := w.once(w.draw(share/2 + w.random.IntN(share+1)))
		if w.box.Knobs.RecentWindow == 0 { // else what comes pushes out what was not fetched yet
			w.arrive(w.random.IntN(w.volume.messages/200 + 2))
		}
		if o.Code == 0 || w.random.IntN(8) == 0 {
			w.pass(time.Duration(w.random.IntN(60)) * time.Minute)
			continue
		}
		w.pass(2 * time.Hour)
		w.program.Must(w.T, "retry", "test")
	}
}

// lastConversations keeps what belongs to the last n conversations of a list; firstConversations to the first. With cut the
// list ends where there would be one more.
func lastConversations(list []popsim.Message, n int, cut bool) []popsim.Message {
	return reversed(firstConversations(reversed(list), n, cut))
}

func firstConversations(list []popsim.Message, n int, cut bool) (kept []popsim.Message) {
	seen := map[string]bool{}
	for _, m := range list {
		if !seen[m.Thread] && len(seen) == n {
			if cut {
				break
			}
			continue
		}
		seen[m.Thread] = true
		kept = append(kept, m)
	}
	return kept
}

func reversed(list []popsim.Message) []popsim.Message {
	backwards := make([]popsim.Message, len(list))
	for i, m := range list {
		backwards[len(list)-1-i] = m
	}
	return backwards
}
