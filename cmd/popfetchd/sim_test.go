package main

import (
	"slices"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/popfetchd/popfetchd/internal/popsim"
)

func simOf(t *testing.T, change func(*simFlags)) *simPlan {
	t.Helper()
	var flags simFlags
	flags.register(pflag.NewFlagSet("sim", pflag.ContinueOnError)) // for the defaults
	change(&flags)
	p, err := flags.plan()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The account is what the flags say, in the order of arrival, and the same each
// time.
func TestSimMail(t *testing.T) {
	p := simOf(t, func(f *simFlags) {
		f.messages, f.conversations, f.sent, f.spam, f.trash, f.bodySize = 5000, 1800, 300, 200, 100, "2KB"
	})
	now := time.Date(2026, time.June, 1, 0, 0, 0, 0, time.UTC)
	all := slices.Collect(p.mail(now))
	account := &popsim.Account{Gmail: &popsim.GmailBox{}}
	threads := map[string]bool{}
	for i, m := range all {
		if i > 0 && !m.Received.After(all[i-1].Received) || m.Received.After(now) {
			t.Fatalf("message %d arrived at %v", i, m.Received)
		}
		threads[m.Thread] = true
		account.Deliver(m)
	}
	want := popsim.Counts{Inbox: 4400, Sent: 300, Spam: 200, Trash: 100, Popped: 75, Waiting: 4625}
	got := account.Counts()
	if got.Unread == 0 || got.Unread > 4400/simUnread+100 {
		t.Errorf("%d unread", got.Unread)
	}
	got.Unread = 0
	if got != want || len(threads) != 1800 || len(all) != 5000 {
		t.Errorf("%d messages in %d conversations: %+v, want %+v", len(all), len(threads), got, want)
	}
	again := slices.Collect(p.mail(now))
	for _, i := range []int{0, 2500, 4999} {
		m := all[i]
		if m.Size > 2000 || m.Size < 1900 || m.Size != int64(len(m.Stored())+countLines(m.Stored())) {
			t.Errorf("message %d has %d octets, said to be %d", i, len(m.Stored()), m.Size)
		}
		if string(m.Stored()) != string(again[i].Stored()) || m.Thread != again[i].Thread || m.Labels != again[i].Labels {
			t.Errorf("message %d is another one the second time", i)
		}
	}
}

func countLines(text []byte) (n int) {
	for _, b := range text {
		if b == '\n' {
			n++
		}
	}
	return n
}

// Without any mail, and with a single message, there is an account, too.
func TestSimOfLittle(t *testing.T) {
	for _, n := range []int{0, 1} {
		p := simOf(t, func(f *simFlags) { f.messages, f.sent, f.spam, f.trash = n, 0, 0, 0 })
		if got := len(slices.Collect(p.mail(time.Now()))); got != n {
			t.Errorf("%d messages, want %d", got, n)
		}
	}
}

// Every knob turns something.
func TestSimKnobs(t *testing.T) {
	values := map[string]string{"dele": "=ignore", "recent-window": "=5"}
	type turned struct {
		knobs popsim.Knobs
		two   bool
		one   bool
		sni   bool
	}
	seen := map[turned]string{}
	for _, name := range append(knobNames(), "") {
		p := simOf(t, func(f *simFlags) {
			if name != "" {
				f.knobs = []string{name + values[name]}
			}
		})
		now := turned{p.box.Knobs, p.server.TwoStepOnly, p.server.OneLineOnly, p.server.NoSNICertificate}
		if other, ok := seen[now]; ok {
			t.Errorf("--knob %s does what %q does", name, other)
		}
		seen[now] = name
	}
}
