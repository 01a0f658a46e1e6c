package systemd

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take: far longer than it does.
const patience = 2 * time.Minute

// container is a booted Debian that has popfetchd's package and the server, but no configuration.
type container struct {
	*testing.T
	leader string // the process that is its systemd, as this machine numbers it
	*journal
}

// boot starts a container; it ends with the test.
func boot(t *testing.T) *container {
	t.Helper()
	root := debian(t)
	c := &container{T: t}
	socket := filepath.Join(t.TempDir(), "notify")
	told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	must(t, err)
	defer told.Close()
	must(t, told.SetReadDeadline(time.Now().Add(patience)))
	nspawn := exec.Command("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot", "--notify-ready=yes", "--volatile=overlay",
		"--private-network", "--console=pipe", "--machine=popfetchd-test", "--directory="+root, "--bind-ro="+shared+":/mnt")
	nspawn.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket)
	nspawn.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var console bytes.Buffer
	nspawn.Stdout, nspawn.Stderr = &console, &console
	must(t, nspawn.Start())
	t.Cleanup(func() {
		if c.leader == "" {
			nspawn.Process.Kill()
		} else if out, err := exec.Command("kill", "-KILL", c.leader).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		nspawn.Wait() // it was killed
		if c.journal != nil {
			c.journal.end()
		}
	})
	for ready := false; !ready; {
		message := make([]byte, 4096)
		n, err := told.Read(message)
		if err != nil {
			nspawn.Process.Kill()
			nspawn.Wait()
			t.Fatalf("the container does not come up: %v\n%s", err, console.String())
		}
		for line := range strings.Lines(string(message[:n])) {
			if pid, found := strings.CutPrefix(strings.TrimSpace(line), "X_NSPAWN_LEADER_PID="); found {
				c.leader = pid
			}
			ready = ready || strings.TrimSpace(line) == "READY=1"
		}
	}
	c.journal = follow(c)
	c.install()
	return c
}

// install installs the package, and runs the server.
func (c *container) install() {
	c.Helper()
	c.run("dpkg --install /mnt/popfetchd.deb")
	c.write("/etc/systemd/system/server.service", 0o644, "[Service]\nType=notify\nExecStart=/mnt/server /etc/popfetchd/ca.pem\n")
	c.run("systemctl start server")
}

// command runs a shell script as the container's root.
func (c *container) command(script string) *exec.Cmd {
	return exec.Command("nsenter", "--target="+c.leader, "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd",
		"env", "-i", "PATH=/usr/sbin:/usr/bin", "LC_ALL=C.UTF-8", "SYSTEMD_COLORS=0", "SYSTEMD_PAGER=", "sh", "-c", script)
}

// run runs a script that must end well, and returns what it says.
func (c *container) run(script string) string {
	c.Helper()
	code, out := c.try(script)
	if code != 0 {
		_, journal := c.try("journalctl --lines=30 --output=cat --unit='popfetchd*'")
		c.Fatalf("%s: exit code %d\n%s\n%s", script, code, out, journal)
	}
	return out
}

// try runs a script and returns its exit code and what it says.
func (c *container) try(script string) (code int, out string) {
	c.Helper()
	command := c.command(script)
	command.WaitDelay = time.Second // nsenter's child may live on
	kill := time.AfterFunc(patience, func() { command.Process.Kill() })
	defer kill.Stop()
	text, err := command.CombinedOutput()
	if err != nil && command.ProcessState == nil {
		c.Fatal(err)
	}
	return command.ProcessState.ExitCode(), string(text)
}

// inside is where this machine has a file of the container.
func (c *container) inside(path string) string { return filepath.Join("/proc", c.leader, "root", path) }

// write writes a file in the container, and makes its folder.
func (c *container) write(path string, mode os.FileMode, text string) {
	c.Helper()
	must(c.T, os.MkdirAll(filepath.Dir(c.inside(path)), 0o755))
	must(c.T, os.WriteFile(c.inside(path), []byte(text), mode))
	must(c.T, os.Chmod(c.inside(path), mode))
}

// dropIn adds lines to the [Service] of a unit.
func (c *container) dropIn(unit, name, text string) {
	c.Helper()
	c.write(fmt.Sprintf("/etc/systemd/system/%s.d/%s.conf", unit, name), 0o644, text)
	c.run("systemctl daemon-reload")
}

// property is what systemd says of a unit.
func (c *container) property(unit, name string) string {
	c.Helper()
	return strings.TrimSpace(c.run(fmt.Sprintf("systemctl show --value --property=%s %s", name, unit)))
}
