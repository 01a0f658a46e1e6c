package faults

import (
	"strings"

	"github.com/popfetchd/popfetchd/test/program"
)

// longText is more than any line may have, and all in one.
var longText = strings.Repeat("all work and no play ", 1<<20/21)

// greetingRows are servers that are no good from their first word on.
func greetingRows() []misbehaviour {
	row := func(name string, a answer, code int, says string) misbehaviour {
		return misbehaviour{name: "greeting " + name, script: on("greeting", a), code: code, says: says, again: nothing, online: true}
	}
	rows := []misbehaviour{
		row("refuses", sayErr("too many connections"), 75, `refused the connection: "too many connections"`),
		row("refuses with SYS/TEMP", sayErr("[SYS/TEMP] later"), 75, `\[SYS/TEMP\] "later"`),
		row("refuses with SYS/PERM", sayErr("[SYS/PERM] never"), 75, `\[SYS/PERM\] "never"`),
		row("refuses with IN-USE", sayErr("[IN-USE] busy"), 75, `\[IN-USE\] "busy"`),
		row("is +OK with SYS/TEMP", say("+OK [SYS/TEMP] broken\r\n"), 75, `\[SYS/TEMP\] "broken"`),
		row("refuses in several lines", say("-ERR no\r\nnot at all\r\n.\r\n"), 75, `refused the connection: "no"`),
		row("never comes, the connection is closed", hangsUp, 75, `closed the connection`),
		row("breaks off", cutAt(4), 75, `closed the connection`),
		row("is empty", say("\r\n"), 75, `expected \+OK or -ERR, not ""`),
		row("is in small letters", say("+ok ready\r\n"), 75, `expected \+OK or -ERR, not "\+ok ready"`),
		row("ends in a bare LF", say("+OK ready\n"), 75, `bare LF`),
		row("is of 1 MiB", say("+OK "+longText+"\r\n"), 75, `line is longer than`),
		row("has no end", flooding("+OK ", "welcome "), 75, `line is longer than`),
		row("brings answers to what was not asked", sayBehind("+OK\r\nUIDL\r\n.\r\n+OK\r\n"), 75, `answer before any question: "\+OK`),
		row("is garbage", say("\x00\x01\xff\x80"+hostileText+"\r\n"), 75, `expected \+OK or -ERR, not`),
	}
	for i := range rows {
		rows[i].memory = strings.Contains(rows[i].name, "MiB") || strings.Contains(rows[i].name, "no end")
	}
	silent := row("never comes", stallAt(0), 75, `silent for 2s`)
	slow := row("comes an octet at a time", dripping("+OK ", "x"), 75, ``)
	silent.keys, slow.keys = impatient, impatient
	return append(rows, silent, slow,
		misbehaviour{name: "greeting is full of escape codes", script: on("greeting", say("+OK "+hostileText+"\r\n")), lasting: true, online: true})
}

// strangerRows are servers of other protocols, on the port of a POP3 server.
func strangerRows() []misbehaviour {
	row := func(name, greeting, says string) misbehaviour {
		return misbehaviour{name: "a server of " + name, script: script{instead: func(c *dialogue) { c.send(greeting); c.silence() }},
			code: 75, says: says, again: nothing, online: true, keys: impatient}
	}
	return []misbehaviour{
		row("SMTP", "220 mail.example.org ESMTP Postfix\r\n", `expected \+OK or -ERR, not "220 mail`),
		row("IMAP", "* OK [CAPABILITY IMAP4rev1] ready\r\n", `expected \+OK or -ERR, not "\* OK`),
		row("SSH", "SSH-2.0-OpenSSH_9.2\r\n", `expected \+OK or -ERR, not "SSH`),
		row("HTTP, which waits for a question", "", `no greeting`),
		row("HTTP, which answers none", "HTTP/1.1 408 Request Timeout\r\n\r\n", `expected \+OK or -ERR, not "HTTP`),
	}
}

// capabilityRows are servers that answer CAPA in odd ways. Who does not know it is fine.
func capabilityRows() []misbehaviour {
	row := func(name string, a answer, code int, says string) misbehaviour {
		m := misbehaviour{name: "CAPA " + name, script: on("CAPA", a), code: code, says: says, online: true, lasting: code == 0}
		if code != 0 {
			m.again = nothing
		}
		return m
	}
	unending := row("has no end", flooding("+OK\r\n", "X-MORE\r\n"), 75, `list is longer than`)
	endless := row("has a line without end", flooding("+OK\r\n", "X"), 75, `line is longer than`)
	unending.memory, endless.memory = true, true
	silent := row("is not answered", stallAt(0), 75, `silent for 2s`)
	single := row("has a status line and nothing else", stallAt(5), 75, `silent for 2s`)
	slow := row("comes an octet at a time", dripping("+OK\r\n", "X"), 75, ``)
	silent.keys, single.keys, slow.keys = impatient, impatient, impatient
	return []misbehaviour{unending, endless, silent, single, slow,
		row("is not known", sayErr("what?"), 0, ""),
		row("is hung up on", func(c *dialogue, good func() string) {
			if c.session%2 == 1 {
				c.hangUp()
			} else {
				c.send(good())
			}
		}, 0, ""),
		row("after the login is not known", nthTime("CAPA", 2, sayErr("what?")), 0, ""),
		row("after the login is hung up on", nthTime("CAPA", 2, hangsUp), 75, `closed the connection`),
		row("is garbage", say("??\r\n"), 75, `expected \+OK or -ERR, not "\?\?"`),
		row("has 2000 lines", say("+OK\r\n"+strings.Repeat("X-MORE\r\n", 2000)+".\r\n"), 75, `list is longer than`),
		row("is refused in several lines", say("-ERR what\r\nis that\r\n.\r\n"), 75, `answer before any question`),
		row("is full of escape codes", say("+OK "+hostileText+"\r\nUIDL\r\nTOP\r\n"+hostileText+"\r\nX\x1b[31m\r\n.\r\n"), 0, ""),
		row("has empty and odd lines", say("+OK\r\n\r\n  \r\nUIDL\r\nTOP\r\nSASL\r\nSASL  \r\nPIPELINING \r\nPIPELINING\r\n..\r\n.\r\n"), 0, ""),
		{name: "PIPELINING is announced by a server that drops what comes early", script: dropsEarly, piped: "on",
			keys: impatient, code: 75, says: `silent for 2s`, again: nothing},
	}
}

