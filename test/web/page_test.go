package web

import (
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

var pictures = flag.String("pictures", "", "folder to put pictures of the status page into, to be looked at")

// houses are what the page is shown of.
var houses = map[string]func(*testing.T) *world{"few": few, "many": many, "hostile": hostile, "failing": failing, "empty": empty}

// On a phone and on a wide screen, light and dark: all of the page is within its width, nothing is cut off beside it, text stands out
// from what is behind it, and the browser has nothing to complain of.
func TestPageFitsItsScreen(t *testing.T) {
	b := startBrowser(t)
	for name, house := range houses {
		address := house(t).serve()
		for _, width := range []int64{375, 800, 1440} {
			for _, dark := range []bool{false, true} {
				if dark && width == 800 {
					continue
				}
				shown := fmt.Sprintf("%s-%d-dark=%t", name, width, dark)
				b.looks(width, dark)
				b.do(chromedp.Navigate(address))
				if got := read[int64](b, "document.documentElement.scrollWidth"); got > width {
					t.Errorf("%s: the page is %d pixels wide", shown, got)
				}
				for _, out := range read[[]string](b, beyond) {
					t.Errorf("%s: beyond the edge: %s", shown, out)
				}
				for _, faint := range read[[]string](b, contrasts) {
					t.Errorf("%s: %s", shown, faint)
				}
				if *pictures != "" {
					b.picture(filepath.Join(*pictures, shown+".png"))
				}
			}
		}
	}
	b.check()
}

// beyond lists the elements that are not within the width of the window.
const beyond = `[...document.querySelectorAll("body *")].filter(e => {
	const r = e.getBoundingClientRect(), style = getComputedStyle(e);
	return r.width > 1 && r.height > 1 && style.clipPath === "none" && (r.right > innerWidth + .5 || r.left < -.5) && !e.closest("thead, td bdi");
}).map(e => e.tagName + "." + e.className + " " + e.textContent.slice(0, 60))`

// contrasts lists text of which the contrast is less than 4.5 (WCAG 2.1, 1.4.3).
const contrasts = `(() => {
	const parse = text => (text.match(/[\d.]+/g) || []).map(Number);
	const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
	const found = new Set();
	for (const e of document.querySelectorAll("body *")) {
		if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || e.closest("svg") || !e.checkVisibility()) continue;
		let behind = e;
		while (behind !== document.documentElement && (parse(getComputedStyle(behind).backgroundColor)[3] ?? 1) === 0) behind = behind.parentElement;
		const a = light(parse(getComputedStyle(e).color)), b = light(parse(getComputedStyle(behind).backgroundColor));
		const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
		if (contrast < 4.5) found.add("contrast " + contrast.toFixed(2) + " of " + e.tagName + "." + e.className);
	}
	return [...found];
})()`

// Mail cannot do anything to the page: it is text there, whatever it holds.
func TestHostileMailIsText(t *testing.T) {
	b := startBrowser(t)
	b.looks(1440, false)
	b.do(chromedp.Navigate(hostile(t).serve()))
	if title := read[string](b, "document.title"); !strings.HasSuffix(title, "– popfetchd") {
		t.Errorf("the title is %q", title)
	}
	if n := read[int64](b, "document.querySelectorAll('main script, main style, main img').length"); n != 0 {
		t.Errorf("%d elements came with the mail", n)
	}
	if n := read[int64](b, "document.querySelectorAll('.mail tbody tr').length"); n != 11 {
		t.Errorf("%d messages are shown, want 11", n)
	}
	text := read[string](b, "document.querySelector('main').textContent")
	if !strings.Contains(text, `<script>document.title="owned"</script>`) {
		t.Error("the text of the subject is not shown")
	}
	if strings.ContainsAny(text, "\x00\x1b\u202e\u2066\u2067") {
		t.Error("a control character is shown")
	}
	for _, height := range read[[]float64](b, "[...document.querySelectorAll('.mail tbody tr')].map(e => e.getBoundingClientRect().height)") {
		if height > 60 {
			t.Errorf("a message is %f pixels high", height)
		}
	}
	b.check()
}

// All there is to be read can be read without script, and every form works.
func TestPageWithoutScript(t *testing.T) {
	b := startBrowser(t)
	b.withoutScript()
	b.looks(375, false)
	b.do(chromedp.Navigate(failing(t).serve()))
	text, err := chromedp.Run(b.ctx, chromedp.Text(chromedp.CSS("body")))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"3 of 5 accounts need attention", "Needs your attention", "left alone until", "The server refuses the login", "The last 4 runs failed", "connection refused", "not fetched yet",
		"goes on at", "3 not fetched", "Next run", "Invoice 2026-1184", "Встреча", "Einladung zum Gartenfest", "Ann Karlsson", "Messages a day", "load again every 30 seconds"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not shown", want)
		}
	}
	b.do(chromedp.Click(chromedp.CSS("#account-club summary")))
	aside, err := chromedp.Run(b.ctx, chromedp.Text(chromedp.CSS("#account-club .aside")))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"000012ab4f", "too large", "message is corrupt", "set aside", "tried again"} {
		if !strings.Contains(aside, want) {
			t.Errorf("of the messages that were set aside %q is not shown", want)
		}
	}
	b.do(chromedp.Click(chromedp.CSS("#account-club form button")))
	b.do(chromedp.WaitVisible(chromedp.CSS("#account-club:target")))
	b.do(chromedp.Click(chromedp.CSS(".by-hand a")))
	b.do(chromedp.WaitVisible(chromedp.CSS(".by-hand a[href='./']")))
	b.check()
}
