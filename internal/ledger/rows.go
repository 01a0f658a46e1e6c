package ledger

import (
	"database/sql"
	"errors"
	"iter"
	"time"
)

// columns are those that scanMessage reads, of messages JOIN mailboxes.
const columns = `uid, listed_size, occurrence, path, coalesce(messages.name, ''), coalesce("offset", 0), coalesce(length, 0), size, sha256, stored_at, deletion`

func scanMessage(scan func(...any) error) (m Message, err error) {
	var sum []byte
	var at int64
	err = scan(&m.UID, &m.ListedSize, &m.Occurrence, &m.Mailbox, &m.Name, &m.Offset, &m.Length, &m.Size, &sum, &at, &m.Deletion)
	copy(m.SHA256[:], sum)
	m.StoredAt = time.Unix(at, 0)
	return m, err
}

// Stored yields every message of the account that is in a mailbox, by mailbox and place in it. The loop's body must not
// use the ledger: it would wait for the loop's end.
func (l *Ledger) Stored(account string) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		const op = "reading the stored messages"
		rows, err := l.db.Query(`SELECT `+columns+`
			FROM messages JOIN mailboxes ON mailboxes.id = messages.mailbox JOIN accounts ON accounts.id = messages.account
			WHERE accounts.name = ? ORDER BY path, "offset", messages.name`, account)
		if err != nil {
			yield(Message{}, l.fail(op, err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			m, err := scanMessage(rows.Scan)
			if !yield(m, l.fail(op, err)) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(Message{}, l.fail(op, err))
		}
	}
}

// Rows returns the stored messages with these keys; those that are not stored are left out.
func (l *Ledger) Rows(account string, keys []Key) ([]Message, error) {
	const op = "reading stored messages"
	id, err := l.id(account)
	if id == 0 || err != nil || len(keys) == 0 {
		return nil, err
	}
	query, err := l.db.Prepare(`SELECT ` + columns + ` FROM messages JOIN mailboxes ON mailboxes.id = messages.mailbox
		WHERE account = ? AND uid = ? AND listed_size = ? AND occurrence = ?`)
	if err != nil {
		return nil, l.fail(op, err)
	}
	defer query.Close()
	var messages []Message
	for _, key := range keys {
		m, err := scanMessage(query.QueryRow(id, key.UID, key.ListedSize, key.Occurrence).Scan)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, l.fail(op, err)
		}
		messages = append(messages, m)
	}
	return messages, nil
}

// WithUIDs returns the stored messages whose UIDs begin with prefix, which is ASCII and not empty.
func (l *Ledger) WithUIDs(account, prefix string) ([]Message, error) {
	const op = "reading stored messages by UID"
	last := len(prefix) - 1
	behind := prefix[:last] + string(rune(prefix[last]+1)) // sorts behind all that begin with prefix
	rows, err := l.db.Query(`SELECT `+columns+` FROM messages JOIN mailboxes ON mailboxes.id = messages.mailbox
		WHERE account = (SELECT id FROM accounts WHERE name = ?) AND uid >= ? AND uid < ?`, account, prefix, behind)
	if err != nil {
		return nil, l.fail(op, err)
	}
	defer rows.Close()
	var messages []Message
	for rows.Next() {
		m, err := scanMessage(rows.Scan)
		if err != nil {
			return nil, l.fail(op, err)
		}
		messages = append(messages, m)
	}
	return messages, l.fail(op, rows.Err())
}

// Count returns how many messages of the account are stored.
func (l *Ledger) Count(account string) (n int, err error) {
	err = l.db.QueryRow("SELECT count(*) FROM messages JOIN accounts ON accounts.id = messages.account WHERE accounts.name = ? AND mailbox IS NOT NULL", account).Scan(&n)
	return n, l.fail("counting the stored messages", err)
}

