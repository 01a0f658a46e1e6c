package test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/internal/popsim/sample"
	"github.com/popfetchd/popfetchd/test/dovecot"
	"github.com/popfetchd/popfetchd/test/program"
)

const (
	killMessages = 400
	kills        = 15
	killWithin   = 20 * time.Millisecond // or up to 16 times that, after the moment that was drawn, to hit what happens without the network
)

// However often the program is killed, and whenever: run to the end, every message is there once and unharmed, nothing
// is pending, and nothing lies about.
func TestKilledAtRandom(t *testing.T) {
	for _, kind := range []string{"maildir", "mbox"} {
		for _, policy := range []string{"keep", "delete"} {
			t.Run(kind+"/"+policy, func(t *testing.T) {
				s := dovecot.Start(t, dovecot.Options{})
				program.Deliver(t, s, manyMessages)
				want := program.Held(t, s)
				relay := startRelay(t, s.POP3S.Addr())
				relayed := append([]string{"host: localhost", "port: " + relay.port(), "ca_file: " + s.CAFile}, "policy: "+policy)
				a := program.New(t, kind, relayed...)
				whole := wholeRun(t, relay, kind, relayed[:3])
				killRuns(t, a, relay, whole)
				a.Must(t, "--once")
				program.Same(t, want, a.Stored(t))
				if r := a.Once(t); r.New != 0 || r.PendingDelete != 0 {
					t.Errorf("the run after: %+v", r)
				}
				a.Must(t, "verify", "--read")
				if policy == "delete" {
					want = program.Contents{}
				}
				program.Same(t, want, program.Held(t, s))
				a.NoLeftovers(t)
			})
		}
	}
}

// wholeRun returns how many bytes the server sends in a run that nothing disturbs.
func wholeRun(t *testing.T, r *relay, kind string, keys []string) int64 {
	t.Helper()
	r.watch(1<<62, func() {})
	program.New(t, kind, keys...).Must(t, "--once")
	return r.passed()
}

// killRuns kills runs when a random number of bytes came from the server: every other one at once, among the messages, so
// that it surely dies before its end, and every other a random moment later, mostly near the end, where batches are
// committed and deletions sent, or after it. What is left to do becomes less from kill to kill.
func killRuns(t *testing.T, a program.Account, relay *relay, whole int64) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	died := 0
	for i := range kills {
		after, delay := whole/2+random.Int64N(whole/2), time.Duration(0)
		if i%2 == 1 {
			after, delay = whole-random.Int64N(5000), time.Duration(random.Int64N(int64(killWithin)<<random.IntN(5)))
		}
		if program.Count(a.Stored(t)) == killMessages { // only the listing is left
			after = random.Int64N(15_000)
		}
		run := a.Command("--once")
		if err := run.Start(); err != nil {
			t.Fatal(err)
		}
		relay.watch(after, func() {
			if delay == 0 {
				run.Process.Kill()
			} else {
				time.AfterFunc(delay, func() { run.Process.Kill() })
			}
		})
		if run.Wait(); run.ProcessState.ExitCode() < 0 {
			died++
		}
	}
	t.Logf("seed %d: %d of %d runs were killed, %d messages stored by then", seed, died, kills, program.Count(a.Stored(t)))
	if died == 0 {
		t.Error("no run was killed: the test proved nothing")
	}
}

// manyMessages are the samples but for the largest, and some more.
func manyMessages(yield func(popsim.Message) bool) {
	n := 0
	for n < killMessages {
		for m := range sample.Messages() {
			if m.Octets() > 100_000 {
				continue
			}
			m.Body = append(fmt.Appendf(nil, "X-Serial: %d\r\n", n), m.Body...)
			if n++; !yield(m) || n == killMessages {
				return
			}
		}
	}
}
