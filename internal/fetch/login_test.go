package fetch_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// A login that fails: whose fault it is decides when the next attempt is made.
func TestLoginFails(t *testing.T) {
	noCapa := popsim.On("CAPA", 0, popsim.Refuse("what?"))
	pass := func(a popsim.Action) popsim.Fault { return popsim.On("PASS", 0, a) }
	for name, test := range map[string]struct {
		fault popsim.Fault
		kind  fetch.Kind
		text  string
	}{
		"AUTH":                        {pass(popsim.Refuse("[AUTH] no")), fetch.Refused, `[AUTH] "no"; check username and password`},
		"no code":                     {popsim.FirstOf(noCapa, pass(popsim.Refuse("invalid password"))), fetch.Refused, `"invalid password"; check username and password`},
		"no code, where there is one": {pass(popsim.Refuse("mailbox is being moved")), fetch.Temporary, `"mailbox is being moved"; nothing is lost`},
		"IN-USE":                      {pass(popsim.Refuse("[IN-USE] by others")), fetch.Temporary, "[IN-USE]"},
		"LOGIN-DELAY":                 {pass(popsim.Refuse("[LOGIN-DELAY] slow down")), fetch.Temporary, "[LOGIN-DELAY]"},
		"SYS/TEMP":                    {pass(popsim.Refuse("[SYS/TEMP] later")), fetch.Temporary, "[SYS/TEMP]"},
		"SYS/PERM":                    {pass(popsim.Refuse("[SYS/PERM] your account is closed")), fetch.Refused, `"your account is closed"; ask the provider`},
		"SYS/TEMP on +OK":             {pass(popsim.Status("+OK [SYS/TEMP] this mailbox will seem empty")), fetch.Temporary, "will seem empty"},
		"the user name":               {popsim.On("USER", 0, popsim.Refuse("[AUTH] who?")), fetch.Refused, "who?"},
		"control characters":          {pass(popsim.Refuse("[AUTH] \x1b[31mred\x07")), fetch.Refused, `\x1b[31mred\a`},
		"an echo of the password":     {pass(popsim.Refuse("[AUTH] not " + password)), fetch.Refused, `"not ***"`},
		"the connection":              {popsim.On("CONNECT", 0, popsim.Refuse("too many connections")), fetch.Temporary, "too many connections"},
		"hung up":                     {pass(popsim.HangUp()), fetch.Temporary, "closed the connection"},
		"nonsense":                    {pass(popsim.Raw("HTTP/1.1 400\r\n")), fetch.Temporary, "HTTP/1.1 400"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, popsim.Config{}, "auth: user")
			w.deliverN(1)
			w.server.SetFault(test.fault)
			r := w.fail(test.kind, fetch.Report{})
			if !strings.Contains(r.Err.Error(), test.text) {
				t.Errorf("the error is %q, want %q in it", r.Err, test.text)
			}
			if r.Sessions != 0 {
				t.Errorf("%d logins", r.Sessions)
			}
			w.quits(0)
			w.mend()
			if test.kind == fetch.Refused {
				w.waits(fetch.Refused)
			}
			w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1})
		})
	}
}

// waits holds that a run tries nothing, and lets the next one log in.
func (w *world) waits(kind fetch.Kind) {
	w.Helper()
	sessions := w.account.Sessions()
	w.fail(kind, fetch.Report{Held: true})
	if n := w.account.Sessions() - sessions; n != 0 {
		w.Errorf("%d logins where there should be none", n)
	}
	w.must(w.ledger.Lift("joe"))
}

