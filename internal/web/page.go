package web

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/daemon"
	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/ledger"
)

// page is what page.html shows.
type page struct {
	Now     time.Time
	Clock   string // of Now, with the zone
	Version string
	Token   string
	Mark    string // see mark
	Refresh int    // seconds until a browser without script loads it again; 0: when asked to
	Good    bool
	Verdict string
	Which   []string // some of the accounts that need attention
	Next    string   // the next run of any account
	Totals  string

	Incidents []incident
	Accounts  []account
	Chosen    string // the account that history and mail are of; "" for all
	history
}

// incident is trouble that was told of, or will be.
type incident struct {
	Account, Anchor, Title, Text, Since string
}

// account is one of the file's.
type account struct {
	Name, Anchor   string
	Kind           string // Gmail, or the server
	Mailbox        string
	Rules          string // what happens on the server, and when
	Live           live
	Success        string // how long ago
	SuccessAt      string
	Messages, Size string
	Backlog        string
	Idle           string // what is said of the server where nothing waits on it
	ToDelete       string
	Quota          *quota
	Hold           string // why it is left alone
	Trouble        string // headline of what is wrong; "" when nothing is
	Problem        string // in the words of the error
	HeldBack       int
	Aside          []aside
	MoreAside      int
	LastRun        string
}

// quota is how much of what may be fetched in a day was.
type quota struct {
	Percent int
	Text    string
}

// aside is a message that was given up on until someone looks, or that is to be tried again.
type aside struct {
	UID, Size, Reason, Error, Again string
}

// live is what changes while a run goes on.
type live struct {
	Anchor  string `json:"anchor"`
	State   string `json:"state"` // running, fine, wait, trouble or new
	Word    string `json:"word"`  // of the state
	Text    string `json:"text"`
	Percent int    `json:"percent"` // -1: there is nothing to measure
}

// mostAside is how many messages that were set aside are listed of an account.
const mostAside = 20

// mostWhich is how many accounts are named at the top.
const mostWhich = 6

// anchor is an account's place in the page.
func anchor(name string) string { return "account-" + name }

// gather reads everything the page shows. The query may choose an account, and how often the page is to be loaded again.
func (s *Server) gather(query url.Values) (page, error) {
	now, states := s.Now(), s.States()
	p := page{Now: now, Clock: now.Format("15:04:05 MST"), Version: s.Version, Token: s.token, Mark: mark(states), Next: nextRun(states, now)}
	if seconds, err := strconv.Atoi(query.Get("refresh")); err == nil && seconds > 0 {
		p.Refresh = min(max(seconds, 5), 3600)
	}
	messages, bytes := 0, int64(0)
	for _, state := range states {
		f, err := s.figuresOf(state, now)
		if err != nil {
			return page{}, err
		}
		a := newAccount(state, f, now)
		messages, bytes = messages+f.Messages, bytes+f.Bytes
		p.Accounts = append(p.Accounts, a)
		if a.Name == query.Get("account") {
			p.Chosen = a.Name
		}
	}
	p.Totals = plural(messages, "message") + ", " + size(bytes)
	var err error
	if p.Incidents, err = s.incidents(states, now); err != nil {
		return page{}, err
	}
	p.Good, p.Verdict = p.verdict()
	p.history, err = s.historyOf(p.Chosen, states, now)
	return p, err
}

// verdict says in a line whether somebody has to do something, and notes about which accounts.
func (p *page) verdict() (good bool, text string) {
	troubled := map[string]bool{}
	for _, a := range p.Accounts {
		if a.Trouble != "" {
			troubled[a.Name] = true
		}
	}
	for _, i := range p.Incidents {
		troubled[i.Account] = true
	}
	for _, a := range p.Accounts {
		if troubled[a.Name] && len(p.Accounts) > 1 && len(p.Which) < mostWhich {
			p.Which = append(p.Which, a.Name)
		}
	}
	switch n := len(p.Accounts); {
	case n == 0:
		return true, "Starting"
	case len(troubled) > 0 && (n == 1 || troubled[""]): // the latter is of no account in particular
		return false, "Something needs attention"
	case len(troubled) == 1:
		return false, fmt.Sprintf("1 of %d accounts needs attention", n)
	case len(troubled) > 0:
		return false, fmt.Sprintf("%d of %d accounts need attention", len(troubled), n)
	case n == 1:
		return true, "All is well"
	default:
		return true, fmt.Sprintf("All %d accounts are well", n)
	}
}

// nextRun says which account is fetched next, and when.
func nextRun(states []daemon.State, now time.Time) string {
	var first *daemon.State
	for i, state := range states {
		if !state.Running && !state.Next.IsZero() && (first == nil || state.Next.Before(first.Next)) {
			first = &states[i]
		}
	}
	if first == nil {
		return ""
	}
	return fmt.Sprintf("Next run: %s, %s (%s)", first.Account.Name, until(first.Next, now), moment(first.Next, now))
}

