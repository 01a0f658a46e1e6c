package config

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Schedule says when something is to be done: five cron fields, @hourly,
// @daily, @weekly, @monthly, @yearly or @every with a time span; before cron
// fields, TZ=Area/City names their time zone. The zero Schedule is none.
type Schedule struct {
	spec  string
	every time.Duration      // of @every, else 0
	cron  *cron.SpecSchedule // of all others, else nil
}

// minEvery keeps a slip of the pen from hammering a server.
const minEvery = time.Minute

// IsZero says whether the schedule is none at all.
func (s Schedule) IsZero() bool { return s.spec == "" }

// String returns the schedule as it stands in the file.
func (s Schedule) String() string { return s.spec }

// ParseSchedule reads a schedule, and refuses one that never comes.
func ParseSchedule(text string) (Schedule, error) {
	fields := strings.Fields(text)
	spec := strings.Join(fields, " ")
	if span, ok := strings.CutPrefix(spec, "@every"); ok {
		return parseEvery(spec, strings.TrimSpace(span))
	}
	zone := len(fields) > 0 && (strings.HasPrefix(fields[0], "TZ=") || strings.HasPrefix(fields[0], "CRON_TZ="))
	if zone {
		// The library panics on a zone alone, and takes an empty one for UTC.
		if fields[0] = fields[0][strings.Index(fields[0], "=")+1:]; fields[0] == "" || len(fields) == 1 {
			return Schedule{}, badSchedule(spec, "")
		}
		if _, err := time.LoadLocation(fields[0]); err != nil {
			return Schedule{}, badSchedule(spec, "there is no time zone "+quoted(fields[0]))
		}
		fields = fields[1:]
	}
	for _, field := range fields {
		// The library takes these for something, but not for what was meant.
		if strings.Contains(","+field+",", ",,") || strings.Contains(field, "*-") || strings.Contains(field, "?-") || strings.Contains(field, "+") {
			return Schedule{}, badSchedule(spec, "the field "+quoted(field)+" means nothing")
		}
	}
	parsed, err := cron.ParseStandard(spec)
	if err != nil {
		return Schedule{}, badSchedule(spec, err.Error())
	}
	s := Schedule{spec: spec, cron: parsed.(*cron.SpecSchedule)}
	if s.Next(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return Schedule{}, fmt.Errorf("%s never comes; there is no such day", quoted(spec))
	}
	return s, nil
}

func parseEvery(spec, span string) (Schedule, error) {
	d, err := ParseDuration(span)
	if err != nil {
		return Schedule{}, fmt.Errorf("%s: %w", quoted(spec), err)
	}
	if d < minEvery {
		return Schedule{}, fmt.Errorf("%s is too often; use @every 1m or more", quoted(spec))
	}
	return Schedule{spec: spec, every: d}, nil
}

func badSchedule(spec, why string) error {
	if why != "" {
		why = " (" + why + ")"
	}
	return fmt.Errorf("%s is not a schedule%s; write five cron fields as in \"*/15 * * * *\", or \"@every 15m\", \"@hourly\", \"@daily\", \"@weekly\"", quoted(spec), why)
}

// Next returns the first time after t that the schedule comes, in t's time
// zone, or the zero time when there is none within five years. A time that the
// clocks skip when they are put forward comes when they are: "30 2 * * *" runs
// at 03:00 on that day. In the hour that they repeat it comes twice.
func (s Schedule) Next(t time.Time) time.Time {
	switch {
	case s.every > 0:
		return t.Add(s.every)
	case s.cron == nil:
		return time.Time{}
	}
	next := s.cron.Next(t)
	if skipped := s.skipped(t); !skipped.IsZero() && (next.IsZero() || skipped.Before(next)) {
		return skipped
	}
	return next
}

// skipped returns when the clocks are put forward over the next time after t
// that the schedule comes, by the clock on the wall; the zero time when they
// are not. The library goes on to the next day then.
func (s Schedule) skipped(t time.Time) time.Time {
	zone := s.cron.Location
	if zone == time.Local { // the library's word for "the zone of t"
		zone = t.Location()
	}
	wall := *s.cron
	wall.Location = time.UTC
	next := wall.Next(onWall(t.In(zone), time.UTC))
	if next.IsZero() {
		return next
	}
	real := onWall(next, zone)
	if onWall(real, time.UTC).Equal(next) {
		return time.Time{} // the clocks show it
	}
	start, end := real.ZoneBounds()
	if onWall(real, time.UTC).Before(next) {
		start = end
	}
	if start.After(t) {
		return start.In(t.Location())
	}
	return time.Time{}
}

// onWall returns the time at which clocks of a zone show what t shows.
func onWall(t time.Time, zone *time.Location) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), zone)
}
