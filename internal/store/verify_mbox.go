package store

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Verify implements [Mailbox]. A message counts when it stands at its offset:
// framed as it was, and with read having the same content. Mail readers
// rewrite an mbox when something in it is deleted; then the whole file is
// read once and each message that is not at its offset is looked for by its
// content. Since no lock is taken, a program that rewrites the file at the
// same time can make messages seem missing.
func (m *Mbox) Verify(ctx context.Context, expect []Message, read bool) ([]Finding, error) {
	f, size, err := m.openToRead()
	if errors.Is(err, fs.ErrNotExist) {
		return allMissing(expect, "there is no file "+m.path), nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	states := make([]placeState, len(expect))
	moved := false
	for i, e := range expect {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if states[i], err = atPlace(f, size, e, read); err != nil {
			return nil, err
		}
		moved = moved || states[i] != inPlace
	}
	if !moved {
		return nil, nil
	}
	return m.search(ctx, f, expect, states)
}

// placeState is what stands at a message's offset.
type placeState int

const (
	inPlace      placeState = iota
	otherContent            // a message of the same length
	otherFrame              // none, or one of another length
)

func allMissing(expect []Message, detail string) []Finding {
	var findings []Finding
	for _, e := range expect {
		findings = append(findings, Finding{e, Missing, detail})
	}
	return findings
}

func (m *Mbox) openToRead() (f *os.File, size int64, err error) {
	path, err := resolve(m.path)
	if err != nil {
		return nil, 0, err
	}
	if f, err = openRegular(path); err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, failed("looking at", path, err)
	}
	return f, info.Size(), nil
}

// atPlace says what stands at the message's offset.
func atPlace(f *os.File, size int64, e Message, read bool) (placeState, error) {
	framed, err := isFramed(f, size, e.Location)
	if err != nil || !framed {
		return otherFrame, err
	}
	if !read {
		return inPlace, nil
	}
	d := newDigest()
	if err := copyFramed(d, f, e.Location); err != nil {
		return otherFrame, err
	}
	if d.size != e.Size || d.sha256() != e.SHA256 {
		return otherContent, nil
	}
	return inPlace, nil
}

// isFramed says whether exactly one framed message seems to stand at a place:
// a From_ line begins it, a blank line ends it, and another From_ line or the
// file's end comes next.
func isFramed(f *os.File, size int64, at Location) (bool, error) {
	end := at.Offset + at.Length
	if at.Offset < 0 || at.Length < int64(len("From \n\n")) || end > size {
		return false, nil
	}
	for _, c := range []struct {
		offset int64
		want   string
	}{
		{at.Offset - 1, "\nFrom "},
		{end - 2, "\n\n"},
		{end, "From "},
	} {
		if c.offset < 0 {
			c.offset, c.want = 0, c.want[1:]
		}
		if c.offset == size {
			continue
		}
		got := make([]byte, len(c.want))
		if _, err := f.ReadAt(got, c.offset); err != nil && err != io.EOF {
			return false, failed("reading", f.Name(), err)
		}
		if string(got) != c.want {
			return false, nil
		}
	}
	return true, nil
}

// copyFramed writes the message of a framed place to w, unquoted.
func copyFramed(w io.Writer, f *os.File, at Location) error {
	r := bufio.NewReaderSize(io.NewSectionReader(f, at.Offset, at.Length), chunkSize)
	if err := skipLine(r); err != nil {
		return failed("reading", f.Name(), err)
	}
	u := unquoter{w: w}
	if _, err := r.WriteTo(&frame{w: &u}); err != nil { // the frame withholds the blank line
		return failed("reading", f.Name(), err)
	}
	return u.flush()
}

// skipLine reads the rest of a line of any length.
func skipLine(r *bufio.Reader) error {
	for {
		_, err := r.ReadSlice('\n')
		if err == nil || err == io.EOF {
			return nil
		}
		if err != bufio.ErrBufferFull {
			return err
		}
	}
}

// search looks for what is not in place by its content and says what is
// nowhere. Of equal messages as many have to be found as are expected.
func (m *Mbox) search(ctx context.Context, f *os.File, expect []Message, states []placeState) ([]Finding, error) {
	copies := make(map[[sha256.Size]byte]int)
	for i, e := range expect {
		if states[i] != inPlace {
			copies[e.SHA256] = 0
		}
	}
	for found, err := range m.scan(ctx, f) {
		if err != nil {
			return nil, err
		}
		if _, wanted := copies[found.SHA256]; wanted && found.Torn == "" {
			copies[found.SHA256]++
		}
	}
	for i, e := range expect {
		if _, wanted := copies[e.SHA256]; wanted && states[i] == inPlace {
			copies[e.SHA256]--
		}
	}
	var findings []Finding
	for i, e := range expect {
		if states[i] == inPlace {
			continue
		}
		if copies[e.SHA256]--; copies[e.SHA256] < 0 {
			findings = append(findings, e.finding(states[i]))
		}
	}
	return findings, nil
}

func (e Message) finding(state placeState) Finding {
	if state == otherContent {
		return Finding{e, Changed, fmt.Sprintf("the message at offset %d of %s has other bytes than were stored", e.Location.Offset, e.Location.Path)}
	}
	return Finding{e, Missing, fmt.Sprintf("it is not at offset %d of %s, and no message in the file has its bytes", e.Location.Offset, e.Location.Path)}
}

// Copy writes the message that lies at a place in this mbox to w, unquoted.
// A place where no framed message stands is fs.ErrNotExist.
func (m *Mbox) Copy(w io.Writer, at Location) error {
	f, size, err := m.openToRead()
	if err != nil {
		return err
	}
	defer f.Close()
	framed, err := isFramed(f, size, at)
	if err != nil {
		return err
	}
	if !framed {
		return failed("reading", f.Name(), fmt.Errorf("no message stands at offset %d: %w", at.Offset, fs.ErrNotExist))
	}
	return copyFramed(w, f, at)
}
