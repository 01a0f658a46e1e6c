package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// twoAccounts follow the keys of the file that a test is about.
const twoAccounts = `
accounts:
  - {name: isp, host: pop.example.net, username: joe, password: isp-password, maildir: /m}
  - {name: mine, provider: gmail, username: joe@gmail.com, password: abcd efgh ijkl mnop, maildir: /m}
  - {name: token, provider: gmail, username: ann@gmail.com, auth: xoauth2, oauth: {client_id: x}, maildir: /m}
`

func TestListen(t *testing.T) {
	t.Setenv("HOME", "/home/joe")
	for text, want := range map[string]Listen{
		"listen: 127.0.0.1:8025":                          {Network: "tcp", Address: "127.0.0.1:8025"},
		"listen: 127.0.0.53:0":                            {Network: "tcp", Address: "127.0.0.53:0"},
		`listen: "[::1]:8025"`:                            {Network: "tcp", Address: "[::1]:8025"},
		"listen: localhost:08025":                         {Network: "tcp", Address: "localhost:8025"},
		"listen: unix:/run/popfetchd/s":                   {Network: "unix", Address: "/run/popfetchd/s"},
		"listen: unix:~/s":                                {Network: "unix", Address: "/home/joe/s"},
		"listen: unix:s":                                  {Network: "unix", Address: "/etc/popfetchd/s"},
		"state_dir: /s":                                   {},
		"listen: 127.0.0.1:8025\nlisten_password_file: p": {Network: "tcp", Address: "127.0.0.1:8025", PasswordFile: "/etc/popfetchd/p"},
		"listen: \"[::]:8025\"\nlisten_password_file: /p\nlisten_cert: /c\nlisten_key: /k": {Network: "tcp", Address: "[::]:8025", PasswordFile: "/p", Cert: "/c", Key: "/k"},
	} {
		if got := parse(t, text+twoAccounts).Listen; got != want {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}
}

func TestAlerts(t *testing.T) {
	week := 7 * 24 * time.Hour
	for text, want := range map[string]Alerts{
		"state_dir: /s":                                       {Remind: week},
		"alerts: {mailbox: true}":                             {Mailbox: true, Remind: week},
		"alerts: {mailbox: false, command: 'a | b'}":          {Command: "a | b", Remind: week},
		"alerts: {mailbox: mine, remind: off}":                {Mailbox: true, MailboxAccount: "mine"},
		"alerts: {ping: http://127.0.0.1:80/x, remind: 1d}":   {Ping: &Ping{URL: "http://127.0.0.1:80/x"}, Remind: 24 * time.Hour},
		"alerts: {ping: 'https://hc-ping.com/key/{account}'}": {Ping: &Ping{URL: "https://hc-ping.com/key/{account}"}, Remind: week},
		"alerts: {ping: {url: https://hc-ping.com/x}}":        {Ping: &Ping{URL: "https://hc-ping.com/x"}, Remind: week},
		"alerts: {webhook: 'https://ntfy.sh/x?y=z'}":          {Webhook: &Webhook{URL: "https://ntfy.sh/x?y=z", Format: FormatJSON}, Remind: week},
		"alerts: {webhook: {url: 'http://[fd00::5]/', format: gotify, token_file: t, headers: {x-priority: high, X-N: 5}}}": {Remind: week,
			Webhook: &Webhook{URL: "http://[fd00::5]/", Format: FormatGotify, TokenFile: "/etc/popfetchd/t", Headers: map[string]Hidden{"X-Priority": "high", "X-N": "5"}}},
	} {
		c := parse(t, text+twoAccounts)
		if !reflect.DeepEqual(c.Alerts, want) || c.Alerts.Any() != (text != "state_dir: /s") {
			t.Errorf("%s: %+v, want %+v", text, c.Alerts, want)
		}
	}
}

func TestEmail(t *testing.T) {
	for text, want := range map[string]Email{
		"via: mine":  {Via: "mine", Host: "smtp.gmail.com", Port: 587, TLS: "starttls", Username: "joe@gmail.com", From: "joe@gmail.com"},
		"via: gmail": {Via: "mine", Host: "smtp.gmail.com", Port: 587, TLS: "starttls", Username: "joe@gmail.com", From: "joe@gmail.com"},
		"via: token": {Via: "token", Host: "smtp.gmail.com", Port: 587, TLS: "starttls", Username: "ann@gmail.com", From: "ann@gmail.com"},
		"via: gmail, host: localhost, port: 2525, from: x@example.net": {Via: "mine", Host: "localhost", Port: 2525, TLS: "starttls", Username: "joe@gmail.com", From: "x@example.net"},
		"via: gmail, tls: implicit":                                    {Via: "mine", Host: "smtp.gmail.com", Port: 465, TLS: "implicit", Username: "joe@gmail.com", From: "joe@gmail.com"},
		"via: isp, host: smtp.example.net":                             {Via: "isp", Host: "smtp.example.net", Port: 465, TLS: "implicit", Username: "joe", From: "a@example.net"},
		"host: smtp.example.net":                                       {Host: "smtp.example.net", Port: 465, TLS: "implicit", From: "a@example.net"},
		"host: smtp.example.net, port: 587":                            {Host: "smtp.example.net", Port: 587, TLS: "starttls", From: "a@example.net"},
		"host: \"::1\", tls: none":                                     {Host: "::1", Port: 25, TLS: "none", From: "a@example.net"},
		"host: h, username: b@example.org, password: x, ca_file: c":    {Host: "h", Port: 465, TLS: "implicit", Username: "b@example.org", From: "b@example.org", CAFile: "/etc/popfetchd/c"},
	} {
		c := parse(t, "alerts: {email: {to: [a@example.net, b@example.net], "+text+"}}"+twoAccounts)
		got := *c.Alerts.Email
		account, found := got.Account()
		if found != (want.Via != "") || account.Name != want.Via {
			t.Errorf("%s is sent by account %q", text, account.Name)
		}
		got.account, got.secret, want.To = nil, nil, []string{"a@example.net", "b@example.net"}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}
}

// The password for sending comes from the account that via names, spaces and all, else from the section's own keys.
func TestEmailPassword(t *testing.T) {
	t.Setenv("SMTP_PASSWORD", hunter+"\n")
	for text, want := range map[string]string{
		"via: gmail":        "abcdefghijklmnop",
		"via: isp, host: h": "isp-password",
		"host: h":           "",
		"host: h, username: joe, password_env: SMTP_PASSWORD": hunter,
	} {
		c := parse(t, "alerts: {email: {to: a@example.net, "+text+"}}"+twoAccounts)
		if got, err := c.Alerts.Email.Password(t.Context()); got != want || err != nil {
			t.Errorf("%s: %q, %v; want %q", text, got, err, want)
		}
	}
	c := parse(t, "alerts: {email: {to: a@example.net, host: h, username: joe, password_file: /nowhere/p}}"+twoAccounts)
	_, err := c.Alerts.Email.Password(t.Context())
	const want = "alerts.email.password_file: /nowhere/p: there is no such file; name one that exists"
	if secret := (*SecretError)(nil); !errors.As(err, &secret) || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// Load looks at the files that listen and alerts name; Read does not.
func TestFilesOfListenAndAlerts(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"open": 0o644, "token": 0o600, "config.yaml": 0o600} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("secret-"+name+"\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "config.yaml")
	for text, want := range map[string]string{
		"listen: 127.0.0.1:80\nlisten_password_file: open":                        "2: listen_password_file: others can read DIR/open and the password in it (mode 0644); run chmod 600 DIR/open",
		"listen: 127.0.0.1:80\nlisten_cert: token\nlisten_key: open":              "3: listen_key: everybody can read DIR/open and the key in it (mode 0644); run chmod o= DIR/open",
		"listen: 127.0.0.1:80\nlisten_cert: token\nlisten_key: none":              "3: listen_key: DIR/none: there is no such file; name one that exists",
		"listen: 127.0.0.1:80\nlisten_cert: none\nlisten_key: token":              "2: listen_cert: DIR/none: there is no such file; name one that exists",
		"listen: 127.0.0.1:80\nlisten_cert: token\nlisten_key: token":             "2: listen_cert: DIR/token: tls: failed to find any PEM data in certificate input; give a certificate in PEM form and the key that belongs to it",
		"alerts: {webhook: {url: https://x/y, token_file: open}}":                 "1: alerts.webhook.token_file: others can read DIR/open and the token in it (mode 0644); run chmod 600 DIR/open",
		"alerts: {email: {to: a@b, host: h, username: u, password_file: open}}":   "1: alerts.email.password_file: others can read DIR/open and the password in it (mode 0644); run chmod 600 DIR/open",
		"alerts: {email: {to: a@b, host: h, ca_file: token}}":                     "1: alerts.email.ca_file: DIR/token holds no certificate; give a file with -----BEGIN CERTIFICATE-----",
		"alerts: {webhook: {url: https://x/y, token_file: token}, mailbox: true}": "",
	} {
		if err := os.WriteFile(path, []byte(text+twoAccounts), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path)
		got := ""
		if err != nil {
			got = strings.ReplaceAll(strings.ReplaceAll(err.Error(), path+":", ""), dir, "DIR")
		}
		if got != want {
			t.Errorf("%s:\n got %s\nwant %s", text, got, want)
		}
		if _, err := Read(path); err != nil {
			t.Errorf("%s: Read: %v", text, err)
		}
	}
	if token, err := (Webhook{TokenFile: filepath.Join(dir, "token")}).Token(); token != "secret-token" || err != nil {
		t.Errorf("token %q, %v", token, err)
	}
	if password, err := (Listen{PasswordFile: filepath.Join(dir, "token")}).Password(); password != "secret-token" || err != nil {
		t.Errorf("password %q, %v", password, err)
	}
}

// Addresses that are secret, and headers, never show up whole, whoever prints the configuration.
func TestHiddenIsNeverPrinted(t *testing.T) {
	c := parse(t, "alerts: {webhook: {url: https://hooks.example.net/hunter2, headers: {X-Key: hunter2}}, ping: https://hc-ping.com/hunter2}"+twoAccounts)
	var printed strings.Builder
	for _, handler := range []slog.Handler{slog.NewTextHandler(&printed, nil), slog.NewJSONHandler(&printed, nil)} {
		slog.New(handler).Info("x", "alerts", c.Alerts, "webhook", c.Alerts.Webhook, "url", c.Alerts.Ping.URL)
	}
	for _, v := range []any{c, c.Alerts, *c.Alerts.Webhook, c.Alerts.Webhook.URL, *c.Alerts.Ping, c.Alerts.Webhook.Headers} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t"} {
			fmt.Fprintf(&printed, verb, v)
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		printed.Write(text)
	}
	for _, form := range []string{"hunter", fmt.Sprintf("%x", "hunter")} {
		if strings.Contains(printed.String(), form) {
			t.Errorf("the secret was printed as %s", form)
		}
	}
	if got := string(c.Alerts.Ping.URL); got != "https://hc-ping.com/hunter2" || c.Alerts.Ping.URL.String() != "https://hc-ping.com/"+redacted {
		t.Errorf("%q is shown as %q", got, c.Alerts.Ping.URL)
	}
}

// An account that comes seldom is not called silent before it has come again; a limit of its own is taken as it is, with a warning.
func TestAlertAfterFollowsTheSchedule(t *testing.T) {
	const day = 24 * time.Hour
	for _, test := range []struct {
		file, schedule, own string
		want                time.Duration
		warning             string
	}{
		{"24h", "@every 15m", "", day, ""},
		{"24h", "*/5 * * * *", "", day, ""},
		{"24h", "@daily", "", day + slack, ""},
		{"24h", "0 */6 * * *", "", day, ""},
		{"24h", "0 8,20 * * *", "", day, ""},
		{"2h", "0 8,20 * * *", "", 12*time.Hour + slack, ""},
		{"2h", "*/15 9-17 * * *", "", 15*time.Hour + 15*time.Minute + slack, ""},
		{"24h", "*/15 9-17 * * 1-5", "", 3*day - 8*time.Hour - 45*time.Minute + slack, ""},
		{"24h", "@weekly", "", 7*day + slack, ""},
		{"24h", "TZ=Asia/Almaty 0 6 * * sun", "", 7*day + slack, ""},
		{"24h", "@monthly", "", 31*day + slack, ""},
		{"24h", "@yearly", "", 365*day + slack, ""},
		{"24h", "@every 3d", "", 3*day + slack, ""},
		{"2w", "@weekly", "", 14 * day, ""},
		{"off", "@weekly", "", 0, ""},
		{"24h", "@every 15m", "off", 0, ""},
		{"off", "@every 15m", "1h", time.Hour, ""},
		{"24h", "@weekly", "8d", 8 * day, ""},
		{"24h", "@weekly", "2d", 2 * day, `"@weekly" comes again only after 168h, so that this would tell of silence when nothing is wrong; use 180h or more`},
	} {
		text := fmt.Sprintf("alert_after: %s\naccounts:\n  - {name: a, host: h, username: u, password: p, maildir: /m, schedule: %q", test.file, test.schedule)
		if test.own != "" {
			text += ", alert_after: " + test.own
		}
		c := parse(t, text+"}\n")
		warning := ""
		for _, w := range c.Warnings {
			warning += w.Text
		}
		if got := c.Accounts[0].AlertAfter; got != test.want || warning != test.warning {
			t.Errorf("%s, %s, %s: %s, want %s; %s", test.file, test.schedule, test.own, got, test.want, warning)
		}
	}
}
