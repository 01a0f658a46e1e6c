package main

import (
	"net"
	"os"
	"os/exec"
	"regexp"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// patience is how long a script waits for what must happen.
const patience = 20 * time.Second

// started are the programs that a script has running beside it, by the file
// that they write to.
type started struct {
	last   string
	byFile map[string]*exec.Cmd
}

// background is the program that a script means: the one that writes to the
// file named, else the one started last.
func background(ts *testscript.TestScript, file []string) *exec.Cmd {
	s := ts.Value(startedKey{}).(*started)
	name := s.last
	if len(file) > 0 {
		name = file[0]
	}
	if s.byFile[name] == nil {
		ts.Fatalf("nothing was started that writes to %q", name)
	}
	return s.byFile[name]
}

type startedKey struct{}

// command is a program that runs in the script's folder and environment.
func command(ts *testscript.TestScript, args []string) *exec.Cmd {
	program, err := exec.LookPath(args[0])
	ts.Check(err)
	cmd := exec.Command(program, args[1:]...)
	cmd.Args[0] = args[0]
	cmd.Dir = ts.MkAbs(".")
	for _, key := range []string{"HOME", "PATH", "TMPDIR", "TERM", "LANG", "NO_COLOR", "TZ", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "GORACE", "NOTIFY_SOCKET", "WATCHDOG_USEC"} {
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
	s := ts.Value(startedKey{}).(*started)
	s.last, s.byFile[args[0]] = args[0], cmd
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
	need(ts, !neg && (len(args) == 1 || len(args) == 2), "signal NAME [FILE]")
	ts.Check(background(ts, args[1:]).Process.Signal(unix.SignalNum("SIG" + args[0])))
}

func cmdEnds(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && (len(args) == 1 || len(args) == 2), "ends CODE [FILE]")
	wantCode(ts, number(ts, args[0]), background(ts, args[1:]).Wait())
}

// cmdManager is the side of systemd that a service tells how it is: FILE gets
// each message as it comes, with an empty line after it.
func cmdManager(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 1, "manager FILE")
	name := "@" + ts.MkAbs(args[0]) // in the abstract name space
	if len(name) > 100 {
		name = "@" + name[len(name)-99:]
	}
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	ts.Check(err)
	file, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Setenv("NOTIFY_SOCKET", name)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer file.Close()
		for message := make([]byte, 4096); ; {
			n, err := socket.Read(message)
			if err != nil {
				return
			}
			file.Write(append(message[:n:n], "\n\n"...))
		}
	}()
	ts.Defer(func() {
		socket.Close()
		<-ended
	})
}
