// Package ledger remembers what was stored where, what is still to be deleted on the server and what failed. It is an
// SQLite database that people can query; its schema is documented in docs/formats.md.
//
// A row in messages is written after the message is durable in its mailbox, never before; every method that changes
// the ledger has committed durably when it returns nil.
package ledger

import (
	"database/sql"
	"fmt"
	"time"
)

// Key tells one message of a maildrop from all others. A UID alone does not: servers list one UID twice, and use one
// again for another message (RFC 1939 §7 only says they should not).
type Key struct {
	UID        string // as the server lists it; one that begins with a space is popfetchd's own, see HasUIDs
	ListedSize int64  // octets, as LIST says
	Occurrence int    // counts messages of equal UID and ListedSize within one listing, from 0
}

// Deletion says how far the deletion of the server's copy has come.
type Deletion int

const (
	Kept    Deletion = iota // not asked for
	Pending                 // decided; not confirmed by an +OK to QUIT
	Deleted                 // confirmed by an +OK to QUIT
	Gone                    // was Pending or Held when the server stopped listing it: the confirmation was lost
	Held                    // due, but the copy here is not as it was stored: the server's stays
)

// Message is a stored message: a row of the table messages.
type Message struct {
	Key
	Mailbox        string // path of the Maildir or mbox
	Name           string // Maildir: file name without info
	Offset, Length int64  // mbox: of the framed message
	Size           int64  // octets as stored
	SHA256         [32]byte
	StoredAt       time.Time // to the second
	Deletion       Deletion
}

// State is what the ledger knows of a listed message.
type State struct {
	Known    bool      // never to be fetched (again)
	Stored   bool      // in a mailbox; false with Known: taken as already had
	StoredAt time.Time // zero unless Known
	Deletion Deletion
	Failure  *Failure // nil unless fetching it has failed before
}

// Reason says why a message is not here yet.
type Reason string

const (
	Refused  Reason = "refused"   // the server answered -ERR when asked for it
	Broken   Reason = "broken"    // the connection broke while it was being received
	TooLarge Reason = "too large" // it exceeds max_message_size
	Vanished Reason = "vanished"  // it was asked for in a session that broke, and is listed no more
)

// Failure tells of a message that could not be fetched so far.
type Failure struct {
	Key
	Reason   Reason
	Attempts int
	Error    string    // of the last attempt
	NextAt   time.Time // not to be tried before; zero: set aside
}

// Commit records messages that are durable in their mailboxes, in one transaction: their rows are written, the
// intent (0 is none), strays at their places, and failures of messages that are known by now removed; none of these is
// underway any more.
func (l *Ledger) Commit(account string, messages []Message, intent int64) error {
	id, err := l.enrolled(account)
	if err != nil {
		return err
	}
	return l.change("recording stored messages", func(tx *sql.Tx) error {
		if err := insertMessages(tx, id, messages); err != nil {
			return err
		}
		if err := claim(tx, messages); err != nil {
			return err
		}
		if err := forgetKnown(tx, id); err != nil {
			return err
		}
		_, err := tx.Exec("DELETE FROM intents WHERE id = ?", intent)
		return err
	})
}

func insertMessages(tx *sql.Tx, account int64, messages []Message) error {
	insert, err := tx.Prepare(`INSERT INTO messages (account, uid, listed_size, occurrence, mailbox, name, "offset", length, size, sha256, stored_at, deletion)
		VALUES (?, ?, ?, ?, ?, nullif(?, ''), ?, ?, ?, ?, ?, ?)`)
	if err != nil {
		return err
	}
	defer insert.Close()
	mailboxes := map[string]int64{}
	for _, m := range messages {
		mailbox, err := mailboxID(tx, mailboxes, m.Mailbox)
		if err != nil {
			return err
		}
		offset, length := extent(m)
		if _, err := insert.Exec(account, m.UID, m.ListedSize, m.Occurrence, mailbox, m.Name, offset, length, m.Size, m.SHA256[:], m.StoredAt.Unix(), m.Deletion); err != nil {
			return fmt.Errorf("message %q: %w", m.UID, err)
		}
	}
	return nil
}

func mailboxID(tx *sql.Tx, seen map[string]int64, path string) (int64, error) {
	if id, ok := seen[path]; ok {
		return id, nil
	}
	if _, err := tx.Exec("INSERT INTO mailboxes (path) VALUES (?) ON CONFLICT DO NOTHING", path); err != nil {
		return 0, err
	}
	var id int64
	err := tx.QueryRow("SELECT id FROM mailboxes WHERE path = ?", path).Scan(&id)
	seen[path] = id
	return id, err
}
