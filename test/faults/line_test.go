package faults

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/test/dovecot"
	"github.com/popfetchd/popfetchd/test/program"
)

// wired is a trial whose account reaches the server over a line of ours.
type wired struct {
	trial
	line *line
}

// wire sets all up with the built-in server. With open the line ends TLS itself and sees what is said.
func wire(tb testing.TB, s setting, timeout string, open bool) *wired {
	tb.Helper()
	mode := popsim.NoTLS
	if s.tls && !open {
		mode = popsim.ImplicitTLS
	}
	server, mail := program.Serve(tb, popsim.Config{Mode: mode, Pipelining: s.pipelining}, smallMail)
	w := &wired{trial: newTrial(tb, s, mail)}
	authority := server.CACertificate()
	if open && s.tls {
		w.line, authority = newOpenLine(tb, server.Addr().String())
	} else {
		w.line = newLine(tb, server.Addr().String())
	}
	w.enlist(tb, "127.0.0.1", authority, timeout)
	return w
}

// enlist makes the account.
func (w *wired) enlist(tb testing.TB, host string, authority []byte, timeout string) {
	tb.Helper()
	keys := []string{"host: " + host, "port: " + w.line.port(), "policy: " + w.policy, "timeout: " + timeout}
	if w.tls {
		ca := filepath.Join(tb.TempDir(), "ca.pem")
		if err := os.WriteFile(ca, authority, 0o600); err != nil {
			tb.Fatal(err)
		}
		keys = append(keys, "tls: implicit", "ca_file: "+ca)
	} else {
		keys = append(keys, "tls: none")
	}
	w.account = program.New(tb, w.kind, keys...)
}

// longPatience is for lines that are to fail in another way than by silence.
const longPatience = "2m"

// reach returns the most bytes that a run takes to the server, and to the client, when nothing disturbs it.
func reach(t *testing.T, settings []setting, open bool) (most [2]int64) {
	t.Helper()
	for _, s := range settings {
		stage := newStage(t)
		w := wire(stage, s, longPatience, open)
		w.account.Once(stage)
		for direction, n := range w.line.passed() {
			most[direction] = max(most[direction], n)
		}
		stage.end()
	}
	return most
}

// faultAt counts all places of a line: first those of bytes to the server, then those to the client. Every other fault
// strikes the first connection alone, and a run that makes a second one gets through.
func faultAt(n int, most [2]int64, end lineEnd) lineFault {
	f := lineFault{toServer: int64(n) < most[0], after: int64(n), end: end, every: n%2 == 0}
	if !f.toServer {
		f.after -= most[0]
	}
	return f
}

// survived judges the run over a broken line and those after it, over a line that is whole again.
func (w *wired) survived(t *testing.T, tb testing.TB, row, what string, o program.Outcome) {
	t.Helper()
	defer w.explain(t, what, o)
	if o.Code != 0 {
		oneLine(t, o)
	}
	w.afterwards(t, o, 75)
	w.account.NoLeftovers(t)
	broken := w.line.struck()
	w.line.breaks(nil)
	if r := w.account.Once(tb); r.Skipped > 0 {
		minutesLater(t, w.account, broken-1)
	}
	w.mended(t, tb, row)
}

