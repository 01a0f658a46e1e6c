package daemon

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
)

// hooked is an account with an on_new command, and a report of two new messages.
func hooked(command string) (config.Account, fetch.Report) {
	return config.Account{Name: "joe", Maildir: "/mail/joe", OnNew: command}, fetch.Report{Account: "joe", New: 2, Stored: 2}
}

func TestOnNewSeesWhatItNeeds(t *testing.T) {
	t.Setenv("POP_PASSWORD", "hush")
	t.Setenv("CREDENTIALS_DIRECTORY", "/run/credentials/popfetchd")
	t.Setenv("LC_TIME", "C")
	t.Setenv("TZ", "UTC")
	file := filepath.Join(t.TempDir(), "environment")
	account, report := hooked("env >" + file + "; pwd; cat") // which must not wait for input
	if err := OnNew(t.Context(), account, report, time.Now()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		seen[name] = value
	}
	for name, want := range map[string]string{"POPFETCHD_ACCOUNT": "joe", "POPFETCHD_COUNT": "2", "POPFETCHD_MAILBOX": "/mail/joe",
		"LC_TIME": "C", "TZ": "UTC", "PATH": os.Getenv("PATH"), "POP_PASSWORD": "", "CREDENTIALS_DIRECTORY": ""} {
		if seen[name] != want {
			t.Errorf("%s=%q, want %q", name, seen[name], want)
		}
	}
}

func TestOnNewNotWithoutMail(t *testing.T) {
	account, report := hooked("exit 1")
	report.Stored = 0
	if err := OnNew(t.Context(), account, report, time.Now()); err != nil {
		t.Errorf("run without mail: %v", err)
	}
	account, report = hooked("")
	if err := OnNew(t.Context(), account, report, time.Now()); err != nil {
		t.Errorf("no command: %v", err)
	}
}

// An error tells how the command ended and what it said at last, on one line and not too much of it.
func TestOnNewFailure(t *testing.T) {
	for _, c := range []struct{ command, want string }{
		{"exit 3", "exit status 3"},
		{"echo out; echo 'no\x1b[31m database' >&2; exit 1", `exit status 1; it said "out\nno\x1b[31m database"`},
		{"kill -TERM $$", "signal: terminated"},
	} {
		account, report := hooked(c.command)
		if err := OnNew(t.Context(), account, report, time.Now()); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.command, err, c.want)
		}
	}
	account, report := hooked("yes yes | head -c 10000000; echo the end; exit 1")
	err := OnNew(t.Context(), account, report, time.Now())
	if err == nil || len(err.Error()) > 4096 || !strings.HasSuffix(err.Error(), `\nthe end"`) || !strings.Contains(err.Error(), "it said at last …") {
		t.Errorf("much output: %.200v", err)
	}
}

// What the command leaves in the background lives on, and holds nobody up for long.
func TestOnNewInTheBackground(t *testing.T) {
	folder := t.TempDir()
	account, report := hooked("sleep 1000 & echo $! >" + folder + "/pid")
	if err := OnNew(t.Context(), account, report, time.Now()); err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile(folder + "/pid")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/proc/" + strings.TrimSpace(string(text))); err != nil {
		t.Errorf("it did not live on: %v", err)
	}
	account.OnNew = "kill " + strings.TrimSpace(string(text))
	if err := OnNew(t.Context(), account, report, time.Now()); err != nil {
		t.Error(err)
	}
}

// A command that hangs is ended, with all that it started: after some time, or soon after the program was told to end.
func TestOnNewThatHangs(t *testing.T) {
	for name, c := range map[string]struct {
		end             bool
		most, mostAtEnd time.Duration
		want            string
	}{
		"time limit": {false, 50 * time.Millisecond, time.Hour, "it took more than 50ms and was stopped"},
		"ending":     {true, time.Hour, 50 * time.Millisecond, "it was stopped, since popfetchd ends"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.end {
				cancel()
			}
			account, report := hooked("sleep 1000 | sleep 1000")
			if err := onNew(ctx, account, report, time.Now(), c.most, c.mostAtEnd); err == nil || err.Error() != c.want {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}
