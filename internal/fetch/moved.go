package fetch

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"iter"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/pop3"
	"github.com/popfetchd/popfetchd/internal/store"
)

// movedFrom is how many messages must be known, and how many listed, with none in common, before the mail is taken to
// have moved to another server that gave it new UIDs. A handful may well have been deleted by another program.
const movedFrom = 20

// mark is what two servers have in common about a message.
type mark struct {
	header [sha256.Size]byte
	size   int64
}

// followMove notices that the server gave all messages new UIDs, and recognises them by header and size. What it does not
// recognise is fetched, and held against what is here by its content.
func (r *run) followMove(ctx context.Context, session *pop3.Session, drop *maildrop) error {
	if r.windowed() {
		return r.noticeNewUIDs(drop)
	}
	kept, err := r.keptBefore(drop)
	if err != nil || len(kept) < movedFrom {
		return err
	}
	r.doing = "recognising mail that the server lists by new unique ids"
	var matches []match
	if r.account.Policy == config.Keep { // a header does not vouch for a body: enough to keep a copy, not to delete one
		if matches, err = r.matchHeaders(ctx, session, drop, kept); err != nil {
			return err
		}
	}
	var from, to []ledger.Key
	for _, m := range matches {
		from, to = append(from, m.Key), append(to, drop.keys[m.index])
		drop.states[m.index] = ledger.State{Known: true, Stored: true, StoredAt: m.StoredAt}
	}
	r.log.Warn("the server lists none of the unique ids that are known: it seems to have changed them all. Messages with the header and the size of one that is here are not fetched again; the others are, and held against those here",
		"known", len(kept), "listed", len(drop.keys), "recognised", len(matches))
	return r.Ledger.Moved(r.account.Name, r.Now(), from, to)
}

// noticeNewUIDs notices a server that says to be Gmail's, and lists in one session what it listed in the one before by other
// UIDs. Then all that is fetched is held against what is here.
func (r *run) noticeNewUIDs(drop *maildrop) error {
	before := r.window.listed
	r.window.listed = drop.keys
	if len(before) < worthwhile || len(drop.keys) < len(before) {
		return nil
	}
	for i, key := range before {
		if drop.keys[i].ListedSize != key.ListedSize || drop.keys[i].UID == key.UID {
			return nil
		}
	}
	return r.Ledger.Moved(r.account.Name, r.Now(), nil, nil)
}

// errNewUIDs is a server that cannot be followed by what it calls its mail.
var errNewUIDs = &sortedError{Configuration, errors.New("the server lists the same mail by new unique ids each time, as Gmail never does: what is listed is fetched again and again, though not stored; take another provider for this account")}

// keptBefore returns the messages that the server should list and does not, if it seems to have changed their UIDs.
func (r *run) keptBefore(drop *maildrop) ([]ledger.Message, error) {
	if len(drop.keys) < movedFrom || rulesOf(r.account).window || r.account.Recent || r.deletesAtOnce() {
		return nil, nil
	}
	if moved, err := r.Ledger.HasMoved(r.account.Name); moved || err != nil {
		return nil, err // by now all that is fetched is held against what is here
	}
	for _, state := range drop.states {
		if state.Known {
			return nil, nil
		}
	}
	var kept []ledger.Message
	for m, err := range r.Ledger.Stored(r.account.Name) {
		if err != nil {
			return nil, err
		}
		if m.Deletion == ledger.Kept || m.Deletion == ledger.Held {
			kept = append(kept, m)
		}
	}
	return kept, nil
}

// matchHeaders finds the unknown messages that have header and size of one that is here.
func (r *run) matchHeaders(ctx context.Context, session *pop3.Session, drop *maildrop, candidates []ledger.Message) ([]match, error) {
	here, err := r.marks(ctx, candidates)
	if err != nil {
		return nil, err
	}
	var unknown []int
	for i, state := range drop.states {
		if !state.Known {
			unknown = append(unknown, i)
		}
	}
	var matches []match
	for h, err := range headerSums(session, drop.numbers(unknown)) {
		if err != nil {
			return nil, err
		}
		index := unknown[h.index]
		m := mark{h.sum, drop.keys[index].ListedSize}
		if same := here[m]; h.known && len(same) > 0 {
			matches, here[m] = append(matches, match{index, original{same[0], true}}), same[1:]
		}
	}
	return matches, nil
}

// matchStrays recognises what repair found in an mbox, so that it need not be fetched to be compared. A Maildir's files
// are known by their names, see adopt. Gmail may count what was looked at as fetched, and hide it though it was not.
func (r *run) matchStrays(ctx context.Context, session *pop3.Session, drop *maildrop) error {
	if r.account.Policy != config.Keep || rulesOf(r.account).window {
		return nil // a header does not vouch for a body, see followMove
	}
	strays, err := r.Ledger.Strays(r.account.Name)
	if err != nil || len(strays) == 0 {
		return err
	}
	r.doing = "recognising mail that is here"
	matches, err := r.matchHeaders(ctx, session, drop, strays)
	if err != nil {
		return err
	}
	claimed := make([]ledger.Message, len(matches))
	for i, m := range matches {
		claimed[i] = m.Message
		claimed[i].Key, claimed[i].StoredAt = drop.keys[m.index], r.began
		drop.states[m.index] = ledger.State{Known: true, Stored: true, StoredAt: r.began}
	}
	if err := r.Ledger.Commit(r.account.Name, claimed, 0); err != nil {
		return err
	}
	r.booked += len(claimed)
	return nil
}

// marks reads the headers of messages here, as far as they are where they were stored.
func (r *run) marks(ctx context.Context, kept []ledger.Message) (map[mark][]ledger.Message, error) {
	marks := map[mark][]ledger.Message{}
	for path, rows := range byMailbox(kept) {
		mailbox, err := r.openExisting(path, r.account.Name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		err = addMarks(marks, mailbox.HeaderSums(ctx, placed(r.account.Name, rows)), rows)
		if err := cmp.Or(err, mailbox.Close()); err != nil {
			return nil, err
		}
	}
	return marks, nil
}

func addMarks(marks map[mark][]ledger.Message, headers iter.Seq2[store.Header, error], rows []ledger.Message) error {
	for h, err := range headers {
		if err != nil {
			return err
		}
		row := rows[h.Index]
		m := mark{h.Sum, row.ListedSize}
		marks[m] = append(marks[m], row)
	}
	return nil
}

// byMailbox groups messages by the mailbox they lie in.
func byMailbox(messages []ledger.Message) map[string][]ledger.Message {
	groups := map[string][]ledger.Message{}
	for _, m := range messages {
		groups[m.Mailbox] = append(groups[m.Mailbox], m)
	}
	return groups
}

// placed turns rows of the ledger into what the store is asked about.
func placed(account string, rows []ledger.Message) []store.Message {
	messages := make([]store.Message, len(rows))
	for i, m := range rows {
		messages[i] = expected(account, m)
	}
	return messages
}
