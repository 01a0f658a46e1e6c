// Package program runs popfetchd as users have it, built from this tree, and reads what it stored by means of its own,
// for tests.
package program

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/popfetchd/popfetchd/test/dovecot"
)

// path is where Main put the program.
var path string

// Main builds the program as users build it and runs a package's tests: for TestMain.
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "popfetchd-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	path = filepath.Join(dir, "popfetchd")
	build := exec.Command("go", "build", "-trimpath", "-o", path, "github.com/popfetchd/popfetchd/cmd/popfetchd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building popfetchd: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// Path is the path of the program under test. The package's TestMain must have called Main.
func Path() string { return path }

// Account is an account of a configuration file of its own.
type Account struct {
	Dir     string // for everything: configuration, state, mail
	Mailbox string // path of the Maildir or mbox
	Kind    string // "maildir" or "mbox"
}

// Username and Password are those of every account, here and on the servers.
const Username, Password = "joe", "s3cret pass"

// New writes a configuration with one account: kind says where the mail goes, and lines are further keys.
func New(tb testing.TB, kind string, lines ...string) Account {
	tb.Helper()
	return In(tb, tb.TempDir(), kind, lines...)
}

// In is New in a folder that the test brings.
func In(tb testing.TB, dir, kind string, lines ...string) Account {
	tb.Helper()
	a := Account{Dir: dir, Kind: kind, Mailbox: filepath.Join(dir, "mail", "inbox")}
	write(tb, filepath.Join(dir, "password"), Password+"\n")
	text := fmt.Sprintf("state_dir: %s/state\naccounts:\n  - name: test\n    username: %s\n    password_file: %s/password\n    %s: %s\n",
		dir, Username, dir, kind, a.Mailbox)
	for _, line := range lines {
		text += "    " + line + "\n"
	}
	write(tb, a.Config(), text)
	return a
}

// Config is the path of the configuration file.
func (a Account) Config() string { return filepath.Join(a.Dir, "popfetchd.yaml") }

// At are the keys that reach a Dovecot's POP3S port.
func At(s *dovecot.Server) []string {
	return []string{"host: localhost", fmt.Sprintf("port: %d", s.POP3S), "tls: implicit", "ca_file: " + s.CAFile}
}

func write(tb testing.TB, path, text string) {
	tb.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
}

// Outcome is how a run of the program ended.
type Outcome struct {
	Code           int
	Stdout, Stderr string
}

// Command is the program with the account's configuration.
func (a Account) Command(args ...string) *exec.Cmd {
	return exec.CommandContext(context.Background(), path, append([]string{"--config", a.Config()}, args...)...)
}

// Run runs the program to its end.
func (a Account) Run(tb testing.TB, args ...string) Outcome {
	tb.Helper()
	return Finish(tb, a.Command(args...))
}

func Finish(tb testing.TB, command *exec.Cmd) Outcome {
	tb.Helper()
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil && command.ProcessState == nil {
		tb.Fatal(err)
	}
	return Outcome{command.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// Must runs the program and fails the test unless it ends well and silently.
func (a Account) Must(tb testing.TB, args ...string) string {
	tb.Helper()
	o := a.Run(tb, args...)
	if o.Code != 0 || o.Stderr != "" {
		tb.Fatalf("popfetchd %s: exit code %d\n%s%s", strings.Join(args, " "), o.Code, o.Stdout, o.Stderr)
	}
	return o.Stdout
}

// Report is what --once --json prints for an account.
type Report struct {
	Listed, New, Stored, Deleted, Skipped, Failed, Sessions int
	PendingDelete                                           int `json:"pending_delete"`
	Bytes                                                   int64
	Error                                                   string
}

// Once fetches, and fails the test unless that ends well.
func (a Account) Once(tb testing.TB) Report {
	tb.Helper()
	var r Report
	if err := json.Unmarshal([]byte(a.Must(tb, "--once", "--json")), &r); err != nil {
		tb.Fatal(err)
	}
	return r
}
