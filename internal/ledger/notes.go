package ledger

import (
	"database/sql"
	"errors"
	"time"
)

// SetNote remembers under a name when something happened to the account; a zero time forgets it.
func (l *Ledger) SetNote(account, name string, at time.Time) error {
	id, err := l.enrolled(account)
	if err != nil {
		return err
	}
	return l.change("making a note", func(tx *sql.Tx) error {
		if at.IsZero() {
			_, err := tx.Exec("DELETE FROM notes WHERE account = ? AND name = ?", id, name)
			return err
		}
		_, err := tx.Exec("INSERT OR REPLACE INTO notes (account, name, at) VALUES (?, ?, ?)", id, name, at.Unix())
		return err
	})
}

// Note returns what SetNote remembers under a name, to the second; zero when it is nothing.
func (l *Ledger) Note(account, name string) (time.Time, error) {
	var at sql.NullInt64
	err := l.db.QueryRow("SELECT at FROM notes JOIN accounts ON accounts.id = notes.account WHERE accounts.name = ? AND notes.name = ?", account, name).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return moment(at), l.fail("reading a note", err)
}
