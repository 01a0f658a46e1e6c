package faults

import (
	"fmt"
	"slices"
	"strings"
)

// statRows are servers whose STAT is wrong.
func statRows() []misbehaviour {
	row := func(name, answer string, code int, says string, again func([]letter) []int) misbehaviour {
		return misbehaviour{name: "STAT " + name, script: on("STAT", say(answer)), code: code, says: says, again: again, online: true}
	}
	piped := func(with string, m misbehaviour) misbehaviour {
		m.piped = with
		return m
	}
	silent := misbehaviour{name: "STAT is never answered", script: on("STAT", stallAt(0)), code: 75, says: `silent for 2s`, again: nothing, keys: impatient}
	return []misbehaviour{silent,
		{name: "STAT is hung up on", script: on("STAT", hangsUp), code: 75, says: `closed the connection`, again: nothing, online: true},
		row("is refused", "-ERR not now\r\n", 75, `refused STAT: "not now"`, nothing),
		row("says nothing", "+OK\r\n", 75, `expected two numbers`, nothing),
		row("says one number", "+OK 5\r\n", 75, `expected two numbers`, nothing),
		row("says a word", "+OK five messages\r\n", 75, `expected two numbers, not|expected two numbers from STAT, not "five messages"`, nothing),
		row("says less than nothing", "+OK -5 -100\r\n", 75, `expected two numbers`, nothing),
		row("overflows", "+OK 99999999999999999999999 1\r\n", 75, `9223372036854775807`, nothing),
		row("says far too many", "+OK 9223372036854775807 1\r\n", 75, `9223372036854775807`, nothing),
		piped("off", row("says none, though there are some", "+OK 0 0\r\n", 0, ``, nothing)),
		piped("on", row("says none, though the lists have some", "+OK 0 0\r\n", 75, `beyond`, nothing)),
		row("says fewer than are listed", "+OK 3 600\r\n", 75, `beyond`, justThese(1, 2, 3)),
		row("says more than are listed", "+OK 9 9000\r\n", 75, `STAT says 9`, all),
		row("says another size than the sum", "+OK 5 1\r\n", 0, ``, all),
		row("says more behind the numbers", "+OK 5 10000 octets "+hostileText+"\r\n", 0, ``, all),
		row("says SYS/TEMP", "+OK [SYS/TEMP] 0 0\r\n", 75, `SYS/TEMP`, nothing),
		row("is garbage", "5 10000\r\n", 75, `expected \+OK or -ERR`, nothing),
		row("of 1 MiB", "+OK 5 10000 "+longText+"\r\n", 75, `line is longer than`, nothing),
	}
}

