package fetch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/pop3"
	"github.com/popfetchd/popfetchd/internal/provider"
	"github.com/popfetchd/popfetchd/internal/store"
)

// maxSessions bounds a run, should a server give a reason for one more session each time, and maxBarren one whose sessions
// bring nothing. Sessions that bring worthwhile messages each are not counted, where a server lists a part of its mail only.
const (
	maxSessions = 20
	maxBarren   = 3
	worthwhile  = 10
)

// run is one run of one account.
type run struct {
	*Fetcher
	account  config.Account
	log      *slog.Logger
	watch    func(Progress)
	progress Progress
	doing    string // for the error, should one come
	report   Report
	began    time.Time           // the time that all decisions of the run go by
	counted  []ledger.Key        // the messages that are in the report
	known    int                 // of those, the ones neither new nor skipped
	found    map[ledger.Key]bool // of the known, those that seemed to be new until they were fetched
	culprits []*lostSession      // messages that ended a session, and are not stored since
	damage   error               // of a listing
	blurred  bool                // messages had other names in later sessions, and were counted in the first only
	quits    int                 // sessions that ended well
	plain    bool                // no pipelining any more: replies did not fit the questions
	token    string              // to log in with, in the place of the account's own
	renewed  bool                // another token was asked for, since one was refused, and has not worked yet
	oneLine  bool                // the server wants AUTH and its response on one line
	tokenEnd time.Time           // of the token that the session began with; zero without one
	barren   int                 // sessions in a row that were lost before any message was stored

	sessionEnd time.Time // when the session has to stop asking for mail; zero: never
	outOfTime  bool      // it did
	portions   int       // that the session has begun
	brittle    bool      // sessions break: each is to be short
	wanted     int       // messages that the session is to fetch
	asked      int       // of those, asked for
	quota      quota
	window     window

	counting bool // before holds
	before   int  // rows of the account before this run added any
	booked   int  // rows that it added

	// settled says that the ledger knows all messages of ours that a mailbox holds. That takes a look first, see adopt.
	settled bool
}

// do holds sessions until nothing is left to do: one, as a rule.
func (r *run) do(ctx context.Context) error {
	r.doing = "opening the ledger"
	isNew, err := r.enroll()
	if err != nil {
		return err
	}
	if err := r.finishAppends(ctx); err != nil {
		return err
	}
	if err := r.sweep(); err != nil {
		return err
	}
	if isNew {
		if err := r.lookAround(ctx); err != nil {
			return err
		}
	}
	if held, err := r.held(ctx); held || err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{r.rescueEarly, r.visits, r.rescue} {
		if err := step(ctx); err != nil {
			return r.advise(err)
		}
	}
	return r.settleUp()
}

// visits holds sessions as long as there is a reason for another one. Those of a windowed server go on for as long as they
// bring anything.
func (r *run) visits(ctx context.Context) error {
	for n := 1; ; n++ {
		sessions, stored := r.report.Sessions, r.report.Stored
		again, err := r.visit(ctx)
		if r.report.Sessions > sessions && r.cutShort(err, r.report.Stored-stored) {
			r.log.Info("the server ended the session before everything had come: another one goes on", "reply", err.Error())
			again, err = true, nil
		}
		switch {
		case err != nil && r.quits > 0 && wantsDelay(err):
			r.log.Info("the server wants some time between two logins: the rest comes with the next run", "reply", err.Error())
			return nil
		case err != nil || !again || r.limited():
			return err
		case r.oneLogin():
			r.log.Info("the server wants some time between two logins: the rest comes with the next run")
			return nil
		case n >= maxSessions && !r.outOfTime && !(r.windowed() && r.report.Stored+r.window.again >= n*worthwhile):
			return cmp.Or(r.settleUp(), fmt.Errorf("gave up after %d sessions with messages left", n))
		}
	}
}

