// Package docs_test holds the papers against the program: what they show loads, where they point to is there, and the
// guide says the same in each of its languages.
package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/popfetchd/popfetchd/internal/config"
)

// guides are one guide in several languages, the first being what the others follow.
var guides = []string{"gmail.md", "gmail.hi.md", "gmail.kk.md"}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// matches returns what the first group of a pattern holds at each of its matches.
func matches(pattern, text string) []string {
	var found []string
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found = append(found, match[1])
	}
	return found
}

var block = regexp.MustCompile("(?ms)^ *```.*?^ *```\n")

// Whole configurations that the guides show are good.
func TestGuidesShowGoodConfigurations(t *testing.T) {
	t.Setenv("HOME", "/home/joe")
	for _, guide := range guides {
		whole := 0
		for _, yaml := range matches("(?s)```yaml\n(.*?)```", read(t, guide)) {
			if !regexp.MustCompile(`(?m)^accounts:`).MatchString(yaml) {
				continue
			}
			whole++
			parsed, err := config.Parse("/home/joe/popfetchd.yaml", []byte(yaml))
			if err != nil {
				t.Errorf("%s shows\n%s\n%v", guide, yaml, err)
				continue
			}
			if len(parsed.Warnings) != 0 {
				t.Errorf("%s shows\n%s\nof which check warns: %v", guide, yaml, parsed.Warnings)
			}
		}
		if whole != 3 {
			t.Errorf("%s shows %d whole files, want one of each kind: app password, OAuth, recent mode", guide, whole)
		}
	}
}

// outline is what a guide has in common with its translations.
func outline(text string) map[string][]string {
	code := regexp.MustCompile(`(?m) +# .*$`).ReplaceAllString(strings.Join(block.FindAllString(text, -1), ""), "")
	prose := block.ReplaceAllString(text, "")
	var columns []string
	for _, row := range matches(`(?m)^ *(\|.*\|)$`, prose) {
		columns = append(columns, strings.Repeat("|", strings.Count(row, "|")))
	}
	spans := matches("`([^`\n]+)`", prose)
	slices.Sort(spans)
	return map[string][]string{
		"headings":         matches(`(?m)^(#+) `, prose),
		"columns of a row": columns,
		"numbered steps":   matches(`(?m)^ *(\d+\.) `, prose),
		"dashed items":     matches(`(?m)^( *-) `, prose),
		"addresses":        matches(`<(https?:[^>]+)>`, prose),
		"words in code":    spans,
		"lines of code":    strings.Split(code, "\n"),
	}
}

// A translation leaves nothing out and adds nothing: headings, tables, steps, addresses, commands and files are the same.
func TestTranslationsSayTheSame(t *testing.T) {
	original := outline(read(t, guides[0]))
	for _, guide := range guides[1:] {
		for what, got := range outline(read(t, guide)) {
			want := original[what]
			for i := range max(len(got), len(want)) {
				if i >= len(got) || i >= len(want) || got[i] != want[i] {
					t.Errorf("%s: %s part from those of %s at %d of %d and %d:\n%q\n%q", guide, what, guides[0], i, len(got), len(want),
						got[min(i, len(got)):min(i+1, len(got))], want[min(i, len(want)):min(i+1, len(want))])
					break
				}
			}
		}
	}
}

// Commands and flags that the papers name are there.
func TestCommandsExist(t *testing.T) {
	sources, err := filepath.Glob("../cmd/popfetchd/*.go")
	if err != nil || len(sources) == 0 {
		t.Fatal(sources, err)
	}
	program := ""
	for _, source := range sources {
		if !strings.HasSuffix(source, "_test.go") {
			program += read(t, source)
		}
	}
	commands := matches(`(?m)^\s*Use: +"([a-z]+)`, program)
	papers, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, paper := range append(papers, "../README.md") {
		text := read(t, paper)
		code := strings.Join(append(block.FindAllString(text, -1), matches("`([^`\n]+)`", block.ReplaceAllString(text, ""))...), "\n")
		code = strings.ReplaceAll(code, "sudo -u popfetchd ", "")
		for _, command := range matches(`(?m)popfetchd ([a-z]+)(?:[ ;]|$)`, code) {
			if !slices.Contains(commands, command) {
				t.Errorf("%s names the command %s", paper, command)
			}
		}
		for _, line := range matches(`(?m)(?:^| )popfetchd ((?:[a-zA-Z]+ )*--.*)$`, code) {
			for _, flag := range matches(`--([a-z-]+)`, line) {
				if !strings.Contains(program, `"`+flag+`"`) {
					t.Errorf("%s names the flag --%s", paper, flag)
				}
			}
		}
	}
}

// anchors are the addresses of a paper's headings, as GitHub makes them.
func anchors(text string) []string {
	var found []string
	for _, heading := range matches(`(?m)^#+ (.*)$`, block.ReplaceAllString(text, "")) {
		found = append(found, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, heading))
	}
	return found
}

// Every link between the papers ends at a file, and at a heading of it.
func TestLinksArrive(t *testing.T) {
	papers, err := filepath.Glob("*.md")
	if err != nil || len(papers) < len(guides) {
		t.Fatal(papers, err)
	}
	for _, paper := range append(papers, "../README.md", "../CONTRIBUTING.md") {
		for _, link := range matches(`\]\(([^)\s]+)\)`, block.ReplaceAllString(read(t, paper), "")) {
			if strings.Contains(link, "://") {
				continue
			}
			file, anchor, _ := strings.Cut(link, "#")
			to := paper
			if file != "" {
				to = filepath.Join(filepath.Dir(paper), file)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s: %v", paper, link, err)
			} else if anchor != "" && !slices.Contains(anchors(read(t, to)), anchor) {
				t.Errorf("%s links to %s, and %s has no such heading", paper, link, to)
			}
		}
	}
}

// The guides are found from one another and from the README.
func TestGuidesAreLinked(t *testing.T) {
	for _, guide := range guides {
		head, _, _ := strings.Cut(read(t, guide), "\n## ")
		for _, other := range guides {
			if other != guide && !strings.Contains(head, "("+other+")") {
				t.Errorf("the top of %s does not link %s", guide, other)
			}
		}
		if !strings.Contains(read(t, "../README.md"), "(docs/"+guide+")") {
			t.Errorf("the README does not link %s", guide)
		}
	}
}
