package gmail

import (
	"slices"
	"strings"
	"testing"

	"github.com/popfetchd/popfetchd/internal/config"
)

var (
	policies     = []config.Policy{config.Keep, config.MarkRead, config.Archive, config.Delete}
	dispositions = []Disposition{LeaveInInbox, MarkRead, Archive, Trash}
)

func TestWantedMirrorsTheFile(t *testing.T) {
	for i, policy := range policies {
		for access, want := range map[config.Access]Access{config.AllMail: AllMail, config.FromNowOn: FromNowOn} {
			if got := Wanted(policy, access); got != (Settings{want, dispositions[i]}) {
				t.Errorf("%s and %s are %v", policy, access, got)
			}
		}
	}
}

// Each policy against each disposition: no difference on the diagonal, else one that tells both fates.
func TestCompareDispositions(t *testing.T) {
	fates := []string{
		"stay in the inbox, unread",
		"stay in the inbox, marked as read",
		"leave the inbox and stay in All Mail",
		"go to Trash, where Gmail deletes it for good after 30 days",
	}
	labels := []string{"keep Gmail's copy in the Inbox", "mark Gmail's copy as read", "archive Gmail's copy", "delete Gmail's copy"}
	for i, policy := range policies {
		for j, disposition := range dispositions {
			got := Compare(config.Account{Policy: policy, Access: config.AllMail}, Settings{AllMail, disposition})
			var want []Difference
			if i != j {
				want = []Difference{{"policy", string(policy), labels[j],
					"Gmail's copy of each message that popfetchd has fetched would " + fates[j] + "; the file says that it should " + fates[i] + "."}}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s and %s:\n got %v\nwant %v", policy, disposition, got, want)
			}
		}
	}
}

func TestCompareAccess(t *testing.T) {
	for _, c := range []struct {
		file  config.Access
		again bool // recent mode
		at    Access
		want  string // the start of Means; "": no difference
	}{
		{config.AllMail, false, AllMail, ""},
		{config.AllMail, false, FromNowOn, "Gmail offers only mail that came after this was chosen there: all older mail"},
		{config.AllMail, false, Disabled, "POP is off in Gmail, which therefore refuses popfetchd: no mail is fetched"},
		{config.FromNowOn, false, AllMail, "Gmail offers older mail too, all of which popfetchd would fetch; an account that has not been fetched yet is left alone"},
		{config.FromNowOn, false, FromNowOn, ""},
		{config.FromNowOn, false, Disabled, "POP is off"},
		{config.AllMail, true, FromNowOn, ""},
		{config.FromNowOn, true, AllMail, ""},
		{config.FromNowOn, true, Disabled, "POP is off"},
		{config.AllMail, false, "lastYear", "popfetchd does not know this setting"},
		{config.AllMail, true, "accessWindowUnspecified", "popfetchd does not know this setting"},
	} {
		got := Compare(config.Account{Policy: config.Keep, Access: c.file, Recent: c.again}, Settings{c.at, LeaveInInbox})
		if c.want == "" {
			if len(got) != 0 {
				t.Errorf("%+v: got %v", c, got)
			}
			continue
		}
		if len(got) != 1 || got[0].What != "access" || got[0].InFile != string(c.file) || got[0].AtGmail != c.at.Label() || !strings.HasPrefix(got[0].Means, c.want) {
			t.Errorf("%+v: got %v", c, got)
		}
	}
}

func TestCompareOrderAndRecent(t *testing.T) {
	got := Compare(config.Account{Policy: config.Keep, Access: config.AllMail, Recent: true}, Settings{Disabled, Trash})
	if len(got) != 2 || got[0].What != "access" || got[1].What != "policy" {
		t.Fatalf("got %v", got)
	}
	if want := "Gmail's copy of each message that popfetchd has fetched may, in recent mode too, go to Trash"; !strings.HasPrefix(got[1].Means, want) {
		t.Errorf("got %q", got[1].Means)
	}
	got = Compare(config.Account{Policy: config.Keep, Access: config.AllMail}, Settings{AllMail, "shred"})
	if len(got) != 1 || got[0].AtGmail != `unknown ("shred")` || !strings.Contains(got[0].Means, "cannot tell what Gmail will do with its copy") {
		t.Errorf("got %v", got)
	}
}

// Every explanation leads through Gmail's own screen, names the choice that fits, and the policies of all others.
func TestExplain(t *testing.T) {
	for i, policy := range policies {
		text := Explain(policy, config.AllMail)
		for _, want := range []string{
			`"See all settings"`, `"Forwarding and POP/IMAP"`, `"POP download"`, `"Enable POP for all mail"`, `"When messages are accessed with POP"`, `"Save Changes"`,
			"choose \"" + dispositions[i].Label() + "\": each message that popfetchd has fetched will then " + dispositions[i].fate() + ", as `policy: " + string(policy) + "` says",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %s\nlacks %s", policy, text, want)
			}
		}
		for j, other := range policies {
			if choice := `"` + dispositions[j].Label() + "\" (`policy: " + string(other) + "`)"; strings.Contains(text, choice) != (i != j) {
				t.Errorf("%s: %s\nis wrong about %s", policy, text, choice)
			}
		}
		if strings.Contains(text, "\n") {
			t.Error("more than one paragraph")
		}
	}
	if text := Explain(config.Keep, config.FromNowOn); !strings.Contains(text, `choose "Enable POP for mail that arrives from now on", so that older mail is left out`) {
		t.Error(text)
	}
}

func TestSaving(t *testing.T) {
	for _, c := range []struct {
		at, wanted Settings
		want       []string // the starts of the sentences
	}{
		{Settings{AllMail, Trash}, Settings{AllMail, Trash}, nil},
		{Settings{AllMail, LeaveInInbox}, Settings{AllMail, Trash}, []string{"Gmail may offer mail again", "Gmail's copy of each message fetched from now on will go to Trash"}},
		{Settings{FromNowOn, Archive}, Settings{AllMail, Archive}, []string{"Gmail will offer all mail of the account, oldest first"}},
		{Settings{Disabled, Archive}, Settings{AllMail, Archive}, []string{"Gmail will offer all mail of the account, oldest first"}},
		{Settings{AllMail, Archive}, Settings{FromNowOn, Archive}, []string{"Gmail will offer only mail that comes from now on"}},
		{Settings{FromNowOn, Archive}, Settings{FromNowOn, MarkRead}, []string{"Gmail will offer only mail that comes from now on", "Gmail's copy of each message fetched from now on will stay in the inbox, marked as read; mail"}},
		{Settings{AllMail, Archive}, Settings{Disabled, Archive}, []string{"Gmail will refuse POP"}},
	} {
		got := Saving(c.at, c.wanted)
		if !slices.EqualFunc(got, c.want, strings.HasPrefix) {
			t.Errorf("from %v to %v: got %q", c.at, c.wanted, got)
		}
	}
}
