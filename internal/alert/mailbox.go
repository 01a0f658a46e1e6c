package alert

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/store"
)

// ourAccount is whose messages alerts are to the store. No account of a configuration can be called so, and by that nobody
// takes them for mail of a server: a Maildir file's name carries a hash of it, so that no look through a Maildir for an
// account's messages (taking in what a crash left, verify, repair) finds them. An mbox does not tell whose its messages are:
// there they are what a neighbour delivered, under the same locks.
const ourAccount = "popfetchd's own messages"

// mboxPatience is how long to wait for an mbox that others have locked.
const mboxPatience = 10 * time.Second

// mailbox puts messages into the mailbox of an account: what concerns that account, or all.
type mailbox struct {
	account  config.Account
	stateDir string
	now      func() time.Time
	all      bool // of any account
	first    bool // of its own, and of none in particular
}

// concerns says whether an account's incidents go into this mailbox.
func (b mailbox) concerns(account string) bool {
	return b.all || account == b.account.Name || account == "" && b.first
}

func (b mailbox) name() string { return "mailbox " + b.account.Name }

func (b mailbox) send(ctx context.Context, m Message) (err error) {
	text, err := render(m, "popfetchd@"+helo(), []string{b.recipient()})
	if err != nil {
		return err
	}
	place, err := b.open()
	if err != nil {
		return err
	}
	defer place.Close()
	if err := place.Sweep(); err != nil { // what an unclean end left of ours; nobody else would
		return err
	}
	batch, err := place.Begin()
	if err != nil {
		return err
	}
	defer batch.Discard()
	if _, err := batch.Add(store.NewID(ourAccount, rand.Text(), 0, 0), bytes.NewReader(text)); err != nil {
		return err
	}
	// The ledger is to know nothing of it. After a crash in an append, a piece of an alert may be left in an mbox.
	_, err = batch.Commit(ctx, func(store.Intent) error { return nil })
	return err
}

// open opens where the account's mail goes today.
func (b mailbox) open() (store.Mailbox, error) {
	path := b.account.Mailbox().At(b.now())
	o := store.Options{Account: ourAccount, SpoolDir: filepath.Join(b.stateDir, "spool"), LockTimeout: mboxPatience}
	if b.account.Maildir != "" {
		return store.OpenMaildir(path, o)
	}
	return store.OpenMbox(path, o)
}

// recipient is what stands in To.
func (b mailbox) recipient() string {
	if parsed, err := parseAddress(b.account.Username); err == nil {
		return parsed
	}
	return fmt.Sprintf("%s@%s", b.account.Name, helo())
}
