package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/popfetchd/popfetchd/test/program"
)

// A misbehaviour is one way in which a server is hostile or broken, and what the program is to make of it.
type misbehaviour struct {
	name    string
	script  script
	letters func() []letter // what the server holds; nil: fiveLetters
	policy  string          // keep or delete; "": either
	kind    string          // maildir or mbox; "": either
	piped   string          // "on" or "off": only with, or without, pipelining; "": either
	tls     string          // of the account; "": none
	keys    []string        // further keys of the account

	before  bool                   // one good run comes first
	between func(w *ordeal)        // what happens to the server after it
	again   func(l []letter) []int // which letters the run fetches; nil: all, or with before none
	either  []int                  // of the others, these may be fetched too
	code    int                    // with which it ends
	says    string                 // regular expression, found in its line of stderr
	warns   string                 // regular expression, found in its log
	online  bool                   // check --online ends with the same code and says the same
	memory  bool                   // its peak is measured
	then    func(w *ordeal)        // what else holds, and happens, while the server misbehaves

	disk    string // tmpfs options of a disk of its own; "": none
	better  script // of the server in the end; with its tls nil: as the account needs it
	lasting bool   // the server stays as it is: what it does is odd, but can be lived with
	left    []int  // letters that are left on the server in the end, and not fetched
}

// all, none, but and only say which letters a run fetches.
func all(l []letter) []int     { return allBut()(l) }
func nothing(l []letter) []int { return nil }

func allBut(numbers ...int) func([]letter) []int {
	return func(l []letter) (rest []int) {
	next:
		for n := 1; n <= len(l); n++ {
			for _, not := range numbers {
				if n == not {
					continue next
				}
			}
			rest = append(rest, n)
		}
		return rest
	}
}

func justThese(numbers ...int) func([]letter) []int { return func([]letter) []int { return numbers } }

// A manner is a way to set up the account, in which all misbehaviours must have the same outcome.
type manner struct {
	kind, policy string
	piped        bool
	logs         string // --log-format
}

var manners = []manner{
	{"maildir", "keep", true, "text"}, {"mbox", "delete", false, "json"}, {"maildir", "delete", true, "json"}, {"mbox", "keep", false, "text"},
	{"maildir", "keep", false, "json"}, {"mbox", "delete", true, "text"}, {"maildir", "delete", false, "text"}, {"mbox", "keep", true, "json"},
}

// of says which variants a misbehaviour has.
func (m misbehaviour) of() (all []manner) {
	for _, v := range manners {
		if (m.kind == "" || m.kind == v.kind) && (m.policy == "" || m.policy == v.policy) && (m.piped == "" || (m.piped == "on") == v.piped) {
			all = append(all, v)
		}
	}
	return all
}

// misbehaviours are all that there are. The name of each is its own.
func misbehaviours(t *testing.T) []misbehaviour {
	var all []misbehaviour
	names := map[string]bool{}
	for _, some := range [][]misbehaviour{
		greetingRows(), strangerRows(), capabilityRows(), startTLSRows(t), certificateRows(t), handshakeRows(t), loginRows(), refusalRows(),
		statRows(), listRows(), sizeRows(), uidRows(), changedUIDRows(), noUIDLRows(), bodyRows(), endingRows(), floodRows(),
	} {
		for _, m := range some {
			if names[m.name] {
				t.Errorf("two misbehaviours are named %q", m.name)
			}
			names[m.name] = true
			all = append(all, m)
		}
	}
	return all
}

const (
	someRows    = 100         // without -full
	atOnce      = 6           // misbehaviours: most of them wait
	runDeadline = time.Minute // for one run. The longest takes a few seconds, on a busy machine
)

// However a server misbehaves: the program ends in time and with the right code, says what is wrong in one harmless line,
// stores what came whole and nothing else, and has everything once the server is a good one.
func TestServerMisbehaves(t *testing.T) {
	rows := misbehaviours(t)
	t.Logf("%d misbehaviours", len(rows))
	random := rand.New(rand.NewPCG(*seed, uint64(len(rows))))
	turns := make(chan struct{}, atOnce)
	var running sync.WaitGroup
	for _, n := range chosen(t, len(rows), someRows) {
		m := rows[n]
		all := m.of()
		if len(all) == 0 {
			t.Errorf("%s: no variant fits", m.name)
			continue
		}
		if !*full {
			v := random.IntN(len(all))
			all = all[v : v+1]
		}
		for _, v := range all {
			running.Go(func() {
				turns <- struct{}{}
				defer func() { <-turns }()
				t.Run(fmt.Sprintf("%s/%s/%s/pipelining=%v/%s", m.name, v.kind, v.policy, v.piped, v.logs), func(t *testing.T) { m.try(t, v) })
			})
		}
	}
	running.Wait()
}

// An ordeal is one misbehaviour in one variant.
type ordeal struct {
	t       *testing.T
	m       misbehaviour
	v       manner
	server  *scripted
	account program.Account
}

