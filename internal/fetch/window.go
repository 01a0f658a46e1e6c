package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/gmail"
	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/pop3"
)

// Gmail does not list a mailbox but a window: the oldest mail that no POP client has taken yet, about 250 conversations of
// it. What was RETRieved in a session that ended with QUIT is taken ("popped"); it is listed no more, and the next session's
// window reaches further. So a run holds sessions until one brings nothing new. What is stored here already and listed all
// the same (a session broke before its QUIT, or the user had Gmail list everything again) has to be taken once more,
// where it fills the window, or nobody would ever see what lies behind it.

// fullWindow is how many messages a listing has that may hide others: a conversation is one message at least, and
// batches of 200 have been seen.
const fullWindow = 200

// sessionTime is how long a session of a server with windows may receive, so that its QUIT comes well before the half
// hour or hour after which sessions are cut, and little has to be received again when it does not.
const sessionTime = 20 * time.Minute

// The ledger's notes on an account, and how long those count that end by themselves.
const (
	notPopped     = "not popped"     // retrieving mail once more did not take it out of the listing
	recentRefused = "recent mode"    // it was refused
	rescueFirst   = "rescue first"   // it was refused so soon after another login
	sessionBroke  = "session broken" // in the middle: nothing that it had retrieved counts on the server
	noteCounts    = 24 * time.Hour   // then it is worth another try
)

// window is what a run knows of a listing that is only a part.
type window struct {
	taken    map[ledger.Key]bool // retrieved, here or for nothing, in sessions that ended well
	stuck    bool                // the server lists them again all the same
	again    int                 // messages that were retrieved for nothing
	listed   []ledger.Key        // by the session before
	moved    bool                // these seem to have other UIDs by now
	vanished []ledger.Key        // asked for in a session that broke, never stored, and not listed any more
}

// windowed says that the account's server lists a window, and that it is this which is asked for.
func (r *run) windowed() bool { return rulesOf(r.account).window && !r.account.Recent }

// lookBehind prepares for what a window hides: it notes what has vanished from it, and returns the indices of messages
// that are stored and have to be taken once more.
func (r *run) lookBehind(ctx context.Context, drop *maildrop) (again []int, err error) {
	if !r.windowed() {
		return nil, nil
	}
	r.progress.More = len(drop.keys) >= fullWindow
	if err := r.seekVanished(drop); err != nil {
		return nil, err
	}
	left := len(drop.plan.tooLarge) + len(drop.plan.setAside)
	for index, state := range drop.states {
		r.window.stuck = r.window.stuck || r.window.taken[drop.keys[index]]
		switch large := r.account.MaxMessageSize > 0 && drop.keys[index].ListedSize > r.account.MaxMessageSize; {
		case state.Stored && !large:
			again = append(again, index)
		case state.Known: // had before the account began, and not here: what is taken, Gmail may throw away
			left++
		}
	}
	if len(drop.keys) >= fullWindow && r.account.Policy == config.Delete { // what is taken, Gmail throws away
		all := len(again)
		if again, err = r.safe(ctx, drop, again); err != nil {
			return nil, err
		}
		left += all - len(again)
	}
	if left == len(drop.keys) && left >= fullWindow {
		r.log.Warn("the window is full of messages that are too large, were set aside, are held back since they are not here any more, "+
			"or were there before an account with access: from-now-on began: nobody sees what lies behind them until max_message_size is raised, "+
			"popfetchd retry takes them up again, delete_missing: true lets them go, or they are moved to the trash", "messages", left)
	}
	if r.window.stuck {
		return nil, r.giveUpPopping()
	}
	if len(drop.keys) < fullWindow || len(again) == 0 {
		return nil, nil
	}
	in, err := r.noted(notPopped)
	if in || err != nil {
		return nil, err
	}
	if !r.brittle {
		r.brittle, err = r.noted(sessionBroke)
	}
	return again, err
}

// giveUpPopping leaves a server alone for a day that goes on listing what was taken.
func (r *run) giveUpPopping() error {
	in, err := r.noted(notPopped)
	if in || err != nil {
		return err
	}
	r.log.Warn("the server goes on listing mail that was fetched in sessions that ended well, so what its window hides cannot be reached now; looked at again in a day")
	return r.Ledger.SetNote(r.account.Name, notPopped, r.began)
}

// noteBroken remembers that a session broke in which stored mail had to be taken once more, as it would again and again.
func (r *run) noteBroken(known int) error {
	if known == 0 {
		return nil
	}
	r.brittle = true
	return r.Ledger.SetNote(r.account.Name, sessionBroke, r.began)
}

// noted says that there is a note of that name and that it still counts.
func (r *run) noted(name string) (bool, error) {
	at, err := r.Ledger.Note(r.account.Name, name)
	age := r.began.Sub(at)
	return !at.IsZero() && age < noteCounts && age > -noteCounts, err
}

