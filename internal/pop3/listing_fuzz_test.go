package pop3

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// naiveList reads one multi-line list in the obvious way: all that each number was given, in order, and whether some were beyond highest.
func naiveList(reply []byte, highest, maxLines int) (given map[int][]string, beyond bool, rest []byte, ok bool) {
	given = map[int][]string{}
	for lines := 0; ; lines++ {
		line, after, found := bytes.Cut(reply, []byte("\n"))
		if !found || len(line) >= maxListLine || !bytes.HasSuffix(line, []byte("\r")) {
			return nil, false, nil, false
		}
		reply = after
		text := string(line[:len(line)-1])
		if text == "." {
			return given, beyond, reply, true
		}
		digits, field, _ := strings.Cut(strings.TrimPrefix(text, "."), " ")
		number, isNumber := new(big.Int).SetString(digits, 10)
		if !isNumber || strings.Trim(digits, "0123456789") != "" || number.Sign() == 0 || lines == maxLines {
			return nil, false, nil, false
		}
		if number.Cmp(big.NewInt(int64(highest))) > 0 {
			beyond = true
			continue
		}
		n := int(number.Int64())
		given[n] = append(given[n], strings.Trim(field, " "))
	}
}

// agreed makes one value of all that a list says of a message.
func agreed[V comparable](fields []string, parse func(string) (V, bool), unknown V) (value V, sound bool) {
	sound = len(fields) == 1
	for i, field := range fields {
		v, ok := parse(field)
		sound = sound && ok
		if !ok || (i > 0 && v != value) {
			return unknown, false
		}
		value = v
	}
	if len(fields) == 0 {
		return unknown, false
	}
	return value, sound
}

// naiveListing is the oracle of FuzzListing: it knows the rules of List and nothing of how it goes about them.
func naiveListing(uidl, sizes []byte, count, deleted int) (entries []Entry, sound, valid bool) {
	uids, beyond, rest, ok := naiveList(uidl, count+deleted, count+deleted+1000)
	if !ok || len(rest) > 0 {
		return nil, false, false
	}
	octets, beyond2, rest, ok := naiveList(sizes, count+deleted, count+deleted+1000)
	if !ok || len(rest) > 0 {
		return nil, false, false
	}
	sound = !beyond && !beyond2
	for n := 1; n <= count+deleted; n++ {
		if len(uids[n])+len(octets[n]) == 0 {
			continue
		}
		uid, sure := agreed(uids[n], func(s string) (string, bool) { return s, s != "" && len(s) <= maxUID }, "")
		size, sure2 := agreed(octets[n], func(s string) (int64, bool) {
			s, _, _ = strings.Cut(s, " ")
			value, err := strconv.ParseUint(s, 10, 63)
			return int64(value), err == nil && value <= maxSize
		}, -1)
		sound = sound && sure && sure2
		entries = append(entries, Entry{n, uid, size})
	}
	return entries, sound && len(entries) == count, true
}

func FuzzListing(f *testing.F) {
	for i, seed := range []struct {
		uidl, sizes    string
		count, deleted uint8
	}{
		{"1 a\r\n2 b\r\n.\r\n", "1 10\r\n2 20\r\n.\r\n", 2, 0},
		{"2 b\r\n1  a \r\n.\r\n", "2 10 x\r\n.1 20\r\n.\r\n", 2, 0},
		{"1 a\r\n1 b\r\n2 c\r\n2 c\r\n3\r\n.\r\n", "4 1\r\n1 10\r\n2 1\r\n2 2\r\n2 1\r\n.\r\n", 4, 0},
		{"3 a\r\n2 b\r\n1 c\r\n3 a\r\n.\r\n", "3 1\r\n2 -1\r\n1 2x\r\n2 7\r\n.\r\n", 2, 1},
		{"1 a b\t\x00\xff\x7f\r\r\n5 e\r\n.\r\n", "1 9223372036854775808\r\n18446744073709551617 2\r\n.\r\n", 1, 1},
		{"1 a\n.\r\n", "01 -10\r\n.\r\n", 1, 0},
		{"0 a\r\n.\r\n", "-1 10\r\n.\r\n", 1, 2},
		{".\r\n", ".\r\n", 0, 3},
	} {
		f.Add([]byte(seed.uidl), []byte(seed.sizes), seed.count, seed.deleted, uint64(i))
	}
	f.Fuzz(func(t *testing.T, uidl, sizes []byte, count, deleted uint8, seed uint64) {
		want, sound, valid := naiveListing(uidl, sizes, int(count), int(deleted))
		random := rand.New(rand.NewPCG(seed, 0))
		s, c := cannedSession("")
		c.pieces = func() int { return 1 + random.IntN(40) }
		c.data = fmt.Appendf(nil, "+OK %d 0\r\n+OK\r\n%s+OK\r\n%s", count, uidl, sizes)
		s.pipelined, s.deleted = true, int(deleted)
		got, err := s.List()
		if err == nil && len(s.wire.buffered())+len(c.data) > 0 {
			err = errors.New("something is left")
		}
		if (err == nil) != valid || (valid && (!slices.Equal(got.Entries, want) || (got.Damage == nil) != sound)) {
			t.Fatalf("%q, %q: got %v, %v, damage %v; want %v, valid %v, sound %v", uidl, sizes, got.Entries, err, got.Damage, want, valid, sound)
		}
	})
}
