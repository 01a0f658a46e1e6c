package fetch

import "github.com/popfetchd/popfetchd/internal/ledger"

// recognise returns what the ledger knows of each listed message. Where one of several with the same UID and size was
// deleted, the others move up in the listing: it changes their keys back to those under which they were stored.
func (r *run) recognise(keys []ledger.Key) ([]ledger.State, error) {
	states, err := r.Ledger.States(r.account.Name, keys)
	if err != nil || rulesOf(r.account).window {
		return states, err
	}
	var moved []int // perhaps: all that seem to be deleted already
	for index, state := range states {
		if state.Deletion == ledger.Deleted || state.Deletion == ledger.Gone {
			moved = append(moved, index)
		}
	}
	if len(moved) == 0 {
		return states, nil
	}
	return states, r.moveBack(keys, states, moved)
}

// moveBack looks for the messages at moved under higher occurrences than are listed, where one may be known that is to be
// on the server still. What is not found stays what it seems to be.
func (r *run) moveBack(keys []ledger.Key, states []ledger.State, moved []int) error {
	next := make(map[ledger.Key]int, len(keys)) // the occurrence to try
	for _, key := range keys {
		next[alike(key)]++
	}
	for len(moved) > 0 {
		candidates := make([]ledger.Key, len(moved))
		for i, index := range moved {
			candidates[i] = alike(keys[index])
			candidates[i].Occurrence = next[candidates[i]]
			next[alike(candidates[i])]++
		}
		found, err := r.Ledger.States(r.account.Name, candidates)
		if err != nil {
			return err
		}
		var further []int
		for i, index := range moved {
			switch {
			case !found[i].Known:
			case found[i].Deletion == ledger.Deleted, found[i].Deletion == ledger.Gone:
				further = append(further, index)
			default:
				keys[index], states[index] = candidates[i], found[i]
			}
		}
		moved = further
	}
	return nil
}
