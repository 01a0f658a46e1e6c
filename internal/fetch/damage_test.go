package fetch_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// rewrites a line of a listing into others (CRLF between).
func rewrites(command string, lines map[string]string) popsim.Fault {
	return popsim.On(command, 0, popsim.Rewrite(func(line string) string {
		if other, ok := lines[line]; ok {
			return other
		}
		return line
	}))
}

// A server gives no usable UID for some messages: those that are known are not stored again, new ones are fetched once, and
// nothing changes about that when their UIDs are back.
func TestUIDIsMissing(t *testing.T) {
	for name, no := range map[string]string{"empty": "%d ", "no line": "", "too long": "%d " + strings.Repeat("x", 300), "two": "%d x\r\n%d y"} {
		boxes(t, func(t *testing.T, box string) {
			w := newWorld(t, popsim.Config{Pipelining: true}, box)
			without := func(uids ...string) popsim.Fault {
				lines := map[string]string{}
				for i, uid := range uids {
					if uid != "" {
						lines[fmt.Sprintf("%d %s", i+1, uid)] = strings.ReplaceAll(no, "%d", fmt.Sprint(i+1))
					}
				}
				return rewrites("UIDL", lines)
			}
			a, b := w.deliver("a", "1"), w.deliver("b", "2")
			w.succeed(fetch.Report{Listed: 2, New: 2, Stored: 2})
			w.server.SetFault(without("", "b"))
			w.fail(fetch.Temporary, fetch.Report{Listed: 2})
			w.holds(a, b)
			c, d := w.deliver("c", "3"), w.deliver("d", "4")
			w.server.SetFault(without("", "b", "c"))
			w.fail(fetch.Temporary, fetch.Report{Listed: 4, New: 2, Stored: 2})
			w.holds(a, b, c, d)
			w.fail(fetch.Temporary, fetch.Report{Listed: 4})
			w.retrieved(map[string]int{"a": 1, "c": 1, "d": 1})
			w.mend()
			w.succeed(fetch.Report{Listed: 4})
			w.succeed(fetch.Report{Listed: 4})
			w.holds(a, b, c, d)
			w.set("policy", "delete")
			w.succeed(fetch.Report{Listed: 4, Deleted: 4})
			w.left()
			_ = name
		})
	}
}

// Likewise with policy delete, where what has no UID is pending from an earlier session.
func TestUIDIsMissingFromPending(t *testing.T) {
	for _, lacking := range []string{"", "TOP"} {
		t.Run("without "+lacking, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, popsim.Config{}, "policy: delete")
			a, b := w.deliver("a", "1"), w.deliver("b", "2")
			w.server.SetFault(popsim.On("QUIT", 0, popsim.HangUp()))
			w.fail(fetch.Temporary, fetch.Report{Listed: 2, New: 2, Stored: 2, PendingDelete: 2})
			w.server.SetFault(popsim.FirstOf(lacks(lacking), rewrites("UIDL", map[string]string{"2 b": "2 "})))
			c := w.deliver("c", "3")
			w.pass(time.Minute)
			w.fail(fetch.Temporary, fetch.Report{Listed: 3, New: 1, Stored: 1, Deleted: 3})
			w.left()
			w.holds(a, b, c)
			w.mend()
			w.pass(time.Minute)
			w.succeed(fetch.Report{})
			if s := w.summary(); s.PendingDelete+s.HeldBack > 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A message that is in UIDL's list and not in LIST's, or with nonsense for a size, is left out; the others are fetched, and the
// run says what is wrong.
func TestSizeIsMissing(t *testing.T) {
	for name, line := range map[string]string{"no line": "", "empty": "2 ", "nonsense": "2 x", "negative": "2 -5", "huge": "2 99999999999999999999", "two": "2 5\r\n2 6"} {
		for _, pipelining := range []bool{true, false} {
			t.Run(fmt.Sprint(name, " ", pipelining), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, popsim.Config{Pipelining: pipelining}, "policy: delete")
				a, b, c := w.deliver("a", "1"), w.deliver("b", "2"), w.deliver("c", "3")
				w.server.SetFault(rewrites("LIST", map[string]string{fmt.Sprint("2 ", b.Octets()): line}))
				r := w.fail(fetch.Temporary, fetch.Report{Listed: 3, New: 2, Stored: 2, Skipped: 1, Deleted: 2})
				if !strings.Contains(r.Err.Error(), "LIST ") || !strings.Contains(r.Err.Error(), "message 2") {
					t.Error(r.Err)
				}
				w.left("b")
				w.holds(a, c)
				w.mend()
				w.succeed(fetch.Report{Listed: 1, New: 1, Stored: 1, Deleted: 1})
				w.left()
				w.holds(a, b, c)
			})
		}
	}
}

