package alert

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/test/program"
)

// Alerts in the account's own mailbox are no mail of the server's to anybody: they are not verified, nor repaired, nor taken
// in, nor held against what is fetched, also when the ledger is lost.
func TestMailbox(t *testing.T) {
	for _, kind := range []string{"maildir", "mbox"} {
		t.Run(kind, func(t *testing.T) {
			account := &popsim.Account{Username: username, Password: "another"}
			for n := range 5 {
				account.Deliver(popsim.Message{Body: fmt.Appendf(nil, "Subject: %d\r\n\r\nFrom here\r\n", n)})
			}
			server, err := popsim.Start("127.0.0.1:0", popsim.Config{Mode: popsim.NoTLS, Accounts: []*popsim.Account{account}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { server.Close() })
			dir := t.TempDir()
			a := program.Account{Dir: dir, Kind: kind, Mailbox: filepath.Join(dir, "mail")}
			write(t, a.Config(), fmt.Sprintf("state_dir: %s/state\nalerts: { mailbox: true }\naccounts:\n  - { name: joe, username: %s, password_file: secret, host: 127.0.0.1, port: %d, tls: none, %s: %s }\n",
				dir, username, server.Addr().(*net.TCPAddr).Port, kind, a.Mailbox))
			secret := filepath.Join(dir, "secret")
			write(t, secret, password+"\n")
			if o := a.Run(t, "--once"); o.Code != 77 {
				t.Fatalf("%+v", o)
			}
			if said := a.Must(t, "alert", "test"); said != "mailbox joe: sent\n" {
				t.Errorf("said %q", said)
			}
			write(t, secret, "another\n")
			a.Must(t, "--once")
			want := []string{"joe: fine again", "joe: login refused, check the password", "popfetchd: a test, nothing is wrong"}
			held := program.HeldBy(t, account)
			check(t, a, held, want)
			a.Must(t, "--once")
			if err := os.Remove(filepath.Join(dir, "state", "ledger.db")); err != nil {
				t.Fatal(err)
			}
			a.Must(t, "--once")
			check(t, a, held, want)
			a.NoLeftovers(t)
		})
	}
}

// check says that the mailbox holds what the server does, and these alerts, and that nothing is wrong with that.
func check(t *testing.T, a program.Account, held program.Contents, subjects []string) {
	t.Helper()
	a.Must(t, "verify", "--read")
	a.Must(t, "repair")
	a.Must(t, "verify", "--read")
	if status := a.Must(t, "status", "--json"); !strings.Contains(status, `"messages":5,`) {
		t.Errorf("status: %s", status)
	}
	stored := a.Stored(t)
	lost, more := stored.Against(held)
	if lost != 0 || more != len(subjects) {
		t.Errorf("%d messages are lost, and there are %d more; want %d", lost, more, len(subjects))
	}
	got := alerts(t, a)
	slices.Sort(got)
	if !slices.Equal(got, subjects) {
		t.Errorf("alerts %q, want %q", got, subjects)
	}
}

// alerts are the subjects of those in the mailbox.
func alerts(t *testing.T, a program.Account) []string {
	t.Helper()
	var subjects []string
	paths := []string{a.Mailbox}
	if a.Kind == "maildir" {
		paths, _ = filepath.Glob(filepath.Join(a.Mailbox, "[nc][eu][wr]", "*"))
	}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, message := range strings.Split("\n"+string(raw), "\nFrom ") {
			if a.Kind == "mbox" {
				_, message, _ = strings.Cut(message, "\n")
			}
			message = strings.TrimLeft(message, "\n")
			if !strings.Contains(message, "\nX-Popfetchd-Event: ") {
				continue
			}
			l := parse(t, []byte(message))
			if strings.Contains(l.text, "s3cret") || l.Get("To") != "<"+username+">" {
				t.Errorf("%v\n%s", l.Header, l.text)
			}
			subjects = append(subjects, l.subject)
		}
	}
	return subjects
}
