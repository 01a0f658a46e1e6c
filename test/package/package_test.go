package package_test

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// wanted are the files of the package, all owned by root, with their modes.
var wanted = map[string]string{
	"usr/bin/popfetchd":                                  "-rwxr-xr-x",
	"usr/lib/systemd/system/popfetchd.service":           "-rw-r--r--",
	"usr/lib/systemd/system/popfetchd-once.service":      "-rw-r--r--",
	"usr/lib/systemd/system/popfetchd-once.timer":        "-rw-r--r--",
	"usr/lib/systemd/user/popfetchd.service":             "-rw-r--r--",
	"usr/lib/systemd/user/popfetchd-once.service":        "-rw-r--r--",
	"usr/lib/systemd/user/popfetchd-once.timer":          "-rw-r--r--",
	"usr/lib/sysusers.d/popfetchd.conf":                  "-rw-r--r--",
	"usr/lib/tmpfiles.d/popfetchd.conf":                  "-rw-r--r--",
	"usr/share/bash-completion/completions/popfetchd":    "-rw-r--r--",
	"usr/share/zsh/vendor-completions/_popfetchd":        "-rw-r--r--",
	"usr/share/fish/vendor_completions.d/popfetchd.fish": "-rw-r--r--",
	"usr/share/man/man5/popfetchd.yaml.5.gz":             "-rw-r--r--",
	"usr/share/man/man8/popfetchd.8.gz":                  "-rw-r--r--",
	"usr/share/doc/popfetchd/examples/popfetchd.yaml":    "-rw-r--r--",
	"usr/share/doc/popfetchd/copyright":                  "-rw-r--r--",
	"usr/share/doc/popfetchd/README.Debian":              "-rw-r--r--",
	"usr/share/doc/popfetchd/changelog.gz":               "-rw-r--r--",
	"usr/share/doc/popfetchd/changelog.Debian.gz":        "-rw-r--r--",
	"usr/share/lintian/overrides/popfetchd":              "-rw-r--r--",
	"usr/share/doc/popfetchd/config.md":                  "-rw-r--r--",
}

func TestPackageHoldsAllAndNothingElse(t *testing.T) {
	dir := built(t)
	needed(t, "dpkg-deb", "dpkg")
	papers := regexp.MustCompile(`^usr/share/doc/popfetchd/[a-z.]+\.md$`)
	for _, deb := range debs(t, dir) {
		found := map[string]bool{}
		for line := range strings.Lines(output(t, "dpkg-deb", "-c", deb)) {
			fields := strings.Fields(line)
			mode, owner, path := fields[0], fields[1], strings.TrimPrefix(fields[5], "./")
			if owner != "root/root" || !strings.HasPrefix(line, "d") && time.Unix(commitTime, 0).Local().Format("2006-01-02 15:04") != fields[3]+" "+fields[4] {
				t.Errorf("%s: %s", filepath.Base(deb), line)
			}
			if path == "" || strings.HasSuffix(path, "/") {
				if mode != "drwxr-xr-x" {
					t.Errorf("%s: %s", filepath.Base(deb), line)
				}
				continue
			}
			found[path] = true
			if want := wanted[path]; want != mode && !(want == "" && papers.MatchString(path) && mode == "-rw-r--r--") {
				t.Errorf("%s holds %s with mode %s, want %q", filepath.Base(deb), path, mode, want)
			}
		}
		for path := range wanted {
			if !found[path] {
				t.Errorf("%s lacks %s", filepath.Base(deb), path)
			}
		}
	}
}

func TestPackageControl(t *testing.T) {
	dir := built(t)
	needed(t, "dpkg-deb", "dpkg")
	var arches []string
	for _, deb := range debs(t, dir) {
		fields := map[string]string{}
		for line := range strings.Lines(output(t, "dpkg-deb", "-f", deb)) {
			if name, value, found := strings.Cut(line, ": "); found && !strings.HasPrefix(line, " ") {
				fields[name] = strings.TrimSpace(value)
			}
		}
		for name, want := range map[string]string{"Package": "popfetchd", "Version": debVersion, "Section": "mail", "Priority": "optional", "Homepage": "https://github.com/popfetchd/popfetchd"} {
			if fields[name] != want {
				t.Errorf("%s: %q, want %q", name, fields[name], want)
			}
		}
		if want := "popfetchd_" + debVersion + "_" + fields["Architecture"] + ".deb"; filepath.Base(deb) != want {
			t.Errorf("%s is named so, not %s", filepath.Base(deb), want)
		}
		arches = append(arches, fields["Architecture"])
		if conffiles := output(t, "dpkg-deb", "-I", deb); strings.Contains(conffiles, "conffiles") {
			t.Errorf("there is a configuration, which the user is to write:\n%s", conffiles)
		}
	}
	want := []string{"amd64"}
	if *full {
		want = []string{"amd64", "arm64", "armhf"}
	}
	if !slices.Equal(arches, want) {
		t.Errorf("packages for %q, want %q", arches, want)
	}
}

