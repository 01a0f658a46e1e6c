package faults

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
)

// maxPeak is the memory that no server can make the program go beyond, in the KiB that getrusage counts.
const maxPeak = 64 << 10

// measured is a command that runs another, ends with its exit code, and writes the peak of its resident memory to a file. It
// is a Python since getrusage(2) counts for a child what its parent had when it forked.
func measured(t *testing.T, command *exec.Cmd) (outer *exec.Cmd, peak *os.File) {
	t.Helper()
	peak, err := os.CreateTemp(t.TempDir(), "peak")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peak.Close() })
	outer = exec.Command("python3", append([]string{"-c", `
import os, resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
os.write(3, str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss).encode())
sys.exit(code)`}, command.Args...)...)
	outer.ExtraFiles = []*os.File{peak}
	return outer, peak
}

// judgePeak fails the test when the peak is too high.
func judgePeak(t *testing.T, what string, peak *os.File) {
	t.Helper()
	var kib int
	if _, err := peak.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fscan(peak, &kib); err != nil {
		t.Fatalf("python3 did not say how much memory was used: %v", err)
	}
	if t.Logf("%s: peak %d KiB", what, kib); kib >= maxPeak {
		t.Errorf("%s: peak %d KiB, promised is less than %d", what, kib, maxPeak)
	}
}
