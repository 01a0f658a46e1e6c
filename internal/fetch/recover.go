package fetch

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/store"
)

// finishAppends finishes what runs that did not end cleanly had begun to append to an mbox: this account's, and any
// other's to the mbox that this one is about to append to, lest it hide the torn end of theirs. It needs no server.
func (r *run) finishAppends(ctx context.Context) error {
	own, err := r.Ledger.Intents(r.account.Name)
	if err != nil {
		return err
	}
	for _, intent := range own {
		if err := r.finishAppend(ctx, intent); err != nil {
			return err
		}
	}
	shared, err := r.Ledger.IntentsAt(r.account.Mailbox().At(r.Now()))
	if err != nil {
		return err
	}
	for _, intent := range shared {
		if err := r.finishForOther(ctx, intent); err != nil {
			return err
		}
	}
	return nil
}

// finishForOther finishes another account's append, unless that account is being fetched: then it is not unfinished.
func (r *run) finishForOther(ctx context.Context, intent ledger.Intent) error {
	unlock, err := r.lockAccount(ctx, intent.Account, 0)
	if errors.Is(err, errElsewhere) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	return r.finishAppend(ctx, intent)
}

func (r *run) finishAppend(ctx context.Context, intent ledger.Intent) error {
	r.doing = "finishing an append to " + intent.Path
	outcome, at, err := store.Redo(ctx, store.Intent{Path: intent.Path, Offset: intent.Offset, Length: intent.Length,
		SHA256: intent.SHA256, Spool: intent.Spool}, r.storeOptions(intent.Account))
	if err != nil {
		return cmp.Or(context.Cause(ctx), err) // the mbox was locked until we were told to stop
	}
	log := r.log.With("mbox", intent.Path, "offset", intent.Offset, "messages", len(intent.Messages))
	if outcome == store.Foreign {
		log.Warn("another program changed the mbox after an interrupted append: nothing there was touched, the messages are fetched again")
		return r.Ledger.Drop(intent.ID)
	}
	for i := range intent.Messages {
		intent.Messages[i].Offset += at - intent.Offset
	}
	log.Info("finished an interrupted append")
	return r.Ledger.Commit(intent.Account, intent.Messages, intent.ID)
}

// adopt looks for listed messages that are in a mailbox already but not in the ledger, where a run did not end cleanly
// or the account is new to the ledger, and remembers them. It also clears away what such a run left half done. An empty
// listing proves nothing (a server in trouble shows one): then the next run looks.
func (r *run) adopt(keys []ledger.Key) error {
	paths, err := r.Ledger.Unsettled(r.account.Name)
	if err != nil || len(keys) == 0 {
		return err
	}
	if len(paths) == 0 {
		r.settled = true
		return nil
	}
	strangers, err := r.strangers(keys)
	if err != nil {
		return err
	}
	r.settled = false
	for _, path := range paths {
		r.doing = "looking for mail that is there already in " + path
		if err := r.adoptFrom(path, strangers); err != nil {
			return err
		}
	}
	r.settled = true
	return r.Ledger.Settle(r.account.Name)
}

// strangers returns the listed keys that the ledger does not know, by the identity that file names carry.
func (r *run) strangers(keys []ledger.Key) (map[store.ID]ledger.Key, error) {
	states, err := r.Ledger.States(r.account.Name, keys)
	if err != nil {
		return nil, err
	}
	strangers := map[store.ID]ledger.Key{}
	for i, key := range keys {
		if !states[i].Known {
			strangers[store.NewID(r.account.Name, key.UID, key.ListedSize, key.Occurrence)] = key
		}
	}
	return strangers, nil
}

func (r *run) adoptFrom(path string, strangers map[store.ID]ledger.Key) error {
	mailbox, err := r.openExisting(path, r.account.Name)
	if errors.Is(err, fs.ErrNotExist) { // interrupted before it was made; there may be something to sweep all the same
		mailbox, err = r.open(path)
	}
	if err != nil {
		return err
	}
	defer mailbox.Close()
	if err := mailbox.Sweep(); err != nil {
		return err
	}
	found, err := mailbox.Adopt(func(id store.ID) bool { _, ok := strangers[id]; return ok })
	if err != nil || len(found) == 0 {
		return err
	}
	keys := make([]ledger.Key, len(found))
	for i, m := range found {
		keys[i] = strangers[m.ID]
		delete(strangers, m.ID)
	}
	r.log.Info("found mail that is there already: not fetched again", "mailbox", path, "messages", len(found))
	return r.Ledger.Commit(r.account.Name, r.rows(found, keys), 0)
}

// openExisting opens the mailbox at path as what it is, whatever the configuration says by now.
func (f *Fetcher) openExisting(path, account string) (store.Mailbox, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return f.openMaildir(path, account)
	}
	return f.openMbox(path, account)
}

func (f *Fetcher) openMaildir(path, account string) (store.Mailbox, error) {
	maildir, err := store.OpenMaildir(path, f.storeOptions(account))
	if err != nil {
		return nil, err // and not a Mailbox that holds a nil *Maildir
	}
	return maildir, nil
}

func (f *Fetcher) openMbox(path, account string) (store.Mailbox, error) {
	mbox, err := store.OpenMbox(path, f.storeOptions(account))
	if err != nil {
		return nil, err
	}
	return mbox, nil
}
