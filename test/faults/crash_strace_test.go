package faults

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/popfetchd/popfetchd/test/program"
)

// strace counts the calls of each thread, and of each name, by itself. A Go program's calls wander among threads, so that
// "the n-th call of the run" is nothing that strace could be told, and calls of threads that make few are never struck.
// The tracer below counts them all as one sequence, by the same means (ptrace(2)), and so misses none.

// What all this rests on: a call at which a program is killed was not done; once it has ended, it was.
func TestKilledBeforeTheCall(t *testing.T) {
	dir := t.TempDir()
	there, missing := filepath.Join(dir, "there"), filepath.Join(dir, "missing")
	for name, test := range map[string]struct {
		call string
		args []string
	}{
		"mkdir": {"?mkdir,?mkdirat", []string{missing}},
		"mv":    {"?rename,?renameat,renameat2", []string{there, missing}},
		"ln":    {"?link,linkat", []string{there, missing}},
	} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		argv := append([]string{path}, test.args...)
		for crash, kill := range map[string]func() (killed, after bool){
			"tracer": func() (bool, bool) { return traceRun(t, dir, moment{0, false}, argv...).killed, false },
			"after":  func() (bool, bool) { return traceRun(t, dir, moment{0, true}, argv...).killed, true },
			"strace": func() (bool, bool) {
				strace := []string{"-f", "-qq", "-o", os.DevNull, "-e", "inject=" + test.call + ":signal=SIGKILL:when=1"}
				return program.Finish(t, exec.Command("strace", append(strace, argv...)...)).Code < 0, false
			},
		} {
			os.RemoveAll(missing)
			if err := os.WriteFile(there, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			killed, after := kill()
			if _, err := os.Lstat(missing); !killed || (err == nil) != after {
				t.Errorf("%s, %s: killed: %v; %v", name, crash, killed, err)
			}
		}
	}
}

// The same by strace(1), which counts for itself: each kind of call, its first, its second, and so on, until no thread
// makes so many of them.
func TestCrashUnderStrace(t *testing.T) {
	crashScenes(t, 3, func(t *testing.T, s *crashScene) {
		fault := "crash: SIGKILL at a system call, " + s.kind
		names := callNames(s.unharmed(t).steps)
		for _, i := range chosen(t, len(names), 1) {
			n := 1
			for ; *full || n <= 2; n++ {
				s.reset(t)
				if !s.killedByStrace(t, names[i], n) {
					break
				}
				s.check(t, fault, fmt.Sprintf("at %s number %d of a thread, by strace", names[i], n))
			}
			t.Logf("%s: %d crashes", names[i], n-1)
		}
	})
}

