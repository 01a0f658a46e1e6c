// Package web holds the tests of the status page in a real browser: Chromium from Debian shows it narrow and wide, light and dark,
// with and without script, with few accounts and many, and with mail of the worst kind.
package web

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/daemon"
	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/web"
)

// world is a ledger, mailboxes and what a daemon would say, all as a test wants them.
type world struct {
	*testing.T
	folder string
	books  *ledger.Ledger
	now    time.Time
	states []daemon.State
	stored int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, folder: t.TempDir(), now: time.Now().Truncate(time.Second)}
	var err error
	w.books, err = ledger.Open(filepath.Join(w.folder, "ledger.db"))
	w.must(err)
	t.Cleanup(func() { w.books.Close() })
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// configure adds accounts, each by its lines of the file.
func (w *world) configure(accounts ...string) {
	w.Helper()
	file := fmt.Sprintf("state_dir: %s\naccounts:\n", w.folder)
	for _, account := range accounts {
		name, lines, _ := strings.Cut(account, ",")
		file += fmt.Sprintf("  - {name: %s, username: joe@example.net, password: secret, maildir: %s/mail/%s%s}\n", name, w.folder, name, strings.TrimSuffix(","+lines, ","))
	}
	c, err := config.Parse(filepath.Join(w.folder, "popfetchd.yaml"), []byte(file))
	w.must(err)
	for i, a := range c.Accounts {
		w.must(w.books.Enroll(a.Name, string(a.Mailbox())))
		w.states = append(w.states, daemon.State{Account: a, Next: w.now.Add(time.Duration(4+7*i) * time.Minute)})
	}
}

// store puts a message with a header into an account's mailbox and the ledger.
func (w *world) store(i int, at time.Time, size int64, header string) {
	w.Helper()
	a := w.states[i].Account
	folder := filepath.Join(a.Mailbox().At(at), "new")
	w.must(os.MkdirAll(folder, 0o700))
	w.stored++
	name := fmt.Sprintf("%d.m%d.host", at.Unix(), w.stored)
	w.must(os.WriteFile(filepath.Join(folder, name), []byte(header+"\n\nbody\n"), 0o600))
	w.must(w.books.Commit(a.Name, []ledger.Message{{
		Key: ledger.Key{UID: name, ListedSize: size}, Mailbox: a.Mailbox().At(at), Name: name, Size: size, StoredAt: at,
	}}, 0))
}

// month stores some mail of each day of a month, more of it on some days than on others.
func (w *world) month(i int) {
	w.Helper()
	subjects := []string{"Re: Saturday", "Invoice 2026-1184", "=?utf-8?B?0JLRgdGC0YDQtdGH0LAg0LIg0LLQvtGB0LrRgNC10YHQtdC90YzQtQ==?=", "Your parcel is on its way",
		"=?utf-8?Q?Einladung_zum_Gartenfest_=E2=80=93_bring_Kuchen_mit!?=", "Backup finished", "=?windows-1251?Q?=D1=F7=B8=F2_=E7=E0_=ED=EE=FF=E1=F0=FC?=", "Minutes of the meeting, and what is left to do before the end of the year for the whole of the allotment society"}
	senders := []string{"Ann Karlsson <ann@example.net>", "accounts@hosting.example", "=?koi8-r?B?8NLJ18XU?= <ivan@example.org>", "Parcel Service <no-reply@parcel.example>",
		"=?utf-8?Q?J=C3=B6rg_M=C3=BCller?= <joerg@example.net>", "root <root@nas.example>"}
	var rows []ledger.Message
	for day := range 30 {
		for n := range (day*7+i*5)%23 + day%3*9 {
			at := w.now.AddDate(0, 0, day-29).Add(-time.Duration(n*17) * time.Minute)
			if day == 29 && n < 8 {
				w.store(i, at, int64(3_000+n*n*9_000), fmt.Sprintf("From: %s\nDate: %s\nSubject: %s", senders[(n+i)%len(senders)], at.Format(time.RFC1123Z), subjects[(n+3*i)%len(subjects)]))
				continue
			}
			w.stored++
			name := fmt.Sprintf("%d.m%d.host", at.Unix(), w.stored)
			rows = append(rows, ledger.Message{Key: ledger.Key{UID: name}, Mailbox: "/elsewhere", Name: name, Size: int64(4_000 + (n*7919)%90_000), StoredAt: at})
		}
	}
	w.must(w.books.Commit(w.states[i].Account.Name, rows, 0))
}

