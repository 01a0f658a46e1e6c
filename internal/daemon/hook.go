package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
)

const (
	// hookTime is how long an on_new command may take: time to index a first fetch of years of mail would be longer, which
	// is why it may put itself into the background.
	hookTime = 5 * time.Minute
	// hookStop is how long one may go on when the program is told to end.
	hookStop = 5 * time.Second
	// hookGrace is how long what it started may hold its output open after it.
	hookGrace = 2 * time.Second
	// maxHookOutput is how much of what a command writes gets into the log.
	maxHookOutput = 2 << 10
)

// hookEnvironment are the variables that a command inherits; those that begin with LC_ or XDG_ besides. All others stay
// here, since a password may be among them.
var hookEnvironment = []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR"}

// OnNew runs the account's on_new command when a run stored new mail, and waits for it. By then the mail is durable and
// remembered, so a command that fails loses nothing: the error is for the log. It gets 5 minutes, and 5 seconds once ctx
// has ended.
func OnNew(ctx context.Context, account config.Account, r fetch.Report, now time.Time) error {
	return onNew(ctx, account, r, now, hookTime, hookStop)
}

func onNew(ctx context.Context, account config.Account, r fetch.Report, now time.Time, most, mostAtEnd time.Duration) error {
	if account.OnNew == "" || r.Stored == 0 {
		return nil
	}
	limited, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), most, fmt.Errorf("it took more than %s and was stopped", most))
	defer cancel()
	limited, stop := context.WithCancelCause(limited)
	defer stop(nil)
	defer context.AfterFunc(ctx, func() {
		select {
		case <-time.After(mostAtEnd):
			stop(errors.New("it was stopped, since popfetchd ends"))
		case <-limited.Done():
		}
	})()
	said := &tail{limit: maxHookOutput}
	cmd := exec.CommandContext(limited, "/bin/sh", "-c", account.OnNew)
	cmd.Env = append(inherited(os.Environ()), "POPFETCHD_ACCOUNT="+account.Name, "POPFETCHD_COUNT="+strconv.Itoa(r.Stored),
		"POPFETCHD_MAILBOX="+account.Mailbox().At(now))
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that what the shell started ends with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = hookGrace
	err := cmd.Run()
	switch {
	case limited.Err() != nil:
		err = context.Cause(limited)
	case err == nil, errors.Is(err, exec.ErrWaitDelay): // what it left in the background may live on
		return nil
	}
	return fmt.Errorf("%w%s", err, said)
}

// inherited is what a command may see of our environment.
func inherited(environment []string) []string {
	return slices.DeleteFunc(slices.Clone(environment), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return !slices.Contains(hookEnvironment, name) && !strings.HasPrefix(name, "LC_") && !strings.HasPrefix(name, "XDG_")
	})
}

// TellHook logs what became of an on_new command.
func TellHook(log *slog.Logger, err error) {
	if err != nil {
		log.Error("the on_new command failed; the mail is stored all the same", "error", err)
	}
}

// tail keeps the last bytes written to it: what a command says at its end is what it failed for.
type tail struct {
	kept  bytes.Buffer
	limit int
	cut   bool
}

func (t *tail) Write(b []byte) (int, error) {
	t.kept.Write(b)
	if over := t.kept.Len() - t.limit; over > 0 {
		t.kept.Next(over)
		t.cut = true
	}
	return len(b), nil
}

// String is what was kept, quoted, with what may stand before it in an error; "" for nothing.
func (t *tail) String() string {
	text := strings.ToValidUTF8(string(bytes.TrimSpace(t.kept.Bytes())), "")
	switch {
	case text == "":
		return ""
	case t.cut:
		return fmt.Sprintf("; it said at last …%q", text)
	}
	return fmt.Sprintf("; it said %q", text)
}
