package config

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/popfetchd/popfetchd/internal/provider"
)

// account returns the lines of one account without a provider.
func account(lines ...string) string {
	return "accounts:\n  - name: isp\n    maildir: /m\n    " + strings.Join(lines, "\n    ") + "\n"
}

// For every provider with POP its name, a user name and what to log in with are
// enough, and give what its table says.
func TestEveryProvider(t *testing.T) {
	for _, p := range provider.All() {
		if p.NoPOP != "" {
			continue
		}
		t.Run(p.Name, func(t *testing.T) {
			lines := []string{"provider: " + p.Name, "username: someone@" + p.Domains[0], "password: abcd efgh ijkl mnop"}
			if p.Username == provider.LocalPart {
				lines[1] = "username: someone"
			}
			if p.OAuthOnly {
				lines[2] = "oauth: {client_id: x}"
			}
			c := parse(t, account(lines...))
			a := c.Accounts[0]
			if a.Host != p.Host || a.Port != p.Port || a.TLS != p.TLS || a.DailyLimit != p.DailyLimit || !reflect.DeepEqual(a.Preset(), p) {
				t.Errorf("%+v, want what %+v says", a, p)
			}
			if want := p.Schedule; a.Schedule.String() != want && (want != "" || a.Schedule.String() != defaultSchedule) {
				t.Errorf("schedule %s, want %s", a.Schedule, want)
			}
			if want := map[bool]string{false: "auto", true: "xoauth2"}[p.OAuthOnly]; a.Auth != want || a.UsesOAuth() != p.OAuthOnly {
				t.Errorf("auth %s, want %s", a.Auth, want)
			}
			if len(c.Warnings) > 0 {
				t.Errorf("warnings %v", c.Warnings)
			}
			for _, policy := range []Policy{Keep, Delete, MarkRead, Archive} {
				_, err := Parse("x.yaml", []byte(account(append(lines, "policy: "+string(policy))...)))
				good := policy == Keep || policy == Delete || p.Windowed
				if (err == nil) != good {
					t.Errorf("policy %s: %v", policy, err)
				}
			}
		})
	}
	if (Account{}).Preset().Name != "" {
		t.Error("an account without a provider has a preset")
	}
}

// What the file says wins over the provider, at either level.
func TestFileWinsOverProvider(t *testing.T) {
	web := []string{"provider: web.de", "username: joe", "password: x"}
	for _, test := range []struct{ text, schedule string }{
		{account(web...), "@every 20m"},
		{"schedule: \"@hourly\"\n" + account(web...), "@hourly"},
		{account(append(web, `schedule: "@daily"`)...), "@daily"},
		{"schedule: \"@hourly\"\n" + account(append(web, `schedule: "@daily"`)...), "@daily"},
	} {
		if got := parse(t, test.text).Accounts[0].Schedule.String(); got != test.schedule {
			t.Errorf("%s\ncomes %s, want %s", test.text, got, test.schedule)
		}
	}
	gmail := []string{"provider: gmail", "username: joe@gmail.com", "password: abcdefghijklmnop"}
	for limit, want := range map[string]int64{"off": 0, "2GB": 2e9, "1": 1} {
		if got := parse(t, account(append(gmail, "daily_limit: "+limit)...)).Accounts[0].DailyLimit; got != want {
			t.Errorf("daily_limit: %s is %d", limit, got)
		}
	}
	a := parse(t, account("provider: gmx", "username: joe@gmx.com", "password: x", "host: pop.gmx.com", "port: 1995", "daily_limit: 1MB")).Accounts[0]
	if a.Host != "pop.gmx.com" || a.Port != 1995 || a.DailyLimit != 1e6 {
		t.Errorf("%+v", a)
	}
}

// Gmail's from-now-on works where its window hides nothing: in recent mode, and
// with a token, with which its own setting can be read.
func TestFromNowOnAtGmail(t *testing.T) {
	for _, lines := range [][]string{
		{"password: abcdefghijklmnop", "recent: true"},
		{"auth: xoauth2", "oauth: {client_id: x}"},
		{"auth: oauthbearer", "oauth: {client_id: x}"},
	} {
		c := parse(t, account(append(lines, "provider: gmail", "username: joe@gmail.com", "access: from-now-on")...))
		if c.Accounts[0].Access != FromNowOn {
			t.Errorf("%v: %+v", lines, c.Accounts[0])
		}
	}
}

