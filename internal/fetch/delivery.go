package fetch

import (
	"cmp"
	"context"
	"errors"
	"io"
	"path/filepath"
	"time"

	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/store"
)

// A batch is committed when one of these is reached: many messages share its flushes, little is received again after a
// crash, and an mbox is locked only shortly.
const (
	batchMessages = 1000
	batchBytes    = 32 << 20
	batchAge      = 10 * time.Second
)

// stopPatience is how long a commit may wait for an mbox that others have locked once the run was told to stop.
const stopPatience = 10 * time.Second

// errStopped says that the run was told to stop and has waited for the mailbox since.
var errStopped = errors.New("the run was told to stop")

// delivery takes received messages into the mailbox, batch by batch. While one batch is being committed the next is
// being received; there is never more than one of each.
type delivery struct {
	run     *run
	mailbox store.Mailbox
	batch   *batch
	commit  chan commitResult // of the batch being committed; nil when there is none
	copies  copies            // what is not to be stored a second time
	stored  []int             // indices of the messages that are durable and remembered
	matches []match           // messages that are here already
	err     error             // the first trouble on this side: disk, lock or ledger, never the server's
}

// batch is a store.Batch with what the ledger needs to know of its messages.
type batch struct {
	store.Batch
	indices []int
	keys    []ledger.Key
	began   time.Time
}

type commitResult struct {
	batch *batch
	bytes int64
	err   error
}

// add receives one message; added is false when it turned out to be here already. An error of the reader comes back as it is;
// trouble on this side is also kept in d.err.
func (d *delivery) add(ctx context.Context, index int, key ledger.Key, message io.Reader) (added bool, err error) {
	if err := d.begin(ctx); err != nil {
		return false, d.fail(err)
	}
	id := store.NewID(d.run.account.Name, key.UID, key.ListedSize, key.Occurrence)
	stored, err := d.batch.Add(id, message)
	if err != nil {
		if KindOf(err) == Local {
			return false, d.fail(err)
		}
		return false, err
	}
	if here, ok := d.copies.take(stored.SHA256); ok {
		d.matches = append(d.matches, match{index, here})
		return false, d.fail(d.batch.Drop())
	}
	d.batch.indices = append(d.batch.indices, index)
	d.batch.keys = append(d.batch.keys, key)
	return true, nil
}

// drop takes back the message that was just added, or seemed to be here.
func (d *delivery) drop(added bool) error {
	if !added {
		d.matches = d.matches[:len(d.matches)-1]
		return nil
	}
	last := len(d.batch.indices) - 1
	d.batch.indices, d.batch.keys = d.batch.indices[:last], d.batch.keys[:last]
	return d.fail(d.batch.Drop())
}

// abandon lets go of what a delivery that did not come to its finish holds.
func (d *delivery) abandon() {
	d.discard()
	d.wait()
}

// discard gives up the batch in hand.
func (d *delivery) discard() error {
	if d.batch == nil {
		return nil
	}
	b := d.batch
	d.batch = nil
	return d.fail(b.Discard())
}

// doubt gives up all that nothing proves to be what it seems.
func (d *delivery) doubt() error {
	d.matches = nil
	return d.discard()
}

// isFull says that the batch has reached one of its bounds.
func (d *delivery) isFull() bool {
	return d.batch != nil && (d.batch.Len() >= batchMessages || d.batch.Bytes() >= batchBytes || d.run.Now().Sub(d.batch.began) >= batchAge)
}

// handOverFull hands the batch over if it is full.
func (d *delivery) handOverFull(ctx context.Context) error {
	if !d.isFull() {
		return nil
	}
	return d.fail(d.handOver(ctx))
}

func (d *delivery) fail(err error) error {
	if d.err == nil {
		d.err = err
	}
	return err
}

// begin makes sure that a batch is open, in the mailbox of today.
func (d *delivery) begin(ctx context.Context) error {
	if d.batch != nil {
		return nil
	}
	now := d.run.Now()
	if path := d.run.account.Mailbox().At(now); d.mailbox == nil || d.mailbox.Path() != path {
		if err := d.move(path); err != nil {
			return err
		}
	}
	b, err := d.mailbox.Begin()
	if err != nil {
		return err
	}
	d.batch = &batch{Batch: b, began: now}
	return nil
}