// wantsDelay says that a server lets nobody in so soon after the last time (RFC 2449 section 8.1.1).
func wantsDelay(err error) bool {
	reply := (*pop3.ReplyError)(nil)
	return errors.As(err, &reply) && reply.Code == "LOGIN-DELAY"
}

// oneLogin says that the provider lets nobody in so soon after the last time, and says no more than that the password is wrong.
// Gmail wants time too, and says so if it means it; it would take forever to come by its mail one window at a time.
func (r *run) oneLogin() bool {
	preset := r.account.Preset()
	return preset.MinInterval > 0 && !preset.Windowed
}

// settleUp says what went wrong in a run that came to its end all the same.
func (r *run) settleUp() error {
	if len(r.culprits) > 0 {
		key := r.culprits[0].key
		r.doing = fmt.Sprintf("receiving message %q of %d octets", key.UID, key.ListedSize)
		return r.culprits[0]
	}
	r.doing = "adding up"
	return cmp.Or(r.balance(), r.damage)
}

// conclude writes the end of the run into the ledger. One that was told to stop is no failure; it has not been, so that
// the next one comes as soon as it may.
func (r *run) conclude(ctx context.Context, failed error) error {
	pending, err := r.Ledger.Deletions(r.account.Name, ledger.Pending)
	r.report.PendingDelete = len(pending)
	if r.report.Held {
		return cmp.Or(failed, err)
	}
	if KindOf(failed) == Temporary && ctx.Err() != nil {
		if r.settled {
			err = cmp.Or(err, r.Ledger.Settle(r.account.Name))
		}
		return cmp.Or(failed, err)
	}
	problem := ""
	if failed != nil {
		problem = (&Error{Account: r.account.Name, Doing: r.doing, Err: failed}).Error()
	} else {
		r.doing = "recording the end of the run"
	}
	return cmp.Or(failed, err, r.Ledger.Finish(r.account.Name, r.Now(), problem, r.settled), r.hold(ctx, failed))
}

// visit holds one session. again says that messages were left for another one: when the connection broke over one of them,
// the others have a session without it; then it has one in which nothing else is at stake, neither other messages nor
// deletions.
func (r *run) visit(ctx context.Context) (again bool, err error) {
	session, err := r.connect(ctx)
	if err != nil {
		return false, err
	}
	defer session.Close()
	drop, err := r.list(ctx, session)
	if err != nil {
		return false, err
	}
	known, err := r.lookBehind(ctx, drop)
	if err != nil {
		return false, err
	}
	wanted, later := drop.plan.fetch, drop.plan.suspects
	if len(wanted) == 0 && (len(drop.plan.remove) == 0 || r.quits > 0) {
		wanted, later = later, nil
	}
	stored, err := r.retrieve(ctx, session, drop, wanted)
	if lost := (*lostSession)(nil); errors.As(err, &lost) {
		return r.lose(lost, drop, len(wanted)+len(later), len(stored)), r.noteBroken(len(known))
	}
	taken := []int(nil)
	if err == nil {
		taken, err = r.takeAgain(ctx, session, drop, known)
	}
	if stop := (*interruption)(nil); errors.As(err, &stop) {
		doing := r.doing
		_, problem := r.quit(session, drop, stored, nil) // no DELE: it would be refused like the rest, and what was stored is taken without
		r.doing = doing
		return false, cmp.Or(err, problem)
	}
	if err != nil { // without QUIT: what was retrieved and not stored must not count as fetched there
		return false, cmp.Or(err, r.noteBroken(len(known)))
	}
	ended, err := r.finish(ctx, session, drop, stored)
	if err != nil || !ended {
		return len(later) > 0 || r.windowed() && len(stored) > 0, cmp.Or(err, r.noteBroken(len(known)))
	}
	return r.goesOn(drop, stored, taken) || len(later) > 0, nil
}

