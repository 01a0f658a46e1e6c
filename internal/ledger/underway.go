package ledger

import (
	"database/sql"
	"strings"
)

// SetUnderway notes, before a server is asked for messages, that it may hide them from then on, whether they arrive or not.
// Those that are known already are left out; those noted before stay.
func (l *Ledger) SetUnderway(account string, keys []Key) error {
	if len(keys) == 0 {
		return nil
	}
	id, err := l.enrolled(account)
	if err != nil {
		return err
	}
	return l.change("recording what the server is asked for", func(tx *sql.Tx) error {
		const insert = "INSERT INTO underway (account, uid, listed_size, occurrence) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
		if err := eachKey(tx, insert, id, keys); err != nil {
			return err
		}
		return forgetKnown(tx, id)
	})
}

// Underway returns what SetUnderway noted and what is neither known nor Arrived since, by UID.
func (l *Ledger) Underway(account string) ([]Key, error) {
	return l.keys("reading what the server was asked for", `SELECT uid, listed_size, occurrence
		FROM underway JOIN accounts ON accounts.id = underway.account WHERE accounts.name = ? ORDER BY uid, listed_size, occurrence`, account)
}

// Arrived notes that messages need no looking after, though they are not stored. Commit does so for those it records.
func (l *Ledger) Arrived(account string, keys []Key) error {
	if len(keys) == 0 {
		return nil
	}
	id, err := l.enrolled(account)
	if err != nil {
		return err
	}
	return l.change("recording what has arrived", func(tx *sql.Tx) error {
		return eachKey(tx, "DELETE FROM underway WHERE account = ? AND uid = ? AND listed_size = ? AND occurrence = ?", id, keys)
	})
}

// ByUID returns the known messages with these UIDs, whatever their listed sizes.
// Of several with one UID it is one that is stored, if any is.
func (l *Ledger) ByUID(account string, uids []string) (map[string]Key, error) {
	found := map[string]Key{}
	id, err := l.id(account)
	if id == 0 || err != nil {
		return found, err
	}
	for len(uids) > 0 {
		asked := uids[:min(lookupRows, len(uids))]
		uids = uids[len(asked):]
		arguments := []any{id}
		for _, uid := range asked {
			arguments = append(arguments, uid)
		}
		keys, err := l.keys("looking up messages by UID", `SELECT uid, listed_size, occurrence FROM messages
			WHERE account = ? AND uid IN (?`+strings.Repeat(", ?", len(asked)-1)+`)
			ORDER BY mailbox IS NULL, listed_size, occurrence`, arguments...)
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			if _, had := found[key.UID]; !had {
				found[key.UID] = key
			}
		}
	}
	return found, nil
}

// keys returns what a query for UID, listed size and occurrence finds.
func (l *Ledger) keys(op, query string, arguments ...any) ([]Key, error) {
	rows, err := l.db.Query(query, arguments...)
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
