// Package oauth holds the test of signing in with a real browser: Chromium from Debian walks through the consent page
// and the redirect to popfetchd's loopback.
package oauth

import (
	"context"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/popfetchd/popfetchd/internal/oauth"
	"github.com/popfetchd/popfetchd/internal/oauthsim"
)

const (
	chromium  = "/usr/bin/chromium"
	joe       = "joe@gmail.com"
	mailScope = "https://mail.google.com/"
)

func TestSignInWithChromium(t *testing.T) {
	sim, err := oauthsim.Start("127.0.0.1:0", oauthsim.Config{ClientID: "popfetchd-test", ClientSecret: "installed", Username: joe})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	browser, seen := startChromium(t)

	address := make(chan string, 1)
	type result struct {
		token oauth.Token
		err   error
	}
	came := make(chan result, 1)
	go func() {
		token, err := oauth.Browser{
			Client: oauth.Client{
				ID: "popfetchd-test", Secret: "installed", AuthURL: sim.URL() + "/auth", TokenURL: sim.URL() + "/token", Scopes: []string{mailScope},
			},
			LoginHint: joe,
			Show:      func(url string) { address <- url },
		}.SignIn(browser)
		came <- result{token, err}
	}()

	do(t, browser, chromedp.Navigate(<-address))
	asked := read(t, browser, chromedp.Text(chromedp.CSS("main")))
	do(t, browser, chromedp.Click(chromedp.CSS("#allow")))
	do(t, browser, chromedp.WaitVisible(chromedp.CSS("footer"))) // popfetchd's page has one, the consent page has not
	title := read(t, browser, chromedp.Text(chromedp.CSS("h1")))
	text := read(t, browser, chromedp.Text(chromedp.CSS("main")))
	final := read(t, browser, chromedp.Location())
	border := read(t, browser, chromedp.Evaluate[string]("getComputedStyle(document.querySelector('main')).borderTopWidth"))
	got := <-came
	if got.err != nil || !sim.Valid(joe, got.token.Access) || got.token.Refresh == "" {
		t.Errorf("not signed in: %v", got.err)
	}
	if !strings.Contains(asked, joe) || !strings.Contains(asked, mailScope) {
		t.Errorf("the consent page does not say who allows what: %q", asked)
	}
	if !strings.Contains(title, "Signed in") || !strings.Contains(text, "You can close this window") {
		t.Errorf("in the end the browser showed %q", text)
	}
	if u, err := url.Parse(final); err != nil || u.Hostname() != "127.0.0.1" || !u.Query().Has("code") {
		t.Errorf("it ended at %q", final)
	}
	if border != "4px" {
		t.Errorf("the page has no style: its border is %q", border)
	}
	seen.check(t)
}

// startChromium starts a browser that reaches the loopback only. It ends with the test.
func startChromium(t *testing.T) (context.Context, *traffic) {
	t.Helper()
	if _, err := os.Stat(chromium); err != nil {
		t.Fatal("install chromium (apt install chromium): ", err)
	}
	home := t.TempDir()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium),
		chromedp.NoSandbox, // it cannot have one as root, as which CI runs; all it shows is our own
		chromedp.UserDataDir(home+"/profile"),
		chromedp.Env("HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-domain-reliability", true),
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
		chromedp.Flag("no-proxy-server", true),
	)
	deadline, cancel := context.WithTimeout(context.Background(), time.Minute)
	allocator, stop := chromedp.NewExecAllocator(deadline, options...)
	browser, _ := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		if err := chromedp.Cancel(browser); err != nil { // waits until it writes into its folder no more
			t.Error("ending chromium: ", err)
		}
		stop()
		cancel()
	})
	seen := &traffic{}
	if err := chromedp.Listen(browser, seen.note); err != nil {
		t.Fatal("starting chromium: ", err)
	}
	call(t, browser, network.Enable, network.EnableParams{})
	call(t, browser, log.Enable, cdp.Empty{})
	return browser, seen
}

func do(t *testing.T, browser context.Context, action chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(browser, action); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, browser context.Context, action chromedp.Action[string]) string {
	t.Helper()
	text, err := chromedp.Run(browser, action)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func call[P, R any](t *testing.T, browser context.Context, command cdp.Command[P, R], params P) {
	t.Helper()
	if _, err := chromedp.Call(browser, command, params); err != nil {
		t.Fatal(err)
	}
}

// traffic is what a browser asked for, and what it complained of.
type traffic struct {
	mu       sync.Mutex
	hosts    []string
	problems []string
}

func (s *traffic) note(event any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err == nil && u.Host != "" {
			s.hosts = append(s.hosts, u.Hostname())
		}
	case *log.EventEntryAdded:
		s.problems = append(s.problems, string(e.Entry.Level)+": "+e.Entry.Text)
	}
}

// check says what was asked of others than this machine, and what went wrong in the pages.
func (s *traffic) check(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.hosts) < 3 {
		t.Errorf("the browser asked %q only: consent page, its form and the redirect are three", s.hosts)
	}
	for _, host := range s.hosts {
		if host != "127.0.0.1" {
			t.Errorf("the browser asked %s", host)
		}
	}
	for _, problem := range s.problems {
		t.Error("in the page: ", problem)
	}
}
