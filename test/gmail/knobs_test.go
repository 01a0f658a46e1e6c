package gmail

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/popsim"
)

// knob is a thing that nobody knows of Gmail, the other way round, and what it takes to matter.
type knob struct {
	name string
	set  func(s *setting)
}

// knobs are all of them, but for those that keep everybody out, which have a test of their own: POPOffAtStat and
// POPOffAtAuth; and RecentNoToken by itself, likewise.
func knobs() []knob {
	turn := func(name string, set func(k *popsim.Knobs)) knob {
		return knob{name, func(s *setting) { set(&s.box.Knobs) }}
	}
	dele := func(name string, effect popsim.DeleEffect) knob {
		return knob{name, func(s *setting) { s.policy, s.box.Knobs.DeleEffect = "delete", effect }}
	}
	recent := func(name string, set func(k *popsim.Knobs)) knob {
		return knob{name, func(s *setting) {
			s.recent = true
			set(&s.box.Knobs)
		}}
	}
	return []knob{
		turn("none", func(*popsim.Knobs) {}),
		turn("PopOnRETR", func(k *popsim.Knobs) { k.PopOnRETR = true }),
		{"PopOnRETR of what recent mode shows", func(s *setting) {
			s.box.Knobs.PopOnRETR, s.volume = true, s.volume.within(20*day)
		}},
		{"PopOnRETR and RecentNoToken", func(s *setting) {
			s.oauth, s.box.Knobs.PopOnRETR, s.box.Knobs.RecentNoToken = true, true, true
		}},
		turn("TopPops", func(k *popsim.Knobs) { k.TopPops = true }),
		dele("DeleIgnored", popsim.DeleIgnored),
		dele("DeleDisposes", popsim.DeleDisposes),
		dele("DeleTrashes", popsim.DeleTrashes),
		turn("RsetUndoesRetr", func(k *popsim.Knobs) { k.RsetUndoesRetr = true }),
		recent("recent", func(*popsim.Knobs) {}),
		recent("RecentPops", func(k *popsim.Knobs) { k.RecentPops = true }),
		recent("RecentWindow", func(k *popsim.Knobs) { k.RecentWindow = 100 }),
		recent("recent and DeleTrashes", func(k *popsim.Knobs) { k.DeleEffect = popsim.DeleTrashes }),
		turn("WindowCuts", func(k *popsim.Knobs) { k.WindowCuts = true }),
		turn("ListDrafts", func(k *popsim.Knobs) { k.ListDrafts = true }),
		turn("RelistSMTP", func(k *popsim.Knobs) { k.RelistSMTP = true }),
		turn("CountLF", func(k *popsim.Knobs) { k.CountLF = true }),
		{"sizes that are wrong", func(s *setting) { s.wrongBy = 3 }}, // no knob of the sim: nobody knows of such sizes
		turn("NoPipelining", func(k *popsim.Knobs) { k.NoPipelining = true }),
		turn("EnforceLoginDelay", func(k *popsim.Knobs) { k.EnforceLoginDelay = true }),
		turn("InUse", func(k *popsim.Knobs) { k.InUse = true }),
		{"SpacesRefused", func(s *setting) { s.oauth, s.box.Knobs.SpacesRefused = false, true }},
		{"QuotaHangsUp", func(s *setting) { s.quota, s.box.Knobs.QuotaHangsUp = 2<<20, true }},
	}
}

var (
	policies     = []string{"keep", "mark-read", "archive", "delete"}
	dispositions = []popsim.Disposition{popsim.LeaveInInbox, popsim.MarkRead, popsim.Archive, popsim.Trash}
)

// anySetting draws what no knob is about.
func anySetting(random *rand.Rand) setting {
	return setting{volume: small, kind: oneOf(random, "maildir", "mbox"), policy: oneOf(random, policies...), oauth: random.IntN(2) == 0,
		box: popsim.GmailBox{Window: smallWindow, Disposition: oneOf(random, dispositions...)}}
}

