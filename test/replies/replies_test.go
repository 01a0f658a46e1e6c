package replies

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/popsim"
	providers "github.com/popfetchd/popfetchd/internal/provider"
)

// The exit codes: somebody has to do something, or time will do it.
const (
	refused   = 77
	temporary = 75
)

// place is where a reply comes: how the program logs in, and what is answered with it.
type place struct{ auth, command string }

var (
	atPASS  = place{"user", "LOGIN"}
	atPLAIN = place{"plain", "LOGIN"}
	atToken = place{"xoauth2", "LOGIN"} // without a challenge before it
	hello   = place{"plain", "CONNECT"}

	logins    = []place{atPASS, atPLAIN, atToken}
	stat      = []place{{"user", "STAT"}, {"plain", "STAT"}, {"xoauth2", "STAT"}}
	inSession = []place{{"plain", "LIST"}, {"plain", "UIDL"}, {"plain", "RETR"}, {"xoauth2", "RETR"}}
	anywhere  = append(append([]place{hello}, logins...), append(stat, inSession...)...)
	passwords = []place{atPASS, atPLAIN}
)

// reply is a row: the server's line, what it means as the user is told, and when the next attempt is made.
type reply struct {
	provider, says string // without "-ERR "
	where          []place
	means, page    string // means: how the sentence begins
	does           providers.Behaviour
}

const (
	popPage      = "https://support.google.com/mail/answer/7104828"
	secretPage   = "https://support.google.com/accounts/answer/185833"
	blockedPage  = "https://support.google.com/mail/answer/78754"
	statusPage   = "https://www.google.com/appsstatus/dashboard/"
	outlookPage  = "https://support.microsoft.com/office/pop-imap-and-smtp-settings-for-outlook-com-d088b986-291d-42b8-9564-9c414e2aa040"
	zohoPage     = "https://www.zoho.com/mail/help/pop-access.html"
	permanent    = providers.Permanent
	passes       = providers.Temporary
	overQuota    = providers.OverQuota
	stillEnables = "We are still working on enabling pop for your account so windowed mode is not available. Try again later or consider using POP3 in recent mode."
)