func TestWarnings(t *testing.T) {
	const letters = "password: abcd efgh ijkl mnop"
	for _, test := range []struct {
		text, want string
	}{
		{account("provider: gmail", "username: joe@gmail.com", letters, `schedule: "@every 2m"`),
			`7: accounts[isp].schedule: "@every 2m" comes again after 2m, and Gmail wants 5m between logins; use "@every 15m"`},
		{account("provider: gmail", "username: joe@gmail.com", letters, `schedule: "*/4 * * * *"`),
			`7: accounts[isp].schedule: "*/4 * * * *" comes again after 4m, and Gmail wants 5m between logins; use "@every 15m"`},
		{account("provider: gmail", "username: joe@gmail.com", letters, `schedule: "0,3 6 1 * *"`),
			`7: accounts[isp].schedule: "0,3 6 1 * *" comes again after 3m, and Gmail wants 5m between logins; use "@every 15m"`},
		{account("provider: gmail", "username: joe@gmail.com", letters, `schedule: "@every 4m30s"`),
			`7: accounts[isp].schedule: "@every 4m30s" comes again after 4m30s, and Gmail wants 5m between logins; use "@every 15m"`},
		{"schedule: \"@every 10m\"\n" + account("provider: web.de", "username: joe", "password: x"),
			`1: accounts[isp].schedule: "@every 10m" comes again after 10m, and WEB.DE wants 15m between logins; use "@every 20m"`},
		{account("provider: gmail", "username: joe@gmail.com", letters, `schedule: "*/5 * * * *"`), ""},
		{account("provider: gmail", "username: joe@gmail.com", letters, `schedule: "0 0 29 2 *"`), ""},
		{account("host: pop.example.net", "username: joe", "password: x", `schedule: "@every 1m"`), ""},

		{account("provider: gmail", "username: joe", letters), `5: accounts[isp].username: Gmail wants the whole address here, as in someone@gmail.com`},
		{account("provider: outlook", "username: joe", "oauth: {client_id: x}"),
			`5: accounts[isp].username: Outlook.com wants the whole address here, as in someone@outlook.com`},
		{account("provider: web.de", "username: joe@web.de", "password: x"),
			`5: accounts[isp].username: WEB.DE wants what stands before the @ alone; write "joe"`},
		{account("host: pop.example.net", "username: joe", "password: x"), ""},

		{account("provider: gmail", "username: joe@gmail.com", "password: "+hunter),
			"6: accounts[isp].password: this is no app password, which has 16 letters, and Gmail refuses the account's normal password; make an app password at https://myaccount.google.com/apppasswords"},
		{account("provider: yahoo", "username: joe@yahoo.com", "password: "+hunter), ""},

		{account("provider: gmail", "username: joe@gmail.com", "auth: xoauth2", "oauth: {client_id: x}"),
			"7: accounts[isp].oauth: Google gives a client for a desktop program a secret as well, and wants it; give client_secret_file"},
		{account("provider: gmail", "username: joe@gmail.com", "auth: xoauth2", "oauth: {client_id: x, client_secret_file: s}"), ""},
		{account("provider: gmail", "username: joe@gmail.com", "auth: xoauth2", "oauth: {client_id: x, auth_url: https://a.b/, token_url: https://a.b/}"), ""},
		{account("provider: outlook", "username: joe@outlook.com", "oauth: {client_id: x}"), ""},
	} {
		c, err := Parse("x", []byte(test.text))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, w := range c.Warnings {
			got = append(got, strings.TrimPrefix(w.String(), "x:"))
		}
		if strings.Join(got, "\n") != test.want {
			t.Errorf("%s\n got %s\nwant %s", test.text, strings.Join(got, "\n"), test.want)
		}
	}
}

// Warnings come in the order of the file, for all accounts.
func TestWarningsInOrder(t *testing.T) {
	c := parse(t, `accounts:
  - {name: a, maildir: /a, password: x, username: joe, provider: gmail}
  - name: b
    password: x
    provider: gmail
    maildir: /b
    username: joe
    schedule: "@every 1m"
`)
	var got []string
	for _, w := range c.Warnings {
		got = append(got, w.Key)
	}
	if want := "accounts[a].username accounts[a].password accounts[b].password accounts[b].username accounts[b].schedule"; strings.Join(got, " ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " "), want)
	}
}

func TestPasswordWarning(t *testing.T) {
	for _, test := range []struct {
		provider, password string
		warned             bool
	}{
		{"gmail", "abcd efgh ijkl mnop", false},
		{"gmail", "ABCDefghijklmnop", false},
		{"gmail", "abcdefghijklmno", true},
		{"gmail", "abcdefghijklmnopq", true},
		{"gmail", "abcdefghijklmno1", true},
		{"gmail", "abcdefghijklmnö", true},
		{"gmail", hunter, true},
		{"yahoo", hunter, false},
		{"", hunter, false},
	} {
		text := withSecret(t, test.provider, "password_file", write(t, "p", test.password+"\n", 0o600)).PasswordWarning(t.Context())
		if (text != "") != test.warned || strings.Contains(text, test.password) {
			t.Errorf("%s %q: %q", test.provider, test.password, text)
		}
	}
	for _, a := range []Account{
		{Provider: "gmail"},
		{Provider: "gmail", Auth: "xoauth2", OAuth: &OAuth{}},
		withSecret(t, "gmail", "password_file", "/nowhere"),
	} {
		if text := a.PasswordWarning(t.Context()); text != "" {
			t.Errorf("%+v: %q", a, text)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if text := withSecret(t, "gmail", "password_command", "sleep 100000").PasswordWarning(ended); text != "" {
		t.Errorf("without the command's answer: %q", text)
	}
}
