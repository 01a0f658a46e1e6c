package daemon

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
)

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(2)
		ctx, cancel := context.WithCancel(t.Context())
		retired := make(chan struct{})
		var waiting sync.WaitGroup
		var mu sync.Mutex
		results := map[bool]int{}
		for range 6 {
			waiting.Go(func() {
				entered := g.enter(ctx, retired)
				mu.Lock()
				defer mu.Unlock()
				results[entered]++
			})
		}
		expect := func(entered, refused int) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if results[true] != entered || results[false] != refused {
				t.Fatalf("%d entered, %d were refused; want %d and %d", results[true], results[false], entered, refused)
			}
		}
		expect(2, 0)
		g.leave()
		expect(3, 0)
		g.setLimit(3)
		expect(4, 0)
		g.setLimit(1)
		g.leave()
		g.leave()
		expect(4, 0)
		g.leave()
		expect(5, 0)
		close(retired)
		expect(5, 1)
		cancel()
		if g.enter(ctx, nil) {
			t.Error("entered after the end")
		}
		waiting.Wait()
	})
}
