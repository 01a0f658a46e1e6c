package faults

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite"
)

// refusalRows are servers that say -ERR to what has to work once the login did, hang up on it, or talk nonsense.
func refusalRows() (rows []misbehaviour) {
	row := func(name, policy string, s script, code int, says string, again func([]letter) []int) {
		rows = append(rows, misbehaviour{name: name, policy: policy, script: s, code: code, says: says, again: again})
	}
	for _, code := range []string{"", "[SYS/PERM] "} {
		refused := sayErr(code + "no such message")
		row("RETR of one is refused "+code, "", on("RETR 2", refused), 0, ``, allBut(2))
		rows[len(rows)-1].warns = `no such message`
		row("RETR of all is refused "+code, "", on("RETR", refused), 0, ``, nothing)
		row("RETR of the last is refused "+code, "", on("RETR 5", refused), 0, ``, allBut(5))
		row("DELE of one is refused "+code, "delete", on("DELE 2", refused), 0, ``, all)
		row("DELE of all is refused "+code, "delete", on("DELE", refused), 0, ``, all)
		row("QUIT is refused "+code+"with deletions", "delete", on("QUIT", refused), 75, `not confirmed`, all)
		row("QUIT is refused "+code+"without deletions", "keep", on("QUIT", refused), 0, ``, all)
	}
	row("RETR of one is refused [SYS/TEMP]", "", on("RETR 3", sayErr("[SYS/TEMP] later")), 75, `\[SYS/TEMP\] "later"`, justThese(1, 2))
	row("RETR is refused with escape codes", "", on("RETR 2", sayErr(hostileText)), 0, ``, allBut(2))
	row("RETR is refused in several lines", "", on("RETR 2", say("-ERR no\r\nbody\r\n.\r\n")), 0, ``, allBut(2))
	row("DELE of one is refused [SYS/TEMP]", "delete", on("DELE 2", sayErr("[SYS/TEMP] later")), 0, ``, all)
	row("DELE is hung up on", "delete", on("DELE 2", hangsUp), 75, `closed the connection`, all)
	row("DELE is answered by garbage", "delete", on("DELE 3", say("deleted\r\n")), 75, `expected \+OK or -ERR, not "deleted"`, all)
	row("DELE is answered by 1 MiB", "delete", on("DELE 3", say("+OK "+longText+"\r\n")), 75, `line is longer than`, all)
	row("DELE is answered twice", "delete", on("DELE 5", sayBehind("+OK\r\n")), 75, `answer before any question: "\+OK`, all)
	row("DELE is never answered", "delete", on("DELE 3", stallAt(0)), 75, `silent for 2s`, all)
	rows[len(rows)-1].keys = impatient
	row("DELE is +OK, but nothing is deleted", "delete", script{keepsMail: true}, 0, ``, all)
	rows[len(rows)-1].then = (*ordeal).deletedAfterAll
	for _, q := range []struct {
		name string
		a    answer
		says string
	}{
		{"hung up on", hangsUp, `closed the connection`}, {"obeyed and hung up on", cutAt(0), `closed the connection`},
		{"answered by half a line", cutAt(5), `closed the connection`},
		{"answered by garbage", say("bye\r\n"), `expected \+OK or -ERR`},
		{"obeyed and answered by garbage", editAnswer(func(string) string { return hostileText + "\r\n" }), `expected \+OK or -ERR`},
		{"obeyed and never answered", stallAt(0), `silent for 2s`}, {"answered by a line without end", flooding("+OK ", "bye "), `line is longer than`},
		{"answered an octet at a time", dripping("+OK ", "x"), `not confirmed`},
	} {
		row("QUIT is "+q.name+", with deletions", "delete", on("QUIT", q.a), 75, q.says, all)
		rows[len(rows)-1].keys = impatient
		row("QUIT is "+q.name+", without deletions", "keep", on("QUIT", q.a), 0, ``, all)
		rows[len(rows)-1].keys = impatient
	}
	return rows
}

// deletedAfterAll lets the server do at last what it said it had done. The log tells.
func (w *ordeal) deletedAfterAll() {
	w.server.behave(w.good())
	if o := w.account.Run(w.t, "--once"); o.Code != 0 || !strings.Contains(o.Stderr, "lists messages again whose deletion it had confirmed") {
		w.t.Errorf("exit code %d\n%s", o.Code, o.Stderr)
	}
}

