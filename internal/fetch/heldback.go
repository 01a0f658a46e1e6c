package fetch

import (
	"context"
	"errors"
	"io/fs"

	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/store"
)

// readBeforeDeleting bounds the octets that are read, and not only looked for, before copies on the server are deleted.
const readBeforeDeleting = 64 << 20

// safe returns those of due whose copies here are as they were stored. It is for deletions that were not decided in
// this session: meanwhile the user may have moved or deleted the message, and the server's copy is then the last. That
// one stays, and the ledger says so.
func (r *run) safe(ctx context.Context, drop *maildrop, due []int) ([]int, error) {
	if len(due) == 0 || r.account.DeleteMissing {
		return due, nil
	}
	gone, err := r.goneHere(ctx, drop, due)
	if err != nil {
		return nil, err
	}
	var here []int
	var held []ledger.Key
	for _, index := range due {
		key := drop.keys[index]
		switch {
		case !gone[key]:
			here = append(here, index)
		case drop.states[index].Deletion != ledger.Held:
			held = append(held, key)
			drop.states[index].Deletion = ledger.Held
		}
	}
	if len(held) > 0 { // as a rule the user has done so, and status tells: no reason for a letter from cron
		r.log.Info("messages were moved, changed or deleted here: the server's copies stay (delete_missing: true lets them go)", "messages", len(held), "uid", held[0].UID)
	}
	return here, r.Ledger.SetDeletion(r.account.Name, held, ledger.Held)
}

// goneHere returns the keys of those of due that are not in their mailbox as they were stored.
func (r *run) goneHere(ctx context.Context, drop *maildrop, due []int) (map[ledger.Key]bool, error) {
	r.doing = "looking for the local copies of messages that are to be deleted on the server"
	keys := make([]ledger.Key, len(due))
	for i, index := range due {
		keys[i] = drop.keys[index]
	}
	rows, err := r.Ledger.Rows(r.account.Name, keys)
	if err != nil {
		return nil, err
	}
	gone := make(map[ledger.Key]bool)
	for path, group := range byMailbox(rows) {
		wrong, err := r.wrongIn(ctx, path, group)
		if err != nil {
			return nil, err
		}
		for _, key := range wrong {
			gone[key] = true
		}
	}
	return gone, nil
}

// wrongIn returns the keys of messages that are not in the mailbox at path as they were stored. In an mbox they may have
// moved along.
func (r *run) wrongIn(ctx context.Context, path string, rows []ledger.Message) (wrong []ledger.Key, err error) {
	mailbox, err := r.openExisting(path, r.account.Name)
	if errors.Is(err, fs.ErrNotExist) {
		for _, m := range rows {
			wrong = append(wrong, m.Key)
		}
		return wrong, nil
	}
	if err != nil {
		return nil, err
	}
	defer mailbox.Close()
	var bytes int64
	keys := make(map[store.ID]ledger.Key, len(rows))
	expect := placed(r.account.Name, rows)
	for i, m := range expect {
		bytes += m.Size
		keys[m.ID] = rows[i].Key
	}
	findings, err := mailbox.Verify(ctx, expect, bytes <= readBeforeDeleting)
	for _, finding := range findings {
		if finding.Damage != store.Moved || finding.Found.Path != path {
			wrong = append(wrong, keys[finding.Message.ID])
		}
	}
	return wrong, err
}
