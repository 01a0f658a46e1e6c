package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// table is the figures in Markdown. The ratio says how many times as long as
// popfetchd a program took, by their medians.
func table(results []result) string {
	var b strings.Builder
	b.WriteString("| task | program | median s | best s | runs | µs/message | ÷ popfetchd | peak RSS MB |\n")
	b.WriteString("|---|---|--:|--:|--:|--:|--:|--:|\n")
	task := ""
	for _, r := range results {
		title := r.job.title
		if title == task {
			title = ""
		} else {
			task = title
		}
		if r.failed != nil {
			fmt.Fprintf(&b, "| %s | %s | failed | | | | | |\n", title, r.program)
			continue
		}
		took := median(r.samples)
		fmt.Fprintf(&b, "| %s | %s | %.3f | %.3f | %d | %s | %s | %s |\n", title, r.program,
			took.Seconds(), best(r.samples).Seconds(), len(r.samples),
			each(took, r.job.mail.count), ratio(r, results), peak(r.samples))
	}
	return b.String()
}

func durations(samples []sample) []time.Duration {
	var all []time.Duration
	for _, s := range samples {
		all = append(all, s.Took)
	}
	slices.Sort(all)
	return all
}

func best(samples []sample) time.Duration { return durations(samples)[0] }

// median is the middle duration, or the mean of the two in the middle.
func median(samples []sample) time.Duration {
	all := durations(samples)
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2
}

// each is the time for one of many messages, in microseconds.
func each(took time.Duration, count int) string {
	if count == 1 {
		return "–"
	}
	return fmt.Sprintf("%.0f", float64(took.Microseconds())/float64(count))
}

func ratio(r result, results []result) string {
	for _, other := range results {
		if other.program == "popfetchd" && other.job == r.job && other.failed == nil {
			return fmt.Sprintf("%.2f", median(r.samples).Seconds()/median(other.samples).Seconds())
		}
	}
	return "–"
}

func peak(samples []sample) string {
	var most int64
	for _, s := range samples {
		most = max(most, s.Peak)
	}
	if most == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f", float64(most)/1e6)
}
