package systemd

import (
	"slices"
	"strings"
	"testing"

	"github.com/popfetchd/popfetchd/internal/popsim/sample"
	"github.com/popfetchd/popfetchd/test/program"
)

const service = "popfetchd.service"

// The password that the server wants, and where root alone can read it.
const password, credential = "s3cret pass", "/etc/popfetchd/credentials/isp"

// isp is the account that most tests fetch.
const isp = `  - name: isp
    host: 127.0.0.1
    ca_file: /etc/popfetchd/ca.pem
    username: joe
    password_credential: isp
`

// inState is where its mail goes: a place that is open to the service as it is shipped.
const inState = "/var/lib/popfetchd/mail/isp"

// configure writes the configuration: accounts, each with keys of its own behind isp's.
func (c *container) configure(accounts ...string) {
	c.Helper()
	c.write("/etc/popfetchd/popfetchd.yaml", 0o644, "schedule: \"@daily\"\naccounts:\n"+strings.Join(accounts, ""))
}

// credential hands the password to a unit, and nobody else.
func (c *container) credential(unit, text string) {
	c.Helper()
	c.write(credential, 0o600, text+"\n")
	c.dropIn(unit, "credential", "[Service]\nLoadCredential=isp:"+credential+"\n")
}

// serving is a container whose service fetches joe's mail as the package has it, but that it does not wait long before it starts
// again, and is not waited for long when it stops.
func serving(t *testing.T) *container {
	t.Helper()
	c := boot(t)
	c.credential(service, password)
	c.dropIn(service, "haste", "[Service]\nRestartSec=1s\nTimeoutStopSec=10s\n")
	c.configure(isp + "    maildir: " + inState + "\n")
	c.run("systemctl start popfetchd")
	c.await(0, service, "popfetchd is running")
	c.await(0, service, "run done")
	c.holds(inState, 20)
	return c
}

// holds fails the test unless a Maildir has the first n messages, each once, byte for byte, and nothing is left behind.
func (c *container) holds(maildir string, n int) {
	c.Helper()
	want := program.Contents{}
	for m := range sample.Messages() {
		if want.AddBytes(m.Stored()); program.Count(want) == n {
			break
		}
	}
	program.Same(c, want, program.Account{Kind: "maildir", Mailbox: c.inside(maildir)}.Stored(c))
	if left := c.run("find " + maildir + "/tmp -type f"); left != "" {
		c.Errorf("left behind: %s", left)
	}
}

// signal sends the server a signal and waits until it says what it did.
func (c *container) signal(name, done string) {
	c.Helper()
	from := c.now()
	c.run("systemctl kill --signal=" + name + " server")
	c.await(from, "server.service", done)
}

// deliver has one more message come, and stall and flow what becomes of bodies that are fetched.
func (c *container) deliver() { c.Helper(); c.signal("USR1", "a message came") }
func (c *container) stall()   { c.Helper(); c.signal("USR2", "bodies stall") }
func (c *container) flow()    { c.Helper(); c.signal("USR2", "bodies flow") }

// hang has a message come, and the service begin to fetch it without an end.
func (c *container) hang() {
	c.Helper()
	c.deliver()
	c.stall()
	from := c.now()
	c.run("systemctl kill --kill-whom=main --signal=USR1 popfetchd")
	c.await(from, "server.service", "C: RETR")
}

// fetch fetches by way of the daemon.
func (c *container) fetch() {
	c.Helper()
	c.run("popfetchd --config /etc/popfetchd/popfetchd.yaml fetch")
}

func TestService(t *testing.T) {
	c := serving(t)
	if state := c.property(service, "SubState"); state != "running" {
		t.Errorf("it is %s", state)
	}
	if often := c.property(service, "WatchdogUSec"); often != "2min" {
		t.Errorf("the watchdog wants to be fed every %s", often)
	}
	if status := c.property(service, "StatusText"); !strings.HasPrefix(status, "1 account; next run at ") {
		t.Errorf("status: %s", status)
	}
	if who := c.run("stat --format='%U %a' /var/lib/popfetchd /run/popfetchd " + inState); who != "popfetchd 700\npopfetchd 750\npopfetchd 700\n" {
		t.Errorf("folders belong to\n%s", who)
	}
	if out := c.run("grep -rlF '" + password + "' /etc /var/lib /var/log || test $? = 1"); out != credential+"\n" {
		t.Errorf("the password is in\n%s", out)
	}
	c.deliver()
	c.fetch()
	c.holds(inState, 21)
	c.loggedAsMeant()
	c.run(strings.ReplaceAll(excerpt(t, "systemd.md", "sudo systemd-run"), "sudo ", ""))
	c.run("systemctl stop popfetchd")
	if result := c.property(service, "Result"); result != "success" {
		t.Errorf("the stop: %s", result)
	}
}

