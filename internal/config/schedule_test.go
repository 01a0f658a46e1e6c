package config

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the tests name time zones

	"pgregory.net/rapid"
)

func schedule(t interface{ Fatal(...any) }, spec string) Schedule {
	s, err := ParseSchedule(spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func zone(t interface{ Fatal(...any) }, name string) *time.Location {
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func TestScheduleNext(t *testing.T) {
	for _, c := range []struct{ spec, zone, after, want string }{
		{"@every 15m", "UTC", "2026-01-01 00:00:07", "2026-01-01 00:15:07"},
		{"@every 1h30m", "UTC", "2026-01-01 00:00:00", "2026-01-01 01:30:00"},
		{"@every  2d", "UTC", "2026-01-01 00:00:00", "2026-01-03 00:00:00"},
		{"*/15 * * * *", "UTC", "2026-01-01 00:00:00", "2026-01-01 00:15:00"},
		{"0 */6 * * *", "UTC", "2026-01-01 06:00:01", "2026-01-01 12:00:00"},
		{" 30  7\t* * mon-fri ", "UTC", "2026-11-21 12:00:00", "2026-11-23 07:30:00"},
		{"@hourly", "UTC", "2026-01-01 00:30:00", "2026-01-01 01:00:00"},
		{"0 0 29 2 *", "UTC", "2026-01-01 00:00:00", "2028-02-29 00:00:00"},
		{"TZ=Asia/Almaty 0 6 * * *", "UTC", "2026-01-01 00:00:00", "2026-01-01 01:00:00"},
		{"CRON_TZ=Asia/Kolkata 0 6 * * *", "UTC", "2026-01-01 00:00:00", "2026-01-01 00:30:00"},
		// Clocks put forward: what they skip comes at once, and once.
		{"30 2 * * *", "Europe/Berlin", "2026-03-28 02:30:00", "2026-03-29 03:00:00"},
		{"30 2 * * *", "Europe/Berlin", "2026-03-29 03:00:00", "2026-03-30 02:30:00"},
		{"*/20 2 * * *", "Europe/Berlin", "2026-03-29 01:59:59", "2026-03-29 03:00:00"},
		{"30 2 29 3 *", "Europe/Berlin", "2026-03-01 00:00:00", "2026-03-29 03:00:00"},
		{"0 2 * * *", "Europe/Berlin", "2026-03-28 02:00:00", "2026-03-29 03:00:00"},
		{"0 3 * * *", "Europe/Berlin", "2026-03-29 01:00:00", "2026-03-29 03:00:00"},
		{"*/15 * * * *", "Europe/Berlin", "2026-03-29 01:45:00", "2026-03-29 03:00:00"},
		{"TZ=Europe/Berlin 30 2 * * *", "UTC", "2026-03-28 12:00:00", "2026-03-29 01:00:00"},
		{"0 0 * * *", "America/Sao_Paulo", "2018-11-03 12:00:00", "2018-11-04 01:00:00"},
		{"0 0 * * *", "America/Sao_Paulo", "2018-11-04 01:00:00", "2018-11-05 00:00:00"},
		{"15 2 * * *", "Australia/Lord_Howe", "2026-10-03 12:00:00", "2026-10-04 02:30:00"},
		{"0 12 30 12 *", "Pacific/Apia", "2011-12-01 00:00:00", "2011-12-31 00:00:00"},
		// Clocks put back: twice, as cron itself does for jobs of every hour.
		{"30 2 * * *", "Europe/Berlin", "2026-10-24 12:00:00", "2026-10-25 02:30:00"},
		{"*/15 * * * *", "Europe/Berlin", "2026-10-25 01:45:00", "2026-10-25 02:00:00"},
	} {
		loc := zone(t, c.zone)
		after, err := time.ParseInLocation(time.DateTime, c.after, loc)
		if err != nil {
			t.Fatal(err)
		}
		got := schedule(t, c.spec).Next(after)
		if got.Format(time.DateTime) != c.want || got.Location() != loc {
			t.Errorf("%q in %s after %s: %s, want %s", c.spec, c.zone, c.after, got, c.want)
		}
	}
}

func TestScheduleInRepeatedHour(t *testing.T) {
	s := schedule(t, "30 2 * * *")
	first := s.Next(time.Date(2026, 10, 24, 12, 0, 0, 0, zone(t, "Europe/Berlin")))
	second := s.Next(first)
	third := s.Next(second)
	if second.Sub(first) != time.Hour || third.Sub(second) != 24*time.Hour {
		t.Errorf("times %s, %s, %s", first, second, third)
	}
}

func TestZeroSchedule(t *testing.T) {
	var none Schedule
	if !none.IsZero() || !none.Next(time.Now()).IsZero() || none.String() != "" {
		t.Errorf("the zero Schedule is something: %v", none)
	}
	if s := schedule(t, " @every  5m "); s.IsZero() || s.String() != "@every 5m" {
		t.Errorf("schedule %q", s)
	}
}

func TestBadSchedules(t *testing.T) {
	for _, spec := range []string{
		"", " ", "*", "* * * *", "* * * * * *", "TZ=", "TZ= ", "TZ=UTC", "TZ= * * * * *", "CRON_TZ=", "TZ=\t* * * * *", "TZ=../UTC * * * * *",
		"@every", "@every ", "@every 59s", "@every 0s", "@every -5m", "@every 1ms", "@every 1", "@everyday", "@never", "@reboot", "@",
		", * * * *", "1, * * * *", "+1 * * * *", "*-5 * * * *", "?-5 * * * *", "*/0 * * * *", "5-1 * * * *", "0 0 0 * *", "0 0 30 2 *", "TZ=UTC @every 5m",
	} {
		if s, err := ParseSchedule(spec); err == nil {
			t.Errorf("ParseSchedule(%q) = %q", spec, s)
		}
	}
}

// matches says whether clocks that show t's time are at a time of the schedule.
// It is the oracle for Next, by another road.
func matches(s Schedule, t time.Time) bool {
	c := s.cron
	if t.Second() != 0 || c.Minute&(1<<t.Minute()) == 0 || c.Hour&(1<<t.Hour()) == 0 || c.Month&(1<<t.Month()) == 0 {
		return false
	}
	day, weekday := c.Dom&(1<<t.Day()) != 0, c.Dow&(1<<t.Weekday()) != 0
	const star = 1 << 63
	if (c.Dom|c.Dow)&star != 0 {
		return day && weekday
	}
	return day || weekday
}

// nextByHand walks on minute by minute; where the clocks skip minutes, it asks
// for each of those.
func nextByHand(s Schedule, t, end time.Time) time.Time {
	for at := t.Truncate(time.Minute).Add(time.Minute); at.Before(end); at = at.Add(time.Minute) {
		if matches(s, at) {
			return at
		}
		shown := clock(at)
		for skipped := clock(at.Add(-time.Minute)).Add(time.Minute); skipped.Before(shown); skipped = skipped.Add(time.Minute) {
			if matches(s, skipped) {
				return at
			}
		}
	}
	return time.Time{}
}

func TestScheduleNextAgainstTheClock(t *testing.T) {
	starts := []string{"2026-03-27 00:00", "2026-10-23 00:00", "2026-10-02 00:00", "2018-11-02 00:00", "2026-06-01 00:00"}
	zones := []string{"Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"}
	minutes := []string{"0", "30", "*/20", "1-10", "*", "59"}
	hours := []string{"0", "1", "2", "3", "2,3", "*/5", "*", "23"}
	days := []string{"* * *", "* * sun", "29 * *", "4 * sat", "1,25 * *"}
	rapid.Check(t, func(t *rapid.T) {
		loc := zone(t, rapid.SampledFrom(zones).Draw(t, "zone"))
		start, err := time.ParseInLocation("2006-01-02 15:04", rapid.SampledFrom(starts).Draw(t, "start"), loc)
		if err != nil {
			t.Fatal(err)
		}
		s := schedule(t, strings.Join([]string{
			rapid.SampledFrom(minutes).Draw(t, "minute"),
			rapid.SampledFrom(hours).Draw(t, "hour"),
			rapid.SampledFrom(days).Draw(t, "day"),
		}, " "))
		after := start.Add(time.Duration(rapid.IntRange(0, 72*3600).Draw(t, "seconds")) * time.Second)
		got := s.Next(after)
		end := after.Add(5 * 24 * time.Hour)
		want := nextByHand(s, after, end)
		if got.Before(end) != !want.IsZero() || !want.IsZero() && !got.Equal(want) {
			t.Fatalf("%q after %s: %s, want %s", s, after, got, want)
		}
	})
}
