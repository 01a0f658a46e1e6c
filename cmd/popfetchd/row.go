package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/popfetchd/popfetchd/internal/fetch"
)

// Widths of a row's parts in columns. A bar shorter than the least says
// nothing; one longer than the most only moves the figures apart. Between the
// parts stand two spaces.
const (
	leastBar  = 10
	mostBar   = 40
	mostLabel = 20
	gap       = "  "
)

// style is what the terminal can show.
type style struct {
	unicode bool // bars of lines, ticks; ASCII otherwise
	color   bool
}

const (
	green = "32"
	red   = "31"
)

// paint puts s into a colour, where colours are wanted.
func (s style) paint(color, text string) string {
	if !s.color || text == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// bar is a bar of width columns of which fraction is done.
func (s style) bar(width int, fraction float64) string {
	full, empty := "#", "-"
	if s.unicode {
		full, empty = "━", "─"
	}
	n := min(max(int(fraction*float64(width)), 0), width)
	return s.paint(green, strings.Repeat(full, n)) + strings.Repeat(empty, width-n)
}

// mark tells good from bad at the head of a finished row.
func (s style) mark(good bool) string {
	switch {
	case good && s.unicode:
		return s.paint(green, "✓")
	case good:
		return s.paint(green, "ok")
	case s.unicode:
		return s.paint(red, "✗")
	}
	return s.paint(red, "!!")
}

// row is the line of one account on a terminal.
type row struct {
	label    string
	labels   int // width of the widest label
	progress fetch.Progress
	elapsed  time.Duration // since the first message was asked for
	ended    bool
	good     bool
	ending   string // when it has ended: what came of it
	brief    string // the same where there is no room
}

// draw is the row in at most width columns, without a line end.
func (r row) draw(width int, s style) string {
	labels := min(r.labels, mostLabel, max(width/3, 1))
	label := runewidth.FillRight(cut(r.label, labels), labels)
	width -= labels + len(gap)
	switch {
	case width < 4:
		return label
	case r.ended:
		ending := r.ending
		if runewidth.StringWidth(ending) > width-3 && r.brief != "" {
			ending = r.brief
		}
		return label + gap + s.mark(r.good) + " " + cut(ending, width-3)
	}
	switch r.progress.Phase {
	case fetch.Retrieving, fetch.Deleting:
		return label + gap + r.figures(width, s)
	}
	return label + gap + cut(phaseText(r.progress.Phase), width)
}

// figures is the bar with as many of the figures behind it as fit.
func (r row) figures(width int, s style) string {
	var parts []string
	for _, part := range r.parts() {
		if w := width - len(gap) - runewidth.StringWidth(part); w < leastBar {
			break
		} else {
			width = w
			parts = append(parts, gap+part)
		}
	}
	return s.bar(min(width, mostBar), r.fraction()) + strings.Join(parts, "")
}

// parts are the figures behind the bar, the most telling first. Their widths
// do not change while the run goes on.
func (r row) parts() []string {
	p := r.progress
	total := grouped(int64(p.TotalMessages))
	count := fmt.Sprintf("%*s/%s", len(total), grouped(int64(p.Messages)), total)
	if p.More {
		count += "+" // the server lists a part of its mail only
	}
	if p.Phase == fetch.Deleting {
		return []string{count, "deleting"}
	}
	parts := []string{count, fmt.Sprintf("%6s/%s", size(p.Bytes), size(p.TotalBytes))}
	rate, left := "", ""
	if r.elapsed > 0 && p.Bytes > 0 {
		perSecond := float64(p.Bytes) / r.elapsed.Seconds()
		rate = size(int64(perSecond)) + "/s"
		if rest := p.TotalBytes - p.Bytes; rest > 0 {
			left = clock(time.Duration(float64(rest)/perSecond*float64(time.Second))) + " left"
		}
	}
	return append(parts, fmt.Sprintf("%8s", rate), fmt.Sprintf("%9s", left))
}

// fraction is how much of the job is done, by bytes while there are any.
func (r row) fraction() float64 {
	p := r.progress
	switch {
	case p.Phase == fetch.Retrieving && p.TotalBytes > 0:
		return float64(p.Bytes) / float64(p.TotalBytes)
	case p.TotalMessages > 0:
		return float64(p.Messages) / float64(p.TotalMessages)
	}
	return 0
}

// cut shortens s to width columns.
func cut(s string, width int) string {
	return runewidth.Truncate(s, max(width, 0), "…")
}

// phaseText says what an account is doing in a phase without figures.
func phaseText(p fetch.Phase) string {
	switch p {
	case fetch.Connecting:
		return "connecting"
	case fetch.Listing:
		return "asking for the list of messages"
	case fetch.Retrieving:
		return "fetching"
	case fetch.Deleting:
		return "deleting on the server"
	}
	return "waiting"
}
