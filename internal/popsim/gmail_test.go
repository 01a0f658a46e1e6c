package popsim_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/popsim"
)

const joe = "joe@example.org"

// today is the clock's time at the start of each test here.
var today = time.Date(2026, time.June, 1, 12, 0, 0, 0, time.UTC)

// clock is set by hand.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time        { return today.Add(time.Duration(c.offset.Load())) }
func (c *clock) pass(by time.Duration) { c.offset.Add(int64(by)) }

// gmail starts a server with joe's Gmail account.
func gmail(t *testing.T, box popsim.GmailBox, c popsim.Config, messages ...popsim.Message) (*popsim.Server, *popsim.Account, *clock) {
	t.Helper()
	clock := &clock{}
	box.Now = clock.now
	account := &popsim.Account{Username: joe, Password: "open sesame", Gmail: &box}
	for _, m := range messages {
		account.Deliver(m)
	}
	c.Mode, c.Accounts = popsim.NoTLS, []*popsim.Account{account}
	server, err := popsim.Start("127.0.0.1:0", c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server, account, clock
}

// mail is a message that arrived some days ago.
func mail(uid string, age int, change ...func(*popsim.Message)) popsim.Message {
	m := popsim.Message{UID: uid, Received: today.AddDate(0, 0, -age), Body: []byte("Subject: " + uid + "\r\n\r\n" + uid + "\r\n"), Unread: true}
	for _, f := range change {
		f(&m)
	}
	return m
}

func thread(name string) func(*popsim.Message) { return func(m *popsim.Message) { m.Thread = name } }

func labels(l popsim.Labels) func(*popsim.Message) { return func(m *popsim.Message) { m.Labels = l } }

func smtp(m *popsim.Message) { m.ViaSMTP, m.Labels, m.Unread = true, popsim.InSent, false }

// as logs in under a name and says how it was answered.
func as(t *testing.T, server *popsim.Server, user string) *client {
	t.Helper()
	c := clear(t, server)
	c.expect("+OK")
	c.do("USER "+user, "+OK send PASS")
	c.do("PASS open sesame", "+OK")
	return c
}

// listed are the UIDs of a new session, which it ends with QUIT.
func listed(t *testing.T, server *popsim.Server, user string) string {
	t.Helper()
	c := as(t, server, user)
	uids := c.uids()
	c.do("QUIT", "+OK Farewell.")
	return uids
}

// uids are those that UIDL gives, with a blank between.
func (c *client) uids() string {
	c.t.Helper()
	var uids []string
	for i, line := range c.lines("UIDL") {
		uid, ok := strings.CutPrefix(line, fmt.Sprint(i+1, " "))
		if !ok {
			c.t.Errorf("line %d of UIDL: %q", i+1, line)
		}
		uids = append(uids, uid)
	}
	return strings.Join(uids, " ")
}

// retr reads messages.
func (c *client) retr(numbers ...int) {
	c.t.Helper()
	for _, n := range numbers {
		c.do(fmt.Sprint("RETR ", n), "+OK message follows")
		c.body()
	}
}

// cut ends the connection without QUIT, and waits until the server has seen it.
func (c *client) cut(server *popsim.Server) {
	c.t.Helper()
	server.SetFault(popsim.On("NOOP", 0, popsim.HangUp()))
	c.send("NOOP\r\n")
	c.gone()
	server.SetFault(nil)
}

func wantListed(t *testing.T, server *popsim.Server, user, want string) {
	t.Helper()
	if got := listed(t, server, user); got != want {
		t.Errorf("%s: listed %q, want %q", user, got, want)
	}
}

// A window holds what is not popped of the oldest conversations, the next session the next window.
func TestWindow(t *testing.T) {
	all := []popsim.Message{ // delivered in disorder: the order is by arrival
		mail("d", 5), mail("a", 9, thread("x")), mail("b", 8), mail("f", 3, thread("x")), mail("c", 7, thread("y")), mail("e", 4, thread("y")),
	}
	for _, tt := range []struct {
		name    string
		box     popsim.GmailBox
		windows []string
	}{
		{"of two", popsim.GmailBox{Window: 2}, []string{"a b f", "c d e", ""}},
		{"of three", popsim.GmailBox{Window: 3}, []string{"a b c e f", "d", ""}},
		{"as it comes", popsim.GmailBox{}, []string{"a b c d e f", ""}},
		{"cut", popsim.GmailBox{Window: 2, Knobs: popsim.Knobs{WindowCuts: true}}, []string{"a b", "c d e", "f", ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, account, _ := gmail(t, tt.box, popsim.Config{}, all...)
			for _, want := range tt.windows {
				wantListed(t, server, joe, want) // nothing retrieved: the same window for ever
				c := as(t, server, joe)
				if got := c.uids(); got != want {
					t.Fatalf("listed %q, want %q", got, want)
				}
				for i := range strings.Fields(want) {
					c.retr(i + 1)
				}
				c.do("QUIT", "+OK Farewell.")
			}
			if c := account.Counts(); c.Popped != 6 || c.Waiting != 0 || c.Inbox != 6 {
				t.Errorf("%+v", c)
			}
		})
	}
}

func TestDefaultWindow(t *testing.T) {
	server, account, _ := gmail(t, popsim.GmailBox{}, popsim.Config{})
	for i := range 260 {
		for range 2 {
			account.Deliver(mail("", 20, thread(fmt.Sprint(i))))
		}
	}
	as(t, server, joe).do("STAT", "+OK 500 ")
}

// What retrieval and the end of the session come to, with every knob.
func TestPopped(t *testing.T) {
	quit := func(c *client, _ *popsim.Server) { c.do("QUIT", "+OK") }
	for _, tt := range []struct {
		name  string
		knobs popsim.Knobs
		user  string
		do    func(c *client, server *popsim.Server)
		end   func(c *client, server *popsim.Server)
		left  string // listed afterwards
	}{
		{"nothing retrieved", popsim.Knobs{}, joe, func(c *client, _ *popsim.Server) {}, quit, "a b c"},
		{"retrieved", popsim.Knobs{}, joe, func(c *client, _ *popsim.Server) { c.retr(1, 3) }, quit, "b"},
		{"no QUIT", popsim.Knobs{}, joe, func(c *client, _ *popsim.Server) { c.retr(1, 3) }, (*client).cut, "a b c"},
		{"popped at RETR", popsim.Knobs{PopOnRETR: true}, joe, func(c *client, _ *popsim.Server) { c.retr(2) }, (*client).cut, "a c"},
		{"cut in a body", popsim.Knobs{}, joe, cutInBody, nil, "a b c"},
		{"popped at RETR, cut in a body", popsim.Knobs{PopOnRETR: true}, joe, cutInBody, nil, "a c"},
		{"TOP", popsim.Knobs{}, joe, top, quit, "a b c"},
		{"TOP pops", popsim.Knobs{TopPops: true}, joe, top, quit, "b c"},
		{"TOP pops, no QUIT", popsim.Knobs{TopPops: true}, joe, top, (*client).cut, "a b c"},
		{"RSET", popsim.Knobs{}, joe, rset, quit, "c"},
		{"RSET undoes", popsim.Knobs{RsetUndoesRetr: true}, joe, rset, quit, "a c"},
		{"DELE alone", popsim.Knobs{}, joe, dele, quit, "a c"},
		{"DELE alone, no QUIT", popsim.Knobs{}, joe, dele, (*client).cut, "a b c"},
		{"DELE is ignored", popsim.Knobs{DeleEffect: popsim.DeleIgnored}, joe, dele, quit, "a b c"},
		{"recent", popsim.Knobs{}, "recent:" + joe, func(c *client, _ *popsim.Server) { c.retr(1, 2, 3) }, quit, "a b c"},
		{"recent pops", popsim.Knobs{RecentPops: true}, "recent:" + joe, func(c *client, _ *popsim.Server) { c.retr(1, 3) }, quit, "b"},
		{"QUIT is cut", popsim.Knobs{}, joe, func(c *client, _ *popsim.Server) { c.retr(1) }, quitWith(popsim.HangUp()), "a b c"},
		{"QUIT's answer is lost", popsim.Knobs{}, joe, func(c *client, _ *popsim.Server) { c.retr(1) }, quitWith(popsim.HangUpUnanswered()), "b c"},
		{"QUIT is refused", popsim.Knobs{}, joe, func(c *client, _ *popsim.Server) { c.retr(1) }, quitWith(popsim.Refuse("no")), "a b c"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, _, _ := gmail(t, popsim.GmailBox{Knobs: tt.knobs}, popsim.Config{}, mail("a", 3), mail("b", 2), mail("c", 1))
			c := as(t, server, tt.user)
			tt.do(c, server)
			if tt.end != nil {
				tt.end(c, server)
			}
			wantListed(t, server, joe, tt.left)
		})
	}
}

