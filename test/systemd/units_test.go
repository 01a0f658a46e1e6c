package systemd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// systemd finds nothing wrong with the units, and next to nothing that they leave open.
func TestUnits(t *testing.T) {
	c := boot(t)
	if out := c.run("systemd-analyze verify --man=no /usr/lib/systemd/system/popfetchd*.service /usr/lib/systemd/system/popfetchd*.timer 2>&1"); out != "" {
		t.Errorf("verify: %s", out)
	}
	if out := c.run("XDG_RUNTIME_DIR=/run systemd-analyze verify --user --man=no /usr/lib/systemd/user/popfetchd*.service /usr/lib/systemd/user/popfetchd*.timer 2>&1"); out != "" {
		t.Errorf("verify --user: %s", out)
	}
	for _, unit := range []string{"popfetchd", "popfetchd-once"} {
		const most = "12" // tenths
		c.run("systemd-analyze security --offline=true --threshold=" + most + " /usr/lib/systemd/system/" + unit + ".service")
	}
}

// settings are the lines of a unit that set something, each with the comment above it or above the lines it belongs to.
func settings(t *testing.T, unit string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../deploy/systemd", unit))
	must(t, err)
	all, explained := map[string]bool{}, false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "#"):
			explained = true
		case line == "", strings.HasPrefix(line, "["):
			explained = false
		default:
			all[line] = explained
		}
	}
	return all
}

// Each line has its reason, but for those that are plain, and both services give up the same.
func TestReasons(t *testing.T) {
	plain := []string{"Description=", "Documentation=", "Type=", "User=", "WantedBy=", "OnCalendar="}
	units := map[string]map[string]bool{}
	for _, pattern := range []string{"*.service", "*.timer", "user/*"} {
		paths, err := filepath.Glob(filepath.Join("../../deploy/systemd", pattern))
		must(t, err)
		for _, path := range paths {
			unit, err := filepath.Rel("../../deploy/systemd", path)
			must(t, err)
			units[unit] = settings(t, unit)
			for line, explained := range units[unit] {
				key, _, _ := strings.Cut(line, "=")
				if !explained && !strings.Contains(strings.Join(plain, ""), key+"=") {
					t.Errorf("%s: no reason for %s", unit, line)
				}
			}
		}
	}
	if len(units) != 6 {
		t.Errorf("%d units", len(units))
	}
	hardened := false
	for line := range units[service] {
		if key, _, _ := strings.Cut(line, "="); strings.HasPrefix(key, "Protect") || strings.HasPrefix(key, "Private") ||
			strings.HasPrefix(key, "Restrict") && key != "RestartSec" || strings.HasPrefix(key, "SystemCall") || strings.HasPrefix(key, "Capability") {
			hardened = true
			if _, both := units[once][line]; !both {
				t.Errorf("%s does without %s", once, line)
			}
		}
	}
	if !hardened {
		t.Error("the service gives up nothing")
	}
}

// explore is a hook that tries what it should not be able to.
const explore = `exec >/var/lib/popfetchd/found 2>&1
for path in / /etc/popfetchd /srv /var/lib /home /dev; do touch "$path/made" 2>/dev/null && echo "wrote to $path"; done
for path in /etc/shadow ` + credential + `; do cat "$path" 2>/dev/null && echo "read $path"; done
ls -d /home/joe 2>/dev/null
test -e /proc/1/comm && echo "saw systemd"
env | grep -iE 'credential|notify|watchdog'
unshare --user true 2>/dev/null && echo "made a namespace"
echo done`

// What a hook finds in the service as it is shipped: nothing to change, and no secrets. Where a drop-in opens the service, it
// finds what is opened: so it would have found it before.
func TestSandbox(t *testing.T) {
	c := boot(t)
	c.credential(service, password)
	c.run("useradd --create-home joe && chmod 777 /srv /etc/popfetchd")
	c.write("/etc/popfetchd/hook", 0o755, explore)
	c.configure(isp + "    maildir: " + inState + "\n    on_new: sh /etc/popfetchd/hook\n")
	finds := func(want string) {
		t.Helper()
		from := c.now()
		c.run("systemctl start popfetchd")
		c.fetch() // if nothing is due
		c.await(from, service, "run done")
		c.run("systemctl stop popfetchd") // which waits for the hook
		if found := c.run("cat /var/lib/popfetchd/found"); found != want {
			t.Errorf("a hook\n%s\nwant\n%s", found, want)
		}
	}
	finds("done\n")
	c.dropIn(service, "open", "[Service]\nProtectSystem=no\nProtectHome=no\nProtectProc=default\nRestrictNamespaces=no\n")
	c.deliver()
	finds("wrote to /etc/popfetchd\nwrote to /srv\n/home/joe\nsaw systemd\nmade a namespace\ndone\n")
}
