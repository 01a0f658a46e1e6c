package alert

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/popfetchd/popfetchd/internal/ledger"
)

// The kinds of incidents, in the order in which a message tells them.
const (
	Silence       = "silence"       // no success for the account's alert_after
	Refused       = "refused"       // the server refused the login
	SignIn        = "sign-in"       // there is no token that serves
	Certificate   = "certificate"   // the server's certificate was refused
	Disk          = "disk"          // disk full, mailbox not to be written
	Ledger        = "ledger"        // the ledger is damaged
	Configuration = "configuration" // the file, or a secret that it names
	SetAside      = "set-aside"     // messages that could not be fetched, or are too large
	Settings      = "settings"      // Gmail's own settings differ from the file
)

// moments are how texts give times: with the day's name, since "03:12" alone may be any night's.
const moments = "Mon 2 Jan 15:04"

// compose makes the message that tells of incidents, which must not be none.
func compose(event Event, incidents []ledger.Incident, host string, at time.Time, remind time.Duration) Message {
	m := Message{Event: event, At: at, Host: host, Incidents: incidents, Subject: subject(event, incidents, at)}
	var b strings.Builder
	for i, incident := range incidents {
		if i > 0 {
			b.WriteString("\n")
		}
		switch event {
		case AllClear:
			tellEnd(&b, incident, at)
		default:
			tellTrouble(&b, incident, at)
		}
	}
	b.WriteString("\n")
	if event == AllClear {
		b.WriteString("There is nothing to do.\n")
	} else {
		b.WriteString(footer(incidents, remind))
	}
	fmt.Fprintf(&b, "\npopfetchd on %s\n", host)
	m.Text = b.String()
	return m
}

// footer says how often it is told, and which command tells more: of Gmail's settings status knows nothing.
func footer(incidents []ledger.Incident, remind time.Duration) string {
	more := "popfetchd status"
	if !slices.ContainsFunc(incidents, func(i ledger.Incident) bool { return i.Kind != Settings }) {
		more = "popfetchd gmail settings " + strings.Join(accountsOf(incidents), " ")
	}
	again := ""
	if remind > 0 {
		again = ", again in " + span(remind) + " if it lasts"
	}
	return "You are told this once" + again + ", and when it is over.\n" + more + " tells more.\n"
}

// tellTrouble writes what is wrong, since when, what to do, and the error as it was.
func tellTrouble(b *strings.Builder, i ledger.Incident, at time.Time) {
	p := phraseOf(i, at)
	fmt.Fprintf(b, "%s: %s.\n", called(i.Account), p.what)
	fmt.Fprintf(b, "What to do: %s.\n", p.todo)
	if p.waits {
		b.WriteString("Nothing is lost: mail waits on the server until then.\n")
	}
	fmt.Fprintf(b, "Since: %s\n", i.Since.Local().Format(moments))
	if i.Text != "" {
		fmt.Fprintf(b, "Details: %s\n", oneLine(i.Text))
	}
}

func tellEnd(b *strings.Builder, i ledger.Incident, at time.Time) {
	fmt.Fprintf(b, "%s: over after %s: %s.\n", called(i.Account), span(at.Sub(i.Since)), phraseOf(i, at).was)
}

// subject is one line that a phone shows whole, or whose beginning says enough.
func subject(event Event, incidents []ledger.Incident, at time.Time) string {
	who := shortList(incidents)
	if event == AllClear {
		return who + ": fine again"
	}
	first := phraseOf(incidents[0], at)
	short, still := first.short, ""
	for _, i := range incidents[1:] {
		if i.Kind != incidents[0].Kind {
			short = "trouble, see inside"
		}
	}
	if event == Reminder {
		still = "still: "
	}
	return fmt.Sprintf("%s: %s%s", who, still, short)
}

// shortList names up to three accounts.
func shortList(incidents []ledger.Incident) string {
	const most = 3
	names := accountsOf(incidents)
	switch {
	case len(names) == 0:
		return called("")
	case len(names) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most-1], ", "), len(names)-most+1)
	}
	return strings.Join(names, ", ")
}

func called(account string) string {
	if account == "" {
		return "popfetchd"
	}
	return account
}

// phrase tells of one incident in several lengths.
type phrase struct {
	short string // for the subject: what to do, or what is wrong
	what  string // a sentence
	todo  string // a sentence
	was   string // what is over
	waits bool   // mail stays on the server meanwhile
}

