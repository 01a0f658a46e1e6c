package main

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/popfetchd/popfetchd/internal/provider"
)

// providerLine is a provider's part of `providers --json`.
type providerLine struct {
	Provider    string       `json:"provider"`
	Title       string       `json:"title"`
	Domains     []string     `json:"domains"`
	Host        string       `json:"host"` // "" for one without POP
	Port        int          `json:"port"`
	TLS         string       `json:"tls"`
	OtherHosts  []string     `json:"other_hosts"`
	Username    string       `json:"username"` // address or local part
	Login       string       `json:"login"`
	OAuth       string       `json:"oauth"` // issuer, "" when there is none
	Policies    []string     `json:"policies"`
	Schedule    string       `json:"schedule"`     // "" for popfetchd's own default
	MinInterval int64        `json:"min_interval"` // seconds between logins
	DailyLimit  int64        `json:"daily_limit"`  // bytes, 0 for none
	SMTP        []smtpServer `json:"smtp"`
	Notes       []string     `json:"notes"`
	Pages       []page       `json:"pages"`
	NoPOP       string       `json:"no_pop"`
}

type smtpServer struct {
	Host string `json:"host"`
	Port int    `json:"port"`
	TLS  string `json:"tls"`
}

// page is one of a provider's own, and what it is about.
type page struct {
	About string `json:"about"`
	URL   string `json:"url"`
}

func (a *app) providersCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "providers [NAME…]",
		Short: "list the mail providers that are known by name",
		Long: `Lists the providers that "provider: NAME" stands for in the configuration. With
names it tells all that is known of these: servers for POP3 and for sending, what
to log in with, what to switch on, their pages.`,
		Example: `  popfetchd providers
  popfetchd providers gmail`,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, p := range provider.All() {
				names = append(names, p.Name)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, names []string) error {
			return a.providers(names)
		},
	}
}

func (a *app) providers(names []string) error {
	list := provider.All()
	if len(names) > 0 {
		list = nil
	}
	for _, name := range names {
		p, known := provider.Named(name)
		if !known {
			return usagef("no provider is called %q; known: %s", name, providerNames())
		}
		list = append(list, p)
	}
	switch {
	case a.json:
		lines := []providerLine{}
		for _, p := range list {
			lines = append(lines, newProviderLine(p))
		}
		return a.printJSON(struct {
			Providers []providerLine `json:"providers"`
		}{lines})
	case len(names) == 0:
		a.printProviders(list)
	default:
		for i, p := range list {
			if i > 0 {
				fmt.Fprintln(a.stdout)
			}
			a.printProvider(newProviderLine(p), p)
		}
	}
	return nil
}

func newProviderLine(p provider.Provider) providerLine {
	line := providerLine{
		Provider: p.Name, Title: p.Title, Domains: filled(p.Domains),
		Host: p.Host, Port: p.Port, TLS: p.TLS, OtherHosts: filled(p.Hosts),
		Username: string(p.Username), Login: loginWords(p), OAuth: p.OAuth,
		Schedule: p.Schedule, MinInterval: int64(p.MinInterval.Seconds()), DailyLimit: p.DailyLimit,
		SMTP: []smtpServer{}, Notes: filled(p.Notes), Pages: pages(p), NoPOP: p.NoPOP, Policies: []string{},
	}
	if p.NoPOP == "" {
		for _, c := range (answers{provider: p}).choices() {
			line.Policies = append(line.Policies, c.policy)
		}
	}
	for _, s := range p.SMTP {
		line.SMTP = append(line.SMTP, smtpServer(s))
	}
	return line
}

// filled is list, but never null in JSON.
func filled(list []string) []string { return append([]string{}, list...) }

// loginWords says what one logs in with.
func loginWords(p provider.Provider) string {
	switch {
	case p.NoPOP != "":
		return "no POP"
	case p.OAuthOnly:
		return "sign-in (OAuth)"
	case p.AppPassword || p.Letters > 0:
		return "app password" + orSignIn(p)
	}
	return "password" + orSignIn(p)
}

func orSignIn(p provider.Provider) string {
	if p.OAuth == "" {
		return ""
	}
	return " or sign-in (OAuth)"
}

// pages are those that are known, with what they are about.
func pages(p provider.Provider) []page {
	list := []page{}
	for _, one := range []page{
		{"POP settings", p.Pages.EnablePOP},
		{"app passwords", p.Pages.AppPasswords},
		{"OAuth client", p.Pages.OAuthClient},
		{"limits", p.Pages.Limits},
		{"help", p.Pages.Help},
	} {
		if one.URL != "" {
			list = append(list, one)
		}
	}
	return list
}

// narrow is the terminal on which the table leaves out what is not necessary.
const narrow = 78

// printProviders prints the table of all.
func (a *app) printProviders(list []provider.Provider) {
	table := [][]string{{"PROVIDER", "SERVER", "LOGIN", "MAIL AT"}}
	for _, p := range list {
		server := p.Host
		if server == "" {
			server = "-"
		}
		table = append(table, []string{p.Name, server, loginWords(p), p.Title})
	}
	if a.width() < narrow {
		for i := range table {
			table[i] = table[i][:2]
		}
	}
	a.printTable(table, len(table[0]))
	a.say("\nAll about one: popfetchd providers NAME\n")
}

// printProvider prints all that is known of one.
func (a *app) printProvider(line providerLine, p provider.Provider) {
	fmt.Fprintf(a.stdout, "%s: %s\n", line.Provider, line.Title)
	a.printField("mail at", strings.Join(line.Domains, ", "))
	if line.NoPOP != "" {
		a.printField("no POP", line.NoPOP)
	} else {
		a.printServer(line, p)
	}
	for i, s := range line.SMTP {
		a.printField(first(i, "sends by"), fmt.Sprintf("%s, %s", net.JoinHostPort(s.Host, strconv.Itoa(s.Port)), smtpTLS(s.TLS)))
	}
	for i, note := range line.Notes {
		a.printField(first(i, "note"), note)
	}
	for _, one := range line.Pages {
		a.printField("page", one.About+": "+one.URL)
	}
}

// printServer prints how its mail is fetched.
func (a *app) printServer(line providerLine, p provider.Provider) {
	a.printField("server", fmt.Sprintf("%s, %s", net.JoinHostPort(line.Host, strconv.Itoa(line.Port)), smtpTLS(line.TLS)))
	if len(line.OtherHosts) > 0 {
		a.printField("", "also "+strings.Join(line.OtherHosts, ", "))
	}
	name := "the whole address"
	if p.Username == provider.LocalPart {
		name = "what stands before the @"
	}
	a.printField("user name", name)
	a.printField("login", line.Login)
	a.printField("policy", strings.Join(line.Policies, ", "))
	if line.Schedule != "" {
		a.printField("schedule", line.Schedule)
	}
	if p.MinInterval > 0 {
		a.printField("", fmt.Sprintf("no more often than every %s", span(p.MinInterval)))
	}
	if p.DailyLimit > 0 {
		a.printField("limit", size(p.DailyLimit)+" within 24 hours")
	}
}

// first is the name of a field on its first line only.
func first(i int, name string) string {
	if i > 0 {
		return ""
	}
	return name
}

func smtpTLS(how string) string {
	if how == "starttls" {
		return "STARTTLS"
	}
	return "TLS from the start"
}
