package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// module is a module of which packages are linked into the program.
type module struct {
	Path, Version, Dir string
	Main               bool
}

// copyright is the licence of the program and, as those ask for, the notices of
// all modules that are linked into it, for a platform ("" for this one). For
// Debian, which has it on every machine, the text of Apache's licence is named
// only. Debian's copyright file may be plain text like this.
func copyright(platform string, debian bool) ([]byte, error) {
	modules, err := linked(platform)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString("popfetchd, https://github.com/popfetchd/popfetchd\n\n")
	for _, m := range modules {
		if !m.Main {
			fmt.Fprintf(&b, "\n%s\n\nThe program contains %s %s", strings.Repeat("-", 78), m.Path, m.Version)
			if m.Path == "golang.org/x/sys" {
				b.WriteString(", and Go's own library under the same licence")
			}
			b.WriteString(":\n\n")
		}
		texts, err := notices(m)
		if err != nil {
			return nil, err
		}
		for i, text := range texts {
			if i > 0 {
				b.WriteString("\n")
			}
			if debian {
				text = withoutApache(text)
			}
			b.WriteString(text)
		}
	}
	return b.Bytes(), nil
}

var (
	apacheBegins   = regexp.MustCompile(`(?m)^\s*Apache License\s+Version 2\.0, January 2004\s`)
	copyrightOwner = regexp.MustCompile(`(?m)^\s*(Copyright (?:\([cC]\) )?[0-9]{4}.*)$`)
)

// withoutApache names Apache's licence where a notice has it whole, and keeps
// what stands before it and whose work it is.
func withoutApache(text string) string {
	at := apacheBegins.FindStringIndex(text)
	if at == nil || !strings.Contains(text, "TERMS AND CONDITIONS FOR USE, REPRODUCTION") {
		return text
	}
	short := text[:at[0]]
	for _, owner := range copyrightOwner.FindAllStringSubmatch(text[at[0]:], -1) {
		short += owner[1] + "\n"
	}
	return short + "Licensed under the Apache License, Version 2.0, which on Debian systems is in\n/usr/share/common-licenses/Apache-2.0.\n"
}

// linked are the modules of the program, itself first.
func linked(platform string) ([]module, error) {
	list := exec.Command("go", "list", "-deps", "-json=Module", "./cmd/popfetchd")
	list.Env = append(os.Environ(), "CGO_ENABLED=0")
	if goos, goarch, found := strings.Cut(platform, "/"); found {
		list.Env = append(list.Env, "GOOS="+goos, "GOARCH="+goarch)
	}
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	seen := map[module]bool{}
	var all []module
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ Module *module }
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		if p.Module != nil && !seen[*p.Module] {
			seen[*p.Module] = true
			all = append(all, *p.Module)
		}
	}
	slices.SortFunc(all, func(a, b module) int {
		if a.Main != b.Main {
			return map[bool]int{true: -1, false: 1}[a.Main]
		}
		return strings.Compare(a.Path, b.Path)
	})
	return all, nil
}

var noticeFile = regexp.MustCompile(`(?i)^(UN)?LICEN[CS]E|^COPYING|^COPYRIGHT|^NOTICE`)

// notices are the licence files of a module, in the order of their names.
func notices(m module) ([]string, error) {
	entries, err := os.ReadDir(m.Dir)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, e := range entries {
		if e.IsDir() || !noticeFile.MatchString(e.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(m.Dir, e.Name()))
		if err != nil {
			return nil, err
		}
		all = append(all, strings.ReplaceAll(string(text), "\r\n", "\n"))
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s %s has no licence file", m.Path, m.Version)
	}
	return all, nil
}
