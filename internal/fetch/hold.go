package fetch

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/oauth"
)

// How long an account is not logged in to after a refusal that is not the moment's: a day where the server said that it
// will not change by itself, an hour where it may have meant something else; after one for going over a quota an hour,
// doubling to a day. A refusal is lifted at once when what the account logs in with changes.
const (
	refusedWait   = 24 * time.Hour
	unclearWait   = time.Hour
	overQuotaWait = time.Hour
	longestHold   = 24 * time.Hour
)

// quickTries is how many refusals a change lifts at once, one after the other; from then on it does so after unclearWait. A
// password_command may give another password each time.
const quickTries = 3

// errHeld is a run in which nothing was tried, since the account is not to be logged in to yet.
type errHeld struct {
	hold    ledger.Hold
	account string
	changed bool // what it logs in with did, too often
}

func (e *errHeld) Error() string {
	since, until := e.hold.Since.Local().Format(toTheMinute), e.hold.Until.Local().Format(toTheMinute)
	if e.hold.Reason == ledger.OverQuota {
		return fmt.Sprintf("over the server's limits since %s: not tried again before %s (it said: %s)", since, until, e.hold.Problem)
	}
	if e.changed {
		return fmt.Sprintf("refused %d times in a row, at %s last; not tried again before %s, whatever was changed, unless popfetchd retry %s says so: %s",
			e.hold.Times, since, until, e.account, e.hold.Problem)
	}
	return fmt.Sprintf("refused at %s; not tried again before %s, unless the account's settings, password or token change, or popfetchd retry %s says so: %s",
		since, until, e.account, e.hold.Problem)
}

func (e *errHeld) kind() Kind {
	if e.hold.Reason == ledger.OverQuota {
		return Temporary
	}
	return Refused
}

// held says that the account is not to be logged in to now, and why, if that is a failure.
func (r *run) held(ctx context.Context) (bool, error) {
	r.doing = "waiting to log in again"
	hold, err := r.Ledger.Hold(r.account.Name)
	if err != nil || hold.IsZero() || !r.began.Before(hold.Until) || hold.Until.Sub(r.began) > longestHold+time.Hour { // the last came of a clock that went wrong
		return false, err
	}
	mark, err := r.mark(ctx, hold)
	changed := string(mark) != string(hold.Mark)
	if changed && hold.Times >= quickTries && hold.Until.After(hold.Since.Add(unclearWait)) {
		hold.Until = hold.Since.Add(unclearWait)
	}
	if err != nil || changed && (hold.Times < quickTries || !r.began.Before(hold.Until)) {
		return false, err
	}
	r.report.Held, r.report.NotBefore = true, hold.Until
	if hold.Reason == ledger.DailyLimit {
		r.report.LimitedUntil = hold.Until
		return true, nil
	}
	return true, &errHeld{hold, r.account.Name, changed}
}

// hold keeps the account from being logged in to for a while, if the outcome of a run asks for that.
func (r *run) hold(ctx context.Context, failed error) error {
	hold := ledger.Hold{Since: r.Now(), Times: 1}
	before, err := r.Ledger.Hold(r.account.Name)
	if err != nil {
		return err
	}
	refused, signIn := (*refusal)(nil), (*oauth.SignInError)(nil)
	switch {
	case failed == nil && r.limited():
		hold.Reason, hold.Until = ledger.DailyLimit, r.quota.until
	case errors.As(failed, &signIn):
		hold.Reason, hold.Until = ledger.SignIn, hold.Since.Add(refusedWait)
	case !errors.As(failed, &refused), refused.kind == Temporary && !refused.overQuota:
		return nil
	case refused.overQuota:
		hold.Reason = ledger.OverQuota
		if before.Reason == hold.Reason { // no run succeeded since
			hold.Times = before.Times + 1
		}
		hold.Until = hold.Since.Add(min(overQuotaWait<<min(hold.Times-1, 5), longestHold))
	case refused.unclear:
		hold.Reason, hold.Until = ledger.LoginRefused, hold.Since.Add(unclearWait)
	default:
		hold.Reason, hold.Until = ledger.LoginRefused, hold.Since.Add(refusedWait)
	}
	if hold.Reason == ledger.LoginRefused && before.Reason == hold.Reason && r.began.Before(before.Until) { // a change had lifted that one
		hold.Times = before.Times + 1
	}
	if failed != nil {
		hold.Problem = strings.ReplaceAll(r.doing+": "+failed.Error(), "\n", "; ")
	}
	hold.Salt = make([]byte, 16)
	_, _ = rand.Read(hold.Salt) // never fails
	if hold.Mark, err = r.mark(ctx, hold); err != nil {
		return err
	}
	r.report.NotBefore = hold.Until
	r.report.LimitedUntil = r.quota.until
	return r.Ledger.SetHold(r.account.Name, hold)
}

// markRounds makes guessing a password from its mark slow, should somebody get hold of the ledger.
const markRounds = 100_000

// mark is what changes with anything that would lift a hold: the account's settings, password and token; for the daily limit, the
// limit itself; for a server's limits, nothing.
func (r *run) mark(ctx context.Context, hold ledger.Hold) ([]byte, error) {
	switch hold.Reason {
	case ledger.OverQuota:
		return nil, nil
	case ledger.DailyLimit:
		return fmt.Appendf(nil, "%d", r.account.DailyLimit), nil
	}
	settings, err := json.Marshal(r.account)
	if err != nil {
		return nil, err
	}
	secret := ""
	if r.account.OAuth != nil {
		source, err := Source(r.StateDir, r.account)
		if err != nil {
			return nil, err
		}
		secret = source.Client.Secret + "\x00" + string(source.Mark())
	} else if secret, err = password(ctx, r.account); err != nil {
		return nil, err
	}
	return pbkdf2.Key(sha256.New, string(settings)+"\x00"+secret, hold.Salt, markRounds, sha256.Size)
}
