package config

import "testing"

// The machine's own configuration has one state folder, whoever works with it; what systemd or the file says comes first.
func TestStateDirOfTheMachine(t *testing.T) {
	t.Setenv("HOME", "/home/joe")
	t.Setenv("XDG_STATE_HOME", "")
	t.Setenv("STATE_DIRECTORY", "")
	const text = "accounts:\n  - {name: a, host: h, username: u, password: p, maildir: /m}\n"
	for path, want := range map[string]string{
		"/etc/popfetchd/popfetchd.yaml": "/var/lib/popfetchd",
		"/home/joe/popfetchd.yaml":      "/home/joe/.local/state/popfetchd",
	} {
		c, err := Parse(path, []byte(text))
		if err != nil || c.StateDir != want {
			t.Errorf("%s: %q, %v; want %q", path, c.StateDir, err, want)
		}
	}
	t.Setenv("STATE_DIRECTORY", "/run/state")
	if c, err := Parse("/etc/popfetchd/popfetchd.yaml", []byte(text)); err != nil || c.StateDir != "/run/state" {
		t.Errorf("%q, %v", c.StateDir, err)
	}
}
