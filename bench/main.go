// Bench measures popfetchd against other POP3 fetchers on the same mailboxes
// of a private Dovecot, and prints the figures as a Markdown table.
//
//	go run ./bench                             all scenarios: popfetchd, mpop, a bare reader
//	go run ./bench -all                        fdm, fetchmail with procmail and getmail6 too
//	go run ./bench -scenario maildir,mbox      some scenarios
//	go run ./bench -scale 20 -rounds 1         a quick try with a twentieth of the mail
//	go run ./bench -only bare,popfetchd        some programs
//
// test/setup.sh bench installs what it needs on Debian. The scenarios:
//
//	maildir  20,000 messages of about 4.7 KB over POP3S into a Maildir
//	mbox     the same into an mbox
//	fsync    2,000 of them, both ways, each flush to the disk made 5 ms slower by strace
//	delay    2,000 messages of about 17 KB over a line with a round trip of 40 ms, into a Maildir
//	poll     100,000 known messages and nothing new
//	memory   one message of 256 MB, into a Maildir and an mbox
//
// The programs run in turn, round by round, each into a fresh folder with the
// disk at rest. Every run is checked: all messages there, none shorter than it
// was sent; a program that does less has failed and runs no more. A bare reader
// asks for the same mail in one pipelined session and throws it away: what
// server, TLS and line take by themselves. As the speed of disks and machines
// swings, only figures of one run of bench can be compared.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == measureArg {
		os.Exit(measureChild(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		stop()
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	scenarios []string
	programs  []string
	rounds    int
	scale     int
	dir       string
	binary    string
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	scenarios := flags.String("scenario", strings.Join(scenarioNames(), ","), "`list` of scenarios")
	only := flags.String("only", "", "`list` of programs instead of bare,popfetchd,mpop; there are fdm, fetchmail, getmail6 as well")
	all := flags.Bool("all", false, "run all programs")
	flags.IntVar(&o.rounds, "rounds", 3, "how often each program runs; one that takes long runs once")
	flags.IntVar(&o.scale, "scale", 1, "divide the number of messages, or the size of the one, by `n`")
	flags.StringVar(&o.dir, "dir", "", "work below this folder, on the file system to be measured (default the system's for temporary files)")
	flags.StringVar(&o.binary, "popfetchd", "", "measure this `program` instead of building it")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.scenarios = strings.Split(*scenarios, ",")
	o.programs = []string{bareName, "popfetchd", "mpop"}
	switch {
	case *only != "":
		o.programs = strings.Split(*only, ",")
	case *all:
		o.programs = programNames()
	}
	return o, o.check(flags.NArg())
}

func (o options) check(extra int) error {
	for _, name := range o.scenarios {
		if !slices.Contains(scenarioNames(), name) {
			return fmt.Errorf("no scenario %q; there are %s", name, strings.Join(scenarioNames(), ", "))
		}
	}
	for _, name := range o.programs {
		if !slices.Contains(programNames(), name) {
			return fmt.Errorf("no program %q; there are %s", name, strings.Join(programNames(), ", "))
		}
	}
	if extra > 0 || o.rounds < 1 || o.scale < 1 {
		return errors.New("rounds and scale are at least 1, and nothing follows the flags")
	}
	return nil
}

// run measures and prints. Progress goes to stderr, the table to stdout.
func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "popfetchd-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // Dovecot's user must pass
		return err
	}
	programs, err := findPrograms(ctx, o, dir)
	if err != nil {
		return err
	}
	b := &bench{dir: dir, rounds: o.rounds, programs: programs, filled: make(map[string]int64)}
	if err := b.startServer(); err != nil {
		return err
	}
	defer b.server.Stop()
	var results []result
	for _, j := range jobs(o.scale) {
		if !slices.Contains(o.scenarios, j.scenario) {
			continue
		}
		got, err := b.measure(ctx, j)
		if err != nil {
			return fmt.Errorf("%s: %w", j.title, err)
		}
		results = append(results, got...)
	}
	fmt.Println(describeMachine(ctx, dir, o, programs))
	fmt.Print(table(results))
	var failures []error
	for _, r := range results {
		if r.failed != nil {
			failures = append(failures, fmt.Errorf("%s: %s: %w", r.job.title, r.program, r.failed))
		}
	}
	return errors.Join(failures...)
}
