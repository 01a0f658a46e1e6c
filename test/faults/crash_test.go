package faults

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/internal/popsim/sample"
	"github.com/popfetchd/popfetchd/test/dovecot"
	"github.com/popfetchd/popfetchd/test/program"
)

// crashScene is a world before a run that is to be killed. It can be set up again and again, at the same paths.
type crashScene struct {
	kind, policy string
	a            program.Account
	server       *popsim.Server
	account      *popsim.Account
	start        []popsim.Message // what the server holds
	base         string           // a copy of the files
	want         program.Contents // what the mailbox is to hold in the end
}

// newCrashScene sets up a world in which a first run is to come: all is new.
func newCrashScene(t *testing.T, kind, policy string, messages []popsim.Message) *crashScene {
	t.Helper()
	s := &crashScene{kind: kind, policy: policy, base: t.TempDir(), want: program.Contents{}}
	s.server, s.account = program.Serve(t, popsim.Config{Mode: popsim.NoTLS}, slices.Values(messages))
	s.a = program.New(t, kind, append(program.AtSim(t, s.server, popsim.NoTLS), "policy: "+policy)...)
	for _, m := range messages {
		s.want.AddBytes(m.Stored())
	}
	s.keepAsBase(t)
	return s
}

// older is how many of the messages are stored before a second run: half of them wait for the server to confirm their
// deletion, the other half was to be kept a while longer.
const older = 4

// newSecondScene sets up a world in which some of the messages were stored by runs before. With policy delete the older
// ones are now due to go; with policy keep the deletions that were asked for are to be taken back.
func newSecondScene(t *testing.T, kind, policy string, messages []popsim.Message) *crashScene {
	t.Helper()
	s := newCrashScene(t, kind, policy, messages)
	for _, m := range messages[older/2:] {
		s.account.Remove(m.UID)
	}
	s.server.SetFault(popsim.On("QUIT", 0, popsim.Refuse("not now")))
	s.setPolicy(t, "policy: delete")
	if o := s.a.Run(t, "--once"); o.Code != 75 {
		t.Fatalf("with QUIT refused: exit code %d\n%s", o.Code, o.Stderr)
	}
	s.server.SetFault(nil)
	deliver(s.account, messages[older/2:older])
	s.setPolicy(t, "policy: delete", "delete_after: 30d")
	if r := s.a.Once(t); r.PendingDelete != older/2 || r.Stored != older-older/2 {
		t.Fatalf("before the second run: %+v", r)
	}
	deliver(s.account, messages[older:])
	s.setPolicy(t, "policy: "+policy)
	s.keepAsBase(t)
	return s
}

func deliver(account *popsim.Account, messages []popsim.Message) {
	for _, m := range messages {
		account.Deliver(m)
	}
}