func cutInBody(c *client, server *popsim.Server) {
	server.SetFault(popsim.On("RETR", 2, popsim.HangUpInBody(5)))
	c.do("RETR 2", "+OK")
	for {
		if _, err := c.r.ReadByte(); err != nil {
			break
		}
	}
	server.SetFault(nil)
}

func top(c *client, _ *popsim.Server) {
	c.do("TOP 1 99999999", "+OK message follows")
	c.body()
}

// rset leaves message 1 retrieved before RSET and message 2 after it.
func rset(c *client, _ *popsim.Server) {
	c.retr(1)
	c.do("RSET", "+OK")
	c.retr(2)
}

func dele(c *client, _ *popsim.Server) {
	c.do("DELE 2", "+OK marked for deletion")
	c.do("RETR 2", "-ERR")
	c.do("STAT", "+OK 2 ")
}

func quitWith(a popsim.Action) func(*client, *popsim.Server) {
	return func(c *client, server *popsim.Server) {
		server.SetFault(popsim.On("QUIT", 0, a))
		c.send("QUIT\r\n")
		for {
			if _, err := c.r.ReadByte(); err != nil {
				break
			}
		}
		server.SetFault(nil)
	}
}

// where says it in short.
func where(m popsim.Message) string {
	var parts []string
	for _, l := range []struct {
		label popsim.Labels
		name  string
	}{
		{popsim.InInbox, "inbox"}, {popsim.InSent, "sent"}, {popsim.InSpam, "spam"}, {popsim.InTrash, "trash"},
		{popsim.InChats, "chats"}, {popsim.InDrafts, "drafts"}, {popsim.Archived, "archive"},
	} {
		if m.Labels.Has(l.label) {
			parts = append(parts, l.name)
		}
	}
	if m.Unread {
		parts = append(parts, "unread")
	}
	if m.Popped {
		parts = append(parts, "popped")
	}
	return strings.Join(parts, " ")
}

