package web

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/ledger"
)

// Subjects as mailers write them, right and wrong, and what people are to read.
func TestSubjects(t *testing.T) {
	for written, want := range map[string]string{
		"Subject: plain": "plain",
		"Subject: =?utf-8?B?0J/RgNC40LLQtdGC?= =?utf-8?Q?,_=D0=BC=D0=B8=D1=80?=": "Привет, мир",
		"Subject: =?koi8-r?B?8NLJ18XU?=":                                         "Привет",
		"Subject: =?windows-1251?Q?=CF=F0=E8=E2=E5=F2?=":                         "Привет",
		"Subject: =?ISO-2022-JP?B?GyRCPXE7cRsoQg==?=":                            "書資",
		"Subject: =?gb18030?B?xOO6ww==?=":                                        "你好",
		"Subject: =?big5?B?p0Gmbg==?=":                                           "你好",
		"Subject: =?utf-8*en?Q?caf=C3=A9?=":                                      "café",
		"Subject: =?utf-8?B?5pel5pys6A==?=\n =?utf-8?B?qp4=?=":                   "日本語", // cut within a character
		"Subject: =?utf-8?Q?two words?=":                                         "two words",
		"Subject: =?utf-8?B?YWI?=":                                               "ab", // no padding
		"Subject: =?x-nobody-knows?Q?abc?=":                                      "=?x-nobody-knows?Q?abc?=",
		"Subject: =?utf-8?B?%%%?= after":                                         "=?utf-8?B?%%%?= after",
		"Subject: raw \xd0\x9f\xd1\x80":                                          "raw Пр",
		"Subject: raw caf\xe9":                                                   "raw café",
		"Subject: raw \xf0\xd2\xc9\nContent-Type: text/plain; charset=koi8-r":    "raw При",
		"Subject: \x1b$B=q\x1b(B\nContent-Type: text/plain; charset=ISO-2022-JP": "書",
		"SUBJECT : folded\n\tline\r\n again":                                     "folded line again",
		"Subject: =?utf-8?Q?a=0D=0AX-Injected:_b=00=07c?=":                       "a X-Injected: b c",
		"Subject: evil\u202egpj.exe \u2066x\u2069":                               "evilgpj.exe x",
		"Subject: \u05e9\u05dc\u05d5\u05dd \u200f123":                            "\u05e9\u05dc\u05d5\u05dd \u200f123",
		"Subject: <script>alert(1)</script>":                                     "<script>alert(1)</script>", // the template's matter
		"Subject: " + strings.Repeat("x", 10_000):                                strings.Repeat("x", mostSubject) + "…",
		"X-Subject: other\nsubject: first\nSubject: second":                      "first",
		"From: joe": "",
		"Subject: =?utf-8?Q?one?= and =?utf-8?Q?two?=": "one and two",
		"no header at all":         "",
		"\n\nSubject: in the body": "",
	} {
		var l letter
		l.fill(readHeader(strings.NewReader(written + "\n\nSubject: of the body\n")))
		if l.Subject != want {
			t.Errorf("%q shows %q, want %q", written, l.Subject, want)
		}
	}
}

func TestSenders(t *testing.T) {
	for written, want := range map[string][2]string{
		"Joe <joe@example.net>":                               {"Joe", "joe@example.net"},
		"joe@example.net":                                     {"joe@example.net", ""},
		`"Doe, Joe" <joe@example.net>, ann@example.net`:       {"Doe, Joe", "joe@example.net"},
		"=?utf-8?Q?J=C3=B6?= <joe@example.net>":               {"Jö", "joe@example.net"},
		"=?utf-8?Q?bank=40bank.example?= <thief@example.net>": {"bank@bank.example", "thief@example.net"},
		"=?koi8-r?B?8NLJ18XU?= <a@b.example>":                 {"Привет", "a@b.example"},
		"J\xf6 <joe@example.net>":                             {"Jö", "joe@example.net"},
		`"=?utf-8?Q?J=C3=B6?=" <joe@example.net>`:             {"Jö", "joe@example.net"},
		"Joe <joe@example.net":                                {"Joe", "joe@example.net"},
		"Joe Doe joe@example.net (no brackets":                {"Joe Doe joe@example.net (no brackets", ""},
		"<joe@example.net>":                                   {"joe@example.net", ""},
		"":                                                    {"", ""},
		"undisclosed-recipients:;":                            {"undisclosed-recipients:;", ""},
		"<" + strings.Repeat("x", 5000) + "@example.net>":     {strings.Repeat("x", mostAddress) + "…", ""},
	} {
		name, address := sender(written, "")
		if name != want[0] || address != want[1] {
			t.Errorf("%q shows %q and %q, want %q", written, name, address, want)
		}
	}
}

