package alert

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/ledger"
)

// tooLargeWords say in an incident's text that the messages are only too large.
const tooLargeWords = "over max_message_size"

// look takes in what has happened, raises and ends incidents, and with tell tells what is due. It returns whether anything
// waits to be told.
func (a *Alerter) look(ctx context.Context, tell bool) (waiting bool) {
	a.work.Lock()
	defer a.work.Unlock()
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	b, err := openBook(ctx, a.stateDir, a.books, a.kept)
	if err != nil {
		a.log.Debug("alerts wait", "error", err)
		return true
	}
	defer b.close()
	l := a.take(b)
	l.runs()
	l.silence()
	l.others()
	l.forget()
	a.note(b)
	if tell {
		a.tell(ctx, b, l)
	}
	waiting = a.waiting(b, l)
	if err := b.save(); err != nil {
		a.log.Warn("what was told cannot be remembered", "error", err)
	}
	a.kept, a.looked, a.first = &b.memory, l.now, false
	return waiting
}

// glance is one look under way.
type glance struct {
	*book
	alerter  *Alerter
	now      time.Time
	accounts []config.Account
	settings config.Alerts
	channels []channel
	outcomes map[string]outcome
	success  map[string]time.Time
	found    []finding
}

// take takes what has happened since the last look.
func (a *Alerter) take(b *book) *glance {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := &glance{book: b, alerter: a, now: a.now(), accounts: a.accounts, settings: a.settings, channels: a.channels,
		outcomes: a.outcomes, found: a.found, success: map[string]time.Time{}}
	for name, at := range a.success {
		l.success[name] = at
	}
	a.outcomes, a.found = map[string]outcome{}, nil
	if !a.looked.IsZero() && (l.now.Sub(a.looked) > maxLookGap || l.now.Before(a.looked)) {
		a.began = l.now // it slept, and runs that were due have not been yet
	}
	return l
}

// note keeps for Ended which accounts have incidents.
func (a *Alerter) note(b *book) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open = map[string]bool{}
	for _, i := range b.incidents {
		a.open[i.Account] = true
	}
	for _, c := range b.Channels {
		for _, t := range c.Told {
			a.open[t.Account] = a.open[t.Account] || t.Over.IsZero()
		}
	}
}

// runs judges the runs that have ended.
func (l *glance) runs() {
	for _, account := range l.accounts {
		o, ran := l.outcomes[account.Name]
		if !ran && !l.alerter.first {
			continue
		}
		if ran {
			l.run(account, o)
		}
		l.aside(account)
	}
	if l.alerter.first && l.books != nil { // or there would be none, and no configuration
		for _, kind := range []string{Ledger, Disk, Configuration} {
			l.end("", kind, l.now)
		}
	}
	for _, f := range l.found {
		if f.text == "" {
			l.end(f.account, f.kind, l.now)
		} else {
			l.raise(ledger.Incident{Account: f.account, Kind: f.kind, Since: l.now, Text: f.text})
		}
	}
}

func (l *glance) run(account config.Account, o outcome) {
	var hold ledger.Hold
	if o.report.Held && l.books != nil {
		hold, _ = l.books.Hold(account.Name) // without it the error itself has to do
	}
	if kind, text := judgeRun(o.report, hold); kind != "" {
		l.raise(ledger.Incident{Account: account.Name, Kind: kind, Since: o.at, Text: text})
		return
	}
	if o.report.Err == nil && !o.report.Held {
		l.well(account.Name)
	}
}

// well ends what a success ends.
func (l *glance) well(account string) {
	for _, kind := range endedBySuccess {
		l.end(account, kind, l.now)
	}
}

// aside looks for messages that were set aside, or are too large.
func (l *glance) aside(account config.Account) {
	if l.books == nil {
		return
	}
	failures, err := l.books.Failures(account.Name)
	if err != nil {
		return
	}
	n, large, first := 0, 0, ledger.Failure{}
	for _, f := range failures {
		switch {
		case !f.NextAt.IsZero(): // is tried again
			continue
		case f.Reason == ledger.TooLarge:
			large++
		case n == large:
			first = f
		}
		n++
	}
	switch {
	case n == 0:
		l.end(account.Name, SetAside, l.now)
	case n == large:
		l.raise(ledger.Incident{Account: account.Name, Kind: SetAside, Since: l.now,
			Text: fmt.Sprintf("%s %s and left on the server", plural(n, "message"), tooLargeWords)})
	case first.Reason == ledger.Vanished:
		l.raise(ledger.Incident{Account: account.Name, Kind: SetAside, Since: l.now,
			Text: fmt.Sprintf("%s not fetched; one of them %s", plural(n, "message"), first.Error)})
	default:
		l.raise(ledger.Incident{Account: account.Name, Kind: SetAside, Since: l.now,
			Text: fmt.Sprintf("%s set aside after several tries, and left on the server; one of them: %s", plural(n, "message"), first.Error)})
	}
}

