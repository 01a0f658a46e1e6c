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
// content: elsewhere it is found Moved. Fields that mail readers add to a header
// do not make another message of it (see readersFields). Since no lock is taken, a program that
// rewrites the file at the same time can make messages seem missing.
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
	claimed := make(map[int64]bool, len(expect))
	moved := false
	for i, e := range expect {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if states[i], err = atPlace(f, size, e, read); err != nil {
			return nil, err
		}
		if offset := e.Location.Offset; claimed[offset] {
			states[i] = otherFrame // what stands there can be one message only
		} else {
			claimed[offset] = states[i] == inPlace
		}
		moved = moved || states[i] != inPlace
	}
	if !moved {
		return nil, nil
	}
	content, err := m.contents(ctx, f, expect)
	if err != nil {
		return nil, err
	}
	if err := content.confirm(f, size, expect, states); err != nil {
		return nil, err
	}
	return m.match(expect, states, content), nil
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
		findings = append(findings, Finding{Message: e, Damage: Missing, Detail: detail})
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
	d := newBareDigest()
	if err := copyMessage(d, f, e.Location); err != nil {
		return otherFrame, err
	}
	if whole, bare := d.end(); whole.SHA256 != e.SHA256 && bare.SHA256 != e.SHA256 {
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

// copyMessage writes the message of a framed place to w, unquoted.
func copyMessage(w io.Writer, f *os.File, at Location) error {
	r := bufio.NewReaderSize(io.NewSectionReader(f, at.Offset, at.Length), chunkSize)
	return failed("reading", f.Name(), copyFramed(w, r))
}

// copyFramed writes the message of a frame to w, unquoted.
func copyFramed(w io.Writer, r *bufio.Reader) error {
	if err := skipLine(r); err != nil {
		return err
	}
	u := unquoter{w: w}
	if _, err := r.WriteTo(&frame{w: &u}); err != nil { // the frame withholds the blank line
		return err
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

// contents says where the messages of an mbox stand, as far as they have the
// content of expected ones.
type contents struct {
	whole, bare map[[sha256.Size]byte][]Location // in the order of the file; bare: with fields of mail readers
	whose       map[Location][sha256.Size]byte
}

// contents reads the whole mbox.
func (m *Mbox) contents(ctx context.Context, f *os.File, expect []Message) (contents, error) {
	c := contents{make(map[[sha256.Size]byte][]Location, len(expect)), make(map[[sha256.Size]byte][]Location),
		make(map[Location][sha256.Size]byte, len(expect))}
	for _, e := range expect {
		c.whole[e.SHA256] = nil
	}
	for found, err := range m.scan(ctx, f) {
		if err != nil {
			return contents{}, err
		}
		if found.Torn != "" {
			continue
		}
		if places, wanted := c.whole[found.SHA256]; wanted {
			c.whole[found.SHA256] = append(places, found.Location)
			c.whose[found.Location] = found.SHA256
		}
		if _, wanted := c.whole[found.Bare.SHA256]; wanted && found.Bare.SHA256 != found.SHA256 {
			c.bare[found.Bare.SHA256] = append(c.bare[found.Bare.SHA256], found.Location)
		}
	}
	return c, nil
}

// confirm judges what seems to be in place, which may have been told by the
// frame alone, by its content: of messages that have the same length one may
// stand where another did. Only what the scan did not see as it was stored has
// to be read again.
func (c contents) confirm(f *os.File, size int64, expect []Message, states []placeState) (err error) {
	for i, e := range expect {
		if states[i] != inPlace {
			continue
		}
		if sum, seen := c.whose[e.Location]; seen && sum == e.SHA256 {
			continue
		}
		if states[i], err = atPlace(f, size, e, true); err != nil {
			return err
		}
	}
	return nil
}

// match gives each message that is not in place one of the places with its
// content that is not taken: of equal messages as many have to be found as are
// expected. Those that nobody has touched are given first.
func (m *Mbox) match(expect []Message, states []placeState, c contents) []Finding {
	taken := make(map[int64]bool, len(expect)) // offsets
	for i, e := range expect {
		if states[i] == inPlace {
			taken[e.Location.Offset] = true
		}
	}
	wrong := make([]*Finding, len(expect))
	for _, where := range []map[[sha256.Size]byte][]Location{c.whole, c.bare} {
		for i, e := range expect {
			if states[i] == inPlace || wrong[i] != nil {
				continue
			}
			places := where[e.SHA256]
			for len(places) > 0 && taken[places[0].Offset] {
				places = places[1:]
			}
			where[e.SHA256] = places
			if len(places) > 0 {
				taken[places[0].Offset] = true
				wrong[i] = &Finding{Message: e, Damage: Moved, Found: places[0],
					Detail: fmt.Sprintf("it was at offset %d of %s, and is now at %d", e.Location.Offset, m.path, places[0].Offset)}
			}
		}
	}
	for i, e := range expect {
		switch {
		case states[i] == inPlace || wrong[i] != nil:
		case states[i] == otherContent && !taken[e.Location.Offset]:
			wrong[i] = &Finding{Message: e, Damage: Changed,
				Detail: fmt.Sprintf("the message at offset %d of %s has other bytes than were stored", e.Location.Offset, m.path)}
		case e.Location.Offset < 0:
			wrong[i] = &Finding{Message: e, Damage: Missing,
				Detail: "it is not there any more"}
		default:
			wrong[i] = &Finding{Message: e, Damage: Missing,
				Detail: fmt.Sprintf("it is not at offset %d of %s, and no other message in the file has its bytes", e.Location.Offset, m.path)}
		}
	}
	return compact(wrong)
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
		return noMessage(f, at)
	}
	return copyMessage(w, f, at)
}

func noMessage(f *os.File, at Location) error {
	return failed("reading", f.Name(), fmt.Errorf("no message stands at offset %d: %w", at.Offset, fs.ErrNotExist))
}
