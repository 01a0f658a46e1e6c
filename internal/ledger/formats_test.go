package ledger_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// formats returns docs/formats.md.
func formats(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/formats.md")
	ok(t, err)
	return string(page)
}

// raw opens a ledger with rows in its tables as any program could.
func raw(t *testing.T) *sql.DB {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger.db")
	ok(t, os.WriteFile(path, sound(t), 0o600))
	db, err := sql.Open("sqlite", path)
	ok(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// column returns the values of a query for one column of text.
func column(t *testing.T, db *sql.DB, query string, a ...any) []string {
	t.Helper()
	rows, err := db.Query(query, a...)
	ok(t, err)
	defer rows.Close()
	var values []string
	for rows.Next() {
		var value string
		ok(t, rows.Scan(&value))
		values = append(values, value)
	}
	ok(t, rows.Err())
	return values
}

// TestFormatsPageIsComplete: docs/formats.md explains every column of every table and view, under its heading.
func TestFormatsPageIsComplete(t *testing.T) {
	page, db := formats(t), raw(t)
	names := column(t, db, "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')")
	if len(names) < 7 {
		t.Fatalf("the ledger has only %q", names)
	}
	for _, name := range names {
		heading := "\n#### `" + name + "`\n"
		if name == "mail" {
			heading = "| column of `mail` |"
		}
		_, section, found := strings.Cut(page, heading)
		if !found {
			t.Errorf("docs/formats.md has no section on %s", name)
		}
		section, _, _ = strings.Cut(section, "\n#")
		for _, field := range column(t, db, "SELECT name FROM pragma_table_info(?)", name) {
			if !explains(section, field) {
				t.Errorf("docs/formats.md does not explain column %s of %s", field, name)
			}
		}
	}
}

// explains looks for a column in the first cell of a table's lines.
func explains(section, column string) bool {
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) > 2 && strings.Contains(cells[1], "`"+column+"`") {
			return true
		}
	}
	return false
}

// TestFormatsPageQueriesRun: the examples in docs/formats.md work. Queries that only read find something.
func TestFormatsPageQueriesRun(t *testing.T) {
	db := raw(t)
	blocks := strings.Split(formats(t), "\n```sql\n")[1:]
	if len(blocks) < 6 {
		t.Fatalf("only %d examples", len(blocks))
	}
	for _, block := range blocks {
		example, _, _ := strings.Cut(block, "\n```")
		if strings.Contains(example, "DELETE") {
			_, err := db.Exec(example)
			ok(t, err)
			continue
		}
		rows, err := db.Query(example)
		ok(t, err)
		if !rows.Next() && !strings.Contains(example, "copies") { // the ledger here has no two alike
			t.Errorf("found nothing (%v): %s", rows.Err(), example)
		}
		ok(t, rows.Close())
	}
}
