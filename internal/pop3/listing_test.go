package pop3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// cannedSession is a session whose server's words are all there from the start, so nothing may be checked that depends on their time.
func cannedSession(replies string) (*Session, *canned) {
	c := &canned{data: []byte("+OK\r\n")}
	s, err := newSession(context.Background(), cannedServer, cannedWire(c))
	if err != nil {
		panic(err)
	}
	c.data = []byte(replies)
	return s, c
}

// list answers a pipelined STAT, UIDL and LIST; lines are separated by "|".
func list(stat, uidl, list string) string {
	lines := func(s string) string {
		if s == "" {
			return "+OK\r\n.\r\n"
		}
		return "+OK\r\n" + strings.ReplaceAll(s, "|", "\r\n") + "\r\n.\r\n"
	}
	return "+OK " + stat + "\r\n" + lines(uidl) + lines(list)
}

func TestListing(t *testing.T) {
	long := strings.Repeat("u", 255)
	for _, test := range []struct {
		name, replies string
		want          []Entry
	}{
		{"empty", list("0 0", "", ""), nil},
		{"empty, and lists refused", "+OK 0 0\r\n-ERR empty\r\n-ERR empty\r\n", nil},
		{"ordinary", list("2 5", "1 a|2 b", "1 2|2 3"), []Entry{{1, "a", 2}, {2, "b", 3}}},
		{"UIDL out of order", list("3 6", "3 c|1 a|2 b", "1 1|2 2|3 3"), []Entry{{1, "a", 1}, {2, "b", 2}, {3, "c", 3}}},
		{"LIST out of order", list("3 6", "1 a|2 b|3 c", "3 3|2 2|1 1"), []Entry{{1, "a", 1}, {2, "b", 2}, {3, "c", 3}}},
		{"both out of order", list("3 6", "2 b|3 c|1 a", "3 3|1 1|2 2"), []Entry{{1, "a", 1}, {2, "b", 2}, {3, "c", 3}}},
		{"same UID twice", list("2 5", "1 a|2 a", "1 2|2 3"), []Entry{{1, "a", 2}, {2, "a", 3}}},
		{"several spaces", list("1  2", "1   a  ", "1  2"), []Entry{{1, "a", 2}}},
		{"8-bit UID", list("1 2", "1 \xe9\x80~!", "1 2"), []Entry{{1, "\xe9\x80~!", 2}}},
		{"long UID", list("1 2", "1 "+long, "1 2"), []Entry{{1, long, 2}}},
		{"more behind the size", list("1 2", "1 a", "1 2 octets, and more"), []Entry{{1, "a", 2}}},
		{"zeros in front", list("01 2", "001 a", "0001 007"), []Entry{{1, "a", 7}}},
		{"size 0 and the largest", list("2 2", "1 a|2 b", "1 0|2 9223372036854775807"), []Entry{{1, "a", 0}, {2, "b", 1<<63 - 1}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, c := cannedSession(test.replies)
			s.pipelined = true
			got, err := s.Listing()
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("got %v, %v; want %v", got, err, test.want)
			}
			if sent := string(c.sent); sent != "STAT\r\nUIDL\r\nLIST\r\n" {
				t.Errorf("sent %q", sent)
			}
			if left := s.wire.buffered(); len(left) > 0 {
				t.Errorf("left %q", left)
			}
		})
	}
}