// rows are the fact sheet's, and what is known of other providers.
var rows = []reply{
	{"gmail", "[AUTH] Username and password not accepted.", passwords, "Gmail knows no such address with this password", secretPage, permanent},
	{"gmail", "[AUTH] Application-specific password required: " + secretPage, passwords, "Gmail was given the account's normal password", secretPage, permanent},
	{"gmail", "[AUTH] Web login required: " + blockedPage, append(logins, inSession...), "Gmail has blocked this sign-in", blockedPage, permanent},
	{"gmail", "[AUTH] Web login required: http://support.google.com/mail/bin/answer.py?answer=78754", logins, "Gmail has blocked this sign-in", blockedPage, permanent},
	{"gmail", "[SYS/PERM] Your account is not enabled for POP access. Please visit your Gmail settings page and enable your account for POP access.",
		anywhere, "Gmail has POP switched off for this account", popPage, permanent},
	{"gmail", "[SYS/PERM] POP access is disabled for your domain.", append(logins, stat...), "Gmail has POP switched off for the whole organisation",
		"https://support.google.com/a/answer/105694", permanent},
	{"gmail", "[SYS/TEMP] Temporary system problem. Please try again later.", anywhere, "Gmail has a problem of its own", statusPage, passes},
	{"gmail", "[AUTH] Account exceeded pop command or bandwidth limits (Failure)", anywhere, "Gmail has suspended POP for this account", popPage, overQuota},
	{"gmail", "Account exceeded POP command or bandwidth limits", logins, "Gmail has suspended POP for this account", popPage, overQuota},
	{"gmail", "Exceeded the login limit...", logins, "Gmail counts too many logins", popPage, overQuota},
	{"gmail", "[AUTH] Exceeded the login limit for a 15 minute period. Reduce the frequency of requests to the POP3 server.", logins,
		"Gmail counts too many logins", popPage, overQuota},
	{"gmail", "[AUTH] Lockdown in sector 4", logins, "Gmail has suspended this account", popPage, overQuota},
	{"gmail", "[AUTH] Invalid credentials.", []place{atToken}, "Gmail no longer takes the token", "https://myaccount.google.com/connections", permanent},
	{"gmail", "[SYS/TEMP] " + stillEnables, append(logins, stat...), "Gmail is still applying a change", popPage, passes},
	{"gmail", stillEnables, append(logins, stat...), "Gmail is still applying a change", popPage, passes},
	{"gmail", "[IN-USE] Mailbox is in use by another session.", logins, "Gmail says that another program", popPage, passes},
	{"gmail", "[LOGIN-DELAY] Minimum time between logins has not passed.", logins, "Gmail wants more time between two logins", popPage, passes},

	{"outlook", "Basic authentication is disabled.", []place{atToken}, "Microsoft takes no passwords",
		"https://learn.microsoft.com/exchange/client-developer/legacy-protocols/how-to-authenticate-an-imap-pop-smtp-application-by-using-oauth", permanent},
	{"outlook", "Protocol error. Connection is closed. 10", []place{atToken}, "Microsoft's server broke off", outlookPage, passes},
	{"outlook", "Server Unavailable. 21", []place{atToken, {"xoauth2", "STAT"}, {"xoauth2", "RETR"}}, "Microsoft's server is busy", "https://portal.office.com/servicestatus", passes},
	{"outlook", "Authentication failure: unknown user name or bad password.", []place{atToken}, "Microsoft refuses this sign-in", outlookPage, permanent},
	{"outlook", "Logon failure: unknown user name or bad password.", []place{atToken}, "Microsoft refuses this sign-in", outlookPage, permanent},
	{"yahoo", "[AUTH] (#AUTH005) Too many bad auth attempts.", passwords, "Yahoo has locked this account's logins", "https://help.yahoo.com/kb/SLN15241.html", overQuota},
	{"yahoo", "[AUTH] Invalid credentials", passwords, "Yahoo refuses this user name and password", "https://help.yahoo.com/kb/SLN15241.html", permanent},
	{"aol", "[AUTH] Invalid credentials", passwords, "AOL refuses this user name and password",
		"https://help.aol.com/articles/Create-and-manage-app-password", permanent},
	{"gmx", "authentication failed", passwords, "GMX refuses this login", "https://hilfe.gmx.net/pop-imap/einschalten.html", permanent},
	{"web.de", "authentication failed", passwords, "WEB.DE refuses this login", "https://hilfe.web.de/pop-imap/einschalten.html", overQuota},
	{"t-online", "Toid authentication disabled.", passwords, "T-Online wants the password for mail programs",
		"https://www.telekom.de/hilfe/apps-dienste/e-mail/programme/passwort-definition", permanent},
	{"fastmail", "[AUTH] Invalid login", passwords, "Fastmail refuses this login", "https://www.fastmail.help/hc/en-us/articles/1500000279921", permanent},
	{"zoho", "POP access blocked due to excessive usage. Please try again after sometime.", append(passwords, place{"plain", "RETR"}), "Zoho has blocked POP",
		"https://help.zoho.com/portal/en/community/topic/pop-access-blocked-due-to-excessive-usage", permanent},
	{"zoho", "You are yet to enable POP for your account. Please contact your administrator", passwords, "Zoho has POP switched off", zohoPage, permanent},
	{"zoho", "Invalid credentials(Failure)", passwords, "Zoho refuses this user name and password", zohoPage, permanent},
}

// TestReplies plays every row at every place. In mid-session the first message still comes.
func TestReplies(t *testing.T) {
	for _, row := range rows {
		for _, at := range row.where {
			t.Run(fmt.Sprintf("%s,%s,%s,%.30s", row.provider, at.auth, at.command, row.says), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, row.provider, at.auth)
				w.server.SetFault(w.count(func(r popsim.Request) popsim.Action {
					if r.Command != at.command || r.Command == "RETR" && r.Message == 1 {
						return popsim.Action{}
					}
					return popsim.Refuse(row.says)
				}))
				w.suffers(row, at)
			})
		}
	}
}

// suffers goes through a trouble to its end.
func (w *world) suffers(row reply, at place) {
	w.Helper()
	code := refused
	if row.does != permanent {
		code = temporary
	}
	o, dials := w.visit()
	if o.Code != code {
		w.Errorf("exit code %d, want %d", o.Code, code)
	}
	if dials > 2 || dials > 1 && (at != atToken || row.does != permanent) { // a token is replaced once
		w.Errorf("%d calls", dials)
	}
	w.says(o.Stderr, row)
	if stored := len(w.program.Stored(w)); at.command == "RETR" && stored != 1 || at.command != "RETR" && stored != 0 {
		w.Errorf("%d messages stored", stored)
	}
	switch row.does {
	case permanent:
		w.isHeld(row, code, 24*time.Hour, ledger.LoginRefused)
	case overQuota:
		w.isHeld(row, code, time.Hour, ledger.OverQuota)
		w.pass(time.Hour + time.Second)
		w.visit()
		w.isHeld(row, code, 2*time.Hour, ledger.OverQuota)
		w.pass(2*time.Hour + time.Second)
	default:
		if h := w.hold(); !h.IsZero() {
			w.Errorf("held, though it passes: %+v", h)
		}
		if o, dials := w.visit(); o.Code != code || dials == 0 {
			w.Errorf("again: exit code %d, %d calls", o.Code, dials)
		}
	}
	w.server.SetFault(w.count(nil))
	if row.does == permanent {
		w.pass(24*time.Hour + time.Second)
	}
	w.fetchesAll()
}

