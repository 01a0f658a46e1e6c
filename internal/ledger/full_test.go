package ledger

import (
	"errors"
	"fmt"
	"path/filepath"
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

// TestBusy: while another program holds the ledger for writing, a commit waits, then fails saying so. Reading goes on.
func TestBusy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := l.db.Exec("PRAGMA busy_timeout = 1"); err != nil { // else this takes ten seconds
		t.Fatal(err)
	}
	other, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.db.Begin() // immediate: it holds the ledger for writing at once
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Enroll("gmail", "/mail"); err == nil || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "another program holds it") {
		t.Errorf("the error is %v", err)
	}
	if s, err := l.Summary("gmail"); err != nil || s != (Summary{}) {
		t.Errorf("Summary: %+v, %v", s, err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := l.Enroll("gmail", "/mail"); err != nil {
		t.Errorf("once it is free: %v", err)
	}
}
