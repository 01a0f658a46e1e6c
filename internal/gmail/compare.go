package gmail

import (
	"fmt"

	"github.com/popfetchd/popfetchd/internal/config"
)

// Difference is one setting of Gmail's that is not what the file says.
type Difference struct {
	What   string // the file's key: "policy" or "access"
	InFile string // the file's value, such as "archive"
	// AtGmail is the choice in the words of Gmail's settings screen, such as "delete Gmail's copy".
	AtGmail string
	Means   string // one sentence: what it does to the user's mail
}

// Wanted returns the settings of Gmail that correspond to an account's policy and access in the file.
func Wanted(policy config.Policy, access config.Access) Settings {
	s := Settings{Access: AllMail, Disposition: LeaveInInbox}
	if access == config.FromNowOn {
		s.Access = FromNowOn
	}
	switch policy {
	case config.MarkRead:
		s.Disposition = MarkRead
	case config.Archive:
		s.Disposition = Archive
	case config.Delete:
		s.Disposition = Trash
	}
	return s
}

// Label returns the choice in the words of Gmail's settings screen.
func (a Access) Label() string {
	switch a {
	case AllMail:
		return "Enable POP for all mail"
	case FromNowOn:
		return "Enable POP for mail that arrives from now on"
	case Disabled:
		return "Disable POP"
	}
	return fmt.Sprintf("unknown (%.40q)", string(a))
}

// Label returns the choice in the words of Gmail's settings screen.
func (d Disposition) Label() string {
	switch d {
	case LeaveInInbox:
		return "keep Gmail's copy in the Inbox"
	case MarkRead:
		return "mark Gmail's copy as read"
	case Archive:
		return "archive Gmail's copy"
	case Trash:
		return "delete Gmail's copy"
	}
	return fmt.Sprintf("unknown (%.40q)", string(d))
}

// fate is what becomes of Gmail's copy of a message that was fetched.
func (d Disposition) fate() string {
	switch d {
	case LeaveInInbox:
		return "stay in the inbox, unread"
	case MarkRead:
		return "stay in the inbox, marked as read"
	case Archive:
		return "leave the inbox and stay in All Mail"
	case Trash:
		return "go to Trash, where Gmail deletes it for good after 30 days"
	}
	return ""
}

// Compare returns where Gmail's settings differ from an account of the file, the one that matters more first.
func Compare(file config.Account, at Settings) []Difference {
	want := Wanted(file.Policy, file.Access)
	var differences []Difference
	if at.Access != want.Access {
		if means := accessMeans(file, at.Access); means != "" {
			differences = append(differences, Difference{"access", string(file.Access), at.Access.Label(), means})
		}
	}
	if at.Disposition != want.Disposition {
		differences = append(differences, Difference{"policy", string(file.Policy), at.Disposition.Label(), dispositionMeans(file, at.Disposition)})
	}
	return differences
}

// accessMeans returns "" when a difference does nothing: recent mode offers the last 30 days whatever was chosen, as
// long as POP is on.
func accessMeans(file config.Account, at Access) string {
	switch {
	case at == Disabled:
		return "POP is off in Gmail, which therefore refuses popfetchd: no mail is fetched until POP is enabled."
	case file.Recent && (at == AllMail || at == FromNowOn):
		return ""
	case at == FromNowOn:
		return "Gmail offers only mail that came after this was chosen there: all older mail that popfetchd has not stored yet stays in Gmail and is never fetched."
	case at == AllMail:
		return "Gmail offers older mail too, all of which popfetchd would fetch; an account that has not been fetched yet is left alone until Gmail is set as the file says."
	}
	return "popfetchd does not know this setting, so it cannot tell which mail Gmail will offer."
}

func dispositionMeans(file config.Account, at Disposition) string {
	if at.fate() == "" {
		return "popfetchd does not know this setting, so it cannot tell what Gmail will do with its copy of fetched mail."
	}
	would := "would"
	if file.Recent {
		would = "may, in recent mode too,"
	}
	return fmt.Sprintf("Gmail's copy of each message that popfetchd has fetched %s %s; the file says that it should %s.",
		would, at.fate(), Wanted(file.Policy, file.Access).Disposition.fate())
}
