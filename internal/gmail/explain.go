package gmail

import (
	"fmt"

	"github.com/popfetchd/popfetchd/internal/config"
)

// Explain returns one paragraph that says what to choose in Gmail's settings so that they do what policy and access in
// the file say. It is for accounts whose settings at Gmail cannot be
// read: with an app password, or while nobody is signed in.
func Explain(policy config.Policy, access config.Access) string {
	want := Wanted(policy, access)
	return fmt.Sprintf("Gmail itself decides which mail it offers and what becomes of its copy of fetched mail, and only with "+
		"OAuth, once signed in, can popfetchd read what is chosen there. In Gmail in a browser, open Settings (the gear), \"See all settings\", the tab "+
		"\"Forwarding and POP/IMAP\". Under \"POP download\", choose %s. Under \"When messages are accessed with POP\", choose %q: each "+
		"message that popfetchd has fetched will then %s, as `policy: %s` says. The other choices there are %s. Then \"Save Changes\".",
		accessChoice(want.Access), want.Disposition.Label(), want.Disposition.fate(), policy, otherChoices(want.Disposition))
}

// accessChoice names the choice and what else would do.
func accessChoice(want Access) string {
	if want == FromNowOn {
		return fmt.Sprintf("%q, so that older mail is left out, or %q when popfetchd is to skip older mail by itself in recent mode", FromNowOn.Label(), AllMail.Label())
	}
	return fmt.Sprintf("%q, so that the whole backlog is offered, oldest first (with %q older mail would never be)", AllMail.Label(), FromNowOn.Label())
}

// otherChoices lists the dispositions that were not wanted, with the policy that each belongs to.
func otherChoices(want Disposition) string {
	text, left := "", 3
	for _, choice := range []struct {
		disposition Disposition
		policy      config.Policy
	}{{LeaveInInbox, config.Keep}, {MarkRead, config.MarkRead}, {Archive, config.Archive}, {Trash, config.Delete}} {
		if choice.disposition == want {
			continue
		}
		text += fmt.Sprintf("%q (`policy: %s`)", choice.disposition.Label(), choice.policy)
		if left--; left == 1 {
			text += " and "
		} else if left > 1 {
			text += ", "
		}
	}
	return text
}

// Saving returns, one sentence each, what setting Gmail's settings does to the user's mail from then on, and at once.
func Saving(at, wanted Settings) []string {
	if at == wanted {
		return nil
	}
	var sentences []string
	switch {
	case wanted.Access == AllMail && at.Access != AllMail:
		sentences = append(sentences, "Gmail will offer all mail of the account, oldest first, mail that was fetched before included; popfetchd stores none of it twice.")
	case wanted.Access == AllMail:
		sentences = append(sentences, "Gmail may offer mail again that was fetched before, as it does whenever \"Enable POP for all mail\" is saved; popfetchd stores none of it twice.")
	case wanted.Access == FromNowOn:
		sentences = append(sentences, "Gmail will offer only mail that comes from now on; what is in the account and was not fetched yet will not be: fetch it before, if it is wanted.")
	case wanted.Access == Disabled:
		sentences = append(sentences, "Gmail will refuse POP altogether.")
	}
	if fate := wanted.Disposition.fate(); at.Disposition != wanted.Disposition && fate != "" {
		sentences = append(sentences, "Gmail's copy of each message fetched from now on will "+fate+"; mail that was fetched before stays where it is.")
	}
	return sentences
}
