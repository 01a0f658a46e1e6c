package fetch

import "github.com/popfetchd/popfetchd/internal/ledger"

// recognise returns what the ledger knows of each listed message. Where one of several with the same UID and size was
// deleted, the others move up in the listing: it changes their keys back to those under which they were stored.
func (r *run) recognise(keys []ledger.Key) ([]ledger.State, error) {
	states, err := r.Ledger.States(r.account.Name, keys)
	if err != nil {
		return nil, err
	}
	var listed map[ledger.Key]int // how many there are of each UID and size; made when it is needed
	for i := range states {
		if states[i].Deletion != ledger.Deleted {
			continue
		}
		if listed == nil {
			listed = make(map[ledger.Key]int, len(keys))
			for _, key := range keys {
				listed[alike(key)]++
			}
		}
		if err := r.moveBack(&keys[i], &states[i], listed); err != nil {
			return nil, err
		}
	}
	return states, nil
}

// moveBack looks for a message that was stored under a higher occurrence than any listed, and is to be on the server still.
func (r *run) moveBack(key *ledger.Key, state *ledger.State, listed map[ledger.Key]int) error {
	candidate := *key
	for occurrence := listed[alike(*key)]; ; occurrence++ {
		candidate.Occurrence = occurrence
		states, err := r.Ledger.States(r.account.Name, []ledger.Key{candidate})
		if err != nil || !states[0].Known {
			return err // it stays what it seems to be
		}
		if states[0].Deletion != ledger.Deleted {
			*key, *state = candidate, states[0]
			listed[alike(candidate)] = occurrence + 1
			return nil
		}
	}
}
