package daemon

import (
	"context"
	"fmt"
	"slices"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
)

// Follower is told how runs that were asked for get on, from one goroutine.
type Follower struct {
	Accounts func([]config.Account)          // which, in the order of the file; before anything else
	Progress func(string, fetch.Progress)    // of an account's run, also of one that was under way before
	Ended    func(string, fetch.Report)      // once for each account
	Gone     func(account string, why error) // instead of Ended: no such run will come
}

// Fetch is Wake, and waits until each of the accounts has had a run that began afterwards. Before Run it waits for that.
func (d *Daemon) Fetch(ctx context.Context, accounts []string, f Follower) error {
	changed := d.Subscribe(ctx)
	for d.Config() == nil {
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	open, err := d.board.ask(accounts)
	if err != nil {
		return err
	}
	var asked []config.Account
	for _, s := range d.board.look(open) {
		asked = append(asked, s.Account)
	}
	f.Accounts(asked)
	for {
		states := d.board.look(open)
		open = slices.Collect(func(yield func(ticket) bool) {
			for i, s := range states {
				if !s.tell(f) && !yield(open[i]) {
					return
				}
			}
		})
		if len(open) == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// sight is how a ticket stands.
type sight struct {
	State
	ended, gone bool
}

// look is how the tickets stand, all at the same time.
func (b *board) look(tickets []ticket) []sight {
	b.mu.Lock()
	defer b.mu.Unlock()
	sights := make([]sight, len(tickets))
	for i, t := range tickets {
		sights[i] = sight{t.member.State, t.member.served >= t.number, !t.member.present}
	}
	return sights
}

// tell tells of a ticket, and says whether that was all.
func (s sight) tell(f Follower) (done bool) {
	switch {
	case s.ended:
		f.Ended(s.Account.Name, s.Last)
	case s.gone && !s.Running:
		f.Gone(s.Account.Name, fmt.Errorf("account %s is not in the configuration any more", s.Account.Name))
	case s.Running:
		f.Progress(s.Account.Name, s.Progress)
		return false
	default:
		return false
	}
	return true
}
