package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// bombs are small files that stand for very large ones.
func bombs() map[string]string {
	merge := "accounts:\n  - &a0 {" + strings.Repeat("k: v, ", 3000) + "name: x}\n"
	for i := 1; i < 2000; i++ {
		merge += fmt.Sprintf("  - {<<: *a0, name: a%d}\n", i)
	}
	deep := "accounts:\n  - &a0 {name: x}\n"
	for i := 1; i < 30; i++ {
		deep += fmt.Sprintf("  - &a%d {<<: [%s]}\n", i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	laughs := "a0: &a0 [x]\n"
	for i := 1; i < 20; i++ {
		laughs += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	return map[string]string{
		"merge":   merge,
		"deep":    deep,
		"laughs":  laughs + "accounts: *a19\n",
		"pins":    "accounts:\n  - &p {pin_sha256: [" + strings.Repeat("x,", 30000) + "]}\n" + strings.Repeat("  - *p\n", 10000),
		"circle":  "accounts: &a [*a]\n",
		"nested":  strings.Repeat("[", 100_000),
		"indents": strings.Repeat("- ", 60_000),
		"quotes":  strings.Repeat("a: \"\n", 20_000),
	}
}

func TestBombs(t *testing.T) {
	for name, text := range bombs() {
		begun := time.Now()
		_, err := Parse("x.yaml", []byte(text))
		var problems *Error
		if !errors.As(err, &problems) {
			t.Fatalf("%s: %v", name, err)
		}
		if n := len(problems.Problems); n > maxProblems+1 {
			t.Errorf("%s: %d problems", name, n)
		}
		t.Logf("%s: %d KiB, %d problems, %s", name, len(text)>>10, len(problems.Problems), time.Since(begun))
	}
}

func TestTooMuchIsTold(t *testing.T) {
	many := minimal + "  - &a {name: b, host: h, username: u, password: p, mbox: m, port: 995, tls: implicit, policy: keep, auth: auto}\n"
	for i := range 5000 {
		many += fmt.Sprintf("  - {<<: *a, name: a%d}\n", i)
	}
	_, err := Parse("x.yaml", []byte(many))
	if text := errorText(err); strings.Contains(text, "\n") || !strings.HasSuffix(text, ": the file's aliases expand to more than 50000 values; write fewer") {
		t.Errorf("error %.500s", text)
	}
	_, err = Parse("x.yaml", []byte(minimal+strings.Repeat("    x: y\n", 2000)))
	if text := errorText(err); strings.Count(text, "\n") != maxProblems || !strings.HasSuffix(text, "\nx.yaml: there may be more mistakes; mend these first") {
		t.Errorf("error with %d lines", strings.Count(text, "\n"))
	}
}

// No message holds a piece of a value that may be a password, whatever is
// wrong with the line.
func TestMistakesDoNotShowPasswords(t *testing.T) {
	for _, line := range []string{
		"password: *hunter2", "password: &hunter2", "password: !hunter2 x", "password: [hunter2]", "password: {hunter2: x}",
		"password: @hunter2", "password: `hunter2", "password: %hunter2", "password: \"hunter2\\x", "password: \"hunter2", "password: 'hunter2",
		"password:hunter2", "\"password:hunter2\": x", "? [hunter2]", "pasword: hunter2", "password: \"hunter2\\n\\n\"", "password: \"hunter2\\0\"",
		"password: x: hunter2", "password: | hunter2", "passwrod hunter2", "password_env: hunter2!", "password_credential: a/hunter2",
		"password_command: \"echo hunter2\\0\"", "password:\n      hunter2:\n        x", "\tpassword: hunter2", "password: hunter2\x01", "password: hunter2\xff",
	} {
		_, err := Parse("x.yaml", []byte(strings.Replace(minimal, "password_env: GMAIL_PASSWORD", line, 1)))
		if strings.Contains(errorText(err), "hunter2") || err == nil && !strings.HasPrefix(line, "password: &") {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// The line that is blamed is the one with the mistake, wherever it stands.
func TestFaultyLine(t *testing.T) {
	many := strings.Repeat("# a comment\n\n", 50)
	for mistake, text := range map[string]string{
		"\tname: x":       "accounts:\n  - host: x\n{}\n    tls: none\n",
		"   name: x":      "accounts:\n  - host: x\n{}\n    tls: none\n",
		"    name x":      "accounts:\n  - host: x\n{}\n    tls: none\n",
		"    name: \"x":   "accounts:\n  - host: x\n{}\n    tls: none\n",
		"    name: [x":    "accounts:\n  - host: x\n    pin_sha256: [\n      a,\n      b]\n{}\n    tls: none\n",
		"    name: @x":    "accounts:\n  - host: \"a\n     b\"\n{}\n    tls: none\n",
		"    name: *x":    "accounts:\n  - host: x\n{}\n    tls: none\n",
		"    name: a: b":  "accounts:\n  - host: x\n{}\n    tls: none\n",
		"- x":             "accounts:\n  - host: x\n{}\n    tls: none\n",
		"    name: \x01x": "accounts:\n  - host: x\n{}\n    tls: none\n",
	} {
		text = many + strings.Replace(text, "{}", mistake, 1) + many
		want := strings.Count(text[:strings.Index(text, mistake)], "\n") + 1
		if got := faultyLine([]byte(text)); got != want {
			t.Errorf("%q: line %d, want %d", mistake, got, want)
		}
	}
}

// In a file that is too long to try every line, the line is found as well.
func TestFaultyLineOfLongFile(t *testing.T) {
	text := strings.Repeat("# comment\n", 9_000) + "x: [\n" + strings.Repeat("# comment\n", 3_000)
	if got := faultyLine([]byte(text)); got != 9_001 {
		t.Errorf("line %d", got)
	}
}

// lineBreak is what ends a line in YAML 1.1.
var lineBreak = regexp.MustCompile("\r\n|[\r\n\u0085\u2028\u2029]")

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds in testdata/bad")
	}
	for _, file := range files {
		f.Add(read(f, file))
	}
	f.Add([]byte(minimal))
	f.Add([]byte("accounts: [{name: a, host: ::1, tls: none, username: a, password: a, mbox: a, schedule: TZ=UTC * * * * *}]"))
	f.Add([]byte("accounts: [{name: a, provider: outlook, username: a, mbox: a, schedule: '@every 1m', oauth: {client_id: a, scopes: [b]}}]"))
	f.Add([]byte("accounts: [{name: a, host: a, username: a, auth: xoauth2, mbox: a, oauth: {client_id: a, auth_url: 'https://a', token_url: 'http://localhost'}}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("/etc/x.yaml", data)
		var problems *Error
		switch {
		case err == nil:
			consistent(t, c)
		case c != nil || !errors.As(err, &problems) || len(problems.Problems) == 0:
			t.Fatalf("config %v, error %v", c, err)
		default:
			lines := len(lineBreak.FindAllIndex(data, -1)) + 1
			for _, p := range problems.Problems {
				if p.Text == "" || p.Line < 0 || p.Line > lines || strings.ContainsAny(p.String(), "\n\r\x1b") {
					t.Fatalf("problem %+v of %d lines", p, lines)
				}
			}
		}
	})
}

// consistent fails unless an accepted configuration can be worked with.
func consistent(t *testing.T, c *Config) {
	if len(c.Accounts) == 0 || c.Parallel < 1 || !filepath.IsAbs(c.StateDir) || !filepath.IsAbs(c.Path) {
		t.Fatalf("config %+v", c)
	}
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	seen := make(map[string]bool)
	for _, a := range c.Accounts {
		if seen[a.Name] || !accountName.MatchString(a.Name) || a.Host == "" || a.Username == "" || (a.secret == nil) != a.UsesOAuth() {
			t.Fatalf("account %+v", a)
		}
		seen[a.Name] = true
		if (a.Maildir == "") == (a.Mbox == "") || !filepath.IsAbs(a.Mailbox().At(now)) {
			t.Fatalf("mailbox of %+v", a)
		}
		if next := a.Schedule.Next(now); !next.After(now) {
			t.Fatalf("schedule %q: next %s", a.Schedule, next)
		}
		if a.Port < 1 || a.Port > 65535 || a.Timeout < time.Second || a.DeleteAfter < 0 || a.MaxMessageSize < 0 {
			t.Fatalf("numbers of %+v", a)
		}
		if a.TLS == "none" && !a.AllowCleartext && !isLoopback(a.Host) {
			t.Fatalf("cleartext: %+v", a)
		}
		if o := a.OAuth; (o != nil) != a.UsesOAuth() || o != nil && (o.ClientID == "" || o.AuthURL == "" || o.TokenURL == "") {
			t.Fatalf("sign-in of %+v: %+v", a, o)
		}
		if strings.ContainsFunc(a.Login(), isControl) {
			t.Fatalf("login %q", a.Login())
		}
	}
	for _, w := range c.Warnings {
		if w.Line < 1 || w.Text == "" || strings.ContainsAny(w.String(), "\n\r\x1b") {
			t.Fatalf("warning %+v", w)
		}
	}
}