// move opens the mailbox at path, and before that tells the ledger that it may soon hold what the ledger does not know.
func (d *delivery) move(path string) error {
	if err := d.close(); err != nil {
		return err
	}
	d.run.settled = false
	if err := d.run.Ledger.Unsettle(d.run.account.Name, path); err != nil {
		return err
	}
	mailbox, err := d.run.open(path)
	d.mailbox = mailbox
	return err
}

// handOver waits for the commit under way and starts that of the batch in hand.
func (d *delivery) handOver(ctx context.Context) error {
	full := d.batch
	d.batch = nil
	if err := d.wait(); err != nil || full.Len() == 0 {
		return cmp.Or(err, full.Discard())
	}
	d.commit = make(chan commitResult, 1)
	go func() {
		patient, cancel := outlive(ctx)
		defer cancel()
		d.commit <- d.run.commit(patient, full)
	}()
	return nil
}

// outlive returns a context that ends stopPatience after ctx.
func outlive(ctx context.Context) (context.Context, context.CancelFunc) {
	lasting, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(stopPatience, func() { cancel(errStopped) })
	})
	return lasting, func() {
		stop()
		cancel(nil)
	}
}

// wait waits for the commit under way, if there is one, and counts what it stored.
func (d *delivery) wait() error {
	if d.commit == nil {
		return nil
	}
	result := <-d.commit
	d.commit = nil
	if result.err != nil {
		return result.err
	}
	d.stored = append(d.stored, result.batch.indices...)
	d.run.report.Stored += len(result.batch.indices)
	d.run.booked += len(result.batch.indices)
	d.run.report.Bytes += result.bytes
	return nil
}

// finish commits what is left, also when the run was told to stop, closes the mailbox, and returns d.err.
func (d *delivery) finish(ctx context.Context) error {
	if d.batch != nil {
		d.fail(d.handOver(ctx))
	}
	d.fail(d.close())
	if d.err == nil {
		d.run.settled = true
	}
	return d.err
}

func (d *delivery) close() error {
	err := d.wait()
	if d.mailbox != nil {
		err = cmp.Or(err, d.mailbox.Close())
		d.mailbox = nil
	}
	return err
}

// commit makes a batch durable and remembers it: the one place where messages become ours. After a failure with an
// intent recorded, the spool and the intent stay, and the next run finishes the append from them.
func (r *run) commit(ctx context.Context, b *batch) (result commitResult) {
	defer r.catch(&result.err)
	var intent int64
	messages, err := b.Commit(ctx, func(i store.Intent) (err error) {
		intent, err = r.Ledger.Intend(r.account.Name, ledger.Intent{Path: i.Path, Offset: i.Offset, Length: i.Length, SHA256: i.SHA256,
			Spool: i.Spool, Messages: r.rows(i.Messages, b.keys)})
		return err
	})
	if err == nil {
		err = r.Ledger.Commit(r.account.Name, r.rows(messages, b.keys), intent)
	}
	if err != nil && intent != 0 {
		return commitResult{err: err}
	}
	if err := cmp.Or(err, b.Discard()); err != nil {
		return commitResult{err: err}
	}
	result.batch = b
	for _, m := range messages {
		result.bytes += m.Size
	}
	return result
}

// rows turns stored messages into rows of the ledger. With policy delete the server's copy is up for deletion in the
// same transaction, unless delete_after keeps it a while.
func (r *run) rows(messages []store.Message, keys []ledger.Key) []ledger.Message {
	deletion := ledger.Kept
	if r.deletesAtOnce() {
		deletion = ledger.Pending
	}
	now := r.Now()
	rows := make([]ledger.Message, len(messages))
	for i, m := range messages {
		rows[i] = ledger.Message{Key: keys[i], Mailbox: m.Location.Path, Name: m.Location.Name, Offset: m.Location.Offset, Length: m.Location.Length,
			Size: m.Size, SHA256: m.SHA256, StoredAt: now, Deletion: deletion}
	}
	return rows
}

func (f *Fetcher) storeOptions(account string) store.Options {
	return store.Options{Account: account, SpoolDir: filepath.Join(f.StateDir, "spool"), Waiting: func(path, holder string) {
		f.Log.Info("waiting for an mbox that another program has locked", "account", account, "mbox", path, "holder", holder)
	}}
}
