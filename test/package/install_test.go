package package_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is a folder that dpkg takes for a machine of its own.
type root struct {
	t   *testing.T
	dir string
}

func newRoot(t *testing.T) *root {
	t.Helper()
	needed(t, "dpkg", "dpkg")
	needed(t, "systemd-sysusers", "systemd")
	needed(t, "systemd-tmpfiles", "systemd")
	r := &root{t, t.TempDir()}
	for _, dir := range []string{"etc", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "var/log", "var/tmp", "tmp"} {
		if err := os.MkdirAll(filepath.Join(r.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r.write("var/lib/dpkg/status", "")
	return r
}

func (r *root) write(path, text string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, path), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// run runs a command as root, or as what it takes for root: owners are remembered in a file then.
func (r *root) run(name string, args ...string) string {
	r.t.Helper()
	if os.Geteuid() != 0 {
		needed(r.t, "fakeroot", "fakeroot")
		memory := filepath.Join(r.dir, "tmp/owners")
		if _, err := os.Stat(memory); err != nil {
			r.write("tmp/owners", "")
		}
		args = append([]string{"-i", memory, "-s", memory, name}, args...)
		name = "fakeroot"
	}
	c := exec.Command(name, args...)
	c.Env = append(surroundings(), "LC_ALL=C.UTF-8", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	out, err := c.CombinedOutput()
	if err != nil {
		r.t.Fatalf("%s: %v\n%s", c, err, out)
	}
	return string(out)
}

// dpkg runs it there, with the package's scripts but without what the package depends on.
func (r *root) dpkg(args ...string) string {
	r.t.Helper()
	return r.run("dpkg", append([]string{"--root=" + r.dir, "--force-script-chrootless", "--force-depends"}, args...)...)
}

func (r *root) exists(path string) bool {
	_, err := os.Lstat(filepath.Join(r.dir, path))
	return err == nil
}

// Installing makes the user and the folders, and starts and enables nothing. Removing takes the files away. A purge takes
// away what enabling left behind, but neither mail nor passwords.
func TestInstallAndPurge(t *testing.T) {
	deb := debs(t, built(t))[0]
	r := newRoot(t)
	r.dpkg("--install", deb)
	users, err := os.ReadFile(filepath.Join(r.dir, "etc/passwd"))
	if err != nil || !regexp.MustCompile(`(?m)^popfetchd:[^:]*:[0-9]+:[0-9]+:[^:]*:/var/lib/popfetchd:\S*/nologin$`).Match(users) {
		t.Errorf("the user: %v\n%s", err, users)
	}
	group := regexp.MustCompile(`(?m)^popfetchd:[^:]*:([0-9]+):`).FindSubmatch(users)
	if group == nil {
		t.Fatal("no group")
	}
	if got := r.run("stat", "-c", "%a %u", filepath.Join(r.dir, "etc/popfetchd/credentials")); got != "700 0\n" {
		t.Errorf("credentials: mode and owner %s", got)
	}
	if got := r.run("stat", "-c", "%a %u %g", filepath.Join(r.dir, "etc/popfetchd")); got != "750 0 "+string(group[1])+"\n" {
		t.Errorf("/etc/popfetchd: mode, owner and group %s, want 750 0 %s", got, group[1])
	}
	if r.exists("etc/systemd/system/multi-user.target.wants/popfetchd.service") || r.exists("etc/popfetchd/popfetchd.yaml") {
		t.Error("the service is enabled, or has a configuration that nobody wrote")
	}
	if out := r.dpkg("--verify", "popfetchd"); out != "" {
		t.Errorf("files differ from the package's: %s", out)
	}
	if got := output(t, filepath.Join(r.dir, "usr/bin/popfetchd"), "version"); !strings.HasPrefix(got, "popfetchd "+tag) {
		t.Errorf("it is %s", got)
	}

	// Installed again, as an update does.
	r.dpkg("--install", deb)

	if err := os.MkdirAll(filepath.Join(r.dir, "etc/systemd/system/multi-user.target.wants"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/usr/lib/systemd/system/popfetchd.service", filepath.Join(r.dir, "etc/systemd/system/multi-user.target.wants/popfetchd.service")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(r.dir, "var/lib/popfetchd"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.write("var/lib/popfetchd/mbox", "mail")
	r.dpkg("--remove", "popfetchd")
	if r.exists("usr/bin/popfetchd") || !r.exists("etc/systemd/system/multi-user.target.wants/popfetchd.service") || !r.exists("var/lib/popfetchd/mbox") {
		t.Error("a removal takes the files, and leaves settings and mail")
	}
	said := r.dpkg("--purge", "popfetchd")
	if !strings.Contains(said, "/var/lib/popfetchd is not empty and stays") || !r.exists("var/lib/popfetchd/mbox") {
		t.Errorf("a purge leaves mail, and says so: %s", said)
	}
	if r.exists("etc/popfetchd") || r.exists("etc/systemd/system/multi-user.target.wants/popfetchd.service") || r.exists("usr/lib/systemd") {
		t.Error("a purge leaves folders or links behind")
	}
}
