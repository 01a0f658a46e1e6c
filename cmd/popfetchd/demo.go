package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
)

// demoResult is what `demo --json` prints.
type demoResult struct {
	Dir      string         `json:"dir"`
	Config   string         `json:"config"`
	Server   string         `json:"server"`
	Messages int            `json:"messages"` // fetched, of all accounts
	Bytes    int64          `json:"bytes"`
	Seconds  float64        `json:"seconds"`
	First    []fetch.Report `json:"first"`  // as `--once --json` has it
	Verify   []verdict      `json:"verify"` // as `verify --read --json` has it
	Again    []fetch.Report `json:"again"`  // the second run, which found nothing new
}

func (a *app) demoCommand() *cobra.Command {
	var keepServing bool
	c := &cobra.Command{
		Use:   "demo [DIR]",
		Short: "see it work against a built-in server, without any account",
		Long: `Starts a POP3 server with TLS and some 300 sample messages within this program,
writes a configuration for two accounts into DIR (a new folder for temporary
files when left out), and does the whole job: fetches one account, which behaves
as Gmail's do, into a Maildir and keeps the server's copies, fetches the other
into an mbox and deletes them there, verifies every byte, and fetches again to
find nothing new.

The server ends with the demo; with --keep-serving it goes on until Ctrl-C and
gets a new message now and then, so that you can try popfetchd yourself.`,
		Example: `  popfetchd demo
  popfetchd demo --keep-serving ~/popfetchd-demo`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("demo takes one folder, not %d", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := ""
			if len(args) == 1 {
				dir = args[0]
			}
			return a.demo(cmd.Context(), dir, keepServing)
		},
	}
	c.Flags().BoolVar(&keepServing, "keep-serving", false, "leave the server running until Ctrl-C, with new mail now and then")
	return c
}

// demo does the whole job before the user's eyes.
func (a *app) demo(ctx context.Context, dir string, keepServing bool) error {
	dir, err := ownFolder(dir, "demo", demoMark, "state", "Maildir", "mail.mbox", "ca.pem", "password")
	if err != nil {
		return err
	}
	_, slowly := terminal(a.stdout)
	server, err := startDemoServer(slowly && !a.json)
	if err != nil {
		return err
	}
	defer server.Close()
	file, err := writeDemoFiles(dir, server)
	if err != nil {
		return err
	}
	c, err := config.Load(file)
	if err != nil {
		return err
	}
	result := demoResult{Dir: dir, Config: file, Server: server.Addr().String()}
	if err := a.demoRuns(ctx, c, &result); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(result)
	}
	a.say("%s", demoFarewell(c, result, keepServing))
	if keepServing {
		server.deliverUntil(ctx)
	}
	return nil
}

// demoRuns fetches, verifies and fetches again.
func (a *app) demoRuns(ctx context.Context, c *config.Config, result *demoResult) error {
	v := a.newView(c.Accounts)
	log, err := a.logger(v.logTo(a.stderr), slog.LevelWarn)
	if err != nil {
		return err
	}
	f, done, err := openFetcher(c, log)
	if err != nil {
		return err
	}
	defer done()

	a.say("A POP3 server with sample mail listens on %s, with TLS.\n", result.Server)
	a.say("Its account %q is as Gmail's are: it lists the oldest %d conversations that were not fetched yet.\n", demoKept, demoWindow)
	a.say("The files of this demo lie in %s\n", result.Dir)
	pace := ""
	if drawn(v) {
		pace = ", slowly, so that you can watch"
	}
	a.say("\nFetching two accounts, as popfetchd --once does%s:\n", pace)
	began := time.Now()
	result.First = visitAll(ctx, f, c.Accounts, c.Parallel, v)
	v.close()
	result.Seconds = time.Since(began).Seconds()
	if err := a.demoReport(c.Accounts, result.First, !drawn(v)); err != nil {
		return err
	}
	for _, r := range result.First {
		result.Messages += r.Stored
		result.Bytes += r.Bytes
	}

	a.say("\nReading every message again, as popfetchd verify --read does:\n")
	for _, account := range c.Accounts {
		verified, err := f.Verify(ctx, account, 1)
		if err != nil {
			return err
		}
		result.Verify = append(result.Verify, newVerdict(verified))
		if !a.json {
			if err := a.printVerdict(verified); err != nil {
				return err
			}
		}
		if !verified.OK() {
			return &exitError{code: exitDamage}
		}
	}

	a.say("\nFetching once more: nothing comes twice, and Gmail lists only what was never fetched.\n")
	result.Again = visitAll(ctx, f, c.Accounts, c.Parallel, silent{})
	return a.demoReport(c.Accounts, result.Again, true)
}

// demoReport says what came of the visits, and stops at an error.
func (a *app) demoReport(accounts []config.Account, reports []fetch.Report, say bool) error {
	var codes []int
	for i, r := range reports {
		if say {
			a.say("%s: %s\n", r.Account, endingAt(accounts[i], r))
		}
		if r.Err != nil {
			codes = append(codes, tell(a.stderr, r.Err))
		}
	}
	return told(codes)
}

// drawn tells whether a view left the results on the screen itself.
func drawn(v view) bool {
	_, ok := v.(*bars)
	return ok
}

// say prints for people; with --json it is silent.
func (a *app) say(format string, args ...any) {
	if !a.json {
		fmt.Fprintf(a.stdout, format, args...)
	}
}

// demoFarewell is the demo's last word: what was done, where it lies, and what
// to try next.
func demoFarewell(c *config.Config, result demoResult, keepServing bool) string {
	program := programName()
	kept, _ := mailbox(c.Accounts[0], time.Now())
	moved, _ := mailbox(c.Accounts[1], time.Now())
	kept, moved = shellWord(kept), shellWord(moved)
	file := shellWord(result.Config)
	text := fmt.Sprintf(`
That was the whole job: %s, %s, in %.1f s.
Each was safe on the disk before it counted as fetched.
  %-5s  policy keep: the server, which plays Gmail, has its copies in the inbox
  %-5s  policy delete: the server's copies went once ours were safe
`, plural(result.Messages, "message"), size(result.Bytes), result.Seconds, c.Accounts[0].Name, c.Accounts[1].Name)
	if keepServing {
		text += fmt.Sprintf(`
The server goes on until you press Ctrl-C; a new message comes every %d s.
In another terminal:
  %s --config %s --once
`, int(newMail.Seconds()), program, file)
	} else {
		text += "The server has ended with this demo; the mail stays.\n"
	}
	text += fmt.Sprintf(`
Try next:
  mutt -f %s
  mutt -f %s
  %s --config %s status
  less %s
Then your own mail: see "Gmail in five minutes" in README.md.
`, kept, moved, program, file, file)
	return text
}
