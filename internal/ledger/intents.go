package ledger

import (
	"database/sql"
	"encoding/json"
	"time"
)

// Intent is an append to an mbox that is about to happen: what is needed to finish or undo it after a crash.
type Intent struct {
	ID             int64  // given by Intend
	Account        string // whose it is; Intend's argument counts
	Path           string // of the mbox
	Offset, Length int64  // where the bytes go, and how many
	SHA256         [32]byte
	Spool          string    // file that holds the bytes, durable
	Messages       []Message // the rows to commit once the bytes are durable in the mbox
}

// intendedRow is a Message in the JSON of an intent. The UID is base64 there, since it may be no UTF-8.
type intendedRow struct {
	UID        []byte   `json:"uid"`
	ListedSize int64    `json:"listed_size"`
	Occurrence int      `json:"occurrence"`
	Offset     int64    `json:"offset"`
	Length     int64    `json:"length"`
	Size       int64    `json:"size"`
	SHA256     []byte   `json:"sha256"`
	StoredAt   int64    `json:"stored_at"`
	Deletion   Deletion `json:"deletion"`
}

func encodeRows(messages []Message) ([]byte, error) {
	rows := make([]intendedRow, len(messages))
	for i, m := range messages {
		rows[i] = intendedRow{[]byte(m.UID), m.ListedSize, m.Occurrence, m.Offset, m.Length, m.Size, m.SHA256[:], m.StoredAt.Unix(), m.Deletion}
	}
	return json.Marshal(rows)
}

func decodeRows(data []byte, mailbox string) ([]Message, error) {
	var rows []intendedRow
	if err := json.Unmarshal(data, &rows); err != nil {
		return nil, damaged("the rows of an unfinished append: " + err.Error())
	}
	messages := make([]Message, len(rows))
	for i, r := range rows {
		messages[i] = Message{Key: Key{string(r.UID), r.ListedSize, r.Occurrence}, Mailbox: mailbox, Offset: r.Offset, Length: r.Length,
			Size: r.Size, StoredAt: time.Unix(r.StoredAt, 0), Deletion: r.Deletion}
		copy(messages[i].SHA256[:], r.SHA256)
	}
	return messages, nil
}

// Intend records an intent and returns its number, for Commit or Drop.
func (l *Ledger) Intend(account string, intent Intent) (int64, error) {
	id, err := l.enrolled(account)
	if err != nil {
		return 0, err
	}
	messages, err := encodeRows(intent.Messages)
	if err != nil {
		return 0, l.fail("recording an append", err)
	}
	var number int64
	err = l.change("recording an append", func(tx *sql.Tx) error {
		result, err := tx.Exec(`INSERT INTO intents (account, path, "offset", length, sha256, spool, messages) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			id, intent.Path, intent.Offset, intent.Length, intent.SHA256[:], intent.Spool, string(messages))
		if err != nil {
			return err
		}
		number, err = result.LastInsertId()
		return err
	})
	return number, err
}

// Intents returns the unfinished appends of the account, oldest first.
func (l *Ledger) Intents(account string) ([]Intent, error) {
	return l.intents("accounts.name = ?", account)
}

// IntentsAt returns the unfinished appends of all accounts to the mbox at path, oldest first.
func (l *Ledger) IntentsAt(path string) ([]Intent, error) {
	return l.intents("path = ?", path)
}

func (l *Ledger) intents(where, value string) ([]Intent, error) {
	const op = "reading unfinished appends"
	rows, err := l.db.Query(`SELECT intents.id, accounts.name, path, "offset", length, sha256, spool, messages
		FROM intents JOIN accounts ON accounts.id = intents.account WHERE `+where+` ORDER BY intents.id`, value)
	if err != nil {
		return nil, l.fail(op, err)
	}
	defer rows.Close()
	var intents []Intent
	for rows.Next() {
		var intent Intent
		var sum, messages []byte
		if err := rows.Scan(&intent.ID, &intent.Account, &intent.Path, &intent.Offset, &intent.Length, &sum, &intent.Spool, &messages); err != nil {
			return nil, l.fail(op, err)
		}
		copy(intent.SHA256[:], sum)
		if intent.Messages, err = decodeRows(messages, intent.Path); err != nil {
			return nil, l.fail(op, err)
		}
		intents = append(intents, intent)
	}
	return intents, l.fail(op, rows.Err())
}

// Drop forgets an intent whose append came to nothing.
func (l *Ledger) Drop(intent int64) error {
	return l.change("dropping an unfinished append", func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM intents WHERE id = ?", intent)
		return err
	})
}

// Unsettle records that a run is about to write to the mailbox at path.
func (l *Ledger) Unsettle(account, path string) error {
	id, err := l.enrolled(account)
	if err != nil {
		return err
	}
	return l.change("recording the mailbox in use", func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT INTO unsettled (account, path) VALUES (?, ?) ON CONFLICT DO NOTHING", id, path)
		return err
	})
}

// Unsettled returns the mailboxes that an earlier run may have written to without recording it.
func (l *Ledger) Unsettled(account string) ([]string, error) {
	const op = "reading the mailboxes in use"
	rows, err := l.db.Query("SELECT path FROM unsettled JOIN accounts ON accounts.id = unsettled.account WHERE accounts.name = ? ORDER BY path", account)
	if err != nil {
		return nil, l.fail(op, err)
	}
	defer rows.Close()
	var paths []string
	for rows.Next() {
		var path string
		if err := rows.Scan(&path); err != nil {
			return nil, l.fail(op, err)
		}
		paths = append(paths, path)
	}
	return paths, l.fail(op, rows.Err())
}

// Settle records that all that was written to the account's mailboxes is in the ledger.
func (l *Ledger) Settle(account string) error {
	return l.change("settling the mailboxes", func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM unsettled WHERE account = (SELECT id FROM accounts WHERE name = ?)", account)
		return err
	})
}
