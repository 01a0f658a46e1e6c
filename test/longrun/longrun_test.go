// Package longrun proves that the daemon can be left alone for years: the program as users have it, with hundreds of
// accounts, neither grows nor leaves files or threads open over thousands of runs, good ones and bad ones, and its log says
// what happened and nothing else.
//
// Without flags it is some five hundred runs, decided by a -seed that a failure names; with -full ten thousand.
package longrun

import (
	"flag"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/test/program"
)

var (
	full = flag.Bool("full", false, "10,000 runs instead of 500")
	seed = flag.Uint64("seed", uint64(time.Now().UnixNano()), "decides what happens in which run")
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(program.Main(m))
}

// chance is a test's source of chance.
func chance(t *testing.T) *rand.Rand {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("-seed %d", *seed)
		}
	})
	return rand.New(rand.NewPCG(*seed, 0))
}