func TestMalformedListing(t *testing.T) {
	for _, test := range []struct{ replies, want string }{
		{list("1 2", "1", "1 2"), `malformed line in the answer to UIDL: "1"`},
		{list("1 2", "1 ", "1 2"), `malformed line in the answer to UIDL: "1 "`},
		{list("1 2", "-1 a", "1 2"), `UIDL: "-1 a"`},
		{list("1 2", "+1 a", "1 2"), `UIDL: "+1 a"`},
		{list("1 2", " 1 a", "1 2"), `UIDL: " 1 a"`},
		{list("1 2", "1\ta", "1 2"), `UIDL: "1\ta"`},
		{list("1 2", "a", "1 2"), `UIDL: "a"`},
		{list("1 2", "1 a b", "1 2"), `UIDL: "1 a b"`},
		{list("1 2", "1 a\x00", "1 2"), `UIDL: "1 a\x00"`},
		{list("1 2", "1 \x1b[2J", "1 2"), `UIDL: "1 \x1b[2J"`},
		{list("1 2", "1 a\x7f", "1 2"), `UIDL: "1 a\x7f"`},
		{list("1 2", "1 a\r", "1 2"), `UIDL: "1 a\r"`},
		{list("1 2", "1 "+strings.Repeat("u", 256), "1 2"), `malformed line in the answer to UIDL`},
		{list("1 2", "", "1 2"), "STAT says 1 messages, UIDL lists 0"},
		{list("1 2", "0 a", "1 2"), "UIDL lists message 0; numbers go from 1 to 1"},
		{list("1 2", "2 a", "1 2"), "UIDL lists message 2; numbers go from 1 to 1"},
		{list("1 2", "18446744073709551617 a", "1 2"), "malformed line in the answer to UIDL"},
		{list("1 2", "1 a|2 b", "1 2"), "list is longer than the 1 lines it may have"},
		{list("2 5", "1 a|1 b", "1 2|2 3"), "UIDL lists message 1 twice"},
		{list("3 5", "3 a|2 b|3 c", "1 2|2 3|3 3"), "UIDL lists message 3 twice"},
		{list("1 2", "||", "1 2"), `UIDL: ""`},
		{list("0 0", "1 a", "1 2"), "list is longer than the 0 lines it may have"},
		{list("1 2", "1 a", ""), "UIDL lists 1 messages, LIST 0"},
		{list("1 2", "1 a", "1"), `malformed line in the answer to LIST: "1"`},
		{list("1 2", "1 a", "1 -2"), `LIST: "1 -2"`},
		{list("1 2", "1 a", "1 x"), `LIST: "1 x"`},
		{list("1 2", "1 a", "1 2x"), `LIST: "1 2x"`},
		{list("1 2", "1 a", "1 9223372036854775808"), `LIST: "1 9223372036854775808"`},
		{list("1 2", "1 a", "1 99999999999999999999999"), `malformed line in the answer to LIST`},
		{list("1 2", "1 a", "2 2"), "LIST lists message 2; numbers go from 1 to 1"},
		{list("2 5", "1 a|2 b", "1 2|1 3"), "LIST lists message 1 twice"},
		{list("2 5", "1 a|2 b", "1 2|2 3|2 3"), "list is longer than the 2 lines it may have"},
		{list("2 5", "1 a|2 b", "2 3"), "UIDL lists 2 messages, LIST 1"},
		{list("1 2", "1 a", strings.Repeat("1", 1100)), "line is longer than 1024 octets"},
		{"+OK 1 2\r\n+OK\r\n1 a\n.\r\n", "bare LF"},
		{"+OK 1 2\r\n+OK\r\n1 a\r\n.\n+OK\r\n", "bare LF"},
	} {
		s, c := cannedSession(test.replies)
		s.pipelined = true
		_, err := s.Listing()
		if !is[*ProtocolError](err) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.80q: got %v, want %s", test.replies, err, test.want)
		}
		if !c.closed || !s.Broken() {
			t.Errorf("%.80q: connection stays open", test.replies)
		}
	}
}

func TestListingRefused(t *testing.T) {
	for _, test := range []struct{ replies, want string }{
		{"-ERR [SYS/PERM] POP is off\r\n-ERR\r\n-ERR\r\n", `server refused STAT: [SYS/PERM] "POP is off"`},
		{"-ERR no\r\n+OK\r\n1 a\r\n.\r\n+OK\r\n1 2\r\n.\r\n", `server refused STAT: "no"`},
		{"+OK 1 2\r\n-ERR unknown command\r\n+OK\r\n1 2\r\n.\r\n", `server refused UIDL: "unknown command"`},
		{"+OK 1 2\r\n+OK\r\n1 a\r\n.\r\n-ERR no\r\n", `server refused LIST: "no"`},
		{"+OK [SYS/TEMP] later\r\n+OK\r\n.\r\n+OK\r\n.\r\n", `server refused STAT: [SYS/TEMP] "later"`},
		{"+OK 1 2\r\n+OK [SYS/TEMP] later\r\n1 a\r\n.\r\n+OK\r\n1 2\r\n.\r\n", `server refused UIDL: [SYS/TEMP] "later"`},
	} {
		s, c := cannedSession(test.replies)
		s.pipelined = true
		entries, err := s.Listing()
		if !is[*ReplyError](err) || err.Error() != test.want || entries != nil {
			t.Errorf("%q: got %v, %v", test.replies, entries, err)
		}
		c.data = []byte("+OK\r\n")
		if err := s.Noop(); err != nil { // still in step
			t.Errorf("%q: then NOOP: %v", test.replies, err)
		}
	}
}

