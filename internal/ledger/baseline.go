package ledger

import (
	"database/sql"
	"time"
)

// HasBaseline tells whether the account's first listing was already taken as had.
func (l *Ledger) HasBaseline(account string) (bool, error) {
	id, err := l.id(account)
	if id == 0 || err != nil {
		return false, err
	}
	var at sql.NullInt64
	err = l.db.QueryRow("SELECT baseline_at FROM accounts WHERE id = ?", id).Scan(&at)
	return at.Valid, l.fail("looking for the baseline", err)
}

// SetBaseline takes keys as already had, at a time: they are known from now on and never fetched, for access:
// from-now-on, nor counted as failed or underway. Keys that are known already stay as they are.
func (l *Ledger) SetBaseline(account string, at time.Time, keys []Key) error {
	id, err := l.enrolled(account)
	if err != nil {
		return err
	}
	return l.change("recording the baseline", func(tx *sql.Tx) error {
		insert, err := tx.Prepare("INSERT INTO messages (account, uid, listed_size, occurrence, stored_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING")
		if err != nil {
			return err
		}
		defer insert.Close()
		for _, key := range keys {
			if _, err := insert.Exec(id, key.UID, key.ListedSize, key.Occurrence, at.Unix()); err != nil {
				return err
			}
		}
		if err := forgetKnown(tx, id); err != nil {
			return err
		}
		_, err = tx.Exec("UPDATE accounts SET baseline_at = ? WHERE id = ?", at.Unix(), id)
		return err
	})
}