// HasUIDs tells whether the account knows a message by a UID that its server gave, and not only by those that begin with
// a space: these are popfetchd's own, for servers without UIDL.
func (l *Ledger) HasUIDs(account string) (has bool, err error) {
	err = l.db.QueryRow(`SELECT EXISTS (SELECT 1 FROM messages JOIN accounts ON accounts.id = messages.account
		WHERE accounts.name = ? AND substr(uid, 1, 1) <> ' ')`, account).Scan(&has)
	return has, l.fail("looking for UIDs", err)
}

// Rekey gives stored messages the keys by which the server lists them now: from[i] becomes to[i], which no message has.
// Failures by the new keys are forgotten.
func (l *Ledger) Rekey(account string, from, to []Key) error {
	if len(from) == 0 {
		return nil
	}
	id, err := l.enrolled(account)
	if err != nil {
		return err
	}
	return l.change("recording new keys", func(tx *sql.Tx) error { return rekey(tx, id, from, to) })
}

func rekey(tx *sql.Tx, account int64, from, to []Key) error {
	err := update(tx, account, "uid = ?, listed_size = ?, occurrence = ?", from, func(i int) []any {
		return []any{to[i].UID, to[i].ListedSize, to[i].Occurrence}
	})
	if err != nil {
		return err
	}
	return forgetKnown(tx, account)
}

// Moved notes, at a time, that the server has given all messages new UIDs, and rekeys those that were recognised. It holds
// until a run succeeds.
func (l *Ledger) Moved(account string, at time.Time, from, to []Key) error {
	id, err := l.enrolled(account)
	if err != nil {
		return err
	}
	return l.change("recording new UIDs", func(tx *sql.Tx) error {
		if _, err := tx.Exec("UPDATE accounts SET moved_at = ? WHERE id = ?", at.Unix(), id); err != nil {
			return err
		}
		return rekey(tx, id, from, to)
	})
}

// HasMoved tells whether Moved still holds.
func (l *Ledger) HasMoved(account string) (moved bool, err error) {
	err = l.db.QueryRow("SELECT EXISTS (SELECT 1 FROM accounts WHERE name = ? AND moved_at IS NOT NULL)", account).Scan(&moved)
	return moved, l.fail("looking for new UIDs", err)
}

// Redate sets the time at which messages are taken to have been stored.
func (l *Ledger) Redate(account string, keys []Key, at time.Time) error {
	if len(keys) == 0 {
		return nil
	}
	id, err := l.enrolled(account)
	if err != nil {
		return err
	}
	return l.change("correcting times", func(tx *sql.Tx) error {
		return update(tx, id, "stored_at = ?", keys, func(int) []any { return []any{at.Unix()} })
	})
}

// Relocate records that stored messages lie elsewhere by now: of each the key and the location count.
func (l *Ledger) Relocate(account string, messages []Message) error {
	if len(messages) == 0 {
		return nil
	}
	id, err := l.enrolled(account)
	if err != nil {
		return err
	}
	return l.change("recording where messages were moved", func(tx *sql.Tx) error {
		var moved []Message
		mailboxes := map[string]int64{}
		for _, m := range messages {
			mailbox, err := mailboxID(tx, mailboxes, m.Mailbox)
			if err != nil {
				return err
			}
			offset, length := extent(m)
			result, err := tx.Exec(`UPDATE messages SET mailbox = ?, name = nullif(?, ''), "offset" = ?, length = ?
				WHERE account = ? AND uid = ? AND listed_size = ? AND occurrence = ? AND mailbox IS NOT NULL`,
				mailbox, m.Name, offset, length, id, m.UID, m.ListedSize, m.Occurrence)
			if err != nil {
				return err
			}
			if n, err := result.RowsAffected(); err != nil {
				return err
			} else if n > 0 {
				moved = append(moved, m)
			}
		}
		return claim(tx, moved)
	})
}

// extent returns a message's place in an mbox; NULLs in a Maildir.
func extent(m Message) (offset, length sql.NullInt64) {
	if m.Name != "" {
		return offset, length
	}
	return sql.NullInt64{Int64: m.Offset, Valid: true}, sql.NullInt64{Int64: m.Length, Valid: true}
}
