package faults

import (
	"fmt"
	"strings"
)

// movedLetters are how many messages a server must list for all its UIDs to be taken as changed at once.
const movedLetters = 25

// changedUIDRows are servers whose UIDs are not what they were in the run before.
func changedUIDRows() []misbehaviour {
	rename := func(format string) func(w *ordeal) {
		return func(w *ordeal) { w.server.rename(func(i int, _ letter) string { return fmt.Sprintf(format, i) }) }
	}
	fetchedNone := func(w *ordeal) {
		if n := w.server.asked("RETR"); n != 0 {
			w.t.Errorf("%d messages were fetched again", n)
		}
	}
	migrated := func(m misbehaviour) misbehaviour {
		m.policy, m.before, m.lasting = "keep", true, true
		m.letters = func() []letter { return manyLetters(movedLetters, "old-%d") }
		if m.between == nil {
			m.between = rename("new-%d")
		}
		return m
	}
	return []misbehaviour{
		migrated(misbehaviour{name: "all UIDs changed at once", then: fetchedNone, warns: `unique ids`}),
		migrated(misbehaviour{name: "all UIDs changed at once, and new mail came", between: func(w *ordeal) {
			rename("new-%d")(w)
			w.server.deliver(fiveLetters()...)
		}, again: justThese(movedLetters+1, movedLetters+2, movedLetters+3, movedLetters+4, movedLetters+5)}),
		migrated(misbehaviour{name: "all UIDs changed at once, and the order too", between: func(w *ordeal) {
			rename("new-%d")(w)
			w.server.mu.Lock()
			defer w.server.mu.Unlock()
			l := w.server.letters
			for i := range l {
				j := (i * 7) % len(l)
				l[i], l[j] = l[j], l[i]
			}
		}, then: fetchedNone}),
		{name: "a UID is that of another message of another size", policy: "keep", before: true, lasting: true,
			between: replaceLetter(2, "Another one, longer than the one before.\r\n"), again: justThese(6)},
		{name: "a UID is that of another message, after a deletion", policy: "delete", before: true, lasting: true,
			between: replaceLetter(2, "Another one.\r\n"), again: justThese(6)},
		{name: "a UID is that of another message of the same size, after a deletion", policy: "delete", before: true, lasting: true,
			between: replaceLetter(2, "!\r\n..\r\n. dots\r\n\r\n.end\r\n"), again: justThese(6)},
		{name: "what was deleted is listed again", policy: "delete", before: true, lasting: true, between: func(w *ordeal) {
			w.server.mu.Lock()
			defer w.server.mu.Unlock()
			w.server.letters = append(w.server.letters, w.server.had...)
		}, again: nothing},
		{name: "the server's numbers changed", policy: "keep", before: true, lasting: true, between: func(w *ordeal) {
			w.server.mu.Lock()
			defer w.server.mu.Unlock()
			l := w.server.letters
			l[0], l[4] = l[4], l[0]
		}, then: fetchedNone},
		{name: "the server lists nothing for once", policy: "keep", before: true,
			script: ons{"STAT": say("+OK 0 0\r\n"), "UIDL": say("+OK\r\n.\r\n"), "LIST": say("+OK\r\n.\r\n")}.script()},
		{name: "messages vanish between LIST and RETR", script: ons{"RETR 2": sayErr("no such message"), "RETR 4": sayErr("[X] gone")}.script(),
			again: allBut(2, 4), warns: `no such message`},
	}
}

// replaceLetter puts another letter in the place of the n-th, under its UID.
func replaceLetter(n int, text string) func(w *ordeal) {
	return func(w *ordeal) {
		another := fiveLetters()[n-1]
		header, _, _ := strings.Cut(another.body, "\r\n\r\n")
		another.body = header + "\r\n\r\n" + text
		w.server.mu.Lock()
		defer w.server.mu.Unlock()
		w.server.had = append(w.server.had, another)
		for i, l := range w.server.letters {
			if l.uid == another.uid {
				w.server.letters[i] = another
				return
			}
		}
		w.server.letters = append(w.server.letters, another)
	}
}

