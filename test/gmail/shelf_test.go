package gmail

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/test/program"
)

type sum = [sha256.Size]byte

// contentOf is a message as it is to be stored, hashed.
func contentOf(m popsim.Message) sum { return sha256.Sum256(m.Stored()) }

// shelf is what the mailbox held when it was last read.
type shelf struct {
	account program.Account
	files   map[string]sum // Maildir: by path; a message's file never changes
	order   []sum          // mbox
}

func newShelf(a program.Account) shelf { return shelf{account: a, files: map[string]sum{}} }

// read reads the mailbox. After a kill an mbox may end in half a message, which does not count unless ours says that it is one.
func (s *shelf) read(t *testing.T, killed bool, ours func(sum) bool) {
	t.Helper()
	if s.account.Kind == "mbox" {
		s.readMbox(t, killed, ours)
		return
	}
	now := map[string]sum{}
	for _, folder := range []string{"new", "cur"} {
		paths, err := filepath.Glob(filepath.Join(s.account.Mailbox, folder, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if known, ok := s.files[path]; ok {
				now[path] = known
				continue
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			now[path] = sha256.Sum256(data)
		}
	}
	s.files = now
}

// readMbox takes an mboxrd file apart.
func (s *shelf) readMbox(t *testing.T, killed bool, ours func(sum) bool) {
	t.Helper()
	data, err := os.ReadFile(s.account.Mailbox)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	s.order = nil
	var message []byte
	end := func(last bool) {
		whole, found := bytes.CutSuffix(message, []byte("\n"))
		switch {
		case message == nil, last && killed && !ours(sha256.Sum256(whole)):
		case !found:
			t.Fatalf("%s: no blank line after a message", s.account.Mailbox)
		default:
			s.order = append(s.order, sha256.Sum256(whole))
		}
		message = []byte{}
	}
	for line := range bytes.Lines(data) {
		switch {
		case bytes.HasPrefix(line, []byte("From ")):
			end(false)
		case message == nil:
			t.Fatalf("%s does not begin with a From_ line", s.account.Mailbox)
		case bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")):
			message = append(message, line[1:]...)
		default:
			message = append(message, line...)
		}
	}
	end(true)
}

// contents counts the messages.
func (s *shelf) contents() program.Contents {
	all := program.Contents{}
	for _, file := range s.files {
		all[file]++
	}
	for _, message := range s.order {
		all[message]++
	}
	return all
}
