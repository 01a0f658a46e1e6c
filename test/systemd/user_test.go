package systemd

import (
	"os"
	"strings"
	"testing"
)

// someone makes joe, who has a home and is taken for present.
func (c *container) someone() {
	c.Helper()
	c.run("useradd --create-home --shell /bin/sh joe && loginctl enable-linger joe && systemctl start user@$(id -u joe)")
}

// asJoe runs a script as joe, with his systemd.
func (c *container) asJoe(script string) string {
	c.Helper()
	c.write("/tmp/script", 0o755, "export XDG_RUNTIME_DIR=/run/user/$(id -u) HOME=/home/joe\n"+script)
	return c.run("cd /home/joe && setpriv --reuid=joe --regid=joe --init-groups sh -ec '. /tmp/script'")
}

// The units of a user: the service with a reload, and the timer.
func TestUser(t *testing.T) {
	c := boot(t)
	c.someone()
	c.asJoe(`mkdir -p ~/.config/popfetchd
		umask 077
		echo '` + password + `' >~/.config/popfetchd/isp
		cat >~/.config/popfetchd/popfetchd.yaml <<-END
		accounts:
		  - {name: isp, host: 127.0.0.1, ca_file: $HOME/ca.pem, username: joe, password_file: ~/.config/popfetchd/isp, maildir: ~/Mail}
		END`)
	c.run("install -o joe -m 644 /etc/popfetchd/ca.pem /home/joe/ca.pem")
	from := c.now()
	c.asJoe("systemctl --user enable --now popfetchd")
	c.await(from, "user@1000.service", "run done")
	c.holds("/home/joe/Mail", 20)
	c.asJoe("systemctl --user reload popfetchd; systemctl --user stop popfetchd")
	if result := c.asJoe("systemctl --user show --value --property=Result popfetchd"); result != "success\n" {
		t.Error(result)
	}
	c.deliver()
	c.asJoe("systemctl --user start popfetchd-once.service && systemctl --user start popfetchd-once.timer")
	c.holds("/home/joe/Mail", 21)
	if state := c.asJoe("popfetchd status"); !strings.Contains(state, "isp") {
		t.Error(state)
	}
}

// excerpt is the block of code in a paper that begins so.
func excerpt(t *testing.T, paper, first string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + paper)
	must(t, err)
	_, from, found := strings.Cut(string(text), "```\n"+first)
	block, _, ended := strings.Cut(first+from, "```")
	if !found || !ended {
		t.Fatalf("docs/%s has no block that begins with %q", paper, first)
	}
	return block
}

// Mail in a home, by the drop-in that the paper has for it: it is the user's, and of the homes nothing else is there to see.
func TestHome(t *testing.T) {
	c := boot(t)
	c.someone()
	c.asJoe("mkdir -m 700 Maildir && echo dear diary >diary")
	c.run("printf '" + password + "' | systemd-creds encrypt --name=isp - " + credential + ".cred")
	c.dropIn(service, "credential", "[Service]\nLoadCredentialEncrypted=isp:"+credential+".cred\n")
	c.dropIn(service, "home", excerpt(t, "systemd.md", "# /etc/systemd/system/popfetchd.service.d/home.conf"))
	c.configure(isp + "    maildir: /home/joe/Maildir\n    on_new: find /home >/var/lib/popfetchd/seen; id --user --name >>/var/lib/popfetchd/seen\n")
	from := c.now()
	c.run("systemctl start popfetchd")
	c.await(from, service, "run done")
	c.holds("/home/joe/Maildir", 20)
	if owner := c.run("stat --format=%U /home/joe/Maildir/new/* | sort --unique"); owner != "joe\n" {
		t.Errorf("the mail belongs to %s", owner)
	}
	c.run("systemctl stop popfetchd")
	seen := c.run("cat /var/lib/popfetchd/seen")
	if strings.Contains(seen, "diary") || !strings.Contains(seen, "/home/joe/Maildir/new/") || !strings.HasSuffix(seen, "joe\n") {
		t.Errorf("a hook sees\n%s", seen)
	}
}
