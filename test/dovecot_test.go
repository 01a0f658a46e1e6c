package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/internal/popsim/sample"
	"github.com/popfetchd/popfetchd/test/dovecot"
)

// report is what --once --json prints for an account.
type report struct {
	Listed, New, Stored, Deleted, Skipped, Failed, Sessions int
	PendingDelete                                           int `json:"pending_delete"`
	Bytes                                                   int64
	Error                                                   string
}

func (a account) once(tb testing.TB) report {
	tb.Helper()
	var r report
	if err := json.Unmarshal([]byte(a.must(tb, "--once", "--json")), &r); err != nil {
		tb.Fatal(err)
	}
	return r
}

// nasty are the nasty messages but those that begin with a dot, which Dovecot does not stuff: no client could tell one
// of them from the end of an empty message. internal/fetch has them from the built-in server.
func nasty(yield func(popsim.Message) bool) {
	for _, m := range sample.Nasty() {
		if !bytes.HasPrefix(m.Body, []byte(".")) && !yield(m) {
			return
		}
	}
}

// Every nasty message arrives byte for byte, over each kind of connection, with and without pipelining, in both kinds of
// mailbox, kept and deleted; a second run fetches nothing.
func TestByteExact(t *testing.T) {
	for _, pipelining := range []bool{true, false} {
		t.Run(fmt.Sprintf("pipelining=%v", pipelining), func(t *testing.T) {
			s := dovecot.Start(t, dovecot.Options{NoPipelining: !pipelining})
			deliver(t, s, nasty)
			want := held(t, s)
			connections := map[string][]string{
				"implicit": at(s),
				"starttls": {"host: localhost", fmt.Sprintf("port: %d", s.POP3), "tls: starttls", "ca_file: " + s.CAFile},
				"none":     {"host: 127.0.0.1", fmt.Sprintf("port: %d", s.POP3), "tls: none", "auth: user"},
			}
			if !pipelining {
				delete(connections, "starttls") // what hides PIPELINING there hides STLS too
			}
			for name, keys := range connections {
				for _, kind := range []string{"maildir", "mbox"} {
					t.Run(name+"/"+kind, func(t *testing.T) {
						a := newAccount(t, kind, keys...)
						if r := a.once(t); r.Stored != count(want) || r.Failed != 0 || r.Listed != r.New {
							t.Errorf("first run: %+v", r)
						}
						same(t, want, a.stored(t))
						if r := a.once(t); r.New != 0 || r.Listed != count(want) {
							t.Errorf("second run: %+v", r)
						}
						same(t, want, a.stored(t))
						a.must(t, "verify", "--read")
					})
				}
			}
			same(t, want, held(t, s))
		})
	}
}

func TestPolicyDeleteEmptiesTheServer(t *testing.T) {
	for _, kind := range []string{"maildir", "mbox"} {
		t.Run(kind, func(t *testing.T) {
			s := dovecot.Start(t, dovecot.Options{})
			deliver(t, s, sample.Messages())
			want := held(t, s)
			a := newAccount(t, kind, append(at(s), "policy: delete")...)
			if r := a.once(t); r.Stored != sample.Count || r.Deleted != sample.Count || r.PendingDelete != 0 {
				t.Errorf("%+v", r)
			}
			same(t, want, a.stored(t))
			same(t, contents{}, held(t, s))
			if r := a.once(t); r.Listed != 0 || r.Stored != 0 || r.Deleted != 0 {
				t.Errorf("second run: %+v", r)
			}
		})
	}
}

func TestHundredMegabytes(t *testing.T) {
	s := dovecot.Start(t, dovecot.Options{})
	deliver(t, s, slices.Values([]popsim.Message{sample.Large(100 << 20)}))
	want := held(t, s)
	for _, kind := range []string{"maildir", "mbox"} {
		a := newAccount(t, kind, at(s)...)
		a.once(t)
		same(t, want, a.stored(t))
	}
}

// The Maildir is one that Dovecot takes as its own: it agrees with the sizes in the names, and shows the same bytes. It
// shows NUL as 0x80 and each LF as CRLF, so both sides are compared in that form.
func TestDovecotReadsTheMaildir(t *testing.T) {
	s := dovecot.Start(t, dovecot.Options{})
	deliver(t, s, sample.Messages())
	a := newAccount(t, "maildir", at(s)...)
	a.once(t)
	shown, err := s.ReadMaildir(a.mailbox)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(a.mailbox, "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	got, want := contents{}, contents{}
	for _, m := range shown {
		got.addBytes(m)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
		want.addBytes(bytes.ReplaceAll(text, []byte{0}, []byte{0x80}))
	}
	if len(files) != sample.Count {
		t.Errorf("%d files", len(files))
	}
	same(t, want, got)
}

// Python's mailbox module opens both kinds and counts as many messages.
func TestPythonOpensTheMailboxes(t *testing.T) {
	s := dovecot.Start(t, dovecot.Options{})
	deliver(t, s, sample.Messages())
	for kind, class := range map[string]string{"maildir": "Maildir", "mbox": "mbox"} {
		a := newAccount(t, kind, at(s)...)
		a.once(t)
		python := exec.Command("python3", "-c", `
import mailbox, sys
box = getattr(mailbox, sys.argv[1])(sys.argv[2], create=False)
print(len(box), sum(1 for m in box if m["Message-ID"] or m["From"]))`, class, a.mailbox)
		var counted, withHeader int
		if out, err := python.CombinedOutput(); err != nil {
			t.Fatalf("python3: %v\n%s", err, out)
		} else if _, err := fmt.Sscan(string(out), &counted, &withHeader); err != nil || counted != sample.Count || withHeader < sample.Count-5 {
			t.Errorf("Python's mailbox.%s sees %s", class, out)
		}
	}
}
