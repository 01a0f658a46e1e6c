package main

import (
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/popfetchd/popfetchd/internal/popsim"
)

const (
	// simUser is whose account it is.
	simUser = "you@sim.example"

	// simYears is how far back its mail goes.
	simYears = 3

	// simUnread is which part of the inbox, the newest, is still unread: one
	// message in so many.
	simUnread = 4
)

var (
	simPeople   = []string{"Amina", "Björn", "Chidi", "Dana", "Emre", "Fatou", "Gustavo", "Hana"}
	simSubjects = []string{"Lunch on Thursday", "The invoice for May", "Photos from the lake", "Your ticket", "Minutes of the meeting",
		"A question about the flat", "Happy birthday", "Train times", "The draft, once more", "Weekly report"}
)

// mail makes the account's messages up, the oldest first: conversations whose
// messages lie near each other, over three years up to now.
func (p *simPlan) mail(now time.Time) iter.Seq[popsim.Message] {
	random := rand.New(rand.NewPCG(uint64(p.messages), uint64(p.conversations))) // the same account each time
	kinds := p.kinds(random)
	step := simYears * 365 * 24 * time.Hour / time.Duration(max(p.messages, 1))
	return func(yield func(popsim.Message) bool) {
		begun := 0
		for i := range p.messages {
			thread := begun
			if (i+1)*p.conversations/p.messages > begun {
				begun++
			} else {
				thread = max(0, begun-1-random.IntN(8))
			}
			m := popsim.Message{
				Received: now.Add(-time.Duration(p.messages-i) * step),
				Thread:   fmt.Sprint(thread),
				Labels:   kinds[i].labels,
				ViaSMTP:  kinds[i].smtp,
				Unread:   kinds[i].labels == popsim.InInbox && i >= p.messages-p.messages/simUnread,
			}
			p.write(&m, i, simSubjects[thread%len(simSubjects)]+fmt.Sprintf(" (%d)", thread+1), simPeople[random.IntN(len(simPeople))])
			if !yield(m) {
				return
			}
		}
	}
}

// simKind is where a message lies.
type simKind struct {
	labels popsim.Labels
	smtp   bool
}

// kinds deals out which messages were sent or lie in Spam or Trash.
func (p *simPlan) kinds(random *rand.Rand) []simKind {
	kinds := make([]simKind, p.messages)
	for i := range kinds {
		switch {
		case i < p.sent:
			kinds[i] = simKind{popsim.InSent, i%4 == 0}
		case i < p.sent+p.spam:
			kinds[i].labels = popsim.InSpam
		case i < p.sent+p.spam+p.trash:
			kinds[i].labels = popsim.InTrash
		default:
			kinds[i].labels = popsim.InInbox
		}
	}
	random.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	return kinds
}

const simLine = "This message was made up by popfetchd sim, and nobody will miss it.\r\n"

// write writes a message of the size asked for. What it repeats is not kept, so
// that many or large messages take no memory.
func (p *simPlan) write(m *popsim.Message, number int, subject, person string) {
	from, to := person+" <"+strings.ToLower(person[:1])+"@example.org>", simUser
	if m.Labels.Has(popsim.InSent) {
		from, to = to, from
	}
	head := fmt.Sprintf("From: %s\r\nTo: %s\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <%d.%d@sim.example>\r\n"+
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
		from, to, subject, m.Received.Format(time.RFC1123Z), m.Received.Unix(), number)
	lines := max(1, (p.size-int64(len(head)))/int64(len(simLine)))
	m.Size = int64(len(head)) + lines*int64(len(simLine))
	m.Open = func() io.Reader {
		return io.MultiReader(strings.NewReader(head), &repeated{text: simLine, left: lines})
	}
}

// repeated reads a text so many times.
type repeated struct {
	text string
	left int64
	rest string
}

func (r *repeated) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if r.rest == "" {
			if r.left == 0 {
				return n, io.EOF
			}
			r.rest, r.left = r.text, r.left-1
		}
		m := copy(p[n:], r.rest)
		n, r.rest = n+m, r.rest[m:]
	}
	return n, nil
}
