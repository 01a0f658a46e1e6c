package faults

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/test/program"
)

// diskCalls are the system calls by which mail and ledger come to the disk.
var diskCalls = []string{"write", "pwrite64", "fsync", "fdatasync", "syncfs", "renameat2", "renameat", "linkat", "mkdirat", "ftruncate"}

// tracedCall is a system call as strace wrote it down.
type tracedCall struct {
	thread, name, args string
	failed             bool // because strace had it so
}

// object is what the call was about, the same in each run.
func (c tracedCall) object() string {
	for _, known := range [][2]string{
		{"socket:", "socket"}, {"TCP:", "socket"}, {"anon_inode:", "runtime"}, {"pipe:", "report"}, {"/dev/null", "report"},
		{"/state/ledger.db.new", "new ledger"}, {"/state/ledger.db", "ledger"}, {"/state/spool/", "spool file"}, {"/state/spool", "spool"},
		{"/state/locks", "locks"}, {"/state", "state"}, {"/inbox/new", "new"}, {"/inbox/tmp/", "tmp file"}, {"/inbox/tmp", "tmp"}, {"/inbox/cur", "cur"},
		{"/mail/inbox.lock", "dot lock"}, {"/mail/inbox", "inbox"}, {"/mail", "mail"},
	} {
		if strings.Contains(c.args, known[0]) {
			return known[1]
		}
	}
	return "elsewhere"
}

func (c tracedCall) String() string { return c.name + " " + c.object() }

// path is what the call's first file descriptor stands for.
func (c tracedCall) path() string {
	_, path, _ := strings.Cut(c.args, "<")
	path, _, _ = strings.Cut(path, ">")
	return path
}

var (
	callWhole = regexp.MustCompile(`^(\d+) +(\w+)\((.*)\) += `)
	callBegun = regexp.MustCompile(`^(\d+) +(\w+)\((.*) <unfinished \.\.\.>`)
	callEnded = regexp.MustCompile(`^(\d+) +<\.\.\. \w+ resumed>`)
)

// parseTrace returns the calls by when they ended.
func parseTrace(text string) (calls []tracedCall) {
	begun := map[string]tracedCall{}
	for line := range strings.Lines(text) {
		failed := strings.Contains(line, "(INJECTED)")
		if m := callBegun.FindStringSubmatch(line); m != nil {
			begun[m[1]] = tracedCall{m[1], m[2], m[3], false}
		} else if m := callEnded.FindStringSubmatch(line); m != nil {
			c := begun[m[1]]
			c.failed = failed
			calls = append(calls, c)
		} else if m := callWhole.FindStringSubmatch(line); m != nil {
			calls = append(calls, tracedCall{m[1], m[2], m[3], failed})
		}
	}
	return calls
}

// straceArguments let calls fail (see strace(1), "inject") and write down those of these names into a file.
func straceArguments(out string, names []string, injections []string) []string {
	args := []string{"-f", "-y", "-s", "0", "-o", out, "-e", "signal=none", "-e", "trace=" + strings.Join(names, ",")}
	for _, injection := range injections {
		args = append(args, "-e", "inject="+injection)
	}
	return args
}

// underStrace runs the program with calls that fail, and returns the calls of these names.
func (d *diskTrial) underStrace(names []string, injections ...string) (program.Outcome, []tracedCall) {
	d.Helper()
	out := filepath.Join(d.TempDir(), "trace")
	args := append([]string{"-qq", "--seccomp-bpf"}, straceArguments(out, names, injections)...)
	o := program.Finish(d, exec.Command("strace", append(args, program.Path(), "--config", d.account.Config(), "--once")...))
	return o, d.readTrace(out)
}

// underStraceFrom is underStrace from the moment on when the server is asked for this message, and for calls about this
// path, or "" for all: others neither fail nor count.
func (d *diskTrial) underStraceFrom(t *testing.T, message int, path string, names []string, injections ...string) (program.Outcome, []tracedCall) {
	t.Helper()
	out := filepath.Join(d.TempDir(), "trace")
	pid, strace := make(chan int, 1), new(exec.Cmd)
	happened := d.at("RETR", message, func() error {
		args := append(straceArguments(out, names, injections), "-p", strconv.Itoa(<-pid))
		if path != "" {
			args = append(args, "-P", path)
		}
		*strace = *exec.Command("strace", args...)
		said, err := strace.StderrPipe()
		if err == nil {
			err = strace.Start()
		}
		if err != nil {
			return err
		}
		if attached := bufio.NewScanner(said); !attached.Scan() || !strings.Contains(attached.Text(), "attached") {
			return fmt.Errorf("strace: %s", attached.Text())
		}
		return nil
	})
	var stderr strings.Builder
	run := d.account.Command("--once")
	run.Stderr = &stderr
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	pid <- run.Process.Pid
	run.Wait()
	if err := happened(); err != nil {
		t.Fatal(err)
	}
	strace.Wait()
	return program.Outcome{Code: run.ProcessState.ExitCode(), Stderr: stderr.String()}, d.readTrace(out)
}