// One at a time, nothing is asked for that is not needed.
func TestListingNotPipelined(t *testing.T) {
	for text, want := range map[string]string{
		"C: STAT\nS: +OK 0 0":                               "",
		"C: STAT\nS: -ERR no":                               "server refused STAT",
		"C: STAT\nS: +OK 1 2\nC: UIDL\nS: -ERR unsupported": "server refused UIDL",
		"C: STAT\nS: +OK 1 2\nC: UIDL\nS: +OK\nS: 1 a\nS: .\nC: LIST\nS: -ERR no": "server refused LIST",
	} {
		s := scripted(t, hello+text)
		entries, err := s.Listing()
		if (err == nil) != (want == "") || (err != nil && (!is[*ReplyError](err) || !strings.Contains(err.Error(), want))) || len(entries) > 0 {
			t.Errorf("%q: %v, %v", text, entries, err)
		}
		s.Close()
	}
}

// Messages marked as deleted leave the listing, and the others keep their numbers.
func TestListingAfterDelete(t *testing.T) {
	s := scripted(t, hello+`C: DELE 1
S: +OK
C: DELE 2
S: -ERR no
C: STAT
S: +OK 2 5
C: UIDL
S: +OK
S: 2 b
S: 3 c
S: .
C: LIST
S: +OK
S: 2 2
S: 3 3
S: .
C: RSET
S: +OK
C: STAT
S: +OK 2 5
C: UIDL
S: +OK
S: 2 b
S: 3 c
S: .
`)
	var refused []int
	for n, err := range s.Delete([]int{1, 2}) {
		if err != nil {
			refused = append(refused, n)
		}
	}
	if !slices.Equal(refused, []int{2}) {
		t.Errorf("refused %v", refused)
	}
	if got, err := s.Listing(); err != nil || !slices.Equal(got, []Entry{{2, "b", 2}, {3, "c", 3}}) {
		t.Errorf("got %v, %v", got, err)
	}
	if err := s.Reset(); err != nil {
		t.Error(err)
	}
	if _, err := s.Listing(); !is[*ProtocolError](err) || !strings.Contains(err.Error(), "numbers go from 1 to 2") {
		t.Errorf("after RSET: %v", err)
	}
}

// A mailbox of many messages, as bytes of the wire.
func bigListing(n int) string {
	var uidl, sizes strings.Builder
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&uidl, "%d %016x%08x\r\n", i, 0x67890, i)
		fmt.Fprintf(&sizes, "%d %d\r\n", i, 4711+i)
	}
	return fmt.Sprintf("+OK %d 1\r\n+OK\r\n%s.\r\n+OK\r\n%s.\r\n", n, &uidl, &sizes)
}

