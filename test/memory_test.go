package test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/internal/popsim/sample"
	"github.com/popfetchd/popfetchd/test/dovecot"
	"github.com/popfetchd/popfetchd/test/program"
)

const mebibyte = 1024 // in the kibibytes that getrusage counts

// peak runs the program to its end and returns its peak resident memory in KiB, as getrusage(2) tells its parent. The
// parent is a Python of its own, since what a child is said to have used includes what its parent had when it forked.
func peak(t *testing.T, a program.Account, args ...string) int {
	t.Helper()
	measure := exec.Command("python3", append([]string{"-c", `
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)`, program.Path(), "--config", a.Config()}, args...)...)
	out, err := measure.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var code, kib int
	if _, err := fmt.Sscan(string(out), &code, &kib); err != nil || code != 0 {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("peak %d KiB", kib)
	return kib
}

func TestMemoryOfAHugeMessage(t *testing.T) {
	s := dovecot.Start(t, dovecot.Options{})
	program.Deliver(t, s, slices.Values([]popsim.Message{sample.Large(256 << 20)}))
	for _, kind := range []string{"maildir", "mbox"} {
		if kib := peak(t, program.New(t, kind, program.At(s)...), "--once"); kib >= 40*mebibyte {
			t.Errorf("%s: peak %d KiB, promised is less than 40 MiB", kind, kib)
		}
	}
}

// from-now-on makes all that is listed known at once, so that the poll after it is one of 100,000 known messages.
func TestMemoryOfAPollOfAHundredThousandKnown(t *testing.T) {
	const known = 100_000
	s, _ := program.Serve(t, popsim.Config{Pipelining: true}, func(yield func(popsim.Message) bool) {
		for i := 0; i < known && yield(popsim.Message{UID: fmt.Sprintf("GmailId%016x", i), Body: []byte("Subject: x\r\n\r\n")}); i++ {
		}
	})
	a := program.New(t, "maildir", append(program.AtSim(t, s, popsim.ImplicitTLS), "access: from-now-on")...)
	first := peak(t, a, "--once")
	if r := a.Once(t); r.Listed != known || r.New != 0 {
		t.Fatalf("%+v", r)
	}
	if kib := max(first, peak(t, a, "--once")); kib >= 64*mebibyte {
		t.Errorf("peak %d KiB, promised is less than 64 MiB", kib)
	}
	if _, err := os.Stat(a.Mailbox); !os.IsNotExist(err) {
		t.Errorf("a poll that finds nothing made the mailbox: %v", err)
	}
}
