package main

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/roff"
)

const paper = "../../docs/config.md"

// Every key of the paper's tables, and the tests of the configuration see to it that these are all, is an entry of the page,
// and every explanation is in it.
func TestManualHasEveryKey(t *testing.T) {
	text, err := os.ReadFile(paper)
	if err != nil {
		t.Fatal(err)
	}
	page, err := manual(string(text), "v1.0", time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	entries := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^\.T[PQ]\n\\fB\\%([a-z_0-9]+)\\fR$`).FindAllSubmatch(page, -1) {
		entries[string(m[1])]++
	}
	keys := map[string]int{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_0-9]+)` \\|.*\\|.*\\|.*\\|$").FindAllSubmatch(text, -1) {
		keys[string(m[1])]++
	}
	if len(keys) < 40 {
		t.Fatalf("%d keys in %s", len(keys), paper)
	}
	for key, n := range keys {
		if entries[key] != n {
			t.Errorf("%s has %d entries in the page and %d rows in the paper", key, entries[key], n)
		}
	}
	for _, want := range []string{".TH \"popfetchd.yaml\" \"5\" \"1970-01-01\" \"popfetchd v1.0\"", "mode 0700", ".SH \"SIZES AND TIME SPANS\"", "openssl s_client"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if words := lost(string(text), string(page)); len(words) > 0 {
		t.Errorf("words of the paper are not in the page: %q", words)
	}
}

// lost are the words of the paper that are not in the page, but for the heads of tables and what links point to.
func lost(text, page string) []string {
	page = strings.NewReplacer(`\%`, "", `\fB`, " ", `\fI`, " ", `\fR`, " ", `\-`, "-", `\(aq`, "'", `\(dq`, `"`, `\(ha`, "^", `\(ti`, "~", `\(ga`, "`", `\e`, `\`).Replace(page)
	page = strings.ToLower(page)
	text = strings.ReplaceAll(text, "| see above |", "")
	text = regexp.MustCompile(`\]\([^)]*\)`).ReplaceAllString(text, " ")
	text = regexp.MustCompile(`(?m)^# .*$|^\| [A-Z][a-z]+ \|.*$`).ReplaceAllString(text, " ")
	var words []string
	for _, word := range regexp.MustCompile(`[A-Za-z]{3,}`).FindAllString(text, -1) {
		if !strings.Contains(page, strings.ToLower(word)) && !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	return words
}

// What the program does not know it refuses, and says where.
func TestMarkdownThatIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"a\n\n##### five":              `line 3: "##### five" is no heading of four levels at most`,
		"a\n\n```\nb":                  "line 3: code without an end",
		"<div>":                        `line 1: "<div>" is no Markdown that this program knows`,
		"| a | b |\n|---|---|\n| c |":  "line 1: a row of 1 cells below a head of 2",
		"- a\n  - b":                   "line 1: a list of more than paragraphs and code",
		"- a\nb":                       `line 1: "b" goes on neither the list nor its entry`,
		"![picture](x.png)":            `line 1: "![picture](x.png)" is no Markdown that this program knows`,
		"# t\n\n| a |\n| b |\n| c |\n": "line 3: a table needs a head, a line of dashes and rows",
	} {
		if _, err := parse(text); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	for text, want := range map[string]string{
		"no title": "the paper does not begin with its title",
		"# t\n\n| Key | Value | Default | Example |\n|---|---|---|---|\n| `a` | b | c | d |\n\n- **b**: x":      "line 3: b is explained and not in the table",
		"# t\n\n| Key | Value | Default | Example |\n|---|---|---|---|\n| `a` | b | c | d |\n\n- **a**: x\n- y": `line 3: "y" explains no key`,
	} {
		if _, err := manual(text, "v1", time.Time{}); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestInline(t *testing.T) {
	for text, want := range map[string]roff.Text{
		"a `b` **c** *d*":                    `a \fB\%b\fR \fB\%c\fR \fId\fR`,
		`\* 2 * 3 * 4`:                       `* 2 * 3 * 4`,
		"[there](#x), [`y`](../y.md)":        `there, \fB\%y\fR (y.md)`,
		"<https://x.example> [z](https://z)": `https://x.example z (https://z)`,
	} {
		if got := inline(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// dpkg orders the versions as they came about.
func TestDebianVersions(t *testing.T) {
	date := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	described := []struct{ version, want string }{
		{"abc1234", "0~20260304.050607.abc1234-1"},
		{"v1.2.0-rc1", "1.2.0~rc1-1"},
		{"v1.2.0-rc1-3-gabc1234", "1.2.0~rc1+3.gabc1234-1"},
		{"v1.2.0", "1.2.0-1"},
		{"v1.2.0-dirty", "1.2.0+dirty-1"},
		{"v1.2.0-15-gabc1234", "1.2.0+15.gabc1234-1"},
		{"v1.3.0", "1.3.0-1"},
	}
	for i, d := range described {
		if got := debianVersion(d.version, date); got != d.want {
			t.Errorf("%s: %s, want %s", d.version, got, d.want)
		}
		if i > 0 && d.version != "v1.2.0-15-gabc1234" {
			if out, err := exec.Command("dpkg", "--compare-versions", described[i-1].want, "lt", d.want).CombinedOutput(); err != nil {
				t.Errorf("dpkg does not take %s for older than %s: %v %s", described[i-1].want, d.want, err, out)
			}
		}
	}
	if got := debianVersion("unknown", time.Unix(0, 0)); got != "0~19700101.000000.unknown-1" {
		t.Errorf("%s", got)
	}
	want := "popfetchd (1.2.0-1) unstable; urgency=medium\n\n  * Built from v1.2.0; the changes are in changelog.gz beside this file.\n\n" +
		" -- The popfetchd authors <popfetchd@users.noreply.github.com>  Wed, 04 Mar 2026 05:06:07 +0000\n"
	if got := debianChangelog("v1.2.0", date); got != want {
		t.Errorf("%s", got)
	}
}

// Every module that is linked in has its notice.
func TestCopyright(t *testing.T) {
	t.Chdir("../..")
	text, err := copyright("linux/amd64", true)
	if err != nil {
		t.Fatal(err)
	}
	modules, err := linked("linux/amd64")
	if err != nil || !modules[0].Main {
		t.Fatal(modules, err)
	}
	for _, m := range modules[1:] {
		if !strings.Contains(string(text), "\nThe program contains "+m.Path+" "+m.Version) {
			t.Errorf("no notice of %s", m.Path)
		}
	}
	for what, want := range map[string]bool{"Copyright (c) 2026 The popfetchd authors": true, "Go's own library": true, "Copyright 2009 The Go Authors": true,
		"/usr/share/common-licenses/Apache-2.0": true, "TERMS AND CONDITIONS FOR USE": false, "rapid": false} {
		if strings.Contains(string(text), what) != want {
			t.Errorf("the notices hold %q: %v", what, !want)
		}
	}
	whole, err := copyright("linux/amd64", false)
	if err != nil || !strings.Contains(string(whole), "TERMS AND CONDITIONS FOR USE") {
		t.Errorf("elsewhere the licence must be whole: %v", err)
	}
}
