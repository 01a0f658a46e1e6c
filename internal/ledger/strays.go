package ledger

import "database/sql"

// place is where a message lies, as strays and messages have it in common.
type place struct {
	mailbox int64
	name    string
	offset  int64
}

// SetStrays replaces what is known of messages that lie in the account's mailboxes without a row of their own. Their
// locations, sizes (as stored and as a server would list it) and hashes count. Those at the place of a row, whosever it is,
// are left out; of two at one place (a Maildir may have a name in new/ and in cur/) the first is taken.
func (l *Ledger) SetStrays(account string, strays []Message) error {
	id, err := l.enrolled(account)
	if err != nil {
		return err
	}
	return l.change("recording what was found in the mailboxes", func(tx *sql.Tx) error {
		if _, err := tx.Exec("DELETE FROM strays WHERE account = ?", id); err != nil {
			return err
		}
		taken, err := places(tx)
		if err != nil {
			return err
		}
		return insertStrays(tx, id, strays, taken)
	})
}

// places returns the places of all rows.
func places(tx *sql.Tx) (map[place]bool, error) {
	rows, err := tx.Query(`SELECT mailbox, coalesce(name, ''), coalesce("offset", 0) FROM messages WHERE mailbox IS NOT NULL`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	taken := map[place]bool{}
	for rows.Next() {
		var p place
		if err := rows.Scan(&p.mailbox, &p.name, &p.offset); err != nil {
			return nil, err
		}
		taken[p] = true
	}
	return taken, rows.Err()
}

func insertStrays(tx *sql.Tx, account int64, strays []Message, taken map[place]bool) error {
	insert, err := tx.Prepare(`INSERT INTO strays (account, mailbox, name, "offset", length, size, listed_size, sha256) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`)
	if err != nil {
		return err
	}
	defer insert.Close()
	mailboxes := map[string]int64{}
	for _, m := range strays {
		mailbox, err := mailboxID(tx, mailboxes, m.Mailbox)
		if err != nil {
			return err
		}
		if taken[place{mailbox, m.Name, m.Offset}] {
			continue
		}
		if _, err := insert.Exec(account, mailbox, m.Name, m.Offset, m.Length, m.Size, m.ListedSize, m.SHA256[:]); err != nil {
			return err
		}
	}
	return nil
}

// Strays returns what SetStrays recorded and no Commit or Relocate has given a row since, by mailbox and place in it. Of
// their keys nothing but ListedSize is set.
func (l *Ledger) Strays(account string) ([]Message, error) {
	const op = "reading what was found in the mailboxes"
	rows, err := l.db.Query(`SELECT path, strays.name, "offset", length, size, listed_size, sha256
		FROM strays JOIN mailboxes ON mailboxes.id = strays.mailbox JOIN accounts ON accounts.id = strays.account
		WHERE accounts.name = ? ORDER BY path, strays.name, "offset"`, account)
	if err != nil {
		return nil, l.fail(op, err)
	}
	defer rows.Close()
	var strays []Message
	for rows.Next() {
		var m Message
		var sum []byte
		if err := rows.Scan(&m.Mailbox, &m.Name, &m.Offset, &m.Length, &m.Size, &m.ListedSize, &sum); err != nil {
			return nil, l.fail(op, err)
		}
		copy(m.SHA256[:], sum)
		strays = append(strays, m)
	}
	return strays, l.fail(op, rows.Err())
}

// claim takes the messages' places off the strays, whosever they are: they have rows now.
func claim(tx *sql.Tx, messages []Message) error {
	var any bool
	if err := tx.QueryRow("SELECT EXISTS (SELECT 1 FROM strays)").Scan(&any); err != nil || !any {
		return err
	}
	remove, err := tx.Prepare(`DELETE FROM strays WHERE account IN (SELECT id FROM accounts)
		AND mailbox = (SELECT id FROM mailboxes WHERE path = ?) AND name = ? AND "offset" = ?`)
	if err != nil {
		return err
	}
	defer remove.Close()
	for _, m := range messages {
		if _, err := remove.Exec(m.Mailbox, m.Name, m.Offset); err != nil {
			return err
		}
	}
	return nil
}