// noUIDLRows are servers without UIDL, and without what else is optional in POP3.
func noUIDLRows() []misbehaviour {
	unknown := sayErr("unknown command")
	without := func(commands ...string) script {
		o := ons{}
		for _, command := range commands {
			o[command] = unknown
		}
		s := o.script()
		s.capabilities = func(all []string) []string {
			var rest []string
		next:
			for _, name := range all {
				for _, command := range commands {
					if command == "CAPA" {
						return nil
					}
					if name == command {
						continue next
					}
				}
				rest = append(rest, name)
			}
			return rest
		}
		return s
	}
	twins := func() []letter {
		all := fiveLetters()
		all[1].body = all[0].body
		return append(all, letter{uid: "like-3", body: strings.Replace(all[2].body, "here", "near", 1)})
	}
	top := func(name string, a answer, code int, says string, again func([]letter) []int) misbehaviour {
		s := without("UIDL")
		s.answers["TOP 2"] = a
		return misbehaviour{name: "without UIDL, TOP " + name, policy: "keep", script: s, better: without("UIDL"),
			code: code, says: says, again: again, keys: impatient}
	}
	endless, header := top("has no end", flooding("+OK\r\n", "X-More: and more\r\n"), 75, ``, nothing),
		top("has a line without end", flooding("+OK\r\n", "X"), 75, ``, nothing)
	endless.memory, header.memory = true, true
	return append([]misbehaviour{endless, header,
		top("is refused for one", sayErr("no"), 75, `no unique id, nor their headers`, allBut(2)),
		top("is refused with SYS/TEMP", sayErr("[SYS/TEMP] no"), 75, `\[SYS/TEMP\] "no"`, nothing),
		top("is hung up on", hangsUp, 75, `closed the connection`, nothing),
		top("breaks off", cutAt(20), 75, `closed the connection`, nothing),
		top("stalls", stallAt(20), 75, `silent for 2s`, nothing),
		top("comes an octet at a time", dripping("+OK\r\n", "x"), 75, ``, nothing),
		top("is garbage", say("what?\r\n"), 75, `expected \+OK or -ERR`, nothing),
		top("sends the whole message", swap("\r\n.\r\n", "\r\nand\r\nall\r\nthe rest\r\n.\r\n"), 0, ``, all),
		top("is answered twice", sayBehind("+OK\r\n.\r\n"), 75, `protocol`, nothing),
		{name: "UIDL is refused, though announced", script: on("UIDL", sayErr("no")), code: 75, says: `refused UIDL: "no"`,
			again: nothing, online: true},
		{name: "UIDL is not known any more", policy: "keep", before: true, script: without("UIDL", "CAPA"), code: 75, says: `unique ids before`},
	}, []misbehaviour{
		{name: "without UIDL, delete", policy: "delete", script: without("UIDL"), lasting: true, online: true},
		{name: "without UIDL, keep", policy: "keep", script: without("UIDL"), lasting: true, online: true},
		{name: "without UIDL, twins", script: without("UIDL"), letters: twins, lasting: true},
		{name: "without UIDL and CAPA, keep", policy: "keep", script: without("UIDL", "CAPA"), lasting: true, online: true},
		{name: "without UIDL, TOP and CAPA, delete", policy: "delete", script: without("UIDL", "TOP", "CAPA"), lasting: true, online: true},
		{name: "without UIDL and TOP, delete", policy: "delete", script: without("UIDL", "TOP"), lasting: true, online: true},
		{name: "without UIDL and TOP, keep", policy: "keep", script: without("UIDL", "TOP"), code: 78,
			says: `UIDL.*TOP|TOP.*UIDL`, again: nothing, online: true},
		{name: "without UIDL, TOP and CAPA, keep", policy: "keep", script: without("UIDL", "TOP", "CAPA"),
			code: 78, says: `UIDL.*TOP|TOP.*UIDL`, again: nothing, online: true},
		{name: "without TOP", script: without("TOP"), lasting: true, online: true},
		{name: "without CAPA", script: without("CAPA"), lasting: true, online: true},
		{name: "without CAPA and TOP", script: without("CAPA", "TOP"), lasting: true, online: true},
	}...)
}
