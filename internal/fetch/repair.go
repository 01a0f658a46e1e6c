package fetch

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

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
	paths, missing, err := r.relocate(ctx, done)
	if err != nil {
		return err
	}
	strays, err := r.findStrays(ctx, paths, missing)
	if err != nil {
		return err
	}
	if err := r.Ledger.SetStrays(r.account.Name, strays); err != nil {
		return err
	}
	if err := r.reunite(missing, done); err != nil {
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

// relocate looks for every message of the ledger, corrects where those are that have moved within their mailbox, and
// returns the mailboxes, and the messages that are missing there. Those of an mbox have no place any more, as long as there
// is an mbox: what stands at theirs by now is not theirs.
func (r *run) relocate(ctx context.Context, done *Repaired) (paths []string, missing []ledger.Message, err error) {
	var rows []ledger.Message
	for m, err := range r.Ledger.Stored(r.account.Name) {
		if err != nil {
			return nil, nil, err
		}
		rows = append(rows, m)
	}
	for path, group := range byMailbox(rows) {
		r.doing = "looking for the messages of " + path
		paths = append(paths, path)
		moved, gone, err := r.movedFrom(ctx, path, group)
		missing = append(missing, gone...)
		gone = slices.DeleteFunc(gone, func(m ledger.Message) bool { return m.Offset != nowhere })
		if err == nil {
			err = r.Ledger.Relocate(r.account.Name, append(moved, gone...))
		}
		if err != nil {
			return nil, nil, err
		}
		done.Relocated += len(moved)
	}
	return paths, missing, nil
}

// movedFrom returns the messages of one mailbox that have moved, with their new places, and those that are missing.
func (r *run) movedFrom(ctx context.Context, path string, rows []ledger.Message) (moved, missing []ledger.Message, err error) {
	mailbox, err := r.openExisting(path, r.account.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, rows, nil
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
		m := byID[finding.Message.ID]
		switch {
		case finding.Damage == store.Moved:
			moved = append(moved, at(m, finding.Found))
		case m.Name == "":
			m.Offset = nowhere
			missing = append(missing, m)
		case finding.Damage == store.Missing:
			missing = append(missing, m)
		}
	}
	return moved, missing, err
}

// reunite gives messages that are missing the places of strays that are exactly these: their mailbox was renamed, or they
// were filed in another one of the account. A Maildir's file that has a name of ours is the message that it names, since that
// tells equal messages apart; any other may be each that has its content.
func (r *run) reunite(missing []ledger.Message, done *Repaired) error {
	strays, err := r.Ledger.Strays(r.account.Name)
	if err != nil || len(missing) == 0 {
		return err
	}
	bySum := map[[sha256.Size]byte][]ledger.Message{}
	for _, s := range strays {
		bySum[s.SHA256] = append(bySum[s.SHA256], s)
	}
	var found []ledger.Message
	for _, fits := range []func(s, m ledger.Message) bool{
		func(s, m ledger.Message) bool { return s.Name != "" && s.Name == m.Name },
		func(s, _ ledger.Message) bool { return !store.CarriesID(s.Name) },
	} {
		missing = slices.DeleteFunc(missing, func(m ledger.Message) bool {
			equal := bySum[m.SHA256]
			i := slices.IndexFunc(equal, func(s ledger.Message) bool { return fits(s, m) })
			if i < 0 {
				return false
			}
			s := equal[i]
			bySum[m.SHA256] = slices.Delete(equal, i, i+1) // a place is one message's
			found = append(found, at(m, store.Location{Path: s.Mailbox, Name: s.Name, Offset: s.Offset, Length: s.Length}))
			return true
		})
	}
	done.Relocated += len(found)
	return r.Ledger.Relocate(r.account.Name, found)
}

// at returns the message at another place.
func at(m ledger.Message, place store.Location) ledger.Message {
	m.Mailbox, m.Name, m.Offset, m.Length = place.Path, place.Name, place.Offset, place.Length
	return m
}

// nowhere is the offset of a message that is in an mbox no more.
const nowhere = -1

// findStrays returns whatever lies whole in the account's mailboxes: those at paths, and those of all days, each with its
// subfolders. A Maildir that holds any is looked through again when the server has listed its messages: file names tell which
// is which. Of what was filed in subfolders, perhaps long ago, only the content does, since a server may have used a UID
// again. What is sought is as for findIn.
func (r *run) findStrays(ctx context.Context, paths []string, sought []ledger.Message) (strays []ledger.Message, err error) {
	template := cmp.Or(r.account.Maildir, r.account.Mbox)
	daily, err := filepath.Glob(everyDay(template))
	if err != nil {
		return nil, err
	}
	own := append(paths, daily...)
	paths, err = withSubfolders(own)
	if err != nil {
		return nil, err
	}
	sums := make(map[[sha256.Size]byte]bool, len(sought))
	for _, m := range sought {
		sums[m.SHA256] = true
	}
	return r.findAmong(ctx, paths, own, sums)
}

// findAmong returns whatever lies whole in the mailboxes at paths. Those that are not the account's own are subfolders.
func (r *run) findAmong(ctx context.Context, paths, own []string, sums map[[sha256.Size]byte]bool) (strays []ledger.Message, err error) {
	for _, path := range paths {
		r.doing = "looking for messages in " + path
		found, err := r.findIn(ctx, path, sums)
		if err != nil && !slices.Contains(own, path) && ctx.Err() == nil {
			r.log.Warn("a subfolder cannot be looked through: what lies there is not recognised", "folder", path, "problem", err)
			continue
		}
		if err == nil && len(found) > 0 && found[0].Name != "" && slices.Contains(own, path) {
			err = r.Ledger.Unsettle(r.account.Name, path)
		}
		if err != nil {
			return nil, err
		}
		strays = append(strays, found...)
	}
	return strays, nil
}

// withSubfolders returns the mailboxes at paths and the subfolders of those that are Maildirs, each once and in their order.
func withSubfolders(paths []string) ([]string, error) {
	var all []string
	for _, path := range paths {
		folders, err := store.Subfolders(path)
		if err != nil {
			return nil, err
		}
		all = append(append(all, path), folders...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// findIn returns whatever lies whole in the mailbox at path. What in an mbox has one of the sums that are sought counts as it
// stands; all else there counts without what mail readers write into headers. In a Maildir files with names of others are
// looked at for the sake of these sums only.
func (r *run) findIn(ctx context.Context, path string, sought map[[sha256.Size]byte]bool) (all []ledger.Message, err error) {
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
		if sought[found.SHA256] {
			found.Bare = store.Content{Size: found.Size, Virtual: found.Virtual, SHA256: found.SHA256}
		}
		m, err := stray(found)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	renamed, err := renamedIn(ctx, mailbox, sought)
	return append(all, renamed...), err
}

// renamedIn returns the files of a Maildir that have one of the sums that are sought, and names of others.
func renamedIn(ctx context.Context, mailbox store.Mailbox, sought map[[sha256.Size]byte]bool) (all []ledger.Message, err error) {
	maildir, ok := mailbox.(*store.Maildir)
	if !ok || len(sought) == 0 {
		return nil, nil
	}
	renamed, err := maildir.Renamed(ctx, func(sum [sha256.Size]byte) bool { return sought[sum] })
	for _, m := range renamed {
		all = append(all, ledger.Message{Mailbox: m.Location.Path, Name: m.Location.Name, Size: m.Size, SHA256: m.SHA256})
	}
	return all, err
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
