package main

import (
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// share stands for a number that goes by the number of messages.
const share = -1

// helpWidth is how many columns the lists in the help text take.
const helpWidth = 78

// simFlags say what account `sim` plays.
type simFlags struct {
	addr                         string
	messages, conversations      int
	sent, spam, trash            int
	bodySize, dailyLimit         string
	window                       int
	disposition, access          string
	oauth                        bool
	tokenLife, suspension, comes string
	trouble                      string
	troubleSessions, cuts, cutAt int
	knobs                        []string
}

func (a *app) simCommand() *cobra.Command {
	var flags simFlags
	c := &cobra.Command{
		Use:   "sim [DIR] [FLAGS]",
		Short: "play a Gmail account on this machine, to try policies without risk",
		Long: `Plays a Gmail account with made-up mail on this machine, and nowhere else, until
Ctrl-C: it lists the oldest 250 conversations that were not fetched yet, takes
what was retrieved as fetched once the session ends with QUIT, and then does to
it what --disposition says. It writes a configuration into DIR (a new folder for
temporary files when left out; one that an earlier sim has left is emptied), and
tells who logs in and what becomes of the mailbox.

With --oauth it plays Google's pages for signing in, too, and what "popfetchd
gmail settings" talks to.

What --error can bring about:
  ` + wrapped(strings.Join(troubleNames(), ", "), "  ", helpWidth) + `
Nobody knows some things about Gmail for sure. What --knob can change:
` + knobHelp(),
		Example: `  popfetchd sim --disposition archive
  popfetchd sim --oauth --token-life 3m
  popfetchd sim --error "limits exceeded" --error-sessions 1
  popfetchd sim --knob pop-on-retr --cuts 1`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("sim takes one folder, not %d", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, err := flags.plan()
			if err != nil {
				return err
			}
			return a.sim(cmd.Context(), strings.Join(args, ""), plan)
		},
	}
	flags.register(c.Flags())
	for name, choices := range map[string][]string{
		"disposition": {"keep", "mark-read", "archive", "delete"}, "access": {"all-mail", "from-now-on", "off"},
		"error": troubleNames(), "knob": knobNames(),
	} {
		_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(choices, cobra.ShellCompDirectiveNoFileComp))
	}
	return c
}

func (s *simFlags) register(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringVar(&s.addr, "addr", "127.0.0.1:0", "loopback `address` and port to listen on; port 0 is any that is free")
	f.IntVar(&s.messages, "messages", 1000, "`number` of messages in the account")
	f.IntVar(&s.conversations, "conversations", 0, "`number` of conversations they make; a third of the messages when left out")
	f.IntVar(&s.sent, "sent", share, "`number` of them that were sent, a quarter of these through SMTP; 6 in 100 when left out")
	f.IntVar(&s.spam, "spam", share, "`number` of them in Spam; 4 in 100 when left out")
	f.IntVar(&s.trash, "trash", share, "`number` of them in Trash; 2 in 100 when left out")
	for _, name := range []string{"sent", "spam", "trash"} {
		f.Lookup(name).DefValue = "0" // pflag shows none then
	}
	f.StringVar(&s.bodySize, "size", "4KB", "`size` of each message")
	f.IntVar(&s.window, "window", popsim.DefaultWindow, "`number` of conversations that a session lists")
	f.StringVar(&s.disposition, "disposition", "keep", "`what` Gmail does to fetched mail: keep, mark-read, archive or delete")
	f.StringVar(&s.access, "access", "all-mail", "`what` POP may have: all-mail, from-now-on or off")
	f.BoolVar(&s.oauth, "oauth", false, "sign in with OAuth instead of an app password")
	f.StringVar(&s.tokenLife, "token-life", "1h", "with --oauth: `time` that access tokens live")
	f.StringVar(&s.dailyLimit, "daily-limit", "off", "`size` of what may be fetched in 24 hours before the account is locked, or off")
	f.StringVar(&s.suspension, "suspension", "1h", "`time` that it is locked then")
	f.StringVar(&s.comes, "new", "off", "a new message comes each `time`, or off")
	f.StringVar(&s.trouble, "error", "", "`name` of an error to answer with, see above")
	f.IntVar(&s.troubleSessions, "error-sessions", 0, "only in the first `N` sessions; 0 is all")
	f.IntVar(&s.cuts, "cuts", 0, "cut the line `N` times in the middle of a message, each time in another session")
	f.IntVar(&s.cutAt, "cut-at", 10, "`number` of that message in its session")
	f.StringArrayVar(&s.knobs, "knob", nil, "`name`, or name=value, of what is to be otherwise, see above; may come several times")
}

// simPlan is what the flags come to.
type simPlan struct {
	simFlags
	host    string // that the configuration names
	policy  config.Policy
	box     popsim.GmailBox
	server  popsim.Config
	size    int64
	life    time.Duration // of access tokens
	newMail time.Duration // 0: none comes
}

