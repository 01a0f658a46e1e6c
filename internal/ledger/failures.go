package ledger

import (
	"database/sql"
	"time"
)

// Fail records that fetching messages failed once more; a zero NextAt sets the message aside.
func (l *Ledger) Fail(account string, failures []Failure) error {
	if len(failures) == 0 {
		return nil
	}
	id, err := l.enrolled(account)
	if err != nil {
		return err
	}
	return l.change("recording messages that failed", func(tx *sql.Tx) error {
		for _, f := range failures {
			next := sql.NullInt64{Int64: f.NextAt.Unix(), Valid: !f.NextAt.IsZero()}
			_, err := tx.Exec(`INSERT INTO failures (account, uid, listed_size, occurrence, reason, attempts, error, next_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
				ON CONFLICT DO UPDATE SET reason = excluded.reason, attempts = excluded.attempts, error = excluded.error, next_at = excluded.next_at`,
				id, f.UID, f.ListedSize, f.Occurrence, f.Reason, f.Attempts, f.Error, next)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Forget removes the records of failures of messages that are no longer of interest, since the server has them no more.
func (l *Ledger) Forget(account string, keys []Key) error {
	if len(keys) == 0 {
		return nil
	}
	id, err := l.enrolled(account)
	if err != nil {
		return err
	}
	return l.change("forgetting failures", func(tx *sql.Tx) error {
		return eachKey(tx, "DELETE FROM failures WHERE account = ? AND uid = ? AND listed_size = ? AND occurrence = ?", id, keys)
	})
}

// eachKey runs a statement for each key, whose parameters are the account and the three parts of the key.
func eachKey(tx *sql.Tx, statement string, account int64, keys []Key) error {
	each, err := tx.Prepare(statement)
	if err != nil {
		return err
	}
	defer each.Close()
	for _, key := range keys {
		if _, err := each.Exec(account, key.UID, key.ListedSize, key.Occurrence); err != nil {
			return err
		}
	}
	return nil
}

// forgetKnown takes messages that are known by now out of failures and underway. What a server with windows hid may have come
// back with another size: there a UID says it all. There are few in these, so they are held against messages, not messages
// against them.
func forgetKnown(tx *sql.Tx, account int64) error {
	const known = ` AS waiting WHERE account = ?1 AND EXISTS (SELECT 1 FROM messages WHERE account = ?1 AND uid = waiting.uid`
	for _, forget := range [...]string{
		"DELETE FROM failures" + known + " AND (waiting.reason = ?2 OR listed_size = waiting.listed_size AND occurrence = waiting.occurrence))",
		"DELETE FROM underway" + known + ")",
	} {
		if _, err := tx.Exec(forget, account, Vanished); err != nil {
			return err
		}
	}
	return nil
}

// Retry takes messages that failed up again, as if they never had: all of the account, or those with these UIDs. It
// returns how many; those over a size limit are not among them.
func (l *Ledger) Retry(account string, uids []string) (n int, err error) {
	id, err := l.id(account)
	if id == 0 || err != nil {
		return 0, err
	}
	err = l.change("taking messages up again", func(tx *sql.Tx) error {
		remove := func(where string, arguments ...any) error {
			result, err := tx.Exec("DELETE FROM failures WHERE account = ? AND reason <> ?"+where, append([]any{id, TooLarge}, arguments...)...)
			if err != nil {
				return err
			}
			removed, err := result.RowsAffected()
			n += int(removed)
			return err
		}
		if len(uids) == 0 {
			return remove("")
		}
		for _, uid := range uids {
			if err := remove(" AND uid = ?", uid); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

// Failures returns the messages that could not be fetched so far, by UID.
func (l *Ledger) Failures(account string) ([]Failure, error) {
	const op = "reading the messages that failed"
	rows, err := l.db.Query(`SELECT uid, listed_size, occurrence, reason, attempts, error, next_at
		FROM failures JOIN accounts ON accounts.id = failures.account WHERE accounts.name = ? ORDER BY uid, listed_size, occurrence`, account)
	if err != nil {
		return nil, l.fail(op, err)
	}
	defer rows.Close()
	var failures []Failure
	for rows.Next() {
		var f Failure
		var next sql.NullInt64
		if err := rows.Scan(&f.UID, &f.ListedSize, &f.Occurrence, &f.Reason, &f.Attempts, &f.Error, &next); err != nil {
			return nil, l.fail(op, err)
		}
		if next.Valid {
			f.NextAt = time.Unix(next.Int64, 0)
		}
		failures = append(failures, f)
	}
	return failures, l.fail(op, rows.Err())
}
