package sample

import (
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/runes"
	"golang.org/x/text/transform"
)

// pt154 is the charset PT154 as far as Kazakh needs it: windows-1251 with other letters in the places of some. The
// letters of PT154 and those that windows-1251 has at the same bytes:
const (
	kazakhLetters  = "ӘәҒғҚқҢңӨөҰұҮүҺһІі"
	windowsLetters = "ЄєЃѓЌќЊњ¤µ¦±‡‰ЋћІі"
)

type pt154 struct{}

func (pt154) NewEncoder() *encoding.Encoder {
	return &encoding.Encoder{Transformer: transform.Chain(exchange(kazakhLetters, windowsLetters), charmap.Windows1251.NewEncoder())}
}

func (pt154) NewDecoder() *encoding.Decoder {
	return &encoding.Decoder{Transformer: transform.Chain(charmap.Windows1251.NewDecoder(), exchange(windowsLetters, kazakhLetters))}
}

// exchange puts each letter of to in the place of the one of from.
func exchange(from, to string) transform.Transformer {
	letters := []rune(to)
	return runes.Map(func(r rune) rune {
		if i := strings.IndexRune(from, r); i >= 0 {
			return letters[len([]rune(from[:i]))]
		}
		return r
	})
}