// well has an account's last run be a good one, some minutes ago.
func (w *world) well(i int) {
	w.Helper()
	at := w.now.Add(-time.Duration(3+i%40) * time.Minute)
	w.must(w.books.Finish(w.states[i].Account.Name, at, "", true))
	w.states[i].Last = fetch.Report{Account: w.states[i].Account.Name, Listed: 2113, New: 4, Stored: 4, Bytes: 81_300, Took: 2300 * time.Millisecond}
	w.states[i].LastEnd, w.states[i].Runs = at, 12
}

// serve serves the page and returns its address.
func (w *world) serve() string {
	w.Helper()
	return w.serveBy(&web.Server{
		States: func() []daemon.State { return w.states }, Wake: func(...string) error { return nil },
		Subscribe: func(context.Context) <-chan struct{} { return nil },
	})
}

func (w *world) serveBy(s *web.Server) string {
	w.Helper()
	s.Status = func(context.Context) (any, error) { return nil, nil }
	s.Ledger, s.Version, s.Log, s.Now = w.books, "1.4.0", slog.New(slog.DiscardHandler), time.Now
	s.Listen = config.Listen{Network: "tcp", Address: "127.0.0.1:0"}
	ctx, cancel := context.WithCancel(context.Background())
	listener, err := web.Listen(ctx, s.Listen)
	w.must(err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, listener) }()
	w.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			w.Error(err)
		}
	})
	return "http://" + listener.Addr().String() + "/"
}

// few is a house with three accounts that are well, one of which is being fetched.
func few(t *testing.T) *world {
	w := newWorld(t)
	w.configure("joe, provider: gmail", "ann-work, host: pop.example.net, policy: delete, delete_after: 30d", "old-yahoo, provider: yahoo")
	for i := range w.states {
		w.month(i)
		w.well(i)
	}
	w.states[0].Running, w.states[0].Began = true, w.now.Add(-40*time.Second)
	w.states[0].Progress = fetch.Progress{Phase: fetch.Retrieving, Messages: 1240, TotalMessages: 2113, Bytes: 61_000_000, TotalBytes: 98_000_000}
	w.must(w.books.AddTraffic("joe", w.now, 740_000_000))
	return w
}

// failing is a house in which much is wrong.
func failing(t *testing.T) *world {
	w := newWorld(t)
	w.configure("joe, provider: gmail", "ann-work, host: pop.example.net", "club, host: mail.club.example", "new-one, host: mail.example.org", "limited, provider: gmail")
	for i := range w.states[:3] {
		w.month(i)
		w.well(i)
	}
	const refused = "account joe: logging in to pop.gmail.com:995: the server refused the login: \"[AUTH] Username and password not accepted.\"; make an app password"
	w.must(w.books.Finish("joe", w.now.Add(-40*time.Minute), refused, true))
	w.must(w.books.SetHold("joe", ledger.Hold{Reason: ledger.LoginRefused, Since: w.now.Add(-40 * time.Minute), Until: w.now.Add(23 * time.Hour), Problem: refused}))
	for range 4 {
		w.must(w.books.Finish("ann-work", w.now.Add(-5*time.Minute), "account ann-work: connecting to pop.example.net:995: dial tcp 192.0.2.7:995: connect: connection refused; nothing is lost: the next run goes on from here", true))
	}
	w.must(w.books.Fail("club", []ledger.Failure{
		{Key: ledger.Key{UID: "000012ab4f", ListedSize: 48_100_000}, Reason: ledger.TooLarge, Attempts: 1, Error: "larger than max_message_size"},
		{Key: ledger.Key{UID: "000012ac01", ListedSize: 18_100}, Reason: ledger.Refused, Attempts: 5, Error: `the server said "-ERR message is corrupt"`},
		{Key: ledger.Key{UID: "000012ac02", ListedSize: 3_100}, Reason: ledger.Refused, Attempts: 2, NextAt: w.now.Add(2 * time.Minute), Error: `the server said "-ERR try later"`},
	}))
	w.must(w.books.SetHold("limited", ledger.Hold{Reason: ledger.DailyLimit, Since: w.now, Until: w.now.Add(3 * time.Hour)}))
	w.must(w.books.AddTraffic("limited", w.now.Add(-time.Hour), 1_180_000_000))
	w.must(w.books.RaiseIncident(ledger.Incident{Account: "joe", Kind: "refused", Since: w.now.Add(-40 * time.Minute), Told: w.now.Add(-39 * time.Minute), Text: refused}))
	w.must(w.books.RaiseIncident(ledger.Incident{Account: "club", Kind: "set-aside", Since: w.now.AddDate(0, 0, -3), Text: "2 messages could not be fetched and were set aside"}))
	return w
}