// bodyRows are servers that send odd messages: whatever ends in CRLF.CRLF is one.
func bodyRows() []misbehaviour {
	row := func(name, body string) misbehaviour {
		return misbehaviour{name: "a body " + name, lasting: true, letters: func() []letter {
			all := fiveLetters()
			all[1].body, all[4].body = body, "X-Second: yes\r\n"+body
			return all
		}}
	}
	return []misbehaviour{
		row("with bare LFs", "Subject: x\n\nbare\nLFs\n\r\n"),
		row("with a bare-LF dot", "Subject: x\r\n\r\nbefore\n.\nafter\n.\r\nend\r\n"),
		row("with dots behind bare CRs", "Subject: x\r\n\r\nbefore\r.\rafter\r.\r\n..\r\n.\r\r\n"),
		row("that looks like replies", "Subject: x\r\n\r\n.\r\n+OK 3 octets\r\n-ERR no\r\nhi\r\n.\r\n.\r\n"),
		row("with NULs", "Subject: x\x00\r\n\x00\r\n\x00\x00\x00\r\n"),
		row("of all octets", "Subject: x\r\n\r\n"+everyOctet()+"\r\n"),
		row("of one dot", ".\r\n"),
		row("of nothing but line ends", "\r\n\r\n\r\n"),
		row("with escape codes", hostileText+"\r\n\r\n"+hostileText+"\r\n"),
		row("with From_ lines", "From a@b Thu Jan  1 00:00:00 1970\r\n\r\nFrom a@b Thu Jan  1 00:00:00 1970\r\n>From \r\n\r\n"),
		row("with a header of 4 MiB", strings.Repeat("X-More: and more\r\n", 4<<20/18)+"\r\nend\r\n"),
		row("with a line of 4 MiB", "Subject: x\r\n\r\n"+strings.Repeat("x", 4<<20)+"\r\n"),
		row("with a header line of 4 MiB", "Subject: "+strings.Repeat("x", 4<<20)+"\r\n\r\nend\r\n"),
		row("with 2 MiB of dots", "Subject: x\r\n\r\n"+strings.Repeat(".\r\n", 1<<20)+"\r\n"),
	}
}

func everyOctet() string {
	var all strings.Builder
	for i := range 256 {
		all.WriteByte(byte(i))
	}
	return all.String()
}

// endingRows are servers whose answer to RETR is not a message, or not all of one. Others are fetched all the same, in a second session.
func endingRows() (rows []misbehaviour) {
	row := func(name string, a answer, says string) {
		rows = append(rows, misbehaviour{name: "the answer to RETR " + name, script: on("RETR 2", a), code: 75,
			says: says, again: allBut(2), keys: impatient})
	}
	whole := func(change func(body string) string) answer {
		return editAnswer(func(good string) string {
			status, body, _ := strings.Cut(good, "\r\n")
			return status + "\r\n" + change(strings.TrimSuffix(body, ".\r\n"))
		})
	}
	row("is hung up on", hangsUp, `closed the connection`)
	row("breaks off in its status line", cutAt(7), `closed the connection`)
	row("breaks off behind its status line", cutAt(17), `closed the connection`)
	row("breaks off in the middle", cutAt(100), `closed the connection`)
	row("breaks off before the dot", cutAt(-3), `closed the connection`)
	row("breaks off behind the dot", cutAt(-2), `closed the connection`)
	row("breaks off before the last LF", cutAt(-1), `closed the connection`)
	row("never comes", stallAt(0), `silent for 2s`)
	row("stalls in the middle", stallAt(100), `silent for 2s`)
	row("stalls before the last LF", stallAt(-1), `silent for 2s`)
	row("comes an octet at a time", dripping("+OK\r\nSubject: x\r\n\r\n", "x"), ``)
	row("ends all lines in bare LF", swap("\r\n", "\n"), `bare LF`)
	row("ends the body's lines in bare LF", whole(func(body string) string { return strings.ReplaceAll(body, "\r\n", "\n") + ".\n" }), `silent for 2s`)
	row("ends in a bare-LF dot", whole(func(body string) string { return body + ".\n" }), `silent for 2s`)
	row("ends behind a line without an end", whole(func(body string) string { return strings.TrimSuffix(body, "\r\n") + ".\r\n" }), `silent for 2s`)
	row("turns into a refusal", whole(func(body string) string { return body[:60] + "\r\n-ERR disk error\r\n" }), `silent for 2s`)
	row("is garbage", say("message follows\r\n"), `expected \+OK or -ERR`)
	row("is garbage of escape codes", say(hostileText+"\r\n"), `expected \+OK or -ERR`)
	row("has a status line of 1 MiB", say("+OK "+longText+"\r\n"), `line is longer than`)
	row("is +OK and nothing", say("+OK\r\n.\r\n"), `nothing`)
	row("has a line of one dot that is not stuffed", swap("\r\n..\r\n", "\r\n.\r\n"), `protocol`)
	for i := range rows {
		rows[i].piped = "off"
		rows = append(rows, rows[i])
		last := &rows[len(rows)-1]
		last.name, last.piped = last.name+", pipelined", "on"
	}
	return append(rows, misbehaviour{name: "RETR's status line tells another length", lasting: true,
		script: on("RETR", editAnswer(func(good string) string {
			_, body, _ := strings.Cut(good, "\r\n")
			return "+OK 7 octets\r\n" + body
		}))},
		misbehaviour{name: "RETR's status lines have NULs and escape codes", lasting: true, script: on("RETR", editAnswer(func(good string) string {
			_, body, _ := strings.Cut(good, "\r\n")
			return "+OK " + hostileText + "\r\n" + body
		}))},
		misbehaviour{name: "a status line too many among the messages", script: on("RETR 2", sayBehind("+OK\r\n"))},
		misbehaviour{name: "a whole answer too many among the messages",
			script: on("RETR 2", sayBehind("+OK\r\nSubject: not asked for\r\n\r\n.\r\n"))},
		misbehaviour{name: "a refusal too many among the messages", script: on("RETR 2", sayBehind("-ERR what?\r\n"))},
		misbehaviour{name: "a message breaks off once", script: on("RETR 2", inSession(1, cutAt(60)))},
		misbehaviour{name: "more than ten messages are refused, one after the other", letters: func() []letter { return manyLetters(15, "uid-%d") },
			script: on("RETR", sayErr("no")), code: 75, says: `refused RETR \d+: "no"`, again: nothing},
		misbehaviour{name: "one message breaks off each time", script: on("RETR 2", cutAt(60)), code: 75,
			says: `closed the connection`, again: allBut(2), then: (*ordeal).setAside},
	)
}

