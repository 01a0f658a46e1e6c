package ledger

import (
	"database/sql"
	_ "embed"
	"fmt"
)

// upgrade1 brings a ledger of schema version 1 to version 2: deletions can be held back, and there are strays.
//
//go:embed upgrade1.sql
var upgrade1 string

// upgrade brings an older ledger up to schemaVersion, in one transaction. It looks once more inside it: another process
// may have been faster.
func upgrade(db *sql.DB) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	var version int
	if err := tx.QueryRow("PRAGMA user_version").Scan(&version); err != nil || version >= schemaVersion {
		return err
	}
	if _, err := tx.Exec(fmt.Sprintf("%s; PRAGMA user_version=%d", upgrade1, schemaVersion)); err != nil {
		return err
	}
	return tx.Commit()
}
