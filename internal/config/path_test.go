package config

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPaths(t *testing.T) {
	t.Setenv("HOME", "/home/joe")
	t.Setenv("BASE", "/srv/100%Y $x")
	t.Setenv("REL", "some/where")
	day := time.Date(987, 3, 4, 5, 6, 7, 0, time.UTC)
	for _, c := range []struct{ text, template, path string }{
		{"/var/mail", "/var/mail", "/var/mail"},
		{"/var//mail/../x/", "/var/x", "/var/x"},
		{"~", "/home/joe", "/home/joe"},
		{"~/Mail", "/home/joe/Mail", "/home/joe/Mail"},
		{"x/~", "/etc/pop/x/~", "/etc/pop/x/~"},
		{"mail", "/etc/pop/mail", "/etc/pop/mail"},
		{"$REL/x", "/etc/pop/some/where/x", "/etc/pop/some/where/x"},
		{"${REL}x$$HOME", "/etc/pop/some/wherex$HOME", "/etc/pop/some/wherex$HOME"},
		{"$BASE/%Y/%m-%d", "/srv/100%Y $x/0987/03-04", "/srv/100%Y $x/%Y/%m-%d"},
		{"/100%%/%Y", "/100%/0987", "/100%%/%Y"},
		{"/%%Y", "/%Y", "/%%Y"},
	} {
		p := newParser("/etc/pop/fetch.yaml")
		template, err := p.template(c.text)
		if err != nil || template.At(day) != c.template {
			t.Errorf("template %q gives %q, %v; want %q", c.text, template.At(day), err, c.template)
		}
		path, err := p.absolute(c.text)
		if err != nil || path != c.path {
			t.Errorf("path %q is %q, %v; want %q", c.text, path, err, c.path)
		}
	}
}

func TestHomeHoldsSigns(t *testing.T) {
	t.Setenv("HOME", "/home/$USER%Y")
	template, err := newParser("x.yaml").template("~/m")
	if got := template.At(time.Now()); err != nil || got != "/home/$USER%Y/m" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestRelativePathsStartAtTheFile(t *testing.T) {
	dir := t.TempDir() + "/100%Y"
	template, err := newParser(dir + "/x.yaml").template("m")
	if got := template.At(time.Now()); err != nil || got != dir+"/m" {
		t.Errorf("got %q, %v", got, err)
	}
}

// A percent sign that is doubled is itself, whatever stands beside it.
func TestTemplateKeepsLiterals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := "/" + rapid.StringMatching(`[a-z%Ymd~]{1,20}`).Draw(t, "path")
		template, err := newParser("x.yaml").template(strings.ReplaceAll(want, "%", "%%"))
		if got := template.At(time.Now()); err != nil || got != want {
			t.Fatalf("%q came back as %q, %v", want, got, err)
		}
	})
}