// possible takes out of a setting what asks too much: if Gmail took a message as fetched when it is asked for, and moved it
// to the trash at once, no client could get at what a cut line lost. POP never shows the trash.
func (s setting) possible() setting {
	if s.box.Knobs.PopOnRETR && s.box.Disposition == popsim.Trash {
		s.box.Disposition = popsim.LeaveInInbox
	}
	if s.recent && s.box.Knobs.RecentNoToken {
		s.oauth = false
	}
	if s.recent {
		if s.policy == "delete" { // which the file may not say with recent mode
			s.policy = "keep"
		}
		if k := s.box.Knobs; k.RecentPops && k.RecentWindow > 0 && s.box.Disposition == popsim.Trash { // each run makes room for more
			s.box.Disposition = popsim.Archive
		}
		s.volume = s.volume.within(20 * day) // nothing grows too old for it in the meantime
	}
	return s
}

// TestPolicies is each policy with the disposition that it mirrors. Where nothing goes wrong, Gmail then does with what was
// fetched what the user chose.
func TestPolicies(t *testing.T) {
	for i, policy := range policies {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			s := anySetting(chance(t))
			s.policy, s.box.Disposition = policy, dispositions[i]
			if *full {
				s.volume, s.box.Window = whole, 0
			}
			w := newWorld(t, chance(t), s)
			w.succeed()
			w.disposed()
			w.live()
		})
	}
}

// disposed holds that Gmail did with all that was on offer what the user chose there.
func (w *world) disposed() {
	w.Helper()
	for _, m := range w.account.Messages() {
		if _, offered := w.offered[m.UID]; !offered {
			continue
		}
		switch d := w.box.Disposition; {
		case !m.Popped, d == popsim.Trash != m.Labels.Has(popsim.InTrash),
			d == popsim.MarkRead && m.Unread,
			d == popsim.Archive && m.Labels.Has(popsim.InInbox):
			w.Errorf("%s: %s has labels %b and unread %v", w.setting, m.UID, m.Labels, m.Unread)
			return
		}
	}
}

// TestKnobs turns each knob by itself.
func TestKnobs(t *testing.T) {
	for _, k := range knobs() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			if !*full {
				random := chance(t)
				s := anySetting(random)
				k.set(&s)
				newWorld(t, random, s.possible()).live()
				return
			}
			for _, policy := range policies {
				for _, d := range dispositions {
					for _, kind := range []string{"maildir", "mbox"} {
						t.Run(fmt.Sprintf("%s,%s,%s", policy, d, kind), func(t *testing.T) {
							t.Parallel()
							random := chance(t)
							s := anySetting(random)
							s.policy, s.kind, s.box.Disposition = policy, kind, d
							k.set(&s)
							newWorld(t, random, s.possible()).live()
						})
					}
				}
			}
		})
	}
}

// TestCombinations turns several knobs at once.
func TestCombinations(t *testing.T) {
	n := 3
	if *full {
		n = 150
	}
	for i := range n {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			random := chance(t)
			s := anySetting(random)
			for _, k := range knobs() {
				if random.IntN(3) == 0 {
					k.set(&s)
				}
			}
			newWorld(t, random, s.possible()).live()
		})
	}
}

// live is the life of an account: runs that come to grief, Gmail's settings saved again somewhere between, and mail coming in.
func (w *world) live() {
	w.Helper()
	runs := 4
	if *full {
		runs = 12
	}
	before := w.random.IntN(runs)
	w.suffer(before)
	w.account.SaveSettings(popsim.AllMail, "")
	w.suffer(runs - before)
	w.settle()
}

