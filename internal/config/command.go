package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// commandTime is how long a password command may take: long enough to
	// unlock a key ring by hand.
	commandTime = time.Minute
	// commandGrace is how long its children may hold the output open after.
	commandGrace = 2 * time.Second
	// maxStderr is how much of a command's complaint a message shows.
	maxStderr = 300
)

// runSecretCommand returns what a shell command prints. A failure shows what it
// wrote to standard error, escaped, and never what it printed.
func runSecretCommand(ctx context.Context, command string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, commandTime,
		fmt.Errorf("the command took more than %s; let it answer without a question", commandTime))
	defer cancel()
	stdout, stderr := &head{limit: maxSecret}, &head{limit: maxSecret, drop: true}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	// A group of its own, so that what the shell started ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = commandGrace
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case stdout.over:
		return "", fmt.Errorf("the command printed more than %d KiB; let it print the password alone", maxSecret>>10)
	case err != nil && !errors.Is(err, exec.ErrWaitDelay): // an agent that it started may live on
		return "", fmt.Errorf("the command failed (%w)%s; try it in a shell", err, complaint(stderr.kept.Bytes(), stdout.kept.Bytes()))
	}
	return stdout.kept.String(), nil
}

// complaint returns what a command wrote to standard error, for a message. A
// trace of the shell (set -x) may show the password there: then it says nothing.
func complaint(stderr, stdout []byte) string {
	said := bytes.TrimSpace(stderr)
	printed := bytes.TrimSpace(stdout)
	if len(said) == 0 || len(printed) > 0 && bytes.Contains(said, printed) {
		return ""
	}
	if len(said) > maxStderr {
		return ": " + strconv.Quote(strings.ToValidUTF8(string(said[:maxStderr]), "")) + "…"
	}
	return ": " + strconv.Quote(string(said))
}

// head keeps the first bytes written to it, up to its limit. What comes beyond
// them it drops, or refuses.
type head struct {
	kept  bytes.Buffer
	limit int
	drop  bool
	over  bool
}

func (h *head) Write(b []byte) (int, error) {
	room := min(len(b), h.limit-h.kept.Len())
	h.kept.Write(b[:room])
	if room == len(b) || h.drop {
		return len(b), nil
	}
	h.over = true
	return room, errors.New("too much")
}
