-- From schema version 3 to 4.

-- What is wrong, as alerts tell of it. A row is there while it goes on.
CREATE TABLE incidents (
	account TEXT    NOT NULL,                  -- its name, also of one that never ran; empty for none in particular
	kind    TEXT    NOT NULL,                  -- what is wrong: silence, refused, disk …
	since   INTEGER NOT NULL,
	told    INTEGER,                           -- when it was last told; NULL: not yet
	problem TEXT    NOT NULL,                  -- for people
	PRIMARY KEY (account, kind)
) STRICT, WITHOUT ROWID;