// many is fifty accounts, some with long names.
func many(t *testing.T) *world {
	w := newWorld(t)
	var accounts []string
	for i := range 50 {
		name := fmt.Sprintf("account-%02d", i)
		if i%7 == 3 {
			name = fmt.Sprintf("a.very.long.name.of.an.account_%02d@subdomain.of.example.net", i)
		}
		accounts = append(accounts, name+", host: pop.example.net")
	}
	w.configure(accounts...)
	for i := range w.states {
		w.well(i)
	}
	w.month(3)
	w.month(4)
	w.must(w.books.Finish("account-12", w.now, "account account-12: the server hung up", true))
	for i := range 4 {
		w.states[i].Running, w.states[i].Began = true, w.now
		w.states[i].Progress = fetch.Progress{Phase: fetch.Phase(i), Messages: 3, TotalMessages: 10, Bytes: 100, TotalBytes: 900}
	}
	return w
}

// hostile is mail, and a server, that would like to spoil the page.
func hostile(t *testing.T) *world {
	w := newWorld(t)
	w.configure("joe, host: pop.example.net")
	w.well(0)
	const script = `<script>document.title="owned"</script><img src=x onerror="document.title='owned'"><style>body{display:none}</style></bdi></table>`
	for i, header := range []string{
		"From: " + script + "\nSubject: " + script,
		"From: \"" + strings.Repeat("W", 5000) + "\" <x@example.net>\nSubject: " + strings.Repeat("unbroken", 1250),
		"From: ann\u202e@example.net\nSubject: invoice \u202egpj.exe\u2067 \u2066",
		"From: =?utf-8?Q?=00=07=1B[31m_red?= <x@example.net>\nSubject: =?utf-8?Q?a=0D=0ASet-Cookie:_x=00=1B[2J?=",
		"From: \xff\xfe <\xff@\xfe>\nSubject: =?utf-8?B?/////w==?= =?x-unknown?Q?=FF?= =?utf-8?B?%%?=",
		"Subject: Z\u0300\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308\u0309\u030a\u030b\u030c\u030d\u030e\u030f" + strings.Repeat("\u0310\u0311\u0312\u0313\u0314\u0315", 40) + "algo",
		"From: שלום <shalom@example.net>\nSubject: שלום עולם, a mix 123 מה נשמע",
		"From: 山田太郎 <yamada@example.jp>\nSubject: " + strings.Repeat("日本語の件名", 60),
		"Date: Thu, 01 Jan 1970 00:00:00 +0000\nSubject: \U0001F469\u200d\U0001F469\u200d\U0001F467 family \U0001F389",
		"Date: never\nFrom: \nSubject: ",
		"",
	} {
		w.store(0, w.now.Add(-time.Duration(i)*time.Minute), int64(1000*i), header)
	}
	w.must(w.books.Finish("joe", w.now, "the server said "+script+strings.Repeat("x", 3000)+"\u202e", true))
	w.must(w.books.Fail("joe", []ledger.Failure{{Key: ledger.Key{UID: script + strings.Repeat("u", 70), ListedSize: 1}, Reason: ledger.Refused, Attempts: 5, Error: script}}))
	w.must(w.books.RaiseIncident(ledger.Incident{Account: "joe", Kind: script, Since: w.now, Text: script + strings.Repeat("y", 500)}))
	return w
}

// empty is popfetchd right after it was set up.
func empty(t *testing.T) *world {
	w := newWorld(t)
	w.configure("joe, provider: gmail")
	return w
}
