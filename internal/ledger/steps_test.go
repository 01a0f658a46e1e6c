package ledger_test

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/popfetchd/popfetchd/internal/ledger"
	"pgregory.net/rapid"
)

// step is a call of a method that writes, as data: the ledger and the model take the same one, in other processes too.
type step struct {
	Method, Account string
	Keys, To        []ledger.Key
	Messages        []ledger.Message
	Failures        []ledger.Failure
	UIDs            []string
	Intent          ledger.Intent
	Number          int64 // of an intent, or octets received
	Deletion        ledger.Deletion
	At              time.Time
	Text            string // a path, the name of a note, or what was wrong with a run
	Settled         bool
	Hold            ledger.Hold
	Incident        ledger.Incident
}

// do calls the method; number is what Intend or Retry return.
func (s step) do(l *ledger.Ledger) (number int64, err error) {
	switch s.Method {
	case "Enroll":
		return 0, l.Enroll(s.Account, s.Text)
	case "Commit":
		return 0, l.Commit(s.Account, s.Messages, s.Number)
	case "SetBaseline":
		return 0, l.SetBaseline(s.Account, s.At, s.Keys)
	case "SetDeletion":
		return 0, l.SetDeletion(s.Account, s.Keys, s.Deletion)
	case "Fail":
		return 0, l.Fail(s.Account, s.Failures)
	case "Forget":
		return 0, l.Forget(s.Account, s.Keys)
	case "Retry":
		n, err := l.Retry(s.Account, s.UIDs)
		return int64(n), err
	case "Rekey":
		return 0, l.Rekey(s.Account, s.Keys, s.To)
	case "Moved":
		return 0, l.Moved(s.Account, s.At, s.Keys, s.To)
	case "Redate":
		return 0, l.Redate(s.Account, s.Keys, s.At)
	case "Relocate":
		return 0, l.Relocate(s.Account, s.Messages)
	case "SetStrays":
		return 0, l.SetStrays(s.Account, s.Messages)
	case "Intend":
		return l.Intend(s.Account, s.Intent)
	case "Drop":
		return 0, l.Drop(s.Number)
	case "Unsettle":
		return 0, l.Unsettle(s.Account, s.Text)
	case "Settle":
		return 0, l.Settle(s.Account)
	case "SetHold":
		return 0, l.SetHold(s.Account, s.Hold)
	case "Lift":
		return 0, l.Lift(s.Account)
	case "AddTraffic":
		return 0, l.AddTraffic(s.Account, s.At, s.Number)
	case "SetUnderway":
		return 0, l.SetUnderway(s.Account, s.Keys)
	case "Arrived":
		return 0, l.Arrived(s.Account, s.Keys)
	case "SetNote":
		return 0, l.SetNote(s.Account, s.Text, s.At)
	case "RaiseIncident":
		return 0, l.RaiseIncident(s.Incident)
	case "ToldIncident":
		return 0, l.ToldIncident(s.Account, s.Text, s.At)
	case "EndIncident":
		return 0, l.EndIncident(s.Account, s.Text)
	case "Finish":
		return 0, l.Finish(s.Account, s.At, s.Text, s.Settled)
	}
	panic("no method " + s.Method)
}