func TestListingMemory(t *testing.T) {
	const n = 100_000
	s, _ := cannedSession(bigListing(n))
	s.pipelined = true
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	entries, err := s.Listing()
	runtime.ReadMemStats(&after)
	if err != nil || len(entries) != n || entries[n-1].Number != n || entries[n-1].Size != 4711+n {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 8<<20 {
		t.Errorf("%d entries cost %d bytes", n, used)
	}
	if count := after.Mallocs - before.Mallocs; count > 200 {
		t.Errorf("%d entries cost %d allocations", n, count)
	}
}

// STAT's word alone takes no memory.
func TestListingBelievesNoCount(t *testing.T) {
	s, _ := cannedSession("+OK 2000000 1\r\n+OK\r\n1 a\r\n.\r\n")
	s.pipelined = true
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := s.Listing()
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; err == nil || used > 8<<20 {
		t.Errorf("%v after %d bytes", err, used)
	}
}

// naiveList reads one multi-line list in the obvious way.
func naiveList(reply []byte, count int) (fields map[int]string, rest []byte, ok bool) {
	fields = map[int]string{}
	for {
		line, after, found := bytes.Cut(reply, []byte("\n"))
		if !found || len(line) >= maxListLine || !bytes.HasSuffix(line, []byte("\r")) {
			return nil, nil, false
		}
		reply = after
		line = line[:len(line)-1]
		if string(line) == "." {
			return fields, reply, true
		}
		number, field, found := strings.Cut(string(bytes.TrimPrefix(line, []byte("."))), " ")
		n, err := strconv.ParseUint(number, 10, 31)
		if _, again := fields[int(n)]; again || !found || err != nil || n < 1 || int(n) > count || len(fields) == count {
			return nil, nil, false
		}
		fields[int(n)] = strings.Trim(field, " ")
	}
}

// naiveListing is the oracle of FuzzListing.
func naiveListing(uidl, sizes []byte, count int) ([]Entry, bool) {
	uids, rest, ok := naiveList(uidl, count)
	if !ok || len(rest) > 0 {
		return nil, false
	}
	octets, rest, ok := naiveList(sizes, count)
	if !ok || len(rest) > 0 || len(uids) != count || len(octets) != count {
		return nil, false
	}
	var entries []Entry
	for n := 1; n <= count; n++ {
		size, _, _ := strings.Cut(octets[n], " ")
		value, err := strconv.ParseUint(size, 10, 63)
		bad := func(c rune) bool { return c <= ' ' || c == 0x7F }
		if err != nil || uids[n] == "" || len(uids[n]) > maxUID || slices.ContainsFunc([]rune(latin1(uids[n])), bad) {
			return nil, false
		}
		entries = append(entries, Entry{n, uids[n], int64(value)})
	}
	return entries, true
}

// latin1 makes one rune of each byte.
func latin1(s string) string {
	var runes []rune
	for _, c := range []byte(s) {
		runes = append(runes, rune(c))
	}
	return string(runes)
}

func FuzzListing(f *testing.F) {
	f.Add([]byte("1 a\r\n2 b\r\n.\r\n"), []byte("1 10\r\n2 20\r\n.\r\n"), 2, uint64(1))
	f.Add([]byte("2 b\r\n1  a \r\n.\r\n"), []byte("2 10 x\r\n.1 20\r\n.\r\n"), 2, uint64(2))
	f.Add([]byte("1 a\r\n1 b\r\n.\r\n"), []byte("1 10\r\n.\r\n"), 1, uint64(3))
	f.Add([]byte("1 a\n.\r\n"), []byte("01 -10\r\n.\r\n"), 1, uint64(4))
	f.Add([]byte("1 \xff\x7f\r\n.\r\n"), []byte("1 9223372036854775808\r\n.\r\n"), 1, uint64(5))
	f.Fuzz(func(t *testing.T, uidl, sizes []byte, count int, seed uint64) {
		if count < 1 || count > 1000 {
			return
		}
		want, valid := naiveListing(uidl, sizes, count)
		random := rand.New(rand.NewPCG(seed, 0))
		s, c := cannedSession("")
		c.pieces = func() int { return 1 + random.IntN(40) }
		c.data = fmt.Appendf(nil, "+OK %d 0\r\n+OK\r\n%s+OK\r\n%s", count, uidl, sizes)
		s.pipelined = true
		got, err := s.Listing()
		if err == nil && len(s.wire.buffered())+len(c.data) > 0 {
			err = errors.New("something is left")
		}
		if (err == nil) != valid || (valid && !slices.Equal(got, want)) {
			t.Fatalf("%q, %q: got %v, %v; want %v, %v", uidl, sizes, got, err, want, valid)
		}
	})
}

// BenchmarkListing reads UIDL and LIST of 100,000 messages: 200,000 lines.
func BenchmarkListing(b *testing.B) {
	replies := []byte(bigListing(100_000))
	s, c := cannedSession("")
	s.pipelined = true
	b.SetBytes(int64(len(replies)))
	for b.Loop() {
		c.data, c.sent = replies, c.sent[:0]
		if _, err := s.Listing(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(200_000*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}
