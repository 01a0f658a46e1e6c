package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/popfetchd/popfetchd/test/dovecot"
)

const (
	password  = "bench"
	messageID = "Message-ID: <bench." // begins one line of each message and no other
	slabSize  = 1 << 20
)

// mailbox is what a user of the server has: generated text, the same in every run.
type mailbox struct {
	user  string
	count int
	size  int // of a message on average; most are between half and one and a half of it
}

// startServer starts Dovecot, without any user yet.
func (b *bench) startServer() error {
	dir := filepath.Join(b.dir, "server")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	server, err := dovecot.Run(dir, dovecot.Options{})
	b.server = server
	return err
}

// fill makes the mailbox once, and lets Dovecot read it once, so that its
// indexes and the page cache are warm for the first program as for the last.
func (b *bench) fill(m mailbox) error {
	if _, ok := b.filled[m.user]; ok {
		return nil
	}
	b.progress("filling %s: %d messages", m.user, m.count)
	if err := b.server.AddUser(m.user, password); err != nil {
		return err
	}
	var bytes int64
	if err := b.server.Deliver(m.user, m.messages(&bytes)); err != nil {
		return err
	}
	b.filled[m.user] = bytes
	return readBare(b.visit(job{mail: m}, ""), true)
}

// messages generates the mail and adds its size to total.
func (m mailbox) messages(total *int64) iter.Seq[io.Reader] {
	random := rand.New(rand.NewPCG(uint64(m.count), uint64(m.size)))
	slab := text(random, slabSize)
	return func(yield func(io.Reader) bool) {
		for n := range m.count {
			header := fmt.Sprintf("Return-Path: <sender%[1]d@example.org>\nReceived: from mx.example.org by mail.example.net; Mon, 3 Nov 2025 10:00:00 +0000\n"+
				"From: Sender %[1]d <sender%[1]d@example.org>\nTo: someone@example.net\nSubject: message %[1]d\nDate: Mon, 3 Nov 2025 10:00:00 +0000\n"+
				messageID+"%[1]d@example.org>\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n", n)
			size := int64(m.size)
			if m.count > 1 {
				size += int64(random.IntN(m.size)) - size/2
			}
			body := max(size-int64(len(header)), 1)
			*total += int64(len(header)) + body
			if !yield(io.MultiReader(strings.NewReader(header), newRepeater(slab, random.IntN(slabSize/2), body))) {
				return
			}
		}
	}
}

// text makes lines of words; some begin with a dot or with From.
func text(random *rand.Rand, size int) []byte {
	words := strings.Fields("mail server message the of to and backup letter folder post every quick naïve Größe письмо संदेश хат")
	var b bytes.Buffer
	for b.Len() < size {
		switch random.IntN(50) {
		case 0:
			b.WriteString("..")
		case 1:
			b.WriteString("\nFrom here ")
		}
		for line := b.Len(); b.Len() < line+70; {
			b.WriteString(words[random.IntN(len(words))])
			b.WriteByte(' ')
		}
		b.WriteByte('\n')
	}
	return b.Bytes()[:size]
}

// newRepeater reads slab in circles, from the line after start on, up to size
// bytes of which the last is a line end.
func newRepeater(slab []byte, start int, size int64) io.Reader {
	start += bytes.IndexByte(slab[start:], '\n') + 1
	return io.MultiReader(io.LimitReader(&repeater{slab, start}, size-1), strings.NewReader("\n"))
}

type repeater struct {
	slab []byte
	at   int
}

func (r *repeater) Read(p []byte) (int, error) {
	n := copy(p, r.slab[r.at:])
	r.at = (r.at + n) % len(r.slab)
	return n, nil
}

// checkStored makes sure that a program did its job: all messages are there,
// and together no shorter than they were sent. Programs may add headers.
func checkStored(store, path string, m mailbox, want int64) error {
	count, size, err := countMaildir(path)
	if store == mbox {
		count, size, err = countMbox(path)
	}
	if err != nil {
		return err
	}
	if count != m.count || size < want {
		return fmt.Errorf("stored %d messages of %d bytes instead of %d of %d", count, size, m.count, want)
	}
	return nil
}

func countMaildir(path string) (count int, size int64, err error) {
	for _, sub := range []string{"new", "cur"} {
		err := filepath.WalkDir(filepath.Join(path, sub), func(_ string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			count++
			size += info.Size()
			return nil
		})
		if err != nil {
			return 0, 0, err
		}
	}
	return count, size, nil
}

func countMbox(path string) (count int, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<16)
	for {
		line, err := r.ReadSlice('\n')
		size += int64(len(line))
		if bytes.HasPrefix(line, []byte(messageID)) {
			count++
		}
		if err == io.EOF {
			return count, size, nil
		}
		if err != nil && err != bufio.ErrBufferFull {
			return 0, 0, err
		}
	}
}
