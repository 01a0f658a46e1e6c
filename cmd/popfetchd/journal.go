package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
)

// onJournal says that w is stderr, and that it goes to the journal
// ($JOURNAL_STREAM, see systemd.exec(5)).
func onJournal(w io.Writer) bool {
	if w != io.Writer(os.Stderr) {
		return false
	}
	is, err := journal.StderrIsJournalStream()
	return is && err == nil
}

// journalPriority is what the journal takes, at the head of a line, for its
// priority: see sd-daemon(3).
func journalPriority(level slog.Level) string {
	switch {
	case level >= slog.LevelError:
		return "<3>"
	case level >= slog.LevelWarn:
		return "<4>"
	case level >= slog.LevelInfo:
		return "<6>"
	}
	return "<7>"
}

// journalHandler puts a priority before what another handler writes, and
// leaves the time to the journal.
type journalHandler struct {
	slog.Handler
	line *journalLine
}

// journalLine is where that one writes to: one line at a time.
type journalLine struct {
	mu   sync.Mutex
	text bytes.Buffer
	out  io.Writer
}

func (p *journalLine) Write(b []byte) (int, error) { return p.text.Write(b) }

func newJournalHandler(out io.Writer, of func(io.Writer) slog.Handler) slog.Handler {
	p := &journalLine{out: out}
	return &journalHandler{of(p), p}
}

func (h *journalHandler) Handle(ctx context.Context, r slog.Record) error {
	h.line.mu.Lock()
	defer h.line.mu.Unlock()
	h.line.text.Reset()
	h.line.text.WriteString(journalPriority(r.Level))
	r.Time = time.Time{} // which handlers leave out
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	_, err := h.line.out.Write(h.line.text.Bytes())
	return err
}

func (h *journalHandler) WithAttrs(attributes []slog.Attr) slog.Handler {
	return &journalHandler{h.Handler.WithAttrs(attributes), h.line}
}

func (h *journalHandler) WithGroup(name string) slog.Handler {
	return &journalHandler{h.Handler.WithGroup(name), h.line}
}
