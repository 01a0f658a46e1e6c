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

// upgrade2 brings one of version 2 to version 3: accounts can be held, and there are traffic, underway and notes.
//
//go:embed upgrade2.sql
var upgrade2 string

// upgrade3 brings one of version 3 to version 4: there are incidents.
//
//go:embed upgrade3.sql
var upgrade3 string

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
	for _, step := range []string{upgrade1, upgrade2, upgrade3}[version-1:] {
		if _, err := tx.Exec(step); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(fmt.Sprintf("PRAGMA user_version=%d", schemaVersion)); err != nil {
		return err
	}
	return tx.Commit()
}
