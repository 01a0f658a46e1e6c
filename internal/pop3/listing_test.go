package pop3

import (
	"context"
	"slices"
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

func TestList(t *testing.T) {
	long := strings.Repeat("u", 255)
	for _, test := range []struct {
		name, replies string
		want          []Entry
		damage        string // without "server broke the POP3 protocol: "
	}{
		{"empty", list("0 0", "", ""), nil, ""},
		{"empty, and lists refused", "+OK 0 0\r\n-ERR empty\r\n-ERR [SYS/TEMP] empty\r\n", nil, ""},
		{"empty, and lists that will come later", "+OK 0 0\r\n+OK [SYS/TEMP]\r\n.\r\n+OK\r\n.\r\n", nil, ""},
		{"ordinary", list("2 5", "1 a|2 b", "1 2|2 3"), []Entry{{1, "a", 2}, {2, "b", 3}}, ""},
		{"UIDL out of order", list("3 6", "3 c|1 a|2 b", "1 1|2 2|3 3"), []Entry{{1, "a", 1}, {2, "b", 2}, {3, "c", 3}}, ""},
		{"LIST out of order", list("3 6", "1 a|2 b|3 c", "3 3|2 2|1 1"), []Entry{{1, "a", 1}, {2, "b", 2}, {3, "c", 3}}, ""},
		{"both in another order", list("3 6", "2 b|3 c|1 a", "3 3|1 1|2 2"), []Entry{{1, "a", 1}, {2, "b", 2}, {3, "c", 3}}, ""},
		{"both in the same odd order", list("3 6", "2 b|3 c|1 a", "2 2|3 3|1 1"), []Entry{{1, "a", 1}, {2, "b", 2}, {3, "c", 3}}, ""},
		{"same UID for two messages", list("2 5", "1 a|2 a", "1 2|2 3"), []Entry{{1, "a", 2}, {2, "a", 3}}, ""},
		{"several spaces", list("1  2", "1   a  ", "1  2"), []Entry{{1, "a", 2}}, ""},
		{"more behind the size", list("1 2", "1 a", "1 2 octets, and more"), []Entry{{1, "a", 2}}, ""},
		{"zeros in front", list("01 2", "001 a", "0001 007"), []Entry{{1, "a", 7}}, ""},
		{"size 0 and the largest", list("2 2", "1 a|2 b", "1 0|2 1099511627776"), []Entry{{1, "a", 0}, {2, "b", 1 << 40}}, ""},

		{"8-bit UID", list("1 2", "1 \xe9\x80~!", "1 2"), []Entry{{1, "\xe9\x80~!", 2}}, ""},
		{"UID with spaces", list("1 2", "1 a  b ", "1 2"), []Entry{{1, "a  b", 2}}, ""},
		{"UID with control bytes", list("1 2", "1 \x1b[2J\x00\x7f\r", "1 2"), []Entry{{1, "\x1b[2J\x00\x7f\r", 2}}, ""},
		{"UID of a tab", list("1 2", "1 \t", "1 2"), []Entry{{1, "\t", 2}}, ""},
		{"UID like a path", list("1 2", "1 ../../x", "1 2"), []Entry{{1, "../../x", 2}}, ""},
		{"long UID", list("1 2", "1 "+long, "1 2"), []Entry{{1, long, 2}}, ""},
		{"too long UID", list("1 2", "1 "+long+"u", "1 2"), []Entry{{1, "", 2}}, "UIDL has no usable unique-id for message 1"},
		{"no UID", list("3 6", "1 a|2|3 ", "1 2|2 3|3 1"), []Entry{{1, "a", 2}, {2, "", 3}, {3, "", 1}}, "UIDL has no usable unique-id for message 2 and 1 more"},

		{"not in UIDL", list("3 6", "2 b", "1 1|2 2|3 3"), []Entry{{1, "", 1}, {2, "b", 2}, {3, "", 3}}, "UIDL lacks message 1 and 1 more"},
		{"UIDL empty", list("1 2", "", "1 2"), []Entry{{1, "", 2}}, "UIDL lacks message 1"},
		{"not in LIST", list("3 6", "1 a|2 b|3 c", "2 2"), []Entry{{1, "a", -1}, {2, "b", 2}, {3, "c", -1}}, "LIST lacks message 1 and 1 more"},
		{"LIST empty", list("1 2", "1 a", ""), []Entry{{1, "a", -1}}, "LIST lacks message 1"},
		{"each lacks one", list("2 3", "1 a", "2 2"), []Entry{{1, "a", -1}, {2, "", 2}}, "LIST lacks message 1"},
		{"both lack one", list("2 3", "1 a", "1 1"), []Entry{{1, "a", 1}}, "STAT says 2 messages, the lists have 1"},
		{"both are empty", list("2 3", "", ""), nil, "STAT says 2 messages, the lists have 0"},

		{"no size", list("5 6", "1 a|2 b|3 c|4 d|5 e", "1|2 -2|3 x|4 2x|5 "),
			[]Entry{{1, "a", -1}, {2, "b", -1}, {3, "c", -1}, {4, "d", -1}, {5, "e", -1}}, "LIST has no usable size for message 1 and 4 more"},
		{"huge sizes", list("3 6", "1 a|2 b|3 c", "1 1099511627777|2 9223372036854775808|3 99999999999999999999999999"),
			[]Entry{{1, "a", -1}, {2, "b", -1}, {3, "c", -1}}, "LIST has no usable size for message 1 and 2 more"},

		{"twice in UIDL", list("2 3", "1 a|1 a|2 b|2 b|2 b", "1 1|2 2"), []Entry{{1, "a", 1}, {2, "b", 2}}, "UIDL repeats message 1 and 1 more"},
		{"twice in UIDL, apart", list("2 3", "1 a|2 b|1 a", "1 1|2 2"), []Entry{{1, "a", 1}, {2, "b", 2}}, "UIDL repeats message 1"},
		{"two UIDs", list("2 3", "1 a|1 b|2 b", "1 1|2 2"), []Entry{{1, "", 1}, {2, "b", 2}}, "UIDL has different unique-ids for message 1"},
		{"two UIDs, one twice", list("1 1", "1 a|1 b|1 a", "1 1"), []Entry{{1, "", 1}}, "UIDL has different unique-ids for message 1"},
		{"a UID and none", list("1 1", "1 a|1", "1 1"), []Entry{{1, "", 1}}, "UIDL has no usable unique-id for message 1"},
		{"twice in LIST", list("2 3", "1 a|2 b", "1 1|1 1|2 2|2 2"), []Entry{{1, "a", 1}, {2, "b", 2}}, "LIST repeats message 1 and 1 more"},
		{"two sizes", list("2 3", "1 a|2 b", "1 1|2 2|1 3"), []Entry{{1, "a", -1}, {2, "b", 2}}, "LIST has different sizes for message 1"},
		{"two sizes, one twice", list("1 1", "1 a", "1 1|1 2|1 1"), []Entry{{1, "a", -1}}, "LIST has different sizes for message 1"},
		{"a size and none", list("1 1", "1 a", "1 1|1 x"), []Entry{{1, "a", -1}}, "LIST has no usable size for message 1"},
		{"twice in both", list("1 1", "1 a|1 b", "1 1|1 1"), []Entry{{1, "", 1}}, "UIDL has different unique-ids for message 1"},
		{"twice in LIST alone", list("1 1", "", "1 1|1 1"), []Entry{{1, "", 1}}, "LIST repeats message 1"},

		{"mail after STAT", list("1 2", "1 a|2 b|3 c", "1 2|2 3|3 4"), []Entry{{1, "a", 2}}, "UIDL names, beyond what STAT counts, message 2 and 1 more"},
		{"mail after UIDL", list("1 2", "1 a", "1 2|2 3"), []Entry{{1, "a", 2}}, "LIST names, beyond what STAT counts, message 2"},
		{"mail in an empty mailbox", list("0 0", "1 a", "1 2"), nil, "UIDL names, beyond what STAT counts, message 1"},
		{"huge number", list("1 2", "18446744073709551617 b|1 a", "1 2"), []Entry{{1, "a", 2}}, "UIDL names, beyond what STAT counts, message 9223372036854775807"},
		{"a number in place of another", list("2 3", "1 a|3 b", "1 2|3 1"), []Entry{{1, "a", 2}}, "UIDL names, beyond what STAT counts, message 3"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, c := cannedSession(test.replies)
			s.pipelined = true
			got, err := s.List()
			if err != nil || !slices.Equal(got.Entries, test.want) || got.Refused != nil {
				t.Errorf("got %v, %v, refused %v; want %v", got.Entries, err, got.Refused, test.want)
			}
			if test.damage != "" {
				test.damage = "server broke the POP3 protocol: " + test.damage
			}
			if damage := got.Damage; (damage == nil) != (test.damage == "") || (damage != nil && (damage.Error() != test.damage || !is[*ProtocolError](damage))) {
				t.Errorf("damage %v, want %s", damage, test.damage)
			}
			if sent := string(c.sent); sent != "STAT\r\nUIDL\r\nLIST\r\n" {
				t.Errorf("sent %q", sent)
			}
			if left := s.wire.buffered(); len(left) > 0 || s.Broken() {
				t.Errorf("left %q, broken %v", left, s.Broken())
			}
		})
	}
}

