package program

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"iter"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/test/dovecot"
)

// Deliver gives a new user of the server these messages.
func Deliver(tb testing.TB, s *dovecot.Server, messages iter.Seq[popsim.Message]) {
	tb.Helper()
	if err := s.AddUser(Username, Password); err != nil {
		tb.Fatal(err)
	}
	bodies := func(yield func(io.Reader) bool) {
		for m := range messages {
			if !yield(m.Reader()) {
				return
			}
		}
	}
	if err := s.Deliver(Username, bodies); err != nil {
		tb.Fatal(err)
	}
}

// Contents counts messages by their bytes, hashed.
type Contents map[[sha256.Size]byte]int

// Add counts the message that a reader gives.
func (c Contents) Add(r io.Reader) error {
	hash := sha256.New()
	_, err := io.Copy(hash, r)
	c[[sha256.Size]byte(hash.Sum(nil))]++
	return err
}

// AddBytes counts a message.
func (c Contents) AddBytes(message []byte) { c[sha256.Sum256(message)]++ }

// Held asks the server itself for all it holds, by a client that has nothing in common with ours, and turns line ends
// into LF. Asking does not delete.
func Held(tb testing.TB, s *dovecot.Server) Contents {
	tb.Helper()
	conn, err := net.Dial("tcp", s.POP3.Addr())
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	ask := func(format string, args ...any) string {
		if format != "" {
			fmt.Fprintf(conn, format+"\r\n", args...)
		}
		line, err := r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "+OK") {
			tb.Fatalf("%s: %q, %v", fmt.Sprintf(format, args...), line, err)
		}
		return line
	}
	ask("")
	ask("USER %s", Username)
	ask("PASS %s", Password)
	var count, size int
	if _, err := fmt.Sscanf(ask("STAT"), "+OK %d %d", &count, &size); err != nil {
		tb.Fatal(err)
	}
	all := Contents{}
	for n := 1; n <= count; n++ {
		ask("RETR %d", n)
		if err := all.Add(&body{r: r}); err != nil {
			tb.Fatal(err)
		}
	}
	ask("QUIT")
	return all
}

// body reads an answer to RETR line by line and gives LF line ends.
type body struct {
	r    *bufio.Reader
	rest []byte
	done bool
}

func (b *body) Read(p []byte) (int, error) {
	for len(b.rest) == 0 {
		if b.done {
			return 0, io.EOF
		}
		line, err := b.r.ReadBytes('\n')
		if err != nil {
			return 0, io.ErrUnexpectedEOF
		}
		if string(line) == ".\r\n" {
			b.done = true
			continue
		}
		b.rest = bytes.Replace(bytes.TrimPrefix(line, []byte(".")), []byte("\r\n"), []byte("\n"), 1)
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// Stored reads what the account's mailbox holds.
func (a Account) Stored(tb testing.TB) Contents {
	tb.Helper()
	all := Contents{}
	if a.Kind == "mbox" {
		readMbox(tb, a.Mailbox, all)
		return all
	}
	for _, folder := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(a.Mailbox, folder))
		if err != nil && !os.IsNotExist(err) {
			tb.Fatal(err)
		}
		for _, entry := range entries {
			addFile(tb, filepath.Join(a.Mailbox, folder, entry.Name()), all)
		}
	}
	return all
}

func addFile(tb testing.TB, path string, all Contents) {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	if err := all.Add(f); err != nil {
		tb.Fatal(err)
	}
}

// readMbox splits an mboxrd file at its From_ lines and undoes the quoting.
func readMbox(tb testing.TB, path string, all Contents) {
	tb.Helper()
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return
	}
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	var message *bytes.Buffer
	end := func() {
		if message == nil {
			return
		}
		whole, found := bytes.CutSuffix(message.Bytes(), []byte("\n"))
		if !found {
			tb.Errorf("%s: no blank line after a message", path)
		}
		all[sha256.Sum256(whole)]++
	}
	for {
		line, err := r.ReadBytes('\n')
		if len(line) > 0 {
			switch {
			case bytes.HasPrefix(line, []byte("From ")):
				end()
				message = &bytes.Buffer{}
			case message == nil:
				tb.Fatalf("%s does not begin with a From_ line", path)
			case bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")):
				message.Write(line[1:])
			default:
				message.Write(line)
			}
		}
		if err == io.EOF {
			end()
			return
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
}

// Against says how many messages of want are not in c, and how many are in c that are not wanted: others, or once too often.
func (c Contents) Against(want Contents) (lost, more int) {
	for sum, n := range want {
		lost += max(0, n-c[sum])
	}
	for sum, n := range c {
		more += max(0, n-want[sum])
	}
	return lost, more
}

// Same fails the test unless the mailbox holds what the server held: each message exactly once, byte for byte.
func Same(tb testing.TB, want, got Contents) {
	tb.Helper()
	if lost, more := got.Against(want); lost+more > 0 {
		tb.Fatalf("of %d messages %d are not there as they should be, and %d are there that should not", Count(want), lost, more)
	}
}

// Count is how many messages there are.
func Count(c Contents) int {
	n := 0
	for _, v := range c {
		n += v
	}
	return n
}

// NoLeftovers fails the test when spools, temporary files or dot locks remain.
func (a Account) NoLeftovers(tb testing.TB) {
	tb.Helper()
	for _, pattern := range []string{"state/spool/*", "state/*.new*", "mail/inbox/tmp/*", "mail/*.lock*"} {
		if left, err := filepath.Glob(filepath.Join(a.Dir, pattern)); err != nil || len(left) > 0 {
			tb.Errorf("left behind: %v %v", left, err)
		}
	}
	if _, err := os.Stat(filepath.Join(a.Dir, "state", "ledger.db")); err != nil {
		tb.Error(err)
	}
}