// takeAgain retrieves messages that are stored, for nothing but that the server counts them as taken when the session ends.
func (r *run) takeAgain(ctx context.Context, session *pop3.Session, drop *maildrop, indices []int) (taken []int, err error) {
	if len(indices) == 0 {
		return nil, nil
	}
	r.doing = "retrieving mail that is stored already, so that the server lists what lies behind it"
	for rest := indices; len(rest) > 0 && err == nil; {
		portion, problem := r.portion(drop, rest)
		if problem != nil || len(portion) == 0 {
			return taken, problem
		}
		rest = rest[len(portion):]
		var received int64
		var part []int
		part, received, err = r.takePortion(ctx, session, drop, portion)
		taken = append(taken, part...)
		if problem := r.settlePortion(received); problem != nil {
			return nil, problem
		}
	}
	return taken, err
}

// takePortion retrieves some of them and returns which came, and their octets.
func (r *run) takePortion(ctx context.Context, session *pop3.Session, drop *maildrop, portion []int) (taken []int, received int64, err error) {
	next, stop := 0, (*interruption)(nil)
	for message := range session.Retrieve(drop.numbers(portion)) {
		index := portion[next]
		next++
		n, problem := io.Copy(io.Discard, message)
		received += n
		reply := (*pop3.ReplyError)(nil)
		switch {
		case ctx.Err() != nil:
			return nil, received, context.Cause(ctx)
		case problem == nil:
			r.window.again++
			taken = append(taken, index)
		case errors.As(problem, &reply):
			if stop == nil && r.forAll(reply) {
				stop = &interruption{problem}
			}
		case stop != nil: // it hung up, as it had said
			return nil, received, stop.error
		default:
			return nil, received, problem
		}
		r.tell(Retrieving)
	}
	if stop != nil {
		return taken, received, stop
	}
	return taken, received, nil
}

// interruption is a server that wants to hear no more for now, in a session that is sound: it ends well, and what came counts.
type interruption struct{ error }

func (e *interruption) Unwrap() error { return e.error }

// goesOn notes what a session that ended well has taken out of the window, and says whether another session may find more.
func (r *run) goesOn(drop *maildrop, stored, taken []int) bool {
	progress := len(stored) + len(taken)
	if progress > 0 {
		r.barren = 0
	}
	if r.damage != errNewUIDs {
		progress += len(drop.matched)
	}
	if r.windowed() {
		if r.window.taken == nil {
			r.window.taken = map[ledger.Key]bool{}
		}
		for _, indices := range [][]int{stored, taken, drop.matched} {
			for _, index := range indices {
				r.window.taken[drop.keys[index]] = true
			}
		}
	}
	return progress > 0 && (r.outOfTime || r.windowed() && !r.window.stuck)
}

// arrived notes, once a session has ended well, that nothing of it is under way any more.
func (r *run) arrived(drop *maildrop) error {
	if !r.windowed() {
		return nil
	}
	underway, err := r.Ledger.Underway(r.account.Name)
	if err != nil {
		return err
	}
	listed := missing(underway, drop.keys) // the others: still unaccounted for
	return r.Ledger.Arrived(r.account.Name, missing(underway, listed))
}

// seekVanished looks for messages that were asked for, in a session that did not end well, and are not listed any more.
func (r *run) seekVanished(drop *maildrop) error {
	underway, err := r.Ledger.Underway(r.account.Name)
	if err != nil || len(underway) == 0 {
		return err
	}
	listed := make(map[string]bool, len(drop.keys))
	for _, key := range drop.keys {
		listed[key.UID] = true
	}
	r.window.vanished = nil
	for _, key := range underway {
		if !listed[key.UID] {
			r.window.vanished = append(r.window.vanished, key)
		}
	}
	return nil
}

// rescue fetches, in Gmail's recent mode, messages that have vanished from the window without being stored: should Gmail
// count a message as taken although the session broke, this is the one way to it. It deletes nothing.
func (r *run) rescue(ctx context.Context) error {
	if len(r.window.vanished) == 0 || r.limited() {
		return nil
	}
	refused, err := r.noted(recentRefused)
	if refused || err != nil {
		return err
	}
	account := r.account
	defer func() { r.account = account }()
	r.account.Recent, r.account.Policy, r.account.DeleteAfter = true, config.Keep, 0
	session, err := r.connect(ctx)
	if wantsDelay(err) && r.quits > 0 {
		r.log.Info("the server wants some time between two logins: mail that was under way when a session broke is sought by the next run", "messages", len(r.window.vanished))
		return r.Ledger.SetNote(account.Name, rescueFirst, r.began)
	}
	if reply := (*pop3.ReplyError)(nil); errors.As(err, &reply) && !r.overQuota(reply) {
		r.log.Warn("mail that was under way when a session broke is not listed any more, and recent mode was refused: tried again in a day", "messages", len(r.window.vanished), "reply", reply.Error())
		return r.Ledger.SetNote(account.Name, recentRefused, r.began)
	}
	if err != nil {
		return err
	}
	defer session.Close()
	if err := r.rescueFrom(ctx, session); err != nil {
		return err
	}
	r.window.vanished = nil
	return r.Ledger.SetNote(account.Name, rescueFirst, time.Time{})
}

