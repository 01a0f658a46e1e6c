package web

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

const chromium = "/usr/bin/chromium"

// browser is a Chromium that reaches this machine only.
type browser struct {
	*testing.T
	ctx  context.Context
	seen *complaints
}

// startBrowser starts one, which ends with the test.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	if _, err := os.Stat(chromium); err != nil {
		t.Fatal("install chromium (apt install chromium): ", err)
	}
	home := t.TempDir()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium),
		chromedp.NoSandbox, // it cannot have one as root, as which CI runs; all it shows is our own
		chromedp.UserDataDir(filepath.Join(home, "profile")),
		chromedp.Env("HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-domain-reliability", true),
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
		chromedp.Flag("no-proxy-server", true),
	)
	deadline, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	allocator, stop := chromedp.NewExecAllocator(deadline, options...)
	ctx, _ := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil { // waits until it writes into its folder no more
			t.Error("ending chromium: ", err)
		}
		stop()
		cancel()
	})
	b := &browser{T: t, ctx: ctx, seen: &complaints{}}
	if err := chromedp.Listen(ctx, b.seen.note); err != nil {
		t.Fatal("starting chromium: ", err)
	}
	call(b, network.Enable, network.EnableParams{})
	call(b, log.Enable, cdp.Empty{})
	return b
}

func (b *browser) do(action chromedp.Action[chromedp.Void]) {
	b.Helper()
	if err := chromedp.Do(b.ctx, action); err != nil {
		b.Fatal(err)
	}
}

// read returns what a script in the page says.
func read[R any](b *browser, script string) R {
	b.Helper()
	result, err := chromedp.Run(b.ctx, chromedp.Evaluate[R](script))
	if err != nil {
		b.Fatalf("%s: %v", script, err)
	}
	return result
}

// until waits until a script in the page says true. The browser's own deadline ends it.
func (b *browser) until(script string) {
	b.Helper()
	wait := "new Promise(done => { const look = () => { (" + script + ") ? done(true) : setTimeout(look, 50) }; look() })"
	if _, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](wait, chromedp.EvalAwaitPromise)); err != nil {
		b.Fatalf("waiting for %s: %v", script, err)
	}
}

func call[P, R any](b *browser, command cdp.Command[P, R], params P) {
	b.Helper()
	if _, err := chromedp.Call(b.ctx, command, params); err != nil {
		b.Fatal(err)
	}
}

// looks sets the width of the window, and whether the system is dark.
func (b *browser) looks(width int64, dark bool) {
	b.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1, Mobile: width < 600})
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
}

func (b *browser) withoutScript() {
	b.Helper()
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
}

// picture writes what the page looks like, as a whole.
func (b *browser) picture(path string) {
	b.Helper()
	size := read[[]float64](b, "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
	shot, err := chromedp.Call(b.ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{
		CaptureBeyondViewport: new(true), Clip: &page.Viewport{Width: size[0], Height: size[1], Scale: 1},
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(path, shot.Data, 0o644); err != nil {
		b.Fatal(err)
	}
}

// complaints are what a browser found wrong with pages, and whom else it asked.
type complaints struct {
	mu   sync.Mutex
	said []string
}

func (s *complaints) note(event any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err == nil && u.Host != "" && u.Hostname() != "127.0.0.1" {
			s.said = append(s.said, "asked "+e.Request.URL)
		}
	case *log.EventEntryAdded:
		s.said = append(s.said, string(e.Entry.Level)+": "+e.Entry.Text)
	}
}

// check holds that the browser had nothing to complain of, violations of the content policy among that.
func (b *browser) check() {
	b.Helper()
	b.seen.mu.Lock()
	defer b.seen.mu.Unlock()
	for _, text := range b.seen.said {
		b.Error("in the page: ", text)
	}
	b.seen.said = nil
}