func (m misbehaviour) try(t *testing.T, v manner) {
	held := fiveLetters()
	if m.letters != nil {
		held = m.letters()
	}
	w := &ordeal{t: t, m: m, v: v, server: startScripted(t, v.piped, held)}
	dir := t.TempDir()
	if m.disk != "" {
		if err := unix.Mount("popfetchd-test", dir, "tmpfs", 0, m.disk); err != nil {
			t.Fatalf("mounting a tmpfs: %v; these tests need root", err)
		}
		t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) }) // a test beside this one may be forking, with a file of ours open
	}
	w.account = program.In(t, dir, v.kind, w.keys()...)
	if m.before {
		w.server.behave(w.good())
		w.account.Once(t)
	}
	if m.between != nil {
		m.between(w)
	}
	w.server.behave(m.script)
	w.bear()
	if m.then != nil {
		m.then(w)
	}
	w.secret()
	if !m.lasting {
		w.server.behave(w.good())
	}
	w.settle()
}

func (w *ordeal) keys() []string {
	keys := []string{"host: 127.0.0.1", fmt.Sprintf("port: %d", w.server.port()), "policy: " + w.v.policy, "auth: auto"}
	if w.m.tls == "" {
		keys = append(keys, "tls: none")
	} else {
		keys = append(keys, "tls: "+w.m.tls)
	}
	if !strings.Contains(strings.Join(w.m.keys, "\n"), "timeout:") {
		keys = append(keys, "timeout: 20s") // longer than any good answer takes
	}
	return append(keys, w.m.keys...)
}

// good is the script of the server when it is a good one.
func (w *ordeal) good() script {
	if s := w.m.better; w.m.tls == "" || s.tls != nil {
		return s
	}
	return script{tls: goodTLS(w.t), implicit: w.m.tls == "implicit"}
}

// bear runs the program against the misbehaving server.
func (w *ordeal) bear() {
	w.t.Helper()
	m, before := w.m, w.account.Stored(w.t)
	if m.online {
		checked := w.run("check", "--online")
		w.judged("check --online", checked, checked.Stdout)
	}
	o := w.run("--once", "--json", "--log-format", w.v.logs)
	w.judged("--once", o, o.Stderr)
	lines := ofAccount(o.Stderr)
	if wanted := min(m.code, 1); len(lines) != wanted {
		w.t.Errorf("%d lines about the account on stderr, want %d:\n%s", len(lines), wanted, o.Stderr)
	}
	if m.warns != "" && !regexp.MustCompile(m.warns).MatchString(o.Stderr) {
		w.t.Errorf("no %q in the log:\n%s", m.warns, o.Stderr)
	}
	var r program.Report
	if err := json.Unmarshal([]byte(o.Stdout), &r); err != nil {
		w.t.Errorf("%v: %q", err, o.Stdout)
	}
	if r.New != r.Stored+r.Failed || r.Listed < r.New+r.Skipped || (r.Error != "") != (m.code != 0) {
		w.t.Errorf("the numbers do not add up: %+v", r)
	}
	w.fetched(before)
	w.outputs()
}

// judged holds the outcome of a run against what is wanted.
func (w *ordeal) judged(what string, o program.Outcome, text string) {
	w.t.Helper()
	if o.Code != w.m.code {
		w.t.Errorf("%s: exit code %d, want %d\n%s%s", what, o.Code, w.m.code, o.Stdout, o.Stderr)
	}
	if w.m.says != "" && !regexp.MustCompile(w.m.says).MatchString(text) {
		w.t.Errorf("%s: no %q in\n%s", what, w.m.says, text)
	}
}

// ofAccount are the lines of stderr that tell the error, as opposed to those of the log. They are not long.
func ofAccount(stderr string) (lines []string) {
	for line := range strings.Lines(stderr) {
		if !strings.HasPrefix(line, "time=") && !strings.HasPrefix(line, "{") {
			lines = append(lines, line)
		}
	}
	return lines
}

// fetched checks that exactly the wanted letters were added to what was there before, and none is gone that is not stored.
func (w *ordeal) fetched(before program.Contents) {
	w.t.Helper()
	had := w.server.had
	wanted := w.m.again
	switch {
	case wanted == nil && w.m.before:
		wanted = nothing
	case wanted == nil:
		wanted = all
	}
	want := contentsOf(nil)
	for sum, n := range before {
		want[sum] += n
	}
	for _, n := range wanted(had) {
		want.AddBytes(had[n-1].stored())
	}
	got := w.account.Stored(w.t)
	lost, _ := got.Against(want)
	for _, n := range w.m.either {
		want.AddBytes(had[n-1].stored())
	}
	if _, more := got.Against(want); lost+more > 0 {
		w.t.Errorf("after the run %d messages are not there as they should be, and %d are there that should not; want %v", lost, more, wanted(had))
	}
	w.nothingGone(got)
}

