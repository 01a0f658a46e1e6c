package daemon

import (
	"context"
	"sync"
	"time"
)

// gate bounds how many accounts are fetched at the same time. It outlives a configuration: runs that began under the one
// before count as well.
type gate struct {
	mu     sync.Mutex
	limit  int
	inside int
	moved  time.Time     // when somebody entered or left last
	opened chan struct{} // closed, and replaced, when there may be room again
}

func newGate(limit int) *gate {
	return &gate{limit: limit, moved: time.Now(), opened: make(chan struct{})}
}

// enter waits for room. It returns false, and is not inside, when retired is closed or ctx ends before.
func (g *gate) enter(ctx context.Context, retired <-chan struct{}) bool {
	for {
		opened, entered := g.try()
		if entered {
			return true
		}
		select {
		case <-opened:
		case <-retired:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

func (g *gate) try() (opened <-chan struct{}, entered bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside < g.limit {
		g.inside++
		g.moved = time.Now()
		return nil, true
	}
	return g.opened, false
}

func (g *gate) leave() { g.change(func() { g.inside-- }) }

func (g *gate) setLimit(limit int) { g.change(func() { g.limit = limit }) }

func (g *gate) change(how func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	how()
	g.moved = time.Now()
	close(g.opened)
	g.opened = make(chan struct{})
}

// lastMoved is when somebody entered or left last.
func (g *gate) lastMoved() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.moved
}