// newAccount puts what the daemon and the ledger know of an account into words.
func newAccount(state daemon.State, f figures, now time.Time) account {
	a := account{
		Name: state.Account.Name, Anchor: anchor(state.Account.Name), Kind: cmp.Or(state.Account.Preset().Title, state.Account.Host),
		Mailbox: state.Account.Mailbox().At(now), Rules: rules(state.Account), Messages: grouped(int64(f.Messages)), Size: size(f.Bytes),
		HeldBack: f.HeldBack, Success: "never", LastRun: lastRun(state, now), Idle: "nothing waiting",
	}
	if !listed(state, f) {
		a.Idle = "not known yet"
	}
	if !f.LastSuccess.IsZero() {
		a.Success, a.SuccessAt = ago(f.LastSuccess, now), moment(f.LastSuccess, now)
	}
	if backlog, more := backlog(state, f); backlog > 0 || more {
		a.Backlog = grouped(int64(backlog))
		if more {
			a.Backlog += "+"
		}
	}
	if f.PendingDelete > 0 {
		a.ToDelete = grouped(int64(f.PendingDelete))
	}
	if limit := state.Account.DailyLimit; limit > 0 {
		a.Quota = &quota{int(min(f.Received*100/limit, 100)), fmt.Sprintf("%s of %s", size(f.Received), size(limit))}
	}
	a.tellTrouble(state, f, now)
	a.Live = newLive(state, now)
	a.Live.State, a.Live.Word = a.state(state, f, now)
	if hold := f.activeHold(now); !state.Running && hold.Until.After(state.Next) {
		a.Live.Text = "left alone until " + moment(hold.Until, now)
	}
	for _, failure := range f.Failures {
		if len(a.Aside) == mostAside {
			a.MoreAside = len(f.Failures) - mostAside
			break
		}
		a.Aside = append(a.Aside, newAside(failure, now))
	}
	return a
}

// tellTrouble says what is wrong, and why nothing is tried.
func (a *account) tellTrouble(state daemon.State, f figures, now time.Time) {
	hold := f.activeHold(now)
	if f.ConsecutiveFailures > 0 {
		a.Trouble, a.Problem = "The last run failed", f.LastError
		if f.ConsecutiveFailures > 1 {
			a.Trouble = fmt.Sprintf("The last %d runs failed", f.ConsecutiveFailures)
		}
		if !f.LastAttempt.IsZero() {
			a.Trouble += ", " + ago(f.LastAttempt, now)
		}
	}
	switch hold.Reason {
	case ledger.LoginRefused:
		a.Trouble = "The server refuses the login"
		a.Hold = "Not tried again before " + moment(hold.Until, now) + ", unless the file or the secret changes. “Fetch” tries it now."
	case ledger.SignIn:
		a.Trouble, a.Hold = "Nobody is signed in", "Run popfetchd login "+a.Name+"."
	case ledger.OverQuota:
		a.Trouble = "The server has suspended the account for a while"
		a.Hold = "Tried again at " + moment(hold.Until, now) + "."
	case ledger.DailyLimit:
		a.Hold = "The daily limit is reached; goes on at " + moment(hold.Until, now) + "."
	}
	if a.Trouble != "" && a.Problem == "" {
		a.Problem = hold.Problem
	}
	if after := state.Account.AlertAfter; a.Trouble == "" && after > 0 && !f.LastSuccess.IsZero() && now.Sub(f.LastSuccess) > after {
		a.Trouble = "No success for " + span(now.Sub(f.LastSuccess))
	}
	a.Problem = visible(a.Problem, 800)
}

// state is the account's state in a word.
func (a *account) state(state daemon.State, f figures, now time.Time) (name, word string) {
	switch {
	case state.Running:
		return "running", "fetching"
	case a.Trouble != "":
		return "trouble", "needs attention"
	case f.activeHold(now).Reason == ledger.DailyLimit:
		return "wait", "daily limit"
	case f.LastSuccess.IsZero():
		return "new", "not fetched yet"
	case f.SetAside > 0 || f.HeldBack > 0:
		return "wait", "have a look"
	}
	return "fine", "well"
}

// backlog is how many messages are known to wait on the server, as far as runs since popfetchd started tell, and whether there may
// be more that the server does not list yet.
func backlog(state daemon.State, f figures) (n int, more bool) {
	if state.Running && state.Progress.Phase == fetch.Retrieving {
		return max(state.Progress.TotalMessages-state.Progress.Messages, 0), state.Progress.More
	}
	return max(state.Last.Failed+state.Last.Left, f.Waiting), false
}

// listed says whether the server has ever told what it has.
func listed(state daemon.State, f figures) bool {
	return !f.LastSuccess.IsZero() || state.Last.Listed > 0 || state.Running && state.Progress.Phase >= fetch.Retrieving
}

