package store

import (
	"path/filepath"
	"testing"
)

const testHost = "mail.example.org"

func testOptions(t testing.TB) Options {
	return Options{Account: "test", SpoolDir: filepath.Join(t.TempDir(), "spool"), Hostname: testHost}
}

func newMaildir(t testing.TB) *Maildir {
	m, err := OpenMaildir(filepath.Join(t.TempDir(), "Mail", "box"), testOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func newMbox(t testing.TB) *Mbox {
	m, err := OpenMbox(filepath.Join(t.TempDir(), "Mail", "box"), testOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	return m
}
