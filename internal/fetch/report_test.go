package fetch_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/pop3"
	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/internal/store"
)

func TestReportAsJSON(t *testing.T) {
	r := fetch.Report{Account: "joe", Listed: 1, New: 2, Stored: 3, Bytes: 4, Deleted: 5, PendingDelete: 6, Skipped: 7, Failed: 8, Sessions: 9,
		Took: 1500 * time.Millisecond, Err: errors.New("no")}
	const want = `{"account":"joe","listed":1,"new":2,"stored":3,"bytes":4,"deleted":5,"pending_delete":6,"skipped":7,"failed":8,"sessions":9,"seconds":1.5,"error":"no","left":0,"held":false,"not_before":null}`
	if got, err := json.Marshal(r); err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
	r.Err = nil
	if got, err := json.Marshal(r); err != nil || !strings.HasSuffix(string(got), `"error":"","left":0,"held":false,"not_before":null}`) {
		t.Errorf("%s, %v", got, err)
	}
}

func TestKindOf(t *testing.T) {
	disk := &store.Error{Op: "writing", Path: "/mail", Err: fs.ErrPermission}
	for want, errs := range map[fetch.Kind][]error{
		fetch.Fine:      {nil},
		fetch.Temporary: {errors.New("x"), &pop3.ReplyError{}, &pop3.ProtocolError{}, context.Canceled, &store.Error{Op: "locking", Path: "/mail", Err: store.ErrLocked}},
		fetch.Local:     {disk, fmt.Errorf("y: %w", disk), &ledger.Error{Err: fs.ErrPermission}, &fs.PathError{Err: fs.ErrPermission}},
		fetch.Configuration: {&config.Error{}, &config.SecretError{Err: &fs.PathError{Err: fs.ErrNotExist}},
			&pop3.CredentialError{}, &fetch.Error{Err: &config.Error{}}},
	} {
		for _, err := range errs {
			if got := fetch.KindOf(err); got != want {
				t.Errorf("%v: %d, want %d", err, got, want)
			}
		}
	}
}

// Errors of several parts are still one line.
func TestErrorIsOneLine(t *testing.T) {
	err := &fetch.Error{Account: "joe", Doing: "storing", Err: errors.Join(errors.New("this"), &store.Error{Op: "closing", Path: "/mail", Err: fs.ErrClosed})}
	if want := "account joe: storing: this; closing /mail: file already closed"; err.Error() != want {
		t.Errorf("%q, want %q", err.Error(), want)
	}
}

// Verify finds what is gone and what was changed.
func TestVerify(t *testing.T) {
	for name, test := range map[string]struct {
		box              string
		damage           func(w *world)
		missing, changed int
	}{
		"a file is gone":      {"maildir: mail", func(w *world) { w.must(os.Remove(w.aFile())) }, 1, 0},
		"a file is changed":   {"maildir: mail", func(w *world) { w.must(os.WriteFile(w.aFile(), []byte("changed"), 0o600)) }, 0, 1},
		"the Maildir is gone": {"maildir: mail", func(w *world) { w.must(os.RemoveAll(w.box)) }, 3, 0},
		"the mbox is gone":    {"mbox: mail", func(w *world) { w.must(os.Remove(w.box)) }, 3, 0},
		"a byte of the mbox is changed": {"mbox: mail", func(w *world) {
			data, err := os.ReadFile(w.box)
			w.must(err)
			w.must(os.WriteFile(w.box, []byte(strings.Replace(string(data), "Subject: 1", "Subject: 7", 1)), 0o600))
		}, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, popsim.Config{}, test.box)
			w.deliverN(3)
			w.succeed(fetch.Report{Listed: 3, New: 3, Stored: 3})
			test.damage(w)
			v, err := w.fetcher.Verify(t.Context(), w.config(), 1)
			w.must(err)
			if v.OK() || v.Account != "joe" || v.Checked != 3 || v.Missing+v.Changed != test.missing+test.changed || len(v.Findings) == 0 {
				t.Errorf("%+v, want %d missing, %d changed", v, test.missing, test.changed)
			}
			if test.missing == 3 && v.Missing != 3 {
				t.Errorf("%+v, want all missing", v)
			}
		})
	}
}

// aFile is one of the Maildir's messages.
func (w *world) aFile() string {
	w.Helper()
	entries, err := os.ReadDir(filepath.Join(w.box, "new"))
	w.must(err)
	return filepath.Join(w.box, "new", entries[1].Name())
}

func TestProbeMailbox(t *testing.T) {
	w := newWorld(t, popsim.Config{})
	before := w.snapshot()
	w.must(w.fetcher.ProbeMailbox(w.config()))
	if after := w.snapshot(); len(after) != len(before) {
		t.Errorf("it left something behind: %v", after)
	}
	w.must(os.WriteFile(w.box, nil, 0o600))
	if err := w.fetcher.ProbeMailbox(w.config()); fetch.KindOf(err) != fetch.Local || !strings.Contains(err.Error(), w.box) {
		t.Error(err)
	}
}
