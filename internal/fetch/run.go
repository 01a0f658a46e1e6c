package fetch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/pop3"
	"github.com/popfetchd/popfetchd/internal/store"
)

// maxSessions bounds a run, should a server give a reason for one more session each time.
const maxSessions = 20

// run is one run of one account.
type run struct {
	*Fetcher
	account  config.Account
	log      *slog.Logger
	watch    func(Progress)
	progress Progress
	doing    string // for the error, should one come
	report   Report
	began    time.Time    // the time that all decisions of the run go by
	counted  []ledger.Key // the messages that are in the report

	// settled says that the ledger knows all messages of ours that a mailbox holds. That takes a look first, see adopt.
	settled bool
}

// maildrop is what the server listed, and what to do about it. Its slices run in parallel.
type maildrop struct {
	listing []pop3.Entry
	keys    []ledger.Key
	states  []ledger.State
	plan    plan
}

// numbers returns the message numbers, in this session, of the messages at indices.
func (d *maildrop) numbers(indices []int) []int {
	numbers := make([]int, len(indices))
	for i, index := range indices {
		numbers[i] = d.listing[index].Number
	}
	return numbers
}

// do holds sessions until nothing is left to do: one, as a rule.
func (r *run) do(ctx context.Context) error {
	r.doing = "opening the ledger"
	if err := r.enroll(); err != nil {
		return err
	}
	if err := r.finishAppends(ctx); err != nil {
		return err
	}
	for session := range maxSessions {
		again, err := r.visit(ctx, session == 0)
		if err != nil || !again {
			return err
		}
	}
	return fmt.Errorf("gave up after %d sessions with messages left", maxSessions)
}

// conclude writes the end of the run into the ledger. One that was told to stop is no failure; it has not been, so that
// the next one comes as soon as it may.
func (r *run) conclude(ctx context.Context, failed error) error {
	pending, err := r.Ledger.Deletions(r.account.Name, ledger.Pending)
	r.report.PendingDelete = len(pending)
	if KindOf(failed) == Temporary && ctx.Err() != nil {
		if r.settled {
			err = cmp.Or(err, r.Ledger.Settle(r.account.Name))
		}
		return cmp.Or(failed, err)
	}
	problem := ""
	if failed != nil {
		problem = (&Error{r.account.Name, r.doing, failed}).Error()
	} else {
		r.doing = "recording the end of the run"
	}
	return cmp.Or(failed, err, r.Ledger.Finish(r.account.Name, r.Now(), problem, r.settled))
}

// visit holds one session. again says that messages were left for another one: suspects get a session in which nothing
// else is at stake, neither other messages nor deletions.
func (r *run) visit(ctx context.Context, first bool) (again bool, err error) {
	session, err := r.connect(ctx)
	if err != nil {
		return false, err
	}
	defer session.Close()
	drop, err := r.list(session)
	if err != nil {
		return false, err
	}
	wanted, later := drop.plan.fetch, drop.plan.suspects
	if len(wanted) == 0 && (len(drop.plan.remove) == 0 || !first) {
		wanted, later = later, nil
	}
	stored, err := r.retrieve(ctx, session, drop, wanted)
	if errors.Is(err, pop3.ErrMessageTooLarge) {
		return true, nil // the message is set aside, the session is over, the others wait
	}
	if err != nil {
		return false, err // without QUIT: what was retrieved and not stored must not count as fetched there
	}
	if err := r.finish(session, drop, stored); err != nil {
		return false, err
	}
	return len(later) > 0, nil
}

// list asks what the maildrop holds and plans.
func (r *run) list(session *pop3.Session) (*maildrop, error) {
	r.tell(Listing)
	r.doing = "listing the messages"
	listing, err := session.Listing()
	if err != nil {
		return nil, judgeListing(session, err)
	}
	drop := &maildrop{listing: listing, keys: identify(listing)}
	if err := r.adopt(drop.keys); err != nil {
		return nil, err
	}
	if err := r.takeBaseline(drop.keys); err != nil {
		return nil, err
	}
	if drop.states, err = r.recognise(drop.keys); err != nil {
		return nil, err
	}
	drop.plan = makePlan(drop.keys, drop.states, rulesOf(r.account), r.began)
	r.count(drop)
	if n := drop.plan.relisted; n > 0 {
		r.log.Warn("the server lists messages again that it had deleted, or others with their UID and size: they are left alone", "messages", n)
	}
	return drop, cmp.Or(r.noteTooLarge(drop), r.reconcile(drop))
}

func rulesOf(account config.Account) rules {
	return rules{delete: account.Policy == config.Delete, deleteAfter: account.DeleteAfter, maxMessageSize: account.MaxMessageSize,
		window: account.Provider == "gmail"}
}

// takeBaseline takes the first listing as already had, where the account says from-now-on.
func (r *run) takeBaseline(keys []ledger.Key) error {
	if r.account.Access != config.FromNowOn {
		return nil
	}
	has, err := r.Ledger.HasBaseline(r.account.Name)
	if has || err != nil {
		return err
	}
	r.log.Info("access is from-now-on: what the server lists now is taken as already had", "messages", len(keys))
	return r.Ledger.SetBaseline(r.account.Name, r.Now(), keys)
}

