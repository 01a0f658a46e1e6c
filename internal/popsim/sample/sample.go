// Package sample makes mail up: three hundred messages of a life that nobody led, for `popfetchd demo` and for tests, and
// a set of nasty ones for tests that compare bytes. All of it is the same at every run. People and hosts are invented,
// under the domains that RFC 2606 keeps for examples.
package sample

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/popfetchd/popfetchd/internal/popsim"
)

// Count is how many messages there are.
const Count = 300

const (
	seed   = 0x706f70 // any would do, as long as it stays
	days   = 730      // the mail spreads over two years
	list   = 10       // messages in a thread
	stride = 48       // slots from the start of a thread to the start of the next
)

var firstDay = time.Date(2024, time.September, 1, 6, 0, 0, 0, time.UTC)

// slot is a place in the sequence, and what a message draws from it.
type slot struct {
	number int
	date   time.Time
	random *rand.Rand
}

// maker writes the message of a slot.
type maker func(slot) popsim.Message

// Messages are Count messages, the oldest first, with Gmail's kind of UID. They are made one by one as they are asked
// for; the few large ones only when they are read. All together they have about 20 MB.
func Messages() iter.Seq[popsim.Message] {
	return func(yield func(popsim.Message) bool) {
		for number, maker := range plan() {
			if !yield(maker.at(number)) {
				return
			}
		}
	}
}

// at makes the message of one slot.
func (write maker) at(number int) popsim.Message {
	s := slotAt(number)
	m := write(s)
	m.Received = s.date
	m.UID = popsim.GmailUID(s.date, number)
	return m
}

func slotAt(number int) slot {
	random := rand.New(rand.NewPCG(seed, uint64(number)))
	step := days * 24 * time.Hour / Count
	date := firstDay.Add(time.Duration(number) * step).Add(time.Duration(random.Int64N(int64(step)))).Truncate(time.Second)
	return slot{number: number, date: date, random: random}
}

// id is the Message-ID of a slot, so that others can refer to it.
func id(number int) string {
	return fmt.Sprintf("<%x.%d@mail.example.org>", slotAt(number).date.Unix(), number)
}

// plan deals the slots: the threads keep together, all else is shuffled around them.
func plan() []maker {
	makers := make([]maker, Count)
	for i, topic := range topics() {
		for j := range list {
			makers[1+i*stride+2*j] = topic.at(j, 1+i*stride)
		}
	}
	others := singles()
	for len(others) < Count-list*len(topics()) {
		others = append(others, note)
	}
	random := rand.New(rand.NewPCG(seed, Count))
	random.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	for i := range makers {
		if makers[i] == nil {
			makers[i], others = others[0], others[1:]
		}
	}
	return makers
}

// singles are all that is not in a thread, without the notes that fill up.
func singles() []maker {
	all := append(oddities(), attachments()...)
	for _, t := range tongues() {
		for _, f := range t.forms {
			for i := range 3 {
				all = append(all, t.letter(f, i))
			}
		}
	}
	for i := range 36 {
		all = append(all, newsletter(i))
	}
	return all
}
