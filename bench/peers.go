package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// visit is what a program needs to know for one run.
type visit struct {
	host   string
	port   int
	caFile string
	user   string
	count  int    // messages that the server holds for it
	dir    string // for configuration and state; the same again for a poll
	store  string
	path   string // of the Maildir or mbox, inside dir; not there at first
}

// program is one of those compared. Apart from the bare reader it has a
// function that writes its configuration for a visit and returns the command.
type program struct {
	name      string
	pkg       string // Debian package
	file      string // executable
	configure func(p program, v visit) ([]string, error)
	version   string
}

// allPrograms are in the order in which they run and are printed.
var allPrograms = []program{
	{name: bareName},
	{name: "popfetchd", configure: popfetchd},
	{name: "mpop", pkg: "mpop", file: "/usr/bin/mpop", configure: mpop},
	{name: "fdm", pkg: "fdm", file: "/usr/bin/fdm", configure: fdm},
	{name: "fetchmail", pkg: "fetchmail", file: "/usr/bin/fetchmail", configure: fetchmail},
	{name: "getmail6", pkg: "getmail6", file: "/usr/bin/getmail", configure: getmail},
}

func programNames() []string {
	var names []string
	for _, p := range allPrograms {
		names = append(names, p.name)
	}
	return names
}

// findPrograms builds popfetchd and makes sure that the others are there.
func findPrograms(ctx context.Context, o options, dir string) ([]program, error) {
	var found []program
	for _, p := range allPrograms {
		if !slices.Contains(o.programs, p.name) {
			continue
		}
		switch {
		case p.name == bareName:
		case p.pkg == "":
			p.file = o.binary
			if p.file == "" {
				p.file = filepath.Join(dir, "popfetchd")
				build := exec.CommandContext(ctx, "go", "build", "-o", p.file, "github.com/popfetchd/popfetchd/cmd/popfetchd")
				build.Stderr = os.Stderr
				if err := build.Run(); err != nil {
					return nil, fmt.Errorf("building popfetchd: %w", err)
				}
			}
		default:
			version, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${Version}", p.pkg).Output()
			if err != nil {
				return nil, fmt.Errorf("%s is missing: run test/setup.sh bench, or leave it out with -only", p.pkg)
			}
			p.version = string(version)
		}
		found = append(found, p)
	}
	return found, nil
}

// write puts a program's configuration into the visit's folder.
func (v visit) write(name, format string, args ...any) (string, error) {
	path := filepath.Join(v.dir, name)
	return path, os.WriteFile(path, fmt.Appendf(nil, format, args...), 0o600)
}

func popfetchd(p program, v visit) ([]string, error) {
	config, err := v.write("popfetchd.yaml", `state_dir: %s
accounts:
  - name: bench
    host: %s
    port: %d
    tls: implicit
    ca_file: %s
    username: %s
    password: %s
    policy: keep
    %s: %s
`, filepath.Join(v.dir, "state"), v.host, v.port, v.caFile, v.user, password, strings.ToLower(v.store), v.path)
	return []string{p.file, "--config", config, "--once"}, err
}

func mpop(p program, v visit) ([]string, error) {
	if err := v.makeMaildir(); err != nil {
		return nil, err
	}
	config, err := v.write("mpoprc", `account bench
host %s
port %d
tls on
tls_starttls off
tls_trust_file %s
user %s
password %s
pipelining auto
keep on
uidls_file %s
delivery %s %s
`, v.host, v.port, v.caFile, v.user, password, filepath.Join(v.dir, "uidls"), strings.ToLower(v.store), v.path)
	return []string{p.file, "--quiet", "--file=" + config, "bench"}, err
}

// fdm run by root fetches as a user of its own, who must write its cache.
func fdm(p program, v visit) ([]string, error) {
	if err := os.Chmod(v.dir, 0o777); err != nil {
		return nil, err
	}
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	config, err := v.write("fdm.conf", `set default-user "%s"
set lock-file "%s"
account "bench" pop3s server "%s" port %d user "%s" pass "%s" new-only cache "%s" no-verify keep
action "store" %s "%s"
match all action "store"
`, me.Username, filepath.Join(v.dir, "lock"), v.host, v.port, v.user, password, filepath.Join(v.dir, "cache"),
		strings.ToLower(v.store), v.path)
	return []string{p.file, "-f", config, "fetch"}, err
}

func fetchmail(p program, v visit) ([]string, error) {
	recipe := ":0:\n" + v.path + "\n" // with a lock
	if v.store == maildir {
		recipe = ":0\n" + v.path + "/\n"
	}
	procmail, err := v.write("procmailrc", "%s", recipe)
	if err != nil {
		return nil, err
	}
	config, err := v.write("fetchmailrc", `poll %s service %d protocol pop3 uidl
  user "%s" password "%s" ssl sslcertck sslcertfile "%s" sslcommonname "localhost" keep mda "/usr/bin/procmail -m %s"
`, v.host, v.port, v.user, password, v.caFile, procmail)
	return []string{p.file, "--silent", "--nosyslog", "-f", config, "-i", filepath.Join(v.dir, "ids"), "--pidfile", filepath.Join(v.dir, "pid")}, err
}

// getmail delivers nothing as root. Now and then it misses the end of a child
// that was faster than itself and then fails after its timeout.
func getmail(p program, v visit) ([]string, error) {
	kind, path := "Mboxrd", v.path
	if v.store == maildir {
		kind, path = "Maildir", v.path+"/"
		if err := v.makeMaildir(); err != nil {
			return nil, err
		}
	} else if err := os.WriteFile(v.path, nil, 0o600); err != nil {
		return nil, err
	}
	_, err := v.write("getmailrc", `[retriever]
type = SimplePOP3SSLRetriever
server = %s
port = %d
ca_certs = %s
username = %s
password = %s
timeout = 30
[destination]
type = %s
path = %s
[options]
read_all = false
delete = false
verbose = 0
`, v.host, v.port, v.caFile, v.user, password, kind, path)
	argv := []string{p.file, "--getmaildir", v.dir}
	if err != nil || os.Getuid() != 0 {
		return argv, err
	}
	return append([]string{"setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"}, argv...), v.giveTo("nobody")
}

// giveTo makes the files of the visit another user's.
func (v visit) giveTo(name string) error {
	u, err := user.Lookup(name)
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	return filepath.WalkDir(v.dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, uid, -1)
	})
}

// makeMaildir makes the Maildir for programs that do not.
func (v visit) makeMaildir() error {
	if v.store != maildir {
		return nil
	}
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(filepath.Join(v.path, sub), 0o700); err != nil {
			return err
		}
	}
	return nil
}
