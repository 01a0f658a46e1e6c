package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/internal/popsim/sample"
	"github.com/popfetchd/popfetchd/test/dovecot"
)

const mebibyte = 1024 // in the kibibytes that getrusage counts

// peak runs the program to its end and returns its peak resident memory in KiB, as getrusage(2) tells its parent. The
// parent is a Python of its own, since what a child is said to have used includes what its parent had when it forked.
func (a account) peak(t *testing.T, args ...string) int {
	t.Helper()
	measure := exec.Command("python3", append([]string{"-c", `
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)`, popfetchd, "--config", a.config()}, args...)...)
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
	deliver(t, s, slices.Values([]popsim.Message{sample.Large(256 << 20)}))
	for _, kind := range []string{"maildir", "mbox"} {
		if kib := newAccount(t, kind, at(s)...).peak(t, "--once"); kib >= 40*mebibyte {
			t.Errorf("%s: peak %d KiB, promised is less than 40 MiB", kind, kib)
		}
	}
}

// from-now-on makes all that is listed known at once, so that the poll after it is one of 100,000 known messages.
func TestMemoryOfAPollOfAHundredThousandKnown(t *testing.T) {
	const known = 100_000
	maildrop := &popsim.Account{Username: username, Password: password}
	for i := range known {
		maildrop.Deliver(popsim.Message{UID: fmt.Sprintf("GmailId%016x", i), Body: []byte("Subject: x\r\n\r\n")})
	}
	s, err := popsim.Start("127.0.0.1:0", popsim.Config{Accounts: []*popsim.Account{maildrop}, Pipelining: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	write(t, ca, string(s.CACertificate()))
	host, port, _ := strings.Cut(s.Addr().String(), ":")
	a := newAccount(t, "maildir", "host: "+host, "port: "+port, "ca_file: "+ca, "access: from-now-on")
	first := a.peak(t, "--once")
	if r := a.once(t); r.Listed != known || r.New != 0 {
		t.Fatalf("%+v", r)
	}
	if kib := max(first, a.peak(t, "--once")); kib >= 64*mebibyte {
		t.Errorf("peak %d KiB, promised is less than 64 MiB", kib)
	}
	if _, err := os.Stat(a.mailbox); !os.IsNotExist(err) {
		t.Errorf("a poll that finds nothing made the mailbox: %v", err)
	}
}
