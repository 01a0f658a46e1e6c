package daemon

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
)

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

// paceOf is a pace by this schedule that always draws the same number.
func paceOf(t interface{ Fatal(...any) }, schedule string, random float64) *pace {
	s, err := config.ParseSchedule(schedule)
	if err != nil {
		t.Fatal(err)
	}
	return &pace{next: s.Next, random: func() float64 { return random }}
}

const almostOne = 0.999999999

// A run starts up to a tenth of its interval after the schedule's time, and at most two minutes.
func TestJitter(t *testing.T) {
	for schedule, limit := range map[string]time.Duration{
		"@every 1m": 6 * time.Second, "@every 15m": 90 * time.Second, "@hourly": 2 * time.Minute, "@monthly": 2 * time.Minute,
	} {
		earliest := paceOf(t, schedule, 0).after(outcome{kind: fetch.Fine}, noon)
		latest := paceOf(t, schedule, almostOne).after(outcome{kind: fetch.Fine}, noon)
		if want := paceOf(t, schedule, 0).next(noon); !earliest.Equal(want) {
			t.Errorf("%s: %s without jitter, want %s", schedule, earliest, want)
		}
		if late := latest.Sub(earliest); late > limit || late < limit-time.Second {
			t.Errorf("%s: up to %s late, want %s", schedule, late, limit)
		}
	}
}

// After a failure that may pass: 1 minute, doubling to an hour, up to a quarter more, but never later than the schedule.
func TestBackOff(t *testing.T) {
	for _, kind := range []fetch.Kind{fetch.Temporary, fetch.Local, fetch.Bug} {
		short, long := paceOf(t, "@monthly", 0), paceOf(t, "@monthly", almostOne)
		for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
			want *= time.Minute
			if got := short.after(outcome{kind: kind}, noon).Sub(noon); got != want {
				t.Fatalf("kind %d, failure %d: %s, want %s", kind, short.failures, got, want)
			}
			got := long.after(outcome{kind: kind}, noon).Sub(noon)
			if most := min(want*5/4, time.Hour); got > most || got < most-time.Second {
				t.Fatalf("kind %d, failure %d: up to %s, want %s", kind, short.failures, got, most)
			}
		}
		short.after(outcome{kind: fetch.Fine}, noon)
		if got := short.after(outcome{kind: kind}, noon).Sub(noon); got != time.Minute {
			t.Errorf("after a success: %s, want a minute", got)
		}
	}
}

func TestBackOffPullsTheScheduleNearer(t *testing.T) {
	p := paceOf(t, "@every 5m", 0)
	for _, want := range []time.Duration{1, 2, 4, 5, 5, 5} {
		if got := p.after(outcome{kind: fetch.Temporary}, noon).Sub(noon); got != want*time.Minute {
			t.Errorf("failure %d: %s, want %dm", p.failures, got, want)
		}
	}
}

// Who asks for run after run while the server is down does not have it wait for longer.
func TestAskingDoesNotLengthenTheBackOff(t *testing.T) {
	p := paceOf(t, "@hourly", 0)
	p.after(outcome{kind: fetch.Temporary}, noon)
	for range 5 {
		if got := p.after(outcome{kind: fetch.Temporary, asked: true}, noon).Sub(noon); got != time.Minute {
			t.Errorf("the next try is %s away", got)
		}
	}
}

// Where a provider wants time between two logins, one that a failed run had counts.
func TestBackOffLeavesTimeBetweenLogins(t *testing.T) {
	for _, random := range []float64{0, almostOne} {
		p := paceOf(t, "@monthly", random)
		p.apart = 15 * time.Minute
		for _, least := range []time.Duration{15, 15, 15, 15, 16, 32, 60} {
			if got := p.after(outcome{kind: fetch.Temporary, loggedIn: true}, noon).Sub(noon); got < least*time.Minute || got > least*time.Minute*5/4 {
				t.Errorf("failure %d: %s, want %dm", p.failures, got, least)
			}
		}
		p.failures = 0
		if got := p.after(outcome{kind: fetch.Temporary}, noon).Sub(noon); got > 2*time.Minute {
			t.Errorf("without a login: %s", got)
		}
	}
}