// rescueEarly does so before any other session, where there was no time for it after them: for all that may have vanished.
func (r *run) rescueEarly(ctx context.Context) error {
	if !r.windowed() {
		return nil
	}
	at, err := r.Ledger.Note(r.account.Name, rescueFirst)
	if at.IsZero() || err != nil { // however long ago it is: the next run may come a day later
		return err
	}
	if r.window.vanished, err = r.Ledger.Underway(r.account.Name); err != nil {
		return err
	}
	return r.rescue(ctx)
}

// rescueFrom is the session of rescue.
func (r *run) rescueFrom(ctx context.Context, session *pop3.Session) error {
	drop, err := r.ask(session)
	if err != nil || len(drop.keys) == 0 { // an empty listing proves nothing
		return err
	}
	missed := make(map[string]ledger.Key, len(r.window.vanished))
	for _, key := range r.window.vanished {
		missed[key.UID] = key
	}
	drop.keepOnly(missed)
	if err := r.plan(ctx, session, drop); err != nil {
		return err
	}
	drop.plan.remove = nil
	stored, err := r.retrieve(ctx, session, drop, append(drop.plan.fetch, drop.plan.suspects...))
	if err != nil {
		return err
	}
	if ended, err := r.finish(ctx, session, drop, stored); err != nil || !ended || r.limited() {
		return err
	}
	if drop.damage != nil { // what it lacks may be there
		return nil
	}
	if err := r.giveUp(missing(r.window.vanished, drop.keys)); err != nil {
		return err
	}
	return r.Ledger.Arrived(r.account.Name, missing(r.window.vanished, drop.worthAnotherTry()))
}

// giveUp records messages that POP gives no way to any more, so that status and an alert tell of them.
func (r *run) giveUp(vanished []ledger.Key) error {
	if len(vanished) == 0 {
		return nil
	}
	const advice = "listed no more, not even among the last 30 days: somebody deleted it, or Gmail counts it as fetched; " +
		"to have it listed again, save \"Enable POP for all mail\" in Gmail's settings once more: nothing is stored twice"
	r.log.Warn("mail that was under way when a session broke is "+advice, "messages", len(vanished))
	failures := make([]ledger.Failure, len(vanished))
	for i, key := range vanished {
		failures[i] = ledger.Failure{Key: key, Reason: ledger.Vanished, Attempts: 1, Error: "was under way when a session broke, and is " + advice}
	}
	return r.Ledger.Fail(r.account.Name, failures)
}

// worthAnotherTry returns the keys of what is listed and neither too large nor set aside.
func (d *maildrop) worthAnotherTry() (keys []ledger.Key) {
	for index, key := range d.keys {
		if !slices.Contains(d.plan.tooLarge, index) && !slices.Contains(d.plan.setAside, index) {
			keys = append(keys, key)
		}
	}
	return keys
}

// keepOnly takes everything else out of a listing, and gives the rest the keys by which it was listed before, each once.
func (d *maildrop) keepOnly(wanted map[string]ledger.Key) {
	var listing []pop3.Entry
	var keys []ledger.Key
	for _, entry := range d.listing {
		if key, ok := wanted[entry.UID]; ok {
			delete(wanted, entry.UID)
			listing, keys = append(listing, entry), append(keys, key)
		}
	}
	d.listing, d.keys, d.leftOut = listing, keys, 0
}

// confirmFromNowOn makes sure, by Gmail's API, that Gmail itself lists nothing but new mail, as the file says.
func (r *run) confirmFromNowOn(ctx context.Context) error {
	r.doing = "reading Gmail's POP settings"
	source, err := r.source()
	if err != nil {
		return err
	}
	token, err := source.Token(ctx, time.Minute)
	if err != nil {
		return err
	}
	settings, err := gmail.API{URL: r.account.OAuth.APIURL, Token: token.Access}.Settings(ctx)
	if errors.Is(err, gmail.ErrTokenRefused) {
		if token, err = source.Renew(ctx, token.Access); err == nil {
			settings, err = gmail.API{URL: r.account.OAuth.APIURL, Token: token.Access}.Settings(ctx)
		}
	}
	if err != nil {
		return err
	}
	if settings.Access != gmail.FromNowOn {
		return &sortedError{Configuration, fmt.Errorf("access is from-now-on, but Gmail is set to list old mail too, all of which would be fetched: "+
			"let Gmail follow the file by popfetchd gmail settings --apply %s, or write access: all-mail", r.account.Name)}
	}
	return nil
}
