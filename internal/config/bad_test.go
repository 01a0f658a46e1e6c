package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// wantMark begins the lines at the top of a bad file that say what is expected.
const wantMark = "#= "

// TestBadFiles reads each file of testdata/bad, which begins with the exact
// problems that it must give, without the file's name.
func TestBadFiles(t *testing.T) {
	t.Setenv("HOME", "/home/joe")
	t.Setenv("NOWHERE", "")
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 60 {
		t.Fatalf("%d files in testdata/bad, want at least 60 (%v)", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.Lines(string(data)) {
				if text, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), wantMark); ok {
					want = append(want, text)
				}
			}
			_, err = Parse("bad.yaml", data)
			var problems *Error
			if !errors.As(err, &problems) {
				t.Fatalf("error %v, want an *Error", err)
			}
			got := strings.ReplaceAll(err.Error(), "bad.yaml:", "")
			if got != strings.Join(want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
			}
		})
	}
}
