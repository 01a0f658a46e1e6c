package ledger_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/ledger"
)

// incident takes a step about an incident.
func (m model) incident(s step) {
	if m[everybody] == nil {
		m[everybody] = newAccount()
	}
	all := m[everybody].incidents
	key := s.Account + "\x00" + s.Text
	switch s.Method {
	case "RaiseIncident":
		key = s.Incident.Account + "\x00" + s.Incident.Kind
		incident, goesOn := all[key]
		if !goesOn {
			incident = s.Incident
		}
		incident.Text = s.Incident.Text
		all[key] = incident
	case "ToldIncident":
		if incident, goesOn := all[key]; goesOn {
			incident.Told = s.At
			all[key] = incident
		}
	case "EndIncident":
		delete(all, key)
	}
}

// history asks for what status pages and alerts show, of one account and of all.
func (c *comparison) history(l *ledger.Ledger, m model, zone *time.Location) {
	var want []ledger.Incident
	if m[everybody] != nil {
		want = slices.SortedFunc(maps.Values(m[everybody].incidents), func(a, b ledger.Incident) int {
			return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Account, b.Account), cmp.Compare(a.Kind, b.Kind))
		})
	}
	incidents, err := l.Incidents()
	c.same("Incidents", incidents, err, want)
	accounts, err := l.Accounts()
	c.same("Accounts", accounts, err, m.accounts())
	for i, name := range append(m.accounts(), "") {
		newest := m.newest(name)
		n := (len(newest)+i)%5 - 1
		got, err := l.Newest(name, n)
		c.same(fmt.Sprintf("Newest(%q, %d)", name, n), got, err, newest[:max(0, min(n, len(newest)))])
		since := time.Unix(int64(len(newest)%3)<<31, 1)
		days, err := l.Days(name, since, zone)
		c.same(fmt.Sprintf("Days(%q, %s, %s)", name, since, zone), days, err, m.days(name, since, zone))
	}
}

func (m model) accounts() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(m)), func(name string) bool { return name == everybody })
}

// newest returns all messages of an account, or of all, in the order of Newest.
func (m model) newest(account string) []ledger.Recent {
	var all []ledger.Recent
	for name, a := range m {
		if account == "" || account == name {
			for _, message := range a.stored() {
				all = append(all, ledger.Recent{Account: name, Message: message})
			}
		}
	}
	slices.SortFunc(all, func(a, b ledger.Recent) int {
		return cmp.Or(b.StoredAt.Compare(a.StoredAt), cmp.Compare(a.Account, b.Account), cmp.Compare(b.Offset, a.Offset),
			cmp.Compare(len(b.UID), len(a.UID)), compareKeys(b.Key, a.Key))
	})
	return all
}

func (m model) days(account string, since time.Time, zone *time.Location) []ledger.Day {
	var days []ledger.Day
	for _, message := range slices.Backward(m.newest(account)) {
		date := message.StoredAt.In(zone).Format(time.DateOnly)
		if message.StoredAt.Before(since) {
			continue
		}
		if len(days) == 0 || days[len(days)-1].Date != date {
			days = append(days, ledger.Day{Date: date})
		}
		days[len(days)-1].Messages++
		days[len(days)-1].Bytes += message.Size
	}
	return days
}

// TestNewestOfOneSecond: a run that stores many messages at once shows the last of them first.
func TestNewestOfOneSecond(t *testing.T) {
	at := time.Unix(1_790_000_000, 0)
	for kind, place := range map[string]func(*ledger.Message, int){
		"mbox":    func(m *ledger.Message, n int) { m.UID, m.Offset, m.Length = fmt.Sprint("z", 90-n), int64(100*n), 100 },
		"Maildir": func(m *ledger.Message, n int) { m.UID, m.Name = fmt.Sprint(n), fmt.Sprint("x", 90-n) },
	} {
		l, _ := newLedger(t)
		var messages []ledger.Message
		for n := range 25 {
			m := ledger.Message{Mailbox: "/mail", StoredAt: at}
			place(&m, n)
			messages = append(messages, m)
		}
		ok(t, l.Commit("gmail", messages, 0))
		got, err := l.Newest("gmail", 3)
		ok(t, err)
		for i, m := range got {
			if want := messages[24-i].Key; m.Key != want {
				t.Errorf("%s: %d is %v, not %v", kind, i, m.Key, want)
			}
		}
	}
}