// Lines that stand twice, in any order, or that STAT does not count, cost nothing but an error.
func TestListingInDisorder(t *testing.T) {
	for name, test := range map[string]struct {
		fault func(size int64) popsim.Fault
		want  fetch.Report
	}{
		"UIDL twice": {func(int64) popsim.Fault { return rewrites("UIDL", map[string]string{"2 b": "2 b\r\n2 b"}) }, fetch.Report{Listed: 3, New: 3, Stored: 3}},
		"LIST twice": {func(n int64) popsim.Fault {
			return rewrites("LIST", map[string]string{fmt.Sprint("2 ", n): fmt.Sprintf("2 %d\r\n2 %d", n, n)})
		}, fetch.Report{Listed: 3, New: 3, Stored: 3}},
		"beyond STAT":     {func(int64) popsim.Fault { return popsim.On("STAT", 0, popsim.Raw("+OK 2 100\r\n")) }, fetch.Report{Listed: 2, New: 2, Stored: 2}},
		"fewer than STAT": {func(int64) popsim.Fault { return popsim.On("STAT", 0, popsim.Raw("+OK 4 100\r\n")) }, fetch.Report{Listed: 3, New: 3, Stored: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, popsim.Config{Pipelining: true})
			a, b, c := w.deliver("a", "1"), w.deliver("b", "2"), w.deliver("c", "3")
			w.server.SetFault(test.fault(b.Octets()))
			w.fail(fetch.Temporary, test.want)
			w.fail(fetch.Temporary, fetch.Report{Listed: test.want.Listed})
			w.mend()
			w.run()
			w.succeed(fetch.Report{Listed: 3})
			w.holds(a, b, c)
			w.retrieved(map[string]int{"a": 1, "b": 1, "c": 1})
		})
	}
}

// UIDs are bytes to be remembered, whatever they are: never paths, and nothing that a terminal would obey.
func TestOddUIDs(t *testing.T) {
	uids := []string{"with spaces in it", "\x01\x1b[2J\x7f", "käse ☃", "\xff\xfe\x80", "../../x", "/etc/passwd", "..", "%s%n", "'; DROP TABLE messages; --", "nul\x00in it", "a:2,S",
		strings.Repeat("u", 255), " header 0", "\"", "tab\tin it"}
	for _, policy := range []string{"keep", "delete"} {
		boxes(t, func(t *testing.T, box string) {
			w := newWorld(t, popsim.Config{Pipelining: true}, box, "policy: "+policy)
			w.deliver("last one", "x")
			for _, uid := range uids {
				w.account.Deliver(popsim.Message{UID: uid, Body: []byte("Subject: x\r\n\r\nHello.\r\n")})
			}
			all := w.account.Messages()
			n := len(all)
			w.server.SetFault(popsim.On("RETR", 0, popsim.Refuse("\x1b[2Jno\x07 ☃")))
			w.run()
			w.server.SetFault(func(r popsim.Request) popsim.Action {
				if r.Command == "RETR" && r.Message%2 == 0 {
					return popsim.Refuse("\x1b[2Jno\x07")
				}
				return popsim.Action{}
			})
			w.pass(time.Hour)
			r := w.run()
			if r.Listed != n || r.Stored != (n+1)/2 {
				t.Fatalf("%+v", r)
			}
			w.mend()
			w.pass(time.Hour)
			r = w.run()
			if r.Err != nil || r.Stored != n/2 {
				t.Fatalf("%+v", r)
			}
			w.holds(all...)
			for _, r := range w.log.String() {
				if r < ' ' && r != '\n' || r == 0x7f || r == 0xfffd {
					t.Fatalf("logged: %q", w.log.String())
				}
			}
			if policy == "keep" {
				w.succeed(fetch.Report{Listed: n})
				return
			}
			w.left()
		})
	}
}
