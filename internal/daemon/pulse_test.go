package daemon

import (
	"testing"
	"testing/synctest"
	"time"
)

// Who waits for a turn waits for somebody at work: with nobody there, and nobody coming or going, the gate itself is stuck.
func TestQueueWithoutAnybodyAtWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b board
		waits, works, sleeps := &loop{}, &loop{}, &loop{}
		b.beat(waits, queued, 0)
		b.beat(works, fetching, time.Hour)
		moved := time.Now()
		<-time.After(30 * time.Minute)
		b.beat(sleeps, waiting, time.Minute)
		if l, p := b.silent(moved); l != nil {
			t.Errorf("silent: %+v, though somebody is at work", p)
		}
		b.leave(works)
		if l, p := b.silent(time.Now()); l != nil {
			t.Errorf("silent: %+v, though somebody has just left", p)
		}
		if l, _ := b.silent(moved); l != waits {
			t.Error("nobody is at work, and nobody notices")
		}
	})
}
