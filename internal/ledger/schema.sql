-- The ledger of popfetchd, schema version 4. docs/formats.md explains every table for readers with sqlite3.

CREATE TABLE accounts (
	id            INTEGER PRIMARY KEY,
	name          TEXT    NOT NULL UNIQUE,
	baseline_at   INTEGER,                     -- access: from-now-on: when the first listing was taken as already had
	last_attempt  INTEGER,                     -- end of the last run
	last_success  INTEGER,                     -- end of the last run without an error
	last_error    TEXT,                        -- of the last run; NULL when it went well
	failures      INTEGER NOT NULL DEFAULT 0,  -- consecutive runs that failed
	moved_at      INTEGER                      -- when the server gave all messages new UIDs; NULL once every one is known by its new one
) STRICT;

CREATE TABLE mailboxes (
	id   INTEGER PRIMARY KEY,
	path TEXT    NOT NULL UNIQUE               -- of the Maildir folder or mbox file, absolute
) STRICT;

-- Every message that is durable in a mailbox, and those that from-now-on took as already had.
CREATE TABLE messages (
	account     INTEGER NOT NULL REFERENCES accounts (id),
	uid         TEXT    NOT NULL,              -- UIDL's answer, byte for byte
	listed_size INTEGER NOT NULL,              -- LIST's answer
	occurrence  INTEGER NOT NULL,              -- 0, or 1, 2 … for further messages of equal uid and listed_size in one listing
	mailbox     INTEGER REFERENCES mailboxes (id), -- NULL: already had, never fetched
	name        TEXT,                          -- Maildir: file name without the ":2,…" that mail readers append
	"offset"    INTEGER,                       -- mbox: where the From_ line begins
	length      INTEGER,                       -- mbox: from there to the end of the closing blank line
	size        INTEGER,                       -- of the message as stored: LF line ends, unquoted
	sha256      BLOB,                          -- of the same bytes
	stored_at   INTEGER NOT NULL,              -- Unix seconds
	deletion    INTEGER NOT NULL DEFAULT 0,    -- of the server's copy: 0 not asked for, 1 pending, 2 confirmed, 3 not confirmed but gone, 4 held back
	PRIMARY KEY (account, uid, listed_size, occurrence)
) STRICT, WITHOUT ROWID;

CREATE INDEX pending_deletions ON messages (account) WHERE deletion = 1;
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

-- Messages that could not be fetched so far.
CREATE TABLE failures (
	account     INTEGER NOT NULL REFERENCES accounts (id),
	uid         TEXT    NOT NULL,
	listed_size INTEGER NOT NULL,
	occurrence  INTEGER NOT NULL,
	reason      TEXT    NOT NULL,              -- refused: the server said -ERR; broken: the connection broke over it; too large; vanished: not listed since
	attempts    INTEGER NOT NULL,
	error       TEXT    NOT NULL,              -- of the last attempt
	next_at     INTEGER,                       -- not tried again before; NULL: set aside
	PRIMARY KEY (account, uid, listed_size, occurrence)
) STRICT, WITHOUT ROWID;

-- Appends to an mbox that have begun. A row outlives its append only when the program ended in between.
CREATE TABLE intents (
	id       INTEGER PRIMARY KEY,
	account  INTEGER NOT NULL REFERENCES accounts (id),
	path     TEXT    NOT NULL,
	"offset" INTEGER NOT NULL,                 -- length of the mbox before the append
	length   INTEGER NOT NULL,
	sha256   BLOB    NOT NULL,                 -- of the bytes to append
	spool    TEXT    NOT NULL,                 -- file that holds them
	messages TEXT    NOT NULL                  -- JSON: the rows of messages to write once they stand in the mbox
) STRICT;

-- Mailboxes a run has begun to write to. A row outlives its run only when the run did not end cleanly:
-- then the next one looks there for messages that arrived but were not written down.
CREATE TABLE unsettled (
	account INTEGER NOT NULL REFERENCES accounts (id),
	path    TEXT    NOT NULL,
	PRIMARY KEY (account, path)
) STRICT, WITHOUT ROWID;

-- Accounts that are not to be logged in to for now. A row whose time has passed holds nothing back.
CREATE TABLE holds (
	account INTEGER PRIMARY KEY REFERENCES accounts (id),
	reason  TEXT    NOT NULL,                  -- refused, sign-in, over quota, daily limit
	since   INTEGER NOT NULL,
	until   INTEGER,                           -- NULL: until what it logs in with changes
	times   INTEGER NOT NULL,                  -- how often in a row for this reason
	mark    BLOB,                              -- salted hash of what it logs in with; it holds no longer when that has changed
	salt    BLOB,                              -- of mark
	problem TEXT    NOT NULL                   -- what was wrong
) STRICT;

-- What was received lately, for daily_limit. Each row counts five minutes.
CREATE TABLE traffic (
	account INTEGER NOT NULL REFERENCES accounts (id),
	at      INTEGER NOT NULL,                  -- end of the five minutes
	octets  INTEGER NOT NULL,
	PRIMARY KEY (account, at)
) STRICT, WITHOUT ROWID;

-- Messages that a server was asked for and that are not stored: it may hide them from now on.
CREATE TABLE underway (
	account     INTEGER NOT NULL REFERENCES accounts (id),
	uid         TEXT    NOT NULL,
	listed_size INTEGER NOT NULL,
	occurrence  INTEGER NOT NULL,
	PRIMARY KEY (account, uid, listed_size, occurrence)
) STRICT, WITHOUT ROWID;

-- When something last happened to an account, by name.
CREATE TABLE notes (
	account INTEGER NOT NULL REFERENCES accounts (id),
	name    TEXT    NOT NULL,
	at      INTEGER NOT NULL,
	PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;

-- What is wrong, as alerts tell of it. A row is there while it goes on.
CREATE TABLE incidents (
	account TEXT    NOT NULL,                  -- its name, also of one that never ran; empty for none in particular
	kind    TEXT    NOT NULL,                  -- what is wrong: silence, refused, disk …
	since   INTEGER NOT NULL,
	told    INTEGER,                           -- when it was last told; NULL: not yet
	problem TEXT    NOT NULL,                  -- for people
	PRIMARY KEY (account, kind)
) STRICT, WITHOUT ROWID;

-- For people: one line a stored message.
CREATE VIEW mail AS
SELECT accounts.name AS account, messages.uid, mailboxes.path AS mailbox, messages.name, messages."offset", messages.length, messages.size,
	lower(hex(messages.sha256)) AS sha256, datetime(messages.stored_at, 'unixepoch') AS stored_utc,
	CASE messages.deletion WHEN 0 THEN 'kept' WHEN 1 THEN 'pending' WHEN 2 THEN 'deleted' WHEN 3 THEN 'gone' ELSE 'held back' END AS on_server
FROM messages JOIN accounts ON accounts.id = messages.account JOIN mailboxes ON mailboxes.id = messages.mailbox;
