package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// headerOf is the model: the sum of the lines before the first blank one.
func headerOf(mail string) [sha256.Size]byte {
	var header strings.Builder
	for line := range strings.Lines(bareOf(strings.ReplaceAll(mail, "\r\n", "\n"))) {
		if line == "\n" {
			break
		}
		header.WriteString(strings.TrimSuffix(line, "\n") + "\n")
	}
	return sha256.Sum256([]byte(header.String()))
}

// A header has the same sum from a server, in whatever pieces it comes, with
// or without the body, and from a local copy of either kind.
func TestHeaderSumIsTheModel(t *testing.T) {
	t.Parallel()
	bothKinds(t, func(t *testing.T, m testMailbox) {
		stored := 0
		rapid.Check(t, func(t *rapid.T) {
			mails := rapid.SliceOfN(nasty(3*headerChunk), 1, 3).Draw(t, "mails")
			messages := put(t, m, stored, mails...)
			stored += len(mails)
			want := make(map[int][sha256.Size]byte)
			for i, mail := range mails {
				want[i] = headerOf(mail)
				sizes := rapid.SliceOfN(rapid.SampledFrom([]int{1, 2, 3, 7, 4095, 1 << 16}), 0, 4).Draw(t, "reads")
				sum, err := HeaderSum(&smallReads{data: []byte(mail), sizes: sizes})
				if err != nil || sum != want[i] {
					t.Fatalf("%.300q: got %x, %v, want %x", mail, sum, err, want[i])
				}
			}
			for header, err := range m.HeaderSums(context.Background(), messages) {
				check(t, err)
				if header.Sum != want[header.Index] {
					t.Fatalf("message %d: got %x, want %x", header.Index, header.Sum, want[header.Index])
				}
				delete(want, header.Index)
			}
			if len(want) > 0 {
				t.Fatalf("no sums of %v", want)
			}
		})
	})
}

func FuzzHeaderSum(f *testing.F) {
	for _, mail := range []string{"", "\r\n", "A: b\r\n", "A: b", "A: b\r\n\r\nbody\r\n", "A\r\r\n\r\r\n\r\n", "\n\n", "A\n\nB\r\n", "\r", "Status: x\r\n y\r\nA: b"} {
		f.Add(mail, uint8(1), uint8(3))
	}
	f.Fuzz(func(t *testing.T, mail string, x, y uint8) {
		sum, err := HeaderSum(&smallReads{data: []byte(mail), sizes: []int{int(x) + 1, int(y) + 1}})
		if errors.Is(err, ErrHeaderTooLong) && len(mail) > maxHeader {
			return
		}
		if err != nil || sum != headerOf(mail) {
			t.Fatalf("%q: got %x, %v", mail, sum, err)
		}
		h := headerDigest{sum: sha256.New()}
		for c := range strings.SplitSeq(strings.ReplaceAll(mail, "\r\n", "\n"), "") {
			if c == "" {
				continue
			}
			if _, err := h.Write([]byte(c)); err == errHeaderEnds {
				break
			}
		}
		if h.sha256() != sum {
			t.Fatalf("%q: byte by byte it is %x, want %x", mail, h.sha256(), sum)
		}
	})
}

// What servers send for TOP n 0, and what they may leave out.
func TestHeaderSumOfTop(t *testing.T) {
	const header = "Subject: x\r\nFrom: a@b\r\n c\r\n"
	want := headerOf(header)
	for _, top := range []string{header, header + "\r\n", header + "\r\nbody\r\n", header + "\r\n\r\n", strings.TrimSuffix(header, "\r\n"), "Status: RO\r\n more\r\n" + header, header + "X-UIDL: 1\r\n\r\n"} {
		if sum, err := HeaderSum(strings.NewReader(top)); sum != want || err != nil {
			t.Errorf("%q: got %x, %v", top, sum, err)
		}
	}
	if sum, _ := HeaderSum(strings.NewReader("\r\n" + header)); sum != headerOf("") {
		t.Errorf("a message without a header gave %x", sum)
	}
}

// Nothing is read far behind the header; errors are told.
func TestHeaderSumStops(t *testing.T) {
	cut := errors.New("line cut")
	if _, err := HeaderSum(io.MultiReader(strings.NewReader("A: b\r\n"), iotest.ErrReader(cut))); err != cut {
		t.Errorf("of a header that breaks off it said %v", err)
	}
	r := strings.NewReader("A: b\r\n\r\n" + strings.Repeat("x", 1<<20))
	if _, err := HeaderSum(r); err != nil || r.Len() < 1<<20-headerChunk {
		t.Errorf("%d bytes are left, %v", r.Len(), err)
	}
	long := "A: " + strings.Repeat("b", maxHeader-5) + "\r\n"
	if sum, err := HeaderSum(strings.NewReader(long + "\r\n")); err != nil || sum != headerOf(long) {
		t.Errorf("a header of 1 MiB gave %v", err)
	}
	endless := &repeated{[]byte("A: b\r\n"), 1 << 40}
	if _, err := HeaderSum(endless); !errors.Is(err, ErrHeaderTooLong) || endless.n < 1<<40-3*maxHeader {
		t.Errorf("of a header without end it said %v, and left %d", err, endless.n)
	}
}

// What is not as it was stored is left out, and the others are not.
func TestHeaderSumsOfWhatIsThere(t *testing.T) {
	bothKinds(t, func(t *testing.T, m testMailbox) {
		messages := put(t, m, 0, "A: 0\r\n\r\n", "A: 1\r\n\r\n", "A: 2\r\n\r\n", strings.Repeat("A: b\r\n", maxHeader/5+1), "A: 4\r\n\r\nx")
		var want []int
		switch m := m.(type) {
		case *Maildir:
			path := func(i int) string { return filepath.Join(m.path, "new", messages[i].Location.Name) }
			check(t, os.Rename(path(0), filepath.Join(m.path, "cur", messages[0].Location.Name+":2,S")))
			write(t, path(1), "short")
			check(t, os.Remove(path(2)))
			want = []int{0, 4}
		case *Mbox:
			data := read(t, m.path)
			at := messages[1].Location.Offset
			write(t, m.path, data[:at]+"X"+data[at+1:])
			messages[2].Location.Length++
			want = []int{4} // what follows the first is no frame now
		}
		var got []int
		for header, err := range m.HeaderSums(context.Background(), messages) {
			check(t, err)
			got = append(got, header.Index)
			if header.Sum != headerOf(content(t, m, messages[header.Index].Location)) {
				t.Errorf("message %d has another header", header.Index)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("sums of %v, want %v", got, want)
		}
		reason := errors.New("the service stops")
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(reason)
		for _, err := range m.HeaderSums(ctx, messages) {
			if !errors.Is(err, reason) {
				t.Errorf("when stopped it said %v", err)
			}
		}
		check(t, os.RemoveAll(m.Path()))
		for header, err := range m.HeaderSums(context.Background(), messages) {
			t.Errorf("of a mailbox that is gone: %+v, %v", header, err)
		}
	})
}
