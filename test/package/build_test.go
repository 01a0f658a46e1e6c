// Package package_test builds the packages from a copy of the project, looks into them as Debian's own tools do, installs
// and purges one below a folder, and runs the program where there is nothing else.
package package_test

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

var full = flag.Bool("full", false, "build for every architecture, and the second time without anything from the first")

// The copy is a repository of one commit, tagged.
const (
	tag        = "v1.2.0"
	debVersion = "1.2.0-1"
	commitDate = "2026-03-04T05:06:07+05:00"
	commitTime = 1772582767
)

// world is where the tests of this package build.
var world struct {
	sync.Once
	dir string
	err error
}

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if world.dir != "" {
		os.RemoveAll(world.dir)
	}
	os.Exit(code)
}

// needed finds a program, or says what to install.
func needed(t *testing.T, program, debianPackage string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Fatalf("%v: install Debian's package %s", err, debianPackage)
	}
}

// built is a checkout in which make deb was run.
func built(t *testing.T) string {
	t.Helper()
	needed(t, "git", "git")
	needed(t, "make", "make")
	world.Do(func() {
		if world.dir, world.err = os.MkdirTemp("", "popfetchd-package-"); world.err == nil {
			world.err = checkout(filepath.Join(world.dir, "one"))
		}
		if world.err == nil {
			world.err = makeDeb(filepath.Join(world.dir, "one"), "umask 022", nil)
		}
	})
	if world.err != nil {
		t.Fatal(world.err)
	}
	return filepath.Join(world.dir, "one")
}

// checkout makes a repository of what the program and its packages are built of.
func checkout(dir string) error {
	root := "../.."
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		from, _ := filepath.Rel(root, path)
		switch {
		case slices.Contains([]string{".git", "dist", "popfetchd", "test", "bench"}, from) || e.Name() == "testdata":
			if e.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case e.IsDir():
			return os.MkdirAll(filepath.Join(dir, from), 0o755)
		case strings.HasSuffix(from, "_test.go") || !e.Type().IsRegular():
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) { // somebody's temporary file
			return nil
		} else if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, from), data, info.Mode().Perm())
	})
	if err != nil {
		return err
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "-A"}, {"commit", "-q", "-m", "all"}, {"tag", tag}} {
		c := exec.Command("git", args...)
		c.Dir = dir
		c.Env = append(surroundings(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a",
			"GIT_COMMITTER_EMAIL=a@example.com", "GIT_AUTHOR_DATE="+commitDate, "GIT_COMMITTER_DATE="+commitDate)
		if err := told(c); err != nil {
			return err
		}
	}
	return nil
}

// surroundings is this process's environment without what would tell git or make of the repository around, or go of
// another way to build.
func surroundings() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return strings.HasPrefix(name, "GIT_") || strings.HasPrefix(name, "MAKE") ||
			slices.Contains([]string{"MFLAGS", "VERSION", "COMMIT", "SOURCE_DATE_EPOCH", "GOOS", "GOARCH", "PREFIX", "DESTDIR"}, name)
	})
}

// makeDeb runs make deb after a shell command.
func makeDeb(dir, first string, environment []string) error {
	arches := "amd64"
	if *full {
		arches = "amd64 arm64 armhf"
	}
	c := exec.Command("sh", "-c", first+` && exec make -s deb ARCHES="$1"`, "sh", arches)
	c.Dir, c.Env = dir, append(surroundings(), environment...)
	return told(c)
}

// told runs a command; its error has what it wrote.
func told(c *exec.Cmd) error {
	out, err := c.CombinedOutput()
	if err != nil {
		return errors.New(strings.Join(c.Args, " ") + ": " + err.Error() + "\n" + string(out))
	}
	return nil
}

// output is what a command writes to stdout.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	c := exec.Command(name, args...)
	var complaint strings.Builder
	c.Stderr = &complaint
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", c, err, out, complaint.String())
	}
	return string(out)
}

// debs are the packages in a checkout.
func debs(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "dist", "*.deb"))
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	return all
}