// lose takes note of a session that ended over one message, and says whether another one is worth the try: for what is left
// of the wanted messages, for deletions, or for that message.
func (r *run) lose(over *lostSession, drop *maildrop, wanted, stored int) bool {
	if !errors.Is(over, pop3.ErrMessageTooLarge) && !errors.Is(over, errOutOfStep) { // the first is as it should be, the second no message's fault
		over.number = drop.listing[slices.Index(drop.keys, over.key)].Number
		r.culprits = append(r.culprits, over)
	}
	fruitful := errors.Is(over, pop3.ErrMessageTooLarge) || r.fruitful(stored) // such a message is out of the way
	deletions := len(drop.plan.remove) > 0 && r.quits == 0 || stored > 0 && r.deletesAtOnce()
	return fruitful && (wanted-stored > 1 || deletions || over.retry)
}

// cutShort says that the server ended a session by a reply that is known to mean no more than that, and that another one
// is worth the try.
func (r *run) cutShort(err error, stored int) bool {
	reply := (*pop3.ReplyError)(nil)
	if !errors.As(err, &reply) {
		return false
	}
	known, ok := r.account.Preset().Advise(reply.Code, reply.Text)
	return ok && known.Does == provider.NewSession && r.fruitful(stored)
}

// fruitful takes note of what a session that was lost has stored, and says whether there may be another one.
func (r *run) fruitful(stored int) bool {
	if r.barren++; stored > 0 {
		r.barren = 0
	}
	return r.barren < maxBarren
}

// list asks what the maildrop holds and plans.
func (r *run) list(ctx context.Context, session *pop3.Session) (*maildrop, error) {
	r.tell(Listing)
	drop, err := r.ask(session)
	if err != nil {
		return nil, err
	}
	return drop, cmp.Or(r.plan(ctx, session, drop), r.reconcile(drop))
}

