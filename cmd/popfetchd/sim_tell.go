package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/popfetchd/popfetchd/internal/popsim"
)

// simTeller says what goes on, for people or as JSON.
type simTeller struct {
	app     *app
	account *popsim.Account
	ready   chan struct{} // closed by begin: nothing is said before

	mu sync.Mutex
}

// simStart is the first line of `sim --json`.
type simStart struct {
	Event    string     `json:"event"` // "started"
	Dir      string     `json:"dir"`
	Config   string     `json:"config"`
	Server   string     `json:"server"`
	OAuth    string     `json:"oauth"` // address of the pages for signing in; "" without --oauth
	Username string     `json:"username"`
	Mailbox  simMailbox `json:"mailbox"`
}

// simEvent is each further one.
type simEvent struct {
	Event     string     `json:"event"` // "login", "refused", "end", "settings", "new"
	At        time.Time  `json:"at"`
	Session   int        `json:"session"`
	Username  string     `json:"username"`
	Recent    bool       `json:"recent"`
	Method    string     `json:"method"`
	Answer    string     `json:"answer"` // "refused": the server's
	Listed    int        `json:"listed"`
	Retrieved int        `json:"retrieved"`
	Deleted   int        `json:"deleted"`
	Popped    int        `json:"popped"`
	Quit      bool       `json:"quit"`
	Mailbox   simMailbox `json:"mailbox"`
}

// simMailbox is the mailbox as it is.
type simMailbox struct {
	Access      popsim.AccessWindow `json:"access"`
	Disposition popsim.Disposition  `json:"disposition"`
	Inbox       int                 `json:"inbox"`
	Unread      int                 `json:"unread"`
	Archived    int                 `json:"archived"`
	Sent        int                 `json:"sent"`
	Spam        int                 `json:"spam"`
	Trash       int                 `json:"trash"`
	Popped      int                 `json:"popped"`
	Waiting     int                 `json:"waiting"`
}

func (t *simTeller) mailbox() simMailbox {
	access, disposition := t.account.Settings()
	c := t.account.Counts()
	return simMailbox{access, disposition, c.Inbox, c.Unread, c.Archived, c.Sent, c.Spam, c.Trash, c.Popped, c.Waiting}
}

// text is the mailbox for people.
func (m simMailbox) text() string {
	return fmt.Sprintf("inbox %s (%s unread), archive %s, sent %s, spam %s, trash %s; %s popped, %s still to fetch",
		grouped(int64(m.Inbox)), grouped(int64(m.Unread)), grouped(int64(m.Archived)), grouped(int64(m.Sent)),
		grouped(int64(m.Spam)), grouped(int64(m.Trash)), grouped(int64(m.Popped)), grouped(int64(m.Waiting)))
}

// setting is Gmail's setting in words.
func (m simMailbox) setting() string {
	access := map[popsim.AccessWindow]string{
		popsim.AllMail: "POP is enabled for all mail", popsim.FromNowOn: "POP is enabled for mail that arrives from now on", popsim.Disabled: "POP is disabled",
	}[m.Access]
	return access + "; what is fetched by POP " + m.does()
}

// does is the disposition in words.
func (m simMailbox) does() string {
	return map[popsim.Disposition]string{
		popsim.LeaveInInbox: "stays in the inbox", popsim.MarkRead: "is marked as read",
		popsim.Archive: "is archived", popsim.Trash: "goes to the trash",
	}[m.Disposition]
}

// begin says what there is and what to do with it.
func (t *simTeller) begin(s *simServer, dir, file string, p *simPlan) {
	defer close(t.ready)
	m := t.mailbox()
	start := simStart{Event: "started", Dir: dir, Config: file, Server: s.Addr().String(), Username: simUser, Mailbox: m}
	if s.google != nil {
		start.OAuth = s.google.URL()
	}
	if t.app.json {
		_ = t.app.printJSON(start) // the output remembers its error
		return
	}
	program := programName() + " --config " + shellWord(file)
	t.app.say(`A Gmail account that does not exist, %s, is served at %s, with TLS:
%s in %s.
  %s
Gmail's setting: %s.
`, simUser, start.Server, plural(p.messages, "message"), plural(p.conversations, "conversation"), m.text(), m.setting())
	for _, more := range p.oddities() {
		t.app.say("%s.\n", more)
	}
	t.app.say("\nIn another terminal:\n")
	if s.google != nil {
		t.app.say("  %s login sim\n  %s gmail settings\n", program, program)
	}
	t.app.say(`  %s check --online
  %s --once
  less %s
The mail comes to %s
Ctrl-C ends this. What happens:
`, program, program, shellWord(file), filepath.Join(dir, "Maildir"))
}