func (d *diskTrial) readTrace(path string) []tracedCall {
	d.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		d.Fatal(err)
	}
	return parseTrace(string(text))
}

func failedCalls(calls []tracedCall) []tracedCall {
	return slices.DeleteFunc(slices.Clone(calls), func(c tracedCall) bool { return !c.failed })
}

// injection is a call that fails: the n-th of its name in each thread, which is how strace counts.
type injection struct {
	setting
	second bool // in a second run, to which the ledger and the mailbox are nothing new
	call   string
	n      int
	errno  string
}

func (i injection) String() string {
	return fmt.Sprintf("%v,second=%v,%s:error=%s:when=%d", i.setting, i.second, i.call, i.errno, i.n)
}

// injections are all that make sense: as many of each call as a thread makes.
func injections(t *testing.T) (all []injection) {
	t.Helper()
	for _, s := range kinds() {
		s.pipelining = true // which spares writes to the server, that strace counts too
		for _, second := range []bool{false, true} {
			most := callsOfAThread(t, s, second)
			for _, call := range diskCalls {
				for n := 1; n <= most[call]; n++ {
					for _, errno := range []string{"ENOSPC", "EDQUOT", "EIO"} {
						all = append(all, injection{s, second, call, n, errno})
					}
				}
			}
		}
	}
	return all
}

// callsOfAThread counts how many calls of each name the thread makes that makes the most of them.
func callsOfAThread(t *testing.T, s setting, second bool) map[string]int {
	t.Helper()
	d := newDiskTrial(t, s, smallMail)
	defer d.end()
	if second {
		d.begun(t)
	}
	o, calls := d.underStrace(diskCalls)
	if o.Code != 0 || len(calls) == 0 {
		t.Fatalf("%d calls, exit code %d\n%s", len(calls), o.Code, o.Stderr)
	}
	count, most := map[tracedCall]int{}, map[string]int{}
	for _, c := range calls {
		c.args = ""
		count[c]++
		most[c.name] = max(most[c.name], count[c])
	}
	return most
}

// reasonsOf are texts for an error number. SQLite does not tell which one it met.
var reasonsOf = map[string][]string{
	"ENOSPC": {"no space left on device", "disk I/O error"},
	"EDQUOT": {"quota", "disk I/O error"},
	"EIO":    {"input/output error", "disk I/O error"},
}

// TestDiskInjected fails each call by which anything comes to the disk.
func TestDiskInjected(t *testing.T) {
	t.Parallel()
	all := injections(t)
	struck := map[string]int{}
	for _, n := range chosen(t, len(all), 20) {
		for _, call := range all[n].try(t) {
			struck[all[n].kind+": "+call.String()]++
		}
	}
	if !*full {
		return
	}
	for _, call := range []string{
		"maildir: write tmp file", "maildir: fsync tmp file", "maildir: renameat2 new", "maildir: fsync new", "maildir: mkdirat mail",
		"mbox: pwrite64 spool file", "mbox: fsync spool file", "mbox: fsync spool", "mbox: write inbox", "mbox: fsync inbox",
		"mbox: fsync mail", "mbox: linkat dot lock",
		"maildir: pwrite64 ledger", "maildir: fsync ledger", "mbox: pwrite64 ledger", "mbox: fsync ledger",
		"mbox: renameat new ledger", "mbox: fsync new ledger",
	} {
		if struck[call] == 0 {
			t.Errorf("%s was never struck; these were: %v", call, struck)
		}
	}
}

// try returns the calls that failed, none when they were not on the disk.
func (i injection) try(t *testing.T) (struck []tracedCall) {
	t.Helper()
	d := newDiskTrial(t, i.setting, smallMail)
	defer d.end()
	if i.second {
		d.begun(t)
	}
	o, calls := d.underStrace([]string{i.call, "write"}, fmt.Sprintf("%s:error=%s:when=%d", i.call, i.errno, i.n))
	struck = failedCalls(calls)
	for _, c := range struck {
		if slices.Contains([]string{"socket", "runtime", "report"}, c.object()) {
			return nil // not the disk, though a write
		}
	}
	if len(struck) == 0 {
		return nil // this run's threads made fewer calls
	}
	what := fmt.Sprintf("%v struck %v", i, struck)
	if o.Code != 0 {
		d.failed(t, what, o, reasonsOf[i.errno]...)
	} else if d.afterwards(t, o, 0); !harmlessFailure(calls) {
		t.Errorf("exit code 0: %s", what)
	}
	d.mended(t, d, "disk: ENOSPC/EDQUOT/EIO injected")
	d.explain(t, what, o)
	return struck
}

// harmlessFailure says that no promise depended on the calls that failed: SQLite does without the flush of the folder of
// its -wal file, and at the very end what it only copies from there into the ledger is safe in that file.
func harmlessFailure(calls []tracedCall) bool {
	for i, c := range calls {
		if !c.failed || c.name == "fsync" && c.object() == "state" {
			continue
		}
		talks := slices.ContainsFunc(calls[i:], func(c tracedCall) bool { return c.object() == "socket" })
		if c.object() != "ledger" || talks {
			return false
		}
	}
	return true
}