// listRows are servers whose UIDL or LIST is damaged, each in the same ways.
func listRows() (rows []misbehaviour) {
	for _, command := range []string{"UIDL", "LIST"} {
		row := func(name string, a answer, code int, says string, again func([]letter) []int, without ...int) {
			rows = append(rows, misbehaviour{name: command + " " + name, script: on(command, a), code: code, says: says, again: again,
				online: code == 75, memory: strings.Contains(name, "no end")})
			if command == "UIDL" { // a message without a UID may be fetched all the same, as on a server without any
				rows[len(rows)-1].either = without
			}
		}
		row("lacks an entry", listLine(3, becomes("")), 75, command+` lacks message 3`, allBut(3), 3)
		row("lacks its first entry", listLine(1, becomes("")), 75, command+` lacks message 1`, allBut(1), 1)
		row("is empty", listLines(func([]string) []string { return nil }), 75, command+` lacks`, nothing, 1, 2, 3, 4, 5)
		row("has an entry twice, differently", listLine(3, func(l string) string { return l + "\r\n3 77" }), 75, `3`, allBut(3), 3)
		row("has an entry twice, alike", listLine(3, func(l string) string { return l + "\r\n" + l }), 75, `3`, allBut())
		row("is in another order", listLines(func(l []string) []string { slices.Reverse(l); return append(l[2:], l[:2]...) }), 0, ``, all)
		row("has an entry beyond STAT", listLine(5, func(l string) string { return l + "\r\n6 66" }), 75, `beyond`, all)
		row("has an entry with a huge number", listLine(5, func(l string) string { return l + "\r\n999999999999 66" }), 75, `beyond`, all)
		row("has a number that overflows", listLine(2, becomes("99999999999999999999999 66")), 75, `beyond`, allBut(2), 2)
		row("has a negative number", listLine(2, becomes("-2 66")), 75, `no message number`, nothing)
		row("has number zero", listLine(2, becomes("0 66")), 75, `no message number`, nothing)
		row("has a word for a number", listLine(2, becomes("two 66")), 75, `no message number`, nothing)
		row("has an empty line", listLine(2, func(l string) string { return l + "\r\n" + "\x00" }), 75, `no message number`, nothing)
		row("has a line of escape codes", listLine(2, becomes(hostileText)), 75, `no message number`, nothing)
		row("has an entry with nothing behind the number", listLine(2, becomes("2")), 75, `2`, allBut(2), 2)
		row("has an entry with spaces behind the number", listLine(2, becomes("2   ")), 75, `2`, allBut(2), 2)
		row("ends its lines in bare LF", swap("\r\n", "\n"), 75, `bare LF`, nothing)
		row("ends in a bare-LF dot", swap("\r\n.\r\n", "\r\n.\n"), 75, `bare LF`, nothing)
		row("is hung up on", hangsUp, 75, `closed the connection`, nothing)
		row("breaks off", cutAt(-5), 75, `closed the connection`, nothing)
		row("is refused with SYS/TEMP", sayErr("[SYS/TEMP] later"), 75, `\[SYS/TEMP\] "later"`, nothing)
		row("is +OK with SYS/TEMP", swap("+OK\r\n", "+OK [SYS/TEMP] later\r\n"), 75, `\[SYS/TEMP\] "later"`, nothing)
		row("is refused in several lines", say("-ERR no\r\n1 1\r\n.\r\n"), 75, `protocol|refused LIST: "no"`, nothing)
		row("comes twice", editAnswer(func(good string) string { return good + good }), 75, `protocol`, nothing)
		row("is garbage", say("what?\r\n"), 75, `expected \+OK or -ERR, not "what\?"`, nothing)
		row("has a line that has no end", flooding("+OK\r\n1 ", "1"), 75, `line is longer than`, nothing)
		row("has no end", flooding("+OK\r\n", "1 1\r\n"), 75, `list`, nothing)
		row("has no end of empty lines", flooding("+OK\r\n", "\r\n"), 75, `protocol`, nothing)
		row("stalls", stallAt(-5), 75, `silent for 2s`, nothing)
		rows[len(rows)-1].keys = impatient
		row("comes an octet at a time", dripping("+OK\r\n1 ", "1"), 75, ``, nothing)
		rows[len(rows)-1].keys = impatient
	}
	return append(rows,
		misbehaviour{name: "LIST is refused", script: on("LIST", sayErr("no")), code: 75, says: `refused LIST: "no"`, again: nothing, online: true},
		misbehaviour{name: "UIDL and LIST lack different entries",
			script: ons{"UIDL": listLine(2, becomes("")), "LIST": listLine(4, becomes(""))}.script(),
			code:   75, says: `lack`, again: allBut(2, 4), either: []int{2}, online: true},
		misbehaviour{name: "UIDL and LIST have different orders", script: ons{
			"UIDL": listLines(func(l []string) []string { slices.Reverse(l); return l }),
			"LIST": listLines(func(l []string) []string { return append(l[3:], l[:3]...) })}.script()},
	)
}

