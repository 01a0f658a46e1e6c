package sample_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/internal/popsim/sample"
)

// all is made once for the tests that only look at it.
var all = sync.OnceValue(func() []popsim.Message { return slices.Collect(sample.Messages()) })

func octets(t *testing.T, m popsim.Message) []byte {
	t.Helper()
	b, err := io.ReadAll(m.Reader())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMessages(t *testing.T) {
	var count, large int
	var total int64
	seen := make(map[string]bool)
	var last popsim.Message
	for _, m := range all() {
		count++
		total += m.Octets()
		if m.Octets() > 3<<20 {
			large++
		}
		if seen[m.UID] || !strings.HasPrefix(m.UID, "GmailId") {
			t.Errorf("message %d has the UID %q", count, m.UID)
		}
		seen[m.UID] = true
		if !m.Received.After(last.Received) {
			t.Errorf("message %d of %v is not after %v", count, m.Received, last.Received)
		}
		last = m
	}
	if count != sample.Count || large != 3 || total > 25<<20 {
		t.Errorf("%d messages, %d of them large, %d octets", count, large, total)
	}
}

func TestSameEveryTime(t *testing.T) {
	sum := func() string {
		h := sha256.New()
		for m := range sample.Messages() {
			fmt.Fprintln(h, m.UID, m.Received, m.Size)
			io.Copy(h, io.LimitReader(m.Reader(), 200_000))
		}
		for _, m := range sample.Nasty() {
			fmt.Fprintln(h, m.UID)
			io.Copy(h, m.Reader())
		}
		return fmt.Sprintf("%x", h.Sum(nil))
	}
	if one, two := sum(), sum(); one != two {
		t.Errorf("the mail differs from run to run: %s, %s", one, two)
	}
}

// What the issue of the demo promises, each found in the bytes.
func TestKinds(t *testing.T) {
	want := map[string]func(b []byte) bool{
		"multipart/alternative":  contains("Content-Type: multipart/alternative"),
		"HTML":                   contains("text/html"),
		"Hindi in UTF-8":         contains("दीवाली की हार्दिक शुभकामनाएँ"),
		"Kazakh in UTF-8":        contains("Наурыз мейрамы құтты болсын"),
		"Kazakh in PT154":        contains("charset=PT154"),
		"koi8-r":                 contains("charset=koi8-r"),
		"windows-1251":           contains("charset=windows-1251"),
		"iso-8859-1":             contains("charset=iso-8859-1"),
		"ISO-8859-15":            contains("charset=ISO-8859-15"),
		"ISO-2022-JP":            contains("\x1b$B"),
		"GB18030":                contains("charset=GB18030"),
		"Big5":                   contains("charset=big5"),
		"EUC-KR":                 contains("charset=euc-kr"),
		"UTF-16":                 contains("charset=utf-16"),
		"encoded subject":        contains("Subject: =?koi8-r?b?"),
		"lone dot":               contains("\r\n.\r\n"),
		"two dots":               contains("\r\n..\r\n"),
		"hidden":                 contains("\r\n.hidden\r\n"),
		"From line":              contains("\r\nFrom our garden"),
		"From after a blank":     contains("\r\n\r\nFrom the kitchen"),
		"quoted From":            contains("\r\n>From the archive"),
		"NUL":                    contains("\x00"),
		"raw 8-bit":              contains("D\xe9j\xe0 vu"),
		"bare CR":                contains("\r20%\r"),
		"thread":                 contains("References: <"),
		"DKIM":                   contains("DKIM-Signature: v=1"),
		"header only":            func(b []byte) bool { return !bytes.Contains(b, []byte("\r\n\r\n")) },
		"empty body":             func(b []byte) bool { return bytes.Index(b, []byte("\r\n\r\n")) == len(b)-4 },
		"no final line end":      func(b []byte) bool { return !bytes.HasSuffix(b, []byte("\r\n")) },
		"line of 64 KiB or more": func(b []byte) bool { return longestLine(b) >= 64<<10 },
	}
	for _, m := range all() {
		if m.Open != nil {
			continue
		}
		for kind, found := range want {
			if found(m.Body) {
				delete(want, kind)
			}
		}
	}
	for kind := range want {
		t.Errorf("no message with: %s", kind)
	}
}

func contains(s string) func([]byte) bool {
	return func(b []byte) bool { return bytes.Contains(b, []byte(s)) }
}

func longestLine(b []byte) (longest int) {
	for line := range bytes.SplitSeq(b, []byte("\r\n")) {
		longest = max(longest, len(line))
	}
	return longest
}

// Nearly all of it is proper mail: it parses, and the parts of multiparts are found.
func TestProperMail(t *testing.T) {
	var improper []string
	for _, m := range all() {
		if m.Open != nil {
			continue
		}
		if err := parse(octets(t, m)); err != nil {
			improper = append(improper, fmt.Sprintf("%s: %v", m.UID, err))
		}
	}
	if len(improper) != 2 { // a torn multipart and strange fields
		t.Errorf("improper: %s", strings.Join(improper, "\n"))
	}
}

func parse(octets []byte) error {
	m, err := mail.ReadMessage(bytes.NewReader(octets))
	if err != nil {
		return err
	}
	if _, err := m.Header.Date(); err != nil {
		return err
	}
	if _, err := m.Header.AddressList("From"); err != nil && strings.HasPrefix(m.Header.Get("From"), "=?utf-8") {
		return err
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || !strings.HasPrefix(kind, "multipart/") {
		return nil
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for {
		part, err := parts.NextPart()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, part); err != nil {
			return err
		}
	}
}

func TestNastyIsNamed(t *testing.T) {
	seen := make(map[string]bool)
	for _, m := range sample.Nasty() {
		if seen[m.UID] || len(m.UID) > 70 || strings.ContainsAny(m.UID, " \r\n") {
			t.Errorf("bad or second UID %q", m.UID)
		}
		seen[m.UID] = true
	}
}

// The large ones come whole, as files that a client can decode.
func TestAttachments(t *testing.T) {
	kinds := map[string]string{"audio/wav": "RIFF", "image/bmp": "BM", "application/octet-stream": ""}
	for _, m := range all() {
		if m.Open == nil {
			continue
		}
		whole := octets(t, m)
		if int64(len(whole)) != m.Size {
			t.Errorf("%d octets, says %d", len(whole), m.Size)
		}
		if err := parse(whole); err != nil {
			t.Error(err)
		}
		_, file, _ := bytes.Cut(whole, []byte("Content-Transfer-Encoding: base64\r\n\r\n"))
		start, err := base64.StdEncoding.DecodeString(string(file[:76]))
		for kind, magic := range kinds {
			if bytes.Contains(whole, []byte("Content-Type: "+kind)) && bytes.HasPrefix(start, []byte(magic)) && err == nil {
				delete(kinds, kind)
			}
		}
	}
	if len(kinds) > 0 {
		t.Errorf("not found: %v", kinds)
	}
}

func TestLarge(t *testing.T) {
	for _, n := range []int64{300, 301, 377, 378, 379, 380, 10_000, 1_000_001} {
		m := sample.Large(n)
		h := &tail{}
		got, err := io.Copy(h, m.Reader())
		if err != nil || got != n || m.Octets() != n {
			t.Errorf("Large(%d): %d octets, says %d, %v", n, got, m.Octets(), err)
		}
		if string(h.last) != "\r\n" {
			t.Errorf("Large(%d) ends in %q", n, h.last)
		}
	}
	if !bytes.Contains(octets(t, sample.Large(10_000)), []byte("\r\n.")) {
		t.Error("no line of Large begins with a dot")
	}
}

// tail keeps the last two bytes.
type tail struct{ last []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.last = append(t.last, p...)
	t.last = bytes.Clone(t.last[max(0, len(t.last)-2):])
	return len(p), nil
}
