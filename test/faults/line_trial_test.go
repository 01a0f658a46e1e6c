package faults

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/test/program"
)

// setting is an account and its server: one of the combinations under which faults are tried.
type setting struct {
	kind       string // "maildir" or "mbox"
	policy     string // "keep" or "delete"
	pipelining bool
	tls        bool
}

func (s setting) String() string {
	name := s.kind + "," + s.policy
	if s.pipelining {
		name += ",pipelined"
	}
	if s.tls {
		return name + ",tls"
	}
	return name + ",cleartext"
}

// settings are half of all combinations, of which any three choices occur together: four with TLS, four without.
func settings() []setting {
	var all []setting
	for i := range 8 {
		s := setting{kind: "maildir", policy: "keep", pipelining: i&4 != 0, tls: (i^i>>1^i>>2)&1 != 0}
		if i&1 != 0 {
			s.kind = "mbox"
		}
		if i&2 != 0 {
			s.policy = "delete"
		}
		all = append(all, s)
	}
	return all
}

// stage is a test that has folders and cleanups for one fault alone, so that thousands do not pile up.
type stage struct {
	testing.TB
	dir      string
	cleanups []func()
}

// newStage begins one; the caller defers end. What the disk does is not in question: where there is a file system in
// memory all is kept there, and thousands of faults take half the time.
func newStage(tb testing.TB) *stage {
	tb.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "fault-")
	if err != nil {
		dir, err = os.MkdirTemp("", "fault-")
	}
	if err != nil {
		tb.Fatal(err)
	}
	return &stage{TB: tb, dir: dir}
}

func (s *stage) TempDir() string {
	s.Helper()
	dir, err := os.MkdirTemp(s.dir, "")
	if err != nil {
		s.Fatal(err)
	}
	return dir
}

func (s *stage) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }

func (s *stage) end() {
	for _, f := range slices.Backward(s.cleanups) {
		f()
	}
	if err := os.RemoveAll(s.dir); err != nil {
		s.Error(err)
	}
}

// forEach tries a fault at each of the points, spread over the settings, which run side by side. No two settings get the
// same point: with all points given, each is tried once.
func forEach(t *testing.T, settings []setting, points int, some int, try func(*testing.T, setting, int)) {
	t.Helper()
	share := make([][]int, len(settings))
	for _, n := range chosen(t, points, some) {
		share[n%len(settings)] = append(share[n%len(settings)], n)
	}
	for i, s := range settings {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			for _, n := range share[i] {
				if try(t, s, n); t.Failed() {
					return
				}
			}
		})
	}
}

// byTransport are the settings with TLS, or those without.
func byTransport(tls bool) []setting {
	return slices.DeleteFunc(settings(), func(s setting) bool { return s.tls != tls })
}

// runBounded runs the program; one that does not end within minutes is killed, and has no exit code.
func runBounded(tb testing.TB, a program.Account, args ...string) program.Outcome {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	command := a.Command(args...)
	return program.Finish(tb, exec.CommandContext(ctx, command.Path, command.Args[1:]...))
}

// smallMail are few octets with all that is special in them, for faults at every one of them.
func smallMail(yield func(popsim.Message) bool) {
	for i, body := range []string{
		"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\nFrom here\r\n>From there\r\n",
		"",
		"Subject: \xe9\x00\r\n\r\na\nb\rc\r\n\r\nFrom \r\n",
		"x",
		"Subject: last\r\n\r\n+OK\r\n-ERR\r\n\r\n",
	} {
		if !yield(popsim.Message{UID: fmt.Sprintf("uid%d", i), Body: []byte(body)}) {
			return
		}
	}
}

// trial is an account and a server to which a fault is about to happen, and what is to be in the mailbox in the end.
type trial struct {
	setting
	account program.Account
	want    program.Contents
	held    func() program.Contents // by the server, now
	mail    *popsim.Account         // the built-in server's; nil with another
	earlier bool                    // the test had failed before, or this was explained
}

// newTrial is a trial with the built-in server, which has all its mail; it lacks the account.
func newTrial(tb testing.TB, s setting, mail *popsim.Account) trial {
	tb.Helper()
	held := func() program.Contents { return program.HeldBy(tb, mail) }
	return trial{setting: s, mail: mail, earlier: tb.Failed(), want: held(), held: held}
}

// server fails the test unless the server holds what the policy says.
func (tr *trial) server(t *testing.T) {
	t.Helper()
	want := tr.want
	if tr.policy == "delete" {
		want = program.Contents{}
	}
	program.Same(t, want, tr.held())
}

// afterwards holds a run that met a fault to its promises: nothing wrong stored, nothing deleted that is not stored, and an
// exit code that tells whether all was done: 0, or else code.
func (tr *trial) afterwards(t *testing.T, o program.Outcome, code int) {
	t.Helper()
	stored, held := tr.account.Stored(t), tr.held()
	lost, more := stored.Against(tr.want)
	if more > 0 {
		t.Errorf("%d messages are stored that the server never had, or twice", more)
	}
	for sum, n := range tr.want {
		if stored[sum] < n && held[sum] < n {
			t.Error("a message is gone from the server and not stored")
		}
	}
	switch {
	case o.Code == 0 && lost > 0:
		t.Errorf("all is said to be well, but %d messages are not stored", lost)
	case o.Code == 0:
		tr.server(t)
	case o.Code != code:
		t.Errorf("exit code %d, not %d", o.Code, code)
	}
}

// mended runs the program to the end, now that nothing is in its way, and holds it to all that was promised.
func (tr *trial) mended(t *testing.T, tb testing.TB, row string) {
	t.Helper()
	tr.account.Once(tb)
	judge(t, row, tr.account, tr.want)
	if r := tr.account.Once(tb); r.New != 0 || r.PendingDelete != 0 {
		t.Errorf("the last run: %+v", r)
	}
	tr.account.Must(tb, "verify", "--read")
	tr.account.NoLeftovers(t)
	tr.server(t)
}

// explain says, once it has failed, what the fault of a trial was and how the run ended.
func (tr *trial) explain(t *testing.T, what string, o program.Outcome) {
	t.Helper()
	if t.Failed() && !tr.earlier {
		tr.earlier = true
		t.Logf("%v: %s: exit code %d\n%s", tr.setting, what, o.Code, o.Stderr)
	}
}

// oneLine returns the one line by which a run said what went wrong; log lines about single messages may stand beside it.
func oneLine(t *testing.T, o program.Outcome) string {
	t.Helper()
	var found []string
	for line := range strings.Lines(o.Stderr) {
		if !strings.HasPrefix(line, "time=") {
			found = append(found, line)
		}
	}
	if len(found) != 1 || !strings.HasPrefix(found[0], "popfetchd: ") || strings.ContainsFunc(strings.TrimSuffix(found[0], "\n"), isControl) {
		t.Errorf("one line should tell what went wrong:\n%s", o.Stderr)
		return ""
	}
	return found[0]
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }
