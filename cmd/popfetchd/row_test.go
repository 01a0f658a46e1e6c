package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-runewidth"
	"pgregory.net/rapid"

	"github.com/popfetchd/popfetchd/internal/fetch"
)

func TestRow(t *testing.T) {
	running := row{
		label: "gmail", labels: 7, elapsed: 2 * time.Second,
		progress: fetch.Progress{Phase: fetch.Retrieving, Messages: 120, TotalMessages: 300, Bytes: 23_000_000, TotalBytes: 46_000_000},
	}
	deleting := running
	deleting.progress = fetch.Progress{Phase: fetch.Deleting, Messages: 150, TotalMessages: 300}
	window := running
	window.progress.More = true
	listing := running
	listing.progress = fetch.Progress{Phase: fetch.Listing}
	done := running
	done.ended, done.good, done.ending = true, true, "300 messages stored, 46 MB in 4.0 s"
	done.brief = "300 stored, 46 MB"
	failed := done
	failed.good, failed.ending = false, "failed while logging in to pop.gmail.com:995"
	failed.brief = "failed"

	for _, test := range []struct {
		name  string
		row   row
		width int
		want  string
	}{
		{"wide", running, 120, "gmail    ━━━━━━━━━━━━━━━━━━━━────────────────────  120/300   23 MB/46 MB   12 MB/s  0:02 left"},
		{"usual", running, 79, "gmail    ━━━━━━━━━━━━━─────────────  120/300   23 MB/46 MB   12 MB/s  0:02 left"},
		{"half", running, 39, "gmail    ━━━━━━━━━━───────────  120/300"},
		{"tiny", running, 12, "gma…  ━━━───"},
		{"window", window, 50, "gmail    ━━━━━━━━─────────  120/300+   23 MB/46 MB"},
		{"deleting", deleting, 60, "gmail    ━━━━━━━━━━━━━━━━────────────────  150/300  deleting"},
		{"listing", listing, 79, "gmail    asking for the list of messages"},
		{"done", done, 79, "gmail    ✓ 300 messages stored, 46 MB in 4.0 s"},
		{"done, narrow", done, 39, "gmail    ✓ 300 stored, 46 MB"},
		{"failed", failed, 79, "gmail    ✗ failed while logging in to pop.gmail.com:995"},
		{"failed, narrow", failed, 39, "gmail    ✗ failed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.row.draw(test.width, style{unicode: true}); got != test.want {
				t.Errorf("got\n%s|\nwant\n%s|", got, test.want)
			}
		})
	}
}

// A row never takes more columns than there are, whatever the figures; without
// colour it holds no escape sequence, and without Unicode only ASCII.
func TestRowFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := row{
			label:   rapid.StringMatching(`[a-zé你]{1,30}`).Draw(t, "label"),
			labels:  rapid.IntRange(1, 40).Draw(t, "labels"),
			elapsed: time.Duration(rapid.Int64Range(0, 1e15).Draw(t, "elapsed")),
			ended:   rapid.Bool().Draw(t, "ended"),
			good:    rapid.Bool().Draw(t, "good"),
			ending:  rapid.StringMatching(`[a-z ]{0,200}`).Draw(t, "ending"),
			progress: fetch.Progress{
				Phase:         fetch.Phase(rapid.IntRange(-1, 5).Draw(t, "phase")),
				Messages:      rapid.IntRange(0, 3_000_000).Draw(t, "messages"),
				TotalMessages: rapid.IntRange(0, 2_000_000).Draw(t, "total"),
				Bytes:         rapid.Int64Range(0, 1e15).Draw(t, "bytes"),
				TotalBytes:    rapid.Int64Range(0, 1e15).Draw(t, "totalBytes"),
				More:          rapid.Bool().Draw(t, "more"),
			},
		}
		width := rapid.IntRange(1, 200).Draw(t, "width")
		s := r.draw(width, style{unicode: true})
		if w := runewidth.StringWidth(s); w > width {
			t.Fatalf("%d columns of %d: %q", w, width, s)
		}
		if strings.ContainsRune(s, '\x1b') {
			t.Fatalf("escape sequence without colour: %q", s)
		}
		coloured := colours.ReplaceAllString(r.draw(width, style{unicode: true, color: true}), "")
		if coloured != s {
			t.Fatalf("colour changes the text: %q, %q", coloured, s)
		}
	})
}

func TestBriefEnding(t *testing.T) {
	later := time.Date(2100, 3, 4, 5, 6, 0, 0, time.Local)
	for want, r := range map[string]fetch.Report{
		"nothing new":                        {Listed: 3},
		"1,200 stored, 46 MB; 1,200 deleted": {Stored: 1200, Bytes: 46_000_000, Deleted: 1200},
		"3 stored, 9 B; failed":              {Stored: 3, Bytes: 9, Err: errors.New("no")},
		"failed":                             {Err: errors.New("no")},
		"not before 4 Mar 05:06":             {Held: true, NotBefore: later, Err: errors.New("no")},
		"3 stored, 9 B; more at 4 Mar 05:06": {Stored: 3, Bytes: 9, Left: 7, Skipped: 7, LimitedUntil: later},
	} {
		if got := briefEnding(r); got != want {
			t.Errorf("briefEnding(%+v) = %q, want %q", r, got, want)
		}
	}
}

func TestEnding(t *testing.T) {
	later := time.Date(2100, 3, 4, 5, 6, 0, 0, time.Local)
	for want, r := range map[string]fetch.Report{
		"nothing new; no messages on the server":                            {},
		"nothing new among 1 message":                                       {Listed: 1},
		"1,200 messages stored, 46 MB in 2.1 s":                             {Listed: 1300, New: 1200, Stored: 1200, Bytes: 46_000_000, Took: 2100 * time.Millisecond},
		"1 message stored, 5 B in 0.0 s; 7 deleted on the server":           {Listed: 9, New: 1, Stored: 1, Bytes: 5, Deleted: 7},
		"nothing new among 9 messages; 2 still to be deleted there":         {Listed: 9, PendingDelete: 2},
		"none stored; 1 left there; 2 failed":                               {Listed: 9, New: 2, Skipped: 1, Failed: 2},
		`failed while logging in as \x1b[2J`:                                {Listed: 9, Err: &fetch.Error{Account: "x", Doing: "logging in as \x1b[2J", Err: errors.New("no")}},
		"2 messages stored, 9 B in 1.0 s; then failed":                      {Stored: 2, Bytes: 9, Took: time.Second, Err: errors.New("no")},
		"nothing tried: not to be logged in to before 4 Mar 05:06":          {Held: true, NotBefore: later, Err: errors.New("no")},
		"nothing tried: the daily limit is reached, goes on at 4 Mar 05:06": {Held: true, NotBefore: later, LimitedUntil: later},
		"2 messages stored, 9 B in 1.0 s; 1 left there; the daily limit is reached with 7 messages left, goes on at 4 Mar 05:06": {
			Stored: 2, Bytes: 9, Took: time.Second, Skipped: 8, Left: 7, LimitedUntil: later},
	} {
		if got := ending(r); got != want {
			t.Errorf("ending(%+v) = %q, want %q", r, got, want)
		}
	}
}