// oddities are what is not as usual, in words.
func (p *simPlan) oddities() []string {
	var all []string
	if p.trouble != "" {
		when := "every session"
		switch {
		case p.troubleSessions == 1:
			when = "the first session"
		case p.troubleSessions > 1:
			when = "the first " + plural(p.troubleSessions, "session")
		}
		all = append(all, fmt.Sprintf("Error in %s: %s", when, p.trouble))
	}
	if p.cuts > 0 {
		all = append(all, fmt.Sprintf("The line is cut %s, in the middle of message %d of a session", plural(p.cuts, "time"), p.cutAt))
	}
	if p.server.DailyOctets > 0 {
		all = append(all, fmt.Sprintf("More than %s in 24 hours, and the account is locked for %s", size(p.server.DailyOctets), p.server.Suspension))
	}
	if len(p.knobs) > 0 {
		all = append(all, "Otherwise than usual: "+strings.Join(p.knobs, ", "))
	}
	return all
}

// hear is told of the sessions.
func (t *simTeller) hear(e popsim.Event) {
	event := map[popsim.EventKind]string{popsim.Entered: "login", popsim.Refused: "refused", popsim.Left: "end"}[e.Kind]
	t.tell(simEvent{
		Event: event, Session: e.Session, Username: e.Username, Recent: e.Recent, Method: e.Method, Answer: e.Answer,
		Listed: e.Listed, Retrieved: e.Retrieved, Deleted: e.Deleted, Popped: e.Popped, Quit: e.Quit,
	})
}

// saved is told when Gmail's settings were changed, delivered of new mail.
func (t *simTeller) saved() { t.tell(simEvent{Event: "settings", Username: simUser}) }

func (t *simTeller) delivered() { t.tell(simEvent{Event: "new", Username: simUser}) }

func (t *simTeller) tell(e simEvent) {
	<-t.ready
	t.mu.Lock()
	defer t.mu.Unlock()
	e.At, e.Mailbox = time.Now(), t.mailbox()
	if t.app.json {
		_ = t.app.printJSON(e)
		return
	}
	t.app.say("%s  %s\n", e.At.Format(time.TimeOnly), e.text())
	if e.Event != "login" && e.Event != "refused" {
		t.app.say("          %s\n", e.Mailbox.text())
	}
}

// end is the last word.
func (t *simTeller) end() {
	t.app.say("The account is gone; the mail that was fetched stays.\n")
}

// text is an event in words.
func (e simEvent) text() string {
	session := fmt.Sprintf("session %d: ", e.Session)
	switch {
	case e.Event == "settings":
		return "Gmail's settings were saved: " + e.Mailbox.setting()
	case e.Event == "new":
		return "a new message has come"
	case e.Event == "refused":
		return session + fmt.Sprintf("%s of %q is answered with %s", loginBy(e.Method), e.Username, oneLine(e.Answer))
	case e.Event == "login" && e.Recent:
		return session + loginBy(e.Method) + " in recent mode; " + plural(e.Listed, "message") + " of the last 30 days listed"
	case e.Event == "login":
		return session + fmt.Sprintf("%s; %s listed, of %s still to fetch", loginBy(e.Method), plural(e.Listed, "message"), grouped(int64(e.Mailbox.Waiting)))
	case e.Quit:
		return session + "QUIT after " + e.done()
	default:
		return session + "ends without QUIT after " + e.done()
	}
}

// done is what a session came to.
func (e simEvent) done() string {
	s := plural(e.Retrieved, "message")
	if e.Deleted > 0 {
		s += fmt.Sprintf(", DELE of %s", grouped(int64(e.Deleted)))
	}
	if e.Popped == 0 {
		return s + "; none is popped"
	}
	return s + fmt.Sprintf("; %s popped, and each %s", grouped(int64(e.Popped)), e.Mailbox.does())
}

// loginBy is a way to log in, in words.
func loginBy(method string) string {
	switch method {
	case "AUTH XOAUTH2", "AUTH OAUTHBEARER":
		return "login with a token (" + strings.TrimPrefix(method, "AUTH ") + ")"
	default:
		return "login with a password"
	}
}
