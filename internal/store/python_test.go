package store

import (
	"encoding/json"
	"strings"
	"testing"
)

// Python's mailbox module opens what we write and reads the same messages.
func TestPythonReadsBothKinds(t *testing.T) {
	mails := []string{
		"Subject: plain\r\n\r\ntext\r\n",
		"Return-Path: <a@b>\r\nSubject: quoted\r\n\r\nFrom here\r\n\r\nFrom there\r\n>From all\r\n",
		"Subject: bytes\r\n\r\n\xff\x00\r\rx\r\n\r\n",
		"Subject: header only\r\n\r\n",
		strings.Repeat("X-Many: fields\r\n", 1000) + "\r\nbody\r\n",
	}
	bothKinds(t, func(t *testing.T, m testMailbox) {
		put(t, m, 0, mails[:2]...)
		put(t, m, 2, mails[2:]...)
		kind, undo := "Maildir", false
		if _, ok := m.(*Mbox); ok {
			kind, undo = "mbox", true
		}
		out := must(python(t, `
import json, mailbox, sys
box = getattr(mailbox, sys.argv[1])(sys.argv[2], create=False)
print(json.dumps([[m.get_from() if hasattr(m, "get_from") else "", box.get_bytes(k).decode("latin-1")] for k, m in box.items()]))
`, kind, m.Path()).Output())(t)
		var read [][2]string
		check(t, json.Unmarshal(out, &read))
		var got, want []string
		for i, r := range read {
			text := latin1(r[1])
			if undo {
				text = unquoted(text) // Python leaves ">From " as it is
				wantFrom := "MAILER-DAEMON "
				if i == 1 {
					wantFrom = "a@b "
				}
				if !strings.HasPrefix(r[0], wantFrom) {
					t.Errorf("message %d is from %q", i, r[0])
				}
			}
			got = append(got, text)
		}
		for _, mail := range mails {
			want = append(want, stored(m, mail))
		}
		sameSet(t, got, want)
	})
}

func latin1(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteByte(byte(r))
	}
	return b.String()
}