// isHeld holds that the server is left alone for a time, and not a moment less.
func (w *world) isHeld(row reply, code int, wait time.Duration, reason ledger.HoldReason) {
	w.Helper()
	h := w.hold()
	if got := h.Until.Sub(h.Since); h.Reason != reason || got < wait || got > wait+time.Second {
		w.Errorf("held for %s (%s), want %s", got, h.Reason, wait)
	}
	w.pass(wait - time.Minute)
	w.says(w.leftAlone(code).Stderr, row)
	w.pass(-wait + time.Minute)
}

// says holds that the user is told in one line what is wrong: in one sentence, with the address of one page.
func (w *world) says(stderr string, row reply) {
	w.Helper()
	preset, _ := providers.Named(row.provider)
	code, text := "", row.says
	if strings.HasPrefix(text, "[") {
		code, text, _ = strings.Cut(text[1:], "] ")
	}
	known, found := preset.Advise(code, text)
	if !found || !strings.HasPrefix(known.Means, row.means) || known.Page != row.page {
		w.Fatalf("%s is taken for %+v", row.says, known)
	}
	if strings.Count(stderr, "\n") != 1 || strings.Count(stderr, known.For("joe")) != 1 || strings.Count(stderr, row.page) != 1 {
		w.Errorf("one line with one sentence and one page is wanted, not\n%s", stderr)
	}
	if strings.Contains(stderr, "the next run goes on from here") {
		w.Errorf("said twice that it goes on by itself:\n%s", stderr)
	}
	if n := strings.Count(stderr, "popfetchd retry"); n > 1 && !strings.Contains(known.Means, "retry") || n > 2 {
		w.Errorf("said %d times how to try again:\n%s", n, stderr)
	}
}

// What comes as success is one of the replies, too: an empty mailbox is believed as little as it is settled for.
func TestSeemsEmpty(t *testing.T) {
	row := reply{provider: "gmail", says: strings.TrimPrefix(popsim.SeemsEmpty, "+OK "), means: "Gmail has a problem of its own and shows an empty mailbox",
		page: statusPage, does: passes}
	for _, at := range logins {
		t.Run(at.auth, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "gmail", at.auth)
			w.server.SetFault(w.count(popsim.On("LOGIN", 0, popsim.SeemEmpty(popsim.SeemsEmpty))))
			w.suffers(row, at)
		})
	}
	for _, command := range []string{"STAT", "LIST", "UIDL"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "gmail", "plain")
			w.server.SetFault(w.count(popsim.On(command, 0, popsim.Status(popsim.SeemsEmpty))))
			w.suffers(row, place{"plain", command})
		})
	}
}

// A token that is refused, by a challenge that begins as success does, is replaced once; then only signing in helps, and that
// lets the program log in again at once.
func TestTokenRefused(t *testing.T) {
	for _, provider := range []string{"gmail", "outlook"} {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			row := reply{provider: "gmail", says: popsim.InvalidCredentials, means: "Gmail no longer takes the token", page: "https://myaccount.google.com/connections"}
			if provider == "outlook" {
				row = reply{provider: "outlook", says: popsim.BadToken, means: "Microsoft refuses this sign-in", page: outlookPage}
			}
			w := newWorld(t, provider, "xoauth2")
			w.refused.Store(true)
			o, dials := w.visit()
			if o.Code != refused || dials != 2 || w.signIn.Asked("/token") != 1 {
				t.Errorf("exit code %d, %d calls, %d refreshes", o.Code, dials, w.signIn.Asked("/token"))
			}
			w.says(o.Stderr, row)
			if status := strings.Contains(o.Stderr, "token refused with status 400: "); status != (provider == "gmail") {
				t.Errorf("what the challenge said:\n%s", o.Stderr)
			}
			w.isHeld(row, refused, 24*time.Hour, ledger.LoginRefused)
			if w.signIn.Asked("/token") != 1 {
				t.Error("tokens were asked for while held")
			}
			w.refused.Store(false)
			w.login()
			w.fetchesAll()
		})
	}
}

// The sign-in itself has ended: nobody asks Google or the server again before there is another one.
func TestSignInEnded(t *testing.T) {
	w := newWorld(t, "gmail", "xoauth2")
	w.signIn.RevokeAll()
	w.visit() // the token is refused, and so is its refresh
	o, dials := w.visit()
	if line := o.Stderr; o.Code != refused || dials != 0 || strings.Count(line, "\n") != 1 || strings.Count(line, "sign in again: popfetchd login joe") != 1 ||
		strings.Count(line, "invalid_grant") != 1 {
		t.Errorf("exit code %d, %d calls:\n%s", o.Code, dials, line)
	}
	if h := w.hold(); h.Reason != ledger.SignIn || h.Until.Sub(h.Since) < 24*time.Hour || w.signIn.Asked("/token") != 1 {
		t.Errorf("%+v, %d refreshes", h, w.signIn.Asked("/token"))
	}
	w.login()
	w.fetchesAll()
}

