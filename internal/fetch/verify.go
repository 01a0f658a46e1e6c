package fetch

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/store"
)

// Verification is what verify found.
type Verification struct {
	Account  string
	Checked  int      // messages that should be there
	Read     int      // of those, read to the end and held against their SHA-256
	Missing  int      // of those checked, gone
	Changed  int      // of those checked, not what was stored
	Moved    int      // of those checked, whole, but elsewhere in the mbox or in a subfolder of the Maildir
	Torn     int      // besides those: pieces of messages
	Unknown  int      // besides those: whole files of the account in a Maildir that the ledger does not know; without a ledger all messages
	Findings []string // what is missing, changed, torn or unknown, a line each, but for files that are unknown in great numbers
}

// OK says that everything is there, unharmed, and nothing else is. What has moved is there.
func (v Verification) OK() bool { return v.Missing+v.Changed+v.Torn+v.Unknown == 0 }

// verification is one Verify under way.
type verification struct {
	*Fetcher
	Verification
	share     float64
	strays    map[string][]ledger.Message // by Maildir: what repair found there is the account's too
	mailboxes map[string]bool             // those that have been looked at
	counted   int64                       // different messages so far, see turns
}

// Verify holds the account's mailboxes against the ledger: every stored message is to be there with its size, and a
// share of them (0 none, 1 all) is read and has to have its SHA-256. A share between takes each day the next part of
// the messages, until all had their turn. It changes nothing. Without a Ledger, all mail of the account is unknown.
func (f *Fetcher) Verify(ctx context.Context, account config.Account, share float64) (Verification, error) {
	v := &verification{Fetcher: f, Verification: Verification{Account: account.Name}, share: share, mailboxes: map[string]bool{}}
	look := v.verify
	if f.Ledger == nil {
		look = v.withoutLedger
	}
	if err := look(ctx, account); err != nil {
		return v.Verification, &Error{Account: account.Name, Doing: "verifying its mail", Err: err}
	}
	return v.Verification, nil
}

func (v *verification) verify(ctx context.Context, account config.Account) error {
	paths, err := v.Ledger.Unsettled(account.Name)
	if err != nil {
		return err
	}
	strays, err := v.Ledger.Strays(account.Name)
	if err != nil {
		return err
	}
	v.strays = byMailbox(slices.DeleteFunc(strays, func(m ledger.Message) bool { return m.Name == "" }))
	var rows []ledger.Message // of one mailbox: the ledger gives them in its order
	for m, err := range v.Ledger.Stored(account.Name) {
		if err != nil {
			return err
		}
		if len(rows) > 0 && rows[0].Mailbox != m.Mailbox {
			if err := v.mailbox(ctx, rows[0].Mailbox, rows); err != nil {
				return err
			}
			rows = rows[:0]
		}
		rows = append(rows, m)
	}
	if len(rows) > 0 {
		if err := v.mailbox(ctx, rows[0].Mailbox, rows); err != nil {
			return err
		}
	}
	paths = append(append(paths, account.Mailbox().At(v.Now())), slices.Sorted(maps.Keys(v.strays))...)
	for _, path := range paths {
		if err := v.mailbox(ctx, path, nil); err != nil {
			return err
		}
	}
	return nil
}

// withoutLedger looks for what the account's mailboxes of all days hold. Where that is nothing, nothing was stored yet;
// otherwise the ledger was lost, or an mbox is another program's too: then the first run has it in its ledger soon.
func (v *verification) withoutLedger(ctx context.Context, account config.Account) error {
	paths, err := filepath.Glob(everyDay(cmp.Or(account.Maildir, account.Mbox)))
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := v.unremembered(ctx, path); err != nil {
			return err
		}
	}
	return nil
}

// unremembered counts what one mailbox holds.
func (v *verification) unremembered(ctx context.Context, path string) error {
	mailbox, err := v.openExisting(path, v.Account)
	if err != nil {
		return err
	}
	defer mailbox.Close()
	whole := 0
	for found, err := range mailbox.Survey(ctx) {
		if err != nil {
			return err
		}
		if found.Torn == "" {
			whole++
			continue
		}
		v.Torn++
		v.note("%s: torn: %s", path, found.Torn)
	}
	if v.Unknown += whole; whole > 0 {
		v.note("%s: holds %d messages, but there is no ledger: bring it back from a backup; otherwise popfetchd repair, or the next run, takes them in", path, whole)
	}
	return nil
}

func expected(account string, m ledger.Message) store.Message {
	return store.Message{ID: store.NewID(account, m.UID, m.ListedSize, m.Occurrence), Size: m.Size, SHA256: m.SHA256,
		Location: store.Location{Path: m.Mailbox, Name: m.Name, Offset: m.Offset, Length: m.Length}}
}