// dropsEarly is a server that forgets all commands but the first of those that came together.
var dropsEarly = ons{"STAT": func(c *dialogue, good func() string) {
	c.r.Discard(c.r.Buffered())
	c.send(good())
}}.script()

// loginRows are servers with which the login does not work.
func loginRows() []misbehaviour {
	row := func(name string, s script, code int, says string) misbehaviour {
		m := misbehaviour{name: "login: " + name, script: s, code: code, says: says, online: true, lasting: code == 0}
		if code != 0 {
			m.again = nothing
		}
		return m
	}
	plain := func(a answer) script { return on("AUTH", a).with("SASL PLAIN") }
	first := sayErr("log in first")
	silent := row("no answer to PASS", on("PASS", stallAt(0)), 75, `silent for 2s`)
	challenged := row("AUTH is answered by challenges without end", plain(func(c *dialogue, _ func() string) {
		for !c.gone {
			c.send("+ \r\n")
			c.r.ReadString('\n')
		}
	}), 75, ``)
	muteAuth := row("no answer to AUTH", plain(stallAt(0)), 75, `silent for 2s`)
	silent.keys, challenged.keys, muteAuth.keys = impatient, impatient, impatient
	rows := []misbehaviour{silent, challenged, muteAuth,
		row("PASS is +OK, but nobody is logged in", ons{"PASS": say("+OK\r\n"), "STAT": first, "UIDL": first, "LIST": first}.script(), 75, `STAT: "log in first"`),
		row("PASS is +OK with SYS/TEMP", on("PASS", say("+OK [SYS/TEMP] this mailbox will seem empty\r\n")), 75, `\[SYS/TEMP\] "this mailbox will seem empty"`),
		row("AUTH is hung up on", plain(hangsUp), 75, `closed the connection`),
		row("USER is hung up on", on("USER", hangsUp), 75, `closed the connection`),
		row("PASS is hung up on", on("PASS", hangsUp), 75, `closed the connection`),
		row("PASS is answered by garbage", on("PASS", say("welcome\r\n")), 75, `expected \+OK or -ERR, not "welcome"`),
		row("PASS is refused at length", on("PASS", say("-ERR "+longText+"\r\n")), 75, `line is longer than`),
		row("PASS is refused in several lines", on("PASS", say("-ERR no\r\nsuch user\r\n.\r\n")), 77, `refused PASS: "no"`),
		row("USER is answered twice", on("USER", sayBehind("+OK\r\n")), 75, `answer before any question: "\+OK`),
		row("the password comes back", on("PASS", sayErr("no such password: "+program.Password)), 77, `no such password: \*\*\*`),
		row("AUTH is announced and not known", plain(sayErr("unknown command")), 0, ""),
		row("AUTH is refused", plain(sayErr("wrong")), 77, `refused AUTH: "wrong"`),
		row("AUTH is challenged", plain(func(c *dialogue, _ func() string) {
			c.send("+ d2hvIGFyZSB5b3U/\r\n")
			c.r.ReadString('\n')
			c.send("-ERR cancelled\r\n")
		}), 77, `refused AUTH: "cancelled"`),
		row("AUTH wants its answer in a line of its own", plain(func(c *dialogue, _ func() string) { c.send(c.obey("AUTH", "PLAIN", 0)) }), 0, ""),
		row("a refusal is full of escape codes", on("PASS", sayErr(hostileText)), 77, `\\x1b\[2J`),
		row("a response code is full of escape codes", on("PASS", sayErr("[AUTH\x1b[2J] no")), 77, `\\x1b\[2J`),
		row("a refusal tries to add lines", on("PASS", sayErr("no\rpopfetchd: account test: all is well\\r\\npopfetchd: fine\n\rmore")), 75, `bare LF`),
		row("AUTH-RESP-CODE is announced, a refusal has none", on("PASS", sayErr("try later")).with("AUTH-RESP-CODE"), 75, `"try later"`),
	}
	for _, refusal := range []struct {
		code string
		exit int
	}{{"", 77}, {"[AUTH] ", 77}, {"[SYS/PERM] ", 77}, {"[X-ODD] ", 77}, {"[SYS/TEMP] ", 75}, {"[IN-USE] ", 75}, {"[LOGIN-DELAY] ", 75}} {
		for _, command := range []string{"USER", "PASS"} {
			rows = append(rows, row(command+" is refused "+refusal.code, on(command, sayErr(refusal.code+"go away")), refusal.exit, "go away"))
		}
	}
	return rows
}
