-- From schema version 1 to 2.

ALTER TABLE accounts ADD COLUMN moved_at INTEGER;

CREATE INDEX held_deletions ON messages (account) WHERE deletion = 4;

-- Messages that repair found in a mailbox and that no row of messages tells of: they become one when the server lists them.
CREATE TABLE strays (
	account     INTEGER NOT NULL REFERENCES accounts (id),
	mailbox     INTEGER NOT NULL REFERENCES mailboxes (id),
	name        TEXT    NOT NULL,              -- as in messages; empty in an mbox
	"offset"    INTEGER NOT NULL,              -- as in messages; 0 in a Maildir
	length      INTEGER NOT NULL,
	size        INTEGER NOT NULL,
	listed_size INTEGER NOT NULL,              -- mbox: as a server would list it, with CRLF line ends; 0 in a Maildir
	sha256      BLOB    NOT NULL,
	PRIMARY KEY (account, mailbox, name, "offset")
) STRICT, WITHOUT ROWID;

DROP VIEW mail;
CREATE VIEW mail AS
SELECT accounts.name AS account, messages.uid, mailboxes.path AS mailbox, messages.name, messages."offset", messages.length, messages.size,
	lower(hex(messages.sha256)) AS sha256, datetime(messages.stored_at, 'unixepoch') AS stored_utc,
	CASE messages.deletion WHEN 0 THEN 'kept' WHEN 1 THEN 'pending' WHEN 2 THEN 'deleted' WHEN 3 THEN 'gone' ELSE 'held back' END AS on_server
FROM messages JOIN accounts ON accounts.id = messages.account JOIN mailboxes ON mailboxes.id = messages.mailbox;
