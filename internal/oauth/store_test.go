package oauth

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var sample = Token{Access: "ya29.access", Refresh: "1//refresh", Issued: time.Unix(1e9, 0).UTC(),
	Expiry: time.Unix(1e9+3600, 0).UTC(), Scopes: []string{mailScope}}

func store(t *testing.T) Store { return Store{StorePath(t.TempDir(), "joe@example.org")} }

func TestStoreKeepsATokenToItself(t *testing.T) {
	s := store(t)
	if _, err := s.Load(); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("without a sign-in: %v", err)
	}
	old := unix.Umask(0)
	err := s.Save(sample)
	unix.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Load()
	if err != nil || got.Access != sample.Access || got.Refresh != sample.Refresh || !got.Expiry.Equal(sample.Expiry) ||
		!got.Issued.Equal(sample.Issued) || !got.Allows(mailScope) || got.Allows("another") {
		t.Errorf("got back another token: %v", err)
	}
	for path, want := range map[string]fs.FileMode{s.Path: 0o600, filepath.Dir(s.Path): fs.ModeDir | 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s has mode %v, want %v (%v)", path, info.Mode(), want, err)
		}
	}
	noLeftovers(t, s, "joe@example.org.json", "joe@example.org.json.lock")
	for range 2 {
		if err := s.Remove(); err != nil {
			t.Fatal(err)
		}
	}
	noLeftovers(t, s, "joe@example.org.json.lock")
}

// A reader never sees half a file: the old one stays whole for who has it open, and the new one takes its name.
func TestStoreReplacesTheFile(t *testing.T) {
	s := store(t)
	if err := s.Save(sample); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(s.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	next := sample
	next.Access = "ya29.next"
	if err := s.Save(next); err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(f)
	if err != nil || !strings.Contains(string(data), sample.Access) || !strings.HasSuffix(string(data), "}\n") {
		t.Errorf("the old file was written over: %v", err)
	}
	if got, err := s.Load(); err != nil || got.Access != next.Access {
		t.Errorf("the new token is not there: %v", err)
	}
}

// A write that fails leaves what was there.
func TestStoreThatCannotWrite(t *testing.T) {
	s := store(t)
	if err := s.Save(sample); err != nil {
		t.Fatal(err)
	}
	// Something has the temporary file's name and cannot be removed.
	if err := os.MkdirAll(filepath.Join(s.temporary(), "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	next := sample
	next.Refresh = "1//next-secret"
	err := s.Save(next)
	if err == nil {
		t.Fatal("saved where nothing can be")
	}
	silent(t, err, next.Refresh, sample.Refresh)
	if got, err := s.Load(); err != nil || got.Refresh != sample.Refresh {
		t.Errorf("the sign-in from before is lost: %v", err)
	}
}

func TestStoreAfterACrash(t *testing.T) {
	s := store(t)
	if err := s.Save(sample); err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Symlink(elsewhere, s.temporary()); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(sample); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(elsewhere); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the token was written through a link")
	}
	noLeftovers(t, s, "joe@example.org.json", "joe@example.org.json.lock")
}

func TestStoreRefusesWhatIsNotSafe(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(path string) error
		want  string
	}{
		"readable": {func(path string) error { return os.Chmod(path, 0o640) },
			"others can read PATH and the sign-in in it (mode 0640); run chmod 600 PATH"},
		"fifo": {func(path string) error { return errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600)) },
			"PATH is no regular file; remove it"},
		"cut":   {func(path string) error { return os.Truncate(path, 20) }, "PATH is damaged"},
		"empty": {func(path string) error { return os.Truncate(path, 0) }, "PATH is damaged"},
		"other": {func(path string) error { return os.WriteFile(path, []byte("[1]"), 0o600) }, "PATH is damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			s := store(t)
			if err := s.Save(sample); err != nil {
				t.Fatal(err)
			}
			if err := c.spoil(s.Path); err != nil {
				t.Fatal(err)
			}
			_, err := s.Load()
			if want := strings.ReplaceAll(c.want, "PATH", s.Path); fmt.Sprint(err) != want {
				t.Errorf("got %v, want %s", err, want)
			}
			if name == "readable" {
				return // signing in again must not hide that others could read it
			}
			if err := s.Save(sample); err != nil {
				t.Errorf("a sign-in does not mend it: %v", err)
			}
			if _, err := s.Load(); err != nil {
				t.Error(err)
			}
		})
	}
}
