package faults

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/test/program"
)

// neighbour is testdata/neighbour.py under way: another program at the same mbox. It is used by one goroutine at a time.
type neighbour struct {
	t       *testing.T
	path    string // of the mbox
	pid     int
	ask     *json.Encoder
	answers *bufio.Scanner
}

// newNeighbour starts one, for the account's mailbox, until the test ends.
func newNeighbour(t *testing.T, a program.Account) *neighbour {
	t.Helper()
	python := exec.Command("/usr/bin/python3", "testdata/neighbour.py")
	python.Stderr = os.Stderr
	stdin, err := python.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := python.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := python.Start(); err != nil {
		t.Fatal("run test/setup.sh: ", err)
	}
	t.Cleanup(func() {
		stdin.Close()
		python.Wait()
	})
	if err := os.MkdirAll(filepath.Dir(a.Mailbox), 0o700); err != nil {
		t.Fatal(err)
	}
	return &neighbour{t, a.Mailbox, python.Process.Pid, json.NewEncoder(stdin), bufio.NewScanner(stdout)}
}

// tell has the neighbour do something, and returns what it deleted by that.
func (n *neighbour) tell(do string, arguments map[string]any) (deleted []string) {
	n.t.Helper()
	command := map[string]any{"do": do}
	for name, value := range arguments {
		command[name] = value
	}
	if err := n.ask.Encode(command); err != nil {
		n.t.Fatal(err)
	}
	if !n.answers.Scan() {
		n.t.Fatalf("the neighbour died while told to %s", do)
	}
	var answer struct{ Deleted []string }
	if err := json.Unmarshal(n.answers.Bytes(), &answer); err != nil {
		n.t.Fatal(err)
	}
	return answer.Deleted
}

// appends has the neighbour append a letter, locking as how says.
func (n *neighbour) appends(how string, l bundle, subject string) {
	n.t.Helper()
	l[subject] = fmt.Sprintf("From: root@localhost\nSubject: %s\n\nFrom this line on it is\n>From the neighbour's cron.\n", subject)
	n.tell("append", map[string]any{"path": n.path, "message": quoted(l[subject]), "how": how})
}

// quoted is a message as mboxrd has it.
func quoted(message string) []byte {
	var b []byte
	for line := range strings.Lines(message) {
		if strings.HasPrefix(strings.TrimLeft(line, ">"), "From ") {
			b = append(b, '>')
		}
		b = append(b, line...)
	}
	return b
}

// rewrites has it delete letters, by the beginnings of their subjects, and write Status fields into all others where mark says so.
func (n *neighbour) rewrites(mark bool, subjects ...string) (deleted []string) {
	n.t.Helper()
	return n.tell("rewrite", map[string]any{"path": n.path, "delete": append([]string{}, subjects...), "mark": mark})
}

// postbox is an account on a server, with the letters that its mailbox is to hold in the end.
type postbox struct {
	program.Account
	t      *testing.T
	server *popsim.Account
	sim    *popsim.Server
	want   bundle
	owner  uint32 // of the mailbox; 0 means the test's own user
}

// newPostbox starts a server and writes a configuration; lines are further keys of the account.
func newPostbox(t *testing.T, kind string, lines ...string) *postbox {
	t.Helper()
	return newPostboxIn(t, t.TempDir(), kind, lines...)
}

// newPostboxIn is newPostbox in a folder that the test brings.
func newPostboxIn(t *testing.T, dir, kind string, lines ...string) *postbox {
	t.Helper()
	s, account := program.Serve(t, popsim.Config{Mode: popsim.NoTLS, Pipelining: true}, slices.Values([]popsim.Message(nil)))
	a := program.In(t, dir, kind, append(program.AtSim(t, s, popsim.NoTLS), lines...)...)
	return &postbox{Account: a, t: t, server: account, sim: s, want: bundle{}}
}

// receives puts letters on the server.
func (p *postbox) receives(subjects ...string) {
	for _, subject := range subjects {
		p.server.Deliver(p.want.add(subject))
	}
}

// numbered are n subjects.
func numbered(prefix string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("%s-%d", prefix, i)
	}
	return all
}

// command is the program with the account's configuration, run by the mailbox's owner.
func (p *postbox) command(args ...string) *exec.Cmd {
	c := p.Command(args...)
	if p.owner != 0 {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: p.owner, Gid: p.owner}}
	}
	return c
}