// loggedAsMeant fails the test unless the journal has each line of the program with the priority of its level.
func (c *container) loggedAsMeant() {
	c.Helper()
	priorities := map[string]string{"level=DEBUG": "7", "level=INFO": "6", "level=WARN": "4", "level=ERROR": "3"}
	for _, e := range c.of(0, service) {
		level, _, _ := strings.Cut(e.Message, " ")
		if want, known := priorities[level]; known && e.Priority != want {
			c.Errorf("priority %s: %s", e.Priority, e.Message)
		}
	}
}

func TestReload(t *testing.T) {
	c := serving(t)
	before := c.property(service, "MainPID")
	second := strings.ReplaceAll(isp, "name: isp", "name: second") + "    maildir: " + inState + "2\n"
	c.configure(isp+"    maildir: "+inState+"\n", second)
	from := c.now()
	c.run("systemctl reload popfetchd")
	c.await(from, service, "configuration loaded again")
	c.await(from, service, `msg="run done" account=second`)

	c.configure(isp + "    maildri: " + inState + "\n")
	from = c.now()
	if code, out := c.try("systemctl reload popfetchd"); code == 0 {
		t.Errorf("reloading a bad file went well: %s", out)
	}
	if e := c.await(from, service, "maildri"); e.Priority != "3" {
		t.Errorf("priority %s: %s", e.Priority, e.Message)
	}
	c.run("systemctl kill --kill-whom=main --signal=HUP popfetchd")
	if e := c.await(from, service, "the configuration has mistakes"); e.Priority != "3" {
		t.Errorf("priority %s: %s", e.Priority, e.Message)
	}
	c.deliver()
	from = c.now()
	c.run("systemctl kill --kill-whom=main --signal=USR1 popfetchd")
	c.await(from, service, "account=isp")
	c.await(from, service, "account=second")
	c.holds(inState, 21)
	c.holds(inState+"2", 21)
	if state := c.property(service, "ActiveState"); state != "active" {
		t.Errorf("it is %s", state)
	}
	if after := c.property(service, "MainPID"); after != before {
		t.Errorf("it is another process: %s, was %s", after, before)
	}
	c.loggedAsMeant()
}

func TestKilled(t *testing.T) {
	c := serving(t)
	c.hang()
	from := c.now()
	c.run("systemctl kill --kill-whom=main --signal=KILL popfetchd")
	c.await(from, service, "popfetchd is running")
	c.flow()
	c.fetch()
	c.holds(inState, 21)
	if n := c.property(service, "NRestarts"); n != "1" {
		t.Errorf("%s restarts", n)
	}
}

// A process that hangs is ended and started anew; one that does not is left alone.
func TestWatchdog(t *testing.T) {
	c := serving(t)
	c.dropIn(service, "watchdog", "[Service]\nWatchdogSec=3s\n")
	c.run("systemctl restart popfetchd")
	c.run(`last=$(systemctl show --property=WatchdogTimestampMonotonic popfetchd)
		for i in 1 2 3; do # it feeds the watchdog
			while now=$(systemctl show --property=WatchdogTimestampMonotonic popfetchd) && [ "$now" = "$last" ]; do sleep 0.1; done
			last=$now
		done`)
	if n := c.property(service, "NRestarts"); n != "0" {
		t.Fatalf("%s restarts before", n)
	}
	from := c.now()
	c.run("systemctl kill --kill-whom=main --signal=STOP popfetchd")
	c.await(from, service, "Watchdog timeout")
	c.await(from, service, "popfetchd is running")
	c.deliver()
	c.fetch()
	c.holds(inState, 21)
}

// A stop in the middle of a message does not wait for the server, loses nothing, and is no failure.
func TestStop(t *testing.T) {
	c := serving(t)
	c.hang()
	from := c.now()
	c.run("systemctl stop popfetchd")
	if result := c.property(service, "Result"); result != "success" {
		t.Errorf("the stop: %s", result)
	}
	if lines := c.of(from, service); slices.ContainsFunc(lines, func(e entry) bool { return e.Priority <= "4" }) {
		t.Errorf("the stop is told of as a failure: %v", lines)
	}
	c.flow()
	c.run("systemctl start popfetchd")
	c.fetch()
	c.holds(inState, 21)
}