// What leaves no trust in the framing of a list ends the session.
func TestMalformedList(t *testing.T) {
	for _, test := range []struct{ replies, want string }{
		{list("1 2", "-1 a", "1 2"), `no message number in a line of the answer to UIDL: "-1 a"`},
		{list("1 2", "+1 a", "1 2"), `UIDL: "+1 a"`},
		{list("1 2", " 1 a", "1 2"), `UIDL: " 1 a"`},
		{list("1 2", "1\ta", "1 2"), `UIDL: "1\ta"`},
		{list("1 2", "0 a", "1 2"), `UIDL: "0 a"`},
		{list("1 2", "1x a", "1 2"), `UIDL: "1x a"`},
		{list("1 2", "a", "1 2"), `UIDL: "a"`},
		{list("1 2", "\x1b[2J", "1 2"), `UIDL: "\x1b[2J"`},
		{list("1 2", "||", "1 2"), `UIDL: ""`},
		{list("0 0", "x", ""), `UIDL: "x"`},
		{list("1 2", "1 a", "0 2"), `no message number in a line of the answer to LIST: "0 2"`},
		{list("1 2", "1 a", "-1 2"), `LIST: "-1 2"`},
		{list("1 2", "1 a", strings.Repeat("1", 1100)), "line is longer than 1024 octets"},
		{list("1 2", "1 "+strings.Repeat("u", 1100), "1 2"), "line is longer than 1024 octets"},
		{list("1 2", strings.Repeat("1 a|", 1001)+"1 a", ""), "list is longer than the 1001 lines it may have"},
		{list("0 0", strings.Repeat("1 a|", 1000)+"1 a", ""), "list is longer than the 1000 lines it may have"},
		{list("2000000 2", strings.Repeat("2000001 a|", listBudget/lineCost+1000)+"1 a", ""), "list is longer than the 294601 lines it may have"},
		{"+OK 1 2\r\n-ERR no\r\n+OK\r\nx\r\n.\r\n", `LIST: "x"`},
		{"+OK 1 2\r\n+OK\r\n1 a\n.\r\n", "bare LF"},
		{"+OK 1 2\r\n+OK\r\n1 a\r\n.\n+OK\r\n", "bare LF"},
	} {
		s, c := cannedSession(test.replies)
		s.pipelined = true
		_, err := s.List()
		if !is[*ProtocolError](err) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.80q: got %v, want %s", test.replies, err, test.want)
		}
		if !c.closed || !s.Broken() {
			t.Errorf("%.80q: connection stays open", test.replies)
		}
	}
}

