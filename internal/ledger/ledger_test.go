package ledger_test

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/ledger"
)

// committerVariable makes the test binary a committer: a program that commits batches to the ledger at this path.
const committerVariable = "LEDGER_TEST_COMMITTER"

func TestMain(m *testing.M) {
	if path := os.Getenv(committerVariable); path != "" {
		if err := commitBatches(path, os.Args[1], os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if path := os.Getenv(takerVariable); path != "" {
		if err := takeSteps(path, os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// Each step of TestModel flushes to the disk, and SQLite is slow under the race detector. -rapid.checks asks for more.
	if err := flag.Set("rapid.checks", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// batchSize is how many messages a committer puts in each batch.
const batchSize = 20

// commitBatches commits batches first to last of an account, each announced by an intent as an append to an mbox is,
// and prints the number of each once its Commit has returned.
func commitBatches(path, account, first, last string) error {
	l, err := ledger.Open(path)
	if err != nil {
		return err
	}
	if err := l.Enroll(account, "/mail/"+account); err != nil {
		return err
	}
	from, _ := strconv.Atoi(first)
	to, _ := strconv.Atoi(last)
	for batch := from; batch <= to; batch++ {
		messages := batchOf(batch)
		intent, err := l.Intend(account, ledger.Intent{Path: "/mail/box", Messages: messages})
		if err != nil {
			return err
		}
		if err := l.Commit(account, messages, intent); err != nil {
			return err
		}
		fmt.Println(batch)
	}
	return l.Close()
}

func batchOf(batch int) []ledger.Message {
	messages := make([]ledger.Message, batchSize)
	for i := range messages {
		messages[i] = ledger.Message{Key: ledger.Key{UID: fmt.Sprintf("message %d", i), ListedSize: int64(batch)}, Mailbox: "/mail/box",
			Offset: int64(batch*batchSize + i), Length: 1, Size: 1, StoredAt: time.Unix(1_790_000_000, 0)}
	}
	return messages
}

// committer starts a process that commits batches first to last; each number printed comes out of the scanner.
func committer(t *testing.T, path, account string, first, last int) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	command := exec.Command(os.Args[0], account, strconv.Itoa(first), strconv.Itoa(last))
	command.Env = append(os.Environ(), committerVariable+"="+path)
	command.Stderr = os.Stderr
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	return command, bufio.NewScanner(output)
}

// newLedger opens a new ledger in a folder of its own, with the account "gmail", and closes it after the test.
func newLedger(t testing.TB) (*ledger.Ledger, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := open(t, path)
	t.Cleanup(func() { _ = l.Close() })
	ok(t, l.Enroll("gmail", "/mail/gmail"))
	return l, path
}

func open(t testing.TB, path string) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(path)
	ok(t, err)
	return l
}

// fataler is what testing and rapid have in common.
type fataler interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

func ok(t fataler, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
