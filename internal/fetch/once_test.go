package fetch_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/internal/popsim/sample"
)

// The main job: everything arrives once and unharmed, a second run fetches nothing, and with policy delete the server
// ends empty.
func TestEverythingOnce(t *testing.T) {
	samples := slices.Collect(sample.Messages())
	for _, test := range []struct {
		box, policy string
		pipelining  bool
		messages    []popsim.Message
	}{
		{"maildir: mail", "keep", true, samples},
		{"maildir: mail", "delete", false, sample.Nasty()},
		{"mbox: mail", "keep", false, sample.Nasty()},
		{"mbox: mail", "delete", true, samples},
	} {
		t.Run(test.box+" "+test.policy, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, popsim.Config{Pipelining: test.pipelining}, test.box, "policy: "+test.policy)
			for _, m := range test.messages {
				w.account.Deliver(m)
			}
			n := len(test.messages)
			if test.policy == "keep" {
				w.succeed(fetch.Report{Listed: n, New: n, Stored: n})
				w.succeed(fetch.Report{Listed: n})
			} else {
				w.succeed(fetch.Report{Listed: n, New: n, Stored: n, Deleted: n})
				w.left()
				w.succeed(fetch.Report{})
			}
			w.holds(test.messages...)
			w.quits(2)
			for _, m := range test.messages {
				if got := w.account.Retrieved(m.UID); got != 1 {
					t.Errorf("%s was sent %d times", m.UID, got)
				}
			}
		})
	}
}

func TestReportCountsBytesAndSessions(t *testing.T) {
	w := newWorld(t, popsim.Config{})
	m := w.deliver("a", "five\r\n.dots")
	r := w.run()
	if r.Account != "joe" || r.Bytes != int64(len(m.Stored())) || r.Sessions != 1 {
		t.Errorf("report: %+v, want %d bytes", r, len(m.Stored()))
	}
}

// Progress ends where it promised to.
func TestProgress(t *testing.T) {
	w := newWorld(t, popsim.Config{}, "policy: delete")
	w.deliverN(5)
	var octets int64
	for _, m := range w.account.Messages() {
		octets += m.Octets()
	}
	var seen []fetch.Phase
	var last fetch.Progress
	w.check(w.fetcher.Run(t.Context(), w.config(), func(p fetch.Progress) {
		if p.Phase < last.Phase || p.Messages < last.Messages || p.Bytes < last.Bytes {
			t.Errorf("from %+v back to %+v", last, p)
		}
		if len(seen) == 0 || seen[len(seen)-1] != p.Phase {
			seen = append(seen, p.Phase)
		}
		last = p
	}))
	if want := []fetch.Phase{fetch.Connecting, fetch.Listing, fetch.Retrieving, fetch.Deleting, fetch.Done}; !slices.Equal(seen, want) {
		t.Errorf("phases %v, want %v", seen, want)
	}
	if want := (fetch.Progress{Phase: fetch.Done, Messages: 5, TotalMessages: 5, Bytes: octets, TotalBytes: octets, Sessions: 1}); last != want {
		t.Errorf("ended with %+v, want %+v", last, want)
	}
}

// Over several sessions progress goes on from where it was.
func TestProgressOverSessions(t *testing.T) {
	w := newWorld(t, popsim.Config{ListedSize: func(popsim.Message) int64 { return 100 }}, "max_message_size: 1KB")
	for _, size := range []int{10, 2000, 20, 3000, 30} {
		w.deliver(fmt.Sprint(size), strings.Repeat("x", size))
	}
	var last fetch.Progress
	w.check(w.fetcher.Run(t.Context(), w.config(), func(p fetch.Progress) {
		if p.Messages < last.Messages || p.Bytes < last.Bytes || p.Messages > p.TotalMessages {
			t.Errorf("from %+v to %+v", last, p)
		}
		last = p
	}))
	if last.Messages != 3 || last.TotalMessages != 3 {
		t.Errorf("ended with %+v", last)
	}
}

// More than one batch: the commits of full batches and the last, smaller one all count.
func TestManyBatches(t *testing.T) {
	boxes(t, func(t *testing.T, box string) {
		w := newWorld(t, popsim.Config{Pipelining: true}, box, "policy: delete")
		const n = 1234
		var messages []popsim.Message
		for i := range n {
			messages = append(messages, w.deliver(fmt.Sprint("uid", i), fmt.Sprint(i)))
		}
		w.succeed(fetch.Report{Listed: n, New: n, Stored: n, Deleted: n})
		w.holds(messages...)
		w.left()
	})
}
