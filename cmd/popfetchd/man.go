package main

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/popfetchd/popfetchd/internal/roff"
)

// manCommand prints popfetchd(8), made of the same texts as --help. It is for
// those who build packages, and help does not list it.
func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man",
		Hidden: true,
		Short:  "print the manual page popfetchd(8)",
		Long:   "Prints the manual page popfetchd(8), made of the texts that --help shows. The date in it is that of $SOURCE_DATE_EPOCH.",
		Args:   noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var date time.Time
			if s := os.Getenv("SOURCE_DATE_EPOCH"); s != "" {
				seconds, err := strconv.ParseInt(s, 10, 64)
				if err != nil {
					return usagef("SOURCE_DATE_EPOCH=%q: want seconds since 1970", s)
				}
				date = time.Unix(seconds, 0)
			}
			_, err := a.stdout.Write(manual(cmd.Root(), date))
			return err
		},
	}
}

// manual is popfetchd(8).
func manual(root *cobra.Command, date time.Time) []byte {
	p := &roff.Page{}
	p.Header("popfetchd", 8, date, "popfetchd "+buildInfo().Version, "System administration")
	p.Section("Name")
	p.Paragraph(roff.Plain("popfetchd") + ` \- ` + roff.Plain(root.Short))
	p.Section("Synopsis")
	p.Paragraph(useLine(root))
	for _, c := range commandsOf(root) {
		if c.Name() == "completion" || !c.HasSubCommands() {
			p.Line(useLine(c))
		}
	}
	about, codes, _ := strings.Cut(root.Long, "\n\nExit codes: ")
	p.Section("Description")
	helpText(p, about)
	p.Section("Options")
	p.Paragraph(markup("The first of these are for popfetchd without a command, the others for all commands."))
	manFlags(p, root.LocalNonPersistentFlags())
	manFlags(p, root.PersistentFlags())
	p.Section("Commands")
	p.Paragraph(markup("Where ACCOUNT… is left out, all accounts are meant."))
	for _, c := range commandsOf(root) {
		p.Subsection(strings.TrimPrefix(c.CommandPath(), "popfetchd "))
		p.Paragraph(useLine(c))
		helpText(p, c.Long)
		manFlags(p, c.LocalNonPersistentFlags())
		if c.Example != "" {
			p.Code(unindented(c.Example), false)
		}
	}
	p.Section("Examples")
	p.Code(unindented(root.Example), false)
	manExitCodes(p, codes)
	manAround(p)
	return p.Bytes()
}

// commandsOf are the commands that do something, those below others too, in the
// order of the help.
func commandsOf(c *cobra.Command) []*cobra.Command {
	var all []*cobra.Command
	for _, below := range c.Commands() {
		switch {
		case below.Hidden || below.Name() == "help":
		case below.Name() == "completion": // its own are one for each shell, all alike
			all = append(all, below)
		default:
			if below.Runnable() {
				all = append(all, below)
			}
			all = append(all, commandsOf(below)...)
		}
	}
	return all
}

// useLine is how a command is called, what stands for something else in italics.
func useLine(c *cobra.Command) roff.Text {
	line := c.UseLine()
	if c.Name() == "completion" {
		line = "popfetchd completion bash|fish|powershell|zsh"
	}
	words := strings.Fields(line)
	bold := len(strings.Fields(c.CommandPath()))
	text := roff.Bold(strings.Join(words[:bold], " "))
	if rest := strings.Join(words[bold:], " "); rest != "" {
		text += " " + markup(rest)
	}
	return text
}

var flagWord = regexp.MustCompile(`(?:^|[\s(|[])(--[a-z][a-z-]*)`)

// markup sets flags in bold.
func markup(s string) roff.Text {
	var text roff.Text
	done := 0
	for _, at := range flagWord.FindAllStringSubmatchIndex(s, -1) {
		text += roff.Plain(s[done:at[2]]) + roff.Bold(s[at[2]:at[3]])
		done = at[3]
	}
	return text + roff.Plain(s[done:])
}

