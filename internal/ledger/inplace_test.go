package ledger_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/ledger"
)

// TestTakenAway: once a file of the ledger is another one, or none, nothing more is committed, whatever happens to it.
func TestTakenAway(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		gone string // the file that the error names
		take func(t *testing.T, path string)
	}{
		"removed":                {"ledger.db", func(t *testing.T, path string) { ok(t, os.Remove(path)) }},
		"its -wal removed":       {"ledger.db-wal", func(t *testing.T, path string) { ok(t, os.Remove(path+"-wal")) }},
		"its folder moved":       {"ledger.db", func(t *testing.T, path string) { ok(t, os.Rename(filepath.Dir(path), filepath.Dir(path)+".old")) }},
		"replaced by another":    {"ledger.db", replaced},
		"restored over":          {"ledger.db", restoredOver},
		"removed and begun anew": {"ledger.db", begunAnew},
	} {
		t.Run(what, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state", "ledger.db")
			ok(t, os.Mkdir(filepath.Dir(path), 0o700))
			l := open(t, path)
			defer l.Close()
			ok(t, l.Enroll("gmail", "/mail"))
			ok(t, l.Commit("gmail", batchOf(0), 0))
			c.take(t, path)
			for _, err := range []error{l.Commit("gmail", batchOf(1), 0), l.Finish("gmail", time.Unix(1, 0), "", true), l.SetDeletion("gmail", nil, ledger.Held), l.Fail("gmail", []ledger.Failure{{}})} {
				if err == nil {
					continue // nothing was to be done
				}
				checkHelpful(t, what, path, err)
				if !strings.Contains(err.Error(), c.gone+" was removed or replaced") || errors.Is(err, ledger.ErrDamaged) || errors.Is(err, ledger.ErrBusy) {
					t.Errorf("the error is %v", err)
				}
			}
			if s, err := l.Summary("gmail"); err != nil || s.Messages != batchSize || !s.LastAttempt.IsZero() {
				t.Errorf("something was committed all the same: %+v, %v", s, err)
			}
		})
	}
}

func replaced(t *testing.T, path string) {
	ok(t, os.WriteFile(path+".other", sound(t), 0o600))
	ok(t, os.Rename(path+".other", path))
}

// restoredOver brings a backup back, the very same ledger.
func restoredOver(t *testing.T, path string) {
	python(t, backup, path, path+".backup")
	ok(t, os.Rename(path+".backup", path))
}

// begunAnew is what a second popfetchd does that finds nothing.
func begunAnew(t *testing.T, path string) {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		ok(t, os.Remove(path+suffix))
	}
	l := open(t, path)
	t.Cleanup(func() { _ = l.Close() })
}

// TestWalRemovedIsNotLost: SQLite still has a -wal file that was removed while in use, and writes it into the ledger at the
// end. All that was said to be committed is there afterwards.
func TestWalRemovedIsNotLost(t *testing.T) {
	l, path := newLedger(t)
	ok(t, l.Commit("gmail", batchOf(0), 0))
	ok(t, os.Remove(path+"-wal"))
	if err := l.Commit("gmail", batchOf(1), 0); err == nil {
		t.Fatal("committed without a -wal file")
	}
	ok(t, l.Close())
	l = open(t, path)
	defer l.Close()
	if s, err := l.Summary("gmail"); err != nil || s.Messages != batchSize {
		t.Errorf("%+v, %v", s, err)
	}
	ok(t, l.Commit("gmail", batchOf(1), 0))
}