// setAside lets the same message fail until it has failed five times: then it is set aside, and no error of the run.
func (w *ordeal) setAside() {
	for range 5 {
		w.later()
		w.account.Run(w.t, "--once")
	}
	w.later()
	asked := w.server.asked("RETR 2")
	if asked != 5 {
		w.t.Errorf("the message was asked for %d times", asked)
	}
	if o := w.account.Run(w.t, "--once"); o.Code != 0 || w.server.asked("RETR 2") != asked {
		w.t.Errorf("a message that failed five times is not set aside: exit code %d\n%s", o.Code, o.Stderr)
	}
	if o := w.account.Must(w.t, "status", "--json"); !strings.Contains(o, `"set_aside":1`) {
		w.t.Errorf("no message is set aside: %s", o)
	}
}

// later lets the time pass after which a message that failed is tried again: an hour at most.
func (w *ordeal) later() {
	w.t.Helper()
	ledger, err := sql.Open("sqlite", filepath.Join(w.account.Dir, "state", "ledger.db"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer ledger.Close()
	if _, err := ledger.Exec("UPDATE failures SET next_at = next_at - 3600"); err != nil {
		w.t.Fatal(err)
	}
}

// floodRows are servers that send without end, or far too much.
func floodRows() []misbehaviour {
	limited := []string{"max_message_size: 100KB"}
	endless := on("RETR 2", flooding("+OK\r\nSubject: endless\r\n\r\n", "and so on "))
	uidl := func(entry string) script {
		const n = 2_000_000
		return ons{"STAT": say(fmt.Sprintf("+OK %d %d\r\n", n, n)), "UIDL": longListing(n, entry), "LIST": longListing(n, "%d 100\r\n")}.script()
	}
	return []misbehaviour{
		{name: "a body has no end, with max_message_size", script: endless, keys: limited, code: 0, again: allBut(2),
			warns: `max_message_size`, memory: true},
		{name: "a body has no end, without max_message_size", script: endless, disk: "size=24m", code: 74,
			says: `no space left`, again: nothing, either: []int{1}, memory: true},
		{name: "a header has no end, with max_message_size", script: on("RETR 2", flooding("+OK\r\n", "X-More: and more\r\n")),
			keys: limited, code: 0, again: allBut(2), warns: `max_message_size`, memory: true},
		{name: "a body is of 80 MB and breaks off", script: on("RETR 2", func(c *dialogue, _ func() string) {
			c.send("+OK\r\n")
			for piece := strings.Repeat("x", 1<<20); len(piece) > 0 && c.nth["sent"] < 80 && !c.gone; c.nth["sent"]++ {
				c.send(piece)
			}
			c.hangUp()
		}), code: 75, says: `closed the connection`, again: allBut(2), memory: true},
		{name: "2,000,000 messages are listed, with long UIDs", script: uidl("%d " + strings.Repeat("x", 240) + "\r\n"),
			code: 75, says: `list`, again: nothing, memory: true, online: true},
		{name: "2,000,000 messages are listed, with short UIDs", script: uidl("%d x\r\n"), code: 75, says: `list`,
			again: nothing, memory: true, online: true},
		{name: "2,000,000 messages are listed, and do not exist", script: on("STAT", say("+OK 2000000 2000000\r\n")),
			code: 75, says: `STAT says 2000000`, again: all, memory: true, online: true},
	}
}

// longListing answers with n entries, made from their numbers.
func longListing(n int, entry string) answer {
	return func(c *dialogue, _ func() string) {
		c.send("+OK\r\n")
		var some strings.Builder
		for i := 1; i <= n && !c.gone; i++ {
			fmt.Fprintf(&some, entry, i)
			if some.Len() > 64<<10 || i == n {
				c.send(some.String())
				some.Reset()
			}
		}
		c.send(".\r\n")
	}
}