// sizeRows are servers that list messages with sizes that are not theirs: no harm.
func sizeRows() (rows []misbehaviour) {
	for _, s := range []struct{ name, size string }{
		{"zero", "0"}, {"one", "1"}, {"too large", "5000000"}, {"huge", "1099511627775"},
		{"with leading zeros", "0000000000000000000000000000000001"}, {"with more behind it", "10 octets \x1b[2J"},
	} {
		rows = append(rows, misbehaviour{name: "a listed size is " + s.name, lasting: true, letters: func() []letter {
			all := fiveLetters()
			all[1].size, all[3].size = s.size, s.size
			return all
		}})
	}
	for _, s := range []struct{ name, size string }{
		{"negative", "-100"}, {"beyond 63 bits", "9223372036854775808"}, {"as large as 63 bits", "9223372036854775807"},
		{"a word", "many"}, {"full of escape codes", hostileText},
	} {
		rows = append(rows, misbehaviour{name: "a listed size is " + s.name, script: on("LIST", listLine(2, becomes("2 "+s.size))),
			code: 75, says: `no usable size for message 2`, again: allBut(2), online: true})
	}
	sameForAll := func() []letter {
		all := fiveLetters()
		for i := range all {
			all[i].size = "42"
		}
		return all
	}
	return append(rows, misbehaviour{name: "all listed sizes are the same", letters: sameForAll, lasting: true})
}

// uidRows are servers with odd UIDs, which are bytes and nothing else.
func uidRows() (rows []misbehaviour) {
	row := func(name string, uids ...string) {
		rows = append(rows, misbehaviour{name: "UIDs " + name, lasting: true, letters: func() []letter {
			all := fiveLetters()
			for i := range all {
				if i < len(uids) {
					all[i].uid = uids[i]
				}
			}
			return all
		}})
	}
	row("of 71 characters", strings.Repeat("x", 71), strings.Repeat("y", 71))
	row("of 255 characters, alike but for the last", strings.Repeat("x", 254)+"1", strings.Repeat("x", 254)+"2")
	row("with spaces", "a b", "a  b", "a\tb", "a")
	row("with control characters", "a\x01", "a\x02", "\x1b[2J", "a\x00b", "\x7f")
	row("full of escape codes", hostileText, hostileText+"2", "\u202e", "\u009b", "\u2028")
	row("in UTF-8", "żółć", "почта", "邮件", "ż", "é") // the last two in their composed and decomposed forms
	row("that are not UTF-8", "\xff", "\xfe\xff", "\xc3", "\x80", "\xed\xa0\x80")
	row("that are paths", "../../x", "/etc/passwd", "../../../../../../tmp/x", "new/x", ".")
	row("that are Maildir's", "x:2,S", "x,S=1", "-rf", "~", "x!$(id)`id`;'\"")
	row("that differ by their case", "abc", "ABC", "Abc", "aBC", "abC")
	row("with a CR inside", "a\rb", "a\r")
	row("that are the same for two messages", "same", "same")
	row("that are the same for all messages", "same", "same", "same", "same", "same")
	row("that are the commands of the protocol", "+OK", "-ERR", "..", "QUIT", "4")
	twins := misbehaviour{name: "UIDs, sizes and bytes that are the same for two messages", lasting: true, letters: func() []letter {
		all := fiveLetters()
		return append(all, all[2], all[2])
	}}
	for _, s := range []struct{ name, uid string }{
		{"empty", ""}, {"of spaces", "  "},
		{"of 256 characters", strings.Repeat("x", 256)}, {"of 900 characters", strings.Repeat("x", 900)},
	} {
		rows = append(rows, misbehaviour{name: "a UID is " + s.name, script: on("UIDL", listLine(4, becomes(fmt.Sprintf("4 %s", s.uid)))),
			code: 75, says: `no usable unique-id for message 4`, again: allBut(4), either: []int{4}, online: true})
	}
	return append(rows, twins,
		misbehaviour{name: "a UID has no end", script: on("UIDL", listLine(4, becomes("4 "+longText))), code: 75,
			says: `line is longer than`, again: nothing, online: true})
}