// helpText sets the text of a help: paragraphs, and lines that begin with blanks
// as they stand.
func helpText(p *roff.Page, help string) {
	var prose, code []string
	flush := func() {
		if len(prose) > 0 {
			p.Paragraph(markup(strings.Join(prose, "\n")))
		}
		if len(code) > 0 {
			p.Code(unindented(strings.Join(code, "\n")), false)
		}
		prose, code = nil, nil
	}
	for line := range strings.SplitSeq(help, "\n") {
		switch indented := strings.HasPrefix(line, " "); {
		case line == "":
			flush()
		case indented:
			if len(prose) > 0 {
				flush()
			}
			code = append(code, line)
		default:
			if len(code) > 0 {
				flush()
			}
			prose = append(prose, line)
		}
	}
	flush()
}

// unindented takes away the two blanks that examples begin with.
func unindented(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], "  ")
	}
	return strings.Join(lines, "\n")
}

// manFlags lists flags.
func manFlags(p *roff.Page, flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		tag := roff.Bold("--" + f.Name)
		if f.Shorthand != "" {
			tag = roff.Bold("-"+f.Shorthand) + ", " + tag
		}
		if value != "" {
			tag += " " + roff.Italic(value)
		}
		if f.DefValue != "" && !slices.Contains([]string{"false", "0", "[]", "0s"}, f.DefValue) {
			usage += " (default " + f.DefValue + ")"
		}
		p.Item(markup(usage), tag)
	})
}

// manExitCodes lists what stands in the help as "0 fine; 64 usage; …".
func manExitCodes(p *roff.Page, codes string) {
	p.Section("Exit status")
	for one := range strings.SplitSeq(strings.TrimSuffix(strings.ReplaceAll(codes, "\n", " "), "."), ";") {
		code, meaning, _ := strings.Cut(strings.TrimSpace(one), " ")
		p.Item(markup(meaning), roff.Bold(code))
	}
}

// manAround is what surrounds the program: signals, environment, files.
func manAround(p *roff.Page) {
	lists := []struct {
		title string
		items [][2]string
	}{
		{"Signals", [][2]string{
			{"SIGTERM, SIGINT", "end: what is being stored is finished, the rest is fetched the next time; a second one ends at once, which loses nothing either"},
			{"SIGHUP", "the daemon reads the configuration again; one with a mistake changes nothing"},
			{"SIGUSR1", "the daemon fetches all accounts now"},
		}},
		{"Environment", [][2]string{
			{"XDG_CONFIG_HOME", "where the configuration is looked for"},
			{"STATE_DIRECTORY, XDG_STATE_HOME", "where the state folder is, unless state_dir says"},
			{"CREDENTIALS_DIRECTORY", "where password_credential looks, set by systemd"},
			{"NO_COLOR", "no colours on a terminal"},
		}},
		{"Files", [][2]string{
			{"~/.config/popfetchd/popfetchd.yaml", "a user's configuration, see popfetchd.yaml(5)"},
			{"/etc/popfetchd/popfetchd.yaml", "the configuration of the service of the whole machine"},
			{"~/.local/state/popfetchd, /var/lib/popfetchd", "the state folder: the ledger of what was stored, and locks; it must not be lost"},
		}},
	}
	for _, list := range lists {
		p.Section(list.title)
		for _, item := range list.items {
			p.Item(markup(item[1]), roff.Bold(item[0]))
		}
	}
	p.Section("See also")
	p.Paragraph(roff.Bold("popfetchd.yaml") + "(5), " + roff.Bold("systemctl") + "(1), " + roff.Bold("mbox") + "(5), " + roff.Bold("maildir") + "(5)")
	p.Paragraph(roff.Plain("https://github.com/popfetchd/popfetchd"))
}