// runs runs the program, which has to end with that code.
func (p *postbox) runs(code int, args ...string) program.Outcome {
	p.t.Helper()
	o := program.Finish(p.t, p.command(args...))
	if o.Code != code {
		p.t.Errorf("popfetchd %s: exit code %d, want %d\n%.300s%.300s", strings.Join(args, " "), o.Code, code, o.Stdout, o.Stderr)
	}
	return o
}

// fetches fetches, and so many have to be new.
func (p *postbox) fetches(n int) {
	p.t.Helper()
	var r program.Report
	if err := json.Unmarshal([]byte(p.runs(0, "--once", "--json").Stdout), &r); err != nil {
		p.t.Fatal(err)
	}
	if r.New != n || r.Stored != n {
		p.t.Errorf("%d were new, %d stored, want %d", r.New, r.Stored, n)
	}
}

// misses verifies, and so many have to be missing, and nothing changed.
func (p *postbox) misses(n int) {
	p.t.Helper()
	code := 0
	if n > 0 {
		code = 65
	}
	for _, args := range [][]string{{"verify", "--json"}, {"verify", "--read", "--json"}} {
		var v struct{ Missing, Changed int }
		o := p.runs(code, args...)
		if err := json.Unmarshal([]byte(o.Stdout), &v); err != nil {
			p.t.Fatal(err)
		}
		if v.Missing != n || v.Changed != 0 {
			p.t.Errorf("%s: %d missing, %d changed, want %d and 0\n%.300s", args[1], v.Missing, v.Changed, n, o.Stderr)
		}
	}
}

// dies runs the program, and kills it when it comes to the n-th of such calls with the file at path.
func (p *postbox) dies(calls, path string, n int) {
	p.t.Helper()
	if o := p.mayDie(calls, path, n); o.Code != -1 {
		p.t.Fatalf("it was not killed at %s %d: exit code %d\n%s", calls, n, o.Code, o.Stderr)
	}
}

// mayDie is dies for a program that may end before it comes that far.
func (p *postbox) mayDie(calls, path string, n int) program.Outcome {
	p.t.Helper()
	strace := exec.Command("strace", "-f", "-qq", "-o", "/dev/null", "-P", path, "-e", "trace="+calls,
		"-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", calls, n), program.Path(), "--config", p.Config(), "--once")
	return program.Finish(p.t, strace)
}

// runsBeside runs the program to its end, and calls beside again and again meanwhile.
func (p *postbox) runsBeside(beside func()) {
	p.t.Helper()
	run, ended := p.command("--once"), make(chan struct{})
	var stderr strings.Builder
	run.Stderr = &stderr
	if err := run.Start(); err != nil {
		p.t.Fatal(err)
	}
	var err error
	go func() {
		err = run.Wait()
		close(ended)
	}()
	for {
		beside()
		select {
		case <-ended:
			if err != nil {
				p.t.Errorf("%v\n%s", err, &stderr)
			}
			return
		default:
		}
	}
}

// Another program appends to the mbox before, between, during and after runs, one of which is killed.
func TestNeighbourAppends(t *testing.T) {
	for _, how := range []string{"python", "fcntl", "dot", "none"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			p := newPostbox(t, "mbox")
			n := newNeighbour(t, p.Account)
			n.appends(how, p.want, "first")
			p.receives(numbered("a", 20)...)
			p.fetches(20)
			n.appends(how, p.want, "between")
			p.receives("b")
			p.fetches(1)
			weigh(t, "neighbours: another program appends between runs", p.Account, p.want, false)
			p.misses(0)
			for i := range rounds(3, 20) {
				p.receives(numbered(fmt.Sprintf("c-%d", i), 30)...)
				serial := 0
				p.runsBeside(func() {
					serial++
					n.appends(how, p.want, fmt.Sprintf("meanwhile-%d-%d", i, serial))
				})
			}
			p.fetches(0)
			// Who takes no lock is seen in the middle of a write (the kernel shows it page by page), and may get blank lines behind it.
			weigh(t, "neighbours: another program appends during runs", p.Account, p.want, how == "none")
			p.misses(0)
		})
	}
}

// rounds is how often something random is repeated: with -full more often.
func rounds(some, all int) int {
	if *full {
		return all
	}
	return some
}
