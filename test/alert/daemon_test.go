package alert

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/test/program"
)

// service takes webhooks and pings.
func service(t *testing.T) (address string, requests <-chan string) {
	t.Helper()
	got := make(chan string, 100)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- r.URL.Path + " " + string(body)
	}))
	t.Cleanup(s.Close)
	return s.URL, got
}

// next waits for a request.
func next(t *testing.T, requests <-chan string, begins string) string {
	t.Helper()
	select {
	case r := <-requests:
		if !strings.HasPrefix(r, begins) {
			t.Fatalf("the service heard %q, want %q", r, begins)
		}
		return r
	case <-time.After(time.Minute):
		t.Fatalf("the service heard nothing, want %q", begins)
	}
	return ""
}

// The daemon pings at each run, and hears of a mended password; a file with mistakes, and a good one again, reach the Alerter.
func TestDaemonPings(t *testing.T) {
	address, requests := service(t)
	server, err := popsim.Start("127.0.0.1:0", popsim.Config{Mode: popsim.NoTLS, Accounts: []*popsim.Account{{Username: username, Password: "another"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	dir := t.TempDir()
	a := program.Account{Dir: dir, Kind: "maildir", Mailbox: filepath.Join(dir, "mail")}
	write(t, a.Config(), fmt.Sprintf("state_dir: %s/state\nalerts: { ping: '%s/check' }\naccounts:\n  - { name: joe, username: %s, password_file: secret, host: 127.0.0.1, port: %d, tls: none, maildir: %s }\n",
		dir, address, username, server.Addr().(*net.TCPAddr).Port, a.Mailbox))
	write(t, filepath.Join(dir, "secret"), "another\n")
	command := a.Command()
	command.Stdout, command.Stderr = t.Output(), t.Output()
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	heard := func(event string) string {
		for {
			if r := next(t, requests, "/check"); !strings.HasPrefix(r, "/check/start ") { // a run may be over before it is seen to begin
				if !strings.HasPrefix(r, "/check"+event+" ") {
					t.Fatalf("the service heard %q, want %q", r, event)
				}
				return r
			}
		}
	}
	heard("")
	write(t, filepath.Join(dir, "secret"), "wrong s3cret\n")
	if err := command.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if said := heard("/fail"); !strings.Contains(said, "server refused") || strings.Contains(said, "s3cret") {
		t.Errorf("the service heard %q", said)
	}
	write(t, filepath.Join(dir, "secret"), "another\n")
	if err := command.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	heard("")
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err != nil {
		t.Error(err)
	}
}

// A ledger that is damaged stops daemon and --once at their start, again and again: that is told once, and is over once there
// is a good one.
func TestBrokenLedger(t *testing.T) {
	address, requests := service(t)
	dir := t.TempDir()
	a := program.Account{Dir: dir, Kind: "maildir", Mailbox: filepath.Join(dir, "mail")}
	server, _ := program.Serve(t, popsim.Config{Mode: popsim.NoTLS}, func(func(popsim.Message) bool) {})
	write(t, a.Config(), fmt.Sprintf("state_dir: %s/state\nalerts: { webhook: '%s/hook' }\naccounts:\n  - { name: joe, username: %s, password: %s, host: 127.0.0.1, port: %d, tls: none, maildir: %s }\n",
		dir, address, program.Username, program.Password, server.Addr().(*net.TCPAddr).Port, a.Mailbox))
	a.Must(t, "--once")
	books := filepath.Join(dir, "state", "ledger.db")
	if err := os.WriteFile(books, []byte(strings.Repeat("damage", 10000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--once"}, {}, {}, {"--once"}} {
		if o := a.Run(t, args...); o.Code != 74 {
			t.Fatalf("%q: %+v", args, o)
		}
	}
	if told := next(t, requests, "/hook "); !strings.Contains(told, "ledger damaged, bring back a backup") {
		t.Errorf("told %s", told)
	}
	if err := os.Remove(books); err != nil {
		t.Fatal(err)
	}
	a.Must(t, "--once")
	if told := next(t, requests, "/hook "); !strings.Contains(told, `"event":"all-clear"`) {
		t.Errorf("told %s", told)
	}
	if len(requests) > 0 {
		t.Errorf("told %s", <-requests)
	}
}
