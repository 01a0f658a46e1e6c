package config

import (
	"errors"
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
	if len(fields) > 0 && fields[0] == "@every" {
		return parseEvery(spec, strings.Join(fields[1:], " "))
	}
	if err := checkFields(fields); err != nil {
		return Schedule{}, badSchedule(spec, err)
	}
	parsed, err := cron.ParseStandard(spec)
	if err != nil {
		why, _, _ := strings.Cut(err.Error(), ": strconv.")
		return Schedule{}, badSchedule(spec, errors.New(why))
	}
	fixed, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return Schedule{}, badSchedule(spec, errors.New("@every has no time zone"))
	}
	s := Schedule{spec: spec, cron: fixed}
	if s.Next(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return Schedule{}, fmt.Errorf("%s never comes; there is no such day", quoted(spec))
	}
	return s, nil
}

// checkFields refuses what the library panics on or takes for something that
// was not meant.
func checkFields(fields []string) error {
	if len(fields) == 0 {
		return errors.New("it is empty")
	}
	if name, zone := strings.CutPrefix(strings.TrimPrefix(fields[0], "CRON_"), "TZ="); zone {
		if len(fields) == 1 {
			return errors.New("the times are missing after the time zone")
		}
		if _, err := time.LoadLocation(name); err != nil || name == "" {
			return fmt.Errorf("there is no time zone %s", quoted(name))
		}
		fields = fields[1:]
	}
	for _, field := range fields {
		if strings.Contains(","+field+",", ",,") || strings.Contains(field, "*-") || strings.Contains(field, "?-") || strings.Contains(field, "+") {
			return fmt.Errorf("the field %s means nothing", quoted(field))
		}
	}
	return nil
}

func parseEvery(spec, span string) (Schedule, error) {
	if span == "" {
		return Schedule{}, badSchedule(spec, errors.New("every what?"))
	}
	d, err := ParseDuration(span)
	if err != nil {
		return Schedule{}, fmt.Errorf("%s: %w", quoted(spec), err)
	}
	if d < minEvery {
		return Schedule{}, fmt.Errorf("%s is too often; use @every 1m or more", quoted(spec))
	}
	return Schedule{spec: spec, every: d}, nil
}

func badSchedule(spec string, why error) error {
	return fmt.Errorf("%s is not a schedule (%w); write five cron fields as in \"*/15 * * * *\", or \"@every 15m\", \"@hourly\", \"@daily\", \"@weekly\"", quoted(spec), why)
}

// Next returns the first time after t that the schedule comes, in t's time
// zone, or the zero time when there is none within five years. A time that the
// clocks skip when they are put forward comes at that moment: "30 2 * * *" runs
// at 03:00 on that day. What falls into the hour that they repeat comes twice.
func (s Schedule) Next(t time.Time) time.Time {
	switch {
	case s.every > 0:
		return t.Add(s.every)
	case s.cron == nil:
		return time.Time{}
	}
	zone := s.cron.Location
	if zone == time.Local { // the library's word for "the zone of t"
		zone = t.Location()
	}
	return s.nextOnWall(t.In(zone)).In(t.Location())
}

// nextOnWall goes from one change of the clocks to the next, and in between
// asks the library in UTC: in a zone of its own it skips what the clocks skip,
// and never returns where they skip a day (Samoa, 30 December 2011).
func (s Schedule) nextOnWall(t time.Time) time.Time {
	steady := *s.cron
	steady.Location = time.UTC
	for base, after := t, clock(t); ; {
		next := steady.Next(after)
		if next.IsZero() {
			return next
		}
		at := base.Add(next.Sub(clock(base)))
		_, change := base.ZoneBounds()
		if change.IsZero() || at.Before(change) {
			return at
		}
		if !next.After(clock(change)) {
			return change // the clocks go over it, or to it
		}
		base, after = change, clock(change).Add(-time.Second) // so that the change itself counts
	}
}

// clock returns what clocks show at t, as a time in UTC.
func clock(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}
