package gmail

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/internal/popsim/sample"
)

// volume is how much of everything an account holds. The messages are all there are, those of the other numbers included.
type volume struct {
	messages, conversations    int
	sent                       int // written in the web interface
	smtp                       int // sent by a mail client, which Gmail takes as popped
	spam, trash, chats, drafts int
	years                      float64
	nasty                      int // bytes that the oddest messages may have
	long                       int // messages of some hundred KiB
	huge                       int // bytes of the largest
	twins                      int // messages that are the same as another, byte for byte
}

var (
	whole = volume{messages: 5000, conversations: 1800, sent: 300, smtp: 60, spam: 200, trash: 100, chats: 40, drafts: 20,
		years: 12, nasty: 2 << 20, long: 30, huge: 9 << 20, twins: 10}
	small = volume{messages: 520, conversations: 330, sent: 30, smtp: 6, spam: 20, trash: 10, chats: 4, drafts: 4,
		years: 3, nasty: 70 << 10, twins: 3}
)

// smallWindow is for a small account what 250 is for a whole one. It is still as many messages as can only be a window.
const smallWindow = 200

const (
	day = 24 * time.Hour
	// longest is how many messages Gmail has in a conversation before it begins another.
	longest = 100
)

// within is the volume over another time: of the last days, all of it is in recent mode.
func (v volume) within(d time.Duration) volume {
	v.years = d.Hours() / 24 / 365
	return v
}

// mail makes up what an account holds at a time, in order of arrival. Most conversations are of one message and a few are
// long; they run over each other, and some go on after a year.
func mail(random *rand.Rand, v volume, now time.Time) []popsim.Message {
	all := make([]popsim.Message, 0, v.messages)
	span := time.Duration(v.years * 365 * float64(day))
	var sizes = map[string]int{}
	for i := range v.messages {
		m := popsim.Message{Thread: fmt.Sprintf("thread-%d", i)}
		if i < v.conversations {
			m.Received = now.Add(-time.Hour - time.Duration(random.Int64N(int64(span-time.Hour))))
		} else {
			before := all[random.IntN(i)] // so that the long ones grow
			for sizes[before.Thread] == longest {
				before = all[random.IntN(i)]
			}
			m.Thread, m.Received = before.Thread, reply(random, before.Received, now)
		}
		sizes[m.Thread]++
		all = append(all, m)
	}
	label(random, v, all, sizes)
	slices.SortStableFunc(all, func(x, y popsim.Message) int { return x.Received.Compare(y.Received) })
	write(random, v, all)
	return all
}

// reply is when a message is answered: after hours, or a year.
func reply(random *rand.Rand, to, now time.Time) time.Time {
	gap := time.Duration(random.ExpFloat64() * float64(20*time.Hour))
	if random.IntN(40) == 0 {
		gap += 300 * day
	}
	if at := to.Add(gap); at.Before(now) {
		return at
	}
	return to.Add(time.Duration(random.Int64N(int64(now.Sub(to)))))
}

// label says where the messages are: spam and chats are conversations of their own, all else is anywhere.
func label(random *rand.Rand, v volume, all []popsim.Message, sizes map[string]int) {
	free := random.Perm(len(all))
	take := func(n int, alone bool, set func(*popsim.Message)) {
		free = slices.DeleteFunc(free, func(i int) bool {
			if n == 0 || alone && sizes[all[i].Thread] > 1 {
				return false
			}
			n--
			set(&all[i])
			return true
		})
	}
	to := func(l popsim.Labels) func(*popsim.Message) { return func(m *popsim.Message) { m.Labels = l } }
	take(v.spam, true, to(popsim.InSpam))
	take(v.chats, true, to(popsim.InChats))
	take(v.trash, false, to(popsim.InTrash))
	take(v.drafts, false, to(popsim.InDrafts))
	take(v.smtp, false, func(m *popsim.Message) { m.Labels, m.ViaSMTP = popsim.InSent, true })
	take(v.sent/10, false, to(popsim.InSent|popsim.InInbox)) // to oneself
	take(v.sent-v.sent/10, false, to(popsim.InSent))
	take(len(free)/3, false, to(popsim.Archived))
	take(len(free), false, func(m *popsim.Message) { m.Labels, m.Unread = popsim.InInbox, random.IntN(3) == 0 })
}

// write gives the messages their texts, and some the oddest there are.
func write(random *rand.Rand, v volume, all []popsim.Message) {
	for i := range all {
		all[i].Body = letter(random, i, all[i], 100+int(random.ExpFloat64()*900))
	}
	places := random.Perm(len(all))
	next := func() (i int) {
		i, places = places[0], places[1:]
		return i
	}
	for _, odd := range sample.Nasty() {
		if len(odd.Body) <= v.nasty {
			all[next()].Body = odd.Body
		}
	}
	for range v.long {
		i := next()
		all[i].Body = letter(random, i, all[i], 100<<10+random.IntN(400<<10))
	}
	if v.huge > 0 {
		i := next()
		all[i].Body = letter(random, i, all[i], v.huge)
	}
	for range v.twins {
		all[next()].Body = all[next()].Body
	}
}

// letter is a message of at least so many octets.
func letter(random *rand.Rand, n int, m popsim.Message, octets int) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "Message-ID: <%d.%x@mail.example.org>\r\nDate: %s\r\nFrom: A Friend <a@example.org>\r\nTo: joe@gmail.com\r\nSubject: %s\r\n\r\n",
		n, random.Uint64(), m.Received.UTC().Format(time.RFC1123Z), m.Thread)
	words := strings.Fields("From From >From . .. and so it goes on as ever with one more word of what was said, häufig auch so. Ещё раз! बस।")
	var text strings.Builder
	for text.Len() < min(octets, 4<<10) {
		for width := random.IntN(30); width < 70; width += 8 {
			text.WriteString(words[random.IntN(len(words))] + " ")
		}
		text.WriteString("\r\n")
	}
	for b.Len() < octets || b.Len() < 200 {
		b.WriteString(text.String())
	}
	return []byte(b.String())
}
