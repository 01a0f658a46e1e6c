package ledger

import (
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// id returns the account's row number; 0 when the ledger has never heard of it.
func (l *Ledger) id(account string) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id, ok := l.ids[account]; ok {
		return id, nil
	}
	var id int64
	err := l.db.QueryRow("SELECT id FROM accounts WHERE name = ?", account).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err == nil {
		l.ids[account] = id
	}
	return id, l.fail("looking up the account", err)
}

// enrolled returns the account's row number, to write with. Without one the account has not been enrolled.
func (l *Ledger) enrolled(account string) (int64, error) {
	id, err := l.id(account)
	if id == 0 && err == nil {
		err = l.fail("looking up the account", fmt.Errorf("account %q is not enrolled", account))
	}
	return id, err
}

// Enroll makes sure that the account has a row; every other writing method counts on it. An account that is new to the
// ledger has its mailbox marked as unsettled: it may hold mail of ours from before this ledger.
func (l *Ledger) Enroll(account, mailbox string) error {
	if id, err := l.id(account); id != 0 || err != nil {
		return err
	}
	return l.change("adding the account", func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT INTO accounts (name) VALUES (?) ON CONFLICT DO NOTHING", account)
		if err != nil {
			return err
		}
		_, err = tx.Exec("INSERT INTO unsettled (account, path) SELECT id, ? FROM accounts WHERE name = ? ON CONFLICT DO NOTHING", mailbox, account)
		return err
	})
}

// Finish notes the end of a run at a time: with an empty problem it was a success. settled says that all that was
// written to the account's mailboxes is in the ledger, see Unsettle; with a success it also ends what Moved began. A success
// lifts the account's hold.
func (l *Ledger) Finish(account string, at time.Time, problem string, settled bool) error {
	id, err := l.enrolled(account)
	if err != nil {
		return err
	}
	return l.change("recording the end of a run", func(tx *sql.Tx) error {
		if settled {
			if _, err := tx.Exec("DELETE FROM unsettled WHERE account = ?", id); err != nil {
				return err
			}
		}
		if problem != "" {
			_, err = tx.Exec("UPDATE accounts SET last_attempt = ?1, last_error = ?3, failures = failures + 1 WHERE id = ?2", at.Unix(), id, problem)
			return err
		}
		if _, err := tx.Exec("DELETE FROM holds WHERE account = ?", id); err != nil {
			return err
		}
		_, err = tx.Exec(`UPDATE accounts SET last_attempt = ?1, last_success = ?1, last_error = NULL, failures = 0,
			moved_at = iif(?3, NULL, moved_at) WHERE id = ?2`, at.Unix(), id, settled)
		return err
	})
}

// Summary is what status tells of an account. Times that never were are zero.
type Summary struct {
	Messages            int   // stored here
	Bytes               int64 // of those, as stored
	LastSuccess         time.Time
	LastAttempt         time.Time
	LastError           string // of the last run, "" when it went well
	Hold                Hold   // zero when there is none; its time may have passed
	ConsecutiveFailures int
	PendingDelete       int // the server was asked, or is to be asked, to delete them, and has not confirmed it
	HeldBack            int // not deleted on the server though due, since the copy here is not as it was stored
	SetAside            int // given up on until someone looks
}

// LastAttempt returns when the last run of the account ended; zero when none ever did.
func (l *Ledger) LastAttempt(account string) (time.Time, error) {
	var at sql.NullInt64
	err := l.db.QueryRow("SELECT last_attempt FROM accounts WHERE name = ?", account).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return moment(at), l.fail("looking up the last run", err)
}

// Summary returns the account's figures; all zero for an account the ledger has never heard of.
func (l *Ledger) Summary(account string) (Summary, error) {
	var s Summary
	var success, attempt sql.NullInt64
	var problem sql.NullString
	err := l.db.QueryRow(`
		SELECT last_success, last_attempt, last_error, failures,
			(SELECT count(*) FROM messages WHERE account = accounts.id AND mailbox IS NOT NULL),
			(SELECT coalesce(sum(size), 0) FROM messages WHERE account = accounts.id AND mailbox IS NOT NULL),
			(SELECT count(*) FROM messages WHERE account = accounts.id AND deletion = 1),
			(SELECT count(*) FROM messages WHERE account = accounts.id AND deletion = 4),
			(SELECT count(*) FROM failures WHERE account = accounts.id AND next_at IS NULL)
		FROM accounts WHERE name = ?`, account).
		Scan(&success, &attempt, &problem, &s.ConsecutiveFailures, &s.Messages, &s.Bytes, &s.PendingDelete, &s.HeldBack, &s.SetAside)
	if errors.Is(err, sql.ErrNoRows) {
		return Summary{}, nil
	}
	if err != nil {
		return s, l.fail("reading the account's figures", err)
	}
	s.LastSuccess, s.LastAttempt, s.LastError = moment(success), moment(attempt), problem.String
	s.Hold, err = l.Hold(account)
	return s, err
}

func moment(seconds sql.NullInt64) time.Time {
	if !seconds.Valid {
		return time.Time{}
	}
	return time.Unix(seconds.Int64, 0)
}
