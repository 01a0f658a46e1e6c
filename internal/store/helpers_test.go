package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// helperVar makes the test binary run one of the helpers instead of the
// tests: a process of its own that can be killed, limited or locked out.
const helperVar = "STORE_TEST_HELPER"

var helpers = map[string]func(args []string) error{
	"commit":  helperCommit,
	"huge":    helperHuge,
	"locked":  helperLocked,
	"nolinks": helperNoLinks,
}

func TestMain(m *testing.M) {
	name := os.Getenv(helperVar)
	if name == "" {
		os.Exit(m.Run())
	}
	if err := helpers[name](os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// helper prepares a helper's process; what it says on stderr goes to the log.
func helper(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), helperVar+"="+name)
	c.Stderr = t.Output()
	return c
}

const testHost = "mail.example.org"

func testOptions(t testing.TB) Options {
	return Options{Account: "test", SpoolDir: filepath.Join(t.TempDir(), "spool"), Hostname: testHost}
}

func newMaildir(t testing.TB) *Maildir {
	return must(OpenMaildir(filepath.Join(t.TempDir(), "Mail", "box"), testOptions(t)))(t)
}

func newMbox(t testing.TB) *Mbox {
	return must(OpenMbox(filepath.Join(t.TempDir(), "Mail", "box"), testOptions(t)))(t)
}

// must is written must(f(x))(t), so that f may return its two results.
func must[T any](v T, err error) func(t rapid.TB) T {
	return func(t rapid.TB) T {
		t.Helper()
		check(t, err)
		return v
	}
}

func check(t rapid.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// bothKinds runs a test with a new mailbox of each kind.
func bothKinds(t *testing.T, test func(t *testing.T, m testMailbox)) {
	t.Run("maildir", func(t *testing.T) { test(t, newMaildir(t)) })
	t.Run("mbox", func(t *testing.T) { test(t, newMbox(t)) })
}

// testMailbox is what both kinds can do.
type testMailbox interface {
	Mailbox
	Copy(w io.Writer, at Location) error
}

func testID(i int) ID { return NewID("test", fmt.Sprintf("uid-%d", i), 0, 0) }

func noRecord(Intent) error { return nil }

// begin starts a batch that holds these messages, numbered from first on.
func begin(t rapid.TB, m Mailbox, first int, mails ...string) Batch {
	t.Helper()
	b, err := m.Begin()
	check(t, err)
	for i, mail := range mails {
		if _, err := b.Add(testID(first+i), strings.NewReader(mail)); err != nil {
			t.Fatalf("message %d: %v", first+i, err)
		}
	}
	return b
}

// put stores messages in one batch.
func put(t rapid.TB, m Mailbox, first int, mails ...string) []Message {
	t.Helper()
	b := begin(t, m, first, mails...)
	messages, err := b.Commit(context.Background(), noRecord)
	check(t, err)
	check(t, b.Discard())
	return messages
}

// content reads a message back.
func content(t rapid.TB, m testMailbox, at Location) string {
	t.Helper()
	var b strings.Builder
	check(t, m.Copy(&b, at))
	return b.String()
}

func read(t rapid.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	check(t, err)
	return string(data)
}

func write(t rapid.TB, path, data string) {
	t.Helper()
	check(t, os.WriteFile(path, []byte(data), 0o600))
}

// names lists a folder; none when it does not exist.
func names(t rapid.TB, elem ...string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(elem...))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	list := []string{}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// splitMbox is the other side: a reader of mboxrd files that shares nothing
// with the code under test.
func splitMbox(t rapid.TB, data string) (messages []string) {
	t.Helper()
	var message *strings.Builder
	end := func() {
		if message != nil {
			whole, ok := strings.CutSuffix(message.String(), "\n")
			if !ok {
				t.Fatalf("message %d is not followed by a blank line", len(messages))
			}
			messages = append(messages, whole)
		}
	}
	blank := true
	for line := range strings.Lines(data) {
		if strings.HasPrefix(line, "From ") {
			if !blank {
				t.Fatalf("no blank line before %q", line)
			}
			end()
			message = new(strings.Builder)
		} else if bare := strings.TrimLeft(line, ">"); line[0] == '>' && strings.HasPrefix(bare, "From ") {
			message.WriteString(line[1:])
		} else {
			message.WriteString(line)
		}
		blank = line == "\n"
	}
	end()
	return messages
}

// stored is the model: what a message is once it lies in a mailbox.
func stored(m Mailbox, mail string) string {
	mail = strings.ReplaceAll(mail, "\r\n", "\n")
	if _, ok := m.(*Mbox); ok && mail != "" && !strings.HasSuffix(mail, "\n") {
		mail += "\n"
	}
	return mail
}

// all reads every message of a mailbox, without our own reading code. Those
// of a Maildir come in the order of their names.
func all(t rapid.TB, m Mailbox) []string {
	t.Helper()
	if _, ok := m.(*Mbox); ok {
		data, err := os.ReadFile(m.Path())
		if os.IsNotExist(err) {
			return nil
		}
		check(t, err)
		return splitMbox(t, string(data))
	}
	var messages []string
	for _, sub := range []string{"new", "cur"} {
		for _, name := range names(t, m.Path(), sub) {
			messages = append(messages, read(t, filepath.Join(m.Path(), sub, name)))
		}
	}
	return messages
}

// sameSet compares regardless of order.
func sameSet(t rapid.TB, got, want []string) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if slices.Equal(got, want) {
		return
	}
	t.Errorf("%d messages stand there, want %d", len(got), len(want))
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("got %.200q\nwant %.200q", got[i], want[i])
		}
	}
}

