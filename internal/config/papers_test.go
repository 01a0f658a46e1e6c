package config

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/popfetchd/popfetchd/internal/provider"
)

const (
	reference = "../../docs/config.md"
	example   = "../../popfetchd.example.yaml"
)

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func allKeys() []string {
	return slices.Concat(names(fileKeys()), names(accountKeys()), names(oauthKeys()),
		names(alertsKeys()), names(emailKeys()), names(webhookKeys()), names(pingKeys()))
}

// Every key has a heading row in the reference and a line in the example, and
// neither names one that is none.
func TestPapersNameEveryKey(t *testing.T) {
	rows := regexp.MustCompile("(?m)^\\| `([a-z_0-9]+)` \\|").FindAllStringSubmatch(string(read(t, reference)), -1)
	lines := regexp.MustCompile(`(?m)^[# ]*(?:- )?([a-z_0-9]+):(?: |$)`).FindAllStringSubmatch(string(read(t, example)), -1)
	for paper, found := range map[string][][]string{reference: rows, example: lines} {
		var keys []string
		for _, match := range found {
			keys = append(keys, match[1])
			if !slices.Contains(allKeys(), match[1]) {
				t.Errorf("%s names %q, which is no key", paper, match[1])
			}
		}
		for _, key := range allKeys() {
			if !slices.Contains(keys, key) {
				t.Errorf("%s does not name %s", paper, key)
			}
		}
	}
}

// The example loads as it stands once its password is there, and is good with
// all that is commented out as well. Explanations begin with "# ", what is
// commented out with # and two spaces or a key.
func TestExampleIsGood(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	dir := filepath.Join(home, ".config", "popfetchd")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "gmail.password"), []byte("abcd efgh ijkl mnop\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(example)
	if err != nil {
		t.Fatal(err)
	}
	if password, err := c.Accounts[0].Password(t.Context()); password != "abcdefghijklmnop" || err != nil {
		t.Errorf("password %q, %v", password, err)
	}
	all := regexp.MustCompile(`(?m)^#(  [ a-z-]|[a-z])`).ReplaceAllString(string(read(t, example)), "$1")
	c = parse(t, all)
	if len(c.Accounts) != 5 || c.StateDir != "/var/lib/popfetchd" || c.Accounts[1].DeleteAfter == 0 || !c.Accounts[2].Recent ||
		c.Accounts[3].OAuth.Issuer != "microsoft" || len(c.Accounts[4].OAuth.Scopes) != 2 || len(c.Warnings) > 0 ||
		c.Listen.Network != "tcp" || c.Alerts.Email.Via != "gmail" || c.Alerts.Webhook.Format != FormatNtfy || c.Alerts.Ping == nil || !c.Alerts.Mailbox {
		t.Errorf("config %+v", c)
	}
}

// The reference's table of providers is that of the program.
func TestReferenceNamesEveryProvider(t *testing.T) {
	text := string(read(t, reference))
	rows := regexp.MustCompile("(?m)^\\| [^|]+ \\| `([a-z.-]+)` \\| ([a-z0-9.-]+) \\| (address|before the @) \\|").FindAllStringSubmatch(text, -1)
	var listed []string
	for _, row := range rows {
		p, found := provider.Named(row[1])
		if !found || p.Host != row[2] || (p.Username == provider.LocalPart) != (row[3] == "before the @") {
			t.Errorf("the row of %s is not what the program knows: %+v", row[1], p)
		}
		listed = append(listed, row[1])
	}
	for _, p := range provider.All() {
		if p.NoPOP == "" && !slices.Contains(listed, p.Name) {
			t.Errorf("%s does not list %s", reference, p.Name)
		}
		for _, host := range p.Hosts {
			if strings.Count(host, ".") == 2 && strings.HasSuffix(host, ".com") && !strings.Contains(text, "host: "+host) {
				t.Errorf("%s does not name %s", reference, host)
			}
		}
	}
}

// Whole files that the reference shows are good.
func TestReferenceShowsGoodFiles(t *testing.T) {
	t.Setenv("HOME", "/home/joe")
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(read(t, reference)), -1)
	whole := 0
	for _, block := range blocks {
		if strings.Contains(block[1], "accounts:") {
			parse(t, block[1])
			whole++
		}
	}
	if whole == 0 {
		t.Error("the reference shows no whole file")
	}
}
