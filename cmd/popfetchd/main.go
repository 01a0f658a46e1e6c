// Command popfetchd fetches mail over POP3 and TLS into local Maildirs and
// mboxes, once or on a schedule.
//
// What a user reads follows a few rules. Results go to stdout and say what
// they are about first ("gmail: 12 new messages"). Errors go to stderr, one
// line each, "popfetchd: " in front, in lower case and without a final
// period, and they name the account, what was being done, and what to do
// next. A call that cron makes says nothing while all is well. Whatever a
// server wrote is shown with its control characters escaped.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"

	"github.com/spf13/cobra"
)

// gcPercent keeps the heap close to what is in use, at the cost of a tenth more
// CPU than Go's own 100: fetching a message of 256 MB peaks at 20 MB, polling
// 100,000 known ones at 45 MB. GOGC overrides it.
const gcPercent = 50

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program: it carries out args and returns the exit code.
// SIGTERM and SIGINT end its context; a second one ends the process at once,
// which loses nothing either.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (code int) {
	defer func() {
		if p := recover(); p != nil {
			code = tellPanic(stderr, p)
		}
	}()
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	defer context.AfterFunc(ctx, stop)()

	out := &output{w: stdout}
	a := &app{stdin: os.Stdin, stdout: out, stderr: stderr}
	root := a.rootCommand()
	if fetchesOnce(args) {
		root.RemoveCommand(root.Commands()...)
	}
	if len(args) > 0 && args[0] == cobra.ShellCompRequestCmd {
		describeFlags(root)
	}
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && !a.started {
		err = &usageError{err: err}
	}
	if out.err != nil {
		err = &exitError{code: exitLocal, err: fmt.Errorf("writing the output: %w", out.err)}
	}
	return tell(stderr, err)
}

// fetchesOnce tells whether what follows are accounts, which may well be called
// as a command is: popfetchd --once gmail.
func fetchesOnce(args []string) bool {
	return slices.Contains(args, "--once") && !slices.Contains(args, "--help") && !slices.Contains(args, "-h")
}

// output is stdout with a memory: it keeps the first error of a write, so that
// a full disk under a redirected stdout does not go unnoticed.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(b []byte) (int, error) {
	n, err := o.w.Write(b)
	if err != nil && o.err == nil {
		o.err = err
	}
	return n, err
}
