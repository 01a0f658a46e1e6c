package alert

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/popfetchd/popfetchd/internal/ledger"
)

// What keeps alerts from becoming a flood.
const (
	mostInHour = 6             // messages of one channel; what comes beyond waits, and is told in one
	quiet      = 3 * time.Hour // what begins again so soon after its all-clear is told only when it has lasted till then
	moreAside  = 24 * time.Hour

	firstRetry = time.Minute // after a channel failed; doubled each time
	lastRetry  = time.Hour
)

// errand is what one channel is to tell now.
type errand struct {
	channel channel
	memory  *channelMemory
	news    []ledger.Incident // to tell for the first time, or because there is more of it
	again   []ledger.Incident // reminders
	over    []told
	err     error
	partly  []error // what was sent, but not to everybody
	sent    []ledger.Incident
	ended   []told
}

// tell sends each channel what it has not told yet, all channels at the same time.
func (a *Alerter) tell(ctx context.Context, b *book, l *glance) {
	var errands []*errand
	for _, c := range l.channels {
		e := l.errand(c)
		if e.any() && !l.now.Before(e.memory.Next) && e.memory.room(l.now) {
			errands = append(errands, e)
		}
	}
	var all sync.WaitGroup
	for _, e := range errands {
		all.Go(func() { e.run(ctx, l) })
	}
	all.Wait()
	for _, e := range errands {
		a.record(b, e, l.now)
	}
}

// errand is what a channel has not told of what goes on, and of what is over.
func (l *glance) errand(c channel) *errand {
	e := &errand{channel: c, memory: l.channel(c.name())}
	if l.fresh {
		l.recall(c, e.memory)
	}
	for _, i := range l.incidents {
		if !concerns(c, i.Account) {
			continue
		}
		at := slices.IndexFunc(e.memory.Told, func(t told) bool { return t.key() == key(i.Account, i.Kind) })
		switch {
		case at < 0 && l.settled(i):
			e.news = append(e.news, i)
		case at < 0:
		case i.Kind == SetAside && countOf(i.Text) > e.memory.Told[at].Count && l.now.Sub(e.memory.Told[at].At) >= moreAside:
			e.news = append(e.news, i)
		case l.settings.Remind > 0 && l.now.Sub(e.memory.Told[at].At) >= l.settings.Remind && !strings.Contains(i.Text, tooLargeWords):
			e.again = append(e.again, i)
		}
	}
	for _, t := range e.memory.Told {
		if !t.Over.IsZero() && l.book.find(t.Account, t.Kind) < 0 {
			e.over = append(e.over, t)
		}
	}
	return e
}

// recall takes from the ledger what this channel must have told, when the memory is lost.
func (l *glance) recall(c channel, m *channelMemory) {
	for _, i := range l.incidents {
		if concerns(c, i.Account) && !i.Told.IsZero() && !slices.ContainsFunc(m.Told, func(t told) bool { return t.key() == key(i.Account, i.Kind) }) {
			m.Told = append(m.Told, told{Account: i.Account, Kind: i.Kind, Since: i.Since, At: i.Told, Count: countOf(i.Text)})
		}
	}
}

// settled says that an incident is not one that comes and goes.
func (l *glance) settled(i ledger.Incident) bool {
	at, ended := l.Ended[key(i.Account, i.Kind)]
	return !ended || l.now.Sub(at) >= quiet
}

// concerns says whether a channel tells of the account: all do, but a mailbox of its own.
func concerns(c channel, account string) bool {
	box, ok := c.(mailbox)
	return !ok || box.concerns(account)
}

func (e *errand) any() bool { return len(e.news)+len(e.again)+len(e.over) > 0 }

// room says that a channel may send at all: not more than so many messages within an hour.
func (m *channelMemory) room(now time.Time) bool {
	m.Sent = slices.DeleteFunc(m.Sent, func(at time.Time) bool { return now.Sub(at) >= time.Hour || now.Before(at) })
	return len(m.Sent) < mostInHour
}

