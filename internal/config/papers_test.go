package config

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
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
	return append(names(fileKeys()), names(accountKeys())...)
}

// Every key has a heading row in the reference and a line in the example, and
// neither names one that is none.
func TestPapersNameEveryKey(t *testing.T) {
	rows := regexp.MustCompile("(?m)^\\| `([a-z_0-9]+)` \\|").FindAllStringSubmatch(string(read(t, reference)), -1)
	lines := regexp.MustCompile(`(?m)^ *#? *(?:- )?([a-z_0-9]+):(?: |$)`).FindAllStringSubmatch(string(read(t, example)), -1)
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

// The example is a good file as it stands, and stays one when any single line
// that is commented out is wanted.
func TestExampleIsGood(t *testing.T) {
	t.Setenv("HOME", "/home/joe")
	c := parse(t, string(read(t, example)))
	if len(c.Accounts) == 0 || c.Accounts[0].Provider != gmail {
		t.Errorf("accounts %+v", c.Accounts)
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