// A session that ends with its token, by a line and the end of the connection, costs nothing that has come, and another one goes
// on at once: with the first message to come, or the second.
func TestSessionExpires(t *testing.T) {
	for _, pipelining := range []bool{true, false} {
		for message := range 2 {
			t.Run(fmt.Sprint(pipelining, message), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, "gmail", "xoauth2")
				w.account.Gmail.Knobs.NoPipelining = !pipelining
				var once sync.Once
				w.server.SetFault(w.count(func(r popsim.Request) (a popsim.Action) {
					if r.Command == "RETR" && r.Message == message+1 {
						once.Do(func() {
							w.signIn.Expire()
							a = popsim.Refuse(popsim.SessionExpired)
						})
					}
					return a
				}))
				w.brokeOff = message
				w.fetchesAll()
				if n := w.dials.Load(); n != 4 { // the second is refused with the old token, and the last one finds nothing new
					t.Errorf("%d calls", n)
				}
			})
		}
	}
}

// Where sessions expire before anything comes, there are three of them, and then the run has failed.
func TestSessionsExpireAtOnce(t *testing.T) {
	for _, at := range inSession {
		t.Run(at.auth+","+at.command, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "gmail", at.auth)
			w.server.SetFault(w.count(func(r popsim.Request) popsim.Action {
				if r.Command == at.command {
					return popsim.Refuse(popsim.SessionExpired)
				}
				return popsim.Action{}
			}))
			for range 2 { // it is no reason to wait
				o, dials := w.visit()
				if o.Code != temporary || dials != 3 {
					t.Errorf("exit code %d, %d calls", o.Code, dials)
				}
				w.says(o.Stderr, reply{provider: "gmail", says: popsim.SessionExpired, means: "Gmail has ended the session",
					page: "https://developers.google.com/workspace/gmail/imap/imap-smtp"})
			}
			w.server.SetFault(w.count(nil))
			w.fetchesAll()
		})
	}
}

// What lifts a hold: another password, another user name, whatever else the file says of the account, and retry. A file that is
// only written anew lifts none.
func TestWhatLiftsAHold(t *testing.T) {
	for name, mend := range map[string]func(w *world){
		"password_file": func(w *world) { w.write("secret", "ponmlkjihgfedcba\n"); w.account.ChangePassword("ponmlkjihgfedcba") },
		"username":      func(w *world) { w.change("username: "+username, "username: Joe@example.org") },
		"auth":          func(w *world) { w.change("auth: plain", "auth: user") },
		"maildir":       func(w *world) { w.program.Mailbox += "2"; w.change("maildir: ", "maildir: "+w.program.Mailbox) },
		"retry":         func(w *world) { w.program.Must(w, "retry", "joe") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "gmail", "plain")
			w.server.SetFault(w.count(popsim.On("LOGIN", 0, popsim.Refuse(popsim.BadPassword))))
			w.visit()
			w.configure()
			w.write("secret", password+"\n")
			w.leftAlone(refused)
			w.server.SetFault(w.count(nil))
			w.leftAlone(refused)
			mend(w)
			w.fetchesAll()
		})
	}
}

// change puts a line of the configuration in the place of the one that begins so.
func (w *world) change(begins, line string) {
	w.Helper()
	for i := range w.lines {
		if strings.HasPrefix(w.lines[i], begins) {
			w.lines[i] = line
		}
	}
	w.configure()
}

// Over its limits an account is left alone for an hour, doubling to a day, whatever else is tried meanwhile; a success begins anew.
func TestOverQuotaDoubles(t *testing.T) {
	w := newWorld(t, "gmail", "plain")
	exceeded := w.count(popsim.On("LOGIN", 0, popsim.Refuse(popsim.Exceeded)))
	for _, waits := range [][]time.Duration{{1, 2, 4, 8, 16, 24, 24}, {1, 2}} {
		w.server.SetFault(exceeded)
		for i, hours := range waits {
			if o, dials := w.visit(); o.Code != temporary || dials != 1 {
				t.Fatalf("exit code %d, %d calls\n%s", o.Code, dials, o.Stderr)
			}
			h := w.hold()
			if got := h.Until.Sub(h.Since).Round(time.Minute); got != hours*time.Hour {
				t.Errorf("held for %s, want %dh", got, hours)
			}
			w.write("secret", fmt.Sprintf("%s\n", password[1:]+string(rune('a'+i)))) // another password does not help here
			w.leftAlone(temporary)
			w.write("secret", password+"\n")
			w.pass(hours*time.Hour + time.Second)
		}
		w.server.SetFault(w.count(nil))
		w.fetchesAll()
	}
}
