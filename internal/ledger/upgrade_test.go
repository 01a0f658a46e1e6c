package ledger_test

import (
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/popfetchd/popfetchd/internal/ledger"
)

// schema1 is the schema as version 1 had it.
//
//go:embed testdata/schema1.sql
var schema1 string

// rows1 fills every table of a ledger of version 1.
const rows1 = `
INSERT INTO accounts VALUES (1, 'gmail', NULL, 1790000100, 1790000000, 'login refused', 3, 1790003600), (2, 'isp', 1780000000, NULL, NULL, NULL, 0, NULL);
INSERT INTO mailboxes VALUES (1, '/mail/gmail'), (2, '/mail/box');
INSERT INTO messages VALUES
	(1, 'a', 100, 0, 1, 'one', NULL, NULL, 90, zeroblob(32), 1790000000, 0),
	(1, 'a', 100, 1, 1, 'two', NULL, NULL, 90, zeroblob(32), 1790000000, 1),
	(1, CAST(x'ff00fe' AS TEXT), 7, 0, 1, 'three', NULL, NULL, 90, zeroblob(32), 1790000001, 2),
	(2, 'a', 100, 0, 2, NULL, 0, 140, 90, zeroblob(32), 1790000002, 3),
	(2, 'had', 100, 0, NULL, NULL, NULL, NULL, NULL, NULL, 1780000000, 0);
INSERT INTO failures VALUES (1, 'bad', 5, 0, 'refused', 5, 'no such message', NULL), (2, 'late', 5, 0, 'broken', 1, 'the line broke', 1790009999);
INSERT INTO intents VALUES (4, 2, '/mail/box', 140, 150, zeroblob(32), '/state/spool', '[{"uid":"Yg==","listed_size":9,"offset":140,"length":150}]');
INSERT INTO unsettled VALUES (1, '/mail/gmail'), (2, '/mail/box');
WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 300)
	INSERT INTO messages SELECT 1, 'many ' || i, i, 0, 1, 'many ' || i, NULL, NULL, i, zeroblob(32), 1790000000, i % 4 FROM n;
`

// version1 makes a ledger of version 1 at path, with rows in all tables.
func version1(t *testing.T, path string) {
	t.Helper()
	execute(t, path, "PRAGMA journal_mode = WAL; BEGIN;"+schema1+rows1+"PRAGMA application_id = 0x506f5066; PRAGMA user_version = 1; COMMIT")
}

// dump returns all rows that a ledger of version 1 can have, a table or view each.
func dump(t *testing.T, path string) map[string][]string {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	ok(t, err)
	defer db.Close()
	rows := map[string][]string{}
	for table, columns := range map[string]string{
		"accounts":  "id, name, baseline_at, last_attempt, last_success, last_error, failures, not_before",
		"mailboxes": "id, path", "unsettled": "account, path",
		"messages": `account, hex(uid), listed_size, occurrence, mailbox, name, "offset", length, size, hex(sha256), stored_at, deletion`,
		"failures": "account, uid, listed_size, occurrence, reason, attempts, error, next_at",
		"intents":  `id, account, path, "offset", length, hex(sha256), spool, messages`,
		"mail":     `account, hex(uid), mailbox, name, "offset", length, size, sha256, stored_utc, on_server`,
	} {
		rows[table] = column(t, db, "SELECT json_array("+columns+") FROM "+table+" ORDER BY 1")
		if len(rows[table]) == 0 {
			t.Fatalf("there are no rows in %s", table)
		}
	}
	return rows
}

// TestUpgrade: a ledger of version 1 is brought up to date when it is opened for writing, and nothing in it changes.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	version1(t, path)
	before, fresh := dump(t, path), freshOutline(t)
	checkOlder(t, path)
	l := open(t, path)
	checkUpgraded(t, path, before, fresh)
	held := []ledger.Key{{UID: "a", ListedSize: 100, Occurrence: 1}}
	ok(t, l.SetDeletion("gmail", held, ledger.Held))
	if keys, err := l.Deletions("gmail", ledger.Held); err != nil || !slices.Equal(keys, held) {
		t.Errorf("held back: %v, %v", keys, err)
	}
	strays := []ledger.Message{{Mailbox: "/mail/box", Offset: 290, Length: 10, Size: 5}}
	ok(t, l.SetStrays("isp", strays))
	if found, err := l.Strays("isp"); err != nil || !slices.Equal(found, strays) {
		t.Errorf("strays: %v, %v", found, err)
	}
	if states, err := l.States("gmail", []ledger.Key{{UID: "\xff\x00\xfe", ListedSize: 7}}); err != nil || states[0].Deletion != ledger.Deleted {
		t.Errorf("states: %+v, %v", states, err)
	}
	ok(t, l.Close())
	ok(t, open(t, path).Close())
	checkReadable(t, path)
}

// checkOlder wants a ledger of version 1 to be refused for reading, with the way out.
func checkOlder(t *testing.T, path string) {
	t.Helper()
	_, err := ledger.OpenReadOnly(path)
	checkHelpful(t, "version 1", path, err)
	if !strings.Contains(err.Error(), "written by an older popfetchd; the next run brings it up to date") || errors.Is(err, ledger.ErrDamaged) {
		t.Errorf("read-only: %v", err)
	}
}

