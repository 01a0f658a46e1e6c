package daemon

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
)

// State is what the daemon knows of an account. What happened before this process is in the ledger.
type State struct {
	Account  config.Account
	Running  bool           // a run is under way
	Began    time.Time      // of the run that is under way, else of the last one; zero: there was none yet
	Progress fetch.Progress // of the same run
	Next     time.Time      // when the next run is due, the present one not counted; zero: not known yet
	Last     fetch.Report   // of the last run that ended; its Account is "" when there was none yet
	LastEnd  time.Time
	Runs     int64 // that ended
	Failures int   // in a row, those before this process counted
}

// member is an account over all loops that served it, one configuration after the other. Its fields belong to the board's
// lock, but for woken.
type member struct {
	State
	woken     chan struct{} // says that something was asked for
	asked     int64         // runs that were asked for, so far
	serving   int64         // up to this one by the run under way
	served    int64         // and by runs that have ended
	unchanged bool          // the file last read says of it what the one before said
	loop      *loop         // the one that serves it, or is to as soon as the one before ends
	present   bool          // it is in the configuration in force
}

// board is where loops write down how they are getting on, and anybody may look.
type board struct {
	mu       sync.Mutex
	config   *config.Config
	members  map[string]*member // also those no longer in the file whose last run is not over
	order    []*member          // the file's
	loops    map[*loop]pulse    // that have not ended
	watchers map[chan struct{}]bool
	pending  bool      // watchers are about to be told
	told     time.Time // when they were last
}

// longestSilence between two changes is how much later at most a subscriber learns of the second one.
const longestSilence = 100 * time.Millisecond

// States returns what is known of each account of the configuration in force, in the order of the file.
func (d *Daemon) States() []State {
	d.board.mu.Lock()
	defer d.board.mu.Unlock()
	states := make([]State, len(d.board.order))
	for i, m := range d.board.order {
		states[i] = m.State
	}
	return states
}

// Config returns the configuration in force; nil before Run.
func (d *Daemon) Config() *config.Config {
	d.board.mu.Lock()
	defer d.board.mu.Unlock()
	return d.board.config
}

// Wake has these accounts run now, all without a name. It does not wait for them; a run under way is followed by another
// one. An account that is not in the configuration is an error, and then none is woken.
func (d *Daemon) Wake(accounts ...string) error {
	_, err := d.board.ask(accounts)
	return err
}

// Subscribe returns a channel that gets a value when States may have something new, at most ten times a second, until ctx
// ends. Values that nobody has taken yet are not heaped up.
func (d *Daemon) Subscribe(ctx context.Context) <-chan struct{} {
	changed := make(chan struct{}, 1)
	d.board.mu.Lock()
	defer d.board.mu.Unlock()
	if d.board.watchers == nil {
		d.board.watchers = map[chan struct{}]bool{}
	}
	d.board.watchers[changed] = true
	context.AfterFunc(ctx, func() {
		d.board.mu.Lock()
		defer d.board.mu.Unlock()
		delete(d.board.watchers, changed)
	})
	return changed
}

// changed has the watchers told, soon. The lock is held.
func (b *board) changed() {
	if b.pending || len(b.watchers) == 0 {
		return
	}
	b.pending = true
	time.AfterFunc(max(longestSilence-time.Since(b.told), 0), func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.pending, b.told = false, time.Now()
		for watcher := range b.watchers {
			select {
			case watcher <- struct{}{}:
			default: // has not looked since
			}
		}
	})
}

// seat puts the accounts of c on the board, in the place of those before.
func (b *board) seat(c *config.Config) []*member {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.members == nil {
		b.members = map[string]*member{}
	}
	for name, m := range b.members {
		m.present = false
		if m.loop.ended() && !slices.ContainsFunc(c.Accounts, func(a config.Account) bool { return a.Name == name }) {
			delete(b.members, name)
		}
	}
	b.config, b.order = c, nil
	for _, account := range c.Accounts {
		m := b.members[account.Name]
		if m == nil {
			m = &member{woken: make(chan struct{}, 1)}
			b.members[account.Name] = m
		}
		m.unchanged = reflect.DeepEqual(m.Account, account)
		m.Account, m.present = account, true
		b.order = append(b.order, m)
	}
	b.changed()
	return b.order
}

// ticket is a run that was asked for.
type ticket struct {
	member *member
	number int64
}

// ask wants a run of each of these accounts, of all without a name.
func (b *board) ask(accounts []string) ([]ticket, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var known []string
	for _, m := range b.order {
		known = append(known, m.Account.Name)
	}
	for _, name := range accounts {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("the daemon has no account %q; it has: %s", name, strings.Join(known, ", "))
		}
	}
	var tickets []ticket
	for _, m := range b.order {
		if len(accounts) > 0 && !slices.Contains(accounts, m.Account.Name) {
			continue
		}
		m.asked++
		tickets = append(tickets, ticket{m, m.asked})
		select {
		case m.woken <- struct{}{}:
		default: // is already to run
		}
	}
	return tickets, nil
}

// wanted says that somebody asked for a run that has not begun yet.
func (b *board) wanted(m *member) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return m.asked > m.served
}

// due notes when the next run is to be.
func (b *board) due(m *member, next time.Time, failures int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m.Next, m.Failures = next, failures
	b.changed()
}

// begin notes that a run begins. It serves all who asked before.
func (b *board) begin(m *member, now time.Time) (asked bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m.Running, m.Began, m.Progress = true, now, fetch.Progress{}
	asked = m.asked > m.served
	m.serving = m.asked
	b.changed()
	return asked
}

func (b *board) progress(m *member, p fetch.Progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m.Progress = p
	b.changed()
}

// end notes what a run came to.
func (b *board) end(m *member, r fetch.Report, now, next time.Time, failures int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m.Running = false
	m.Last, m.LastEnd, m.Next, m.Failures = r, now, next, failures
	m.Runs++
	m.served = m.serving
	b.changed()
}

// stopped notes the end of a run that was told to stop: it does not count.
func (b *board) stopped(m *member) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m.Running = false
	b.changed()
}

func (b *board) state(m *member) State {
	b.mu.Lock()
	defer b.mu.Unlock()
	return m.State
}
