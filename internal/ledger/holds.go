package ledger

import (
	"database/sql"
	"errors"
	"time"
)

// HoldReason says why an account is not logged in to.
type HoldReason string

const (
	LoginRefused HoldReason = "refused"     // the server refused the login, and would refuse it again
	SignIn       HoldReason = "sign-in"     // there is no token that serves: the user has to sign in
	OverQuota    HoldReason = "over quota"  // the server has suspended the account for a while
	DailyLimit   HoldReason = "daily limit" // as much was received as the file allows in a day
)

// Hold keeps an account from being logged in to until a time, or until what it logs in with changes. Whose time has passed
// stays, for Times, until it is replaced or lifted.
type Hold struct {
	Reason  HoldReason
	Since   time.Time // to the second
	Until   time.Time // rounded up to a second; zero: only a change ends it
	Times   int       // how often in a row for this reason
	Mark    []byte    // of what would end it by changing, see the caller; never a secret as it is
	Salt    []byte    // of Mark
	Problem string    // what was wrong, for people
}

// IsZero tells whether there is no hold.
func (h Hold) IsZero() bool { return h.Reason == "" }

// SetHold holds the account, in place of any other hold of it. Finish with a success lifts it, so it comes after that.
func (l *Ledger) SetHold(account string, h Hold) error {
	if h.IsZero() {
		return l.Lift(account)
	}
	id, err := l.enrolled(account)
	if err != nil {
		return err
	}
	return l.change("recording why not to log in", func(tx *sql.Tx) error {
		until := sql.NullInt64{Int64: roundedUp(h.Until), Valid: !h.Until.IsZero()}
		_, err := tx.Exec("INSERT OR REPLACE INTO holds (account, reason, since, until, times, mark, salt, problem) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			id, h.Reason, h.Since.Unix(), until, h.Times, h.Mark, h.Salt, h.Problem)
		return err
	})
}

// roundedUp is Unix time without a part of a second too little: nothing is tried too early.
func roundedUp(t time.Time) int64 { return t.Add(time.Second - 1).Unix() }

// Hold returns the account's hold, zero when there is none.
func (l *Ledger) Hold(account string) (Hold, error) {
	var h Hold
	var since, until sql.NullInt64
	err := l.db.QueryRow(`SELECT reason, since, until, times, mark, salt, problem
		FROM holds JOIN accounts ON accounts.id = holds.account WHERE accounts.name = ?`, account).
		Scan(&h.Reason, &since, &until, &h.Times, &h.Mark, &h.Salt, &h.Problem)
	if errors.Is(err, sql.ErrNoRows) {
		return Hold{}, nil
	}
	h.Since, h.Until = moment(since), moment(until)
	return h, l.fail("looking for a hold", err)
}

// Lift ends the account's hold, if there is one.
func (l *Ledger) Lift(account string) error {
	return l.change("lifting a hold", func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM holds WHERE account = (SELECT id FROM accounts WHERE name = ?)", account)
		return err
	})
}
