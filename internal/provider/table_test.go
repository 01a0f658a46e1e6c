package provider

import (
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	aName    = regexp.MustCompile(`^[a-z][a-z0-9.-]*$`)
	aCommand = regexp.MustCompile(`"popfetchd [^"]*"`)
	aDomain  = regexp.MustCompile(`^([a-z0-9-]+\.)+[a-z]{2,}$`)
)

// isPage says whether people can be sent to an address.
func isPage(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Scheme == "https" && aDomain.MatchString(u.Hostname()) && u.User == nil && strings.TrimSpace(address) == address
}

// isSentence says whether a text may stand in a list or after a semicolon.
func isSentence(text string) bool {
	return text != "" && len(text) < 250 && !strings.HasSuffix(text, ".") && !strings.ContainsAny(text, "\n\t") && strings.TrimSpace(text) == text
}

// TestTable says what an entry of providers.yaml lacks.
func TestTable(t *testing.T) {
	names, domains := map[string]bool{}, map[string]string{}
	for _, p := range All() {
		t.Run(p.Name, func(t *testing.T) {
			if !aName.MatchString(p.Name) || names[p.Name] || p.Title == "" || len(p.Domains) == 0 {
				t.Errorf("name %q, title %q, domains %q: each is needed, and a name of its own", p.Name, p.Title, p.Domains)
			}
			names[p.Name] = true
			for _, domain := range p.Domains {
				if !aDomain.MatchString(domain) || domains[domain] != "" {
					t.Errorf("domain %q is none, or taken by %q", domain, domains[domain])
				}
				domains[domain] = p.Name
			}
			if !isPage(p.Pages.Help) {
				t.Error("there is no page to send people to for help")
			}
			for _, page := range []string{p.Pages.AppPasswords, p.Pages.EnablePOP, p.Pages.OAuthClient, p.Pages.Limits} {
				if page != "" && !isPage(page) {
					t.Errorf("page %q", page)
				}
			}
			if p.NoPOP == "" {
				checkServer(t, p)
				checkSignIn(t, p)
				checkReplies(t, p)
			} else if !isSentence(p.NoPOP) || !strings.Contains(p.NoPOP, "IMAP") || p.Host != "" || p.Replies != nil {
				t.Errorf("it has no POP, and needs one sentence about that and no server: %+v", p)
			}
		})
	}
	if len(names) < 10 {
		t.Errorf("only %d providers", len(names))
	}
}

func checkServer(t *testing.T, p Provider) {
	for _, host := range append(p.Hosts, p.Host) {
		if !aDomain.MatchString(host) {
			t.Errorf("host %q", host)
		}
	}
	if p.Port != 995 || p.TLS != "implicit" {
		t.Errorf("port %d, TLS %q: has a provider without TLS from the start been added?", p.Port, p.TLS)
	}
	if p.Username != WholeAddress && p.Username != LocalPart {
		t.Errorf("username %q", p.Username)
	}
	if len(p.SMTP) == 0 {
		t.Error("where does its mail go out?")
	}
	for _, s := range p.SMTP {
		right := s.Port == 587 && s.TLS == "starttls" || s.Port == 465 && s.TLS == "implicit" // RFC 8314 section 3.3
		if !aDomain.MatchString(s.Host) || !right {
			t.Errorf("SMTP %+v", s)
		}
	}
	if !isPage(p.Pages.EnablePOP) {
		t.Errorf("there is no page about its POP")
	}
	if p.MinInterval != 0 && (p.MinInterval < time.Minute || p.MinInterval > time.Hour || p.Schedule == "") {
		t.Errorf("at least %s between logins, and schedule %q", p.MinInterval, p.Schedule)
	}
	if p.DailyLimit != 0 && p.DailyLimit < 100e6 {
		t.Errorf("daily limit %d", p.DailyLimit)
	}
	for _, note := range p.Notes {
		if !isSentence(note) {
			t.Errorf("note %q", note)
		}
	}
	if len(p.Notes) == 0 {
		t.Error("there is nothing to say about it?")
	}
}

func checkSignIn(t *testing.T, p Provider) {
	if _, found := IssuerNamed(p.OAuth); found != (p.OAuth != "") || p.OAuthOnly && !found {
		t.Errorf("OAuth %q, alone: %v", p.OAuth, p.OAuthOnly)
	}
	if p.OAuth != "" && !isPage(p.Pages.OAuthClient) {
		t.Error("there is no page where to register an OAuth client")
	}
	if p.Letters > 0 && !p.AppPassword || p.AppPassword && !isPage(p.Pages.AppPasswords) {
		t.Errorf("app passwords %v of %d letters, made at %q", p.AppPassword, p.Letters, p.Pages.AppPasswords)
	}
	if !p.OAuthOnly && !isPage(p.Pages.AppPasswords) {
		t.Error("there is no page about its passwords")
	}
}

