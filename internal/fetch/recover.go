package fetch

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"

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
		log.Warn("another program changed the mbox after an interrupted append: nothing there was touched; what is not found there whole is stored again")
		return cmp.Or(r.seekOut(ctx, intent), r.Ledger.Drop(intent.ID))
	}
	for i := range intent.Messages {
		intent.Messages[i].Offset += at - intent.Offset
	}
	log.Info("finished an interrupted append")
	return r.Ledger.Commit(intent.Account, intent.Messages, intent.ID)
}

// seekOut remembers, besides what is known of other mailboxes, what an mbox holds that was changed after an interrupted append: what of that append is there whole is
// known by its content when it is fetched again.
func (r *run) seekOut(ctx context.Context, intent ledger.Intent) error {
	owner := *r // of the intent, which may be another account's
	owner.account.Name = intent.Account
	if _, _, err := owner.relocate(ctx, &Repaired{}); err != nil { // what moved along is not to be taken for what is sought
		return err
	}
	strays, err := r.Ledger.Strays(intent.Account)
	if err != nil {
		return err
	}
	strays = slices.DeleteFunc(strays, func(m ledger.Message) bool { return m.Mailbox == intent.Path })
	found, err := owner.findIn(ctx, intent.Path, nil)
	if err != nil {
		return err
	}
	return r.Ledger.SetStrays(intent.Account, append(strays, found...))
}

// adopt looks for listed messages that are in a mailbox already but not in the ledger, and remembers them: where a run
// did not end cleanly or the account is new to the ledger, and, since file names tell and it is soon done, always in the
// Maildir that new mail goes to: the ledger may come from a backup. It also clears away what an unclean end left half
// done. An empty listing proves nothing (a server in trouble shows one): then the next run looks.
func (r *run) adopt(ctx context.Context, drop *maildrop) error {
	unsettled, err := r.Ledger.Unsettled(r.account.Name)
	if err != nil || len(drop.keys) == 0 {
		return err
	}
	strangers := drop.strangers(r.account.Name)
	paths := unsettled
	if here := r.account.Mailbox().At(r.Now()); r.account.Maildir != "" && len(strangers) > 0 && !slices.Contains(paths, here) && exists(here) {
		paths = append(slices.Clip(paths), here)
	}
	r.settled = false
	for _, path := range paths {
		r.doing = "looking for mail that is there already in " + path
		if err := r.adoptFrom(path, drop, strangers); err != nil {
			return err
		}
	}
	r.settled = true
	if len(unsettled) == 0 {
		return nil
	}
	if drop.fleeting { // names of files tell nothing of messages that have another UID in each session: their content has to
		strays, err := r.findStrays(ctx, unsettled, nil)
		if err == nil {
			err = r.Ledger.SetStrays(r.account.Name, strays)
		}
		if err != nil {
			return err
		}
	}
	return r.Ledger.Settle(r.account.Name)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// sweep clears away what an unclean end left half done, and what a power cut brought back because its removal had not
// reached the disk: so every run does it.
func (r *run) sweep() error {
	paths, err := r.Ledger.Unsettled(r.account.Name)
	if err != nil {
		return err
	}
	if here := r.account.Mailbox().At(r.Now()); !slices.Contains(paths, here) {
		paths = append(paths, here)
	}
	for _, path := range paths {
		r.doing = "clearing up in " + path
		mailbox, err := r.openExisting(path, r.account.Name)
		if errors.Is(err, fs.ErrNotExist) { // a spool may be there all the same
			mailbox, err = r.open(path)
		}
		if err != nil {
			return err
		}
		if err := cmp.Or(mailbox.Sweep(), mailbox.Close()); err != nil {
			return err
		}
	}
	return nil
}

// strangers returns the indices of messages that the ledger does not know, by the identity that file names carry.
func (d *maildrop) strangers(account string) map[store.ID]int {
	strangers := map[store.ID]int{}
	for i, key := range d.keys {
		if !d.states[i].Known {
			strangers[store.NewID(account, key.UID, key.ListedSize, key.Occurrence)] = i
		}
	}
	return strangers
}

func (r *run) adoptFrom(path string, drop *maildrop, strangers map[store.ID]int) error {
	mailbox, err := r.openExisting(path, r.account.Name)
	if errors.Is(err, fs.ErrNotExist) { // interrupted before it was made; there may be something to sweep all the same
		mailbox, err = r.open(path)
	}
	if err != nil {
		return err
	}
	defer mailbox.Close()
	found, err := mailbox.Adopt(func(id store.ID) bool { _, ok := strangers[id]; return ok })
	if err == nil {
		found, err = r.withoutRows(found, drop, strangers)
	}
	if err != nil || len(found) == 0 {
		return err
	}
	keys := make([]ledger.Key, len(found))
	for i, m := range found {
		keys[i] = drop.keys[strangers[m.ID]]
	}
	rows := r.rows(found, keys)
	if err := r.Ledger.Commit(r.account.Name, rows, 0); err != nil {
		return err
	}
	for i, m := range found {
		drop.states[strangers[m.ID]] = ledger.State{Known: true, Stored: true, StoredAt: rows[i].StoredAt, Deletion: rows[i].Deletion}
		delete(strangers, m.ID)
	}
	r.booked += len(found)
	r.log.Info("found mail that is there already: not fetched again", "mailbox", path, "messages", len(found))
	return nil
}

// withoutRows leaves out messages that have a row already, by another size: the name tells what was listed once. Whether they
// are what is listed now, their content tells when that was fetched.
func (r *run) withoutRows(found []store.Message, drop *maildrop, strangers map[store.ID]int) ([]store.Message, error) {
	uids := make([]string, len(found))
	for i, m := range found {
		uids[i] = drop.keys[strangers[m.ID]].UID
	}
	known, err := r.Ledger.ByUID(r.account.Name, uids)
	if err != nil || len(known) == 0 {
		return found, err
	}
	rows, err := r.Ledger.Rows(r.account.Name, slices.Collect(maps.Values(known)))
	taken := make(map[store.Location]bool, len(rows))
	for _, m := range rows {
		taken[store.Location{Path: m.Mailbox, Name: m.Name}] = true
	}
	return slices.DeleteFunc(found, func(m store.Message) bool { return taken[m.Location] }), err
}

// openExisting opens the mailbox at path as what it is, whatever the configuration says by now.
func (f *Fetcher) openExisting(path, account string) (store.Mailbox, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, diskError("looking at", path, err)
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
