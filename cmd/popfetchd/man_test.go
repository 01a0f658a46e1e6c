package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/popfetchd/popfetchd/internal/roff"
)

// The page has a chapter for each command that the help lists, with all of its
// text and flags.
func TestManualIsWhole(t *testing.T) {
	root := (&app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}).rootCommand()
	page := string(manual(root, time.Unix(0, 0)))
	commands := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		chapter := page
		if c != root {
			commands++
			var found bool
			_, chapter, found = strings.Cut(page, ".SS \""+string(roff.Plain(strings.TrimPrefix(c.CommandPath(), "popfetchd ")))+"\"\n")
			if !found {
				t.Errorf("the page has no chapter %q", c.CommandPath())
				return
			}
			chapter, _, _ = strings.Cut(chapter, "\n.S")
		}
		plain := strings.NewReplacer(`\%`, "", `\fB`, "", `\fI`, "", `\fR`, "", ".TP\n", "", `\&`, "").Replace(chapter)
		long, _, _ := strings.Cut(c.Long, "\n\nExit codes: ")
		for line := range strings.SplitSeq(long+"\n"+c.Example, "\n") {
			if !strings.Contains(plain, string(roff.Plain(strings.TrimSpace(line)))) {
				t.Errorf("%q: the page lacks the line %q", c.CommandPath(), line)
			}
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" && !f.Hidden && !strings.Contains(chapter, string(roff.Bold("--"+f.Name))) {
				t.Errorf("%q: the page lacks --%s", c.CommandPath(), f.Name)
			}
		})
		for _, below := range c.Commands() {
			if !below.Hidden && c.Name() != "completion" && below.Name() != "help" {
				walk(below)
			}
		}
	}
	walk(root)
	if commands < 14 {
		t.Errorf("%d commands", commands)
	}
	for _, want := range []string{".TH \"popfetchd\" \"8\" \"1970-01-01\"", "\\fB\\%78\\fR\nconfiguration", "\\fB\\%SIGHUP\\fR"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}
