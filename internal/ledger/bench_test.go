package ledger_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/ledger"
)

// gmailKeys are n keys as Gmail lists them: UIDs of 18 characters that do not come in any order.
func gmailKeys(n int) []ledger.Key {
	keys := make([]ledger.Key, n)
	for i := range keys {
		keys[i] = ledger.Key{UID: fmt.Sprintf("GmailId%016x", uint64(i)*0x9E3779B97F4A7C15), ListedSize: int64(4000 + i%1000)}
	}
	return keys
}

func filed(keys []ledger.Key) []ledger.Message {
	messages := make([]ledger.Message, len(keys))
	for i, key := range keys {
		messages[i] = ledger.Message{Key: key, Mailbox: "/home/joe/Mail/gmail", Size: key.ListedSize - 90, StoredAt: time.Unix(1_790_000_000, 0),
			Name: fmt.Sprintf("1790000000.popfetchd-%032x.host,S=%d,W=%d", i, key.ListedSize-90, key.ListedSize)}
	}
	return messages
}

// BenchmarkStates is a poll of 100,000 known messages that finds nothing new.
func BenchmarkStates(b *testing.B) {
	l, _ := newLedger(b)
	keys := gmailKeys(100_000)
	ok(b, l.Commit("gmail", filed(keys), 0))
	b.ReportAllocs()
	for b.Loop() {
		states, err := l.States("gmail", keys)
		if err != nil || !states[len(keys)-1].Known {
			b.Fatal(err, states[len(keys)-1])
		}
	}
}

// BenchmarkCommit is a batch of 1,000 messages into a ledger that holds many.
func BenchmarkCommit(b *testing.B) {
	l, _ := newLedger(b)
	batch := 0
	b.ReportAllocs()
	for b.Loop() {
		keys := gmailKeys(1000)
		for i := range keys {
			keys[i].Occurrence = batch
		}
		ok(b, l.Commit("gmail", filed(keys), 0))
		batch++
	}
}

// BenchmarkOpen is the check of a ledger of 100,000 messages.
func BenchmarkOpen(b *testing.B) {
	l, path := newLedger(b)
	ok(b, l.Commit("gmail", filed(gmailKeys(100_000)), 0))
	ok(b, l.Close())
	for b.Loop() {
		ok(b, open(b, path).Close())
	}
}

// BenchmarkFinish is all that a poll writes that finds nothing new. Most of it is the wait for the disk: with TMPDIR on
// tmpfs it shows what is not.
func BenchmarkFinish(b *testing.B) {
	l, _ := newLedger(b)
	for b.Loop() {
		ok(b, l.Finish("gmail", time.Unix(1_790_000_000, 0), "", true))
	}
}

// BenchmarkHistory is what the status page asks for of a ledger of 100,000 messages.
func BenchmarkHistory(b *testing.B) {
	l, _ := newLedger(b)
	messages := filed(gmailKeys(100_000))
	for i := range messages {
		messages[i].StoredAt = time.Unix(1_790_000_000+int64(i%365)*86400+int64(i)%50000, 0)
	}
	ok(b, l.Commit("gmail", messages, 0))
	for name, ask := range map[string]func() error{
		"days":    func() error { _, err := l.Days("", time.Unix(1_790_000_000+335*86400, 0), time.UTC); return err },
		"all":     func() error { _, err := l.Days("", time.Time{}, time.UTC); return err },
		"newest":  func() error { _, err := l.Newest("", 20); return err },
		"summary": func() error { _, err := l.Summary("gmail"); return err },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				ok(b, ask())
			}
		})
	}
}