// zoned returns a zone that the machine must know.
func zoned(t testing.TB, name string) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal("there is no time zone ", name, " (apt install tzdata): ", err)
	}
	return zone
}

// TestDaysAreLocal: a message counts on the day that the clocks of the zone showed when it was stored, to the second, also on
// days of 23 and 25 hours and where clocks go by quarters of an hour.
func TestDaysAreLocal(t *testing.T) {
	for name, midnights := range map[string][]string{
		"UTC":            {"2026-03-28", "2026-03-29", "2026-03-30"},
		"Europe/Berlin":  {"2026-03-28", "2026-03-29", "2026-03-30", "2026-10-25", "2026-10-26"},
		"Asia/Kathmandu": {"2026-03-29"},
		"Asia/Almaty":    {"2024-02-29", "2024-03-01"},
	} {
		zone := zoned(t, name)
		l, _ := newLedger(t)
		var want []ledger.Day
		var messages []ledger.Message
		add := func(at time.Time, size int64) {
			messages = append(messages, ledger.Message{Key: ledger.Key{UID: fmt.Sprint(len(messages))}, Mailbox: "/m", Name: fmt.Sprint(len(messages)), StoredAt: at, Size: size})
		}
		for _, date := range midnights {
			midnight, err := time.ParseInLocation(time.DateOnly, date, zone)
			ok(t, err)
			add(midnight, 10)
			add(midnight.AddDate(0, 0, 1).Add(-time.Second), 5)
			want = append(want, ledger.Day{Date: date, Messages: 2, Bytes: 15})
		}
		ok(t, l.Commit("gmail", messages, 0))
		for since, left := range map[time.Time][]ledger.Day{messages[0].StoredAt: want, messages[len(messages)-2].StoredAt: want[len(want)-1:]} {
			if days, err := l.Days("gmail", since, zone); err != nil || !slices.Equal(days, left) {
				t.Errorf("%s since %s: %v, %v; want %v", name, since, days, err, left)
			}
		}
	}
}

// TestIncidents: raised again it keeps when it began and was told; ended and raised again it is a new one.
func TestIncidents(t *testing.T) {
	l, path := newLedger(t)
	at := time.Unix(1_790_000_000, 0)
	check := func(what string, want ...ledger.Incident) {
		t.Helper()
		if incidents, err := l.Incidents(); err != nil || !slices.Equal(incidents, want) {
			t.Errorf("%s: %+v, %v; want %+v", what, incidents, err, want)
		}
	}
	silence := ledger.Incident{Account: "never enrolled", Kind: "silence", Since: at, Text: "no success for a day"}
	disk := ledger.Incident{Kind: "disk", Since: at.Add(-time.Hour), Text: "no space"}
	ok(t, l.ToldIncident("never enrolled", "silence", at))
	check("at first")
	ok(t, l.RaiseIncident(silence))
	ok(t, l.RaiseIncident(disk))
	check("two", disk, silence)
	ok(t, l.ToldIncident("never enrolled", "silence", at.Add(time.Minute)))
	again := silence
	again.Since, again.Text = at.Add(24*time.Hour), "no success for two days"
	ok(t, l.RaiseIncident(again))
	silence.Told, silence.Text = at.Add(time.Minute), again.Text
	ok(t, l.Close())
	l = open(t, path)
	defer l.Close()
	check("raised again", disk, silence)
	ok(t, l.EndIncident("", "disk"))
	ok(t, l.EndIncident("", "disk"))
	ok(t, l.EndIncident("never enrolled", "silence"))
	check("ended")
	ok(t, l.RaiseIncident(again))
	check("a new one", again)
}
