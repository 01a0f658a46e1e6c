package main

import (
	"os"
	"os/exec"
	"regexp"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// patience is how long a script waits for what must happen.
const patience = 20 * time.Second

// started is the program that a script has running beside it.
type started struct{ *exec.Cmd }

type startedKey struct{}

// command is a program that runs in the script's folder and environment.
func command(ts *testscript.TestScript, args []string) *exec.Cmd {
	program, err := exec.LookPath(args[0])
	ts.Check(err)
	cmd := exec.Command(program, args[1:]...)
	cmd.Args[0] = args[0]
	cmd.Dir = ts.MkAbs(".")
	for _, key := range []string{"HOME", "PATH", "TMPDIR", "TERM", "LANG", "NO_COLOR", "TZ", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "GORACE"} {
		if value := ts.Getenv(key); value != "" {
			cmd.Env = append(cmd.Env, key+"="+value)
		}
	}
	return cmd
}

func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) > 1, "start FILE COMMAND…")
	file, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	defer file.Close()
	cmd := command(ts, args[1:])
	cmd.Stdout, cmd.Stderr = file, file
	ts.Check(cmd.Start())
	ts.Defer(func() { cmd.Process.Kill() })
	ts.Value(startedKey{}).(*started).Cmd = cmd
}

func cmdLogged(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 2, "logged FILE PATTERN")
	pattern := regexp.MustCompile(args[1])
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(patience); !pattern.MatchString(ts.ReadFile(args[0])); <-look.C {
		if time.Now().After(end) {
			ts.Fatalf("%s does not get %s:\n%s", args[0], args[1], ts.ReadFile(args[0]))
		}
	}
}

func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 1, "signal NAME")
	ts.Check(ts.Value(startedKey{}).(*started).Process.Signal(unix.SignalNum("SIG" + args[0])))
}

func cmdEnds(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 1, "ends CODE")
	wantCode(ts, number(ts, args[0]), ts.Value(startedKey{}).(*started).Wait())
}