// What the configuration names is not there, or not right: nobody is asked to log in.
func TestConfigurationIsWrong(t *testing.T) {
	t.Setenv("POPFETCHD_TEST_TWO_LINES", "open\nsesame")
	other, err := popsim.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		line string
		do   func(w *world)
		kind fetch.Kind
		text string
	}{
		"no password file":        {"password_file: nowhere", nil, fetch.Configuration, "account joe: getting the password: password_file: "},
		"no variable":             {"password_env: POPFETCHD_TEST_NOWHERE", nil, fetch.Configuration, "POPFETCHD_TEST_NOWHERE is not set"},
		"command fails":           {"password_command: exit 3", nil, fetch.Configuration, "password_command: "},
		"two lines":               {"password_env: POPFETCHD_TEST_TWO_LINES", nil, fetch.Configuration, "password_env: "},
		"no CA file":              {"", func(w *world) { w.must(os.Remove(filepath.Join(w.folder, "ca.pem"))) }, fetch.Configuration, "ca_file"},
		"no certificate in it":    {"", func(w *world) { w.must(os.WriteFile(filepath.Join(w.folder, "ca.pem"), []byte("x"), 0o600)) }, fetch.Configuration, "ca_file"},
		"another authority":       {"", func(w *world) { w.must(os.WriteFile(filepath.Join(w.folder, "ca.pem"), other.PEM(), 0o600)) }, fetch.Temporary, "pin_sha256"},
		"nobody listens":          {"", func(w *world) { w.server.Close() }, fetch.Temporary, "refused"},
		"TLS where there is none": {"tls: starttls", nil, fetch.Temporary, "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, popsim.Config{}, "timeout: 1s")
			if test.line != "" {
				key, value, _ := strings.Cut(test.line, ": ")
				w.set(key, value)
			}
			if test.do != nil {
				test.do(w)
			}
			r := w.fail(test.kind, fetch.Report{})
			if !strings.Contains(r.Err.Error(), test.text) {
				t.Errorf("the error is %q, want %q in it", r.Err, test.text)
			}
			if w.account.Sessions() != 0 {
				t.Error("it logged in")
			}
		})
	}
}

// A server that cannot list now is asked again; nothing is concluded from what it said.
func TestListingFails(t *testing.T) {
	refuse := popsim.On("UIDL", 0, popsim.Refuse("unknown command"))
	for name, test := range map[string]struct {
		fault popsim.Fault
		kind  fetch.Kind
		text  string
	}{
		"no UIDL now": {refuse, fetch.Temporary, `refused UIDL: "unknown command"; nothing is lost`},
		"no LIST now": {popsim.On("LIST", 0, popsim.Refuse("busy")), fetch.Temporary, "refused LIST"},
		"malformed":   {popsim.On("UIDL", 0, popsim.Rewrite(func(line string) string { return "x" + line })), fetch.Temporary, "broke the POP3 protocol"},
		"cut":         {popsim.On("LIST", 0, popsim.HangUp()), fetch.Temporary, "closed the connection"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, popsim.Config{Pipelining: name < "n"})
			w.deliverN(2)
			w.server.SetFault(test.fault)
			if r := w.fail(test.kind, fetch.Report{}); !strings.Contains(r.Err.Error(), test.text) {
				t.Errorf("the error is %q, want %q in it", r.Err, test.text)
			}
			w.quits(0)
			w.mend()
			w.succeed(fetch.Report{Listed: 2, New: 2, Stored: 2})
		})
	}
}

// Where the maildrop is in use, the account is tried again.
func TestMaildropInUse(t *testing.T) {
	w := newWorld(t, popsim.Config{LockWait: -1})
	other := newWorld(t, popsim.Config{})
	other.server, other.account = w.server, w.account
	w.deliverN(2)
	asked := make(chan struct{})
	w.server.SetFault(func(r popsim.Request) popsim.Action {
		if r.Command == "RETR" && r.Session == 1 {
			close(asked)
			return popsim.Stall()
		}
		return popsim.Action{}
	})
	var first sync.WaitGroup
	first.Go(func() { w.fetcher.Run(t.Context(), w.config(), nil) })
	<-asked
	r := other.fail(fetch.Temporary, fetch.Report{})
	if !strings.Contains(r.Err.Error(), "[IN-USE]") {
		t.Error(r.Err)
	}
	w.server.Close()
	first.Wait()
}

// Gmail's wording of advice is for Gmail.
func TestGmailAdvice(t *testing.T) {
	w := newWorld(t, popsim.Config{Dialect: popsim.Gmail})
	w.set("provider", "gmail")
	w.server.SetFault(popsim.On("AUTH", 0, popsim.Refuse("[AUTH] Username and password not accepted.")))
	if r := w.fail(fetch.Refused, fetch.Report{}); !strings.Contains(r.Err.Error(), "app password") {
		t.Error(r.Err)
	}
}

