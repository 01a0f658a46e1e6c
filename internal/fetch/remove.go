package fetch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/pop3"
)

// finish deletes on the server what may go, and ends the session so that it counts. Only now, with everything that was
// retrieved durable and remembered, is QUIT sent: it is a commit on the server too (RFC 1939 §6 and §8).
// ended says that the server answered it.
func (r *run) finish(ctx context.Context, session *pop3.Session, drop *maildrop, stored []int) (ended bool, err error) {
	due, err := r.safe(ctx, drop, append(slices.Clone(drop.plan.remove), r.due(drop)...))
	if err != nil {
		return false, err
	}
	if r.deletesAtOnce() {
		due = append(due, stored...)
	}
	accepted, err := r.remove(session, drop, drop.separable(due, stored))
	if err != nil {
		return false, err
	}
	return r.quit(session, drop, stored, accepted)
}

// quit is the end of finish, when the server has accepted deletions or was asked for none.
func (r *run) quit(session *pop3.Session, drop *maildrop, stored []int, accepted []ledger.Key) (ended bool, err error) {
	r.doing = "ending the session"
	if err := session.Quit(); err != nil {
		if len(accepted) == 0 {
			r.log.Info("the server did not confirm the end of the session", "reason", err.Error())
			return false, nil
		}
		return false, fmt.Errorf("%d deletions are not confirmed and will be sent again: %w", len(accepted), err)
	}
	r.quits++
	r.report.Deleted += len(accepted)
	complete := len(stored)+len(drop.matched) == len(drop.keys)
	return true, cmp.Or(r.confirm(drop, accepted, complete), r.arrived(drop))
}

// due returns the messages that turned out to be here already and whose time on the server is over.
func (r *run) due(drop *maildrop) (due []int) {
	for _, index := range drop.matched {
		if rulesOf(r.account).due(drop.states[index], r.began) {
			due = append(due, index)
		}
	}
	return due
}

// confirm notes that the server confirmed deletions. What a server without UIDL did not list again by then is gone, if the
// listing is complete: if all of it was looked at.
func (r *run) confirm(drop *maildrop, accepted []ledger.Key, complete bool) error {
	if err := r.Ledger.SetDeletion(r.account.Name, accepted, ledger.Deleted); err != nil || !r.deletesAtOnce() || !complete || len(drop.keys) == 0 {
		return err // an empty listing proves nothing
	}
	unconfirmed, err := r.unconfirmed()
	if err != nil {
		return err
	}
	keys := make([]ledger.Key, len(unconfirmed))
	for i, m := range unconfirmed {
		keys[i] = m.Key
	}
	return r.Ledger.SetDeletion(r.account.Name, missing(keys, drop.keys), ledger.Gone)
}

// remove sends DELE for the messages at due, after the ledger has noted that they are to go, and returns the keys of
// those that the server took. They are gone only when QUIT is answered +OK.
func (r *run) remove(session *pop3.Session, drop *maildrop, due []int) (accepted []ledger.Key, err error) {
	if len(due) == 0 {
		return nil, nil
	}
	r.tell(Deleting)
	r.doing = "deleting messages on the server"
	if err := r.Ledger.SetDeletion(r.account.Name, drop.notYetPending(due), ledger.Pending); err != nil {
		return nil, err
	}
	next := 0
	for number, err := range session.Delete(drop.numbers(due)) {
		key := drop.keys[due[next]]
		next++
		var reply *pop3.ReplyError
		switch {
		case err == nil:
			accepted = append(accepted, key)
		case errors.As(err, &reply):
			r.log.Warn("the server refused to delete a message; it is asked again next time", "number", number, "uid", key.UID, "reply", reply.Error())
		default:
			return accepted, err
		}
	}
	return accepted, nil
}

// notYetPending returns the keys of those due whose deletion is decided only now, by delete_after. Those just stored
// were recorded as pending in the transaction that recorded them. One whose deletion was confirmed before stays so: should
// this session not end well, and the message be listed once more, it is looked at once more.
func (d *maildrop) notYetPending(due []int) []ledger.Key {
	var keys []ledger.Key
	for _, index := range due {
		if state := d.states[index]; state.Known && state.Deletion != ledger.Pending && state.Deletion != ledger.Deleted {
			keys = append(keys, d.keys[index])
		}
	}
	return keys
}

// separable returns those of due that can go without making another message unknowable: of several with the same UID
// and size only their place in the listing tells which is which, so none goes before all are stored.
func (d *maildrop) separable(due, stored []int) []int {
	if len(due) == 0 {
		return nil
	}
	missing := map[ledger.Key]int{}
	for index, state := range d.states {
		if !state.Known {
			missing[alike(d.keys[index])]++
		}
	}
	for _, index := range stored {
		missing[alike(d.keys[index])]--
	}
	return slices.DeleteFunc(due, func(index int) bool { return missing[alike(d.keys[index])] > 0 })
}

// alike is the same for all messages with the same UID and size.
func alike(key ledger.Key) ledger.Key {
	key.Occurrence = 0
	return key
}

// reconcile brings the ledger's notes on deletions and failures up to what the listing and the policy say now.
func (r *run) reconcile(drop *maildrop) error {
	unfinished, err := r.unfinished()
	if err != nil {
		return err
	}
	if r.account.Policy != config.Delete { // the user has changed the policy since
		err = r.Ledger.SetDeletion(r.account.Name, unfinished, ledger.Kept)
	} else { // what is no longer listed is gone, it seems: the answer to the QUIT that deleted it was lost
		err = r.Ledger.SetDeletion(r.account.Name, missing(unfinished, drop.keys), ledger.Gone)
	}
	if err != nil || rulesOf(r.account).window { // Gmail lists a window: what is missing there may come back
		return err
	}
	failures, err := r.Ledger.Failures(r.account.Name)
	if err != nil {
		return err
	}
	failed := make([]ledger.Key, len(failures))
	for i, f := range failures {
		failed[i] = f.Key
	}
	return r.Ledger.Forget(r.account.Name, missing(failed, drop.keys))
}

// unfinished returns the deletions that are not confirmed or are held back. UIDs that served once are listed by no server;
// confirm sees to those.
func (r *run) unfinished() ([]ledger.Key, error) {
	pending, err := r.Ledger.Deletions(r.account.Name, ledger.Pending)
	if err != nil {
		return nil, err
	}
	held, err := r.Ledger.Deletions(r.account.Name, ledger.Held)
	return slices.DeleteFunc(append(pending, held...), func(key ledger.Key) bool { return strings.HasPrefix(key.UID, onceUID) }), err
}

// missing returns those of keys that are not listed.
func missing(keys, listed []ledger.Key) []ledger.Key {
	if len(keys) == 0 {
		return nil
	}
	gone := make(map[ledger.Key]bool, len(keys))
	for _, key := range keys {
		gone[key] = true
	}
	for _, key := range listed {
		delete(gone, key)
	}
	var result []ledger.Key
	for key := range gone {
		result = append(result, key)
	}
	return result
}
