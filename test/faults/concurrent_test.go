package faults

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/test/program"
)

const rowConcurrent = "concurrent runs"

// elsewhere is what a run says that leaves the account to another one.
const elsewhere = "another popfetchd is fetching this account"

// inBoth runs a test for each kind of mailbox.
func inBoth(t *testing.T, prefix string, test func(t *testing.T, kind string)) {
	for _, kind := range []string{"maildir", "mbox"} {
		t.Run(prefix+kind, func(t *testing.T) {
			t.Parallel()
			test(t, kind)
		})
	}
}

// stopAt has the server wait before it answers the n-th command of that name, until goOn is called. asked is closed when
// the command came.
func (p *postbox) stopAt(command string, n int) (asked <-chan struct{}, goOn func()) {
	came, on := make(chan struct{}), make(chan struct{})
	var first sync.Once
	p.sim.SetFault(func(r popsim.Request) popsim.Action {
		if r.Command == command && r.Nth == n {
			first.Do(func() { close(came) })
			<-on
		}
		return popsim.Action{}
	})
	var once sync.Once
	goOn = func() { once.Do(func() { close(on) }) }
	p.t.Cleanup(goOn)
	return came, goOn
}

// While one run has the account, another one, or a daemon, waits briefly and leaves it be: it asks nothing of the server,
// and says why. When the first one is done in time the other one does its work.
func TestRunsOfOneAccount(t *testing.T) {
	inBoth(t, "", func(t *testing.T, kind string) {
		p := newPostbox(t, kind, "policy: delete")
		p.receives(numbered("a", 20)...)
		asked, goOn := p.stopAt("RETR", 10)
		first := p.command("--once")
		if err := first.Start(); err != nil {
			t.Fatal(err)
		}
		<-asked
		if o := p.runs(75, "--once"); !strings.Contains(o.Stderr, elsewhere) {
			t.Errorf("does not say why it left: %s", o.Stderr)
		}
		if n := p.server.Sessions(); n != 1 {
			t.Errorf("%d sessions", n)
		}
		second := p.command("--once")
		if err := second.Start(); err != nil {
			t.Fatal(err)
		}
		p.untilOpen(second.Process.Pid, filepath.Join(p.Dir, "state", "locks", "test.lock"))
		goOn()
		for _, run := range []*exec.Cmd{first, second} {
			if err := run.Wait(); err != nil {
				t.Error(err)
			}
		}
		p.ends(rowConcurrent)
	})
}

// untilOpen returns when a process has the file open.
func (p *postbox) untilOpen(pid int, path string) {
	p.t.Helper()
	fds := fmt.Sprintf("/proc/%d/fd", pid)
	for {
		entries, err := os.ReadDir(fds)
		if err != nil || len(entries) == 0 {
			p.t.Fatalf("it ended without having opened %s", path)
		}
		for _, entry := range entries {
			if target, err := os.Readlink(filepath.Join(fds, entry.Name())); err == nil && target == path {
				return
			}
		}
	}
}

// ends holds that nothing is left to do and everything is there once.
func (p *postbox) ends(row string) {
	p.t.Helper()
	p.fetches(0)
	weigh(p.t, row, p.Account, p.want, false)
	p.misses(0)
	if n := len(p.server.Messages()); n != 0 {
		p.t.Errorf("%d messages are left on the server", n)
	}
	p.NoLeftovers(p.t)
}

// Single runs and a daemon that is woken again and again, all at the same time: each ends well or with 75, and all in all
// every message comes once.
func TestManyRunsAndADaemon(t *testing.T) {
	inBoth(t, "", func(t *testing.T, kind string) {
		p := newPostbox(t, kind, "policy: delete", `schedule: "@every 1m"`)
		daemon, log := p.starts()
		awaits(t, log, "popfetchd is running")
		for i := range rounds(4, 60) {
			p.receives(numbered(fmt.Sprintf("a-%d", i), 25)...)
			var all sync.WaitGroup
			for range 3 {
				all.Go(func() {
					if o := p.Run(t, "--once"); o.Code != 0 && (o.Code != 75 || !strings.Contains(o.Stderr, elsewhere)) {
						t.Errorf("exit code %d: %s", o.Code, o.Stderr)
					}
				})
			}
			if err := daemon.Process.Signal(syscall.SIGUSR1); err != nil {
				t.Error(err)
			}
			all.Wait()
		}
		p.receives("for the daemon")
		daemon.Process.Signal(syscall.SIGUSR1)
		awaits(t, log, "msg=\"run ", "stored=1 ")
		daemon.Process.Signal(syscall.SIGTERM)
		awaits(t, log, "popfetchd has ended")
		if err := daemon.Wait(); err != nil {
			t.Errorf("the daemon: %v", err)
		}
		p.runs(0, "--once")
		p.ends(rowConcurrent)
	})
}

// Two programs, with state folders of their own, and in each two accounts store into one mailbox at the same time, also when
// the programs call their accounts the same.
func TestManyAccountsInOneMailbox(t *testing.T) {
	for prefix, names := range map[string][]string{
		"":            {"first", "second", "third", "fourth"},
		"same names/": {"first", "second", "first", "second"},
	} {
		inBoth(t, prefix, func(t *testing.T, kind string) {
			boxes := []*postbox{newPostbox(t, kind), newPostbox(t, kind)}
			want := bundle{}
			var accounts []*popsim.Account
			for i, p := range boxes {
				server, account := program.Serve(t, popsim.Config{Mode: popsim.NoTLS}, func(func(popsim.Message) bool) {})
				accounts = append(accounts, p.server, account)
				p.twoAccounts(boxes[0].Mailbox, names[2*i], names[2*i+1], program.AtSim(t, server, popsim.NoTLS))
			}
			for i := range rounds(3, 40) {
				for k, account := range accounts {
					for _, subject := range numbered(fmt.Sprintf("%d-%d", i, k), 25) {
						account.Deliver(want.add(subject))
					}
				}
				var both sync.WaitGroup
				for _, p := range boxes {
					both.Go(func() { p.runs(0, "--once") })
				}
				both.Wait()
			}
			for _, p := range boxes {
				p.runs(0, "--once")
			}
			weigh(t, "concurrent runs into one mailbox", boxes[0].Account, want, false)
			for _, p := range boxes {
				if prefix == "" { // else what is the other's seems to be lost from the ledger
					p.runs(0, "verify", "--read")
				}
				p.NoLeftovers(t)
			}
		})
	}
}

// twoAccounts changes the configuration: its account gets another name, and a second one, reached by keys, the same mailbox.
func (p *postbox) twoAccounts(mailbox, first, second string, keys []string) {
	p.t.Helper()
	text, err := os.ReadFile(p.Config())
	if err != nil {
		p.t.Fatal(err)
	}
	file := strings.NewReplacer("name: test", "name: "+first, p.Kind+": "+p.Mailbox, p.Kind+": "+mailbox).Replace(string(text))
	file += fmt.Sprintf("  - name: %s\n    username: %s\n    password_file: %s/password\n    %s: %s\n",
		second, program.Username, p.Dir, p.Kind, mailbox)
	for _, key := range keys {
		file += "    " + key + "\n"
	}
	if err := os.WriteFile(p.Config(), []byte(file), 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.Mailbox = mailbox
}