// smallReads hands out a message in pieces of the given sizes, in turn.
type smallReads struct {
	data  []byte
	sizes []int
	turn  int
}

func (r *smallReads) Read(p []byte) (int, error) {
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	size := len(p)
	if len(r.sizes) > 0 {
		size = min(size, r.sizes[r.turn%len(r.sizes)])
		r.turn++
	}
	n := copy(p[:size], r.data)
	r.data = r.data[n:]
	return n, nil
}

// commitOrder tells helperCommit what to do.
type commitOrder struct {
	Mbox, Maildir string // one of them
	SpoolDir      string
	Account       string
	First, Count  int
	Bytes         int    // of each message, about
	DieAt         string // "add", "record", "rename", "commit": SIGKILL then
	Renames       int    // for "rename": after so many
	IntentFile    string
	Batches       int
}

func (o commitOrder) json() string {
	data, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// numbered is the message with a number, as the helper stores it; LF ends.
func numbered(i, size int) string {
	head := fmt.Sprintf("Return-Path: <n%d@example.org>\nSubject: number %d\n\nFrom here on:\n", i, i)
	line := fmt.Sprintf(">From message %d\n", i)
	return head + strings.Repeat(line, max(size-len(head), 0)/len(line))
}

func die() { unix.Kill(os.Getpid(), unix.SIGKILL) }

// obstruct makes the batch's Commit fail after so many renames.
func obstruct(b *maildirBatch, renames int) error {
	return os.Mkdir(filepath.Join(b.new.Name(), b.received[renames].message.Location.Name), 0o700)
}

// helperCommit stores numbered messages, and dies where it is told to.
func helperCommit(args []string) error {
	var o commitOrder
	if err := json.Unmarshal([]byte(args[0]), &o); err != nil {
		return err
	}
	options := Options{Account: o.Account, SpoolDir: o.SpoolDir, Hostname: testHost}
	var m Mailbox
	var err error
	if o.Mbox != "" {
		m, err = OpenMbox(o.Mbox, options)
	} else {
		m, err = OpenMaildir(o.Maildir, options)
	}
	if err != nil {
		return err
	}
	for n := range max(o.Batches, 1) {
		if err := o.commitBatch(m, o.First+n*o.Count); err != nil {
			return err
		}
	}
	return nil
}

func (o commitOrder) commitBatch(m Mailbox, first int) error {
	b, err := m.Begin()
	if err != nil {
		return err
	}
	for i := first; i < first+o.Count; i++ {
		mail := bytes.ReplaceAll([]byte(numbered(i, o.Bytes)), []byte("\n"), []byte("\r\n"))
		if _, err := b.Add(testID(i), bytes.NewReader(mail)); err != nil {
			return err
		}
	}
	if o.DieAt == "add" {
		die()
	}
	if o.DieAt == "rename" {
		if err := obstruct(b.(*maildirBatch), o.Renames); err != nil {
			return err
		}
	}
	_, err = b.Commit(context.Background(), func(i Intent) error {
		if o.IntentFile != "" {
			data, err := json.Marshal(i)
			if err == nil {
				err = os.WriteFile(o.IntentFile, data, 0o600)
			}
			if err != nil {
				return err
			}
		}
		if o.DieAt == "record" {
			die()
		}
		return nil
	})
	if o.DieAt == "rename" && err != nil {
		die()
	}
	if err != nil {
		return err
	}
	if o.DieAt == "commit" {
		die()
	}
	return b.Discard()
}

func readIntent(t *testing.T, path string) (i Intent) {
	t.Helper()
	check(t, json.Unmarshal([]byte(read(t, path)), &i))
	return i
}
