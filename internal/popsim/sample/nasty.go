package sample

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/popfetchd/popfetchd/internal/popsim"
)

const mib = 1 << 20

// Nasty are messages for tests that compare what was stored with Message.Stored, byte for byte. The UID of each is its
// name. Together they have about 10 MB; for more there is Large.
func Nasty() []popsim.Message {
	var all []popsim.Message
	add := func(uid, body string) {
		all = append(all, popsim.Message{UID: uid, Body: []byte(body)})
	}
	const head = "From: a@example.org\r\nSubject: nasty\r\n\r\n"
	add("empty", "")
	add("only-a-line-end", "\r\n")
	add("only-line-ends", "\r\n\r\n\r\n\r\n")
	add("one-byte", "x")
	add("header-only", "Subject: header only\r\n")
	add("header-only-without-end", "Subject: header only")
	add("empty-body", head)
	add("blank-lines-at-the-end", head+"body\r\n\r\n\r\n")
	add("no-final-line-end", head+"last")
	addDots(add, head)
	addFromLines(add, head)
	addLineEnds(add, head)
	addBytes(add, head)
	addLongLines(add, head)
	addBoundaries(add, head)
	return all
}

func addDots(add func(uid, body string), head string) {
	add("dot-alone", head+".\r\n")
	add("dot-is-all", ".")
	add("dot-is-the-first-byte", ".header: odd\r\n\r\n.\r\n")
	add("dots", head+".\r\n..\r\n...\r\n....\r\n.x\r\n..x\r\n .\r\n. \r\n.\r\n")
	add("dot-after-blank", head+"\r\n.\r\n\r\n.\r\n\r\n")
	add("dot-without-end", head+"text\r\n.")
	add("dot-lines-many", head+strings.Repeat(".\r\n", 20_000))
	add("looks-like-replies", head+".\r\n+OK\r\n-ERR no\r\n.\r\nQUIT\r\n")
}

func addFromLines(add func(uid, body string), head string) {
	add("from-first", "From someone Mon Jan  1 00:00:00 2024\r\n"+head+"body\r\n")
	add("from-after-blank", head+"text\r\n\r\nFrom here on\r\n\r\nFrom there on\r\n")
	add("from-mid-paragraph", head+"text\r\nFrom here on\r\ntext\r\n")
	add("from-at-the-end", head+"text\r\n\r\nFrom ")
	add("from-word-alone", head+"\r\nFrom\r\n\r\nFrom:\r\n\r\nfrom x\r\n\r\nFROM x\r\n\r\n From x\r\n")
	add("from-quoted", head+">From x\r\n>>From x\r\n>>>From x\r\n>> From x\r\n>From\r\n>\r\n>>\r\n")
	add("from-quoted-first", ">From someone\r\n\r\n>From else\r\n")
	add("from-quoted-much", head+strings.Repeat(">", mib)+"From x\r\n"+strings.Repeat(">", mib)+"\r\n")
	add("from-lines-many", head+strings.Repeat("From x\r\n>From y\r\n\r\n", 5_000))
	add("mbox-inside", head+"From a Mon Jan  1 00:00:00 2024\r\nSubject: x\r\n\r\nbody\r\n\r\nFrom b Mon Jan  1 00:00:00 2024\r\n\r\n")
}

// addLineEnds has those that are none on the wire: only CRLF ends a line (RFC 5321 §2.3.8).
func addLineEnds(add func(uid, body string), head string) {
	add("bare-cr", head+"one\rtwo\rthree\r\n\rfour\r\n")
	add("bare-cr-at-the-end", head+"text\r")
	add("cr-crlf", head+"one\r\r\ntwo\r\r\r\n\r\r\n")
	add("cr-from", head+"\rFrom x\r\n\r\n\rFrom y\r\n")
	add("bare-lf", head+"one\ntwo\n\nthree\r\n\nfour\r\n")
	add("bare-lf-at-the-end", head+"text\n")
	add("bare-lf-all", "Subject: unix\n\nbody\n.\nend\n")
	add("bare-lf-dot", head+"a\n.\nb\n.\r\nc\r\n.\nd\n..\n.\r\n")
	add("bare-lf-from", head+"a\nFrom x\n\nFrom y\n>From z\r\n")
	add("lf-cr", head+"one\n\rtwo\n\r\n\r.\n\r\n")
}

func addBytes(add func(uid, body string), head string) {
	var each bytes.Buffer
	for b := range 256 {
		each.WriteByte(byte(b))
	}
	add("each-byte", head+each.String()+"\r\n")
	add("each-byte-on-a-line", head+strings.Join(strings.Split(strings.ReplaceAll(each.String(), "\n", ""), ""), "\r\n")+"\r\n")
	add("nul", head+"a\x00b\r\n\x00\r\n\x00.\r\n.\x00\r\n")
	add("nul-first", "\x00")
	add("8bit", "Subject: \xe9\xff\xfe\r\n\r\n\x80\x81\xfe\xff\r\nd\xe9j\xe0\r\n")
	add("broken-utf-8", head+"\xc3\r\n\xc3\x28 \xe2\x82 \xf0\x9f\x92\r\n")
	add("control-bytes", head+"\x1b[31mred\x1b[0m \x08\x7f \x1a \x04\r\n")
}

func addLongLines(add func(uid, body string), head string) {
	add("line-64KiB", head+strings.Repeat("x", 64<<10)+"\r\n")
	add("line-1MiB", head+strings.Repeat("y", mib)+"\r\nafter\r\n")
	add("line-1MiB-of-dots", head+strings.Repeat(".", mib)+"\r\n")
	add("line-1MiB-without-end", head+strings.Repeat("From ", mib/5))
	add("header-line-1MiB", "X-Long: "+strings.Repeat("z", mib)+"\r\n\r\nbody\r\n")
	add("cr-1MiB", head+strings.Repeat("\r", mib)+"\r\n")
}

// addBoundaries puts what matters across the edges of the buffers that readers like to have.
func addBoundaries(add func(uid, body string), head string) {
	for _, edge := range []int{4 << 10, 16 << 10, 32 << 10, 64 << 10} {
		for shift := -6; shift <= 6; shift++ {
			body := head + strings.Repeat("f", edge+shift-len(head)) + "\r\n.\r\n\r\nFrom x\r\n>From y\r\n"
			add(fmt.Sprintf("edge-%d%+d", edge, shift), body)
		}
	}
}