// run sends what is to be told: troubles in one message, and what is over in another. The troubles come first, since an
// all-clear that follows them must not seem to be about them.
func (e *errand) run(ctx context.Context, l *glance) {
	host := hostname()
	if troubles := append(slices.Clone(e.news), e.again...); len(troubles) > 0 {
		event := Trouble
		if len(e.news) == 0 {
			event = Reminder
		}
		if e.send(ctx, compose(event, l.sorted(troubles), host, l.now, l.settings.Remind)); e.err != nil {
			return
		}
		e.sent = troubles
	}
	if len(e.over) == 0 {
		return
	}
	var incidents []ledger.Incident
	for _, t := range e.over {
		incidents = append(incidents, ledger.Incident{Account: t.Account, Kind: t.Kind, Since: t.Since, Told: t.At})
	}
	if e.send(ctx, compose(AllClear, l.sorted(incidents), host, l.now, 0)); e.err == nil {
		e.ended = e.over
	}
}

// send hands a message to the channel. One that arrived somewhere is no failure.
func (e *errand) send(ctx context.Context, m Message) {
	e.err = e.channel.send(ctx, m)
	if partly := (*partlyError)(nil); errors.As(e.err, &partly) {
		e.partly, e.err = append(e.partly, partly), nil
	}
}

// sorted puts incidents in the order of the file's accounts.
func (l *glance) sorted(incidents []ledger.Incident) []ledger.Incident {
	place := func(name string) int {
		for n, account := range l.accounts {
			if account.Name == name {
				return n
			}
		}
		return -1
	}
	slices.SortStableFunc(incidents, func(x, y ledger.Incident) int { return place(x.Account) - place(y.Account) })
	return incidents
}

// record notes what a channel did.
func (a *Alerter) record(b *book, e *errand, now time.Time) {
	m := e.memory
	for _, i := range e.sent {
		m.Told = slices.DeleteFunc(m.Told, func(t told) bool { return t.key() == key(i.Account, i.Kind) })
		m.Told = append(m.Told, told{Account: i.Account, Kind: i.Kind, Since: i.Since, At: now, Count: countOf(i.Text)})
		b.toldOne(i.Account, i.Kind, now)
	}
	for _, over := range e.ended {
		m.Told = slices.DeleteFunc(m.Told, func(t told) bool { return t.key() == over.key() })
	}
	for _, some := range []int{len(e.sent), len(e.ended)} {
		if some > 0 {
			m.Sent = append(m.Sent, now)
		}
	}
	for _, err := range e.partly {
		a.log.Warn("an alert did not reach everybody", "channel", e.channel.name(), "error", err)
	}
	if e.err == nil {
		if m.Failures > 0 {
			a.log.Info("alerts can be sent again", "channel", e.channel.name())
		}
		m.Failures, m.Next = 0, time.Time{}
		return
	}
	m.Next = now.Add(min(firstRetry<<min(m.Failures, 10), lastRetry))
	m.Failures++
	if m.Failures == 1 {
		a.log.Warn("an alert could not be sent, it is tried again", "channel", e.channel.name(), "error", e.err)
	} else {
		a.log.Debug("an alert could not be sent, it is tried again", "channel", e.channel.name(), "error", e.err, "failures", m.Failures)
	}
}

// waiting says whether any channel has something to tell.
func (a *Alerter) waiting(b *book, l *glance) bool {
	return slices.ContainsFunc(l.channels, func(c channel) bool { return l.errand(c).any() })
}

// forgetChannels drops what channels remember that are no more, and of accounts that are no more.
func (l *glance) forgetChannels(known map[string]bool) {
	names := map[string]bool{}
	for _, c := range l.channels {
		names[c.name()] = true
	}
	for name, m := range l.Channels {
		if !names[name] {
			delete(l.Channels, name)
			continue
		}
		m.Told = slices.DeleteFunc(m.Told, func(t told) bool { return !known[t.Account] })
		for n, t := range m.Told { // a clock that was ahead must not keep reminders away
			if t.At.After(l.now) {
				m.Told[n].At = l.now
			}
		}
		if m.Next.After(l.now.Add(lastRetry)) {
			m.Next = l.now
		}
	}
}
