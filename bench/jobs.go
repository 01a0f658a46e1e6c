package main

import (
	"fmt"
	"slices"
	"time"
)

// Where a program puts the mail.
const (
	maildir = "Maildir"
	mbox    = "mbox"
)

// job is one comparison: the same task for each program.
type job struct {
	scenario string
	title    string
	mail     mailbox
	store    string
	delay    time.Duration // round trip of the line
	slowDisk bool          // flushes take flushDelay longer
	poll     bool          // count not the first run but later ones, which find nothing new
}

const (
	roundTrip  = 40 * time.Millisecond
	flushDelay = 5 * time.Millisecond
)

// jobs are all comparisons, in the order of the table.
func jobs(scale int) []job {
	bulk := mailbox{user: "bulk", count: 20_000 / scale, size: 4700}
	few := mailbox{user: "few", count: 2_000 / scale, size: 4700}
	larger := mailbox{user: "larger", count: 2_000 / scale, size: 17_000}
	known := mailbox{user: "known", count: 100_000 / scale, size: 400}
	huge := mailbox{user: "huge", count: 1, size: 256_000_000 / scale}
	all := []job{
		{scenario: "maildir", mail: bulk, store: maildir},
		{scenario: "mbox", mail: bulk, store: mbox},
		{scenario: "fsync", mail: few, store: maildir, slowDisk: true},
		{scenario: "fsync", mail: few, store: mbox, slowDisk: true},
		{scenario: "delay", mail: larger, store: maildir, delay: roundTrip},
		{scenario: "poll", mail: known, store: maildir, poll: true},
		{scenario: "memory", mail: huge, store: maildir},
		{scenario: "memory", mail: huge, store: mbox},
	}
	for i := range all {
		all[i].title = all[i].describe()
	}
	return all
}

func (j job) describe() string {
	if j.poll {
		return fmt.Sprintf("poll of %d known messages", j.mail.count)
	}
	size := fmt.Sprintf("%.3g KB", float64(j.mail.size)/1e3)
	if j.mail.size >= 1e6 {
		size = fmt.Sprintf("%.3g MB", float64(j.mail.size)/1e6)
	}
	title := fmt.Sprintf("%d × %s → %s", j.mail.count, size, j.store)
	if j.slowDisk {
		title += fmt.Sprintf(", flushes %v slower", flushDelay)
	}
	if j.delay > 0 {
		title += fmt.Sprintf(", %v round trip", j.delay)
	}
	return title
}

func scenarioNames() []string {
	var names []string
	for _, j := range jobs(1) {
		names = append(names, j.scenario)
	}
	return slices.Compact(names)
}
