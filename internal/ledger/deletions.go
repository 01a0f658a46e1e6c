package ledger

import "database/sql"

// PendingDeletions returns the keys whose deletion was decided and never confirmed.
func (l *Ledger) PendingDeletions(account string) ([]Key, error) {
	id, err := l.id(account)
	if id == 0 || err != nil {
		return nil, err
	}
	const op = "reading the pending deletions"
	rows, err := l.db.Query("SELECT uid, listed_size, occurrence FROM messages WHERE account = ? AND deletion = 1", id)
	if err != nil {
		return nil, l.fail(op, err)
	}
	defer rows.Close()
	var keys []Key
	for rows.Next() {
		var key Key
		if err := rows.Scan(&key.UID, &key.ListedSize, &key.Occurrence); err != nil {
			return nil, l.fail(op, err)
		}
		keys = append(keys, key)
	}
	return keys, l.fail(op, rows.Err())
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
		update, err := tx.Prepare("UPDATE messages SET deletion = ? WHERE account = ? AND uid = ? AND listed_size = ? AND occurrence = ? AND mailbox IS NOT NULL")
		if err != nil {
			return err
		}
		defer update.Close()
		for _, key := range keys {
			if _, err := update.Exec(deletion, id, key.UID, key.ListedSize, key.Occurrence); err != nil {
				return err
			}
		}
		return nil
	})
}