// TestDiskFailedFlushIsFinal lets flushes of received mail fail. The kernel may report that once and then hold the data for
// clean (fsync(2), "NOTES"): another flush would prove nothing, so the messages are fetched again.
func TestDiskFailedFlushIsFinal(t *testing.T) {
	t.Parallel()
	many := func(yield func(popsim.Message) bool) {
		for i := range 40 {
			if !yield(popsim.Message{UID: fmt.Sprint("uid", i), Body: fmt.Appendf(nil, "Subject: %d\r\n\r\nText.\r\n", i)}) {
				return
			}
		}
	}
	for _, test := range []struct {
		kind   string
		mails  func(func(popsim.Message) bool)
		call   string
		object string // whose flush is to fail
		again  int    // how often each message is fetched in the end
	}{
		{"maildir", smallMail, "fsync", "tmp file", 2},
		{"maildir", many, "syncfs", "new", 2},
		{"maildir", smallMail, "fsync", "new", 2},
		{"mbox", smallMail, "fsync", "spool file", 2},
		{"mbox", smallMail, "fsync", "inbox", 1}, // cut back, and appended once more from the spool, which had been flushed
	} {
		t.Run(test.kind+","+test.call+" "+test.object, func(t *testing.T) {
			flush{setting{kind: test.kind, policy: "delete"}, test.mails, test.call, test.object, test.again}.fail(t)
		})
	}
}

// flush is one that is to fail.
type flush struct {
	setting
	mails        func(func(popsim.Message) bool)
	call, object string
	again        int
}

// fail lets the first such flush fail that comes once messages have been received: those of the ledger come before.
func (f flush) fail(t *testing.T) {
	t.Helper()
	d := newDiskTrial(t, f.setting, f.mails)
	defer d.end()
	d.begun(t)
	path := map[string]string{"inbox": d.inbox(), "new": filepath.Join(d.inbox(), "new")}[f.object] // the names of others are not known before
	o, calls := d.underStraceFrom(t, 3, path, []string{"fsync", "syncfs", "ftruncate", "write", "pwrite64"}, f.call+":error=EIO:when=1")
	struck := failedCalls(calls)
	what := fmt.Sprintf("%s struck %v", f.call, struck)
	if !slices.ContainsFunc(struck, func(c tracedCall) bool { return c.object() == f.object }) {
		t.Fatal(what)
	}
	d.failed(t, what, o, "input/output error")
	d.notFlushedAgain(t, calls)
	if stored := program.Count(d.account.Stored(t)); stored != program.Count(d.want)/2 {
		t.Errorf("%d messages are in the mailbox after a batch that could not be flushed", stored)
	}
	d.mended(t, d, "disk: failed flush")
	for m := range f.mails {
		if got := d.mail.Retrieved(m.UID + "-later"); got != f.again {
			t.Errorf("%s was fetched %d times, not %d", m.UID, got, f.again)
		}
	}
	d.explain(t, what, o)
}

// notFlushedAgain fails the test when a file whose flush failed is flushed again with the same content, or is kept.
func (d *diskTrial) notFlushedAgain(t *testing.T, calls []tracedCall) {
	t.Helper()
	for i, c := range calls {
		object := c.object()
		if !c.failed || object == "ledger" || object == "state" { // SQLite writes the same anew
			continue
		}
		for _, later := range calls[i+1:] {
			if later.path() == c.path() && later.name == "ftruncate" {
				break
			}
			if later.path() == c.path() && later.name == c.name {
				t.Errorf("flushed again: %s", c.path())
			}
		}
		if object == "tmp file" || object == "spool file" {
			if _, err := os.Lstat(c.path()); !os.IsNotExist(err) {
				t.Errorf("%s is still there: %v", c.path(), err)
			}
		}
	}
}

// TestDiskWithoutLinks runs on what looks like a file system without hard links, without renames that replace nothing, and
// without both.
func TestDiskWithoutLinks(t *testing.T) {
	t.Parallel()
	const noLinks, row = "linkat:error=EPERM", "disk: no hard links, no rename without replacing"
	var tries []func(*testing.T)
	for _, injections := range [][]string{{noLinks}, {"renameat2:error=EINVAL"}, {"renameat2:error=ENOSYS"}, {"renameat2:error=EINVAL", noLinks}} {
		for _, s := range kinds() {
			tries = append(tries, func(t *testing.T) {
				d := newDiskTrial(t, s, smallMail)
				defer d.end()
				o, calls := d.underStrace([]string{"linkat", "renameat2"}, injections...)
				if d.afterwards(t, o, 0); o.Stderr != "" || s.kind == "maildir" && injections[0] != noLinks && len(failedCalls(calls)) == 0 {
					t.Errorf("%v: exit code %d, failed %v\n%s", injections, o.Code, failedCalls(calls), o.Stderr)
				}
				d.mended(t, d, row)
			})
		}
	}
	eachOrSome(t, tries, 6)
}
