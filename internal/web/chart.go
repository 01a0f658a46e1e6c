package web

import (
	"strconv"
	"time"
)

// A chart is drawn here, as SVG without a word of text in it: so it can be stretched to any width, and what is to be read stands
// around it in HTML. Its units are those of the viewBox.
const (
	chartDays   = 30
	chartWidth  = 300
	chartHeight = 100
	barShare    = 0.72 // of a day's width
)

// figure is one day.
type figure struct {
	Day      time.Time
	Messages int
	Bytes    int64
}

// chart is the bars of one kind of figures, a day each.
type chart struct {
	Title string
	Total string // of all days
	Peak  string // of the highest day, which is what the top of the chart stands for
	Label string // for those who do not see it
	Bars  []bar
	Empty bool
}

// bar is a day's: Left and Width are of its column, X and W of what is drawn in it.
type bar struct {
	Left, Width, X, Y, W, H string
	Text                    string
}

// newChart draws what value gives for each day; words say it for people.
func newChart(title string, days []figure, value func(figure) int64, words func(int64) string) chart {
	var total, peak int64
	highest := figure{}
	for _, d := range days {
		v := value(d)
		total += v
		if v > peak {
			peak, highest = v, d
		}
	}
	c := chart{Title: title, Total: words(total), Peak: words(peak), Empty: peak == 0}
	c.Label = title + ", the last " + strconv.Itoa(len(days)) + " days: " + words(total) + " in all"
	if !c.Empty {
		c.Label += ", most on " + highest.Day.Format("2 January") + " with " + words(peak)
	}
	width := float64(chartWidth) / float64(len(days))
	for i, d := range days {
		v := value(d)
		h := 0.0
		if v > 0 {
			h = max(float64(v)/float64(peak)*chartHeight, 1.5) // a little mail is not nothing
		}
		left := float64(i) * width
		c.Bars = append(c.Bars, bar{
			Left: units(left), Width: units(width),
			X: units(left + width*(1-barShare)/2), W: units(width * barShare),
			Y: units(chartHeight - h), H: units(h),
			Text: d.Day.Format("Mon 2 Jan") + ": " + words(v),
		})
	}
	return c
}

// units is a length in a chart.
func units(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }
