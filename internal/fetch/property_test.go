package fetch_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// A check here costs as much as thousands elsewhere: fewer than rapid's hundred have to do, unless the caller wants more.
func TestMain(m *testing.M) {
	flag.Set("rapid.checks", "40")
	flag.Parse()
	os.Exit(m.Run())
}

var pieces = []string{"x", "\r\n", "\n", "\r", ".", "..", "From ", ">From ", "\x00", "\xff", " ", "\r\n.\r\n", "\r\n\r\n", "Subject: x\r\n"}

// drawMessages makes some messages, each with bytes that no other has; some share a UID, and of those some a size.
func drawMessages(t *rapid.T, serial *int) []popsim.Message {
	var all []popsim.Message
	for range rapid.IntRange(0, 8).Draw(t, "messages") {
		*serial++
		uid := fmt.Sprintf("uid%04d", *serial)
		if n := len(all); n > 0 && rapid.IntRange(0, 3).Draw(t, "duplicate") == 0 {
			uid = all[n-1].UID
		}
		body := strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 12).Draw(t, "body"), "")
		if n := len(all); n > 0 && rapid.Bool().Draw(t, "same size") {
			body = string(all[n-1].Body)[4:]
		}
		all = append(all, popsim.Message{UID: uid, Body: fmt.Appendf(nil, "%04d%s", *serial, body)})
	}
	return all
}

var (
	commands = []string{"CONNECT", "CAPA", "AUTH", "STAT", "UIDL", "LIST", "TOP", "RETR", "RETR", "RETR", "DELE", "DELE", "QUIT", "QUIT"}
	actions  = map[string]popsim.Action{
		"refuse": popsim.Refuse("no"), "later": popsim.Refuse("[SYS/TEMP] later"), "cut": popsim.HangUp(), "cut after": popsim.HangUpUnanswered(),
		"cut in body": popsim.HangUpInBody(7), "cut before the dot": popsim.HangUpInBody(1 << 20), "nonsense": popsim.Raw("\r\n"), "stop": {},
	}
	actionNames = slices.Sorted(func(yield func(string) bool) {
		for name := range actions {
			if !yield(name) {
				return
			}
		}
	})
)

// drawFault makes a server that does something wrong at one moment, or stops the client at it.
func drawFault(t *rapid.T, stop func()) popsim.Fault {
	command := rapid.SampledFrom(commands).Draw(t, "command")
	nth := max(1, rapid.IntRange(-5, 9).Draw(t, "nth")) // most commands come once
	action := rapid.SampledFrom(actionNames).Draw(t, "action")
	return func(r popsim.Request) popsim.Action {
		if r.Command != command || r.Nth != nth {
			return popsim.Action{}
		}
		if action == "stop" {
			stop()
		}
		return actions[action]
	}
}

// drawLacking makes a server that perhaps has neither UIDL nor, where the policy can do without, TOP.
func drawLacking(t *rapid.T, policy string) []string {
	servers := [][]string{nil, nil, {"UIDL"}}
	if policy == "delete" {
		servers = append(servers, []string{"UIDL", "TOP"})
	}
	return rapid.SampledFrom(servers).Draw(t, "lacking")
}

// Whatever goes wrong on the way, after each run every message is here or still on the server, and the run's figures are true;
// every message that the server kept listing is stored once and unharmed in the end, and with policy delete the server ends
// empty.
func TestAnyTroubleEndsWell(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := map[string]func(popsim.Message) int64{"true": nil, "wrong": popsim.WrongBy(5), "LF": popsim.CountLF}
		policy := rapid.SampledFrom([]string{"keep", "delete", "delete\n    delete_after: 1d"}).Draw(t, "policy")
		lines := []string{rapid.SampledFrom([]string{"maildir: mail", "mbox: mail"}).Draw(t, "box"), "policy: " + policy, "auth: plain"}
		lacking := drawLacking(t, policy)
		listed := rapid.SampledFrom([]string{"true", "wrong", "LF"}).Draw(t, "sizes")
		trueSizes := listed == "true"
		w := newWorld(t, popsim.Config{Pipelining: rapid.Bool().Draw(t, "pipelining"), ListedSize: sizes[listed]}, lines...)
		var all []popsim.Message
		serial, killed := 0, false
		for range rapid.IntRange(1, 4).Draw(t, "runs") {
			fresh := drawMessages(t, &serial)
			for _, m := range fresh {
				w.account.Deliver(m)
			}
			all = append(all, fresh...)
			if some := unique(fresh); lacking == nil && trueSizes && len(some) > 0 && rapid.IntRange(0, 2).Draw(t, "killed") == 0 {
				w.storeByHand(some...)
				killed = true
			}
			ctx, cancel := context.WithCancel(w.Context())
			w.server.SetFault(popsim.FirstOf(lacks(lacking...), drawFault(t, cancel), drawFault(t, cancel)))
			w.honest(all, killed, func() fetch.Report { return w.runIn(ctx) })
			cancel()
			w.pass(time.Duration(rapid.IntRange(0, 90).Draw(t, "minutes")) * time.Minute)
		}
		w.server.SetFault(lacks(lacking...))
		if len(lacking) > 0 && policy == "delete" { // deletions whose confirmation was lost are settled by a listing, and an empty one proves nothing
			all = append(all, w.deliver("last", "x"))
		}
		w.pass(48 * time.Hour)
		for runs := 0; ; runs++ {
			r := w.honest(all, killed, w.run)
			if r.Err != nil || runs > 3 {
				t.Fatalf("run %d without trouble: %+v", runs, r)
			}
			if runs > 0 && r.New == 0 && r.Deleted == 0 { // the first may have adopted what now has its day to wait
				w.quiet(r)
				break
			}
			w.pass(48 * time.Hour)
		}
		w.holds(all...)
		if len(all) > 0 { // else no mailbox was looked at
			w.noLeftovers()
		}
		if policy != "keep" {
			w.left()
		}
	})
}

// honest holds the report of a run against what the server and the mailbox have before and after it, where all was ever
// delivered. killed says that messages may have come to the mailbox otherwise.
func (w *world) honest(all []popsim.Message, killed bool, run func() fetch.Report) fetch.Report {
	w.Helper()
	listed := len(w.account.Messages())
	before, err := w.ledger.Count("joe")
	w.must(err)
	r := run()
	if fetch.KindOf(r.Err) == fetch.Bug {
		w.Fatal(r.Err)
	}
	here, err := w.ledger.Count("joe")
	w.must(err)
	if !killed && here != before+r.Stored {
		w.Fatalf("the ledger had %d messages and has %d now: %+v", before, here, r)
	}
	if r.Listed > listed || r.Err == nil && r.Listed != listed {
		w.Fatalf("the server had %d messages: %+v", listed, r)
	}
	left := w.account.Messages()
	if gone := listed - len(left); r.Deleted > gone || r.Err == nil && r.Deleted < gone {
		w.Fatalf("%d messages are gone from the server: %+v", gone, r)
	}
	mail := w.mail(w.box)
	if !killed && len(mail) != here {
		w.Fatalf("the mailbox has %d messages, the ledger %d: %+v", len(mail), here, r)
	}
	count := map[string]int{}
	for _, m := range left {
		count[string(m.Stored())]++
	}
	for _, m := range mail {
		count[m]++
	}
	for _, m := range all {
		if count[string(m.Stored())] == 0 {
			w.Fatalf("message %q is nowhere any more", m.UID)
		}
	}
	return r
}

// unique returns the messages whose UID no other has.
func unique(messages []popsim.Message) []popsim.Message {
	count := map[string]int{}
	for _, m := range messages {
		count[m.UID]++
	}
	return slices.DeleteFunc(slices.Clone(messages), func(m popsim.Message) bool { return count[m.UID] > 1 })
}

// quiet holds that nothing is left to do.
func (w *world) quiet(r fetch.Report) {
	w.Helper()
	if r.Skipped != 0 || r.PendingDelete != 0 || r.Failed != 0 {
		w.Fatalf("not at an end: %+v", r)
	}
}
