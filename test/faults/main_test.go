// Package faults proves the three promises by force: the program is killed at every step, loses its power, its line and
// its disk, shares its mailboxes with others and talks to servers that misbehave. Each time it is run on to the end, and
// then every message must be there once, byte for byte.
//
// Without flags a seeded choice of the faults is tried; with -full (make faults) all of them. The table that the tests
// print at their end is the one in docs/durability.md.
package faults

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/test/program"
)

var (
	full = flag.Bool("full", false, "try every fault, not a choice of them")
	seed = flag.Uint64("seed", uint64(time.Now().UnixNano()), "decides the choice of faults")
)

func TestMain(m *testing.M) {
	flag.Parse()
	code := program.Main(m)
	results.print()
	os.Exit(code)
}

// chosen returns all of 0 … n-1 with -full, else at most some of them: the seed decides which.
func chosen(t *testing.T, n, some int) []int {
	t.Helper()
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	if *full || n <= some {
		return all
	}
	t.Logf("-seed %d", *seed)
	random := rand.New(rand.NewPCG(*seed, uint64(n)))
	random.Shuffle(n, func(i, j int) { all[i], all[j] = all[j], all[i] })
	slices.Sort(all[:some])
	return all[:some]
}

// result is a row of the table: what became of messages under faults of one kind.
type result struct {
	fault                     string
	tried                     int // faults that struck
	messages                  int // that went through them
	lost, duplicated, damaged int // afterwards; all three must be 0
}

// table gathers the rows of all tests.
type table struct {
	mu   sync.Mutex
	rows []result
}

var results table

// add adds to the row of the same fault, or begins it.
func (t *table) add(r result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.rows, func(row result) bool { return row.fault == r.fault })
	if i < 0 {
		t.rows = append(t.rows, r)
		return
	}
	row := &t.rows[i]
	row.tried += r.tried
	row.messages += r.messages
	row.lost += r.lost
	row.duplicated += r.duplicated
	row.damaged += r.damaged
}

func (t *table) print() {
	if len(t.rows) == 0 {
		return
	}
	fmt.Println("| fault | tried | messages | lost | duplicated | damaged |\n|---|---|---|---|---|---|")
	for _, r := range t.rows {
		fmt.Printf("| %s | %d | %d | %d | %d | %d |\n", r.fault, r.tried, r.messages, r.lost, r.duplicated, r.damaged)
	}
}

// judge compares what the account's mailbox holds with what it should hold, after one fault and the runs that followed,
// enters the result in the table and fails the test unless each message is there once, byte for byte.
func judge(t *testing.T, fault string, a program.Account, want program.Contents) {
	t.Helper()
	got := a.Stored(t)
	r := result{fault: fault, tried: 1, messages: program.Count(want)}
	others := 0
	for sum, n := range got {
		switch {
		case want[sum] == 0:
			others += n
		case n > want[sum]:
			r.duplicated += n - want[sum]
		}
	}
	for sum, n := range want {
		r.lost += max(0, n-got[sum])
	}
	r.damaged = min(r.lost, others)
	r.lost -= r.damaged
	r.duplicated += others - r.damaged
	results.add(r)
	if r.lost+r.duplicated+r.damaged > 0 {
		t.Errorf("%s: of %d messages %d lost, %d damaged; %d too many", fault, r.messages, r.lost, r.damaged, r.duplicated)
	}
}
