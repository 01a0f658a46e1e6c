// Package test holds the tests of the whole program, as users have it, against real servers: Dovecot from Debian, and
// the built-in one where a real one would take too long. It reads what was stored by means of its own, and by other
// programs' (Dovecot's IMAP, Python's mailbox module, mutt).
package test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/popfetchd/popfetchd/test/dovecot"
)

// popfetchd is the path of the program under test, built as users build it.
var popfetchd string

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "popfetchd-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	popfetchd = filepath.Join(dir, "popfetchd")
	build := exec.Command("go", "build", "-trimpath", "-o", popfetchd, "../cmd/popfetchd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building popfetchd: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// account is an account of a configuration file of its own.
type account struct {
	dir     string // for everything: configuration, state, mail
	mailbox string // path of the Maildir or mbox
	kind    string // "maildir" or "mbox"
}

const username, password = "joe", "s3cret pass"

// newAccount writes a configuration with one account: kind says where the mail goes, and lines are further keys.
func newAccount(tb testing.TB, kind string, lines ...string) account {
	tb.Helper()
	dir := tb.TempDir()
	a := account{dir: dir, kind: kind, mailbox: filepath.Join(dir, "mail", "inbox")}
	write(tb, filepath.Join(dir, "password"), password+"\n")
	text := fmt.Sprintf("state_dir: %s/state\naccounts:\n  - name: test\n    username: %s\n    password_file: %s/password\n    %s: %s\n",
		dir, username, dir, kind, a.mailbox)
	for _, line := range lines {
		text += "    " + line + "\n"
	}
	write(tb, a.config(), text)
	return a
}

func (a account) config() string { return filepath.Join(a.dir, "popfetchd.yaml") }

// at are the keys that reach a Dovecot's POP3S port.
func at(s *dovecot.Server) []string {
	return []string{"host: localhost", fmt.Sprintf("port: %d", s.POP3S), "tls: implicit", "ca_file: " + s.CAFile}
}

func write(tb testing.TB, path, text string) {
	tb.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
}

// outcome is how a run of the program ended.
type outcome struct {
	code           int
	stdout, stderr string
}

// command is the program with the account's configuration.
func (a account) command(args ...string) *exec.Cmd {
	return exec.CommandContext(context.Background(), popfetchd, append([]string{"--config", a.config()}, args...)...)
}

func (a account) run(tb testing.TB, args ...string) outcome {
	tb.Helper()
	return finish(tb, a.command(args...))
}

func finish(tb testing.TB, command *exec.Cmd) outcome {
	tb.Helper()
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil && command.ProcessState == nil {
		tb.Fatal(err)
	}
	return outcome{command.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// must runs the program and fails the test unless it ends well and silently.
func (a account) must(tb testing.TB, args ...string) string {
	tb.Helper()
	o := a.run(tb, args...)
	if o.code != 0 || o.stderr != "" {
		tb.Fatalf("popfetchd %s: exit code %d\n%s%s", strings.Join(args, " "), o.code, o.stdout, o.stderr)
	}
	return o.stdout
}