func phraseOf(i ledger.Incident, at time.Time) phrase {
	status := "look at popfetchd status"
	if i.Account != "" {
		status += " " + i.Account
	}
	switch i.Kind {
	case Silence:
		since := span(at.Sub(i.Since))
		return phrase{short: "not fetched for " + since, what: "no run has succeeded for " + since, was: "it could not be fetched", waits: true,
			todo: "see what fails in the details; is the network up, and the provider's own website"}
	case Refused:
		return phrase{short: "login refused, check the password", what: "the server refuses the login", was: "the login was refused", waits: true,
			todo: "look at the details; as a rule the password was changed or revoked: put the new one where the configuration says, it is tried at once"}
	case SignIn:
		return phrase{short: "sign in again", what: "the sign-in has ended", was: "nobody was signed in", waits: true,
			todo: "run: popfetchd login " + i.Account}
	case Certificate:
		return certificatePhrase(i)
	case Disk:
		return diskPhrase(i)
	case Ledger:
		return phrase{short: "ledger damaged, bring back a backup", what: "the ledger cannot be trusted, so nothing is fetched", was: "the ledger was damaged", waits: true,
			todo: "bring ledger.db back from a backup, or move it and its -wal file away: popfetchd then finds again what is in the mailboxes"}
	case Configuration:
		return phrase{short: "configuration cannot be used, mend it", what: "the configuration, or a secret that it names, cannot be used", was: "the configuration could not be used", waits: true,
			todo: "mend what the details name; popfetchd check says whether it is right"}
	case SetAside:
		return phrase{short: asideShort(i.Text), what: "not all messages can be fetched", was: "messages could not be fetched",
			todo: status + "; popfetchd deletes none of these messages on the server"}
	case Settings:
		return phrase{short: "Gmail's POP settings differ", what: "Gmail's own POP settings are not what the configuration says", was: "Gmail's POP settings were not those of the configuration",
			todo: "run: popfetchd gmail settings " + i.Account}
	}
	return phrase{short: "trouble, see inside", what: "something is wrong", was: "something was wrong", todo: status}
}

// asideShort takes the count from the front of an incident's text.
func asideShort(text string) string {
	n := countOf(text)
	what := "could not be fetched"
	if strings.Contains(text, tooLargeWords) {
		what = "too large, left there"
	}
	return plural(n, "message") + " " + what
}

// countOf is the number that a text begins with.
func countOf(text string) int {
	digits, _, _ := strings.Cut(text, " ")
	n, _ := strconv.Atoi(digits)
	return n
}

func certificatePhrase(i ledger.Incident) phrase {
	p := phrase{short: "certificate not trusted, look why", what: "the server's certificate is not to be trusted, so popfetchd does not log in",
		was: "the server's certificate was not to be trusted", waits: true,
		todo: "make sure that nobody stands between you and the server; the details say how to trust a certificate that is right"}
	switch {
	case strings.Contains(i.Text, " expired on "):
		p.short, p.todo = "the server's certificate expired", "its operator has to renew it; tell them"
	case strings.Contains(i.Text, "set the clock right"):
		p.short, p.todo = "certificate not valid yet, check the clock", "set this machine's clock right"
	}
	return p
}

func diskPhrase(i ledger.Incident) phrase {
	p := phrase{short: "mail cannot be stored, mend the mailbox", what: "mail cannot be stored here", was: "mail could not be stored", waits: true,
		todo: "mend what the details name; the next run goes on by itself"}
	text := strings.ToLower(i.Text)
	switch {
	case strings.Contains(text, "no space left"), strings.Contains(text, "disk is full"), strings.Contains(text, "make room on the disk"):
		p.short, p.what, p.todo = "disk full, free some space", "the disk is full", "free some space; the next run goes on by itself"
	case strings.Contains(text, "quota"):
		p.short, p.what, p.todo = "disk quota used up, free some space", "the disk quota is used up", "free some space, or have the quota raised; the next run goes on by itself"
	case strings.Contains(text, "read-only file system"):
		p.short, p.what = "disk read-only, look at it", "the file system is mounted read-only"
		p.todo = "see dmesg for why; a disk that fails is mounted so to save what is on it"
	}
	return p
}

// span is how long something lasts, in the one unit that fits.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return "less than a minute"
	case d < time.Hour:
		return plural(int(d/time.Minute), "minute")
	case d < 2*day:
		return plural(int(d/time.Hour), "hour")
	case d == 7*day:
		return "a week"
	}
	return plural(int(d/day), "day")
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// maxDetails bounds how much of an error a message shows.
const maxDetails = 1500

// oneLine is s with everything escaped that is not for reading: text of servers may be in it.
func oneLine(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		if b.Len() > maxDetails {
			b.WriteString("…")
			break
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n <= 1 || !unicode.IsPrint(r) {
			q := strconv.Quote(s[i : i+n])
			b.WriteString(q[1 : len(q)-1])
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// trial is the message of a test.
func trial(host string, at time.Time) Message {
	return Message{Event: Trial, At: at, Host: host, Subject: "popfetchd: a test, nothing is wrong",
		Text: "This is how popfetchd on " + host + " tells you when something is wrong.\nNothing is. Somebody ran: popfetchd alert test\n"}
}
