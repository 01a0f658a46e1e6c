package faults

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/popfetchd/popfetchd/test/program"
)

// obey does what a good server does, and returns its whole answer.
func (c *dialogue) obey(verb, argument string, number int) string {
	switch verb {
	case "CAPA":
		return c.announce()
	case "STLS":
		c.upgrade = true
		return "+OK go on\r\n"
	case "QUIT":
		if c.in {
			c.commit()
		}
		c.gone = false // the answer is still to be sent; the client then hangs up
		return "+OK bye\r\n"
	}
	if !c.in {
		return c.login(verb, argument)
	}
	switch verb {
	case "STAT":
		return c.stat()
	case "UIDL":
		return c.list(func(l letter) string { return l.uid })
	case "LIST":
		return c.list(letter.listed)
	case "NOOP":
		return "+OK\r\n"
	case "RSET":
		clear(c.marked)
		return "+OK\r\n"
	case "RETR", "DELE", "TOP":
	default:
		return "-ERR unknown command\r\n"
	}
	if number < 1 || number > len(c.letters) || c.marked[number] {
		return "-ERR no such message\r\n"
	}
	return c.one(verb, argument, number)
}

// one obeys a command about one message.
func (c *dialogue) one(verb, argument string, number int) string {
	body := c.letters[number-1].body
	switch verb {
	case "DELE":
		c.marked[number] = true
		return "+OK marked\r\n"
	case "TOP":
		return "+OK\r\n" + stuffed(top(body, argument)) + ".\r\n"
	default:
		return fmt.Sprintf("+OK %d octets\r\n%s.\r\n", len(body), stuffed(body))
	}
}

func (c *dialogue) announce() string {
	capabilities := []string{"USER", "UIDL", "TOP"}
	if c.server.pipelining {
		capabilities = append(capabilities, "PIPELINING")
	}
	if c.script.tls != nil && !c.script.implicit {
		capabilities = append(capabilities, "STLS")
	}
	if c.script.capabilities != nil {
		capabilities = c.script.capabilities(capabilities)
	}
	if capabilities == nil {
		return "-ERR unknown command\r\n"
	}
	return "+OK\r\n" + strings.Join(append(capabilities, ".\r\n"), "\r\n")
}

func (c *dialogue) login(verb, argument string) string {
	switch {
	case verb == "USER":
		c.user = argument
		return "+OK\r\n"
	case verb == "PASS" && c.user == program.Username && argument == program.Password:
	case verb == "AUTH":
		_, initial, _ := strings.Cut(argument, " ")
		if initial == "" {
			c.send("+ \r\n")
			initial, _ = c.r.ReadString('\n')
		}
		if plain, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(initial)); string(plain) != "\x00"+program.Username+"\x00"+program.Password {
			return "-ERR [AUTH] no\r\n"
		}
	default:
		return "-ERR [AUTH] no\r\n"
	}
	c.in = true
	return "+OK welcome\r\n"
}

func (c *dialogue) stat() string {
	count, octets := 0, 0
	for i, l := range c.letters {
		if !c.marked[i+1] {
			count++
			octets += len(l.body)
		}
	}
	return fmt.Sprintf("+OK %d %d\r\n", count, octets)
}

func (c *dialogue) list(of func(letter) string) string {
	lines := []string{"+OK"}
	for i, l := range c.letters {
		if !c.marked[i+1] {
			lines = append(lines, fmt.Sprintf("%d %s", i+1, of(l)))
		}
	}
	return strings.Join(append(lines, ".\r\n"), "\r\n")
}

// commit carries out the deletions.
func (c *dialogue) commit() {
	if c.script.keepsMail {
		return
	}
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	for number := range c.marked {
		deleted := c.letters[number-1]
		if i := slices.Index(c.server.letters, deleted); i >= 0 {
			c.server.letters = slices.Delete(c.server.letters, i, i+1)
		}
	}
	clear(c.marked)
}

func stuffed(body string) string {
	if strings.HasPrefix(body, ".") {
		body = "." + body
	}
	return strings.ReplaceAll(body, "\r\n.", "\r\n..")
}

// top is the header of a body and its first lines, as many as the second argument says.
func top(body, argument string) string {
	header, rest, _ := strings.Cut(body, "\r\n\r\n")
	var number, lines int
	fmt.Sscan(argument, &number, &lines)
	first := strings.SplitAfter(rest, "\r\n")
	return header + "\r\n\r\n" + strings.Join(first[:min(lines, len(first))], "")
}