// mailbox looks at one mailbox, once.
func (v *verification) mailbox(ctx context.Context, path string, rows []ledger.Message) error {
	if v.mailboxes[path] {
		return nil
	}
	v.mailboxes[path] = true
	rows = append(slices.Clip(rows), v.strays[path]...)
	v.Checked += len(rows)
	mailbox, err := v.openExisting(path, v.Account)
	if errors.Is(err, fs.ErrNotExist) {
		if len(rows) > 0 {
			v.Missing += len(rows)
			v.note("%s: missing, with %d messages%s", path, len(rows), period(rows))
		}
		return nil
	}
	if err != nil {
		return err
	}
	defer mailbox.Close()
	expect := placed(v.Account, rows)
	byID := make(map[store.ID]*ledger.Message, len(rows))
	for i, m := range expect {
		byID[m.ID] = &rows[i]
	}
	read, look := v.split(expect, rows)
	v.Read += len(read)
	if err := v.compare(ctx, mailbox, read, true, byID); err != nil {
		return err
	}
	if err := v.compare(ctx, mailbox, look, false, byID); err != nil {
		return err
	}
	return v.survey(ctx, mailbox, rows)
}

// split divides messages into those that are read this time and the others. Messages of equal content stay together.
func (v *verification) split(messages []store.Message, rows []ledger.Message) (read, look []store.Message) {
	if v.share <= 0 {
		return nil, messages
	}
	turns := v.turns(rows)
	for _, m := range messages {
		if turns[m.SHA256] {
			read = append(read, m)
		} else {
			look = append(look, m)
		}
	}
	return read, look
}

// turns says of each content whether it is read today. They are counted through as they were stored, mailbox by mailbox, and
// the n-th is read on day d when (n+d)*share passes a whole number: so each day reads the share of them, to a message's
// rounding, and each has its turn within 1/share days, also while more come in behind it.
func (v *verification) turns(rows []ledger.Message) map[[sha256.Size]byte]bool {
	share := min(v.share, 1)
	today := v.Now().Unix() / int64(day/time.Second)
	turns := make(map[[sha256.Size]byte]bool, len(rows))
	for _, m := range slices.SortedStableFunc(slices.Values(rows), byTime) {
		if _, counted := turns[m.SHA256]; counted {
			continue
		}
		n := float64(v.counted + today)
		turns[m.SHA256] = math.Floor((n+1)*share) > math.Floor(n*share)
		v.counted++
	}
	return turns
}

// nameOf says which message it is, for people who look for it elsewhere. Of one that repair found nobody knows.
func nameOf(m *ledger.Message) string {
	if m.UID == "" {
		return ""
	}
	return fmt.Sprintf("message %q, stored %s: ", m.UID, m.StoredAt.Local().Format(toTheMinute))
}

func byTime(a, b ledger.Message) int { return a.StoredAt.Compare(b.StoredAt) }

// period says when messages were stored.
func period(rows []ledger.Message) string {
	rows = slices.DeleteFunc(slices.Clone(rows), func(m ledger.Message) bool { return m.UID == "" })
	if len(rows) == 0 {
		return ""
	}
	first, last := slices.MinFunc(rows, byTime).StoredAt.Local(), slices.MaxFunc(rows, byTime).StoredAt.Local()
	return fmt.Sprintf(", stored from %s to %s", first.Format(toTheMinute), last.Format(toTheMinute))
}

func (v *verification) compare(ctx context.Context, mailbox store.Mailbox, expect []store.Message, read bool, byID map[store.ID]*ledger.Message) error {
	if len(expect) == 0 {
		return nil
	}
	findings, err := mailbox.Verify(ctx, expect, read)
	for _, finding := range findings {
		switch finding.Damage {
		case store.Moved:
			v.Moved++
			continue
		case store.Missing:
			v.Missing++
		default:
			v.Changed++
		}
		v.note("%s: %s: %s%s", mailbox.Path(), finding.Damage, nameOf(byID[finding.Message.ID]), finding.Detail)
	}
	return err
}

// survey looks for what lies in the mailbox and should not: pieces, and files of ours that the ledger does not know. An
// mbox is read whole for that, so only when all is to be read; and what is whole in it may be anybody's.
func (v *verification) survey(ctx context.Context, mailbox store.Mailbox, rows []ledger.Message) error {
	_, maildir := mailbox.(*store.Maildir)
	if !maildir && v.share < 1 {
		return nil
	}
	known := make(map[string]bool, len(rows))
	for _, m := range rows {
		known[m.Name] = true
	}
	var unknown []string
	for found, err := range mailbox.Survey(ctx) {
		if err != nil {
			return err
		}
		switch name := found.Location.Name; {
		case maildir && known[name]:
		case found.Torn != "":
			v.Torn++
			v.note("%s: torn: %s", mailbox.Path(), found.Torn)
		case maildir:
			unknown = append(unknown, name)
		}
	}
	v.noteUnknown(mailbox.Path(), unknown)
	return nil
}

// mostUnknown is how many files of a mailbox are named. Where there are more, they have a reason in common.
const mostUnknown = 10

// noteUnknown tells of files that the ledger does not know.
func (v *verification) noteUnknown(path string, names []string) {
	v.Unknown += len(names)
	if len(names) > mostUnknown {
		v.note("%s: not in the ledger: %d files, one of them %s; the next run or popfetchd repair takes them in", path, len(names), names[0])
		return
	}
	for _, name := range names {
		v.note("%s: not in the ledger: %s; the next run or popfetchd repair takes it in", path, name)
	}
}

func (v *verification) note(format string, args ...any) {
	v.Findings = append(v.Findings, fmt.Sprintf(format, args...))
}
