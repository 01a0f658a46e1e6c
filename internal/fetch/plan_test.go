package fetch

import (
	"reflect"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/pop3"
)

func TestIdentify(t *testing.T) {
	listing := []pop3.Entry{{Number: 1, UID: "a", Size: 1}, {Number: 3, UID: "b", Size: 1}, {Number: 4, UID: "a", Size: 1}, {Number: 7, UID: "a", Size: 2}, {Number: 8, UID: "a", Size: 1}}
	want := []ledger.Key{{UID: "a", ListedSize: 1}, {UID: "b", ListedSize: 1}, {UID: "a", ListedSize: 1, Occurrence: 1}, {UID: "a", ListedSize: 2}, {UID: "a", ListedSize: 1, Occurrence: 2}}
	if got := identify(listing); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// One state of one message, and what is to be done about it.
func TestMakePlan(t *testing.T) {
	now := time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)
	const size = 1000
	failed := func(reason ledger.Reason, next time.Time) ledger.State {
		return ledger.State{Failure: &ledger.Failure{Reason: reason, Attempts: 3, NextAt: next}}
	}
	stored := func(ago time.Duration, deletion ledger.Deletion) ledger.State {
		return ledger.State{Known: true, Stored: true, StoredAt: now.Add(-ago), Deletion: deletion}
	}
	had := ledger.State{Known: true, StoredAt: now.Add(-time.Hour)}
	keep, remove := rules{}, rules{delete: true}
	removeLater := rules{delete: true, deleteAfter: time.Hour}
	small, large := rules{maxMessageSize: size - 1}, rules{maxMessageSize: size}
	one := []int{0}
	known, gone := plan{known: 1}, plan{known: 1, remove: one}
	for name, test := range map[string]struct {
		state ledger.State
		rules rules
		want  plan
	}{
		"new":                                 {ledger.State{}, keep, plan{fetch: one}},
		"new, and small enough":               {ledger.State{}, large, plan{fetch: one}},
		"new, and too large":                  {ledger.State{}, small, plan{tooLarge: one}},
		"too large before, the limit is gone": {failed(ledger.TooLarge, time.Time{}), keep, plan{fetch: one}},
		"too large before, and still":         {failed(ledger.TooLarge, time.Time{}), small, plan{tooLarge: one}},
		"refused, waiting":                    {failed(ledger.Refused, now.Add(time.Second)), keep, plan{waiting: one}},
		"refused, due":                        {failed(ledger.Refused, now), keep, plan{fetch: one}},
		"refused, due, and too large":         {failed(ledger.Refused, now), small, plan{tooLarge: one}},
		"set aside":                           {failed(ledger.Refused, time.Time{}), keep, plan{setAside: one}},
		"broke the line, waiting":             {failed(ledger.Broken, now.Add(time.Second)), keep, plan{waiting: one}},
		"broke the line, due":                 {failed(ledger.Broken, now), keep, plan{suspects: one}},
		"broke the line, set aside":           {failed(ledger.Broken, time.Time{}), keep, plan{setAside: one}},
		"stored, kept":                        {stored(time.Hour, ledger.Kept), keep, known},
		"stored, however large":               {stored(time.Hour, ledger.Kept), small, known},
		"stored, to be deleted":               {stored(0, ledger.Kept), remove, gone},
		"stored, deletion pending":            {stored(0, ledger.Pending), remove, gone},
		"stored, pending, policy keep":        {stored(0, ledger.Pending), keep, known},
		"stored, not long enough ago":         {stored(time.Hour-1, ledger.Kept), removeLater, known},
		"stored long enough ago":              {stored(time.Hour, ledger.Kept), removeLater, gone},
		"deleted, of a window":                {stored(time.Hour, ledger.Deleted), rules{delete: true, window: true}, gone},
		"already had":                         {had, keep, known},
		"already had, policy delete":          {had, remove, known},
	} {
		got := makePlan([]ledger.Key{{UID: "a", ListedSize: size}}, []ledger.State{test.state}, test.rules, now)
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}

// Those that broke the line least often come first.
func TestSuspectsInTurn(t *testing.T) {
	states := make([]ledger.State, 4)
	for i, attempts := range []int{3, 1, 2, 1} {
		states[i].Failure = &ledger.Failure{Reason: ledger.Broken, Attempts: attempts, NextAt: time.Unix(1, 0)}
	}
	if got := makePlan(make([]ledger.Key, 4), states, rules{}, time.Now()).suspects; !reflect.DeepEqual(got, []int{1, 3, 2, 0}) {
		t.Errorf("in the order %v", got)
	}
}