func checkReplies(t *testing.T, p Provider) {
	for _, r := range p.Replies {
		if r.Match == "" || r.Match != strings.ToLower(r.Match) || strings.HasPrefix(r.Match, "[") != strings.HasSuffix(r.Match, "]") {
			t.Errorf("match %q: in small letters, and codes in brackets", r.Match)
		}
		if !slices.Contains([]Behaviour{Permanent, Temporary, NewSession, OverQuota}, r.Does) {
			t.Errorf("%q does %q", r.Match, r.Does)
		}
		if !isSentence(r.Means) || !strings.Contains(r.Means, "; ") || !isPage(r.Page) {
			t.Errorf("%q: %q (%s): what is wrong; what to do, and a page about it", r.Match, r.Means, r.Page)
		}
		for _, command := range aCommand.FindAllString(r.Means, -1) {
			if !strings.HasSuffix(command, ` ACCOUNT"`) {
				t.Errorf("%q: %s does nothing without the account's name", r.Match, command)
			}
		}
		who, _, _ := strings.Cut(p.Title, " ")
		if who == "Outlook.com" {
			who = "Microsoft"
		}
		if !strings.HasPrefix(r.Means, who) {
			t.Errorf("%q: %q does not begin with who says it: %s", r.Match, r.Means, who)
		}
	}
	if len(p.Replies) == 0 || p.Replies[len(p.Replies)-1].Match != "[auth]" {
		t.Error("[auth], whatever its text, is the last of the replies")
	}
}

func TestIssuers(t *testing.T) {
	for _, i := range Issuers() {
		if !aName.MatchString(i.Name) || i.Title == "" || !isPage(i.AuthURL) || !isPage(i.TokenURL) || len(i.Scopes) == 0 {
			t.Errorf("%+v", i)
		}
		for _, address := range []string{i.DeviceURL, i.RevokeURL, i.APIURL} {
			if address != "" && (!isPage(address) || strings.HasSuffix(address, "/")) {
				t.Errorf("%s: %q", i.Name, address)
			}
		}
	}
	google, _ := IssuerNamed("google")
	if google.DeviceURL != "" { // it answers invalid_scope
		t.Error("Google allows no mail scope by device code")
	}
	if _, found := IssuerNamed("nobody"); found {
		t.Error("nobody issues tokens")
	}
}

// What stands there of Gmail is what all else is built on.
func TestGmail(t *testing.T) {
	got, found := Named("gmail")
	got.Notes, got.Pages, got.Replies = nil, Pages{}, nil
	want := Provider{
		Name: "gmail", Title: "Gmail", Domains: []string{"gmail.com", "googlemail.com"},
		Host: "pop.gmail.com", Port: 995, TLS: "implicit", Username: WholeAddress,
		AppPassword: true, Letters: 16, OAuth: "google",
		Windowed: true, Policies: []string{"mark-read", "archive"}, Recent: true,
		SMTP:     []SMTP{{"smtp.gmail.com", 587, "starttls"}, {"smtp.gmail.com", 465, "implicit"}},
		Schedule: "@every 15m", MinInterval: 5 * time.Minute, DailyLimit: 1_200_000_000,
	}
	if !found || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if outlook, _ := Named("outlook"); !outlook.OAuthOnly || outlook.OAuth != "microsoft" || outlook.Windowed {
		t.Errorf("%+v", outlook)
	}
}

func TestOfAddress(t *testing.T) {
	for address, want := range map[string]string{
		"someone@gmail.com": "gmail", "Someone@GoogleMail.com": "gmail", `"a@b"@web.de`: "web.de", "joe@hotmail.com": "outlook",
		"joe@me.com": "icloud", "gmail.com": "gmail", "joe@example.net": "", "joe": "", "": "", "joe@": "", "joe@notgmail.com": "",
	} {
		if p, found := OfAddress(address); p.Name != want || found != (want != "") {
			t.Errorf("%q is at %q, want %q", address, p.Name, want)
		}
	}
}

func TestNamedNobody(t *testing.T) {
	for _, name := range []string{"", "Gmail", "nobody"} {
		if p, found := Named(name); found || !reflect.DeepEqual(p, Provider{}) {
			t.Errorf("%q is %+v", name, p)
		}
	}
}

func TestTableIsStrict(t *testing.T) {
	for _, text := range []string{"providers: [ {name: x, hots: y} ]", "nothing: 1", "providers: [ {min_interval: soon} ]", ""} {
		if _, err := decode([]byte(text)); err == nil {
			t.Errorf("%q is taken for a table", text)
		}
	}
}
