package test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"iter"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/test/dovecot"
)

// deliver gives a new user of the server these messages.
func deliver(tb testing.TB, s *dovecot.Server, messages iter.Seq[popsim.Message]) {
	tb.Helper()
	if err := s.AddUser(username, password); err != nil {
		tb.Fatal(err)
	}
	bodies := func(yield func(io.Reader) bool) {
		for m := range messages {
			if !yield(m.Reader()) {
				return
			}
		}
	}
	if err := s.Deliver(username, bodies); err != nil {
		tb.Fatal(err)
	}
}

// contents counts messages by their bytes, hashed.
type contents map[[sha256.Size]byte]int

func (c contents) add(r io.Reader) error {
	hash := sha256.New()
	_, err := io.Copy(hash, r)
	c[[sha256.Size]byte(hash.Sum(nil))]++
	return err
}

func (c contents) addBytes(message []byte) { c[sha256.Sum256(message)]++ }

// held asks the server itself for all it holds, by a client that has nothing in common with ours, and turns line ends
// into LF. Asking does not delete.
func held(tb testing.TB, s *dovecot.Server) contents {
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
	ask("USER %s", username)
	ask("PASS %s", password)
	var count, size int
	if _, err := fmt.Sscanf(ask("STAT"), "+OK %d %d", &count, &size); err != nil {
		tb.Fatal(err)
	}
	all := contents{}
	for n := 1; n <= count; n++ {
		ask("RETR %d", n)
		if err := all.add(&body{r: r}); err != nil {
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

// stored reads what the account's mailbox holds.
func (a account) stored(tb testing.TB) contents {
	tb.Helper()
	all := contents{}
	if a.kind == "mbox" {
		readMbox(tb, a.mailbox, all)
		return all
	}
	for _, folder := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(a.mailbox, folder))
		if err != nil && !os.IsNotExist(err) {
			tb.Fatal(err)
		}
		for _, entry := range entries {
			addFile(tb, filepath.Join(a.mailbox, folder, entry.Name()), all)
		}
	}
	return all
}

func addFile(tb testing.TB, path string, all contents) {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	if err := all.add(f); err != nil {
		tb.Fatal(err)
	}
}

// readMbox splits an mboxrd file at its From_ lines and undoes the quoting.
func readMbox(tb testing.TB, path string, all contents) {
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

// same fails the test unless the mailbox holds what the server held: each message exactly once, byte for byte.
func same(tb testing.TB, want, got contents) {
	tb.Helper()
	lost, more := 0, 0
	for sum, n := range want {
		lost += max(0, n-got[sum])
	}
	for sum, n := range got {
		more += max(0, n-want[sum])
	}
	if lost+more > 0 {
		tb.Fatalf("of %d messages %d are not there as they should be, and %d are there that should not", count(want), lost, more)
	}
}

func count(c contents) int {
	n := 0
	for _, v := range slices.Collect(maps.Values(c)) {
		n += v
	}
	return n
}
