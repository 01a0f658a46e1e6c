package web

import (
	"slices"
	"time"

	"github.com/popfetchd/popfetchd/internal/daemon"
	"github.com/popfetchd/popfetchd/internal/ledger"
)

// What the ledger knows costs time to count, and a page is loaded again with every run. So it is read once a run, and now and then.

// figuresAge is how old figures may be: popfetchd retry and others write to the ledger too.
const figuresAge = time.Minute

// With millions of messages it takes seconds to read the history: what took longer than historyCheap is shown for historyShare times
// as long at least, though mail may have come meanwhile.
const (
	historyCheap = 200 * time.Millisecond
	historyShare = 50
)

// mostLetters is how many of the newest messages are shown.
const mostLetters = 20

// figures are what the ledger knows of an account.
type figures struct {
	ledger.Summary
	Failures []ledger.Failure
	Waiting  int   // of those, to be tried again
	Received int64 // octets within a day

	of   moments
	read time.Time
}

// moments says of when figures are.
type moments struct {
	runs    int64
	running bool
}

// figuresOf reads an account's figures, if they may have changed.
func (s *Server) figuresOf(state daemon.State, now time.Time) (figures, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name, of := state.Account.Name, moments{state.Runs, state.Running}
	if f, ok := s.figures[name]; ok && f.of == of && now.Sub(f.read).Abs() < figuresAge {
		return f, nil
	}
	f := figures{of: of, read: now}
	var err error
	if f.Summary, err = s.Ledger.Summary(name); err != nil {
		return f, err
	}
	if f.Failures, err = s.Ledger.Failures(name); err != nil {
		return f, err
	}
	for _, failure := range f.Failures {
		if !failure.NextAt.IsZero() {
			f.Waiting++
		}
	}
	received, err := s.Ledger.Traffic(name, now.Add(-24*time.Hour))
	if err != nil {
		return f, err
	}
	for _, r := range received {
		f.Received += r.Octets
	}
	s.figures[name] = f
	return f, nil
}

// activeHold is the hold that keeps the account from being logged in to now.
func (f figures) activeHold(now time.Time) ledger.Hold {
	if !f.Hold.Until.IsZero() && !now.Before(f.Hold.Until) {
		return ledger.Hold{}
	}
	return f.Hold
}

// history is the days and the newest messages of an account, or of all.
type history struct {
	Days    []figure
	Charts  []chart
	Letters []letter

	of   string // see mark
	read time.Time
	took time.Duration
}

// historyOf reads the history of an account, or of all without one, if it may have changed.
func (s *Server) historyOf(account string, states []daemon.State, now time.Time) (history, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of, before := mark(states), s.history[account]
	age := now.Sub(before.read).Abs()
	if before.of == of && age < figuresAge || before.took > historyCheap && age < historyShare*before.took {
		return before, nil
	}
	began := time.Now()
	today := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	first := today.AddDate(0, 0, 1-chartDays)
	h := history{of: of, read: now}
	counted, err := s.Ledger.Days(account, first, now.Location())
	if err != nil {
		return h, err
	}
	for i := range chartDays {
		day := figure{Day: first.AddDate(0, 0, i)}
		at := slices.IndexFunc(counted, func(d ledger.Day) bool { return d.Date == day.Day.Format(time.DateOnly) })
		if at >= 0 {
			day.Messages, day.Bytes = counted[at].Messages, counted[at].Bytes
		}
		h.Days = append(h.Days, day)
	}
	h.Charts = []chart{
		newChart("Messages a day", h.Days, func(f figure) int64 { return int64(f.Messages) }, func(n int64) string { return plural(n, "message") }),
		newChart("Volume a day", h.Days, func(f figure) int64 { return f.Bytes }, size),
	}
	newest, err := s.Ledger.Newest(account, mostLetters)
	if err != nil {
		return h, err
	}
	for _, m := range newest {
		h.Letters = append(h.Letters, before.letter(m))
	}
	h.took = time.Since(began)
	s.history[account] = h
	return h, nil
}

// letter shows a message, by what was read of it before if that was.
func (h history) letter(m ledger.Recent) letter {
	for _, l := range h.Letters {
		if !l.Gone && l.Account == m.Account && l.stored == m.Message {
			return l
		}
	}
	return readLetter(m.Account, m.Message)
}
