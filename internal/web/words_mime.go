package web

import (
	"errors"
	"io"
	"mime"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/transform"
)

// encodedWord is one of RFC 2047 section 2, with RFC 2231's language tag, and with spaces inside, which some mailers leave there.
var encodedWord = regexp.MustCompile(`=\?([^?\s]+)\?([bBqQ])\?([^?]*)\?=`)

// keepWords leaves encoded words as they are, for decodeWords.
var keepWords = &mime.WordDecoder{CharsetReader: func(string, io.Reader) (io.Reader, error) {
	return nil, errors.ErrUnsupported
}}

// decodeWords is a field's value in readable text. Neighbouring encoded words of one charset are put together before they are
// decoded, since many mailers cut in the middle of a character. What cannot be decoded stays as it is; characters beyond ASCII that
// stand there raw are UTF-8 if they can be, else of the message's charset.
func decodeWords(value, charset string) string {
	var b strings.Builder
	var pending []byte // of encoded words, of one charset
	pendingCharset := ""
	flush := func() {
		b.WriteString(decodeBytes(pending, pendingCharset))
		pending = pending[:0]
	}
	end := 0
	for _, at := range encodedWord.FindAllStringSubmatchIndex(value, -1) {
		between := value[end:at[0]]
		word := value[at[0]:at[1]]
		name, _, _ := strings.Cut(strings.ToLower(value[at[2]:at[3]]), "*")
		decoded, ok := payload(value[at[4]:at[5]], value[at[6]:at[7]])
		if !ok || !knownCharset(name) {
			continue // what is between, and the word, come with the text before the next word
		}
		adjacent := len(pending) > 0 && strings.TrimSpace(between) == ""
		if !adjacent || name != pendingCharset {
			flush()
		}
		if !adjacent {
			b.WriteString(decodeBytes([]byte(between), charset))
		}
		pending, pendingCharset = append(pending, decoded...), name
		end = at[0] + len(word)
	}
	flush()
	b.WriteString(decodeBytes([]byte(value[end:]), charset))
	return b.String()
}

// payload undoes an encoded word's B or Q encoding.
func payload(encoding, text string) (decoded []byte, ok bool) {
	raw := mime.WordDecoder{CharsetReader: func(_ string, r io.Reader) (io.Reader, error) {
		var err error
		decoded, err = io.ReadAll(r)
		return strings.NewReader(""), err
	}}
	if encoding == "B" || encoding == "b" { // many forget the padding
		text = strings.TrimRight(strings.ReplaceAll(text, " ", ""), "=")
		text += strings.Repeat("=", (4-len(text)%4)%4)
	}
	_, err := raw.Decode("=?x-raw?" + encoding + "?" + strings.ReplaceAll(text, " ", "_") + "?=")
	return decoded, err == nil
}

func knownCharset(name string) bool {
	_, err := htmlindex.Get(name)
	return err == nil
}

// decodeBytes is raw text of a charset; of an unknown one, or none, it is taken for the one that covers Western Europe, in which
// every byte means something.
func decodeBytes(raw []byte, charset string) string {
	if len(raw) == 0 {
		return ""
	}
	if utf8.Valid(raw) && !sevenBit(charset) {
		return string(raw)
	}
	var from encoding.Encoding = charmap.Windows1252
	if known, err := htmlindex.Get(charset); err == nil {
		from = known
	}
	text, _, err := transform.Bytes(from.NewDecoder(), raw)
	if err != nil {
		return strings.ToValidUTF8(string(raw), "\uFFFD")
	}
	return string(text)
}

// sevenBit tells the charset whose bytes all look like ASCII: text of any other that is valid UTF-8 is UTF-8, whatever it claims.
func sevenBit(charset string) bool { return strings.EqualFold(charset, "iso-2022-jp") }