// lintian finds neither errors nor anything to warn of. It looks into the manual pages, units, scripts and copyright too.
func TestLintian(t *testing.T) {
	dir := built(t)
	needed(t, "lintian", "lintian")
	for _, deb := range debs(t, dir) {
		out, err := exec.Command("lintian", "--allow-root", "--fail-on=error,warning", "--tag-display-limit=0", deb).CombinedOutput()
		if err != nil {
			t.Errorf("lintian %s: %v\n%s", filepath.Base(deb), err, out)
		}
	}
}

// The program needs no library, and no program to load it.
func TestProgramIsStatic(t *testing.T) {
	dir := built(t)
	programs, err := filepath.Glob(filepath.Join(dir, "dist", "*", "popfetchd"))
	if err != nil || len(programs) == 0 {
		t.Fatal(programs, err)
	}
	for _, program := range programs {
		f, err := elf.Open(program)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
				t.Errorf("%s is linked dynamically", program)
			}
		}
		arch := filepath.Base(filepath.Dir(program))
		if want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "armhf": elf.EM_ARM}[arch]; f.Machine != want {
			t.Errorf("the program for %s is for %v", arch, f.Machine)
		}
		f.Close()
	}
	if got := output(t, filepath.Join(dir, "popfetchd"), "version"); !strings.HasPrefix(got, "popfetchd "+tag+" (commit ") {
		t.Errorf("the version is not that of git: %s", got)
	}
}

// The same commit gives the same bytes, in another folder, with another umask, time zone and language.
func TestReproducible(t *testing.T) {
	one := built(t)
	two := filepath.Join(t.TempDir(), "another", "two")
	if err := os.MkdirAll(filepath.Dir(two), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := told(exec.Command("sh", "-c", `umask 077 && git clone -q "$1" "$2"`, "sh", one, two)); err != nil {
		t.Fatal(err)
	}
	environment := []string{"TZ=Asia/Tokyo", "LC_ALL=C.UTF-8"}
	if *full {
		environment = append(environment, "GOCACHE="+t.TempDir())
	}
	if err := makeDeb(two, "umask 077", environment); err != nil {
		t.Fatal(err)
	}
	files := append(debs(t, one), filepath.Join(one, "popfetchd"))
	for _, file := range files {
		name, _ := filepath.Rel(one, file)
		a, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(two, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s differs: %d and %d bytes", name, len(a), len(b))
		}
	}
}

// make install puts everything where PREFIX and DESTDIR say, and the units start what is there.
func TestInstallBelowPrefix(t *testing.T) {
	dir := built(t)
	to := t.TempDir()
	c := exec.Command("make", "-s", "install", "DESTDIR="+to, "PREFIX=/opt/mail")
	c.Dir, c.Env = dir, surroundings()
	if err := told(c); err != nil {
		t.Fatal(err)
	}
	for path := range wanted {
		path = strings.TrimSuffix(strings.TrimPrefix(path, "usr/"), ".gz")
		path = strings.Replace(path, "zsh/vendor-completions", "zsh/site-functions", 1)
		if strings.Contains(path, "lintian") || strings.Contains(path, "Debian") || strings.Contains(path, "copyright") || strings.HasSuffix(path, "/changelog") {
			continue
		}
		if _, err := os.Stat(filepath.Join(to, "opt/mail", path)); err != nil {
			t.Error(err)
		}
	}
	units, err := filepath.Glob(filepath.Join(to, "opt/mail/lib/systemd/*/*.service"))
	if err != nil || len(units) != 4 {
		t.Fatal(units, err)
	}
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(text, []byte("\nExecStart=/opt/mail/bin/popfetchd ")) || bytes.Contains(text, []byte("/usr/local")) {
			t.Errorf("%s starts something else:\n%s", unit, text)
		}
	}
}

// The manual pages are set without a complaint, and name what they must.
func TestManualPages(t *testing.T) {
	dir := built(t)
	needed(t, "man", "man-db")
	for page, words := range map[string][]string{
		"man8/popfetchd.8.gz":      {"popfetchd(8)", "SYNOPSIS", "--dry-run", "popfetchd.yaml(5)", tag, "2026-03-04"},
		"man5/popfetchd.yaml.5.gz": {"popfetchd.yaml(5)", "delete_after", "password_credential", tag, "2026-03-04"},
	} {
		path := filepath.Join(dir, "dist/amd64/root/usr/share/man", page)
		c := exec.Command("man", "--warnings", "-E", "UTF-8", "-l", path)
		c.Env = append(surroundings(), "LC_ALL=C.UTF-8", "MANROFFSEQ=", "MANWIDTH=80")
		var complaints bytes.Buffer
		c.Stderr = &complaints
		text, err := c.Output()
		if err != nil || complaints.Len() > 0 {
			t.Errorf("man %s: %v\n%s", page, err, complaints.String())
		}
		for _, word := range words {
			if !strings.Contains(string(text), word) {
				t.Errorf("%s lacks %s", page, word)
			}
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(f)
		if err == nil {
			_, err = io.Copy(io.Discard, z)
		}
		if err != nil || !z.ModTime.IsZero() || z.Name != "" {
			t.Errorf("%s is packed with a name or a time: %v", page, err)
		}
		f.Close()
	}
}