// plan checks the flags.
func (s *simFlags) plan() (*simPlan, error) {
	p := &simPlan{simFlags: *s, box: popsim.GmailBox{Window: s.window}}
	for _, part := range []func() error{p.count, p.listen, p.settings, p.measure, p.troubles, p.turnKnobs} {
		if err := part(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// count checks the numbers.
func (p *simPlan) count() error {
	for _, n := range []struct {
		is      *int
		percent int
	}{{&p.sent, 6}, {&p.spam, 4}, {&p.trash, 2}} {
		if *n.is == share {
			*n.is = p.messages * n.percent / 100
		}
	}
	for _, n := range []struct {
		flag         string
		is, from, to int
	}{
		{"messages", p.messages, 0, 1_000_000}, {"conversations", p.conversations, 0, p.messages},
		{"sent", p.sent, 0, p.messages}, {"spam", p.spam, 0, p.messages}, {"trash", p.trash, 0, p.messages},
		{"window", p.window, 1, 1_000_000}, {"error-sessions", p.troubleSessions, 0, 1_000_000},
		{"cuts", p.cuts, 0, 1_000_000}, {"cut-at", p.cutAt, 1, 1_000_000},
	} {
		if n.is < n.from || n.is > n.to {
			return usagef("--%s %d: want a number from %d to %d", n.flag, n.is, n.from, n.to)
		}
	}
	if p.sent+p.spam+p.trash > p.messages {
		return usagef("--sent, --spam and --trash are %d together, and --messages only %d", p.sent+p.spam+p.trash, p.messages)
	}
	if p.conversations == 0 {
		p.conversations = (p.messages + 2) / 3
	}
	return nil
}

// listen refuses an address that others could reach.
func (p *simPlan) listen() error {
	host, _, err := net.SplitHostPort(p.addr)
	if err != nil {
		return usagef("--addr %q: want an address and a port, as in 127.0.0.1:9995", p.addr)
	}
	if host != "localhost" && host != "127.0.0.1" && host != "::1" {
		return usagef("--addr %q: sim serves this machine only, at 127.0.0.1, [::1] or localhost", p.addr)
	}
	p.host = host
	return nil
}

// simPolicies are Gmail's dispositions in the words of the configuration.
var simPolicies = [...]struct {
	policy config.Policy
	is     popsim.Disposition
}{
	{config.Keep, popsim.LeaveInInbox}, {config.MarkRead, popsim.MarkRead}, {config.Archive, popsim.Archive}, {config.Delete, popsim.Trash},
}

// simAccess are Gmail's access windows likewise.
var simAccess = [...]struct {
	word string
	is   popsim.AccessWindow
}{
	{"all-mail", popsim.AllMail}, {"from-now-on", popsim.FromNowOn}, {"off", popsim.Disabled},
}

// settings are Gmail's own.
func (p *simPlan) settings() error {
	for _, s := range simPolicies {
		if p.disposition == string(s.policy) || p.disposition == string(s.is) {
			p.policy, p.box.Disposition = s.policy, s.is
		}
	}
	for _, s := range simAccess {
		if p.access == s.word || p.access == string(s.is) {
			p.box.Access, p.box.Since = s.is, time.Now()
		}
	}
	switch {
	case p.policy == "":
		return usagef("--disposition %q: want keep, mark-read, archive or delete", p.disposition)
	case p.box.Access == "":
		return usagef("--access %q: want all-mail, from-now-on or off", p.access)
	}
	return nil
}

// measure reads sizes and times.
func (p *simPlan) measure() error {
	for _, size := range []struct {
		flag, text string
		to         *int64
	}{{"size", p.bodySize, &p.size}, {"daily-limit", p.dailyLimit, &p.server.DailyOctets}} {
		n, err := config.ParseSize(size.text)
		if size.text == "off" && size.flag == "daily-limit" {
			continue
		}
		if err != nil {
			return usagef("--%s: %w", size.flag, err)
		}
		*size.to = n
	}
	for _, span := range []struct {
		flag, text string
		to         *time.Duration
	}{{"token-life", p.tokenLife, &p.life}, {"suspension", p.suspension, &p.server.Suspension}, {"new", p.comes, &p.newMail}} {
		d, err := config.ParseDuration(span.text)
		if span.text == "off" && span.flag == "new" {
			continue
		}
		if err != nil {
			return usagef("--%s: %w", span.flag, err)
		}
		*span.to = d
	}
	return nil
}

// troubles brings about what is to go wrong.
func (p *simPlan) troubles() error {
	var faults []popsim.Fault
	if p.trouble != "" {
		t, ok := popsim.TroubleNamed(p.trouble)
		if !ok {
			return usagef("--error %q is not known; want one of: %s", p.trouble, strings.Join(troubleNames(), ", "))
		}
		faults = append(faults, func(r popsim.Request) popsim.Action {
			if p.troubleSessions > 0 && r.Session > p.troubleSessions {
				return popsim.Action{}
			}
			return t.Fault(r)
		})
	}
	if p.cuts > 0 {
		faults = append(faults, cutter(p.cuts, p.cutAt, p.size/2))
	}
	p.server.Fault = popsim.FirstOf(faults...)
	return nil
}

// cutter cuts the line so many times when octets of a message were sent.
func cutter(times, message int, octets int64) popsim.Fault {
	var done atomic.Int64
	return func(r popsim.Request) popsim.Action {
		if r.Command != "RETR" || r.Message != message || done.Add(1) > int64(times) {
			return popsim.Action{}
		}
		return popsim.HangUpInBody(octets)
	}
}

func troubleNames() []string {
	var names []string
	for _, t := range popsim.Troubles() {
		names = append(names, t.Name)
	}
	return names
}
