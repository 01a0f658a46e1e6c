package ledger

import "database/sql"

// Deletions returns the keys of stored messages in a state of deletion, which is Pending or Held: of the others there are
// too many.
func (l *Ledger) Deletions(account string, state Deletion) ([]Key, error) {
	query := "SELECT uid, listed_size, occurrence FROM messages WHERE account = ? AND deletion = 1"
	if state == Held {
		query = "SELECT uid, listed_size, occurrence FROM messages WHERE account = ? AND deletion = 4"
	}
	id, err := l.id(account)
	if id == 0 || err != nil {
		return nil, err
	}
	return l.keys("reading the deletions that are not confirmed", query, id)
}

// SetDeletion moves stored messages to another state of deletion, in one transaction.
func (l *Ledger) SetDeletion(account string, keys []Key, deletion Deletion) error {
	if len(keys) == 0 {
		return nil
	}
	id, err := l.enrolled(account)
	if err != nil {
		return err
	}
	return l.change("recording deletions", func(tx *sql.Tx) error {
		return update(tx, id, "deletion = ?", keys, func(int) []any { return []any{deletion} })
	})
}

// update sets columns of the stored messages with these keys; values gives what those of each are set to.
func update(tx *sql.Tx, account int64, columns string, keys []Key, values func(i int) []any) error {
	statement, err := tx.Prepare("UPDATE messages SET " + columns + " WHERE account = ? AND uid = ? AND listed_size = ? AND occurrence = ? AND mailbox IS NOT NULL")
	if err != nil {
		return err
	}
	defer statement.Close()
	for i, key := range keys {
		if _, err := statement.Exec(append(values(i), account, key.UID, key.ListedSize, key.Occurrence)...); err != nil {
			return err
		}
	}
	return nil
}
