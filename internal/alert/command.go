package alert

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Limits of a command.
const (
	commandTime   = time.Minute     // for all of it
	commandGrace  = 2 * time.Second // for what it left behind to let go of its output
	commandOutput = 1 << 10         // bytes of its output that an error shows
)

// command runs a shell command for each message: the text on its standard input, the rest in its environment.
type command struct{ text string }

func (c command) name() string { return "command" }

func (c command) send(ctx context.Context, m Message) error {
	ctx, cancel := context.WithTimeoutCause(ctx, commandTime, fmt.Errorf("it did not end within %s", commandTime))
	defer cancel()
	output := &tail{}
	shell := exec.CommandContext(ctx, "/bin/sh", "-c", c.text)
	shell.Stdin, shell.Stdout, shell.Stderr = strings.NewReader(m.Text), output, output
	shell.Dir, shell.WaitDelay = "/", commandGrace
	shell.Env = append(passedOn(), environment(m)...)
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that what it started ends with it
	shell.Cancel = func() error { return syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) }
	err := shell.Run()
	if err == nil || errors.Is(err, exec.ErrWaitDelay) { // what it left in the background may live on
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if said := strings.TrimSpace(output.String()); said != "" {
		return fmt.Errorf("the command failed: %w; it said %q", err, said)
	}
	return fmt.Errorf("the command failed: %w", err)
}

// environment is what the command is told beside the text.
func environment(m Message) []string {
	return []string{
		"POPFETCHD_EVENT=" + string(m.Event),
		"POPFETCHD_SUBJECT=" + m.Subject,
		"POPFETCHD_ACCOUNTS=" + strings.Join(m.accounts(), " "),
		"POPFETCHD_KINDS=" + strings.Join(m.kinds(), " "),
		"POPFETCHD_HOST=" + m.Host,
	}
}

// passedOn is what the command gets of our environment: what programs need to run and to reach the user's session. The
// rest may hold passwords.
func passedOn() []string {
	var kept []string
	for _, name := range []string{"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY"} {
		if value, ok := os.LookupEnv(name); ok {
			kept = append(kept, name+"="+value)
		}
	}
	return kept
}

// tail keeps the last bytes of what is written to it.
type tail struct{ kept []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - commandOutput; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(t.kept) }
