package gmail

import (
	"fmt"
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
	seen    int
	struck  bool
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
	if t == nil {
		return "no trouble"
	}
	return fmt.Sprintf("%s at %s %d (struck: %v)", t.kind, t.command, t.nth, t.struck)
}

// kills tells whether the program may end by it.
func (t *trouble) kills() bool { return t != nil && t.kind == kill }

// anyTrouble draws one that strikes among so many messages; about half of them, in the last part of a session.
func (w *world) anyTrouble(messages int) *trouble {
	t := &trouble{nth: 1 + w.random.IntN(messages), command: "RETR", octets: w.random.Int64N(2000)}
	t.kind = oneOf(w.random, cut, cut, cutInBody, cutInBody, cutObeyed, kill, kill, kill, suspend, suspend, refuseOne, refuse, seemEmpty, enabling, saved, expire, expire)
	if t.kind == expire && w.signIn == nil {
		t.kind = suspend
	} else if t.kind == expire && w.random.IntN(3) == 0 {
		t.kind = expireFirst
	}
	switch t.kind {
	case cut, cutObeyed, refuse:
		if w.random.IntN(2) == 0 {
			t.command, t.nth = oneOf(w.random, "QUIT", "QUIT", "DELE", "UIDL", "LIST", ""), 1+w.random.IntN(3)
		}
	case kill:
		t.delay = time.Duration(w.random.Int64N(int64(oneOf(w.random, time.Nanosecond, 5*time.Millisecond, 100*time.Millisecond))))
		if w.random.IntN(3) == 0 {
			t.command, t.nth = "QUIT", 1+w.random.IntN(3)
		}
	case seemEmpty, enabling, expireFirst:
		t.command, t.nth = "LOGIN", 1+w.random.IntN(3)
	}
	return t
}

// begin is the trouble for a run that dies when die is called.
func (t *trouble) begin(w *world, die func()) popsim.Fault {
	var mu sync.Mutex
	return func(r popsim.Request) popsim.Action {
		mu.Lock()
		defer mu.Unlock()
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

// suffer has so many runs go wrong, with mail coming in and time passing between.
func (w *world) suffer(runs int) {
	w.Helper()
	for range runs {
		left := max(1, w.account.Counts().Waiting)
		if w.recent {
			left = len(w.offered)
		}
		w.once(w.anyTrouble(min(left, 2*w.volume.messages/max(runs, 2))))
		w.arrive(w.random.IntN(w.volume.messages/100 + 2))
		w.pass(time.Duration(w.random.IntN(90)) * time.Minute)
		if w.random.IntN(2) == 0 {
			w.program.Must(w.T, "retry", "test")
		}
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
