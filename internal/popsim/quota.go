package popsim

import (
	"io"
	"time"
)

// quota is what an account was sent of late, and until when it is locked for it.
type quota struct {
	sent   []traffic // of the last day, one for each minute that saw any
	locked time.Time
}

type traffic struct {
	at     time.Time
	octets int64
}

// Suspend locks the account for a while, as a quota that was used up does: logins and commands are refused with Exceeded.
func (a *Account) Suspend(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.quota.locked = a.now().Add(d)
}

// Sent is how many octets of messages the account was sent in the last 24 hours.
func (a *Account) Sent() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.quota.day(a.now())
}

// suspended tells whether the account is locked. With a limit, it is locked here when its day's octets are used up.
func (a *Account) suspended(limit int64, lock time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	if now.Before(a.quota.locked) {
		return true
	}
	if limit == 0 || a.quota.day(now) < limit {
		return false
	}
	a.quota.locked = now.Add(lock)
	return true
}

func (a *Account) count(octets int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	if last := len(a.quota.sent) - 1; last >= 0 && now.Sub(a.quota.sent[last].at).Abs() < time.Minute {
		a.quota.sent[last].octets += octets
		return
	}
	a.quota.sent = append(a.quota.sent, traffic{now, octets})
}

// day is the sum of the last 24 hours; older traffic is forgotten.
func (q *quota) day(now time.Time) (octets int64) {
	since := now.Add(-24 * time.Hour)
	for len(q.sent) > 0 && q.sent[0].at.Before(since) {
		q.sent = q.sent[1:]
	}
	for _, t := range q.sent {
		octets += t.octets
	}
	return octets
}

// meter counts what is read of a body for an account, and ends early when the session's token does.
type meter struct {
	r       io.Reader
	account *Account
	expired func() bool
}

func (m *meter) Read(p []byte) (int, error) {
	if m.expired() {
		return 0, errDone
	}
	n, err := m.r.Read(p)
	m.account.count(int64(n))
	return n, err
}
