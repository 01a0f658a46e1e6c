package pop3

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// A mailbox of many messages, as bytes of the wire.
func bigListing(n int) string {
	var uidl, sizes []byte
	for i := range n {
		uidl = numberedLine(uidl, i+1, " 00000000000678900000", 1000+i)
		sizes = numberedLine(sizes, i+1, " ", 4712+i)
	}
	return fmt.Sprintf("+OK %d 1\r\n+OK\r\n%s.\r\n+OK\r\n%s.\r\n", n, uidl, sizes)
}

// numberedLine appends a line of a list, faster than fmt would.
func numberedLine(b []byte, number int, text string, tail int) []byte {
	b = strconv.AppendInt(b, int64(number), 10)
	b = append(b, text...)
	b = strconv.AppendInt(b, int64(tail), 10)
	return append(b, "\r\n"...)
}

func TestListMemory(t *testing.T) {
	const n = 100_000
	s, _ := cannedSession(bigListing(n))
	s.pipelined = true
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := s.List()
	runtime.ReadMemStats(&after)
	entries := got.Entries
	if err != nil || got.Damage != nil || len(entries) != n || entries[n-1].Number != n || entries[n-1].Size != 4711+n {
		t.Fatalf("%d entries, %v, %v", len(entries), err, got.Damage)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 8<<20 {
		t.Errorf("%d entries cost %d bytes", n, used)
	}
	if count := after.Mallocs - before.Mallocs; count > 200 {
		t.Errorf("%d entries cost %d allocations", n, count)
	}
}

// STAT's word alone takes no memory.
func TestListBelievesNoCount(t *testing.T) {
	s, _ := cannedSession("+OK 2000000 1\r\n+OK\r\n1 a\r\n.\r\n+OK\r\n1 2\r\n.\r\n")
	s.pipelined = true
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := s.List()
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; err != nil || got.Damage == nil || used > 8<<20 {
		t.Errorf("%v, %v after %d bytes", err, got.Damage, used)
	}
}

// An endless server says what it begins with and then the same kind of line for ever, and measures the memory in use meanwhile.
type endless struct {
	canned
	line     func(b []byte, n int) []byte // appends the nth
	n        int
	measured int // at that line
	most     uint64
}

func (e *endless) Read(p []byte) (int, error) {
	for len(e.data) < len(p) {
		e.n++
		e.data = e.line(e.data, e.n)
	}
	if e.n-e.measured > 90_000 {
		e.measured = e.n
		e.most = max(e.most, live())
	}
	return e.canned.Read(p)
}

// live is how many bytes of the heap are in use.
func live() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// Whatever a server claims and sends, its lists end soon and cost no more than their budget.
func TestListBudget(t *testing.T) {
	long := " " + strings.Repeat("u", 240)
	same := func(line string) func([]byte, int) []byte {
		return func(b []byte, _ int) []byte { return append(b, line...) }
	}
	for name, test := range map[string]struct {
		begin string
		line  func(b []byte, n int) []byte
		want  string
	}{
		"many messages": {"+OK 2000000 1\r\n+OK\r\n", func(b []byte, n int) []byte { return numberedLine(b, n, " 0", 1e6+n) },
			"the list needs more than 28 MiB: 271853 messages came, STAT says 2000000"},
		"long UIDs": {"+OK 2000000 1\r\n+OK\r\n", func(b []byte, n int) []byte { return numberedLine(b, n, long, 1e6+n) },
			"the list needs more than 28 MiB: 84611 messages came, STAT says 2000000"},
		"LIST alone": {"+OK 2000000 1\r\n-ERR\r\n+OK\r\n", func(b []byte, n int) []byte { return numberedLine(b, n, " ", 1) },
			"the list needs more than 28 MiB: 293601 messages came, STAT says 2000000"},
		"one message for ever":  {"+OK 2000000 1\r\n+OK\r\n", same("1 a\r\n"), "the list needs more than 28 MiB"},
		"beyond STAT":           {"+OK 5 1\r\n+OK\r\n", same("6 a\r\n"), "list is longer than the 1005 lines it may have"},
		"STAT refused":          {"-ERR no\r\n+OK\r\n", same("6 a\r\n"), "list is longer than the 294601 lines it may have"},
		"later, and never ends": {"+OK 5 1\r\n+OK [SYS/TEMP]\r\n", same("x\r\n"), "list is longer than the 1005 lines it may have"},
	} {
		t.Run(name, func(t *testing.T) {
			e := &endless{line: test.line}
			s, c := cannedSession("")
			c.data = nil
			e.data = []byte(test.begin)
			s.wire.Conn, s.pipelined = e, true
			before := live()
			_, err := s.List()
			if !is[*ProtocolError](err) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
			if e.most > before+listBudget || (e.n > 90_000 && e.most == 0) {
				t.Errorf("it took %d KiB", (int64(e.most)-int64(before))>>10)
			}
		})
	}
}

// BenchmarkList reads UIDL and LIST of 100,000 messages: 200,000 lines.
func BenchmarkList(b *testing.B) {
	replies := []byte(bigListing(100_000))
	s, c := cannedSession("")
	s.pipelined = true
	b.SetBytes(int64(len(replies)))
	for b.Loop() {
		c.data, c.sent = replies, c.sent[:0]
		if _, err := s.List(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(200_000*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}