// minutesLater makes messages due now that wait after a second failure. They must wait no longer than a minute, and be so
// few at most: those that no connection broke over have nothing to wait for, nor have those with one that did.
func minutesLater(t *testing.T, a program.Account, most int) {
	t.Helper()
	books, err := ledger.Open(filepath.Join(a.Dir, "state", "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer books.Close()
	failures, err := books.Failures("test")
	if err != nil || len(failures) == 0 || len(failures) > most {
		t.Fatalf("%d messages wait instead of at most %d; %v", len(failures), most, err)
	}
	for i := range failures {
		if wait := time.Until(failures[i].NextAt); wait <= 0 || wait > time.Minute {
			t.Errorf("a message waits until %v", failures[i].NextAt)
		}
		failures[i].NextAt = time.Now()
	}
	if err := books.Fail("test", failures); err != nil {
		t.Fatal(err)
	}
}

// TestLineBreaks ends the connection after every byte of either direction, with and without a reset: in cleartext, and as
// a line under TLS ends, which knows nothing of records. Of the many bytes under TLS resets come after every third.
func TestLineBreaks(t *testing.T) {
	for _, test := range []struct {
		row  string
		end  lineEnd
		tls  bool
		step int
	}{
		{"line: cut after n bytes", cut, false, 1}, {"line: cut after n bytes", cut, true, 1},
		{"line: reset", reset, false, 1}, {"line: reset", reset, true, 3},
	} {
		t.Run(fmt.Sprintf("%s,tls=%v", test.end, test.tls), func(t *testing.T) {
			breakAnywhere(t, test.row, byTransport(test.tls), test.end, false, test.step, 24)
		})
	}
}

// TestTLSTruncation ends TLS between two records, so that what came is whole, but without the close_notify that would
// say that nothing more was to come (RFC 8446 §6.1): a message must not be taken for complete because the line ended.
func TestTLSTruncation(t *testing.T) {
	breakAnywhere(t, "line: TLS truncation", byTransport(true), cut, true, 1, 32)
}

// breakAnywhere tries a run's bytes, one in every step of them.
func breakAnywhere(t *testing.T, row string, settings []setting, end lineEnd, open bool, step, some int) {
	t.Helper()
	most := reach(t, settings, open)
	forEach(t, settings, int(most[0]+most[1])/step, some, func(t *testing.T, s setting, n int) {
		stage := newStage(t)
		defer stage.end()
		w := wire(stage, s, longPatience, open)
		f := faultAt(n*step+n%step, most, end)
		w.line.breaks(&f)
		o := runBounded(stage, w.account, "--once")
		if w.line.struck() > 0 { // else this run took a few bytes less
			w.survived(t, stage, row, fmt.Sprintf("%+v", f), o)
		}
	})
}

// TestQuitUnanswered loses QUIT, or its answer: the deletions were carried out or were not, and the program cannot know.
func TestQuitUnanswered(t *testing.T) {
	var faults []lineFault
	for _, quit := range []quitFault{quitLost, quitUnanswered} {
		for _, end := range []lineEnd{cut, reset, stalled} {
			faults = append(faults, lineFault{quit: quit, end: end, every: true})
		}
	}
	each := len(settings())
	forEach(t, settings(), len(faults)*each, 16, func(t *testing.T, s setting, n int) {
		tryQuit(t, s, faults[n/each])
	})
}

func tryQuit(t *testing.T, s setting, f lineFault) {
	t.Helper()
	stage := newStage(t)
	defer stage.end()
	timeout := longPatience
	if f.end == stalled {
		timeout = "1s"
	}
	w := wire(stage, s, timeout, true)
	w.line.breaks(&f)
	o := runBounded(stage, w.account, "--once")
	if w.line.struck() != 1 {
		t.Fatalf("there were %d faults", w.line.struck())
	}
	what := fmt.Sprintf("QUIT %s, then %s", f.quit, f.end)
	if want := map[string]int{"keep": 0, "delete": 75}[s.policy]; o.Code != want { // with nothing to delete QUIT says nothing that counts
		t.Errorf("%s: exit code %d, not %d", what, o.Code, want)
	}
	lengthen(t, w.account)
	w.survived(t, stage, "line: QUIT unanswered", what, o)
	for m := range smallMail {
		if n := w.mail.Retrieved(m.UID); n != 1 {
			t.Errorf("%s: %v: %s was fetched %d times", what, s, m.UID, n)
		}
	}
}

// lengthen gives an account that was to notice silence soon a timeout that a busy machine does not reach.
func lengthen(tb testing.TB, a program.Account) {
	tb.Helper()
	text, err := os.ReadFile(a.Config())
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(a.Config(), []byte(strings.Replace(string(text), "timeout: 1s", "timeout: "+longPatience, 1)), 0o600); err != nil {
		tb.Fatal(err)
	}
}

// TestLineStalls lets the line fall silent for ever: the program gives up by itself. As each run waits for
// its timeout, many of them wait at the same time.
func TestLineStalls(t *testing.T) {
	const together, step = 12, 8
	for _, tls := range []bool{false, true} {
		settings := byTransport(tls)
		most := reach(t, settings, false)
		for tries := range slices.Chunk(chosen(t, int(most[0]+most[1])/step, together/2), together) {
			stalls := make([]*stall, len(tries))
			for i, n := range tries {
				stalls[i] = beginStall(t, settings[n%len(settings)], faultAt(n*step+n%step, most, stalled))
				defer stalls[i].stage.end()
			}
			for _, s := range stalls {
				s.finish(t)
			}
		}
	}
}

// stall is a run that waits for a server in vain.
type stall struct {
	*wired
	fault  lineFault
	stage  *stage
	run    *exec.Cmd
	stderr bytes.Buffer
}

func beginStall(t *testing.T, s setting, f lineFault) *stall {
	t.Helper()
	stage := newStage(t)
	b := &stall{stage: stage, wired: wire(stage, s, "1s", false), fault: f}
	b.line.breaks(&f)
	b.run = b.account.Command("--once")
	b.run.Stderr = &b.stderr
	if err := b.run.Start(); err != nil {
		t.Fatal(err)
	}
	return b
}

// finish waits for the run to give up; one that waits for ever is killed.
func (b *stall) finish(t *testing.T) {
	t.Helper()
	kill := time.AfterFunc(time.Minute, func() { b.run.Process.Kill() })
	b.run.Wait()
	kill.Stop()
	lengthen(t, b.account)
	if b.line.struck() > 0 {
		o := program.Outcome{Code: b.run.ProcessState.ExitCode(), Stderr: b.stderr.String()}
		b.survived(t, b.stage, "line: stall", fmt.Sprintf("%+v", b.fault), o)
	}
}

// TestLineByteByByte delivers each byte by itself, in both directions: nothing fails, so nothing may.
func TestLineByteByByte(t *testing.T) {
	for _, s := range settings() {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			stage := newStage(t)
			defer stage.end()
			w := wire(stage, s, longPatience, false)
			w.line.breaks(&lineFault{byByte: true, every: true})
			o := w.account.Run(stage, "--once")
			if o.Code != 0 || o.Stderr != "" {
				t.Errorf("exit code %d\n%s", o.Code, o.Stderr)
			}
			w.survived(t, stage, "line: one byte at a time", "byte by byte", o)
		})
	}
}

