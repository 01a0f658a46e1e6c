// Package systemd proves the units of deploy/systemd under a real systemd: each test boots a Debian in a container
// (systemd-nspawn), installs popfetchd there as users do, and looks at what systemd, the journal and the mailbox say.
//
// It takes root. The first run makes the Debian with debootstrap, from the mirror that apt has here, and keeps it in the
// user's cache folder (else /var/tmp) as popfetchd-test; later runs take seconds. The container's own writes go to memory.
package systemd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// shared is a folder of this machine that containers see as /mnt: the package and the server are in it.
var shared string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if shared, err = os.MkdirTemp("", "popfetchd-test-"); err == nil {
		defer os.RemoveAll(shared)
		err = build()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// build makes the package, from a copy of this tree, as others may be at work in it; and the server.
func build() error {
	script := exec.Command("sh", "-ec", `
		tree=$1/tree
		mkdir -m 755 "$tree"
		chmod 755 "$1"
		(cd ../.. && git ls-files -z --cached --others --exclude-standard | tar --null --ignore-failed-read -T - -cf -) | tar -C "$tree" -xf -
		make -s -C "$tree" deb ARCHES="$(dpkg --print-architecture)" VERSION=v0.0.1 SOURCE_DATE_EPOCH=0
		mv "$tree"/dist/*.deb "$1/popfetchd.deb"
		rm -r "$tree"
		CGO_ENABLED=0 go build -o "$1/server" ./server`, "build", shared)
	if out, err := script.CombinedOutput(); err != nil {
		return fmt.Errorf("building the package: %w\n%s", err, out)
	}
	return nil
}

// packages are what the container has besides Debian's minimum. dbus and libpam-systemd are for services of a user.
const packages = "systemd,systemd-sysv,dbus,libpam-systemd,ca-certificates"

// debian returns the folder of a Debian as debootstrap left it, to be read only, and keeps it, and the machine's control
// groups, for this process until the test ends: two containers at a time would have the same groups.
func debian(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("this test needs root, to boot a container")
	}
	for _, tool := range []string{"debootstrap", "systemd-nspawn", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is missing; test/setup.sh installs it", tool)
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = "/var/tmp"
	}
	cache = filepath.Join(cache, "popfetchd-test")
	must(t, os.MkdirAll(cache, 0o700))
	lock, err := os.Create(filepath.Join(cache, "lock"))
	must(t, err)
	t.Cleanup(func() { lock.Close() })
	must(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	codename, mirror := release(t)
	root := filepath.Join(cache, codename+"-1") // another number for other packages
	if _, err := os.Stat(root); err == nil {
		return root
	}
	t.Logf("making %s", root)
	fresh := root + ".new"
	must(t, os.RemoveAll(fresh)) // of a test that was killed
	out, err := exec.Command("debootstrap", "--variant=minbase", "--include="+packages, codename, fresh, mirror).CombinedOutput()
	if err != nil {
		t.Fatalf("debootstrap: %v\n%s", err, out)
	}
	must(t, os.RemoveAll(filepath.Join(fresh, "var/cache/apt/archives")))
	must(t, os.Rename(fresh, root))
	return root
}

// release is the Debian that apt has a mirror of.
func release(t *testing.T) (codename, mirror string) {
	t.Helper()
	out, err := exec.Command("apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(COMPONENT) $(CODENAME) $(REPO_URI)",
		"Created-By: Packages", "Origin: Debian", "Label: Debian", "Component: main").Output()
	if err != nil {
		t.Fatalf("apt-get indextargets: %v", err)
	}
	var origin, label, component string
	if _, err := fmt.Sscan(string(out), &origin, &label, &component, &codename, &mirror); err != nil {
		t.Fatalf("apt has no Debian here to make a container of: %v", err)
	}
	return codename, mirror
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
