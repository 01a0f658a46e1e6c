// Package gmail proves that a Gmail account comes over whole: the program as users have it fetches from a simulated
// account, through windows, cuts, kills, suspensions and tokens that end, with every policy and whichever way Gmail turns
// out to be where nobody knows. In the end all that Gmail ever offered is here once, byte for byte, and after every run
// nothing counts as fetched there that is not here.
//
// Without flags the knobs are tried one by one on a small account, and a few combinations of all; with -full on larger
// ones, and many. A failure names its -seed.
package gmail

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/test/program"
)

var (
	full = flag.Bool("full", false, "larger accounts, every policy with every knob, many combinations")
	seed = flag.Uint64("seed", uint64(time.Now().UnixNano()), "decides all that is left to chance")
)

func TestMain(m *testing.M) {
	flag.Parse()
	code := program.Main(m)
	if testing.Verbose() {
		fmt.Println(&proven)
	}
	os.Exit(code)
}

// totals is what all tests together have proven.
type totals struct {
	mu                                                sync.Mutex
	accounts, messages, runs, killed, sessions, retrs int
}

var proven totals

func (p *totals) add(w *world) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.accounts++
	p.messages += len(w.offered)
	p.runs += w.runs
	p.killed += w.killed
	p.sessions += w.account.Sessions()
	p.retrs += w.sent()
}

func (p *totals) String() string {
	return fmt.Sprintf("proven with -seed %d: %d messages of %d accounts are here once each; %d runs, %d of them killed, %d sessions, %d RETRs; nothing lost, nothing twice",
		*seed, p.messages, p.accounts, p.runs, p.killed, p.sessions, p.retrs)
}

// chance is a test's own source of chance: the same for the same seed, whichever other tests run.
func chance(t *testing.T) *rand.Rand {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("-seed %d", *seed)
		}
	})
	h := uint64(14695981039346656037) // FNV-1a
	for _, b := range []byte(t.Name()) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return rand.New(rand.NewPCG(*seed, h))
}

// oneOf draws one of them.
func oneOf[T any](random *rand.Rand, all ...T) T { return all[random.IntN(len(all))] }
