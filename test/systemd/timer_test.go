package systemd

import "testing"

const once, timer = "popfetchd-once.service", "popfetchd-once.timer"

// A run that was missed while the machine was off is made up for, and then each comes at its time. One that fails leaves the
// unit failed until the next one.
func TestTimer(t *testing.T) {
	c := boot(t)
	c.configure(isp + "    maildir: " + inState + "\n")
	c.credential(once, "wrong")
	c.dropIn(timer, "haste", "[Timer]\nOnCalendar=\nOnCalendar=yearly\nRandomizedDelaySec=0\n")
	c.run("mkdir -p /var/lib/systemd/timers && touch --date='2 years ago' /var/lib/systemd/timers/stamp-" + timer)
	from := c.now()
	c.run("systemctl enable --now " + timer)
	c.await(from, once, "Failed with result 'exit-code'")
	if e := c.await(from, once, "logging in"); e.Priority != "3" {
		t.Errorf("priority %s: %s", e.Priority, e.Message)
	}
	if state := c.property(once, "ExecMainStatus"); state != "77" {
		t.Errorf("exit code %s", state)
	}

	c.write(credential, 0o600, password+"\n")
	c.run("setpriv --reuid=popfetchd --regid=popfetchd --clear-groups popfetchd --config /etc/popfetchd/popfetchd.yaml retry isp")
	c.dropIn(timer, "haste", "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/2\nRandomizedDelaySec=0\nAccuracySec=100ms\n")
	from = c.now()
	c.run("systemctl restart " + timer)
	c.await(from, once, "Finished")
	c.holds(inState, 20)
	c.deliver()
	from = c.now()
	c.await(from, once, "Starting")
	c.await(from, once, "Finished")
	c.await(c.now(), once, "Finished") // the first may have begun before the message came
	c.holds(inState, 21)
	if on := c.run("systemctl is-enabled " + timer); on != "enabled\n" {
		t.Error(on)
	}
}
