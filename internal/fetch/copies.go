package fetch

import (
	"crypto/sha256"
	"slices"
	"strings"

	"github.com/popfetchd/popfetchd/internal/ledger"
)

// copies are messages that are here already under another key than they might be listed by now, found by their content.
// A message that turns out to be one of them is not stored again.
type copies map[[sha256.Size]byte][]original

// original is a message that is stored here.
type original struct {
	ledger.Message      // without a UID: in a mailbox, but in no row of the ledger
	rekey          bool // it is listed by another key from now on
}

// add adds messages; a row that is there already stays as it is, since it stands for one message only.
func (c copies) add(rekey bool, messages ...ledger.Message) {
	for _, m := range messages {
		if m.UID != "" && slices.ContainsFunc(c[m.SHA256], func(o original) bool { return o.Key == m.Key }) {
			continue
		}
		c[m.SHA256] = append(c[m.SHA256], original{m, rekey})
	}
}

// take returns a message with that content, once.
func (c copies) take(sum [sha256.Size]byte) (original, bool) {
	all := c[sum]
	if len(all) == 0 {
		return original{}, false
	}
	c[sum] = all[1:]
	return all[0], true
}

// findCopies gathers what the messages that are to be fetched have to be held against.
func (r *run) findCopies(drop *maildrop) (copies, error) {
	c := copies{}
	if len(drop.plan.fetch)+len(drop.plan.suspects) == 0 {
		return c, nil
	}
	strays, err := r.Ledger.Strays(r.account.Name)
	if err != nil {
		return nil, err
	}
	c.add(false, strays...)
	again, err := r.Ledger.Rows(r.account.Name, drop.again)
	if err != nil {
		return nil, err
	}
	c.add(false, slices.DeleteFunc(again, otherwiseListed)...)
	unconfirmed, err := r.unconfirmed()
	if err != nil {
		return nil, err
	}
	c.add(true, unconfirmed...)
	named, err := r.namedByHeader(drop)
	if err != nil {
		return nil, err
	}
	c.add(true, named...)
	return c, r.addByRow(drop, c)
}

// otherwiseListed says that a message with the UID of one that is listed again cannot be that one: it is listed itself; or
// it was deleted, and what tells it is its header, which comes again with the next message like it.
func otherwiseListed(m ledger.Message) bool {
	if strings.HasPrefix(m.UID, headerUID) {
		return m.Deletion == ledger.Deleted
	}
	return m.Deletion != ledger.Deleted && m.Deletion != ledger.Gone
}

// namedByHeader returns what was stored while the server gave it no UID and copies were kept: it may be listed by another by now.
func (r *run) namedByHeader(drop *maildrop) ([]ledger.Message, error) {
	listed, hasUIDs := make(map[ledger.Key]bool, len(drop.keys)), false
	for _, key := range drop.keys {
		listed[key] = true
		hasUIDs = hasUIDs || key.UID[0] != ' '
	}
	if !hasUIDs && !drop.fleeting {
		return nil, nil
	}
	rows, err := r.Ledger.WithUIDs(r.account.Name, headerUID)
	return slices.DeleteFunc(rows, func(m ledger.Message) bool { return listed[m.Key] || m.Deletion == ledger.Deleted }), err
}

// unconfirmed returns what was stored from a server that has neither UIDL nor TOP, in a session that did not end cleanly: it
// has perhaps not been deleted there.
func (r *run) unconfirmed() ([]ledger.Message, error) {
	pending, err := r.Ledger.Deletions(r.account.Name, ledger.Pending)
	if err != nil {
		return nil, err
	}
	var once []ledger.Key
	for _, key := range pending {
		if strings.HasPrefix(key.UID, onceUID) {
			once = append(once, key)
		}
	}
	return r.Ledger.Rows(r.account.Name, once)
}

// addByRow adds what only a look at all rows finds: after the server changed all UIDs, whatever is not listed by its own;
// where it gave one message no UID, those with its size; and where it lists a known UID with another size, those with that
// UID: some servers count sizes in another way from one day to the next.
func (r *run) addByRow(drop *maildrop, c copies) error {
	moved, err := r.Ledger.HasMoved(r.account.Name)
	if err != nil {
		return err
	}
	resized, err := r.Ledger.ByUID(r.account.Name, drop.uids(drop.plan.fetch, drop.plan.suspects))
	if err != nil || (!moved && len(drop.unnamed) == 0 && len(resized) == 0) {
		return err
	}
	r.window.moved = moved && r.windowed()
	listed := make(map[ledger.Key]bool, len(drop.keys))
	for _, key := range drop.keys {
		listed[key] = true
	}
	sizes := map[int64]bool{}
	for _, index := range drop.unnamed {
		sizes[drop.keys[index].ListedSize] = true
	}
	for m, err := range r.Ledger.Stored(r.account.Name) {
		if err != nil {
			return err
		}
		_, again := resized[m.UID]
		if !listed[m.Key] && m.Deletion != ledger.Deleted && (moved || again || sizes[m.ListedSize]) {
			c.add(moved || again, m)
		}
	}
	return nil
}

// uids returns the UIDs of the messages at indices.
func (d *maildrop) uids(indices ...[]int) (uids []string) {
	for _, index := range slices.Concat(indices...) {
		uids = append(uids, d.keys[index].UID)
	}
	return uids
}

// match is a listed message that turned out to be one that is here.
type match struct {
	index int
	original
}

// acknowledge records matches: these messages are known now, and neither new nor stored by this run.
func (r *run) acknowledge(drop *maildrop, matches []match) error {
	if len(matches) == 0 {
		return nil
	}
	var claimed []ledger.Message
	var from, to, listedAgain []ledger.Key
	fresh := 0 // not recognised in a session of this run before
	for _, m := range matches {
		key := drop.keys[m.index]
		if !r.found[key] {
			fresh++
		}
		r.found[key] = true
		switch {
		case m.UID == "":
			m.Key, m.StoredAt = key, r.Now()
			claimed = append(claimed, m.Message)
		case m.rekey:
			from, to = append(from, m.Key), append(to, key)
			if r.window.moved {
				r.damage = errNewUIDs
			}
		default:
			drop.keys[m.index] = m.Key
			listedAgain = append(listedAgain, m.Key)
		}
		drop.states[m.index] = ledger.State{Known: true, Stored: true, StoredAt: m.StoredAt}
		if r.deletesAtOnce() {
			drop.states[m.index].Deletion = m.Deletion
		}
		drop.matched = append(drop.matched, m.index)
	}
	if len(listedAgain) > 0 {
		r.log.Warn("the server lists messages again whose deletion it had confirmed: fetched, compared and not stored again", "messages", len(listedAgain))
	}
	r.log.Info("messages that were fetched are here already: not stored again", "messages", len(matches))
	if !r.blurred {
		r.report.New -= fresh
		r.known += fresh
	}
	if err := r.Ledger.Commit(r.account.Name, claimed, 0); err != nil {
		return err
	}
	r.booked += len(claimed)
	if err := r.Ledger.Rekey(r.account.Name, from, to); err != nil || r.deletesAtOnce() {
		return err // should the deletion not be confirmed this time, only another look tells which of several it is
	}
	return r.Ledger.SetDeletion(r.account.Name, listedAgain, ledger.Kept)
}
