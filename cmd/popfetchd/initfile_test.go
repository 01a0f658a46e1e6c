package main

import (
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/provider"
)

// Whatever the answers are, the configuration says them, or says what is wrong
// with them; and it holds no password.
func TestAnswersText(t *testing.T) {
	const secret = "topsecrettopsecret"
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.OneOf(rapid.StringN(1, 30, 90), rapid.SampledFrom([]string{"no", "Null", "~", "0x10", "1e3", "-", "? a", "a: b", "a #b", "'", `"\`, "%Y", "*a", "[", "é\u2028"}))
		w := answers{
			path: "/etc/popfetchd.yaml", name: "new", host: "pop.example.org", policy: "keep", password: secret,
			username: word.Draw(t, "username"),
			mbox:     "/" + word.Draw(t, "mbox"),
		}
		if rapid.Bool().Draw(t, "gmail") {
			w.provider, _ = provider.Named("gmail")
			w.host = ""
		}
		text := w.text()
		if strings.Contains(text, secret) {
			t.Fatalf("the password stands in the configuration:\n%s", text)
		}
		c, err := config.Parse(w.path, []byte(text))
		if err != nil {
			if w.wrong("username") == nil && w.wrong("mbox") == nil {
				t.Fatalf("the answers are good, the configuration is not: %v\n%s", err, text)
			}
			return
		}
		if got := c.Accounts[0]; got.Username != w.username || got.Provider != w.provider.Name {
			t.Fatalf("%q became %q:\n%s", w.username, got.Username, text)
		}
		if want := config.PathTemplate(filepath.Clean(strings.ReplaceAll(w.mbox, "$$", "$"))); !strings.Contains(w.mbox, "$") && c.Accounts[0].Mbox != want {
			t.Fatalf("%q became %q:\n%s", w.mbox, c.Accounts[0].Mbox, text)
		}
	})
}

func TestPasswordHint(t *testing.T) {
	gmail, _ := provider.Named("gmail")
	gmx, _ := provider.Named("gmx")
	for _, test := range []struct {
		provider provider.Provider
		typed    string
		password string // what is kept
		good     bool
	}{
		{gmail, "abcd efgh ijkl mnop", "abcdefghijklmnop", true},
		{gmail, " ABCDefghijklmnop\t", "ABCDefghijklmnop", true},
		{gmail, "abcd efgh ijkl mno", "abcdefghijklmno", false},
		{gmail, "abcd efgh ijkl mno1", "abcdefghijklmno1", false},
		{gmail, "correct horse", "correcthorse", false},
		{gmx, "two words ", "two words ", true},
	} {
		password := cleanPassword(test.provider, test.typed)
		if password != test.password {
			t.Errorf("%q at %s became %q, want %q", test.typed, test.provider.Name, password, test.password)
		}
		hint := passwordHint(test.provider, password)
		if (hint == "") != test.good {
			t.Errorf("%q at %s: hint %q", test.typed, test.provider.Name, hint)
		}
		if strings.Contains(hint, password) {
			t.Errorf("the hint %q holds the password", hint)
		}
	}
}
