package sample

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"strings"
	"time"

	"golang.org/x/text/encoding"

	"github.com/popfetchd/popfetchd/internal/popsim"
)

const me = "Robin Vale <robin@example.org>"

// draft is a message in the making; what is written into it has CRLF line ends already.
type draft struct{ bytes.Buffer }

func (d *draft) field(name, value string) { fmt.Fprintf(d, "%s: %s\r\n", name, value) }

// message is what became of it.
func (d *draft) message() popsim.Message { return popsim.Message{Body: d.Bytes()} }

// begin writes the fields that most mail begins with. from and subject are ready for a header.
func (s slot) begin(from, subject string) *draft {
	d := &draft{}
	address := from[strings.LastIndexByte(from, '<')+1:]
	address = strings.TrimSuffix(address, ">")
	domain := address[strings.IndexByte(address, '@')+1:]
	d.field("Return-Path", "<"+address+">")
	d.field("Received", fmt.Sprintf("from mx.%s (mx.%s [192.0.2.%d])\r\n\tby mail.example.org with ESMTPS id %012x\r\n\tfor <robin@example.org>; %s",
		domain, domain, 1+s.random.IntN(250), s.random.Uint64()>>16, s.date.Add(4*time.Second).Format(time.RFC1123Z)))
	if s.random.IntN(2) == 0 {
		d.field("DKIM-Signature", s.signature(domain))
	}
	d.field("Date", s.date.Format(time.RFC1123Z))
	d.field("From", from)
	d.field("To", me)
	d.field("Subject", subject)
	d.field("Message-ID", id(s.number))
	return d
}

// signature looks like one of DKIM, and signs nothing.
func (s slot) signature(domain string) string {
	value := fmt.Sprintf("v=1; a=rsa-sha256; c=relaxed/relaxed; d=%s; s=sel%d;\r\n\th=from:to:subject:date:message-id; bh=%s;\r\n\tb=",
		domain, s.date.Year(), base64.StdEncoding.EncodeToString(s.bytes(32)))
	return value + strings.ReplaceAll(wrap(base64.StdEncoding.EncodeToString(s.bytes(256)), 68), "\r\n", "\r\n\t ")
}

func (s slot) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(s.random.Uint32())
	}
	return b
}

// typed writes the fields of a MIME text and the text.
func (d *draft) typed(kind string, f form, text string) {
	d.field("Content-Type", kind+"; charset="+f.charset)
	d.field("Content-Transfer-Encoding", f.transfer)
	d.WriteString("\r\n")
	d.Write(f.encode(text))
}

// plain ends a message of one part.
func (d *draft) plain(f form, text string) popsim.Message {
	d.field("MIME-Version", "1.0")
	d.typed("text/plain", f, text)
	return d.message()
}

// encode turns a text with LF line ends into the octets of a body. What the charset cannot say becomes its replacement
// character; the tests see to it that there is none.
func (f form) encode(text string) []byte {
	octets := f.charsetBytes(strings.ReplaceAll(text, "\n", "\r\n"))
	switch f.transfer {
	case "base64":
		return []byte(wrap(base64.StdEncoding.EncodeToString(octets), 76) + "\r\n")
	case "quoted-printable":
		var b bytes.Buffer
		w := quotedprintable.NewWriter(&b)
		w.Write(octets) // a bytes.Buffer takes all
		w.Close()
		return b.Bytes()
	default:
		return octets
	}
}

func (f form) charsetBytes(text string) []byte {
	if f.encoding == nil {
		return []byte(text)
	}
	octets, err := encoding.ReplaceUnsupported(f.encoding.NewEncoder()).Bytes([]byte(text))
	if err != nil {
		return []byte(text)
	}
	return octets
}

// word writes a text for a header, as an encoded word (RFC 2047) in the form's charset if it needs one. UTF-16 has no
// place there (§5 wants a charset in which ASCII is ASCII).
func (f form) word(text string) string {
	if f.encoding == nil || strings.HasPrefix(strings.ToLower(f.charset), "utf-16") {
		if f.transfer == "quoted-printable" {
			return mime.QEncoding.Encode("utf-8", text)
		}
		return mime.BEncoding.Encode("UTF-8", text)
	}
	return mime.BEncoding.Encode(f.charset, string(f.charsetBytes(text)))
}

// wrap cuts a text into lines of width octets, joined by CRLF.
func wrap(text string, width int) string {
	var b strings.Builder
	for len(text) > width {
		b.WriteString(text[:width] + "\r\n")
		text = text[width:]
	}
	return b.String() + text
}

// letter is the i-th letter of somebody in one form.
func (t tongue) letter(f form, i int) maker {
	return func(s slot) popsim.Message {
		d := s.begin(f.word(t.name)+" <"+t.address+">", f.word(t.subjects[i%len(t.subjects)]))
		d.field("User-Agent", programs[s.random.IntN(len(programs))])
		return d.plain(f, t.text(i))
	}
}

func (t tongue) text(i int) string {
	n := len(t.paragraphs)
	parts := []string{t.greeting, t.paragraphs[i%n]}
	if n > 1 {
		parts = append(parts, t.paragraphs[(i+1)%n])
	}
	return strings.Join(append(parts, t.closing), "\n\n") + "\n"
}

var programs = []string{"Pigeon Mail 3.1", "Mutterings 2.2.9", "Postbox-less 0.9", "Birch/7.0 (X11)", "WebLetters 12"}
