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
	"time"

	"github.com/popfetchd/popfetchd/internal/ledger"
)

// schemas are those that older versions had, version 1 first.
var schemas = [...]string{schema1, schema2, schema3}

//go:embed testdata/schema1.sql
var schema1 string

//go:embed testdata/schema2.sql
var schema2 string

//go:embed testdata/schema3.sql
var schema3 string

// rows1 fills every table that a ledger of version 1 has.
const rows1 = `
INSERT INTO accounts (id, name, baseline_at, last_attempt, last_success, last_error, failures) VALUES
	(1, 'gmail', NULL, 1790000100, 1790000000, 'login refused', 3), (2, 'isp', 1780000000, NULL, NULL, NULL, 0),
	(3, 'past', NULL, 1500000000, NULL, 'login refused', 1), (4, 'never ran', NULL, NULL, NULL, NULL, 0);
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

// heldUntil2 is how version 2 and older ones kept accounts from logging in.
const heldUntil2 = `
UPDATE accounts SET not_before = CASE id WHEN 1 THEN 4102444800 WHEN 3 THEN 1500003600 ELSE 4102444801 END WHERE id <> 2;
`

// rows2 are rows that only version 2 can have.
const rows2 = `
UPDATE accounts SET moved_at = 1790000200 WHERE id = 2;
UPDATE messages SET deletion = 4 WHERE uid = 'many 7';
INSERT INTO strays VALUES (2, 2, '', 700, 10, 5, 6, zeroblob(32));
`

// rows3 are rows that only version 3 can have: the holds are those that upgrading an older one makes.
const rows3 = `
INSERT INTO holds (account, reason, since, until, times, problem) VALUES
	(1, 'refused', 1790000100, 4102444800, 1, 'login refused'), (4, 'refused', 1790000300, 4102444801, 1, '');
