package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// measureArg makes bench the small parent of one measured command. The kernel
// counts the memory of the process that started a program into the program's
// own peak, so the one that starts it must be small and do nothing else.
const measureArg = "-measure-command"

// maxPrinted is how much of a failed program's last words is shown; some have
// the same for each of 20,000 messages.
const maxPrinted = 2000

// sample is what one run took.
type sample struct {
	Took time.Duration
	Peak int64 // resident bytes; 0 if not known
}

// measureCommand runs a command to its successful end.
func measureCommand(ctx context.Context, argv []string) (sample, error) {
	self, err := os.Executable()
	if err != nil {
		return sample{}, err
	}
	report, child, err := os.Pipe()
	if err != nil {
		return sample{}, err
	}
	defer report.Close()
	cmd := exec.CommandContext(ctx, self, append([]string{measureArg}, argv...)...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.ExtraFiles = []*os.File{child}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	err = cmd.Start()
	child.Close()
	if err != nil {
		return sample{}, err
	}
	var s sample
	decodeErr := json.NewDecoder(report).Decode(&s)
	if err := cmd.Wait(); err != nil {
		return sample{}, fmt.Errorf("%q: %w", argv, err)
	}
	return s, decodeErr
}

// measureChild is that parent. It reports to file descriptor 3 and returns the
// exit code. The end of what the command prints is shown if it fails.
func measureChild(argv []string) int {
	runtime.LockOSThread() // Pdeathsig means the death of this thread
	cmd := exec.Command(argv[0], argv[1:]...)
	var printed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &printed
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	begin := time.Now()
	err := cmd.Run()
	took := time.Since(begin)
	if err != nil {
		os.Stderr.Write(printed.Bytes()[max(0, printed.Len()-maxPrinted):])
		fmt.Fprintln(os.Stderr, "bench:", argv[0], err)
		return 1
	}
	s := sample{Took: took}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		s.Peak = usage.Maxrss << 10
	}
	if err := json.NewEncoder(os.NewFile(3, "report")).Encode(s); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

// measureBare times the bare reader, which is part of bench.
func measureBare(v visit, retrieve bool) (sample, error) {
	begin := time.Now()
	err := readBare(v, retrieve)
	return sample{Took: time.Since(begin)}, err
}

// slowFlushes runs a command with each of its flushes to the disk made slower.
func slowFlushes(argv []string) []string {
	const calls = "fsync,fdatasync,syncfs"
	return append([]string{
		"strace", "--seccomp-bpf", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + calls,
		"-e", fmt.Sprintf("inject=%s:delay_exit=%d", calls, flushDelay.Microseconds()),
	}, argv...)
}