// silence looks for accounts without a success for too long. What is told already by another incident is not told again.
func (l *glance) silence() {
	for _, account := range l.accounts {
		if _, known := l.Seen[account.Name]; !known {
			l.Seen[account.Name] = l.now
		}
		if account.AlertAfter <= 0 {
			l.end(account.Name, Silence, l.now)
			continue
		}
		last := l.lastSuccess(account.Name)
		if l.now.Before(last.Add(account.AlertAfter)) || l.now.Before(l.alerter.fairFrom(account)) || l.inTrouble(account.Name) {
			continue
		}
		s := l.summary(account.Name) // another process may have had one
		if s.LastSuccess.After(last) {
			l.alerter.succeeded(account.Name, s.LastSuccess)
			continue
		}
		if l.alerter.once && s.ConsecutiveFailures < 2 { // the machine may have been off for days
			continue
		}
		l.raise(ledger.Incident{Account: account.Name, Kind: Silence, Since: last, Text: s.LastError})
	}
}

// fairFrom is from when on an account may be called silent: not as soon as the machine wakes up.
func (a *Alerter) fairFrom(account config.Account) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.once {
		return time.Time{}
	}
	return a.began.Add(min(account.AlertAfter/4, time.Hour))
}

// lastSuccess is when the account was last fetched well; if never, since when it is known.
func (l *glance) lastSuccess(account string) time.Time {
	last, known := l.success[account]
	if !known {
		last = l.summary(account).LastSuccess
		l.alerter.succeeded(account, last)
	}
	if last.IsZero() {
		return l.Seen[account]
	}
	return last
}

// succeeded notes a success that the ledger tells of; a zero time, that there was none.
func (a *Alerter) succeeded(account string, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at.After(a.success[account]) || at.IsZero() {
		a.success[account] = at
	}
}

func (l *glance) summary(account string) ledger.Summary {
	if l.books == nil {
		return ledger.Summary{}
	}
	s, _ := l.books.Summary(account) // a ledger in trouble is told of by the runs
	return s
}

// inTrouble says that another incident than silence explains why an account is not fetched.
func (l *glance) inTrouble(account string) bool {
	for _, i := range l.incidents {
		if i.Account == account && i.Kind != Silence && i.Kind != SetAside && i.Kind != Settings {
			return true
		}
	}
	return false
}

// others ends incidents that were over in another process: somebody ran --once.
func (l *glance) others() {
	for _, i := range append([]ledger.Incident(nil), l.incidents...) {
		if _, ran := l.outcomes[i.Account]; ran || i.Account == "" || i.Kind == SetAside || i.Kind == Settings {
			continue
		}
		last := l.summary(i.Account).LastSuccess
		if i.Kind == Silence && last.After(i.Since) || i.Kind != Silence && last.After(i.Since.Add(time.Second)) {
			l.end(i.Account, i.Kind, l.now)
		}
	}
}

// forget drops what concerns accounts that the file has no more, and what is long over.
func (l *glance) forget() {
	known := map[string]bool{"": true}
	for _, account := range l.accounts {
		known[account.Name] = true
	}
	for _, i := range append([]ledger.Incident(nil), l.incidents...) {
		if !known[i.Account] {
			l.end(i.Account, i.Kind, l.now)
		}
	}
	for _, m := range []map[string]time.Time{l.Seen, l.Checked} {
		for name := range m {
			if !known[name] {
				delete(m, name)
			}
		}
	}
	for name, at := range l.Ended {
		if l.now.Sub(at) > quiet || l.now.Before(at) {
			delete(l.Ended, name)
		}
	}
	l.forgetChannels(known)
}

// Reloaded notes whether the configuration file could be read again.
func (a *Alerter) Reloaded(err error) {
	a.general(Configuration, err)
}

// Broken notes that popfetchd cannot work at all since the ledger cannot be used.
func (a *Alerter) Broken(err error) {
	kind := Disk
	if errors.Is(err, ledger.ErrDamaged) {
		kind = Ledger
	}
	a.general(kind, err)
}

// general notes the state of something that concerns no account in particular.
func (a *Alerter) general(kind string, err error) {
	f := finding{kind: kind}
	if err != nil {
		f.text = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	a.find(f)
}

// finding is the state of something that is not a run's: what is wrong with it, or that it is right.
type finding struct {
	account, kind string
	text          string // "": nothing is wrong
}

func (a *Alerter) find(f finding) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.found = append(a.found, f)
	a.poke()
}
