package sample

import (
	"fmt"
	"strings"

	"github.com/popfetchd/popfetchd/internal/popsim"
)

// oddities are messages as mailboxes of many years hold them, each odd in one way that a mailbox format, a line
// reader or POP3 itself may trip over.
func oddities() []maker {
	text := func(subject, body string) maker {
		return func(s slot) popsim.Message {
			d := s.begin(friends[s.random.IntN(len(friends))], subject)
			d.WriteString("\r\n" + body)
			return d.message()
		}
	}
	return append([]maker{
		text("My dot files", "The list you asked for:\r\n\r\n.profile\r\n.bashrc\r\n.\r\n..\r\n...\r\n.hidden\r\n\r\n.. and that is all.\r\n"),
		text("A full stop", ".\r\n"),
		text("Dots at the end", "Wait for it\r\n.\r\n..\r\n."),
		text("From our garden", "From our garden, with love: two kilos of plums.\r\n\r\nFrom the kitchen, with care: the jam.\r\nFrom now on, breakfast is safe.\r\n"),
		text("Quoting the old mailbox", ">From the archive:\r\n>>From the archive of the archive:\r\n> From is a word like any other.\r\n\r\n>From Monday on.\r\n"),
		text("How a mailbox looks inside", "From robin@example.org Sun Sep  1 08:00:00 2024\r\nFrom: Robin\r\n\r\nHello\r\n\r\nFrom robin@example.org Sun Sep  1 08:00:01 2024\r\nFrom: Robin\r\n\r\nHello again\r\n"),
		text("One very long line", `{"readings":[`+strings.Repeat(`{"pier":"east","cm":212},`, 64<<10/25+1)+"null]}\r\n"),
		text("No end to this line", "There is no line end after this full stop."),
		text("", ""),
		text("The body is missing", ""),
		text("Nothing but blank lines", strings.Repeat("\r\n", 12)),
		text("Blank lines at the end", "And then silence.\r\n\r\n\r\n\r\n"),
		text("Caf\xe9 raw", "D\xe9j\xe0 vu: \xe9crit en latin-1, sans le dire.\r\n"),
		text("Grüße, raw UTF-8 in the header: 你好", "RFC 6532 allows it.\r\n"),
		text("A zero byte", "before\x00after\r\n\x00\r\n"),
		text("Bare carriage returns", "10%\r20%\r30%\r100%\r\ndone\r\r\n"),
		text("White space", "trailing spaces   \r\n\ttab\t\r\n \r\n   \r\nform feed\f\r\n"),
		text("Lines of 998", strings.Repeat(strings.Repeat("0123456789", 100)[:998]+"\r\n", 20)),
		text("=?utf-8?Q?broken_=E4=BD_word?= =?x-none?B?!!!?=", "The subject is as it came.\r\n"),
		text("uuencoded, as in the old days", "begin 644 hello.txt\r\n&:&5L;&\\*\r\n`\r\nend\r\n"),
	}, headerOnly, manyHops, longReferences, mailboxFields, flowed, unclosed, everyByte, bounce, strangeFields)
}

// headerOnly ends within the header: there is no blank line.
func headerOnly(s slot) popsim.Message { return s.begin(friends[0], "Header only").message() }

func manyHops(s slot) popsim.Message {
	d := &draft{}
	for i := range 60 {
		d.field("Received", fmt.Sprintf("from hop%d.example.net (hop%d.example.net [198.51.100.%d])\r\n\tby hop%d.example.net with ESMTP id %08x;\r\n\t%s",
			i+1, i+1, i+1, i, s.random.Uint32(), s.date.Format("Mon, 2 Jan 2006 15:04:05 -0700")))
	}
	d.Write(s.begin(friends[1], "The long way round").Bytes())
	d.WriteString("\r\nThis letter saw the world.\r\n")
	return d.message()
}

func longReferences(s slot) popsim.Message {
	d := s.begin(friends[2], "Re: Re: Re: Re: the kettle")
	var all []string
	for i := range 150 {
		all = append(all, fmt.Sprintf("<kettle.%d.%016x@example.net>", i, s.random.Uint64()))
	}
	d.field("References", strings.Join(all, "\r\n\t"))
	d.WriteString("\r\nStill missing.\r\n")
	return d.message()
}

// mailboxFields has those that mail programs use within mbox files; a program that believes them would be misled.
func mailboxFields(s slot) popsim.Message {
	d := s.begin(friends[3], "Fields that lie")
	d.field("Status", "RO")
	d.field("X-Status", "D")
	d.field("Content-Length", "99999")
	d.field("Lines", "1")
	d.field("X-UID", "7")
	d.WriteString("\r\nNone of it is true.\r\n\r\nFrom where I sit, at least.\r\n")
	return d.message()
}

func flowed(s slot) popsim.Message {
	d := s.begin(friends[4], "Flowed text")
	d.field("MIME-Version", "1.0")
	d.field("Content-Type", "text/plain; charset=us-ascii; format=flowed; delsp=yes")
	d.WriteString("\r\nA paragraph that flows \r\nover two lines, or three, \r\nas wide as you like.\r\n\r\n From here the lines are stuffed with a space.\r\n> quoted \r\n> and flowed\r\n")
	return d.message()
}

// unclosed lacks the last boundary, and its last line the end.
func unclosed(s slot) popsim.Message {
	d := s.begin(friends[5], "A torn multipart")
	boundary := d.multipart("mixed", s)
	d.part(boundary)
	d.typed("text/plain", ascii, "The second part never came.\n")
	d.part(boundary)
	d.WriteString("Content-Type: text/plain\r\n\r\nOr only its beg")
	return d.message()
}

// everyByte has every byte there is, but no CR and LF alone (RFC 3030 §3 would allow even that).
func everyByte(s slot) popsim.Message {
	d := s.begin(friends[6], "Every byte there is")
	d.field("MIME-Version", "1.0")
	d.field("Content-Type", "application/octet-stream")
	d.field("Content-Transfer-Encoding", "binary")
	d.WriteString("\r\n")
	for b := range 256 {
		if b != '\r' && b != '\n' {
			d.WriteByte(byte(b))
		}
	}
	d.WriteString("\r\n")
	return d.message()
}

// bounce is a report of RFC 3464.
func bounce(s slot) popsim.Message {
	d := s.begin("Mail Delivery System <MAILER-DAEMON@example.net>", "Undelivered Mail Returned to Sender")
	d.field("Auto-Submitted", "auto-replied")
	boundary := d.multipart("report; report-type=delivery-status", s)
	d.part(boundary)
	d.typed("text/plain", ascii, "I am sorry. The kettle's owner is unknown here.\n")
	d.part(boundary)
	d.WriteString("Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.net\r\n\r\nFinal-Recipient: rfc822; kettle@example.net\r\nAction: failed\r\nStatus: 5.1.1\r\n")
	d.part(boundary)
	d.WriteString("Content-Type: text/rfc822-headers\r\n\r\nFrom: " + me + "\r\nTo: kettle@example.net\r\nSubject: Where are you?\r\n")
	return d.end(boundary)
}

// strangeFields has what parsers stumble over: an empty value, a space before the colon, a line that is no field.
func strangeFields(s slot) popsim.Message {
	d := s.begin(friends[0], "Strange fields")
	d.WriteString("X-Empty:\r\nX-Spaced : yes\r\nx-lower:no space\r\nthis line is no field at all\r\nX-After: still header?\r\n\r\nBody.\r\n")
	return d.message()
}
