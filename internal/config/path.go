package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// PathTemplate is the absolute path of a mailbox, with %Y, %m and %d for the
// day a message is stored and %% for a percent sign.
type PathTemplate string

// At returns the path for mail that is stored at t, by the day it is in t's
// time zone.
func (p PathTemplate) At(t time.Time) string {
	return strings.NewReplacer(
		"%%", "%",
		"%Y", fmt.Sprintf("%04d", t.Year()),
		"%m", fmt.Sprintf("%02d", int(t.Month())),
		"%d", fmt.Sprintf("%02d", t.Day()),
	).Replace(string(p))
}

// template reads the path of a mailbox.
func (p *parser) template(text string) (PathTemplate, error) {
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			continue
		}
		if i++; i == len(text) || !strings.ContainsRune("Ymd%", rune(text[i])) {
			return "", fmt.Errorf("%s holds a %% that means nothing; use %%Y, %%m and %%d, or %%%% for the sign itself", quoted(text))
		}
	}
	// What comes from elsewhere is no template: a percent sign there is itself.
	path, err := p.expand(text, func(s string) string { return strings.ReplaceAll(s, "%", "%%") })
	return PathTemplate(path), err
}

// absolute reads the path of a file or folder.
func (p *parser) absolute(text string) (string, error) {
	return p.expand(text, func(s string) string { return s })
}

// dollar is a dollar sign with what it takes in.
var dollar = regexp.MustCompile(`\$(\$|\{[^}]*\}|[A-Za-z_][A-Za-z0-9_]*|)`)

// expand puts in ~, $VAR and ${VAR} ($$ is a dollar sign), and makes the path
// absolute from the configuration file's folder. What it puts in passes
// through literal.
func (p *parser) expand(text string, literal func(string) string) (string, error) {
	path, err := expandHome(text, literal)
	if err != nil {
		return "", err
	}
	path = dollar.ReplaceAllStringFunc(path, func(found string) string {
		if found == "$$" {
			return "$"
		}
		name := strings.Trim(found, "${}")
		if !variableName.MatchString(name) {
			err = fmt.Errorf("%s: a dollar sign begins no variable; write $VAR or ${VAR}, or $$ for the sign itself", quoted(text))
		} else if os.Getenv(name) == "" {
			err = fmt.Errorf("%s: the variable %s is not set here; set it, or write the folder out", quoted(text), name)
		}
		return literal(os.Getenv(name))
	})
	switch {
	case err != nil:
		return "", err
	case strings.ContainsFunc(path, isControl):
		return "", fmt.Errorf("%s holds a control character; write the path without it", quoted(path))
	case !filepath.IsAbs(path):
		path = filepath.Join(literal(p.base), path)
	}
	return filepath.Clean(path), nil
}

// expandHome puts in the home folder for a ~ at the beginning, with its dollar
// signs doubled, as expand reads them.
func expandHome(text string, literal func(string) string) (string, error) {
	if !strings.HasPrefix(text, "~") {
		return text, nil
	}
	first, rest, _ := strings.Cut(text, "/")
	if first != "~" {
		return "", fmt.Errorf("%s: only your own ~ is known; write the folder out", quoted(text))
	}
	home := os.Getenv("HOME")
	if home == "" {
		return "", errors.New("~ stands for $HOME, which is not set; write the folder out")
	}
	return strings.ReplaceAll(literal(home), "$", "$$") + "/" + rest, nil
}
