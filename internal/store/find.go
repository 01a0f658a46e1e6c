package store

import (
	"bufio"
	"context"
	"io"
	"iter"
	"math/bits"
	"math/rand/v2"
	"os"
)

// stands says whether the intent's bytes stand in the mbox, whole, at a place
// that is set apart from what comes before as mbox readers want it.
func stands(mbox *os.File, size int64, intent Intent, at int64) (bool, error) {
	if at < intent.Offset || at+intent.Length > size {
		return false, nil
	}
	sum, err := hashSection(mbox, at, intent.Length)
	if err != nil || sum != intent.SHA256 {
		return false, err
	}
	return fits(mbox, at, mbox, at)
}

// fits says whether a piece of mbox that begins at place from of a file has
// the line ends that it needs to stand at a place of the mbox: any number, but
// with those before it at least a blank line.
func fits(mbox *os.File, at int64, f *os.File, from int64) (bool, error) {
	missing, err := missingAt(mbox, at)
	if err != nil {
		return false, err
	}
	begin := make([]byte, missing)
	if _, err := f.ReadAt(begin, from); err != nil && err != io.EOF {
		return false, failed("reading", f.Name(), err)
	}
	return string(begin) == "\n\n"[:missing], nil
}

// find looks for a place behind the intent's offset where its bytes stand,
// which are also the last ones of the spool. Others that appended without
// taking the locks may have come before us. It is -1 when there is none.
func find(ctx context.Context, mbox *os.File, size int64, spool *os.File, intent Intent) (int64, error) {
	for at, err := range occurrences(mbox, intent.Offset, size, spool, intent.Length) {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return -1, err
		}
		found, err := stands(mbox, size, intent, at)
		if err != nil || found {
			return at, err
		}
	}
	return -1, nil
}

// occurrences goes through the places between from and size where the last n
// bytes of the spool seem to stand. It reads the mbox once, with two readers
// that are n bytes apart, and keeps a sum of the bytes between them (R. M.
// Karp and M. O. Rabin, "Efficient randomized pattern-matching algorithms",
// 1987): time and memory do not depend on what stands there. Other bytes have
// the same sum by a chance of n in 2^61.
func occurrences(mbox *os.File, from, size int64, spool *os.File, n int64) iter.Seq2[int64, error] {
	return func(yield func(int64, error) bool) {
		info, err := spool.Stat()
		if err != nil {
			yield(0, failed("looking at", spool.Name(), err))
			return
		}
		base := 256 + rand.Uint64N(sumModulus-256)
		ours, last := bufio.NewReaderSize(io.NewSectionReader(spool, info.Size()-n, n), chunkSize), uint64(1)
		var want, sum uint64
		for range n {
			c, err := ours.ReadByte()
			if err != nil {
				yield(0, failed("reading", spool.Name(), err))
				return
			}
			want, last = timesPlus(want, base, uint64(c)), timesPlus(last, base, 0)
		}
		head := bufio.NewReaderSize(io.NewSectionReader(mbox, from, size-from), chunkSize)
		tail := bufio.NewReaderSize(io.NewSectionReader(mbox, from, size-from), chunkSize)
		for end := from + 1; end <= size; end++ {
			c, err := head.ReadByte()
			sum = timesPlus(sum, base, uint64(c))
			if err == nil && end-from > n {
				c, err = tail.ReadByte()
				sum = timesPlus(last, sumModulus-uint64(c), sum) // minus what that byte was to the sum
			}
			if err != nil {
				yield(0, failed("reading", mbox.Name(), err))
				return
			}
			if end-from >= n && sum == want && !yield(end-n, nil) {
				return
			}
		}
	}
}

// sumModulus is a prime.
const sumModulus = 1<<61 - 1

// timesPlus returns a*b + c, by the modulus, of numbers that are at most that.
func timesPlus(a, b, c uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	sum := lo&sumModulus + lo>>61 + hi<<3 + c // 2^61 is 1
	sum = sum&sumModulus + sum>>61
	if sum >= sumModulus {
		sum -= sumModulus
	}
	return sum
}
