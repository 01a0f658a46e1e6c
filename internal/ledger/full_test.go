package ledger

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestFull: with the disk full a commit fails as ENOSPC and leaves nothing; with room again all goes on.
func TestFull(t *testing.T) {
	l, err := Open(filepath.Join(t.TempDir(), "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Enroll("gmail", "/mail"); err != nil {
		t.Fatal(err)
	}
	messages := make([]Message, 500)
	for i := range messages {
		messages[i] = Message{Key: Key{UID: fmt.Sprintf("uid %d", i)}, Mailbox: "/mail", Name: "n", StoredAt: time.Unix(1, 0)}
	}
	limit := func(pages int) {
		if _, err := l.db.Exec(fmt.Sprintf("PRAGMA max_page_count = %d", pages)); err != nil {
			t.Fatal(err)
		}
	}
	limit(12) // to SQLite the end of the disk
	for range 2 {
		var problem *Error
		if err := l.Commit("gmail", messages, 0); !errors.Is(err, syscall.ENOSPC) || !errors.As(err, &problem) || errors.Is(err, ErrDamaged) {
			t.Fatalf("the error is %v", err)
		}
		if s, err := l.Summary("gmail"); err != nil || s.Messages != 0 {
			t.Fatalf("%d messages are there in part (%v)", s.Messages, err)
		}
	}
	limit(1 << 30)
	if err := l.Commit("gmail", messages, 0); err != nil {
		t.Fatal(err)
	}
	if s, err := l.Summary("gmail"); err != nil || s.Messages != len(messages) {
		t.Fatalf("%d messages with room again (%v)", s.Messages, err)
	}
}

// holder holds a ledger by the statements in its argument until its input ends.
const holder = `
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
	connection.execute(statement).fetchall()
print("held", flush=True)
sys.stdin.read()
connection.close()
`

// hold has another program hold the ledger until release is called.
func hold(t *testing.T, path string, statements ...string) (release func()) {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal("python3 is not installed (apt install python3): ", err)
	}
	command := exec.Command(python, append([]string{"-c", holder, path}, statements...)...)
	command.Stderr = os.Stderr
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(output).ReadString('\n'); err != nil {
		t.Fatalf("%s holds nothing: %q, %v", python, line, err)
	}
	return func() {
		if err := errors.Join(input.Close(), command.Wait()); err != nil {
			t.Error(err)
		}
	}
}

func checkBusy(t *testing.T, what string, err error) {
	t.Helper()
	var problem *Error
	if !errors.Is(err, ErrBusy) || !errors.As(err, &problem) || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "; end what has it open for writing") {
		t.Errorf("%s: %v", what, err)
	}
}

// openImpatient opens a ledger that does not wait ten seconds for others.
func openImpatient(path string) (*Ledger, error) {
	return open(path, 1, "_txlock=immediate", (*Ledger).prepare)
}

// TestBusy: while another program holds the ledger for writing, a commit waits, then fails saying so. Reading goes on.
func TestBusy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	first, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	l, err := openImpatient(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, begin := range []string{"BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"} {
		release := hold(t, path, begin)
		checkBusy(t, begin, l.Enroll("gmail", "/mail"))
		if s, err := l.Summary("gmail"); err != nil || !reflect.DeepEqual(s, Summary{}) {
			t.Errorf("Summary: %+v, %v", s, err)
		}
		reader, err := OpenReadOnly(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
		release()
	}
	if err := l.Enroll("gmail", "/mail"); err != nil {
		t.Errorf("once it is free: %v", err)
	}
	if err := first.Finish("gmail", time.Unix(1, 0), "", true); err != nil {
		t.Errorf("the patient one: %v", err)
	}
}

// TestBusyToOpen: a ledger that another program has for itself alone is busy, not damaged, to whoever opens it.
func TestBusyToOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	release := hold(t, path, "PRAGMA locking_mode = EXCLUSIVE", "BEGIN EXCLUSIVE")
	_, err = openImpatient(path)
	checkBusy(t, "opening", err)
	_, err = open(path, 1, "_pragma=query_only(1)", func(*Ledger, int) error { return nil })
	checkBusy(t, "opening for reading", err)
	release()
	if l, err = Open(path); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// TestPatience: a commit of the default patience outlasts another program's short transaction.
func TestPatience(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	release := hold(t, path, "BEGIN IMMEDIATE")
	done := make(chan error)
	go func() { done <- l.Enroll("gmail", "/mail") }()
	release()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