// callNames are the names of the system calls, but for those that open files, of which strace cannot tell those that
// make one.
func callNames(steps []step) []string {
	var names []string
	for _, s := range steps {
		if !strings.HasPrefix(s.name, "open") {
			names = append(names, s.name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// killedByStrace runs the program until one of its threads begins its n-th call of this name.
func (s *crashScene) killedByStrace(t *testing.T, name string, n int) bool {
	t.Helper()
	o := program.Finish(t, exec.Command("strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace="+name,
		"-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", name, n), program.Path(), "--config", s.a.Config(), "--once"))
	if o.Code > 0 || o.Stderr != "" {
		t.Fatalf("strace: exit code %d, %s", o.Code, o.Stderr)
	}
	return o.Code < 0 // strace ends as its child did
}

// step is a call that changes the world: a file, a folder, or what the server knows.
type step struct {
	name   string // of the system call
	object string // what it is done to, the same in each run: "inbox/tmp/*", "state/ledger.db-wal", "server QUIT"
}

func (s step) String() string { return s.name + " " + s.object }

// sent says that the step is a command to the server.
func (s step) sent() bool { return strings.HasPrefix(s.object, "server ") }

// moment is when a program is killed: as its step of this number (from 0, over all threads) begins, so that it is not
// done, or as it has ended.
type moment struct {
	step  int
	after bool
}

var never = moment{step: -1}

// traced is what the tracer saw of a run.
type traced struct {
	steps  []step // that began, the one it was killed at included
	last   step   // that ended last
	killed bool
	code   int
	output string
}

// traceRun runs a program whose files lie below dir, and kills it with SIGKILL at the moment.
func traceRun(t *testing.T, dir string, at moment, argv ...string) traced {
	t.Helper()
	runtime.LockOSThread() // the kernel takes ptrace's requests from the thread that started the program
	defer runtime.UnlockOSThread()
	tr := &tracer{dir: dir, at: at, begun: map[int]int{}}
	out, err := os.CreateTemp("", "output")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(out.Name())
	defer out.Close()
	err = tr.run(out, argv)
	if err != nil {
		t.Fatalf("tracing %s: %v; the tests need ptrace(2) on their own children", argv[0], err)
	}
	text, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	tr.seen.output = string(text)
	return tr.seen
}

type tracer struct {
	dir    string
	at     moment
	pid    int
	memory *os.File    // of the program
	begun  map[int]int // thread to the step it is in
	seen   traced
}

func (tr *tracer) run(out *os.File, argv []string) (err error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	tr.pid, err = syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{null.Fd(), out.Fd(), out.Fd()},
		Sys: &syscall.SysProcAttr{Ptrace: true, Setpgid: true}})
	if err != nil {
		return err
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(tr.pid, &status, 0, nil); err != nil || !status.Stopped() {
		return fmt.Errorf("it did not stop at its start: %#x, %w", status, err)
	}
	if err := syscall.PtraceSetOptions(tr.pid, unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_EXITKILL); err != nil {
		return err
	}
	if tr.memory, err = os.Open(fmt.Sprintf("/proc/%d/mem", tr.pid)); err != nil {
		return err
	}
	defer tr.memory.Close()
	return tr.follow()
}

// follow lets the program run from stop to stop until its end.
func (tr *tracer) follow() error {
	tid, signal := tr.pid, 0
	for {
		if err := syscall.PtraceSyscall(tid, signal); err != nil && !errors.Is(err, syscall.ESRCH) { // ESRCH: killed meanwhile
			return err
		}
		var status syscall.WaitStatus
		var err error
		for tid, signal, err = 0, 0, syscall.EINTR; errors.Is(err, syscall.EINTR); {
			tid, err = syscall.Wait4(-tr.pid, &status, unix.WALL, nil) // its process group: not the children of other tests
		}
		switch {
		case err != nil:
			return err
		case status.Exited() || status.Signaled():
			if tid == tr.pid {
				tr.seen.killed = status.Signaled() && status.Signal() == syscall.SIGKILL
				tr.seen.code = status.ExitStatus()
				return nil
			}
		case status.StopSignal() == syscall.SIGTRAP|0x80:
			if err := tr.stopped(tid); err != nil {
				return err
			}
		case status.StopSignal() != syscall.SIGTRAP && status.StopSignal() != syscall.SIGSTOP: // those two are ptrace's own
			signal = int(status.StopSignal())
		}
	}
}

// syscallInfo is ptrace(2)'s struct ptrace_syscall_info, of which all of the entry's arguments are used.
type syscallInfo struct {
	op     uint8
	_      [7]byte
	ip, sp uint64
	number uint64 // at an entry; else the result
	args   [6]uint64
	_      uint64
}

const opEntry, opExit = 1, 2 // PTRACE_SYSCALL_INFO_ENTRY and _EXIT

// stopped looks at a thread that stands at the beginning or end of a call.
func (tr *tracer) stopped(tid int) error {
	var info syscallInfo
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno == unix.ESRCH {
		return nil // killed meanwhile
	}
	if errno != 0 {
		return fmt.Errorf("PTRACE_GET_SYSCALL_INFO: %w (Linux 5.3 is needed)", errno)
	}
	n, inside := tr.begun[tid]
	switch {
	case info.op == opEntry:
		s, changes := tr.describe(&info)
		if !changes {
			return nil
		}
		n = len(tr.seen.steps)
		tr.begun[tid] = n
		tr.seen.steps = append(tr.seen.steps, s)
		if tr.at == (moment{n, false}) {
			return syscall.Kill(tr.pid, syscall.SIGKILL)
		}
	case info.op == opExit && inside:
		delete(tr.begun, tid)
		tr.seen.last = tr.seen.steps[n]
		if tr.at == (moment{n, true}) {
			return syscall.Kill(tr.pid, syscall.SIGKILL)
		}
	}
	return nil
}

// changing says of a system call where its arguments are: a file descriptor (fd), a path, a folder's descriptor that the
// path starts at, flags of open(2). -1: it has none.
type changing struct {
	name                 string
	fd, path, dir, flags int
}

// changings are the calls by number. What has two paths is known by the second, the new one.
var changings = func() map[uint64]changing {
	byFD := func(name string) changing { return changing{name, 0, -1, -1, -1} }
	byPath := func(name string, path int) changing { return changing{name, -1, path, -1, -1} }
	at := func(name string, dir int) changing { return changing{name, -1, dir + 1, dir, -1} }
	all := map[uint64]changing{
		unix.SYS_WRITE: byFD("write"), unix.SYS_PWRITE64: byFD("pwrite64"), unix.SYS_WRITEV: byFD("writev"), unix.SYS_PWRITEV: byFD("pwritev"),
		unix.SYS_PWRITEV2: byFD("pwritev2"), unix.SYS_FSYNC: byFD("fsync"), unix.SYS_FDATASYNC: byFD("fdatasync"), unix.SYS_SYNCFS: byFD("syncfs"),
		unix.SYS_SYNC_FILE_RANGE: byFD("sync_file_range"), unix.SYS_FTRUNCATE: byFD("ftruncate"), unix.SYS_FALLOCATE: byFD("fallocate"),
		unix.SYS_FCHMOD: byFD("fchmod"), unix.SYS_SENDTO: byFD("sendto"), unix.SYS_SENDMSG: byFD("sendmsg"), unix.SYS_SENDFILE: byFD("sendfile"),
		unix.SYS_COPY_FILE_RANGE: {"copy_file_range", 2, -1, -1, -1}, unix.SYS_SPLICE: {"splice", 2, -1, -1, -1},
		unix.SYS_TRUNCATE: byPath("truncate", 0), unix.SYS_RENAMEAT: at("renameat", 2), unix.SYS_RENAMEAT2: at("renameat2", 2),
		unix.SYS_LINKAT: at("linkat", 2), unix.SYS_SYMLINKAT: at("symlinkat", 1), unix.SYS_UNLINKAT: at("unlinkat", 0),
		unix.SYS_MKDIRAT: at("mkdirat", 0), unix.SYS_FCHMODAT: at("fchmodat", 0), unix.SYS_UTIMENSAT: at("utimensat", 0),
		unix.SYS_OPENAT: {"openat", -1, 1, 0, 2},
	}
	if runtime.GOARCH == "amd64" { // what younger architectures have as the calls above only; SQLite uses some
		all[2] = changing{"open", -1, 0, -1, 1}
		for number, c := range map[uint64]changing{82: byPath("rename", 1), 83: byPath("mkdir", 0), 84: byPath("rmdir", 0), 85: byPath("creat", 0),
			86: byPath("link", 1), 87: byPath("unlink", 0), 88: byPath("symlink", 1), 90: byPath("chmod", 0)} {
			all[number] = c
		}
	}
	return all
}()

// describe tells what the call at whose entry a thread stands is done to, if it changes the world.
func (tr *tracer) describe(info *syscallInfo) (step, bool) {
	c, ok := changings[info.number]
	if !ok || c.flags >= 0 && info.args[c.flags]&unix.O_CREAT == 0 {
		return step{}, false
	}
	if c.fd < 0 {
		path := tr.text(info.args[c.path])
		if !filepath.IsAbs(path) && c.dir >= 0 && int32(info.args[c.dir]) != unix.AT_FDCWD {
			path = filepath.Join(tr.open(int32(info.args[c.dir])), path)
		}
		return step{c.name, tr.alike(path)}, true
	}
	fd := int32(info.args[c.fd])
	path := tr.open(fd)
	switch {
	case fd <= 2 || strings.HasPrefix(path, "anon_inode:") || strings.HasPrefix(path, "pipe:"): // reports, and the Go runtime's own
		return step{}, false
	case strings.HasPrefix(path, "socket:"):
		command, _, _ := strings.Cut(tr.text(info.args[1]), "\r\n")
		command, _, _ = strings.Cut(command, " ")
		return step{c.name, "server " + command}, true
	}
	return step{c.name, tr.alike(path)}, true
}

func (tr *tracer) open(fd int32) string {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tr.pid, fd))
	return cmp.Or(path, fmt.Sprint(err))
}

// text reads a string from the program's memory. What is longer than any path is cut.
func (tr *tracer) text(address uint64) string {
	buf := make([]byte, 4096)
	n, _ := tr.memory.ReadAt(buf, int64(address)) // it may end before that, and memory with it
	text, _, _ := bytes.Cut(buf[:n], []byte{0})
	return string(text)
}

// varying is what is different in the names of each run: messages in a Maildir, random and process numbers.
var varying = regexp.MustCompile(`(inbox/(?:tmp|new|cur)/).+|(/\.?popfetchd-).+(\.\w+)$`)

// alike makes a path comparable with that of another run.
func (tr *tracer) alike(path string) string {
	below, err := filepath.Rel(tr.dir, path)
	if err != nil || strings.HasPrefix(below, "..") {
		return path
	}
	return varying.ReplaceAllString(below, "${1}${2}*${3}")
}