// A message is found wherever mail readers leave it, and nothing else is taken for it.
func TestMessagesAreFoundInMailboxes(t *testing.T) {
	const text = "Subject: found\nDate: Sun, 22 Nov 2026 10:00:00 +0100\n\nbody\n"
	folder := t.TempDir()
	for _, sub := range []string{"new", "cur"} {
		if err := os.MkdirAll(filepath.Join(folder, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("new/1.a", text)
	write("cur/1.b:2,S", text)
	write("cur/1.c:2,DFPRST", text)
	write("cur/1.d", text)
	secret := write("secret", "Subject: secret\n\n")
	if err := os.Symlink(secret, filepath.Join(folder, "new", "1.link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(folder, "new", "1.folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	first := "From popfetchd Sun Nov 22 10:00:00 2026\n" + text + "\n"
	mbox := write("mbox", first+first)
	n := int64(len(first))
	for name, m := range map[string]ledger.Message{
		"in new":           {Mailbox: folder, Name: "1.a"},
		"read":             {Mailbox: folder, Name: "1.b"},
		"with every flag":  {Mailbox: folder, Name: "1.c"},
		"without flags":    {Mailbox: folder, Name: "1.d"},
		"first of an mbox": {Mailbox: mbox, Offset: 0, Length: n},
		"last of an mbox":  {Mailbox: mbox, Offset: n, Length: n},
	} {
		l := readLetter("joe", m)
		if l.Gone || l.Subject != "found" || !l.When().Equal(time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)) {
			t.Errorf("%s: %+v", name, l)
		}
	}
	for name, m := range map[string]ledger.Message{
		"not there":             {Mailbox: folder, Name: "1.e"},
		"a link":                {Mailbox: folder, Name: "1.link"},
		"a folder":              {Mailbox: folder, Name: "1.folder"},
		"no mbox":               {Mailbox: filepath.Join(folder, "none"), Length: n},
		"elsewhere in the mbox": {Mailbox: mbox, Offset: 5, Length: n},
		"longer than it is":     {Mailbox: mbox, Offset: n, Length: n + 5},
		"shorter than it is":    {Mailbox: mbox, Offset: 0, Length: n - 5},
		"behind the mbox's end": {Mailbox: mbox, Offset: 2 * n, Length: n},
	} {
		m.StoredAt = time.Unix(1_700_000_000, 0)
		if l := readLetter("joe", m); !l.Gone || l.Subject != "" || !l.When().Equal(m.StoredAt) {
			t.Errorf("%s: %+v", name, l)
		}
	}
}

// FuzzHeader holds that no header breaks the line it is shown in.
func FuzzHeader(f *testing.F) {
	f.Add("Subject: =?utf-8?B?0J/RgNC40LLQtdGC?=\nFrom: \"x\" <y@z>\nContent-Type: text/plain; charset=iso-2022-jp\n")
	f.Add("Subject: =?utf-16?B?AAo=?= =?hz-gb-2312?Q?~{=?=\nfrom:=?utf-7?Q?+ADw-?= <")
	f.Fuzz(func(t *testing.T, text string) {
		var l letter
		l.fill(readHeader(strings.NewReader(text)))
		for what, shown := range map[string]string{"subject": l.Subject, "name": l.Name, "address": l.Address} {
			if len([]rune(shown)) > mostSubject+1 || strings.ContainsAny(shown, "\n\r\x00\x1b\u202e\u2028") {
				t.Errorf("%s: %q", what, shown)
			}
		}
	})
}