// TestOverwrittenWhileOpen: a ledger cut to nothing or zeroed under our feet is a damaged one at the next start.
func TestOverwrittenWhileOpen(t *testing.T) {
	for what, overwrite := range map[string]func(path string, size int64) error{
		"cut":    func(path string, _ int64) error { return os.Truncate(path, 0) },
		"zeroed": func(path string, size int64) error { return errors.Join(os.Truncate(path, 0), os.Truncate(path, size)) },
	} {
		l, path := newLedger(t)
		ok(t, l.Commit("gmail", filed(gmailKeys(300)), 0))
		ok(t, l.Close())
		l = open(t, path)
		info, err := os.Stat(path)
		ok(t, err)
		ok(t, overwrite(path, info.Size()))
		_ = l.Finish("gmail", time.Unix(1, 0), "", true)
		_ = l.Close()
		for name, open := range map[string]func(string) (*ledger.Ledger, error){"Open": ledger.Open, "OpenReadOnly": ledger.OpenReadOnly} {
			if _, err := open(path); !errors.Is(err, ledger.ErrDamaged) {
				t.Errorf("%s, %s: %v", what, name, err)
			}
		}
	}
}

// statements are what other programs do to a ledger that is in use, each in a connection of its own.
var statements = []string{
	"SELECT count(*) FROM mail",
	"PRAGMA wal_checkpoint(PASSIVE)", "PRAGMA wal_checkpoint(FULL)", "PRAGMA wal_checkpoint(RESTART)", "PRAGMA wal_checkpoint(TRUNCATE)",
	"PRAGMA journal_size_limit = 0", "PRAGMA journal_mode = WAL", "PRAGMA journal_mode = DELETE", "PRAGMA locking_mode = EXCLUSIVE",
	"VACUUM", "REINDEX", "ANALYZE", "PRAGMA optimize", "PRAGMA integrity_check",
	"CREATE TABLE remarks (text)", "DROP TABLE remarks", "UPDATE accounts SET last_error = NULL",
}

// neighbour runs statements on a ledger, a line of input each, and prints how each went. It tries again what finds a lock,
// as a process has that another test is just starting; one that is refused for as long as we have the ledger, it tries once.
const neighbour = `
import sqlite3, sys
for line in sys.stdin:
	for attempt in range(1 if "DELETE" in line else 1000):
		connection = sqlite3.connect(sys.argv[1], timeout=0.05, isolation_level=None)
		try:
			connection.execute(line).fetchall()
			outcome = "done"
		except sqlite3.Error as problem:
			outcome = str(problem)
		connection.close()
		if "locked" not in outcome:
			break
	print(outcome, flush=True)
`

// backup copies a ledger as SQLite does it.
const backup = `
import sqlite3, sys
source, target = sqlite3.connect(sys.argv[1]), sqlite3.connect(sys.argv[2])
source.backup(target)
target.close(); source.close()
`

// python runs a program to its end and returns its output.
func python(t testing.TB, program string, arguments ...string) string {
	t.Helper()
	command := pythonCommand(t, program, arguments...)
	output, err := command.Output()
	ok(t, err)
	return string(output)
}

func pythonCommand(t testing.TB, program string, arguments ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal("python3 is not installed (apt install python3): ", err)
	}
	command := exec.Command(path, append([]string{"-c", program}, arguments...)...)
	command.Stderr = os.Stderr
	return command
}

