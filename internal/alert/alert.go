// Package alert tells somebody when something is wrong, and when it is over.
//
// An incident is a trouble of an account that only the user can mend, or the absence of any success for too long. The ledger
// holds those that go on; each channel of the configuration tells of an incident once, again after a week, and once of its end.
//
//	daemon, --once ─ Ended ─▶ judge ─▶ incidents (ledger) ─▶ what each channel has not told yet ─▶ one message
//
// judge.go sorts errors, look.go raises and ends incidents, memory.go keeps them, tell.go decides what a channel is to tell and
// when, text.go words it; email.go, command.go, webhook.go and mailbox.go carry it. ping.go is about runs and not incidents.
package alert

import (
	"context"
	"errors"
	"hash/fnv"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/ledger"
)

// Alerter watches the accounts of a configuration. Its methods may be called from several goroutines; none but Run, Once and
// Test waits for anything.
type Alerter struct {
	// Now is time.Now, or a test's.
	Now func() time.Time

	books    *ledger.Ledger
	stateDir string
	log      *slog.Logger
	client   *http.Client
	began    time.Time     // when this process began to look, or woke up
	gather   time.Duration // how long to wait for more before telling
	poked    chan struct{} // there is something to look at
	knocks   chan struct{} // there are pings to send

	mu       sync.Mutex
	accounts []config.Account
	settings config.Alerts
	channels []channel
	pings    *pinger              // nil for none
	outcomes map[string]outcome   // of runs since the last look, by account
	success  map[string]time.Time // accounts' last ones
	latest   map[string]time.Time // accounts' last beginning or end of a run
	open     map[string]bool      // accounts with incidents, as of the last look; nil before the first
	found    []finding            // since the last look, beside runs

	work   sync.Mutex // one look at a time
	kept   *memory    // as of the last look
	looked time.Time  // when that was
	first  bool       // nothing was looked at yet
	once   bool       // the process looks once and ends
}

// channel carries messages somewhere. send returns when the message has arrived, or with an error that holds no secret.
type channel interface {
	name() string
	send(ctx context.Context, m Message) error
}

// partlyError is a message that arrived, though not at everybody whom the channel is to tell. It counts as sent: to send it
// again would tell those who have it twice.
type partlyError struct{ error }

func (e *partlyError) Unwrap() error { return e.error }

// outcome is what a run came to.
type outcome struct {
	report fetch.Report
	at     time.Time
}

// New returns an Alerter for a configuration. books may be nil when the ledger cannot be used: that is an incident itself, see
// Broken.
func New(c *config.Config, books *ledger.Ledger, log *slog.Logger) *Alerter {
	a := &Alerter{Now: time.Now, books: books, stateDir: c.StateDir, log: log, client: newClient(),
		poked: make(chan struct{}, 1), knocks: make(chan struct{}, 1), first: true, gather: gatherFor,
		outcomes: map[string]outcome{}, success: map[string]time.Time{}, latest: map[string]time.Time{}}
	a.began = a.now()
	a.Configure(c)
	return a
}

// Configure goes on with another configuration. The state folder stays what it was.
func (a *Alerter) Configure(c *config.Config) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.accounts, a.settings = c.Accounts, c.Alerts
	a.channels = a.channelsOf(c)
	a.pings = nil
	if c.Alerts.Ping != nil {
		a.pings = newPinger(*c.Alerts.Ping, len(c.Accounts), a.client, a.log, a.knocks)
	}
	a.poke()
}

func (a *Alerter) channelsOf(c *config.Config) []channel {
	var all []channel
	s := c.Alerts
	if s.Email != nil {
		all = append(all, email{*s.Email, a.stateDir})
	}
	if s.Command != "" {
		all = append(all, command{s.Command})
	}
	if s.Webhook != nil {
		all = append(all, webhook{*s.Webhook, a.client})
	}
	for i, account := range c.Accounts {
		if s.Mailbox && (s.MailboxAccount == "" || s.MailboxAccount == account.Name) {
			all = append(all, mailbox{account: account, stateDir: a.stateDir, now: a.now, all: s.MailboxAccount != "", first: i == 0})
		}
	}
	return all
}

// Any says whether anybody would be told of anything.
func (a *Alerter) Any() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.settings.Any()
}

// Pings says whether anybody wants to know of the beginnings of runs.
func (a *Alerter) Pings() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pings != nil && !a.pings.shared
}

// Began notes that a run of the account began at a time. What is noted twice, or after the run's end, counts for nothing.
func (a *Alerter) Began(account config.Account, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pings != nil && at.After(a.latest[account.Name]) {
		a.latest[account.Name] = at
		a.pings.began(account.Name)
	}
}

