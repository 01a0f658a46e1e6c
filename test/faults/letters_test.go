package faults

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/test/program"
)

// bundle is letters: messages by their subjects, no two alike. Neighbours choose by subject what they delete, and mail readers
// add fields to the headers of an mbox, so that hashes would not do here.
type bundle map[string]string

// oddBodies are what mail readers, mbox files and servers are known to stumble over.
var oddBodies = []string{
	"A line, and another.\r\nFrom here on one that has to be quoted.\r\n>From there too.\r\n>>From everywhere.\r\n",
	"",
	"\r\n\r\nBlank lines before and after.\r\n\r\n\r\n",
	".\r\n..\r\nDots.\r\n",
	"Status: no field, this is the body\r\nContent-Length: 3\r\n",
	strings.Repeat("A long line, and no end. ", 200) + "\r\n",
	"\xe4\xf6\xfc \x80\xff\r\n",
	"From \r\n\r\nFrom the beginning.\r\n\r\nFrom me@example.org Thu Jan  1 00:00:00 2026\r\n\r\n",
}

// add makes a new letter, of which the subject tells nothing but which it is. None comes with fields that mail readers
// write for themselves: once one has rewritten an mbox, nobody can tell whose they are.
func (l bundle) add(subject string) popsim.Message {
	n := len(l)
	body := fmt.Appendf(nil, "Message-ID: <%s@example.org>\r\nFrom: A Neighbour <a@example.org>\r\n"+
		"Date: Thu, 01 Jan 2026 00:%02d:%02d +0000\r\nSubject: %s\r\n\r\n%s",
		subject, n/60%60, n%60, subject, oddBodies[n%len(oddBodies)])
	m := popsim.Message{Body: body, UID: "uid-" + subject}
	l[subject] = string(m.Stored())
	return m
}

// readerFields are those that mail readers write into an mbox, as Dovecot's manual lists them, and mutt's Lines.
var readerFields = []string{"Status:", "X-Status:", "X-Keywords:", "X-UID:", "X-IMAP:", "X-IMAPbase:", "Content-Length:", "Lines:"}

// bare is a message without what mail readers write into its header, and without blank lines at its end.
func bare(message string) string {
	header, body, _ := strings.Cut(message, "\n\n")
	return unmarked(header+"\n") + "\n" + strings.TrimRight(body, "\n")
}

// unmarked is a text without any line that looks like such a field.
func unmarked(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !slices.ContainsFunc(readerFields, func(field string) bool { return strings.HasPrefix(line, field) }) {
			b.WriteString(line)
		}
	}
	return b.String()
}

func subjectOf(message string) string {
	header, _, _ := strings.Cut("\n"+message, "\n\n")
	_, rest, _ := strings.Cut(header, "\nSubject: ")
	subject, _, _ := strings.Cut(rest, "\n")
	return subject
}

// lettersIn reads what the account's mailbox holds, by subject.
func lettersIn(t *testing.T, a program.Account) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, m := range mailIn(t, a) {
		all[subjectOf(m)] = append(all[subjectOf(m)], m)
	}
	return all
}

func mailIn(t *testing.T, a program.Account) []string {
	t.Helper()
	if a.Kind == "mbox" {
		data, err := os.ReadFile(a.Mailbox)
		if err != nil {
			t.Fatal(err)
		}
		return unquoted(t, data)
	}
	var all []string
	for _, path := range maildirFiles(t, a) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(data))
	}
	return all
}

func maildirFiles(t *testing.T, a program.Account) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(a.Mailbox, "[nc][eu][wr]", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// unquoted takes an mbox apart as its readers do, at each line that begins with "From ", and undoes mboxrd's quoting.
func unquoted(t *testing.T, data []byte) (all []string) {
	t.Helper()
	var message []byte
	end := func() {
		if message != nil {
			all = append(all, string(bytes.TrimSuffix(message, []byte("\n")))) // the blank line
		}
		message = []byte{}
	}
	for line := range bytes.Lines(data) {
		switch {
		case bytes.HasPrefix(line, []byte("From ")):
			end()
		case message == nil:
			t.Fatalf("an mbox that begins with %.50q", line)
		case bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")):
			message = append(message, line[1:]...)
		default:
			message = append(message, line...)
		}
	}
	end()
	return all
}

// weigh holds what the mailbox has against the letters that are to be there, and enters the result in the table. With
// marks a mail reader has been at the headers. Those of optional may be there or not, yet not twice.
func weigh(t *testing.T, fault string, a program.Account, want bundle, marks bool, optional ...string) {
	t.Helper()
	r := result{fault: fault, tried: 1, messages: len(want)}
	got := lettersIn(t, a)
	for subject, text := range want {
		copies := got[subject]
		delete(got, subject)
		whole := 0
		for _, c := range copies {
			if c == text || marks && bare(c) == bare(text) {
				whole++
			} else {
				t.Logf("%s is\n%.600q\nand not\n%.600q", subject, c, text)
			}
		}
		r.damaged += len(copies) - whole
		if len(copies) == 0 && !slices.Contains(optional, subject) {
			r.lost++
			t.Logf("lost: %s", subject)
		}
		if whole > 1 {
			r.duplicated += whole - 1
			t.Logf("there %d times: %s", whole, subject)
		}
	}
	for subject, copies := range got {
		r.duplicated += len(copies)
		t.Logf("should not be there: %q, %d times", subject, len(copies))
	}
	results.add(r)
	if r.lost+r.duplicated+r.damaged > 0 {
		t.Errorf("%s: of %d letters %d lost, %d too many, %d damaged", fault, r.messages, r.lost, r.duplicated, r.damaged)
	}
}
