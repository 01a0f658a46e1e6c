package config

import (
	"fmt"
	"math/bits"
	"time"
)

// slack is how much later than planned a success may come without anything
// being wrong: attempts after a failure are up to an hour apart, and machines
// sleep at night.
const slack = 12 * time.Hour

// patience returns after how long without success an account is in trouble that
// sets no limit of its own: the file's, but more than the longest pause of its
// schedule. 0 is never.
func patience(limit time.Duration, s Schedule) time.Duration {
	if limit == 0 {
		return 0
	}
	return max(limit, s.longestPause()+slack)
}

// longestPause returns the longest time between two comings within a year, as
// if no clocks were changed; what is less than an hour may count as none.
func (s Schedule) longestPause() time.Duration {
	if s.cron == nil {
		return s.every
	}
	first := clockTime(bits.TrailingZeros64(plainBits(s.cron.Hour)), bits.TrailingZeros64(plainBits(s.cron.Minute)))
	last := clockTime(63-bits.LeadingZeros64(plainBits(s.cron.Hour)), 63-bits.LeadingZeros64(plainBits(s.cron.Minute)))
	return max(s.longestDays()*24*time.Hour-(last-first), s.longestWithinDay())
}

// longestWithinDay returns the longest time between two hours of a day.
func (s Schedule) longestWithinDay() time.Duration {
	var longest time.Duration
	before := -1
	for hour := range 24 {
		if s.cron.Hour&(1<<hour) == 0 {
			continue
		}
		if before >= 0 {
			longest = max(longest, time.Duration(hour-before)*time.Hour)
		}
		before = hour
	}
	return longest
}

// longestDays returns how many days it is at most from one day on which the
// schedule comes to the next, 1 when it comes every day.
func (s Schedule) longestDays() time.Duration {
	full := func(field uint64, from, to int) bool {
		all := uint64(1)<<(to+1) - uint64(1)<<from
		return field&all == all
	}
	if full(s.cron.Dom, 1, 31) && full(s.cron.Month, 1, 12) && full(s.cron.Dow, 0, 6) {
		return 1
	}
	steady := *s.cron
	steady.Location = time.UTC
	day := func(t time.Time) time.Time { return t.Truncate(24 * time.Hour) }
	longest, last := time.Duration(1), day(steady.Next(time.Date(2025, time.December, 31, 0, 0, 0, 0, time.UTC)))
	// A year and what comes first after it: 29 February may be years away.
	for end := last.AddDate(1, 0, 0); last.Before(end); {
		next := steady.Next(last.Add(24*time.Hour - time.Second))
		if next.IsZero() {
			break
		}
		longest = max(longest, day(next).Sub(last)/(24*time.Hour))
		last = day(next)
	}
	return longest
}

func clockTime(hour, minute int) time.Duration {
	return time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute
}

// plainBits leaves out the bit by which the library marks a star.
func plainBits(field uint64) uint64 { return field &^ (1 << 63) }

// patienceWarning says when an account is to be called silent before its
// schedule comes again; "" when it is not.
func patienceWarning(a Account) string {
	pause := a.Schedule.longestPause()
	if a.AlertAfter == 0 || a.AlertAfter > pause {
		return ""
	}
	return fmt.Sprintf("%s comes again only after %s, so that this would tell of silence when nothing is wrong; use %s or more",
		quoted(a.Schedule.String()), span(pause), span(pause+slack))
}
