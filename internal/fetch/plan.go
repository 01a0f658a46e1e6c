package fetch

import (
	"cmp"
	"slices"
	"time"

	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/pop3"
)

// rules is what the account's configuration says about single messages.
type rules struct {
	delete         bool          // the server's copy goes once ours is durable
	deleteAfter    time.Duration // and this much later
	maxMessageSize int64         // octets as listed; 0: any
	window         bool          // the server lists a part of its mail: what is not listed is not gone, and UIDs are never used again
}

// due says that the time of a message on the server is over.
func (r rules) due(state ledger.State, now time.Time) bool {
	return r.delete && state.Stored && (r.deleteAfter == 0 || !now.Before(state.StoredAt.Add(r.deleteAfter)))
}

// plan is what to do about a listing. Its numbers are indices into the listing.
type plan struct {
	fetch    []int // never stored, and no reason to wait
	suspects []int // likewise, but the connection broke over them before: they come last, in a session of their own
	remove   []int // stored here, and the server's copy is due to go
	known    int
	tooLarge []int // never stored, over max_message_size
	waiting  []int // never stored, failed before, tried again later
	setAside []int // never stored, failed too often
}

// identify gives every listed message its key. Occurrences count within equal UID and size, so that when one of two
// messages with the same UID goes away the other keeps its key.
func identify(listing []pop3.Entry) []ledger.Key {
	keys := make([]ledger.Key, len(listing))
	ascending := true // as most servers list: then no UID comes twice
	for i, entry := range listing {
		keys[i] = ledger.Key{UID: entry.UID, ListedSize: entry.Size}
		ascending = ascending && (i == 0 || listing[i-1].UID < entry.UID)
	}
	if ascending {
		return keys
	}
	seen := make(map[ledger.Key]int, len(keys))
	for i, key := range keys {
		keys[i].Occurrence = seen[key]
		seen[key]++
	}
	return keys
}

// makePlan is the set difference of listing and ledger, never a high-water mark: what was listed and is not known is
// fetched, in the order of the listing.
func makePlan(keys []ledger.Key, states []ledger.State, rules rules, now time.Time) plan {
	var p plan
	for i, state := range states {
		switch failure := state.Failure; {
		case state.Known:
			p.known++
			if rules.due(state, now) {
				p.remove = append(p.remove, i)
			}
		case rules.maxMessageSize > 0 && keys[i].ListedSize > rules.maxMessageSize:
			p.tooLarge = append(p.tooLarge, i)
		case failure == nil || failure.Reason == ledger.TooLarge || failure.Reason == ledger.Vanished: // the limit was raised; it is listed again
			p.fetch = append(p.fetch, i)
		case failure.NextAt.IsZero():
			p.setAside = append(p.setAside, i)
		case now.Before(failure.NextAt) && failure.NextAt.Sub(now) <= longestWait: // longer ones come of a clock that went wrong
			p.waiting = append(p.waiting, i)
		case failure.Reason == ledger.Broken:
			p.suspects = append(p.suspects, i)
		default:
			p.fetch = append(p.fetch, i)
		}
	}
	slices.SortStableFunc(p.suspects, func(a, b int) int { return cmp.Compare(states[a].Failure.Attempts, states[b].Failure.Attempts) })
	return p
}