// Ended notes the end of a run.
func (a *Alerter) Ended(account config.Account, r fetch.Report) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	well := r.Err == nil && !r.Held
	if well {
		a.success[account.Name] = now
	}
	_, waiting := a.outcomes[account.Name]
	lost := r.Failed+r.Skipped-r.Left > 0
	if judge(r.Err) != "" || a.open == nil || a.open[account.Name] || lost || waiting {
		a.outcomes[account.Name] = outcome{r, now}
		a.poke()
	}
	a.latest[account.Name] = now
	if a.pings != nil {
		a.pings.ended(r, a.inTrouble(account.Name, well))
	}
}

// inTrouble names the accounts that have incidents; one that has just been fetched well has none.
func (a *Alerter) inTrouble(account string, well bool) []string {
	var names []string
	for _, each := range a.accounts {
		if (a.open[each.Name] || judge(a.outcomes[each.Name].report.Err) != "") && (each.Name != account || !well) {
			names = append(names, each.Name)
		}
	}
	return names
}

func (a *Alerter) poke() {
	select {
	case a.poked <- struct{}{}:
	default:
	}
}

// now is the wall clock's time, which goes on while the machine sleeps.
func (a *Alerter) now() time.Time { return a.Now().Round(0) }

// How often to look at everything, and how long to wait before telling what is new: several accounts that fail for one reason
// do so within a minute, and are told together.
const (
	lookEvery   = 5 * time.Minute
	retryEvery  = time.Minute
	gatherFor   = 45 * time.Second
	lookTime    = 2 * time.Minute
	maxLookGap  = 3 * lookEvery // longer than that, the machine slept or the clock was set
	settingsFor = 30 * time.Second
)

// Run looks, and tells, until ctx ends.
func (a *Alerter) Run(ctx context.Context) {
	var pings sync.WaitGroup
	pings.Go(func() { a.sendPings(ctx) })
	defer pings.Wait()
	for next := time.Duration(0); a.wait(ctx, next); {
		a.readSettings(ctx)
		news := a.look(ctx, false)
		if news && a.rest(ctx, a.gather) {
			news = a.look(ctx, true)
		}
		next = lookEvery
		if news {
			next = retryEvery
		}
	}
}

// wait waits for something to look at, or for d; it is false when ctx has ended.
func (a *Alerter) wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-a.poked:
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// rest waits for d; it is false when ctx has ended.
func (a *Alerter) rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (a *Alerter) sendPings(ctx context.Context) {
	for {
		select {
		case <-a.knocks:
			a.flushPings(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (a *Alerter) flushPings(ctx context.Context) {
	a.mu.Lock()
	pings := a.pings
	a.mu.Unlock()
	if pings != nil {
		pings.flush(ctx)
	}
}

// Once looks and tells once, for as long as ctx allows: for a program that is about to end.
func (a *Alerter) Once(ctx context.Context) {
	if !a.Any() {
		return
	}
	a.mu.Lock()
	a.once = true
	a.mu.Unlock()
	var pings sync.WaitGroup
	pings.Go(func() { a.flushPings(ctx) })
	defer pings.Wait()
	a.readSettings(ctx)
	a.look(ctx, true)
}

// Outcome is what became of a trial of one channel.
type Outcome struct {
	Channel string // as in "email", "mailbox joe"
	Err     error  // nil: it arrived, at all whom the channel tells
}

// Test sends a message through every channel, whatever was sent before, and calls tell with what became of each.
func (a *Alerter) Test(ctx context.Context, tell func(Outcome)) error {
	a.mu.Lock()
	channels, pings := a.channels, a.pings
	a.mu.Unlock()
	if len(channels) == 0 && pings == nil {
		return errNoChannel
	}
	m := trial(hostname(), a.now())
	for _, c := range channels {
		tell(Outcome{c.name(), c.send(ctx, m)})
	}
	if pings != nil {
		tell(Outcome{"ping", pings.try(ctx, a.names())})
	}
	return nil
}

func (a *Alerter) names() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var names []string
	for _, account := range a.accounts {
		names = append(names, account.Name)
	}
	return names
}

// hostname is what this machine calls itself.
func hostname() string {
	if name, err := os.Hostname(); err == nil && name != "" {
		return oneLine(name)
	}
	return "localhost"
}

func hash(text string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(text))
	return h.Sum32()
}

// errNoChannel says that nobody would hear.
var errNoChannel = errors.New("alerts has no email, command, webhook, ping or mailbox: nobody would be told; docs/alerts.md shows them")
