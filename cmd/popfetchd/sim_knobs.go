package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/popfetchd/popfetchd/internal/popsim"
)

// simKnob is something about Gmail that is not known for sure, and could be
// otherwise.
type simKnob struct {
	name, help string
	set        func(p *simPlan, value string) error
}

// simKnobs are all of them.
func simKnobs() []simKnob {
	on := func(name, help string, which func(*simPlan) *bool) simKnob {
		return simKnob{name, help, func(p *simPlan, value string) error {
			if value != "" {
				return fmt.Errorf("takes no value")
			}
			*which(p) = true
			return nil
		}}
	}
	return []simKnob{
		on("pop-on-retr", "RETR alone takes a message as fetched, without QUIT", func(p *simPlan) *bool { return &p.box.Knobs.PopOnRETR }),
		on("top-pops", "TOP counts as RETR", func(p *simPlan) *bool { return &p.box.Knobs.TopPops }),
		{"dele=WHAT", "DELE: ignore, disposition or trash", setDeleEffect},
		on("rset-undoes-retr", "RSET undoes what was retrieved", func(p *simPlan) *bool { return &p.box.Knobs.RsetUndoesRetr }),
		on("recent-pops", "recent mode takes mail as fetched, too", func(p *simPlan) *bool { return &p.box.Knobs.RecentPops }),
		{"recent-window=N", "recent mode lists the newest N conversations only", setRecentWindow},
		on("recent-no-token", "recent mode is refused with OAuth", func(p *simPlan) *bool { return &p.box.Knobs.RecentNoToken }),
		on("window-cuts", "a window breaks conversations off", func(p *simPlan) *bool { return &p.box.Knobs.WindowCuts }),
		on("list-drafts", "drafts are listed", func(p *simPlan) *bool { return &p.box.Knobs.ListDrafts }),
		on("relist-smtp", "what was sent through SMTP can become listed", func(p *simPlan) *bool { return &p.box.Knobs.RelistSMTP }),
		on("count-lf", "listed sizes count line ends once", func(p *simPlan) *bool { return &p.box.Knobs.CountLF }),
		on("no-pipelining", "PIPELINING is not announced", func(p *simPlan) *bool { return &p.box.Knobs.NoPipelining }),
		on("pop-off-at-stat", "--access off is told after the login", func(p *simPlan) *bool { return &p.box.Knobs.POPOffAtStat }),
		on("pop-off-at-auth", "--access off is told at it, with OAuth, too", func(p *simPlan) *bool { return &p.box.Knobs.POPOffAtAuth }),
		on("spaces-refused", "an app password must have no spaces", func(p *simPlan) *bool { return &p.box.Knobs.SpacesRefused }),
		on("login-delay", "a login within 5 minutes of the last is refused", func(p *simPlan) *bool { return &p.box.Knobs.EnforceLoginDelay }),
		on("in-use", "one session at a time", func(p *simPlan) *bool { return &p.box.Knobs.InUse }),
		on("quota-hangs-up", "--daily-limit ends the session", func(p *simPlan) *bool { return &p.box.Knobs.QuotaHangsUp }),
		on("two-step-only", "AUTH takes no token on its line, as Microsoft's", func(p *simPlan) *bool { return &p.server.TwoStepOnly }),
		on("one-line-only", "AUTH takes its response on its line only", func(p *simPlan) *bool { return &p.server.OneLineOnly }),
		on("no-sni-certificate", "without SNI comes a certificate nobody signed", func(p *simPlan) *bool { return &p.server.NoSNICertificate }),
	}
}

func setDeleEffect(p *simPlan, value string) error {
	effect := popsim.DeleEffect(value)
	if !slices.Contains([]popsim.DeleEffect{popsim.DeleIgnored, popsim.DeleDisposes, popsim.DeleTrashes}, effect) {
		return fmt.Errorf("want ignore, disposition or trash")
	}
	p.box.Knobs.DeleEffect = effect
	return nil
}

func setRecentWindow(p *simPlan, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 {
		return fmt.Errorf("want a number of conversations")
	}
	p.box.Knobs.RecentWindow = n
	return nil
}

// turnKnobs does what --knob says.
func (p *simPlan) turnKnobs() error {
	known := simKnobs()
	for _, given := range p.knobs {
		name, value, _ := strings.Cut(given, "=")
		at := slices.IndexFunc(known, func(k simKnob) bool { return k.plain() == name })
		if at < 0 {
			return usagef("--knob %q is not known; want one of: %s", given, strings.Join(knobNames(), ", "))
		}
		if err := known[at].set(p, value); err != nil {
			return usagef("--knob %q: %w", given, err)
		}
	}
	if p.server.NoSNICertificate {
		p.host = "localhost" // an address is sent as no server name
	}
	return nil
}

// plain is the name without what stands for a value.
func (k simKnob) plain() string {
	name, _, _ := strings.Cut(k.name, "=")
	return name
}

func knobNames() []string {
	var names []string
	for _, k := range simKnobs() {
		names = append(names, k.plain())
	}
	return names
}

// knobHelp is a line for each.
func knobHelp() string {
	var b strings.Builder
	for _, k := range simKnobs() {
		fmt.Fprintf(&b, "  %-19s %s\n", k.name, k.help)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
