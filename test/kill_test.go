package test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/internal/popsim/sample"
	"github.com/popfetchd/popfetchd/test/dovecot"
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
				deliver(t, s, manyMessages)
				want := held(t, s)
				relay := startRelay(t, s.POP3S.Addr())
				relayed := append([]string{"host: localhost", "port: " + relay.port(), "ca_file: " + s.CAFile}, "policy: "+policy)
				a := newAccount(t, kind, relayed...)
				whole := wholeRun(t, relay, kind, relayed[:3])
				killRuns(t, a, relay, whole)
				a.must(t, "--once")
				same(t, want, a.stored(t))
				if r := a.once(t); r.New != 0 || r.PendingDelete != 0 {
					t.Errorf("the run after: %+v", r)
				}
				a.must(t, "verify", "--read")
				if policy == "delete" {
					want = contents{}
				}
				same(t, want, held(t, s))
				noLeftovers(t, a)
			})
		}
	}
}

// wholeRun returns how many bytes the server sends in a run that nothing disturbs.
func wholeRun(t *testing.T, r *relay, kind string, keys []string) int64 {
	t.Helper()
	r.watch(1<<62, func() {})
	newAccount(t, kind, keys...).must(t, "--once")
	return r.passed()
}

// killRuns kills runs when a random number of bytes came from the server: every other one at once, among the messages, so
// that it surely dies before its end, and every other a random moment later, mostly near the end, where batches are
// committed and deletions sent, or after it. What is left to do becomes less from kill to kill.
func killRuns(t *testing.T, a account, relay *relay, whole int64) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	died := 0
	for i := range kills {
		after, delay := whole/2+random.Int64N(whole/2), time.Duration(0)
		if i%2 == 1 {
			after, delay = whole-random.Int64N(5000), time.Duration(random.Int64N(int64(killWithin)<<random.IntN(5)))
		}
		if count(a.stored(t)) == killMessages { // only the listing is left
			after = random.Int64N(15_000)
		}
		run := a.command("--once")
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
	t.Logf("seed %d: %d of %d runs were killed, %d messages stored by then", seed, died, kills, count(a.stored(t)))
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

// noLeftovers fails the test when spools, temporary files or dot locks remain.
func noLeftovers(t *testing.T, a account) {
	t.Helper()
	for _, pattern := range []string{"state/spool/*", "state/*.new*", "mail/inbox/tmp/*", "mail/*.lock*"} {
		if left, err := filepath.Glob(filepath.Join(a.dir, pattern)); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
	}
	if _, err := os.Stat(filepath.Join(a.dir, "state", "ledger.db")); err != nil {
		t.Error(err)
	}
}
