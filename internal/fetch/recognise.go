package fetch

import (
	"slices"
	"strings"

	"github.com/popfetchd/popfetchd/internal/ledger"
)

// recognise fills in what the ledger knows of each listed message. Where one of several with the same UID and size was
// deleted, the others move up in the listing: it changes their keys back to those under which they were stored.
func (r *run) recognise(drop *maildrop) (err error) {
	drop.states, err = r.Ledger.States(r.account.Name, drop.keys)
	if err != nil {
		return err
	}
	if rulesOf(r.account).window {
		return r.recogniseByUID(drop)
	}
	var moved []int // perhaps: all that seem to be deleted already, and those that a header alone vouches for
	for index, state := range drop.states {
		if state.Deletion == ledger.Deleted || state.Deletion == ledger.Gone || r.unsure(drop.keys[index], state) {
			moved = append(moved, index)
		}
	}
	if len(moved) == 0 {
		return nil
	}
	return r.moveBack(drop, moved)
}

// recogniseByUID finds messages that were listed with another size when they were stored: Gmail's UIDs are a message's for
// life, while it has counted line ends in more than one way.
func (r *run) recogniseByUID(drop *maildrop) error {
	var strange []string
	for index, state := range drop.states {
		if !state.Known {
			strange = append(strange, drop.keys[index].UID)
		}
	}
	known, err := r.Ledger.ByUID(r.account.Name, strange)
	if err != nil || len(known) == 0 {
		return err
	}
	for index, key := range drop.keys {
		if other, ok := known[key.UID]; ok && !drop.states[index].Known {
			drop.keys[index] = other
		}
	}
	drop.states, err = r.Ledger.States(r.account.Name, drop.keys)
	return err
}

// unsure says that a message is to be deleted that only its header tells from others: a look at all of it comes first.
func (r *run) unsure(key ledger.Key, state ledger.State) bool {
	return strings.HasPrefix(key.UID, headerUID) && rulesOf(r.account).due(state, r.began)
}

// moveBack looks for the messages at moved under higher occurrences than are listed, where one may be known that is to be
// on the server still. Otherwise one whose deletion the server confirmed cannot be the message that is listed, or the server
// took that back: RFC 1939 §7 lets a UID be used again once its message is gone. It is fetched under the next key, and
// held against those before it.
func (r *run) moveBack(drop *maildrop, moved []int) error {
	next := make(map[ledger.Key]int, len(drop.keys)) // the occurrence to try
	for _, key := range drop.keys {
		next[alike(key)]++
	}
	for len(moved) > 0 {
		candidates := make([]ledger.Key, len(moved))
		for i, index := range moved {
			candidates[i] = alike(drop.keys[index])
			candidates[i].Occurrence = next[candidates[i]]
			next[alike(candidates[i])]++
		}
		found, err := r.Ledger.States(r.account.Name, candidates)
		if err != nil {
			return err
		}
		var further []int
		for i, index := range moved {
			fresh := drop.states[index].Deletion == ledger.Deleted || r.unsure(drop.keys[index], drop.states[index])
			if fresh {
				drop.again = append(drop.again, earlier(candidates[i])...)
			}
			switch {
			case found[i].Deletion == ledger.Deleted, found[i].Deletion == ledger.Gone, r.unsure(candidates[i], found[i]):
				further = append(further, index)
			case found[i].Known, fresh:
				drop.keys[index], drop.states[index] = candidates[i], found[i]
			}
		}
		moved = further
	}
	drop.again = distinct(drop.again)
	return nil
}

func distinct(keys []ledger.Key) []ledger.Key {
	seen := make(map[ledger.Key]bool, len(keys))
	return slices.DeleteFunc(keys, func(key ledger.Key) bool {
		before := seen[key]
		seen[key] = true
		return before
	})
}

// earlier returns the keys of lower occurrence.
func earlier(key ledger.Key) []ledger.Key {
	keys := make([]ledger.Key, key.Occurrence)
	for i := range keys {
		keys[i] = key
		keys[i].Occurrence = i
	}
	return keys
}