// nothingGone checks that what the server no longer has is stored.
func (w *ordeal) nothingGone(got program.Contents) {
	w.t.Helper()
	gone := w.server.everHad()
	for sum, n := range contentsOf(w.server.holds()) {
		gone[sum] -= n
	}
	if lost, _ := got.Against(gone); lost > 0 {
		w.t.Errorf("%d messages were deleted on the server that are not stored", lost)
	}
}

// outputs looks at what the other commands print of the trouble.
func (w *ordeal) outputs() {
	w.t.Helper()
	for _, args := range [][]string{{"status"}, {"status", "--json"}} {
		if o := w.run(args...); o.Code != 0 || o.Stderr != "" {
			w.t.Errorf("%v: exit code %d\n%s", args, o.Code, o.Stderr)
		}
	}
}

// secret checks that nobody could read the password on the way.
func (w *ordeal) secret() {
	w.t.Helper()
	if w.m.tls == "" {
		return
	}
	for _, form := range secretForms {
		if strings.Contains(w.server.overheard(), form) {
			w.t.Error("the password was sent in clear")
		}
	}
}

// run runs the program, and fails the test when that takes too long, too much memory, or prints what it must not.
func (w *ordeal) run(args ...string) program.Outcome {
	w.t.Helper()
	command := w.account.Command(args...)
	var peak *os.File
	if w.m.memory {
		command, peak = measured(w.t, command)
	}
	o := inTime(w.t, command)
	what := strings.Join(args, " ")
	harmless(w.t, what, o)
	if w.m.memory {
		judgePeak(w.t, what, peak)
	}
	return o
}

// inTime runs a command, and kills it with its children when it takes too long.
func inTime(t *testing.T, command *exec.Cmd) program.Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), runDeadline)
	defer cancel()
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	stop := context.AfterFunc(ctx, func() { syscall.Kill(-command.Process.Pid, syscall.SIGKILL) })
	command.Wait()
	if !stop() {
		t.Fatalf("still running after %s\n%s", runDeadline, stderr.String())
	}
	return program.Outcome{Code: command.ProcessState.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}
}

// harmless checks that what was printed can do nothing to a terminal or a log: that it is printable UTF-8 in lines of
// some length, without the password.
func harmless(t *testing.T, what string, o program.Outcome) {
	t.Helper()
	for stream, text := range map[string]string{"stdout": o.Stdout, "stderr": o.Stderr} {
		for i, r := range text {
			_, size := utf8.DecodeRuneInString(text[i:])
			if (r == utf8.RuneError && size == 1) || (r != '\n' && !unicode.IsPrint(r)) {
				t.Errorf("%s: octets % x on %s, in %q", what, text[i:i+size], stream, text[max(0, i-50):min(len(text), i+50)])
				break
			}
		}
		for _, form := range secretForms {
			if strings.Contains(text, form) {
				t.Errorf("%s: the password is on %s", what, stream)
			}
		}
		for line := range strings.Lines(text) {
			if len(line) > 2000 {
				t.Errorf("%s: a line of %d octets on %s: %.200q", what, len(line), stream, line)
			}
		}
	}
}

// settle runs the program until nothing is left to do, with the server being a good one again. Everything must be there then.
func (w *ordeal) settle() {
	w.t.Helper()
	if w.m.code == 77 { // a refused login is tried again when somebody says so
		w.account.Must(w.t, "retry", "test")
	}
	for i := range 6 {
		r := w.account.Once(w.t)
		switch {
		case r.Skipped <= len(w.m.left):
		case i < 2: // what failed waits for some minutes
			w.later()
			continue
		default: // or was set aside
			w.account.Must(w.t, "retry", "test")
			continue
		}
		if r.New == 0 && r.PendingDelete == 0 {
			break
		}
		w.nothingGone(w.account.Stored(w.t))
	}
	want := program.Contents{}
	for _, n := range allBut(w.m.left...)(w.server.had) {
		want.AddBytes(w.server.had[n-1].stored())
	}
	judge(w.t, "server: misbehaves", w.account, want)
	if r := w.account.Once(w.t); r.New != 0 || r.PendingDelete != 0 || r.Failed != 0 {
		w.t.Errorf("the run after: %+v", r)
	}
	if n := len(w.server.holds()); w.v.policy == "delete" && n != len(w.m.left) {
		w.t.Errorf("%d messages are still on the server", n)
	}
	w.account.Must(w.t, "verify", "--read")
	w.account.NoLeftovers(w.t)
	w.tidy()
}

// tidy checks that nothing stands beside the account's mailbox, whatever a UID looks like.
func (w *ordeal) tidy() {
	w.t.Helper()
	for _, pattern := range []string{"*", "mail/*", "mail/inbox/*"} {
		paths, err := filepath.Glob(filepath.Join(w.account.Dir, pattern))
		if err != nil {
			w.t.Fatal(err)
		}
		for _, path := range paths {
			switch name, _ := filepath.Rel(w.account.Dir, path); name {
			case "mail", "password", "popfetchd.yaml", "state", "mail/inbox", "mail/inbox/new", "mail/inbox/cur", "mail/inbox/tmp":
			default:
				w.t.Errorf("%s was made", name)
			}
		}
	}
}