// What is mended at Gmail changes nothing here: the account stays held, and the way out names it.
func TestGmailAdviceNamesTheAccount(t *testing.T) {
	for _, at := range []string{"PASS", "STAT"} {
		w := newWorld(t, popsim.Config{}, "provider: gmail", "password: opensesame", "auth: user")
		w.account.ChangePassword("opensesame")
		w.server.SetFault(popsim.On(at, 0, popsim.Refuse("[SYS/PERM] Your account is not enabled for POP access.")))
		for range 2 {
			if r := w.run(); r.Err == nil || !strings.Contains(r.Err.Error(), `"Forwarding and POP/IMAP", then run "popfetchd retry joe" (https://`) {
				t.Errorf("%s: %v", at, r.Err)
			}
		}
	}
}

func TestInspect(t *testing.T) {
	w := newWorld(t, popsim.Config{Pipelining: true}, "policy: delete", "max_message_size: 1KB")
	a := w.deliver("a", "1")
	w.deliver("large", strings.Repeat("x", 2000))
	w.fetcher.Ledger = nil
	i, err := w.fetcher.Inspect(t.Context(), w.config())
	if err != nil {
		t.Fatal(err)
	}
	if i.Messages != 2 || i.Octets < 2000 || !i.Pipelined || i.TLSVersion != "TLS 1.3" || i.Certificate == nil || len(i.Capabilities) < 5 {
		t.Errorf("%+v", i)
	}
	if want := (fetch.Preview{Listed: 2, ToFetch: 1, FetchBytes: a.Octets(), TooLarge: 1, Deletes: true}); i.Preview != want {
		t.Errorf("%+v, want %+v", i.Preview, want)
	}
}

// A preview says what a run does then, and changes nothing.
func TestPreview(t *testing.T) {
	boxes(t, func(t *testing.T, box string) {
		w := newWorld(t, popsim.Config{}, box, "policy: delete", "delete_after: 1d", "max_message_size: 1KB")
		w.deliverN(3)
		w.run()
		w.pass(25 * time.Hour)
		w.deliver("large", strings.Repeat("x", 2000))
		w.deliver("refused", "x")
		w.fault("RETR", "refused", popsim.Refuse("no"))
		w.set("delete_after", "2d")
		w.run()
		w.set("delete_after", "1d")
		m := w.deliver("new", "x")
		before, sessions := w.snapshot(), w.account.Sessions()
		w.server.SetFault(func(r popsim.Request) popsim.Action {
			if r.Command == "RETR" || r.Command == "DELE" || r.Command == "TOP" {
				t.Errorf("the preview sent %s", r.Command)
			}
			return popsim.Action{}
		})
		p, err := w.fetcher.Preview(t.Context(), w.config())
		w.must(err)
		if want := (fetch.Preview{Listed: 6, Known: 3, ToFetch: 1, FetchBytes: m.Octets(), ToDelete: 3, TooLarge: 1, Waiting: 1}); p != want {
			t.Errorf("%+v, want %+v", p, want)
		}
		if w.account.Sessions() != sessions+1 || len(w.account.Messages()) != 6 {
			t.Error("the server is not what it was")
		}
		after := w.snapshot()
		for path, content := range after {
			if before[path] != content && !strings.HasSuffix(path, "-shm") { // SQLite's locks
				t.Errorf("%s is not what it was", path)
			}
			delete(before, path)
		}
		if len(before) > 0 {
			t.Errorf("gone: %v", before)
		}
		w.mend()
		w.succeed(fetch.Report{Listed: 6, New: 1, Stored: 1, Deleted: 3, Skipped: 2})
	})
}

// From-now-on: a preview of the first run says that all is known; the run after it still takes its own baseline.
func TestPreviewOfFromNowOn(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "access: from-now-on")
	w.deliverN(2)
	p, err := w.fetcher.Preview(t.Context(), w.config())
	w.must(err)
	if want := (fetch.Preview{Listed: 2, Known: 2}); p != want {
		t.Errorf("%+v, want %+v", p, want)
	}
	w.deliver("later", "x")
	w.succeed(fetch.Report{Listed: 3})
}

// A password_command that gives something else each time is no way around a refusal.
func TestChangingPasswords(t *testing.T) {
	w := newWorld(t, popsim.Config{}, `password_command: "date +%N"`)
	logins := 0
	w.server.SetFault(func(r popsim.Request) popsim.Action {
		if r.Command == "LOGIN" {
			logins++
		}
		return popsim.Action{}
	})
	for range 12 { // three hours
		w.check(w.run())
		w.pass(15 * time.Minute)
	}
	if logins != 3+2 { // three of them at once, then one an hour
		t.Errorf("%d logins", logins)
	}
}