INSERT INTO traffic VALUES (1, 1790000100, 1000000), (1, 1790000400, -7);
INSERT INTO underway VALUES (1, 'asked for', 9, 0);
INSERT INTO notes VALUES (2, 'noted', 1790000000);
`

// makeOlder makes a ledger of an older version at path, with rows in all tables.
func makeOlder(t *testing.T, path string, version int) {
	t.Helper()
	rows := rows1
	if version > 1 {
		rows += rows2
	}
	if version > 2 {
		rows += rows3
	} else {
		rows += heldUntil2
	}
	execute(t, path, fmt.Sprintf("PRAGMA journal_mode = WAL; BEGIN; %s %s PRAGMA application_id = 0x506f5066; PRAGMA user_version = %d; COMMIT", schemas[version-1], rows, version))
}

// dump returns all rows that a ledger of an older version can have, a table or view each, but for what became holds in version 3.
func dump(t *testing.T, path string, version int) map[string][]string {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	ok(t, err)
	defer db.Close()
	tables := map[string]string{
		"accounts":  "id, name, baseline_at, last_attempt, last_success, last_error, failures",
		"mailboxes": "id, path", "unsettled": "account, path",
		"messages": `account, hex(uid), listed_size, occurrence, mailbox, name, "offset", length, size, hex(sha256), stored_at, deletion`,
		"failures": "account, uid, listed_size, occurrence, reason, attempts, error, next_at",
		"intents":  `id, account, path, "offset", length, hex(sha256), spool, messages`,
		"mail":     `account, hex(uid), mailbox, name, "offset", length, size, sha256, stored_utc, on_server`,
	}
	if version > 1 {
		tables["accounts"] += ", moved_at"
		tables["strays"] = `account, mailbox, name, "offset", length, size, listed_size, hex(sha256)`
	}
	if version > 2 {
		tables["holds"] = "account, reason, since, until, times, problem, hex(mark), hex(salt)"
		tables["traffic"], tables["underway"], tables["notes"] = "account, at, octets", "account, uid, listed_size, occurrence", "account, name, at"
	}
	rows := map[string][]string{}
	for table, columns := range tables {
		rows[table] = column(t, db, "SELECT json_array("+columns+") FROM "+table+" ORDER BY 1")
		if len(rows[table]) == 0 {
			t.Fatalf("there are no rows in %s", table)
		}
	}
	return rows
}

// eachVersion runs a test for each older version.
func eachVersion(t *testing.T, test func(t *testing.T, version int)) {
	t.Parallel()
	for i := range schemas {
		t.Run(fmt.Sprint("version ", i+1), func(t *testing.T) {
			t.Parallel()
			test(t, i+1)
		})
	}
}

// TestUpgrade: a ledger of an older version is brought up to date when it is opened for writing, and nothing in it changes.
func TestUpgrade(t *testing.T) {
	eachVersion(t, testUpgrade)
}

func testUpgrade(t *testing.T, version int) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	makeOlder(t, path, version)
	before, fresh := dump(t, path, version), freshOutline(t)
	checkOlder(t, path)
	l := open(t, path)
	checkUpgraded(t, path, version, before, fresh)
	checkNew(t, l)
	ok(t, l.Close())
	ok(t, open(t, path).Close())
	checkReadable(t, path)
}

// checkNew does with an upgraded ledger what older versions could not do.
func checkNew(t *testing.T, l *ledger.Ledger) {
	t.Helper()
	held := []ledger.Key{{UID: "a", ListedSize: 100, Occurrence: 1}}
	ok(t, l.SetDeletion("gmail", held, ledger.Held))
	if keys, err := l.Deletions("gmail", ledger.Held); err != nil || !slices.Contains(keys, held[0]) {
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
	for account, want := range map[string]ledger.Hold{
		"gmail":     {Reason: ledger.LoginRefused, Since: time.Unix(1790000100, 0), Until: time.Unix(4102444800, 0), Times: 1, Problem: "login refused"},
		"never ran": {Reason: ledger.LoginRefused, Until: time.Unix(4102444801, 0), Times: 1},
		"past":      {}, "isp": {},
	} {
		hold, err := l.Hold(account)
		if account == "never ran" {
			hold.Since = time.Time{} // when it was upgraded
		}
		if err != nil || !reflect.DeepEqual(hold, want) {
			t.Errorf("account %s is held by %+v, %v; want %+v", account, hold, err, want)
		}
	}
	ok(t, l.SetUnderway("gmail", []ledger.Key{{UID: "new"}, {UID: "many 1", ListedSize: 1}}))
	if keys, err := l.Underway("gmail"); err != nil || !slices.Contains(keys, ledger.Key{UID: "new"}) || slices.Contains(keys, ledger.Key{UID: "many 1", ListedSize: 1}) {
		t.Errorf("underway: %v, %v", keys, err)
	}
	ok(t, l.AddTraffic("gmail", time.Unix(1790000100, 0), 7))
	ok(t, l.SetNote("gmail", "name", time.Unix(1790000100, 0)))
	incident := ledger.Incident{Account: "gmail", Kind: "refused", Since: time.Unix(1790000100, 0), Text: "login refused"}
	ok(t, l.RaiseIncident(incident))
	if incidents, err := l.Incidents(); err != nil || !slices.Equal(incidents, []ledger.Incident{incident}) {
		t.Errorf("incidents: %+v, %v", incidents, err)
	}
	if newest, err := l.Newest("gmail", 1); err != nil || len(newest) != 1 || newest[0].UID != "\xff\x00\xfe" {
		t.Errorf("newest: %+v, %v", newest, err)
	}
}

// checkOlder wants a ledger of an older version to be refused for reading, with the way out.
func checkOlder(t *testing.T, path string) {
	t.Helper()
	_, err := ledger.OpenReadOnly(path)
	checkHelpful(t, "an older version", path, err)
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
func checkUpgraded(t *testing.T, path string, version int, before map[string][]string, fresh []string) {
	t.Helper()
	if after := dump(t, path, version); !reflect.DeepEqual(after, before) {
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
	eachVersion(t, testUpgradeByMany)
}

func testUpgradeByMany(t *testing.T, version int) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	makeOlder(t, path, version)
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
	eachVersion(t, testUpgradeCutShort)
}

func testUpgradeCutShort(t *testing.T, version int) {
	folder := t.TempDir()
	path := filepath.Join(folder, "ledger.db")
	makeOlder(t, path, version)
	before, fresh := dump(t, path, version), freshOutline(t)
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
		checkUpgraded(t, path, version, before, fresh)
	}
	if older < 3 || newer != 1 { // the last write is the commit
		t.Errorf("version %d after %d cuts, the new one after %d", version, older, newer)
	}
}

// TestUpgradeKilled kills processes at writes from the upgrade's first to the last of closing the ledger.
func TestUpgradeKilled(t *testing.T) {
	eachVersion(t, testUpgradeKilled)
}

func testUpgradeKilled(t *testing.T, version int) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal("strace is not installed (apt install strace): ", err)
	}
	folder, fresh, killed := t.TempDir(), freshOutline(t), 0
	for write := 9; write < 25; write += 2 { // the first eight make the -shm file; strace counts for each thread by itself
		path := filepath.Join(folder, fmt.Sprint(write, ".db"))
		makeOlder(t, path, version)
		before := dump(t, path, version)
		inject := fmt.Sprintf("inject=pwrite64:signal=SIGKILL:when=%d", write)
		command := exec.Command(strace, "-f", "-qq", "-o", os.DevNull, "-e", inject, os.Args[0], "gmail", "0", "-1")
		command.Env = append(os.Environ(), committerVariable+"="+path)
		if err := command.Run(); err != nil {
			killed++
		}
		ok(t, open(t, path).Close())
		checkUpgraded(t, path, version, before, fresh)
	}
	if killed == 0 {
		t.Error("none was killed")
	}
}
