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
	"slices"
)

// Verify implements [Mailbox]. A message is looked for by its name in new/
// and cur/, whatever flags it has got, and has moved when it lies in those of
// a Maildir++ subfolder: a folder inside this one whose name begins with a
// ".". A file that cannot be read counts as changed. One that has grown is read:
// fields that mail readers add to a header do not make another message of it
// (see readersFields).
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
		detail := "no file " + expect[i].Location.Name + " in new/ or cur/"
		wrong[i] = &Finding{Message: expect[i], Damage: Missing, Detail: detail}
	}
	if err := m.lookInSubfolders(ctx, expect, pending, wrong, read); err != nil {
		return nil, err
	}
	return compact(wrong), nil
}

// lookInSubfolders looks for messages that are missing.
func (m *Maildir) lookInSubfolders(ctx context.Context, expect []Message, missing []int, wrong []*Finding, read bool) error {
	if len(missing) == 0 {
		return nil
	}
	folders, err := Subfolders(m.path)
	if err != nil {
		return err
	}
	for _, folder := range folders {
		sub := Maildir{path: folder}
		paths, err := sub.locate(expect, missing)
		if err != nil {
			return err
		}
		for _, i := range missing {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			found, err := examine(paths[expect[i].Location.Name], expect[i], read)
			if err != nil || wrong[i].Damage == Moved {
				continue
			}
			if found == nil {
				at := Location{Path: sub.path, Name: expect[i].Location.Name}
				found = &Finding{Message: expect[i], Damage: Moved, Detail: "it lies in the subfolder " + sub.path, Found: at}
			}
			wrong[i] = found
		}
	}
	return nil
}

// Subfolders returns the Maildir++ subfolders of the Maildir at path, in the
// order of their names, but for links to that folder itself. What is no folder
// has none, nor has what is not there.
func Subfolders(path string) ([]string, error) {
	top, err := os.Stat(path)
	if err != nil || !top.IsDir() {
		return nil, nil
	}
	var folders []string
	for name, err := range eachName(path) {
		if err != nil {
			return nil, err
		}
		sub := filepath.Join(path, name)
		if info, err := os.Stat(sub); name[0] == '.' && err == nil && info.IsDir() && !os.SameFile(info, top) {
			folders = append(folders, sub)
		}
	}
	slices.Sort(folders)
	return folders, nil
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
		return changed(expect, failed("looking at", path, err).Error())
	case !info.Mode().IsRegular():
		return changed(expect, path+" is no regular file")
	case info.Size() > expect.Size && hasBare(path, expect.SHA256):
		return nil, nil
	case info.Size() != expect.Size:
		return changed(expect, fmt.Sprintf("%s has %d bytes instead of %d", path, info.Size(), expect.Size))
	case !read:
		return nil, nil
	}
	sum, err := hashFile(path, expect.Size)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fs.ErrNotExist
	case err != nil:
		return changed(expect, err.Error())
	case sum != expect.SHA256:
		return changed(expect, fmt.Sprintf("%s has other bytes: SHA-256 %x instead of %x", path, sum, expect.SHA256))
	}
	return nil, nil
}

func changed(expect Message, detail string) (*Finding, error) {
	return &Finding{Message: expect, Damage: Changed, Detail: detail}, nil
}

// hasBare says whether a file is a message to which mail readers have added
// fields.
func hasBare(path string, sum [sha256.Size]byte) bool {
	f, err := openRegular(path)
	if err != nil {
		return false
	}
	defer f.Close()
	_, bare, err := contentsOf(f)
	return err == nil && bare.SHA256 == sum
}

// contentsOf reads a file and says what it is, and what without fields of mail
// readers.
func contentsOf(f *os.File) (whole, bare Content, err error) {
	d := newBareDigest()
	if _, err := io.CopyBuffer(d, onlyReader{f}, make([]byte, chunkSize)); err != nil {
		return whole, bare, failed("reading", f.Name(), err)
	}
	whole, bare = d.end()
	return whole, bare, nil
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
