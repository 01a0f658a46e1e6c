package fetch

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/store"
)

// Repaired is what Repair did to the ledger.
type Repaired struct {
	Account    string
	Relocated  int   // messages that had moved: the ledger says again where they are
	Recognised int   // messages that are in a mailbox and on the server: the ledger knows them again
	Waiting    int   // others that are in a mailbox and that the ledger does not know: should the server list one of them, it is not stored again
	Err        error // nil, or an *Error; what was done before it holds
}

// Repair brings the ledger up to what the mailboxes hold: it corrects where messages are, and finds messages that it does
// not know, perhaps since it was lost. It asks the server what it lists, to know them again, but fetches and deletes
// nothing there, and no mail here.
func (f *Fetcher) Repair(ctx context.Context, account config.Account) Repaired {
	r := f.newRun(account, nil)
	repaired := Repaired{Account: account.Name}
	if err := r.underLock(ctx, func() error { return r.repair(ctx, &repaired) }); err != nil {
		repaired.Err = &Error{Account: account.Name, Doing: r.doing, Err: err}
	}
	return repaired
}

func (r *run) repair(ctx context.Context, done *Repaired) error {
	r.doing = "opening the ledger"
	if _, err := r.enroll(); err != nil {
		return err
	}
	if err := r.finishAppends(ctx); err != nil {
		return err
	}
	paths, err := r.relocate(ctx, done)
	if err != nil {
		return err
	}
	strays, err := r.findStrays(ctx, paths)
	if err != nil {
		return err
	}
	if err := r.Ledger.SetStrays(r.account.Name, strays); err != nil {
		return err
	}
	asked := r.recogniseStrays(ctx)
	left, err := r.Ledger.Strays(r.account.Name)
	done.Recognised, done.Waiting = r.booked, len(left)
	return cmp.Or(asked, err)
}

// recogniseStrays asks the server what it lists and records what of that is here. To list is not to fetch: QUIT is no
// commit of anything.
func (r *run) recogniseStrays(ctx context.Context) error {
	session, err := r.connect(ctx)
	if err != nil {
		return err
	}
	defer session.Close()
	drop, err := r.list(ctx, session)
	if err != nil {
		return err
	}
	r.doing = "ending the session"
	return cmp.Or(session.Quit(), drop.damage)
}

// relocate looks for every message of the ledger, corrects where those are that have moved, and returns the mailboxes.
func (r *run) relocate(ctx context.Context, done *Repaired) (paths []string, err error) {
	var rows []ledger.Message
	for m, err := range r.Ledger.Stored(r.account.Name) {
		if err != nil {
			return nil, err
		}
		rows = append(rows, m)
	}
	for path, group := range byMailbox(rows) {
		r.doing = "looking for the messages of " + path
		paths = append(paths, path)
		moved, gone, err := r.movedFrom(ctx, path, group)
		if err == nil {
			err = r.Ledger.Relocate(r.account.Name, append(moved, gone...))
		}
		if err != nil {
			return nil, err
		}
		done.Relocated += len(moved)
	}
	return paths, nil
}

// movedFrom returns the messages of one mailbox that have moved, with their new places, and those of an mbox that are gone:
// these have none any more, since what stands there by now is not theirs.
func (r *run) movedFrom(ctx context.Context, path string, rows []ledger.Message) (moved, gone []ledger.Message, err error) {
	mailbox, err := r.openExisting(path, r.account.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	defer mailbox.Close()
	byID := make(map[store.ID]ledger.Message, len(rows))
	expect := placed(r.account.Name, rows)
	for i, m := range expect {
		byID[m.ID] = rows[i]
	}
	findings, err := mailbox.Verify(ctx, expect, true)
	for _, finding := range findings {
		m, at := byID[finding.Message.ID], finding.Found
		switch {
		case finding.Damage == store.Moved:
			m.Mailbox, m.Name, m.Offset, m.Length = at.Path, at.Name, at.Offset, at.Length
			moved = append(moved, m)
		case m.Name == "" && m.Offset != nowhere:
			m.Offset = nowhere
			gone = append(gone, m)
		}
	}
	return moved, gone, err
}

// nowhere is the offset of a message that is in an mbox no more.
const nowhere = -1

// findStrays returns whatever lies whole in the account's mailboxes: those at paths, and those of all days, each with its
// subfolders. A Maildir that holds any is looked through again when the server has listed its messages: file names tell which is which.
func (r *run) findStrays(ctx context.Context, paths []string) (strays []ledger.Message, err error) {
	template := cmp.Or(r.account.Maildir, r.account.Mbox)
	daily, err := filepath.Glob(everyDay(template))
	if err != nil {
		return nil, err
	}
	paths, err = withSubfolders(append(paths, daily...))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		r.doing = "looking for messages in " + path
		found, err := r.findIn(ctx, path)
		if err == nil && len(found) > 0 && found[0].Name != "" {
			err = r.Ledger.Unsettle(r.account.Name, path)
		}
		if err != nil {
			return nil, err
		}
		strays = append(strays, found...)
	}
	return strays, nil
}

// findIn returns whatever lies whole in the mailbox at path.
func (r *run) findIn(ctx context.Context, path string) (all []ledger.Message, err error) {
	mailbox, err := r.openExisting(path, r.account.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer mailbox.Close()
	for found, err := range mailbox.Survey(ctx) {
		if err != nil {
			return nil, err
		}
		if found.Torn != "" {
			r.log.Warn("a piece of a message: left as it is", "mailbox", path, "problem", found.Torn)
			continue
		}
		m, err := stray(found)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// stray is the row of a message that was found. In an mbox it counts without what mail readers write into headers.
func stray(found store.Found) (m ledger.Message, err error) {
	at := found.Location
	m = ledger.Message{Mailbox: at.Path, Name: at.Name, Offset: at.Offset, Length: at.Length}
	if at.Name != "" {
		m.SHA256, m.Size, err = found.Sum()
		return m, err
	}
	m.ListedSize, m.Size, m.SHA256 = found.Bare.Virtual, found.Bare.Size, found.Bare.SHA256
	return m, nil
}
