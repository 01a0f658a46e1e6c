-- From schema version 2 to 3.

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

INSERT INTO holds (account, reason, since, until, times, problem)
	SELECT id, 'refused', coalesce(last_attempt, unixepoch()), not_before, 1, coalesce(last_error, '') FROM accounts WHERE not_before > unixepoch();
ALTER TABLE accounts DROP COLUMN not_before;