// The disposition acts on what was retrieved, DELE or not; what DELE does beyond that is a knob.
func TestDisposition(t *testing.T) {
	for _, tt := range []struct {
		disposition popsim.Disposition
		dele        popsim.DeleEffect
		want        [4]string // retrieved; retrieved and deleted; deleted; neither
	}{
		{"", "", [4]string{"inbox unread popped", "inbox unread popped", "inbox unread popped", "inbox unread"}},
		{popsim.MarkRead, "", [4]string{"inbox popped", "inbox popped", "inbox unread popped", "inbox unread"}},
		{popsim.Archive, "", [4]string{"archive unread popped", "archive unread popped", "inbox unread popped", "inbox unread"}},
		{popsim.Trash, "", [4]string{"trash unread popped", "trash unread popped", "inbox unread popped", "inbox unread"}},
		{popsim.Archive, popsim.DeleIgnored, [4]string{"archive unread popped", "archive unread popped", "inbox unread", "inbox unread"}},
		{popsim.Archive, popsim.DeleDisposes, [4]string{"archive unread popped", "archive unread popped", "archive unread popped", "inbox unread"}},
		{popsim.LeaveInInbox, popsim.DeleTrashes, [4]string{"inbox unread popped", "trash unread popped", "trash unread popped", "inbox unread"}},
	} {
		t.Run(fmt.Sprintf("%s,DELE:%s", tt.disposition, tt.dele), func(t *testing.T) {
			box := popsim.GmailBox{Disposition: tt.disposition, Knobs: popsim.Knobs{DeleEffect: tt.dele}}
			server, account, _ := gmail(t, box, popsim.Config{}, mail("a", 4), mail("b", 3), mail("c", 2), mail("d", 1))
			c := as(t, server, joe)
			c.retr(1, 2)
			c.do("DELE 2", "+OK")
			c.do("DELE 3", "+OK")
			c.do("QUIT", "+OK")
			for i, m := range account.Messages() {
				if got := where(m); got != tt.want[i] {
					t.Errorf("message %s: %s, want %s", m.UID, got, tt.want[i])
				}
			}
		})
	}
}