// draws makes up the rest of a step, for a ledger that is as the model.
var draws = map[string]func(t *rapid.T, m model, s *step){
	"Enroll": func(_ *rapid.T, _ model, s *step) { s.Text = "/mail/" + s.Account },
	"Commit": func(t *rapid.T, m model, s *step) {
		s.Messages, s.Number = drawMessages(t, m, s.Account), drawIntent(t, m)
		if keys := m.known(s.Account); len(keys) > 0 && rapid.IntRange(0, 9).Draw(t, "known") == 0 { // a bug of the caller
			s.Messages = append(s.Messages, drawMessage(t, rapid.SampledFrom(keys).Draw(t, "known key")))
		}
	},
	"SetBaseline": func(t *rapid.T, m model, s *step) { s.Keys, s.At = drawKeys(t, m, s.Account), drawTime(t) },
	"SetDeletion": func(t *rapid.T, m model, s *step) {
		s.Keys, s.Deletion = drawKeys(t, m, s.Account), drawDeletion(t)
	},
	"Redate": func(t *rapid.T, m model, s *step) { s.Keys, s.At = drawKeys(t, m, s.Account), drawTime(t) },
	"Fail":   func(t *rapid.T, m model, s *step) { s.Failures = drawFailures(t, m, s.Account) },
	"Forget": func(t *rapid.T, m model, s *step) { s.Keys = drawKeys(t, m, s.Account) },
	"Retry": func(t *rapid.T, _ model, s *step) {
		s.UIDs = rapid.SliceOfN(rapid.Custom(drawUID), 0, 3).Draw(t, "UIDs")
	},
	"Rekey": func(t *rapid.T, m model, s *step) { s.Keys, s.To = drawRekeying(t, m, s.Account) },
	"Moved": func(t *rapid.T, m model, s *step) {
		s.Keys, s.To = drawRekeying(t, m, s.Account)
		s.At = drawTime(t)
	},
	"Relocate": func(t *rapid.T, m model, s *step) {
		for _, key := range drawKeys(t, m, s.Account) {
			s.Messages = append(s.Messages, drawMessage(t, key))
		}
	},
	"SetStrays": func(t *rapid.T, _ model, s *step) {
		for range rapid.IntRange(0, 6).Draw(t, "strays") {
			s.Messages = append(s.Messages, drawMessage(t, ledger.Key{ListedSize: rapid.Int64Range(0, 1<<40).Draw(t, "listed size")}))
		}
	},
	"Intend": func(t *rapid.T, m model, s *step) {
		s.Intent = ledger.Intent{Account: s.Account, Path: rapid.SampledFrom([]string{"/mail/box", "/mail/\xff"}).Draw(t, "path"),
			Offset: rapid.Int64Range(0, 1<<40).Draw(t, "offset"), Length: 7, SHA256: [32]byte{1, 0xff}, Spool: "/state/spool", Messages: []ledger.Message{}}
		for _, message := range drawMessages(t, m, s.Account) {
			if message.Name == "" {
				message.Mailbox = s.Intent.Path
				s.Intent.Messages = append(s.Intent.Messages, message)
			}
		}
	},
	"Drop": func(t *rapid.T, m model, s *step) { s.Number = drawIntent(t, m) },
	"Unsettle": func(t *rapid.T, _ model, s *step) {
		s.Text = rapid.SampledFrom([]string{"/mail/box", "/mail/dir"}).Draw(t, "path")
	},
	"Settle":  func(*rapid.T, model, *step) {},
	"SetHold": func(t *rapid.T, _ model, s *step) { s.Hold = drawHold(t) },
	"Lift":    func(*rapid.T, model, *step) {},
	"AddTraffic": func(t *rapid.T, m model, s *step) {
		s.At, s.Number = drawHour(t), rapid.Int64Range(-1<<20, 1<<40).Draw(t, "octets")
	},
	"SetUnderway": func(t *rapid.T, m model, s *step) { s.Keys = drawKeys(t, m, s.Account) },
	"Arrived": func(t *rapid.T, m model, s *step) {
		s.Keys = drawKeys(t, m, s.Account)
		if a := m[s.Account]; a != nil {
			s.Keys = append(s.Keys, slices.SortedFunc(maps.Keys(a.underway), compareKeys)[:len(a.underway)/2]...)
		}
	},
	"SetNote": func(t *rapid.T, _ model, s *step) {
		s.Text = rapid.SampledFrom(noteNames).Draw(t, "note")
		if rapid.Bool().Draw(t, "set") {
			s.At = drawTime(t)
		}
	},
	"RaiseIncident": func(t *rapid.T, _ model, s *step) {
		s.Incident = ledger.Incident{Account: s.Account, Kind: drawKind(t), Since: drawTime(t), Text: rapid.SampledFrom([]string{"", "\xff", "wrong"}).Draw(t, "text")}
		if rapid.Bool().Draw(t, "told") {
			s.Incident.Told = drawTime(t)
		}
	},
	"ToldIncident": func(t *rapid.T, _ model, s *step) { s.Text, s.At = drawKind(t), drawTime(t) },
	"EndIncident":  func(t *rapid.T, _ model, s *step) { s.Text = drawKind(t) },
	"Finish": func(t *rapid.T, _ model, s *step) {
		s.At, s.Settled = drawTime(t), rapid.Bool().Draw(t, "settled")
		s.Text = rapid.SampledFrom([]string{"", "login refused"}).Draw(t, "problem")
	},
}

func drawStep(t *rapid.T, m model, method string) step {
	s := step{Method: method, Account: drawName(t)}
	draws[method](t, m, &s)
	return s
}

// drawSteps makes up a whole run of a program, of n steps from m on; all accounts are enrolled first.
func drawSteps(t *rapid.T, m model, n int) []step {
	m = m.clone()
	var steps []step
	take := func(s step) {
		m.take(s)
		steps = append(steps, s)
	}
	for _, name := range names {
		take(step{Method: "Enroll", Account: name, Text: "/mail/" + name})
	}
	methods := slices.Sorted(maps.Keys(draws))
	for len(steps) < n {
		take(drawStep(t, m, rapid.SampledFrom(methods).Draw(t, "method")))
	}
	return steps
}

var names = []string{"gmail", "isp", `o'neil "work" १`}

func drawName(t *rapid.T) string { return rapid.SampledFrom(names).Draw(t, "account") }

// drawUID prefers a few UIDs, so that keys meet again, and makes up others of any bytes.
func drawUID(t *rapid.T) string {
	anyByte := rapid.SliceOfN(rapid.Byte(), 0, 70)
	return rapid.OneOf(rapid.SampledFrom([]string{"a", "A", "b", "GmailId18", "\xff\xfe", `'";--`, " ", " own", "\x00", "a\x00", ""}),
		rapid.Map(anyByte, func(b []byte) string { return string(b) })).Draw(t, "uid")
}

