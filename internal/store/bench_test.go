package store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"
)

// ordinaryMail is a message as servers send it, of about the given size.
func ordinaryMail(size int) []byte {
	var b bytes.Buffer
	b.WriteString("Return-Path: <someone@example.org>\r\nSubject: a message\r\n\r\n")
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "%06d The quick brown fox jumps over the lazy dog and runs away.\r\n", i)
	}
	return b.Bytes()
}

func benchmarkAdd(b *testing.B, open func(b *testing.B) Mailbox) {
	const batchSize = 1000
	mail := ordinaryMail(4700)
	mailbox := open(b)
	b.SetBytes(int64(len(mail)))
	b.ReportAllocs()
	var batch Batch
	end := func() {
		if _, err := batch.Commit(context.Background(), func(Intent) error { return nil }); err != nil {
			b.Fatal(err)
		}
		if err := batch.Discard(); err != nil {
			b.Fatal(err)
		}
		batch = nil
	}
	for i := 0; b.Loop(); i++ {
		if batch == nil {
			var err error
			if batch, err = mailbox.Begin(); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := batch.Add(NewID("bench", fmt.Sprint(i), int64(len(mail)), 0), bytes.NewReader(mail)); err != nil {
			b.Fatal(err)
		}
		if batch.Len() == batchSize {
			end()
		}
	}
	if batch != nil {
		end()
	}
}

func BenchmarkMaildir(b *testing.B) {
	benchmarkAdd(b, func(b *testing.B) Mailbox { return newMaildir(b) })
}

func BenchmarkMbox(b *testing.B) {
	benchmarkAdd(b, func(b *testing.B) Mailbox { return newMbox(b) })
}

func BenchmarkLineEnds(b *testing.B) {
	mail := ordinaryMail(1 << 20)
	buf := make([]byte, chunkSize)
	b.SetBytes(int64(len(mail)))
	for b.Loop() {
		u := unixReader{r: bytes.NewReader(mail), buf: buf}
		for {
			if _, err := u.next(); err != nil {
				break
			}
		}
	}
}

func BenchmarkDigest(b *testing.B) {
	mail := unixLines(ordinaryMail(1 << 20))
	d := newDigest()
	b.SetBytes(int64(len(mail)))
	for b.Loop() {
		d.Write(mail)
	}
}

func BenchmarkQuoter(b *testing.B) {
	mail := unixLines(ordinaryMail(1 << 20))
	q := quoter{w: io.Discard}
	b.SetBytes(int64(len(mail)))
	b.ReportAllocs()
	for b.Loop() {
		q.Write(mail)
	}
}