// A sent message has no inbox to be archived from; a message that was archived already stays so.
func TestArchiveWhatIsNotInTheInbox(t *testing.T) {
	server, account, _ := gmail(t, popsim.GmailBox{Disposition: popsim.Archive}, popsim.Config{},
		mail("a", 3, labels(popsim.InSent)), mail("b", 2, labels(popsim.Archived)), mail("c", 1, labels(popsim.InSent|popsim.InInbox)))
	c := as(t, server, joe)
	c.retr(1, 2, 3)
	c.do("QUIT", "+OK")
	var got []string
	for _, m := range account.Messages() {
		got = append(got, where(m))
	}
	if want := []string{"sent unread popped", "archive unread popped", "sent unread popped"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What lies where is listed or not; recent mode sees also what was popped, but nothing that is older than 30 days.
func TestListedByPlace(t *testing.T) {
	all := []popsim.Message{
		mail("old", 31), mail("in", 9), mail("archived", 8, labels(popsim.Archived)), mail("sent", 7, labels(popsim.InSent)), mail("smtp", 6, smtp),
		mail("spam", 5, labels(popsim.InSpam)), mail("trash", 4, labels(popsim.InTrash)), mail("chat", 3, labels(popsim.InChats)),
		mail("draft", 2, labels(popsim.InDrafts)), mail("popped", 1, func(m *popsim.Message) { m.Popped = true }),
	}
	for _, tt := range []struct {
		name           string
		knobs          popsim.Knobs
		normal, recent string
	}{
		{"as it leans", popsim.Knobs{}, "old in archived sent", "in archived sent smtp popped"},
		{"drafts", popsim.Knobs{ListDrafts: true}, "old in archived sent draft", "in archived sent smtp draft popped"},
		{"a window in recent mode", popsim.Knobs{RecentWindow: 2}, "old in archived sent", "smtp popped"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, account, _ := gmail(t, popsim.GmailBox{Knobs: tt.knobs}, popsim.Config{}, all...)
			var offered []string
			for _, m := range account.Offered() {
				offered = append(offered, m.UID)
			}
			if got := strings.Join(offered, " "); got != tt.normal {
				t.Errorf("offered %q, want %q", got, tt.normal)
			}
			wantListed(t, server, joe, tt.normal)
			wantListed(t, server, "Recent:"+joe, tt.recent)
			if c := account.Counts(); c.Inbox != 3 || c.Archived != 1 || c.Sent != 2 || c.Spam != 1 || c.Trash != 1 || c.Unread != 3 || c.Popped != 2 {
				t.Errorf("%+v", c)
			}
		})
	}
}

// What was handed out once stays among what is offered, wherever the disposition has put it.
func TestOffered(t *testing.T) {
	server, account, _ := gmail(t, popsim.GmailBox{Disposition: popsim.Trash}, popsim.Config{}, mail("a", 3), mail("b", 2), mail("spam", 1, labels(popsim.InSpam)))
	c := as(t, server, joe)
	c.retr(1)
	c.do("QUIT", "+OK")
	offered := account.Offered()
	if len(offered) != 2 || where(offered[0]) != "trash unread popped" || offered[1].UID != "b" || offered[1].Popped {
		t.Errorf("offered: %v", offered)
	}
	account.Remove("b") // moved to the trash in the browser, say
	if n := len(account.Offered()); n != 1 {
		t.Errorf("%d offered, want 1", n)
	}
}

func TestSaveSettings(t *testing.T) {
	server, account, clock := gmail(t, popsim.GmailBox{}, popsim.Config{}, mail("a", 9), mail("b", 8), mail("smtp", 7, smtp))
	wantSettings := func(access popsim.AccessWindow, d popsim.Disposition) {
		t.Helper()
		if a, b := account.Settings(); a != access || b != d {
			t.Errorf("settings %s, %s, want %s, %s", a, b, access, d)
		}
	}
	wantSettings(popsim.AllMail, popsim.LeaveInInbox)
	c := as(t, server, joe)
	c.retr(1)
	c.do("QUIT", "+OK")
	wantListed(t, server, joe, "b")

	clock.pass(time.Minute)
	account.SaveSettings(popsim.FromNowOn, popsim.MarkRead)
	wantSettings(popsim.FromNowOn, popsim.MarkRead)
	wantListed(t, server, joe, "")
	clock.pass(time.Minute)
	account.Deliver(popsim.Message{UID: "c"})
	wantListed(t, server, joe, "c")
	wantListed(t, server, "recent:"+joe, "a b smtp c")
	account.SaveSettings("", popsim.Archive)
	wantSettings(popsim.FromNowOn, popsim.Archive)

	account.SaveSettings(popsim.AllMail, "")
	wantSettings(popsim.AllMail, popsim.Archive)
	wantListed(t, server, joe, "a b c")
}

func TestRelistSMTP(t *testing.T) {
	server, account, _ := gmail(t, popsim.GmailBox{Knobs: popsim.Knobs{RelistSMTP: true}}, popsim.Config{}, mail("a", 9), mail("smtp", 7, smtp))
	wantListed(t, server, joe, "a")
	account.SaveSettings(popsim.AllMail, "")
	wantListed(t, server, joe, "a smtp")
}

// Two sessions may have the account at once, and both pop.
func TestTwoSessions(t *testing.T) {
	server, account, _ := gmail(t, popsim.GmailBox{}, popsim.Config{LockWait: -1}, mail("a", 3), mail("b", 2), mail("c", 1))
	first, second := as(t, server, joe), as(t, server, joe)
	first.retr(1, 2)
	second.retr(2)
	first.do("QUIT", "+OK Farewell.")
	second.do("STAT", "+OK 3 ")
	second.do("QUIT", "+OK Farewell.")
	wantListed(t, server, joe, "c")
	if n := account.Counts().Popped; n != 2 {
		t.Errorf("%d popped", n)
	}
}

// The knobs that make Gmail stricter, or otherwise spoken.
func TestStrictKnobs(t *testing.T) {
	for _, tt := range []struct {
		name   string
		knobs  popsim.Knobs
		second string // answer to PASS while the first session is there, a moment after its login
		capa   bool   // PIPELINING after login
		stat   string
	}{
		{"none", popsim.Knobs{}, "+OK Welcome.", true, "+OK 1 21"},
		{"one session", popsim.Knobs{InUse: true}, "-ERR [IN-USE] ", true, "+OK 1 21"},
		{"login delay", popsim.Knobs{EnforceLoginDelay: true}, "-ERR [LOGIN-DELAY] ", true, "+OK 1 21"},
		{"no pipelining", popsim.Knobs{NoPipelining: true}, "+OK Welcome.", false, "+OK 1 21"},
		{"sizes with LF", popsim.Knobs{CountLF: true}, "+OK Welcome.", true, "+OK 1 18"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, _, clock := gmail(t, popsim.GmailBox{Knobs: tt.knobs}, popsim.Config{LockWait: -1}, mail("abc", 3))
			first := as(t, server, joe)
			if got := slices.Contains(first.lines("CAPA"), "PIPELINING"); got != tt.capa {
				t.Errorf("PIPELINING: %t", got)
			}
			first.do("STAT", tt.stat)
			second := clear(t, server)
			second.expect("+OK")
			second.do("USER "+joe, "+OK")
			second.do("PASS open sesame", tt.second)
			first.do("QUIT", "+OK")
			clock.pass(5 * time.Minute)
			as(t, server, joe)
		})
	}
}

// Google shows app passwords in groups of four letters.
func TestSpacesInAppPassword(t *testing.T) {
	for _, tt := range []struct {
		knobs popsim.Knobs
		given string
		want  string
	}{
		{popsim.Knobs{}, "opensesame", "+OK"},
		{popsim.Knobs{}, "op en ses ame", "+OK"},
		{popsim.Knobs{}, "open sesam", "-ERR [AUTH] Username and password not accepted."},
		{popsim.Knobs{SpacesRefused: true}, "opensesame", "-ERR [AUTH]"},
	} {
		server, _, _ := gmail(t, popsim.GmailBox{Knobs: tt.knobs}, popsim.Config{})
		c := clear(t, server)
		c.expect("+OK")
		c.do("USER "+joe, "+OK")
		c.do("PASS "+tt.given, tt.want)
	}
}
