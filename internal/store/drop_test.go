package store

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// A batch of which messages are dropped, in any order with those that fail,
// is one that never had them.
func TestDroppedWasNeverThere(t *testing.T) {
	t.Parallel()
	bothKinds(t, func(t *testing.T, m testMailbox) {
		var want []string
		rapid.Check(t, func(t *rapid.T) {
			first := len(want)
			b := begin(t, m, 0)
			size := int64(0)
			for range rapid.IntRange(0, 8).Draw(t, "messages") {
				mail := nasty(chunkSize+1).Draw(t, "mail")
				switch rapid.SampledFrom([]string{"keep", "keep", "drop", "fail"}).Draw(t, "then") {
				case "keep":
					message := must(b.Add(testID(len(want)), strings.NewReader(mail)))(t)
					want = append(want, stored(m, mail))
					size += message.Size
				case "drop":
					must(b.Add(testID(len(want)), strings.NewReader(mail)))(t)
					check(t, b.Drop())
				case "fail":
					broken := iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader(mail + "xx")))
					if _, err := b.Add(testID(len(want)), broken); err != iotest.ErrTimeout {
						t.Fatalf("Add said %v", err)
					}
				}
			}
			if b.Len() != len(want)-first || b.Bytes() != size {
				t.Fatalf("the batch holds %d messages of %d bytes, want %d of %d", b.Len(), b.Bytes(), len(want)-first, size)
			}
			messages := must(b.Commit(context.Background(), noRecord))(t)
			check(t, b.Discard())
			if findings := must(m.Verify(context.Background(), messages, true))(t); len(findings) > 0 || len(messages) != len(want)-first {
				t.Fatalf("%d messages, findings %+v", len(messages), findings)
			}
		})
		sameSet(t, all(t, m), want)
		nothingUnfinished(t, m)
	})
}

// The first file that is opened after others were closed to make room.
func TestDropAfterMakingRoom(t *testing.T) {
	m := newMaildir(t)
	for _, bySyncfs := range []bool{true, false} {
		b := begin(t, m, 0).(*maildirBatch)
		b.bySyncfs = bySyncfs
		for i := range filesKeptOpen + 1 {
			must(b.Add(testID(i), strings.NewReader("x")))(t)
		}
		check(t, b.Drop())
		if messages := must(b.Commit(context.Background(), nil))(t); len(messages) != filesKeptOpen {
			t.Errorf("%d messages were stored", len(messages))
		}
		check(t, b.Discard())
		nothingUnfinished(t, m)
	}
}

// What is larger than every buffer leaves no trace either, and gives its room
// on the disk back at once.
func TestDropOfLargeMessage(t *testing.T) {
	t.Parallel()
	bothKinds(t, func(t *testing.T, m testMailbox) {
		b := begin(t, m, 0, "small\r\n", strings.Repeat("From me\r\n", 1<<18))
		check(t, b.Drop())
		switch b := b.(type) {
		case *maildirBatch:
			if left := names(t, m.Path(), "tmp"); len(left) != 1 {
				t.Errorf("tmp/ holds %q", left)
			}
		case *mboxBatch:
			if info := must(b.spool.f.Stat())(t); info.Size() > 1<<20 {
				t.Errorf("the spool has %d bytes", info.Size())
			}
		}
		must(b.Commit(context.Background(), noRecord))(t)
		check(t, b.Discard())
		sameSet(t, all(t, m), []string{"small\n"})
		nothingUnfinished(t, m)
	})
}

// Only the message that was just added can be dropped, and only once.
func TestDropOutOfTurn(t *testing.T) {
	bothKinds(t, func(t *testing.T, m testMailbox) {
		b := begin(t, m, 0)
		refused := func(when string) {
			t.Helper()
			if err := b.Drop(); err == nil || !strings.Contains(err.Error(), "internal error") {
				t.Errorf("%s Drop said %v", when, err)
			}
		}
		refused("of an empty batch")
		must(b.Add(testID(0), strings.NewReader("kept\r\n")))(t)
		must(b.Add(testID(1), strings.NewReader("x")))(t)
		check(t, b.Drop())
		refused("for the second time")
		if _, err := b.Add(testID(1), iotest.ErrReader(unix.EIO)); err != unix.EIO {
			t.Errorf("Add said %v", err)
		}
		refused("after an Add that failed")
		if b.Len() != 1 || b.Bytes() != 5 {
			t.Errorf("the batch holds %d messages of %d bytes", b.Len(), b.Bytes())
		}
		must(b.Commit(context.Background(), noRecord))(t)
		refused("after Commit")
		check(t, b.Discard())
		refused("after Discard")
		sameSet(t, all(t, m), []string{"kept\n"})
	})
}

// A spool that cannot be cut back is of no use any more, and says so.
func TestDropFails(t *testing.T) {
	m := newMbox(t)
	b := begin(t, m, 0, "one\r\n", "two\r\n").(*mboxBatch)
	b.spool.f.Close()
	var local *Error
	if err := b.Drop(); !errors.As(err, &local) {
		t.Errorf("Drop said %v", err)
	}
	if _, err := b.Add(testID(2), strings.NewReader("x")); !errors.As(err, &local) {
		t.Errorf("Add said %v", err)
	}
	if _, err := b.Commit(context.Background(), noRecord); !errors.As(err, &local) {
		t.Errorf("Commit said %v", err)
	}
	check(t, b.Discard())
	sameSet(t, all(t, m), nil)
}
