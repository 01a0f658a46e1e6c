package test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/internal/popsim/sample"
	"github.com/popfetchd/popfetchd/test/dovecot"
	"github.com/popfetchd/popfetchd/test/program"
)

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
			program.Deliver(t, s, nasty)
			want := program.Held(t, s)
			connections := map[string][]string{
				"implicit": program.At(s),
				"starttls": {"host: localhost", fmt.Sprintf("port: %d", s.POP3), "tls: starttls", "ca_file: " + s.CAFile},
				"none":     {"host: 127.0.0.1", fmt.Sprintf("port: %d", s.POP3), "tls: none", "auth: user"},
			}
			if !pipelining {
				delete(connections, "starttls") // what hides PIPELINING there hides STLS too
			}
			for name, keys := range connections {
				for _, kind := range []string{"maildir", "mbox"} {
					t.Run(name+"/"+kind, func(t *testing.T) {
						a := program.New(t, kind, keys...)
						if r := a.Once(t); r.Stored != program.Count(want) || r.Failed != 0 || r.Listed != r.New {
							t.Errorf("first run: %+v", r)
						}
						program.Same(t, want, a.Stored(t))
						if r := a.Once(t); r.New != 0 || r.Listed != program.Count(want) {
							t.Errorf("second run: %+v", r)
						}
						program.Same(t, want, a.Stored(t))
						a.Must(t, "verify", "--read")
					})
				}
			}
			program.Same(t, want, program.Held(t, s))
		})
	}
}

func TestPolicyDeleteEmptiesTheServer(t *testing.T) {
	for _, kind := range []string{"maildir", "mbox"} {
		t.Run(kind, func(t *testing.T) {
			s := dovecot.Start(t, dovecot.Options{})
			program.Deliver(t, s, sample.Messages())
			want := program.Held(t, s)
			a := program.New(t, kind, append(program.At(s), "policy: delete")...)
			if r := a.Once(t); r.Stored != sample.Count || r.Deleted != sample.Count || r.PendingDelete != 0 {
				t.Errorf("%+v", r)
			}
			program.Same(t, want, a.Stored(t))
			program.Same(t, program.Contents{}, program.Held(t, s))
			if r := a.Once(t); r.Listed != 0 || r.Stored != 0 || r.Deleted != 0 {
				t.Errorf("second run: %+v", r)
			}
		})
	}
}

func TestHundredMegabytes(t *testing.T) {
	s := dovecot.Start(t, dovecot.Options{})
	program.Deliver(t, s, slices.Values([]popsim.Message{sample.Large(100 << 20)}))
	want := program.Held(t, s)
	for _, kind := range []string{"maildir", "mbox"} {
		a := program.New(t, kind, program.At(s)...)
		a.Once(t)
		program.Same(t, want, a.Stored(t))
	}
}

// The Maildir is one that Dovecot takes as its own: it agrees with the sizes in the names, and shows the same bytes. It
// shows NUL as 0x80 and each LF as CRLF, so both sides are compared in that form.
func TestDovecotReadsTheMaildir(t *testing.T) {
	s := dovecot.Start(t, dovecot.Options{})
	program.Deliver(t, s, sample.Messages())
	a := program.New(t, "maildir", program.At(s)...)
	a.Once(t)
	shown, err := s.ReadMaildir(a.Mailbox)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(a.Mailbox, "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	got, want := program.Contents{}, program.Contents{}
	for _, m := range shown {
		got.AddBytes(m)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
		want.AddBytes(bytes.ReplaceAll(text, []byte{0}, []byte{0x80}))
	}
	if len(files) != sample.Count {
		t.Errorf("%d files", len(files))
	}
	program.Same(t, want, got)
}

// Python's mailbox module opens both kinds and counts as many messages.
func TestPythonOpensTheMailboxes(t *testing.T) {
	s := dovecot.Start(t, dovecot.Options{})
	program.Deliver(t, s, sample.Messages())
	for kind, class := range map[string]string{"maildir": "Maildir", "mbox": "mbox"} {
		a := program.New(t, kind, program.At(s)...)
		a.Once(t)
		python := exec.Command("python3", "-c", `
import mailbox, sys
box = getattr(mailbox, sys.argv[1])(sys.argv[2], create=False)
print(len(box), sum(1 for m in box if m["Message-ID"] or m["From"]))`, class, a.Mailbox)
		var counted, withHeader int
		if out, err := python.CombinedOutput(); err != nil {
			t.Fatalf("python3: %v\n%s", err, out)
		} else if _, err := fmt.Sscan(string(out), &counted, &withHeader); err != nil || counted != sample.Count || withHeader < sample.Count-5 {
			t.Errorf("Python's mailbox.%s sees %s", class, out)
		}
	}
}