// TestLineToDovecot breaks the line to a server that is not ours.
func TestLineToDovecot(t *testing.T) {
	server := dovecot.Start(t, dovecot.Options{})
	if err := server.AddUser(program.Username, program.Password); err != nil {
		t.Fatal(err)
	}
	for _, s := range settings() {
		if s.pipelining { // Dovecot always offers it
			t.Run(s.String(), func(t *testing.T) { breakDovecot(t, s, server) })
		}
	}
}

func breakDovecot(t *testing.T, s setting, server *dovecot.Server) {
	most, round := [2]int64{}, 0
	try := func(f *lineFault) {
		stage := newStage(t)
		defer stage.end()
		w := wireDovecot(stage, s, server)
		w.line.breaks(f)
		o := w.account.Run(stage, "--once")
		if f == nil {
			most = w.line.passed()
		} else if w.line.struck() > 0 {
			w.survived(t, stage, map[lineEnd]string{cut: "line: cut after n bytes", reset: "line: reset"}[f.end], fmt.Sprintf("Dovecot, %+v", *f), o)
			return
		} else if f.byByte {
			w.survived(t, stage, "line: one byte at a time", "Dovecot, byte by byte", o)
			return
		}
		w.line.breaks(nil)
		w.account.Once(t)
	}
	try(nil)
	try(&lineFault{byByte: true, every: true})
	for _, n := range chosen(t, int(most[0]+most[1])/10, 3) {
		round++
		f := faultAt(n*10+round%10, most, []lineEnd{cut, reset}[round%2])
		if try(&f); t.Failed() {
			return
		}
	}
}

// wireDovecot is wire for a Dovecot, where what is left of an earlier fault serves again.
func wireDovecot(tb testing.TB, s setting, server *dovecot.Server) *wired {
	tb.Helper()
	held := func() program.Contents { return program.Held(tb, server) }
	if len(held()) == 0 {
		program.Deliver(tb, server, smallMail)
	}
	w := &wired{trial: trial{setting: s, want: held(), held: held}}
	port, authority := server.POP3, []byte(nil)
	if s.tls {
		port = server.POP3S
		var err error
		if authority, err = os.ReadFile(server.CAFile); err != nil {
			tb.Fatal(err)
		}
	}
	w.line = newLine(tb, port.Addr())
	w.enlist(tb, "127.0.0.1", authority, longPatience)
	return w
}
