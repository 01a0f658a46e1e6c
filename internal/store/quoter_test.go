package store

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// quoted is the model of the quoter, line by line.
func quoted(mail string) string {
	var b strings.Builder
	for line := range strings.Lines(mail) {
		if strings.HasPrefix(strings.TrimLeft(line, ">"), "From ") {
			b.WriteByte('>')
		}
		b.WriteString(line)
	}
	return b.String()
}

func unquoted(mail string) string {
	var b strings.Builder
	for line := range strings.Lines(mail) {
		if line[0] == '>' && strings.HasPrefix(strings.TrimLeft(line, ">"), "From ") {
			line = line[1:]
		}
		b.WriteString(line)
	}
	return b.String()
}

type flusher interface {
	io.Writer
	flush() error
}

// feed writes data in chunks of the given sizes, in turn.
func feed(t rapid.TB, w flusher, data string, sizes []int) {
	t.Helper()
	p := []byte(data)
	for i := 0; len(p) > 0; i++ {
		n := len(p)
		if len(sizes) > 0 {
			n = min(n, sizes[i%len(sizes)])
		}
		wrote, err := w.Write(p[:n])
		check(t, err)
		if wrote != n {
			t.Fatalf("Write of %d bytes returned %d", n, wrote)
		}
		p = p[n:]
	}
	check(t, w.flush())
}

func quoteBoth(t rapid.TB, mail string, sizes []int) {
	t.Helper()
	var in, out bytes.Buffer
	feed(t, &quoter{w: &in}, mail, sizes)
	if in.String() != quoted(mail) {
		t.Fatalf("quoted %q\ngot  %q\nwant %q", mail, in.String(), quoted(mail))
	}
	feed(t, &unquoter{w: &out}, in.String(), sizes)
	if out.String() != mail {
		t.Fatalf("there and back %q\ngot  %q", mail, out.String())
	}
	// Mail of other programs may hold lines that nobody quoted.
	out.Reset()
	feed(t, &unquoter{w: &out}, mail, sizes)
	if out.String() != unquoted(mail) {
		t.Fatalf("unquoted %q\ngot  %q\nwant %q", mail, out.String(), unquoted(mail))
	}
}

func TestQuoterIsTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		quoteBoth(t, nasty(50).Draw(t, "mail"), rapid.SliceOfN(rapid.IntRange(0, 9), 0, 3).
			Filter(func(sizes []int) bool { return len(sizes) == 0 || sizes[0] > 0 }).Draw(t, "chunks"))
	})
}

// All strings of an alphabet that matters, in all chunks: what drawing may miss.
func TestQuoterExhaustively(t *testing.T) {
	tails := []string{"", ">", "F", "\n", "From ", "From", ">From ", "\nFrom ", "\n>From ", "x"}
	for _, a := range tails {
		for _, b := range tails {
			for _, c := range tails {
				for size := 1; size <= 6; size++ {
					quoteBoth(t, a+b+c, []int{size})
				}
			}
		}
	}
}

func FuzzQuoter(f *testing.F) {
	for _, mail := range []string{"", "From ", ">From x\n>>From y\nFrom", "a\n\nFrom b\n", ">>>", "\nF\nFr\nFro\nFrom\nFrom "} {
		f.Add(mail, uint8(0), uint8(1))
		f.Add(mail, uint8(1), uint8(3))
	}
	f.Fuzz(func(t *testing.T, mail string, x, y uint8) {
		var sizes []int
		if x > 0 {
			sizes = []int{int(x), int(y)}
		}
		quoteBoth(t, mail, sizes)
	})
}

// The work for one line does not grow faster than the line: these take
// milliseconds, or minutes if it does.
func TestQuoterOnLongLines(t *testing.T) {
	for _, unit := range []string{"x", ">", "From ", ">From ", "F"} {
		mail := strings.Repeat(unit, (1<<20)/len(unit))
		quoteBoth(t, mail, []int{chunkSize - 1})
	}
}
