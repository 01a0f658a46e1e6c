package sample

import (
	"encoding/base64"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"
)

// Each letter can be read back in its charset: nothing was replaced on the way.
func TestLettersReadBack(t *testing.T) {
	for _, who := range tongues() {
		for _, f := range who.forms {
			for i := range 3 {
				want := who.text(i)
				if got := decode(t, f, f.encode(want)); got != want {
					t.Errorf("%s in %s, %s:\n%s\nwant:\n%s", who.address, f.charset, f.transfer, got, want)
				}
			}
			for _, text := range append(who.subjects, who.name) {
				if strings.Contains(f.word(text), "\n") {
					continue // folded, so UTF-8
				}
				if f.encoding != nil && len(f.word(text)) > 2*75 {
					t.Errorf("encoded word of %d octets: %s", len(f.word(text)), f.word(text))
				}
			}
		}
	}
}

func decode(t *testing.T, f form, octets []byte) string {
	t.Helper()
	var err error
	switch f.transfer {
	case "base64":
		octets, err = base64.StdEncoding.DecodeString(strings.ReplaceAll(string(octets), "\r\n", ""))
	case "quoted-printable":
		octets, err = io.ReadAll(quotedprintable.NewReader(strings.NewReader(string(octets))))
	}
	if err == nil && f.encoding != nil {
		octets, err = f.encoding.NewDecoder().Bytes(octets)
	}
	if err != nil {
		t.Error(err)
	}
	return strings.ReplaceAll(string(octets), "\r\n", "\n")
}

// The letters of Kazakh stand where PT154 has them (RFC 2978 registration; the bytes are those of other implementations).
func TestPT154(t *testing.T) {
	got, err := pt154{}.NewEncoder().Bytes([]byte("ӘәҒғҚқҢңӨөҰұҮүҺһІіАя"))
	if want := "\xaa\xba\x81\x83\x8d\x9d\x8c\x9c\xa4\xb5\xa6\xb1\x87\x89\x8e\x9e\xb2\xb3\xc0\xff"; err != nil || string(got) != want {
		t.Errorf("%x, want %x (%v)", got, want, err)
	}
}
