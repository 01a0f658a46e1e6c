package fetch

import (
	"time"

	"github.com/popfetchd/popfetchd/internal/ledger"
)

// Messages are asked for in portions. Before each one is a moment at which nothing is under way: a batch can be proved to hold
// what it seems to, and, where a session may not go on for ever, or a day's octets are limited, the session can end well.
// These want portions that are smaller than a batch.
const (
	portionMessages = 50
	portionBytes    = 8 << 20
)

// day is the time over which daily_limit counts.
const day = 24 * time.Hour

// quota is what daily_limit allows. What a portion is listed with is booked in the ledger before it is asked for, and set
// right afterwards, so that a crash counts too much rather than too little.
type quota struct {
	booked int64     // for the portion under way
	until  time.Time // when the next message fits in; zero as long as all did
}

// limited says that the daily limit was reached.
func (r *run) limited() bool { return !r.quota.until.IsZero() }

// rationed says that messages are asked for in portions.
func (r *run) rationed() bool {
	return !r.sessionEnd.IsZero() || r.account.DailyLimit > 0
}

// portion returns the first of the messages at indices that may be asked for now; none when the session or the day has
// no room for more.
func (r *run) portion(drop *maildrop, indices []int) ([]int, error) {
	if !r.rationed() {
		n, _ := fit(drop, indices, batchMessages, batchBytes)
		return indices[:n], nil
	}
	if r.timeIsUp() {
		r.outOfTime = true
		return nil, nil
	}
	room, err := r.room(drop.listing[indices[0]].Size)
	if err != nil || r.limited() {
		return nil, err
	}
	n, octets := fit(drop, indices, portionMessages, min(portionBytes, room))
	return indices[:n], r.book(drop, indices[:n], octets)
}

// fit returns how many of the messages at indices stay within the bounds, one at least, and their octets.
func fit(drop *maildrop, indices []int, messages int, most int64) (n int, octets int64) {
	for n < min(len(indices), messages) {
		size := drop.listing[indices[n]].Size
		if n > 0 && octets+size > most {
			break
		}
		octets += size
		n++
	}
	return n, octets
}

// timeIsUp says that the session has to end: after a time, or, where one broke lately, after a single portion, so that
// what it retrieved counts as taken before the next break. One portion it has in any case, or a slow one would bring nothing.
func (r *run) timeIsUp() bool {
	r.portions++
	return r.portions > 1 && (r.brittle || !r.sessionEnd.IsZero() && !r.Now().Before(r.sessionEnd))
}

// room returns how many octets the day has left. Where they do not do for the next message it notes when they will. One that
// is larger than the limit itself has a day of its own.
func (r *run) room(next int64) (int64, error) {
	limit := r.account.DailyLimit
	if limit == 0 {
		return 1 << 62, nil
	}
	spent, err := r.Ledger.Traffic(r.account.Name, r.Now().Add(-day))
	if err != nil {
		return 0, err
	}
	total := int64(0)
	for _, t := range spent {
		total += t.Octets
	}
	if total == 0 || total+next <= limit {
		return limit - total, nil
	}
	for _, t := range spent {
		if total -= t.Octets; total == 0 || total+next <= limit {
			r.quota.until = t.At.Add(day)
			break
		}
	}
	return 0, nil
}

// book notes what is about to be asked for.
func (r *run) book(drop *maildrop, portion []int, octets int64) error {
	if r.windowed() {
		var keys []ledger.Key
		for _, index := range portion {
			if !drop.states[index].Known {
				keys = append(keys, drop.keys[index])
			}
		}
		if err := r.Ledger.SetUnderway(r.account.Name, keys); err != nil {
			return err
		}
	}
	if r.account.DailyLimit == 0 {
		return nil
	}
	r.quota.booked = octets
	return r.Ledger.AddTraffic(r.account.Name, r.Now(), octets)
}

// settlePortion sets right what was booked, once a portion has come or broken off.
func (r *run) settlePortion(received int64) error {
	difference := received - r.quota.booked
	r.quota.booked = 0
	if r.account.DailyLimit == 0 || difference == 0 {
		return nil
	}
	return r.Ledger.AddTraffic(r.account.Name, r.Now(), difference)
}

// leave counts messages that the daily limit left on the server: they are neither failed nor forgotten.
func (r *run) leave(n int) {
	if n == 0 || !r.limited() {
		return
	}
	r.report.Left = n
	r.report.New -= n
	r.report.Skipped += n
}