// TestSwitchedOff: as long as POP is off, whoever says so and when, nothing is lost and nobody knocks on and on; once it is
// on again all comes.
func TestSwitchedOff(t *testing.T) {
	for _, off := range []popsim.Knobs{{}, {POPOffAtStat: true}, {POPOffAtAuth: true}, {POPOffAtStat: true, POPOffAtAuth: true}} {
		t.Run(fmt.Sprintf("atStat=%v,atAuth=%v", off.POPOffAtStat, off.POPOffAtAuth), func(t *testing.T) {
			t.Parallel()
			s := anySetting(chance(t))
			s.box.Knobs = off
			w := newWorld(t, chance(t), s)
			w.once(trials{{kind: kill, command: "RETR", nth: 150}})
			w.account.SaveSettings(popsim.Disabled, "")
			if o := w.program.Run(t, "--once"); o.Code != 77 {
				t.Fatalf("exit code %d\n%s", o.Code, o.Stderr)
			}
			sessions := w.account.Sessions()
			if o := w.program.Run(t, "--once"); o.Code != 77 || w.account.Sessions() != sessions {
				t.Errorf("exit code %d after a refusal, %d logins\n%s", o.Code, w.account.Sessions()-sessions, o.Stderr)
			}
			w.account.SaveSettings(popsim.AllMail, "")
			w.settle()
		})
	}
}

// TestRecentRefused: Gmail may not take recent mode with a token. Then normal mode does it all.
func TestRecentRefused(t *testing.T) {
	t.Parallel()
	s := anySetting(chance(t))
	s.oauth, s.recent, s.box.Knobs.RecentNoToken = true, true, true
	s.policy, s.volume = "keep", s.volume.within(20*day)
	w := newWorld(t, chance(t), s)
	if o := w.program.Run(t, "--once"); o.Code != 77 {
		t.Fatalf("exit code %d\n%s", o.Code, o.Stderr)
	}
	w.offered = map[string]sum{}
	w.into(false)
	w.settle()
}

// TestBothModes goes to and fro between the modes: nothing comes twice, and what recent mode does not show normal mode brings.
func TestBothModes(t *testing.T) {
	t.Parallel()
	s := anySetting(chance(t))
	s.policy, s.volume = "keep", s.volume.within(60*day)
	w := newWorld(t, chance(t), s)
	w.once(trials{{kind: kill, command: "RETR", nth: 1 + w.random.IntN(300)}})
	for _, recent := range []bool{true, false, true} {
		w.into(recent)
		w.arrive(3)
		w.succeed()
		if !recent {
			w.whole()
			continue
		}
		here := w.shelf.contents()
		for _, m := range w.inRecentMode() {
			if here[w.sums[m.UID]] == 0 {
				t.Errorf("%s: %s is not here", w.setting, m.UID)
			}
		}
	}
	w.into(false)
	w.settle()
}

// into changes the mode.
func (w *world) into(recent bool) {
	w.Helper()
	w.recent = recent
	w.configure(w.keys...)
	w.note()
}

// TestDailyLimit takes several days for what does not fit into one, whatever happens in between, and the server never sent
// more than the limit in 24 hours.
func TestDailyLimit(t *testing.T) {
	t.Parallel()
	const limit = 600_000
	s := anySetting(chance(t))
	s.keys = []string{fmt.Sprintf("daily_limit: %dKB", limit/1000)}
	w := newWorld(t, chance(t), s)
	began := w.now()
	for w.account.Counts().Waiting > 0 {
		if w.runs > 200 {
			t.Fatalf("%d messages wait after %d runs and %s", w.account.Counts().Waiting, w.runs, w.now().Sub(began))
		}
		var troubles trials
		if w.random.IntN(3) == 0 { // what was asked for and did not arrive counts
			troubles = trials{{kind: kill, command: "RETR", nth: 1 + w.random.IntN(20)}}
		}
		w.once(troubles)
		if n := w.account.Sent(); n > limit {
			t.Fatalf("%d octets in a day, of %d", n, limit)
		}
		w.pass(time.Duration(5*(1+w.random.IntN(100))) * time.Minute)
	}
	if took := w.now().Sub(began); took < 3*day {
		t.Errorf("it took %s", took)
	}
	w.settle()
}