func TestListRefused(t *testing.T) {
	for _, test := range []struct{ replies, want string }{
		{"-ERR [SYS/PERM] POP is off\r\n-ERR\r\n-ERR\r\n", `server refused STAT: [SYS/PERM] "POP is off"`},
		{"-ERR no\r\n+OK\r\n1 a\r\n.\r\n+OK\r\nwhatever\r\n.\r\n", `server refused STAT: "no"`},
		{"+OK 1 2\r\n-ERR [SYS/TEMP] later\r\n+OK\r\n1 2\r\n.\r\n", `server refused UIDL: [SYS/TEMP] "later"`},
		{"+OK 1 2\r\n-ERR [SYS/PERM] never\r\n+OK\r\n1 2\r\n.\r\n", `server refused UIDL: [SYS/PERM] "never"`},
		{"+OK 1 2\r\n+OK\r\n1 a\r\n.\r\n-ERR no\r\n", `server refused LIST: "no"`},
		{"+OK 1 2\r\n-ERR no\r\n-ERR nor this\r\n", `server refused LIST: "nor this"`},
		{"+OK [SYS/TEMP] later\r\n+OK\r\n.\r\n+OK\r\n.\r\n", `server refused STAT: [SYS/TEMP] "later"`},
		{"+OK 1 2\r\n+OK [SYS/TEMP] later\r\n1 a\r\n.\r\n+OK\r\n1 2\r\n.\r\n", `server refused UIDL: [SYS/TEMP] "later"`},
		{"+OK 1 2\r\n+OK\r\n1 a\r\n.\r\n+OK [SYS/TEMP] later\r\n1 2\r\n.\r\n", `server refused LIST: [SYS/TEMP] "later"`},
	} {
		s, c := cannedSession(test.replies)
		s.pipelined = true
		got, err := s.List()
		if !is[*ReplyError](err) || err.Error() != test.want || got.Entries != nil {
			t.Errorf("%q: got %v, %v", test.replies, got, err)
		}
		c.data = []byte("+OK\r\n")
		if err := s.Noop(); err != nil { // still in step
			t.Errorf("%q: then NOOP: %v", test.replies, err)
		}
	}
}

// A server without UIDL lists its messages nevertheless.
func TestListWithoutUIDL(t *testing.T) {
	for _, text := range []string{
		helloPipelining + "C: STAT\nC: UIDL\nC: LIST\nS: +OK 2 5\nS: -ERR unknown command\nS: +OK\nS: 2 3\nS: 1 2\nS: .\nC: NOOP\nS: +OK",
		hello + "C: STAT\nS: +OK 2 5\nC: UIDL\nS: -ERR unknown command\nC: LIST\nS: +OK\nS: 2 3\nS: 1 2\nS: .\nC: NOOP\nS: +OK",
	} {
		s := scripted(t, text)
		got, err := s.List()
		if err != nil || got.Damage != nil || !slices.Equal(got.Entries, []Entry{{1, "", 2}, {2, "", 3}}) {
			t.Errorf("got %v, %v", got, err)
		}
		if got.Refused == nil || *got.Refused != (ReplyError{Command: "UIDL", Text: "unknown command"}) {
			t.Errorf("refused: %v", got.Refused)
		}
		if err := s.Noop(); err != nil {
			t.Error(err)
		}
		s.Close()
	}
}

// One at a time, nothing is asked for that is not needed.
func TestListNotPipelined(t *testing.T) {
	for text, want := range map[string]string{
		"C: STAT\nS: +OK 0 0": "",
		"C: STAT\nS: -ERR no": "server refused STAT",
		"C: STAT\nS: +OK 1 2\nC: UIDL\nS: -ERR [SYS/TEMP] no":                     "server refused UIDL",
		"C: STAT\nS: +OK 1 2\nC: UIDL\nS: +OK [SYS/TEMP] no\nS: .":                "server refused UIDL",
		"C: STAT\nS: +OK 1 2\nC: UIDL\nS: +OK\nS: 1 a\nS: .\nC: LIST\nS: -ERR no": "server refused LIST",
	} {
		s := scripted(t, hello+text)
		got, err := s.List()
		if (err == nil) != (want == "") || (err != nil && (!is[*ReplyError](err) || !strings.Contains(err.Error(), want))) || len(got.Entries) > 0 {
			t.Errorf("%q: %v, %v", text, got, err)
		}
		s.Close()
	}
}

// Messages marked as deleted leave the listing, and the others keep their numbers.
func TestListAfterDelete(t *testing.T) {
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
C: LIST
S: +OK
S: 2 2
S: 3 3
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
	if got, err := s.List(); err != nil || got.Damage != nil || !slices.Equal(got.Entries, []Entry{{2, "b", 2}, {3, "c", 3}}) {
		t.Errorf("got %v, %v", got, err)
	}
	if err := s.Reset(); err != nil {
		t.Error(err)
	}
	if got, err := s.List(); err != nil || got.Damage == nil || !slices.Equal(got.Entries, []Entry{{2, "b", 2}}) {
		t.Errorf("after RSET: %v, %v", got, err)
	}
}