func (s *crashScene) setPolicy(t *testing.T, lines ...string) {
	t.Helper()
	text, err := os.ReadFile(s.a.Config())
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ = bytes.Cut(text, []byte("    policy: "))
	text = append(text, "    "+strings.Join(lines, "\n    ")+"\n"...)
	if err := os.WriteFile(s.a.Config(), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *crashScene) keepAsBase(t *testing.T) {
	t.Helper()
	s.start = s.account.Messages()
	copyAll(t, s.a.Dir, s.base)
}

// reset sets the world up again.
func (s *crashScene) reset(t *testing.T) {
	t.Helper()
	for _, name := range []string{"state", "mail"} {
		if err := os.RemoveAll(filepath.Join(s.a.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	copyAll(t, s.base, s.a.Dir)
	for _, m := range s.account.Messages() {
		s.account.Remove(m.UID)
	}
	deliver(s.account, s.start)
}

func copyAll(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from+"/.", to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
}

// run runs the program and kills it at the moment.
func (s *crashScene) run(t *testing.T, at moment) traced {
	t.Helper()
	return traceRun(t, s.a.Dir, at, program.Path(), "--config", s.a.Config(), "--once")
}

// check runs the program on after a crash, and fails the test unless all is as if there had been none.
func (s *crashScene) check(t *testing.T, fault, crash string) {
	t.Helper()
	if t.Failed() {
		t.FailNow()
	}
	defer func() {
		if t.Failed() {
			t.Errorf("that was after the crash %s", crash)
		}
	}()
	s.a.Once(t)
	judge(t, fault, s.a, s.want)
	before := s.retrieved()
	if r := s.a.Once(t); r.New+r.Stored+r.Failed+r.Skipped+r.Deleted+r.PendingDelete != 0 || s.retrieved() != before {
		t.Errorf("the run after: %+v, %d messages retrieved", r, s.retrieved()-before)
	}
	s.a.Must(t, "verify", "--read")
	s.a.NoLeftovers(t)
	held := s.want
	if s.policy == "delete" {
		held = program.Contents{}
	}
	if got := program.HeldBy(t, s.account); !maps.Equal(got, held) {
		t.Errorf("with policy %s the server holds %d messages", s.policy, program.Count(got))
	}
}

// retrieved is how many messages the server has sent.
func (s *crashScene) retrieved() (n int) {
	for _, m := range s.start {
		n += s.account.Retrieved(m.UID)
	}
	return n
}

// few are messages of many sizes and kinds, two of them with the same UID and size.
func few(t *testing.T) []popsim.Message {
	t.Helper()
	names := []string{"from-after-blank", "dots", "each-byte", "mbox-inside", "empty", "bare-lf-dot", "no-final-line-end", "line-64KiB"}
	var messages []popsim.Message
	for _, m := range sample.Nasty() {
		if slices.Contains(names, m.UID) {
			messages = append(messages, m)
		}
	}
	if len(messages) != len(names) {
		t.Fatalf("%d of %d samples found", len(messages), len(names))
	}
	large := sample.Large(300_000) // several writes
	large.UID = "large"
	return append(messages, large,
		popsim.Message{UID: "twin", Body: []byte("Subject: one\r\n\r\n")}, popsim.Message{UID: "twin", Body: []byte("Subject: two\r\n\r\n")})
}

// crashScenes runs a test in each of the worlds, as many at a time as there are processors; without -full in some of them.
func crashScenes(t *testing.T, some int, test func(t *testing.T, s *crashScene)) {
	type scene struct {
		kind, policy, run string
		set               func(*testing.T, string, string, []popsim.Message) *crashScene
	}
	var scenes []scene
	for _, kind := range []string{"maildir", "mbox"} {
		for _, policy := range []string{"keep", "delete"} {
			scenes = append(scenes, scene{kind, policy, "first", newCrashScene}, scene{kind, policy, "second", newSecondScene})
		}
	}
	for _, i := range chosen(t, len(scenes), some) {
		t.Run(strings.Join([]string{scenes[i].kind, scenes[i].policy, scenes[i].run}, "/"), func(t *testing.T) {
			t.Parallel()
			test(t, scenes[i].set(t, scenes[i].kind, scenes[i].policy, few(t)))
		})
	}
}

// unharmed runs the program to its end and returns its steps.
func (s *crashScene) unharmed(t *testing.T) traced {
	t.Helper()
	s.reset(t)
	run := s.run(t, never)
	if run.killed || run.code != 0 || run.output != "" {
		t.Fatalf("killed: %v, exit code %d, %s", run.killed, run.code, run.output)
	}
	return run
}

// crashed is the world that a crash leaves.
func (s *crashScene) crashed(t *testing.T, at moment) *crashScene {
	t.Helper()
	s.reset(t)
	if run := s.run(t, at); !run.killed {
		t.Fatalf("the run ended before %v: exit code %d, %s", at, run.code, run.output)
	}
	after := *s
	after.base = t.TempDir()
	after.keepAsBase(t)
	return &after
}

// crashAt runs the program until it dies as its n-th step begins, and once more until it dies as that step has ended if
// it is a command to the server: before the answer is read. more is false when there is no such step.
func (s *crashScene) crashAt(t *testing.T, n int, fault string, struck *coverage) (more bool) {
	t.Helper()
	for _, at := range []moment{{n, false}, {n, true}} {
		s.reset(t)
		run := s.run(t, at)
		if !run.killed {
			if run.code != 0 {
				t.Fatalf("not killed, exit code %d, %s", run.code, run.output)
			}
			return false
		}
		struck.add(run, at)
		s.check(t, fault, fmt.Sprintf("%v at %v", at, run.steps[n]))
		if !run.steps[n].sent() {
			break
		}
	}
	return true
}

// coverage is which steps of a run were those at which it died.
type coverage struct {
	whole         []step // the run when nothing disturbs it
	before, after map[step]int
}

func newCoverage(unharmed traced) *coverage {
	return &coverage{unharmed.steps, map[step]int{}, map[step]int{unharmed.last: 1}} // its end comes after its last step
}

func (c *coverage) add(run traced, at moment) {
	if at.after {
		c.after[run.steps[at.step]]++
		return
	}
	c.before[run.steps[at.step]]++
	c.after[run.last]++
}

// complete fails the test unless the program died before and after each kind of step there is.
func (c *coverage) complete(t *testing.T) {
	t.Helper()
	kinds := map[step]int{}
	for _, s := range c.whole {
		kinds[s]++
	}
	for _, s := range slices.SortedFunc(maps.Keys(kinds), func(a, b step) int { return strings.Compare(a.object+a.name, b.object+b.name) }) {
		t.Logf("%v: %d in a run; died before it %d times, after it %d times", s, kinds[s], c.before[s], c.after[s])
		if c.before[s] == 0 || c.after[s] == 0 {
			t.Errorf("the program never died before, or never after: %v", s)
		}
	}
}

// require fails the test unless the run has the steps that the promises rest on: otherwise it is blind to them.
func (c *coverage) require(t *testing.T, kind, policy string) {
	t.Helper()
	needed := map[string][]string{
		"maildir": {`write mail/inbox/tmp/\*`, `fsync mail/inbox/tmp/\*`, `rename\w* mail/inbox/new/\*`, `fsync mail/inbox/new`},
		"mbox": {`p?write(64)? state/spool/.*\.spool`, `fsync state/spool/.*\.spool`, `link\w* mail/inbox\.lock`, `write mail/inbox`, `fsync mail/inbox`,
			`unlink\w* mail/inbox\.lock`, `unlink\w* state/spool/.*\.spool`},
		"keep":   {`pwrite64 state/ledger\.db-wal`, `fsync state/ledger\.db-wal`, `write server RETR`, `write server QUIT`},
		"delete": {`pwrite64 state/ledger\.db-wal`, `fsync state/ledger\.db-wal`, `write server RETR`, `write server DELE`, `write server QUIT`},
	}
	for _, pattern := range slices.Concat(needed[kind], needed[policy]) {
		expression := regexp.MustCompile("^" + pattern + "$")
		if !slices.ContainsFunc(c.whole, func(s step) bool { return expression.MatchString(s.String()) }) {
			t.Errorf("no step of the run is %s: is this still how the program works?", pattern)
		}
	}
}

// The program dies at each call by which it changes anything, before it is done, and after each command it sent, before
// the answer is read. Run on to the end, nothing tells of it.
func TestCrashAtEveryStep(t *testing.T) {
	crashScenes(t, 8, func(t *testing.T, s *crashScene) {
		struck := newCoverage(s.unharmed(t))
		struck.require(t, s.kind, s.policy)
		fault := "crash: SIGKILL at a system call, " + s.kind
		if !*full {
			for _, n := range chosen(t, len(struck.whole), 3) {
				s.crashAt(t, n, fault, struck)
			}
			return
		}
		for n := 0; s.crashAt(t, n, fault, struck); n++ {
		}
		struck.complete(t)
	})
}

// The program dies, and the run that mends what that left dies too.
func TestCrashWhileRecovering(t *testing.T) {
	crashScenes(t, 3, func(t *testing.T, s *crashScene) {
		fault := "crash during recovery, " + s.kind
		random := seeded(t)
		crashes, perCrash := 1, 2
		if *full {
			crashes, perCrash = 8, 12
		}
		steps := s.unharmed(t).steps
		for _, n := range draw(random, crashes, interesting(steps)) {
			crashed := s.crashed(t, moment{n, false})
			struck := newCoverage(crashed.unharmed(t))
			for _, again := range draw(random, perCrash, interesting(struck.whole)) {
				crashed.crashAt(t, again, fault, struck)
			}
			if t.Failed() {
				t.Fatalf("and before that one the crash {%d false} at %v", n, steps[n])
			}
		}
	})
}

// Every run dies, each a little later than the one before, until one comes to its end.
func TestCrashAfterCrash(t *testing.T) {
	crashScenes(t, 3, func(t *testing.T, s *crashScene) {
		further := 13
		if *full {
			further = 1
		}
		s.reset(t)
		crashes := 0
		for n := seeded(t).IntN(further); ; n += further {
			run := s.run(t, moment{n, false})
			if !run.killed {
				break
			}
			crashes++
		}
		s.check(t, "crash during recovery, "+s.kind, fmt.Sprintf("of %d runs", crashes))
	})
}

func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	t.Logf("-seed %d", *seed)
	return rand.New(rand.NewPCG(*seed, 1))
}

// draw returns at most n of the numbers.
func draw(random *rand.Rand, n int, numbers []int) []int {
	random.Shuffle(len(numbers), func(i, j int) { numbers[i], numbers[j] = numbers[j], numbers[i] })
	return numbers[:min(n, len(numbers))]
}

// interesting are the numbers of the steps that come after the ledger was made: half of a first run makes it.
func interesting(steps []step) []int {
	var numbers []int
	for n, s := range steps {
		if !strings.HasPrefix(s.object, "state/ledger.db.new") {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// With many messages a Maildir's files are flushed in one go, and one batch for an mbox is stored while the next is received.
func TestCrashAmongMany(t *testing.T) {
	for kind, test := range map[string]struct {
		messages int
		flush    string
		flushes  int
	}{
		"maildir": {50, "syncfs mail/inbox/new", 1},
		"mbox":    {1010, "fsync mail/inbox", 2},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			messages := make([]popsim.Message, test.messages)
			for i := range messages {
				messages[i].Body = fmt.Appendf(nil, "Subject: %d\r\n\r\nText.\r\n", i)
			}
			s := newCrashScene(t, kind, "delete", messages)
			struck := newCoverage(s.unharmed(t))
			flushes := 0
			for _, step := range struck.whole {
				if step.String() == test.flush {
					flushes++
				}
			}
			if flushes != test.flushes {
				t.Errorf("%q came %d times, not %d times", test.flush, flushes, test.flushes)
			}
			rare := slices.DeleteFunc(interesting(struck.whole), func(n int) bool { // not among hundreds of its like
				return struck.whole[n].sent() || strings.Contains(struck.whole[n].object, "/tmp/")
			})
			crashes := 1
			if *full {
				crashes = 40
			}
			for _, n := range draw(seeded(t), crashes, rare) {
				s.crashAt(t, n, "crash: SIGKILL at a system call, "+kind, struck)
			}
		})
	}
}

// A real server: the program dies before or after any of its steps.
func TestCrashWithDovecot(t *testing.T) {
	for _, kind := range []string{"maildir", "mbox"} {
		t.Run(kind, func(t *testing.T) {
			steps := crashWithDovecot(t, kind, never)
			crashes := 1
			if *full {
				crashes = 20
			}
			random := seeded(t)
			for _, n := range draw(random, crashes, interesting(steps)) {
				crashWithDovecot(t, kind, moment{n, random.IntN(2) == 0})
			}
		})
	}
}

// crashWithDovecot fetches from a Dovecot of its own, with a crash on the way, and returns the steps until then.
func crashWithDovecot(t *testing.T, kind string, at moment) []step {
	t.Helper()
	s := dovecot.Start(t, dovecot.Options{})
	defer s.Stop()
	program.Deliver(t, s, severalMessages)
	want := program.Held(t, s)
	a := program.New(t, kind, "host: 127.0.0.1", fmt.Sprintf("port: %d", s.POP3), "tls: none", "policy: delete")
	run := traceRun(t, a.Dir, at, program.Path(), "--config", a.Config(), "--once")
	if run.killed {
		a.Once(t)
		judge(t, "crash: SIGKILL at a system call, "+kind, a, want)
	} else if at != never || run.code != 0 {
		t.Fatalf("not killed, exit code %d, %s", run.code, run.output)
	}
	if r := a.Once(t); r.Listed+r.Stored+r.PendingDelete != 0 || program.Count(program.Held(t, s)) != 0 {
		t.Errorf("the run after a crash %v: %+v", at, r)
	}
	a.Must(t, "verify", "--read")
	a.NoLeftovers(t)
	return run.steps
}

func severalMessages(yield func(popsim.Message) bool) {
	n := 0
	for m := range sample.Messages() {
		if m.Octets() < 200_000 {
			if n++; n > 10 || !yield(m) {
				return
			}
		}
	}
}
