package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

const minimal = `accounts:
  - name: gmail
    provider: gmail
    username: someone@gmail.com
    password_env: GMAIL_PASSWORD
    maildir: ~/Mail/gmail
`

// parse returns what a good file holds.
func parse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("/etc/popfetchd/popfetchd.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// write makes a file below the test's own folder and returns its path.
func write(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // umask has no say here
		t.Fatal(err)
	}
	return path
}

func TestDefaults(t *testing.T) {
	t.Setenv("HOME", "/home/joe")
	t.Setenv("STATE_DIRECTORY", "")
	t.Setenv("XDG_STATE_HOME", "")
	got := parse(t, minimal)
	every15m, err := ParseSchedule("@every 15m")
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Path:     "/etc/popfetchd/popfetchd.yaml",
		StateDir: "/var/lib/popfetchd",
		Schedule: every15m,
		Parallel: 4,
		Alerts:   Alerts{Remind: 7 * 24 * time.Hour}, AlertAfter: 24 * time.Hour,
		Accounts: []Account{{
			Name: "gmail", Provider: "gmail", Host: "pop.gmail.com", Port: 995, TLS: "implicit",
			Username: "someone@gmail.com", Auth: "auto", Policy: Keep, Access: AllMail,
			DailyLimit: 1_200_000_000, Timeout: 5 * time.Minute, Pipelining: true, Maildir: "/home/joe/Mail/gmail", Schedule: every15m, AlertAfter: 24 * time.Hour,
			secret: &secret{"password_env", new("GMAIL_PASSWORD")},
		}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestEveryKey(t *testing.T) {
	t.Setenv("HOME", "/home/joe")
	got := parse(t, `
state_dir: state
schedule: "@hourly"
parallel: 8
accounts:
  - name: isp.example
    host: pop.example.net
    port: 1995
    tls: starttls
    pin_sha256:
      - `+strings.Repeat("0A:", 31)+`0a
    username: 12345
    password: 007
    auth: plain
    policy: delete
    delete_after: 30d
    access: from-now-on
    max_message_size: 50MB
    timeout: 90s
    pipelining: off
    mbox: ../mail/%Y-%m.mbox
    schedule: "0 */6 * * *"
    alert_after: 2d
    on_new: notmuch new
  - name: here
    host: "::1"
    tls: none
    username: joe
    password: x
    maildir: /m/
  - name: there
    host: pop.example.org
    tls: none
    allow_cleartext: true
    username: joe
    password: x
    maildir: /m
  - {name: old, provider: gmail, host: 127.0.0.1, port: 10995, ca_file: ca.pem, username: joe, password: x, mbox: /m, policy: archive, recent: true}
`)
	if got.StateDir != "/etc/popfetchd/state" || got.Parallel != 8 || got.Schedule.String() != "@hourly" {
		t.Errorf("the file's keys: %+v", got)
	}
	six, _ := ParseSchedule("0 */6 * * *")
	pin := Fingerprint(make([]byte, 32))
	for i := range pin {
		pin[i] = 10
	}
	want := Account{
		Name: "isp.example", Host: "pop.example.net", Port: 1995, TLS: "starttls", PinSHA256: []Fingerprint{pin},
		Username: "12345", Auth: "plain", Policy: Delete, DeleteAfter: 30 * 24 * time.Hour, Access: FromNowOn,
		MaxMessageSize: 50_000_000, Timeout: 90 * time.Second, Mbox: "/etc/mail/%Y-%m.mbox", Schedule: six,
		AlertAfter: 48 * time.Hour, OnNew: "notmuch new",
		secret: &secret{"password", new("007")},
	}
	if isp := got.Accounts[0]; !reflect.DeepEqual(isp, want) {
		t.Errorf("got  %+v\nwant %+v", isp, want)
	}
	here, there, old := got.Accounts[1], got.Accounts[2], got.Accounts[3]
	if here.Port != 110 || here.TLS != "none" || here.Maildir != "/m" || here.Mailbox() != "/m" || here.Schedule.String() != "@hourly" {
		t.Errorf("loopback account: %+v", here)
	}
	if !there.AllowCleartext || there.Port != 110 {
		t.Errorf("cleartext account: %+v", there)
	}
	if old.Host != "127.0.0.1" || old.Port != 10995 || old.CAFile != "/etc/popfetchd/ca.pem" || old.Policy != Archive || old.Mailbox() != "/m" {
		t.Errorf("Gmail with another server: %+v", old)
	}
	if here.Login() != "joe" || old.Login() != "recent:joe" {
		t.Errorf("logins %q and %q", here.Login(), old.Login())
	}
}

func TestPresetPortFollowsTLS(t *testing.T) {
	for tls, want := range map[string]int{"implicit": 995, "starttls": 110} {
		a := parse(t, minimal+"    tls: "+tls+"\n").Accounts[0]
		if a.Host != "pop.gmail.com" || a.Port != want {
			t.Errorf("tls: %s gives %s port %d", tls, a.Host, a.Port)
		}
	}
}

func TestAccountsMayShare(t *testing.T) {
	second := strings.Replace(strings.TrimPrefix(minimal, "accounts:\n"), "name: gmail", "name: again", 1)
	if c := parse(t, minimal+second); len(c.Accounts) != 2 || c.Accounts[0].Maildir != c.Accounts[1].Maildir {
		t.Errorf("accounts %+v", c.Accounts)
	}
}

func TestAliasesAndMergeKeys(t *testing.T) {
	c := parse(t, minimal+`    schedule: &often "@every 5m"
  - &isp
    name: isp
    host: pop.example.net
    username: joe
    password: x
    maildir: /m
    schedule: *often
  - <<: *isp
    name: isp2
    username: ann
  - <<: [*isp, {auth: user, username: nobody}]
    name: isp3
`)
	isp, isp2, isp3 := c.Accounts[1], c.Accounts[2], c.Accounts[3]
	if isp.Schedule.String() != "@every 5m" {
		t.Errorf("alias gave %s", isp.Schedule)
	}
	if isp2.Name != "isp2" || isp2.Username != "ann" || isp2.Host != isp.Host || isp2.Auth != "auto" {
		t.Errorf("merge gave %+v", isp2)
	}
	if isp3.Name != "isp3" || isp3.Username != "joe" || isp3.Auth != "user" {
		t.Errorf("merge of a list gave %+v", isp3)
	}
}

func TestWindowsLineEndsAndByteOrderMark(t *testing.T) {
	c := parse(t, "\ufeff"+strings.ReplaceAll(minimal, "\n", "\r\n"))
	if c.Accounts[0].Username != "someone@gmail.com" {
		t.Errorf("account %+v", c.Accounts[0])
	}
}

func TestStateDir(t *testing.T) {
	t.Setenv("HOME", "/home/joe")
	for _, c := range []struct{ state, xdg, want string }{
		{"/var/lib/popfetchd:/var/lib/other", "/x", "/var/lib/popfetchd"},
		{"", "/x/", "/x/popfetchd"},
		{"relative", "also", "/var/lib/popfetchd"},
		{"", "", "/var/lib/popfetchd"},
	} {
		t.Setenv("STATE_DIRECTORY", c.state)
		t.Setenv("XDG_STATE_HOME", c.xdg)
		if got := parse(t, minimal).StateDir; got != c.want {
			t.Errorf("%+v gave %s", c, got)
		}
	}
	t.Setenv("HOME", "")
	_, err := Parse("a.yaml", []byte(strings.Replace(minimal, "~", "", 1)))
	const want = "a.yaml:1: state_dir: missing, and there is no $HOME to put it in; name a folder for popfetchd's ledger"
	if err == nil || err.Error() != want {
		t.Errorf("without a home: %v", err)
	}
}

func TestSelect(t *testing.T) {
	c := &Config{Accounts: []Account{{Name: "a"}, {Name: "gmail"}, {Name: "c"}}}
	for _, test := range []struct {
		names []string
		want  string
	}{
		{nil, "a gmail c"},
		{[]string{"c", "a", "c"}, "a c"},
	} {
		accounts, err := c.Select(test.names)
		var got []string
		for _, a := range accounts {
			got = append(got, a.Name)
		}
		if err != nil || strings.Join(got, " ") != test.want {
			t.Errorf("Select(%q) = %q, %v", test.names, got, err)
		}
	}
	_, err := c.Select([]string{"a", "gmial\x1b"})
	if want := `no account is called "gmial\x1b"; did you mean gmail?; known: a, gmail, c`; err == nil || err.Error() != want {
		t.Errorf("error %v", err)
	}
}

func TestFind(t *testing.T) {
	home, xdg := t.TempDir(), t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", xdg)
	put := func(dir string) string {
		path := filepath.Join(dir, "popfetchd", "popfetchd.yaml")
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	own := put(xdg)
	for flag, want := range map[string]string{"": own, own: own} {
		if got, err := Find(flag); got != want || err != nil {
			t.Errorf("Find(%q) = %q, %v", flag, got, err)
		}
	}
	t.Setenv("XDG_CONFIG_HOME", "")
	below := put(filepath.Join(home, ".config"))
	if got, err := Find(""); got != below || err != nil {
		t.Errorf("Find in ~/.config = %q, %v", got, err)
	}
}

func TestFindNothing(t *testing.T) {
	const system = "/etc/popfetchd/popfetchd.yaml"
	if _, err := os.Stat(system); err == nil {
		t.Fatalf("%s exists; move it away for this test", system)
	}
	empty := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", empty)
	_, err := Find("")
	want := "no configuration file " + empty + "/popfetchd/popfetchd.yaml, nor " + system + "; have popfetchd init write one, or name yours with --config"
	var problems *Error
	if !errors.As(err, &problems) || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	_, err = Find("/nowhere/x.yaml")
	if want := "no configuration file /nowhere/x.yaml; name the one you have with --config, or have popfetchd init write it there"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}
