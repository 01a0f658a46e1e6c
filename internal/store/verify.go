package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Verify implements [Mailbox]. A message is looked for by its name in new/
// and cur/, whatever flags it has got. A file that cannot be read counts as
// changed.
func (m *Maildir) Verify(ctx context.Context, expect []Message, read bool) ([]Finding, error) {
	wrong := make([]*Finding, len(expect))
	pending := make([]int, len(expect))
	for i := range pending {
		pending[i] = i
	}
	for range scansForMoved {
		paths, err := m.locate(expect, pending)
		if err != nil {
			return nil, err
		}
		var gone []int
		for _, i := range pending {
			if err := ctx.Err(); err != nil {
				return nil, context.Cause(ctx)
			}
			found, err := examine(paths[expect[i].Location.Name], expect[i], read)
			if errors.Is(err, fs.ErrNotExist) {
				gone = append(gone, i)
				continue
			}
			wrong[i] = found
		}
		if pending = gone; len(pending) == 0 {
			break
		}
	}
	for _, i := range pending {
		wrong[i] = &Finding{expect[i], Missing, "no file " + expect[i].Location.Name + " in new/ or cur/"}
	}
	return compact(wrong), nil
}

func compact(wrong []*Finding) []Finding {
	var findings []Finding
	for _, f := range wrong {
		if f != nil {
			findings = append(findings, *f)
		}
	}
	return findings
}

// locate returns the paths of the files with the wanted messages' names.
func (m *Maildir) locate(expect []Message, wanted []int) (map[string]string, error) {
	paths := make(map[string]string, len(wanted))
	for _, i := range wanted {
		paths[expect[i].Location.Name] = ""
	}
	for _, sub := range []string{"new", "cur"} {
		dir := filepath.Join(m.path, sub)
		for name, err := range eachName(dir) {
			if err != nil {
				return nil, err
			}
			base := baseName(name)
			if _, ok := paths[base]; ok {
				paths[base] = filepath.Join(dir, name)
			}
		}
	}
	return paths, nil
}

// examine looks at one file; nil when it is as expected. The only error is
// fs.ErrNotExist.
func examine(path string, expect Message, read bool) (*Finding, error) {
	if path == "" {
		return nil, fs.ErrNotExist
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fs.ErrNotExist
	case err != nil:
		return &Finding{expect, Changed, failed("looking at", path, err).Error()}, nil
	case !info.Mode().IsRegular():
		return &Finding{expect, Changed, path + " is no regular file"}, nil
	case info.Size() != expect.Size:
		return &Finding{expect, Changed, fmt.Sprintf("%s has %d bytes instead of %d", path, info.Size(), expect.Size)}, nil
	case !read:
		return nil, nil
	}
	sum, err := hashFile(path, expect.Size)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fs.ErrNotExist
	case err != nil:
		return &Finding{expect, Changed, err.Error()}, nil
	case sum != expect.SHA256:
		return &Finding{expect, Changed, fmt.Sprintf("%s has other bytes: SHA-256 %x instead of %x", path, sum, expect.SHA256)}, nil
	}
	return nil, nil
}

func hashFile(path string, size int64) (sum [sha256.Size]byte, err error) {
	f, err := openRegular(path)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	return hashSection(f, 0, size)
}

// Copy writes the message that lies at a place in this Maildir to w, as it is
// stored. A message that is not there is fs.ErrNotExist.
func (m *Maildir) Copy(w io.Writer, at Location) error {
	paths, err := m.locate([]Message{{Location: at}}, []int{0})
	if err != nil {
		return err
	}
	if paths[at.Name] == "" {
		return failed("opening", filepath.Join(m.path, "new", at.Name), fs.ErrNotExist)
	}
	f, err := openRegular(paths[at.Name])
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, onlyReader{f})
	return err
}
