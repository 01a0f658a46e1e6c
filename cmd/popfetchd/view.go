package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
)

// view shows visits while they go on: nothing, lines, or bars on a terminal.
// Accounts are known by their place in the list it was made for.
type view interface {
	watch(i int) func(fetch.Progress) // nil when nobody looks
	ended(i int, r fetch.Report)
	close()                           // after the last visit
	summaries() bool                  // does it want a line on stdout for each account at the end?
	logTo(stderr io.Writer) io.Writer // where log lines go meanwhile
}

// newView picks the view for the flags and the terminal.
func (a *app) newView(accounts []config.Account) view {
	switch {
	case a.json:
		return silent{}
	case a.verbose:
		return newLines(a.stdout, accounts)
	}
	if f, ok := terminal(a.stdout); ok {
		return newBars(f, accounts, terminalStyle())
	}
	return silent{}
}

// terminal is the terminal behind w, if that is what stands there and it can
// move its cursor.
func terminal(w io.Writer) (*os.File, bool) {
	if o, ok := w.(*output); ok {
		w = o.w
	}
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" {
		return nil, false
	}
	return f, true
}

// terminalStyle judges the terminal by the environment: https://no-color.org,
// and the character set of the locale.
func terminalStyle() style {
	locale := ""
	for _, key := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale = os.Getenv(key); locale != "" {
			break
		}
	}
	locale = strings.ToUpper(locale)
	return style{
		unicode: strings.Contains(locale, "UTF-8") || strings.Contains(locale, "UTF8"),
		color:   os.Getenv("NO_COLOR") == "",
	}
}

// silent shows nothing: cron's view.
type silent struct{}

func (silent) watch(int) func(fetch.Progress)   { return nil }
func (silent) ended(int, fetch.Report)          {}
func (silent) close()                           {}
func (silent) summaries() bool                  { return false }
func (silent) logTo(stderr io.Writer) io.Writer { return stderr }

// lines prints a line for each step of each account.
type lines struct {
	mu       sync.Mutex
	out      io.Writer
	accounts []config.Account
}

func newLines(out io.Writer, accounts []config.Account) *lines {
	return &lines{out: out, accounts: accounts}
}

func (l *lines) watch(i int) func(fetch.Progress) {
	var last fetch.Phase
	seen := false
	return func(p fetch.Progress) {
		if seen && p.Phase == last {
			return
		}
		seen, last = true, p.Phase
		if text := l.step(i, p); text != "" {
			l.mu.Lock()
			defer l.mu.Unlock()
			fmt.Fprintf(l.out, "%s: %s\n", l.accounts[i].Name, text)
		}
	}
}

// step is the line for the beginning of a phase, "" for none.
func (l *lines) step(i int, p fetch.Progress) string {
	switch p.Phase {
	case fetch.Connecting:
		return "connecting to " + address(l.accounts[i])
	case fetch.Listing:
		return "logged in, asking for the list of messages"
	case fetch.Retrieving:
		if p.TotalMessages == 0 {
			return ""
		}
		more := ""
		if p.More {
			more = "; more may follow"
		}
		return fmt.Sprintf("fetching %s, %s%s", plural(p.TotalMessages, "message"), size(p.TotalBytes), more)
	case fetch.Deleting:
		if p.TotalMessages == 0 {
			return ""
		}
		return fmt.Sprintf("deleting %s on the server", plural(p.TotalMessages, "message"))
	}
	return ""
}

func (l *lines) ended(int, fetch.Report)          {}
func (l *lines) close()                           {}
func (l *lines) summaries() bool                  { return true }
func (l *lines) logTo(stderr io.Writer) io.Writer { return stderr }