// A refused login does not change the schedule: fetch sees to it that nothing is tried before something has changed.
func TestRefusedKeepsTheSchedule(t *testing.T) {
	p := paceOf(t, "@every 15m", 0)
	for _, held := range []bool{false, true, true} {
		if due := p.after(outcome{kind: fetch.Refused, held: held, notBefore: noon.AddDate(0, 0, 1)}, noon); !due.Equal(noon.Add(15 * time.Minute)) {
			t.Errorf("held %v: due at %s", held, due)
		}
	}
	if p.failures != 1 {
		t.Errorf("%d failures", p.failures)
	}
}

// Over a limit, the next run comes when there is room again, if the schedule does not come first.
func TestLimitDelays(t *testing.T) {
	for schedule, want := range map[string]time.Duration{"@every 15m": 15 * time.Minute, "@every 720h": 3 * time.Hour} {
		for _, kind := range []fetch.Kind{fetch.Fine, fetch.Temporary} {
			p := paceOf(t, schedule, 0)
			if due := p.after(outcome{kind: kind, held: true, notBefore: noon.Add(3 * time.Hour)}, noon); !due.Equal(noon.Add(want)) {
				t.Errorf("%s: due at %s", schedule, due)
			}
		}
	}
}

// Whatever the schedule, a wrong configuration is tried again after an hour or later.
func TestConfigurationWaits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		schedule := rapid.SampledFrom([]string{"@every 1m", "*/5 * * * *", "@hourly", "@daily", "30 12 * * *", "@every 61m"}).Draw(t, "schedule")
		p := paceOf(t, schedule, rapid.Float64Range(0, almostOne).Draw(t, "random"))
		p.failures = rapid.IntRange(0, 1000).Draw(t, "failures")
		now := noon.Add(time.Duration(rapid.Int64Range(0, int64(400*24*time.Hour)).Draw(t, "later")))
		got := p.after(outcome{kind: fetch.Configuration}, now)
		if got.Before(now.Add(time.Hour)) || got.Before(p.next(now)) {
			t.Errorf("now %s, schedule %s, next run %s", now, p.next(now), got)
		}
		if latest := later(p.next(now), now.Add(time.Hour)).Add(15 * time.Minute); got.After(latest) {
			t.Errorf("now %s, next run %s, later than %s", now, got, latest)
		}
	})
}

func TestFirstRun(t *testing.T) {
	for name, test := range map[string]struct {
		last time.Time
		want time.Time
	}{
		"never ran":              {time.Time{}, noon},
		"ran a moment ago":       {noon.Add(-time.Minute), noon.Add(59 * time.Minute)},
		"missed one":             {noon.Add(-61 * time.Minute), noon},
		"missed many":            {noon.AddDate(0, -3, 0), noon},
		"due just now":           {noon.Add(-time.Hour), noon},
		"in the future, it says": {noon.AddDate(4, 0, 0), noon},
	} {
		if got := paceOf(t, "@every 1h", 0).first(test.last, noon); !got.Equal(test.want) {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
		spread := 2 * time.Minute
		if test.want.Equal(noon) { // due already
			spread = 10 * time.Second
		}
		if got := paceOf(t, "@every 1h", almostOne).first(test.last, noon); got.Sub(test.want) > spread {
			t.Errorf("%s: %s with jitter, want %s", name, got, test.want)
		}
	}
}

// A schedule that has no next time does not become one of all times.
func TestScheduleWithoutNext(t *testing.T) {
	p := &pace{next: func(time.Time) time.Time { return time.Time{} }, random: func() float64 { return almostOne }}
	for _, due := range []time.Time{p.after(outcome{kind: fetch.Fine}, noon), p.first(noon, noon)} {
		if due.Before(noon.AddDate(0, 11, 0)) {
			t.Errorf("next run %s", due)
		}
	}
	if due := p.after(outcome{kind: fetch.Temporary}, noon); due.Sub(noon) > 2*time.Minute {
		t.Errorf("next run after a failure %s", due)
	}
}