// noteTooLarge records messages over max_message_size, so that status lists them. They stay on the server.
func (r *run) noteTooLarge(drop *maildrop) error {
	var failures []ledger.Failure
	for _, index := range drop.plan.tooLarge {
		if before := drop.states[index].Failure; before == nil || before.Reason != ledger.TooLarge {
			r.log.Warn("a message is larger than max_message_size: it stays on the server", "uid", drop.keys[index].UID, "size", drop.keys[index].ListedSize)
			failures = append(failures, ledger.Failure{Key: drop.keys[index], Reason: ledger.TooLarge, Error: "larger than max_message_size"})
		}
	}
	return r.Ledger.Fail(r.account.Name, failures)
}

// count enters a listing into the report; of a later session only what was not listed before.
func (r *run) count(drop *maildrop) {
	before := make(map[ledger.Key]bool, len(r.counted))
	for _, key := range r.counted {
		before[key] = true
	}
	fresh := func(indices []int) (n int) {
		for _, index := range indices {
			if !before[drop.keys[index]] {
				n++
			}
		}
		return n
	}
	p := &drop.plan
	r.report.New += fresh(p.fetch) + fresh(p.suspects)
	r.report.Skipped += fresh(p.tooLarge) + fresh(p.waiting) + fresh(p.setAside)
	if r.counted == nil {
		r.counted = drop.keys
	} else {
		r.counted = append(slices.Clip(r.counted), slices.DeleteFunc(slices.Clone(drop.keys), func(key ledger.Key) bool { return before[key] })...)
	}
	r.report.Listed = len(r.counted)
}

// retrieve takes the wanted messages into the mailbox and returns those that are there now. What arrived whole is kept,
// whatever happens after it.
func (r *run) retrieve(ctx context.Context, session *pop3.Session, drop *maildrop, wanted []int) (stored []int, err error) {
	if len(wanted) == 0 {
		return nil, nil
	}
	r.expect(drop, wanted)
	d := &delivery{run: r}
	defer d.wait() // should this panic: no commit outlasts the account's lock
	failures, err := r.receive(ctx, session, drop, wanted, d)
	if trouble := d.finish(ctx); trouble != nil { // worse than whatever the line did
		r.doing = "storing mail in " + r.account.Mailbox().At(r.Now())
		err = trouble
	}
	return d.stored, cmp.Or(err, r.Ledger.Fail(r.account.Name, failures))
}

// receive streams the wanted messages into the delivery and returns which failed, and why.
func (r *run) receive(ctx context.Context, session *pop3.Session, drop *maildrop, wanted []int, d *delivery) ([]ledger.Failure, error) {
	next := 0
	verdicts := verdicts{run: r}
	for message := range session.Retrieve(drop.numbers(wanted)) {
		index := wanted[next]
		next++
		r.doing = fmt.Sprintf("receiving message %d of %d", next, len(wanted))
		err := message.Err
		if err == nil {
			err = d.add(ctx, index, drop.keys[index], &countingReader{message: message, listed: drop.keys[index].ListedSize, run: r})
		}
		if ctx.Err() != nil || d.err != nil {
			return verdicts.failures, cmp.Or(d.err, context.Cause(ctx)) // no message's fault
		}
		if err := verdicts.judge(drop.keys[index], drop.states[index].Failure, err); err != nil {
			return verdicts.failures, err
		}
		if err == nil {
			r.progress.Messages++
			r.tell(Retrieving)
		}
	}
	return verdicts.failures, nil
}

// expect sets the totals for progress; what sessions before this one have done stays counted.
func (r *run) expect(drop *maildrop, wanted []int) {
	r.progress.TotalMessages, r.progress.TotalBytes = r.progress.Messages+len(wanted), r.progress.Bytes
	for _, index := range wanted {
		r.progress.TotalBytes += drop.listing[index].Size
	}
	r.tell(Retrieving)
}

func (r *run) tell(phase Phase) {
	r.progress.Phase = phase
	if r.watch != nil {
		r.watch(r.progress)
	}
}

// errUnstuffed is a message that ended at once although it was listed with a size. Some servers (Dovecot 2.3) do not
// stuff a first line that is a single dot: to a client the message ends there, and what follows looks like replies.
var errUnstuffed = errors.New("the server sent nothing for a message it listed with a size: its first line may be a single dot")

// countingReader counts the octets of a message into the progress.
type countingReader struct {
	message io.Reader
	listed  int64
	octets  int64
	run     *run
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.message.Read(p)
	c.octets += int64(n)
	c.run.progress.Bytes += int64(n)
	if err == io.EOF && c.octets == 0 && c.listed > int64(len("\r\n")) {
		err = errUnstuffed
	}
	if n == len(p) { // a long message: show that it moves
		c.run.tell(Retrieving)
	}
	return n, err
}

// deletesAtOnce says that a server's copy is up for deletion as soon as ours is durable.
func (r *run) deletesAtOnce() bool {
	return r.account.Policy == config.Delete && r.account.DeleteAfter == 0
}

// open opens the account's mailbox at path.
func (r *run) open(path string) (store.Mailbox, error) {
	if r.account.Maildir != "" {
		return r.openMaildir(path, r.account.Name)
	}
	return r.openMbox(path, r.account.Name)
}
