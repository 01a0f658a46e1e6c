package fetch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/store"
)

// Verification is what verify found.
type Verification struct {
	Account  string
	Checked  int      // messages that should be there
	Missing  int      // of those, gone
	Changed  int      // of those, not what was stored
	Findings []string // a line for each that is missing or changed
}

// OK says that everything is there, unharmed.
func (v Verification) OK() bool { return v.Missing == 0 && v.Changed == 0 }

// Verify holds the account's mailboxes against the ledger: every stored message is to be there with its size, and with
// read also with its SHA-256. It changes nothing.
func (f *Fetcher) Verify(ctx context.Context, account config.Account, read bool) (Verification, error) {
	v := Verification{Account: account.Name}
	if err := f.verify(ctx, account, read, &v); err != nil {
		return v, &Error{account.Name, "verifying its mail", err}
	}
	return v, nil
}

func (f *Fetcher) verify(ctx context.Context, account config.Account, read bool, v *Verification) error {
	var expect []store.Message // of one mailbox: the ledger gives them in its order
	for m, err := range f.Ledger.Stored(account.Name) {
		if err != nil {
			return err
		}
		if len(expect) > 0 && expect[0].Location.Path != m.Mailbox {
			if err := f.verifyMailbox(ctx, expect, read, v); err != nil {
				return err
			}
			expect = expect[:0]
		}
		expect = append(expect, expected(account.Name, m))
	}
	return f.verifyMailbox(ctx, expect, read, v)
}

func expected(account string, m ledger.Message) store.Message {
	return store.Message{ID: store.NewID(account, m.UID, m.ListedSize, m.Occurrence), Size: m.Size, SHA256: m.SHA256,
		Location: store.Location{Path: m.Mailbox, Name: m.Name, Offset: m.Offset, Length: m.Length}}
}

func (f *Fetcher) verifyMailbox(ctx context.Context, expect []store.Message, read bool, v *Verification) error {
	if len(expect) == 0 {
		return nil
	}
	v.Checked += len(expect)
	path := expect[0].Location.Path
	mailbox, err := f.openExisting(path, v.Account)
	if errors.Is(err, fs.ErrNotExist) {
		v.Missing += len(expect)
		v.Findings = append(v.Findings, fmt.Sprintf("%s: missing, with %d messages", path, len(expect)))
		return nil
	}
	if err != nil {
		return err
	}
	defer mailbox.Close()
	findings, err := mailbox.Verify(ctx, expect, read)
	if err != nil {
		return err
	}
	for _, finding := range findings {
		if finding.Damage == store.Moved {
			continue
		}
		if finding.Damage == store.Missing {
			v.Missing++
		} else {
			v.Changed++
		}
		v.Findings = append(v.Findings, fmt.Sprintf("%s: %s: %s", path, finding.Damage, finding.Detail))
	}
	return nil
}
