package fetch_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/popfetchd/popfetchd/internal/popsim"
)

// file finds the file of a message in the Maildir, from the world's folder.
func (w *world) file(m popsim.Message) string {
	w.Helper()
	for _, path := range w.files() {
		path = filepath.Join(w.folder, path)
		if !strings.HasPrefix(path, w.box) || !strings.Contains(path, "/new/") && !strings.Contains(path, "/cur/") {
			continue
		}
		data, err := os.ReadFile(path)
		w.must(err)
		if string(data) == string(m.Stored()) {
			return path
		}
	}
	w.Fatalf("message %q is in no file", m.UID)
	return ""
}

// framed returns the messages of the mbox as they stand in it.
func (w *world) framed() []string {
	w.Helper()
	data, err := os.ReadFile(w.box)
	w.must(err)
	var all []string
	for i, part := range strings.Split("\n\n"+strings.TrimSuffix(string(data), "\n\n"), "\n\nFrom ") {
		if i > 0 {
			all = append(all, "From "+part+"\n\n")
		}
	}
	return all
}

// rewrite replaces what the mbox holds, as mail readers do.
func (w *world) rewrite(framed ...string) {
	w.Helper()
	w.must(os.WriteFile(w.box, []byte(strings.Join(framed, "")), 0o600))
}

// withStatus is a message in an mbox after mutt has shown it.
func withStatus(framed string) string {
	return strings.Replace(framed, "\n\n", "\nStatus: RO\nContent-Length: 3\nLines: 1\n\n", 1)
}

// discard deletes messages from the mailbox, as mail readers do.
func (w *world) discard(messages ...popsim.Message) {
	w.Helper()
	if w.line("mbox: ") == "" {
		for _, m := range messages {
			w.must(os.Remove(w.file(m)))
		}
		return
	}
	w.rewrite(slices.DeleteFunc(w.framed(), func(framed string) bool {
		return slices.ContainsFunc(messages, func(m popsim.Message) bool { return strings.HasSuffix(framed, "\n"+string(m.Stored())+"\n") })
	})...)
}
