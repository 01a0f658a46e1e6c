package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/test/dovecot"
	"github.com/popfetchd/popfetchd/test/program"
)

// Before the first DELE leaves, everything that makes a message ours was done in its order, as the kernel saw it: flushed,
// named, the name flushed, written down, that flushed. QUIT comes after the last DELE.
func TestOrderOfSystemCalls(t *testing.T) {
	for name, test := range map[string]struct {
		kind     string
		messages int
		steps    []string
	}{
		"maildir, few":  {"maildir", 3, []string{`fsync .*/inbox/tmp/`, `renameat2 .*/inbox/new`, `fsync .*/inbox/new>`, `fsync .*/ledger\.db-wal>`}},
		"maildir, many": {"maildir", 60, []string{`syncfs .*/inbox`, `renameat2 .*/inbox/new`, `fsync .*/inbox/new>`, `fsync .*/ledger\.db-wal>`}},
		"mbox": {"mbox", 3, []string{`fsync .*/spool/.*\.spool>`, `fsync .*/spool>`, `fsync .*/ledger\.db-wal>`, `write .*/mail/inbox>`, `fsync .*/mail/inbox>`,
			`fsync .*/mail>`, `fsync .*/ledger\.db-wal>`}},
	} {
		t.Run(name, func(t *testing.T) {
			s := dovecot.Start(t, dovecot.Options{})
			program.Deliver(t, s, func(yield func(popsim.Message) bool) {
				for n := 0; n < test.messages && yield(popsim.Message{Body: fmt.Appendf(nil, "Subject: %d\r\n\r\nText.\r\n", n)}); n++ {
				}
			})
			a := program.New(t, test.kind, "host: 127.0.0.1", fmt.Sprintf("port: %d", s.POP3), "tls: none", "policy: delete")
			calls := trace(t, a, "--once")
			dele, quit := first(calls, `"DELE `), first(calls, `"QUIT`)
			if dele < 0 || quit < dele {
				t.Fatalf("DELE is call %d, QUIT %d, of\n%s", dele, quit, strings.Join(calls, "\n"))
			}
			if test.kind == "maildir" {
				for i, call := range calls[:dele] { // no file gets its name before it was flushed
					if strings.HasPrefix(call, "renameat2 ") && first(calls[:i], test.steps[0]) < 0 {
						t.Fatalf("renamed before it was flushed: %s", call)
					}
				}
				if last := lastOf(calls[:dele], `^renameat2 `); first(calls[last:dele], test.steps[2]) < 0 || first(calls[last:dele], test.steps[3]) < 0 {
					t.Errorf("after the last rename the folder and the ledger were not flushed before DELE:\n%s", strings.Join(calls[last:dele], "\n"))
				}
			}
			from := 0
			for _, step := range test.steps {
				at := first(calls[from:dele], step)
				if at < 0 {
					t.Fatalf("no %s before DELE and after the steps before it, in\n%s", step, strings.Join(calls[from:dele], "\n"))
				}
				from += at + 1
			}
		})
	}
}

func first(calls []string, pattern string) int {
	expression := regexp.MustCompile(pattern)
	for i, call := range calls {
		if expression.MatchString(call) {
			return i
		}
	}
	return -1
}

func lastOf(calls []string, pattern string) int {
	expression, last := regexp.MustCompile(pattern), 0
	for i, call := range calls {
		if expression.MatchString(call) {
			last = i
		}
	}
	return last
}

var (
	whole      = regexp.MustCompile(`^\d+ +(\w+)\((.*)\) += 0|^\d+ +(write)\((.*)\) += \d+`)
	unfinished = regexp.MustCompile(`^(\d+) +(\w+)\((.*) <unfinished \.\.\.>`)
	resumed    = regexp.MustCompile(`^(\d+) +<\.\.\. \w+ resumed>.* = \d+$`)
)

// trace runs the program under strace and returns the calls that succeeded as "name arguments", with the paths of file
// descriptors: flushes and renames by when they had ended, writes to a socket by when they began.
func trace(t *testing.T, a program.Account, args ...string) []string {
	t.Helper()
	out := filepath.Join(a.Dir, "trace")
	strace := exec.Command("strace", append([]string{"-f", "-y", "-s", "16", "-o", out, "-e", "trace=fsync,fdatasync,syncfs,renameat2,write", "-e", "signal=none",
		program.Path(), "--config", a.Config()}, args...)...)
	if o := program.Finish(t, strace); o.Code != 0 {
		t.Fatalf("strace: exit code %d\n%s%s", o.Code, o.Stdout, o.Stderr)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var calls []string
	begun := map[string]string{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if m := unfinished.FindStringSubmatch(line); m != nil {
			call := m[2] + " " + m[3]
			if strings.Contains(call, "socket:") || strings.Contains(call, "TCP:") {
				calls = append(calls, call)
			} else {
				begun[m[1]] = call
			}
		} else if m := resumed.FindStringSubmatch(line); m != nil && begun[m[1]] != "" {
			calls = append(calls, begun[m[1]])
			delete(begun, m[1])
		} else if m := whole.FindStringSubmatch(line); m != nil {
			calls = append(calls, m[1]+m[3]+" "+m[2]+m[4])
		}
	}
	return calls
}