// newLive says what an account is doing. Of a state it knows only running.
func newLive(state daemon.State, now time.Time) live {
	l := live{Anchor: anchor(state.Account.Name), State: "running", Word: "fetching", Percent: -1}
	p := state.Progress
	switch {
	case !state.Running && state.Next.IsZero():
		l.Text = "no run is planned yet"
	case !state.Running && !state.Next.After(now):
		l.Text = "waits for its turn"
	case !state.Running:
		l.Text = "next run " + until(state.Next, now) + " (" + moment(state.Next, now) + ")"
	case p.Phase == fetch.Connecting:
		l.Text = "connecting to " + state.Account.Host
	case p.Phase == fetch.Listing:
		l.Text = "asking for the list of messages"
	case p.TotalMessages == 0:
		l.Text = "nothing new"
	case p.Phase == fetch.Deleting:
		l.Text = fmt.Sprintf("deleting %s of %s on the server", grouped(int64(p.Messages)), plural(p.TotalMessages, "message"))
		l.Percent = 100 * p.Messages / p.TotalMessages
	default:
		l.Text = fmt.Sprintf("%s of %s, %s of %s%s", grouped(int64(p.Messages)), plural(p.TotalMessages, "message"), size(p.Bytes), size(p.TotalBytes), remaining(state, now))
		l.Percent = share(p)
	}
	return l
}

// share is how much of a run's mail is here, in percent.
func share(p fetch.Progress) int {
	if p.TotalBytes > 0 {
		return int(min(max(100*p.Bytes/p.TotalBytes, 0), 100))
	}
	return min(100*p.Messages/p.TotalMessages, 100)
}

// remaining guesses how long a run goes on, once there is something to go by.
func remaining(state daemon.State, now time.Time) string {
	p, elapsed := state.Progress, now.Sub(state.Began)
	text := ""
	if rest := p.TotalBytes - p.Bytes; elapsed > 5*time.Second && p.Bytes > 0 && rest > 0 {
		text = ", about " + span(time.Duration(float64(rest)/float64(p.Bytes)*float64(elapsed))) + " left"
	}
	if p.More {
		text += "; more may follow"
	}
	return text
}

// rules says what becomes of the server's copy, and when the account is fetched.
func rules(a config.Account) string {
	text := string(a.Policy)
	if a.Policy == config.Delete {
		text = "deleted on the server once stored"
		if a.DeleteAfter > 0 {
			text = "deleted on the server after " + span(a.DeleteAfter)
		}
	} else if a.Policy == config.Keep {
		text = "kept on the server"
	}
	return text + ", schedule " + a.Schedule.String()
}

// lastRun says what the last run since popfetchd started came to.
func lastRun(state daemon.State, now time.Time) string {
	r := state.Last
	if r.Account == "" || r.Held {
		return ""
	}
	text := fmt.Sprintf("%s: %s listed, %s new, %s stored (%s)", moment(state.LastEnd, now), grouped(int64(r.Listed)), grouped(int64(r.New)), grouped(int64(r.Stored)), size(r.Bytes))
	if r.Deleted > 0 {
		text += ", " + grouped(int64(r.Deleted)) + " deleted on the server"
	}
	return text + ", " + strconv.FormatFloat(r.Took.Seconds(), 'f', 1, 64) + " s"
}

func newAside(f ledger.Failure, now time.Time) aside {
	a := aside{UID: visible(f.UID, 80), Size: size(f.ListedSize), Reason: string(f.Reason), Error: visible(f.Error, 500), Again: "set aside"}
	if f.Reason == ledger.TooLarge {
		a.Again = "left on the server"
	} else if !f.NextAt.IsZero() {
		a.Again = "tried again " + until(f.NextAt, now)
	}
	return a
}

// incidents are those of the accounts that are there, the oldest first.
func (s *Server) incidents(states []daemon.State, now time.Time) ([]incident, error) {
	raised, err := s.Ledger.Incidents()
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(raised, func(a, b ledger.Incident) int { return a.Since.Compare(b.Since) })
	var all []incident
	for _, i := range raised {
		if i.Account != "" && !slices.ContainsFunc(states, func(s daemon.State) bool { return s.Account.Name == i.Account }) {
			continue
		}
		told := ""
		if !i.Told.IsZero() {
			told = ", told " + moment(i.Told, now)
		}
		all = append(all, incident{i.Account, anchor(i.Account), cmp.Or(incidentTitles[i.Kind], i.Kind), visible(i.Text, 1000), "since " + moment(i.Since, now) + told})
	}
	return all, nil
}

// incidentTitles are the kinds of incidents for people.
var incidentTitles = map[string]string{
	"silence": "No success for long", "refused": "Login refused", "sign-in": "Nobody is signed in", "certificate": "Certificate not trusted",
	"disk": "Cannot write mail", "ledger": "The ledger is damaged", "configuration": "The configuration is wrong", "set-aside": "Messages set aside",
	"settings": "Settings at the provider differ",
}
