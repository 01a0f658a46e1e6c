package main

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/mattn/go-runewidth"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
)

// refresh is how often the bars are drawn anew: often enough to look alive,
// seldom enough to cost nothing over a slow line.
const refresh = 120 * time.Millisecond

// bars shows a row an account on a terminal; mpb places and refreshes the rows.
type bars struct {
	container *mpb.Progress
	style     style
	handles   []*mpb.Bar
	accounts  []config.Account

	mu    sync.Mutex
	rows  []row
	began []time.Time // when an account's first message was asked for
}

func newBars(out *os.File, accounts []config.Account, s style) *bars {
	b := &bars{
		container: mpb.New(mpb.WithOutput(out), mpb.WithRefreshRate(refresh)),
		style:     s,
		accounts:  accounts,
		rows:      make([]row, len(accounts)),
		began:     make([]time.Time, len(accounts)),
	}
	widest := 0
	for _, account := range accounts {
		widest = max(widest, runewidth.StringWidth(account.Name))
	}
	for i, account := range accounts {
		b.rows[i] = row{label: account.Name, labels: widest, progress: fetch.Progress{Phase: -1}}
		fill := mpb.BarFillerFunc(func(w io.Writer, stat decor.Statistics) error {
			_, err := io.WriteString(w, b.draw(i, stat.AvailableWidth))
			return err
		})
		b.handles = append(b.handles, b.container.MustAdd(0, fill, mpb.BarFillerTrim(), mpb.BarPriority(i)))
	}
	return b
}

// draw is the row of account i; one column stays free, as some terminals wrap
// a full line.
func (b *bars) draw(i, width int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.rows[i]
	if !b.began[i].IsZero() {
		r.elapsed = time.Since(b.began[i])
	}
	return r.draw(width-1, b.style)
}

func (b *bars) watch(i int) func(fetch.Progress) {
	return func(p fetch.Progress) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.rows[i].progress = p
		if p.Phase == fetch.Retrieving && b.began[i].IsZero() {
			b.began[i] = time.Now()
		}
	}
}

func (b *bars) ended(i int, r fetch.Report) {
	b.mu.Lock()
	row := &b.rows[i]
	row.ended, row.good = true, r.Err == nil && r.Failed == 0
	row.ending, row.brief = endingAt(b.accounts[i], r), briefEnding(r)
	b.mu.Unlock()
	b.handles[i].SetTotal(1, true)
}

// close draws the rows a last time and leaves them on the screen.
func (b *bars) close() { b.container.Wait() }

func (b *bars) summaries() bool { return false }

// logTo puts log lines above the bars while both share the terminal.
func (b *bars) logTo(stderr io.Writer) io.Writer {
	if _, ok := terminal(stderr); ok {
		return aboveBars{b.container, stderr}
	}
	return stderr
}

// aboveBars writes above the bars as long as they are drawn.
type aboveBars struct {
	container *mpb.Progress
	stderr    io.Writer
}

func (w aboveBars) Write(line []byte) (int, error) {
	if n, err := w.container.Write(line); err == nil {
		return n, nil
	}
	return w.stderr.Write(line)
}