func drawKey(t *rapid.T) ledger.Key {
	return ledger.Key{UID: drawUID(t), ListedSize: rapid.SampledFrom([]int64{0, 1, 4096, 1 << 40}).Draw(t, "size"), Occurrence: rapid.IntRange(0, 2).Draw(t, "occurrence")}
}

// drawKeys draws keys of which the account knows some.
func drawKeys(t *rapid.T, m model, name string) []ledger.Key {
	any := rapid.Custom(drawKey)
	if known := m.known(name); len(known) > 0 {
		any = rapid.OneOf(any, rapid.SampledFrom(known))
	}
	return rapid.SliceOfNDistinct(any, 0, 8, rapid.ID).Draw(t, "keys")
}

func drawTime(t *rapid.T) time.Time {
	return time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "time"), 0)
}

// drawHour draws a time from two days, close enough to others for what was received to meet within five minutes.
func drawHour(t *rapid.T) time.Time {
	return time.Unix(1_790_000_000+100*rapid.Int64Range(0, 1728).Draw(t, "hour"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds"))
}

func drawKind(t *rapid.T) string {
	return rapid.SampledFrom([]string{"silence", "", "\xff"}).Draw(t, "kind")
}

var noteNames = []string{"repopped", "", "\xff"}

// drawHold draws a hold, or now and then none.
func drawHold(t *rapid.T) ledger.Hold {
	h := ledger.Hold{Reason: rapid.SampledFrom([]ledger.HoldReason{"", ledger.LoginRefused, ledger.SignIn, ledger.OverQuota, ledger.DailyLimit}).Draw(t, "reason")}
	if h.IsZero() {
		return h
	}
	h.Since, h.Times, h.Problem = drawTime(t), rapid.IntRange(1, 9).Draw(t, "times"), rapid.String().Draw(t, "problem")
	if rapid.Bool().Draw(t, "for a time") {
		h.Until = drawTime(t)
	}
	if rapid.Bool().Draw(t, "marked") {
		h.Mark, h.Salt = rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "mark"), rapid.SliceOfN(rapid.Byte(), 1, 16).Draw(t, "salt")
	}
	return h
}

func drawDeletion(t *rapid.T) ledger.Deletion {
	return rapid.SampledFrom([]ledger.Deletion{ledger.Kept, ledger.Pending, ledger.Deleted, ledger.Gone, ledger.Held}).Draw(t, "deletion")
}

// drawMessage makes up a message at one of few places, so that strays and rows meet there.
func drawMessage(t *rapid.T, key ledger.Key) ledger.Message {
	m := ledger.Message{Key: key, Size: rapid.Int64Range(0, 1<<40).Draw(t, "stored size"), StoredAt: drawTime(t), Deletion: drawDeletion(t)}
	copy(m.SHA256[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "sha256"))
	if rapid.Bool().Draw(t, "maildir") {
		m.Mailbox, m.Name = "/mail/dir", fmt.Sprint("message ", rapid.IntRange(0, 5).Draw(t, "name"))
	} else {
		m.Mailbox, m.Offset, m.Length = "/mail/box", rapid.Int64Range(0, 5).Draw(t, "offset"), m.Size+40
	}
	return m
}

// drawMessages makes up messages with keys that the account does not know.
func drawMessages(t *rapid.T, m model, name string) []ledger.Message {
	var messages []ledger.Message
	for _, key := range rapid.SliceOfNDistinct(rapid.Custom(drawKey), 0, 8, rapid.ID).Draw(t, "new keys") {
		if !slices.Contains(m.known(name), key) {
			messages = append(messages, drawMessage(t, key))
		}
	}
	return messages
}

func drawFailures(t *rapid.T, m model, name string) []ledger.Failure {
	var failures []ledger.Failure
	for _, key := range drawKeys(t, m, name) {
		f := ledger.Failure{Key: key, Reason: rapid.SampledFrom([]ledger.Reason{ledger.Refused, ledger.Broken, ledger.TooLarge, ledger.Vanished}).Draw(t, "reason"),
			Attempts: rapid.IntRange(1, 9).Draw(t, "attempts"), Error: rapid.String().Draw(t, "error")}
		if rapid.Bool().Draw(t, "again") {
			f.NextAt = drawTime(t)
		}
		failures = append(failures, f)
	}
	return failures
}

// drawRekeying draws keys and as many others; now and then one of these is known, which is a bug of the caller.
func drawRekeying(t *rapid.T, m model, name string) (from, to []ledger.Key) {
	from = drawKeys(t, m, name)
	to = rapid.SliceOfNDistinct(rapid.Custom(drawKey), len(from), len(from), rapid.ID).Draw(t, "new keys")
	return from, to
}

// drawIntent draws the number of an intent of any account, or of none.
func drawIntent(t *rapid.T, m model) int64 {
	numbers := []int64{0}
	for _, name := range names {
		if a := m[name]; a != nil {
			numbers = append(numbers, slices.Sorted(maps.Keys(a.intents))...)
		}
	}
	return rapid.SampledFrom(numbers).Draw(t, "intent")
}