// plan decides what to do about a listing.
func (r *run) plan(ctx context.Context, session *pop3.Session, drop *maildrop) (err error) {
	for _, step := range []func() error{
		func() error { return r.recognise(drop) },
		func() error { return r.redate(drop) },
		func() error { return r.adopt(ctx, drop) },
		func() error { return r.takeBaseline(ctx, drop) },
		func() error { return r.matchStrays(ctx, session, drop) },
		func() error { return r.followMove(ctx, session, drop) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	drop.plan = makePlan(drop.keys, drop.states, rulesOf(r.account), r.began)
	r.suspect(drop)
	r.count(drop)
	if drop.copies, err = r.findCopies(drop); err != nil {
		return err
	}
	return r.noteTooLarge(drop)
}

// suspect puts messages last that may be those over which a session of this run broke, where they have other names by now.
func (r *run) suspect(drop *maildrop) {
	if !drop.fleeting {
		return
	}
	drop.plan.fetch = slices.DeleteFunc(drop.plan.fetch, func(index int) bool {
		bad := slices.ContainsFunc(r.culprits, func(lost *lostSession) bool {
			return lost.key.ListedSize == drop.keys[index].ListedSize && (r.quits > 0 || lost.number == drop.listing[index].Number)
		})
		if bad {
			drop.plan.suspects = append(drop.plan.suspects, index)
		}
		return bad
	})
}

func rulesOf(account config.Account) rules {
	return rules{delete: account.Policy == config.Delete, deleteAfter: account.DeleteAfter, maxMessageSize: account.MaxMessageSize,
		window: account.Preset().Windowed}
}

// redate lets delete_after begin anew for what was stored while the clock was ahead, perhaps by years: from the last run
// on, when the clock has gone forward since as it should. One that was set back just now may be the one that is wrong.
func (r *run) redate(drop *maildrop) error {
	if rulesOf(r.account).deleteAfter == 0 {
		return nil
	}
	last, err := r.Ledger.LastAttempt(r.account.Name)
	if err != nil || r.began.Before(last) {
		return err
	}
	var keys []ledger.Key
	for i, state := range drop.states {
		if state.Stored && state.StoredAt.After(r.began) {
			keys = append(keys, drop.keys[i])
			drop.states[i].StoredAt = last
		}
	}
	return r.Ledger.Redate(r.account.Name, keys, last)
}

// takeBaseline takes the first listing as already had, where the account says from-now-on. A window hides most of what is
// already had: there it has to be the server that lists new mail only.
func (r *run) takeBaseline(ctx context.Context, drop *maildrop) error {
	if r.account.Access != config.FromNowOn {
		return nil
	}
	has, err := r.Ledger.HasBaseline(r.account.Name)
	if has || err != nil {
		return err
	}
	if r.windowed() {
		if err := r.confirmFromNowOn(ctx); err != nil {
			return err
		}
		return r.Ledger.SetBaseline(r.account.Name, r.Now(), nil)
	}
	r.log.Info("access is from-now-on: what the server lists now is taken as already had", "messages", len(drop.keys))
	if err := r.Ledger.SetBaseline(r.account.Name, r.Now(), drop.keys); err != nil {
		return err
	}
	return r.recognise(drop)
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
	if r.counted != nil && drop.fleeting {
		r.blurred = true
		return
	}
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
	new, skipped := fresh(p.fetch)+fresh(p.suspects), fresh(p.tooLarge)+fresh(p.waiting)+fresh(p.setAside)
	r.report.New += new
	r.report.Skipped += skipped
	listed := len(r.counted)
	if r.counted == nil {
		r.counted = slices.Clone(drop.keys) // which change where a message turns out to be another one, see acknowledge
		r.report.Listed, r.report.Skipped = drop.leftOut, r.report.Skipped+drop.leftOut
	} else {
		r.counted = append(slices.Clip(r.counted), slices.DeleteFunc(slices.Clone(drop.keys), func(key ledger.Key) bool { return before[key] })...)
	}
	listed = len(r.counted) - listed
	r.report.Listed += listed
	r.known += listed - new - skipped
	r.damage = cmp.Or(r.damage, drop.damage)
}

// retrieve takes the wanted messages into the mailbox and returns those that are there now. What arrived whole is kept,
// whatever happens after it.
func (r *run) retrieve(ctx context.Context, session *pop3.Session, drop *maildrop, wanted []int) (stored []int, err error) {
	if len(wanted) == 0 {
		return nil, nil
	}
	if err := r.openBooks(); err != nil {
		return nil, err
	}
	r.expect(drop, wanted)
	d := &delivery{run: r, copies: drop.copies}
	defer d.abandon() // should this panic: nothing outlasts the account's lock
	failures, err := r.receive(ctx, session, drop, wanted, d)
	if trouble := d.finish(ctx); trouble != nil { // worse than whatever the line did
		r.doing = "storing mail in " + r.account.Mailbox().At(r.Now())
		err = trouble
	}
	r.exonerate(drop, d)
	return d.stored, cmp.Or(err, r.acknowledge(drop, d.matches), r.Ledger.Fail(r.account.Name, failures))
}

// exonerate takes messages that came after all off those that ended a session. Where they have another name by now, their
// size tells.
func (r *run) exonerate(drop *maildrop, d *delivery) {
	came := map[ledger.Key]bool{}
	add := func(index int) {
		came[drop.keys[index]] = true
		if drop.fleeting {
			came[ledger.Key{ListedSize: drop.keys[index].ListedSize}] = true
		}
	}
	for _, index := range d.stored {
		add(index)
	}
	for _, m := range d.matches {
		add(m.index)
	}
	r.culprits = slices.DeleteFunc(r.culprits, func(lost *lostSession) bool {
		return came[lost.key] || came[ledger.Key{ListedSize: lost.key.ListedSize}]
	})
}

// expect sets the totals for progress; what sessions before this one have done stays counted.
func (r *run) expect(drop *maildrop, wanted []int) {
	r.wanted, r.asked = len(wanted), 0
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
