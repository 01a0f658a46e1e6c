package main

import (
	"fmt"
	"time"

	"github.com/popfetchd/popfetchd/internal/ledger"
)

// held is why an account is not logged in to for a while, in `status --json`.
type held struct {
	Reason  string     `json:"reason"`
	Since   time.Time  `json:"since"`
	Until   *time.Time `json:"until"` // null: until something changes
	Problem string     `json:"problem"`
}

// newHeld is what holds an account back now, nil when nothing does.
func newHeld(h ledger.Hold, now time.Time) *held {
	if h.IsZero() || !h.Until.IsZero() && !now.Before(h.Until) {
		return nil
	}
	return &held{Reason: string(h.Reason), Since: h.Since.UTC(), Until: timeOrNull(h.Until), Problem: oneLine(h.Problem)}
}

// words tell until when the account is left alone, and what ends it before.
func (h *held) words(account string, now time.Time) string {
	since, until := moment(h.Since, now), "something changes"
	if h.Until != nil {
		until = moment(*h.Until, now)
	}
	switch ledger.HoldReason(h.Reason) {
	case ledger.DailyLimit:
		return "the daily limit is reached; goes on at " + until
	case ledger.OverQuota:
		return fmt.Sprintf("the server has suspended the account since %s; tried again at %s", since, until)
	case ledger.SignIn:
		return fmt.Sprintf("nobody is signed in since %s; sign in: popfetchd login %s", since, account)
	}
	return fmt.Sprintf("the login was refused at %s; not tried again before %s, unless the file or the secret changes (popfetchd retry %s: try now)",
		since, until, account)
}

// moment is a time for people: the day too when it is not near.
func moment(t, now time.Time) string {
	t = t.Local()
	if d := t.Sub(now); d > 20*time.Hour || d < -20*time.Hour {
		return t.Format("2 Jan 15:04")
	}
	return t.Format("15:04")
}