// TestNeighboursDoNotTakeItAway: no use of a ledger by others removes or replaces a file of it while it is open. A false
// alarm here would stop every account.
func TestNeighboursDoNotTakeItAway(t *testing.T) {
	t.Parallel()
	l, path := newLedger(t)
	batches, bulky := 0, filed(gmailKeys(1200))
	for i := range bulky {
		bulky[i].UID += strings.Repeat("x", 3000)
	}
	write := func(after string) {
		t.Helper()
		if err := l.Commit("gmail", batchOf(batches), 0); err != nil {
			t.Fatalf("after %s: %v", after, err)
		}
		batches++
	}
	write("opening it")
	for i, outcome := range strings.Split(strings.TrimSpace(inPython(t, path, func(i int) { write(statements[i]) })), "\n") {
		if refused := strings.Contains(statements[i], "DELETE"); (outcome != "done") != refused {
			t.Errorf("%s: %s", statements[i], outcome)
		}
	}
	for _, open := range []func(string) (*ledger.Ledger, error){ledger.Open, ledger.OpenReadOnly} {
		other, err := open(path)
		ok(t, err)
		write("a second one was opened")
		ok(t, other.Close())
		write("it was closed again")
	}
	command, output := committer(t, path, "isp", 0, 3)
	for output.Scan() {
		write("another popfetchd committed")
	}
	ok(t, command.Wait())
	write("another popfetchd ended")
	ok(t, l.Commit("gmail", bulky, 0)) // more than 1,000 pages, at which SQLite writes the -wal file back
	write("a long transaction")
	python(t, backup, path, path+".backup")
	python(t, backup, path+".backup", path) // as .restore does it, into the file in use
	write("a backup was restored into it")
	reader, err := ledger.OpenReadOnly(path)
	ok(t, err)
	defer reader.Close()
	if s, err := reader.Summary("gmail"); err != nil || s.Messages != batches*batchSize+len(bulky) {
		t.Errorf("after %d batches: %+v, %v", batches, s, err)
	}
}

// inPython has a python3 process run the statements; after is called when each is over. It returns how they went.
func inPython(t *testing.T, path string, after func(i int)) string {
	t.Helper()
	command := pythonCommand(t, neighbour, path)
	input, err := command.StdinPipe()
	ok(t, err)
	output, err := command.StdoutPipe()
	ok(t, err)
	ok(t, command.Start())
	var outcomes bytes.Buffer
	line := make([]byte, 1000)
	for i, statement := range statements {
		_, err := input.Write([]byte(statement + "\n"))
		ok(t, err)
		n, err := output.Read(line)
		ok(t, err)
		outcomes.Write(line[:n])
		after(i)
	}
	ok(t, input.Close())
	ok(t, command.Wait())
	return outcomes.String()
}

// TestComingsAndGoings writes while other processes open and close the ledger without a pause. Each of them could take
// itself for the last one, which is who removes the -wal file.
func TestComingsAndGoings(t *testing.T) {
	t.Parallel()
	const visitor = `
import sqlite3, sys, threading
over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
visits = 0
while not over.is_set() or visits < 20:
	connection = sqlite3.connect(sys.argv[1], timeout=10)
	connection.execute("SELECT count(*) FROM accounts").fetchall()
	connection.close()
	visits += 1
`
	l, path := newLedger(t)
	command := pythonCommand(t, visitor, path)
	input, err := command.StdinPipe()
	ok(t, err)
	ok(t, command.Start())
	for batch := range 60 {
		if err := l.Commit("gmail", batchOf(batch), 0); err != nil {
			t.Error(err)
			break
		}
	}
	ok(t, input.Close())
	ok(t, command.Wait())
	ok(t, l.Finish("gmail", time.Unix(1, 0), "", true))
}

// TestCopiesOpen: a copy as SQLite makes them is a ledger like the one it was made of. That of VACUUM INTO is not in WAL
// mode, and so has no -wal file, until it is opened for writing.
func TestCopiesOpen(t *testing.T) {
	l, path := newLedger(t)
	ok(t, l.Commit("gmail", batchOf(0), 0))
	python(t, backup, path, path+".backup")
	execute(t, path, "VACUUM INTO '"+path+".vacuumed'")
	for _, path := range []string{path + ".backup", path + ".vacuumed"} {
		reader, err := ledger.OpenReadOnly(path)
		ok(t, err)
		if s, err := reader.Summary("gmail"); err != nil || s.Messages != batchSize {
			t.Errorf("%+v, %v", s, err)
		}
		ok(t, reader.Close())
		l := open(t, path)
		ok(t, l.Commit("gmail", batchOf(1), 0))
		if _, err := os.Stat(path + "-wal"); err != nil {
			t.Errorf("it is not in WAL mode: %v", err)
		}
		ok(t, l.Close())
	}
}