func checkReadable(t *testing.T, path string) {
	t.Helper()
	l, err := ledger.OpenReadOnly(path)
	ok(t, err)
	if s, err := l.Summary("gmail"); err != nil || s.Messages < 300 {
		t.Errorf("%+v, %v", s, err)
	}
	ok(t, l.Close())
}

// checkUpgraded wants the rows of before, and the outline of a fresh ledger.
func checkUpgraded(t *testing.T, path string, before map[string][]string, fresh []string) {
	t.Helper()
	if after := dump(t, path); !reflect.DeepEqual(after, before) {
		t.Errorf("the rows were\n%q\nand are\n%q", before, after)
	}
	if got := outline(t, path); !slices.Equal(got, fresh) {
		t.Errorf("the upgraded schema is\n%s\nthat of a new ledger\n%s", strings.Join(got, "\n"), strings.Join(fresh, "\n"))
	}
}

func freshOutline(t *testing.T) []string {
	t.Helper()
	_, path := newLedger(t)
	return outline(t, path)
}

// outline lists all that a schema consists of but its comments: columns with their types, keys, indices with their
// conditions, the view's text, the version.
func outline(t *testing.T, path string) []string {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	ok(t, err)
	defer db.Close()
	return slices.Concat(
		column(t, db, `SELECT tables.name || json_array(strict, wr, columns.cid, columns.name, columns.type, "notnull", dflt_value, pk)
			FROM pragma_table_list AS tables, pragma_table_info(tables.name) AS columns WHERE tables.schema = 'main' ORDER BY 1`),
		column(t, db, `SELECT tables.name || json_array("from", keys."table", "to")
			FROM pragma_table_list AS tables, pragma_foreign_key_list(tables.name) AS keys WHERE tables.schema = 'main' ORDER BY 1`),
		column(t, db, "SELECT sql FROM sqlite_schema WHERE type NOT IN ('table') AND sql NOT NULL ORDER BY 1"),
		column(t, db, "SELECT user_version || ' ' || application_id FROM pragma_user_version, pragma_application_id"))
}

// TestUpgradeByMany: processes that find an old ledger at the same time upgrade it once between them.
func TestUpgradeByMany(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	version1(t, path)
	var openers sync.WaitGroup
	for _, account := range []string{"x", "y", "z"} {
		command, output := committer(t, path, account, 0, 1)
		openers.Go(func() {
			for output.Scan() {
			}
			if err := command.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
	openers.Wait()
	l := open(t, path)
	defer l.Close()
	for account, want := range map[string]int{"gmail": 303, "isp": 1, "x": 2 * batchSize, "y": 2 * batchSize, "z": 2 * batchSize} {
		if n, err := l.Count(account); err != nil || n != want {
			t.Errorf("account %s has %d messages of %d (%v)", account, n, want, err)
		}
	}
}

// TestUpgradeCutShort cuts the upgrade off at every place of the -wal file, which is what a kill or a power cut leaves:
// the ledger is of the one version or the other, whole, and the next Open finishes the work.
func TestUpgradeCutShort(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "ledger.db")
	version1(t, path)
	before, fresh := dump(t, path), freshOutline(t)
	l := open(t, path)
	db, err := os.ReadFile(path)
	ok(t, err)
	wal, err := os.ReadFile(path + "-wal")
	ok(t, err)
	ok(t, l.Close())
	older, newer := 0, 0
	for cut := 0; cut <= len(wal); cut += min(max(len(wal)-cut, 1), 1500+rand.IntN(3000)) {
		path := filepath.Join(folder, fmt.Sprintf("cut at %d.db", cut))
		ok(t, os.WriteFile(path, db, 0o600))
		ok(t, os.WriteFile(path+"-wal", wal[:cut], 0o600))
		if l, err := ledger.OpenReadOnly(path); err == nil {
			newer++
			ok(t, l.Close())
		} else {
			older++
			checkOlder(t, path)
		}
		ok(t, open(t, path).Close())
		checkUpgraded(t, path, before, fresh)
	}
	if older < 3 || newer != 1 { // the last write is the commit
		t.Errorf("version 1 after %d cuts, version 2 after %d", older, newer)
	}
}

// TestUpgradeKilled kills processes at writes from the upgrade's first to the last of closing the ledger.
func TestUpgradeKilled(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal("strace is not installed (apt install strace): ", err)
	}
	folder, fresh, killed := t.TempDir(), freshOutline(t), 0
	for write := 9; write < 25; write += 3 { // the first eight make the -shm file
		path := filepath.Join(folder, fmt.Sprint(write, ".db"))
		version1(t, path)
		before := dump(t, path)
		inject := fmt.Sprintf("inject=pwrite64:signal=SIGKILL:when=%d", write)
		command := exec.Command(strace, "-f", "-qq", "-o", os.DevNull, "-e", inject, os.Args[0], "gmail", "0", "-1")
		command.Env = append(os.Environ(), committerVariable+"="+path)
		if err := command.Run(); err != nil {
			killed++
		}
		ok(t, open(t, path).Close())
		checkUpgraded(t, path, before, fresh)
	}
	if killed < 3 {
		t.Errorf("only %d were killed", killed)
	}
}
