package provider

import (
	"regexp"
	"strings"
	"testing"
)

// said takes a status line apart as the protocol does.
var said = regexp.MustCompile(`^(?:-ERR|\+OK) (?:\[([A-Z/-]+)\] )?(.*)$`)

const (
	popPage     = "https://support.google.com/mail/answer/7104828"
	secretPage  = "https://support.google.com/accounts/answer/185833"
	statusPage  = "https://www.google.com/appsstatus/dashboard/"
	sessionPage = "https://developers.google.com/workspace/gmail/imap/imap-smtp"
	outlookPage = "https://support.microsoft.com/office/pop-imap-and-smtp-settings-for-outlook-com-d088b986-291d-42b8-9564-9c414e2aa040"
	tokenPage   = "https://learn.microsoft.com/exchange/client-developer/legacy-protocols/how-to-authenticate-an-imap-pop-smtp-application-by-using-oauth"
	zohoPage    = "https://www.zoho.com/mail/help/pop-access.html"
)

// The sentences that several lines lead to.
const (
	wrong     = "Gmail knows no such address with this password; give the whole address and an app password of this very account, for which its 2-step verification must be on"
	blocked   = `Gmail has blocked this sign-in as a suspicious one; sign in to the account with a browser, confirm that it was you, and then run "popfetchd retry ACCOUNT"`
	popOff    = `Gmail has POP switched off for this account; switch it on in Gmail's settings under "Forwarding and POP/IMAP", then run "popfetchd retry ACCOUNT"`
	domainOff = `Gmail has POP switched off for the whole organisation; ask its administrator to switch it on, then run "popfetchd retry ACCOUNT"`
	trouble   = "Gmail has a problem of its own; wait, popfetchd tries again by itself"
	suspended = "Gmail has suspended POP for this account because it was asked too often or too much was fetched; wait, it mostly ends after an hour and always within a day"
	logins    = "Gmail counts too many logins of this account; leave it alone for an hour, and let no program ask it more often than every 15 minutes"
	ended     = "Gmail has ended the session because its time was over; popfetchd goes on in a new one by itself"
	microsoft = `Microsoft refuses this sign-in; check that POP is switched on for the account, then sign in again with "popfetchd login ACCOUNT"`
	webDE     = "WEB.DE refuses this login; check the password and that POP3 is switched on in its settings, and let no program ask more often than every 15 minutes"
)

// TestAdvise gives each known line of each provider, as the servers write it,
// and wants what a user is told and what popfetchd does then.
func TestAdvise(t *testing.T) {
	for _, test := range []struct {
		provider, line string
		does           Behaviour
		means, page    string
	}{
		{"gmail", "-ERR [AUTH] Username and password not accepted.", Permanent, wrong, secretPage},
		{"gmail", "-ERR [AUTH] Application-specific password required: https://support.google.com/accounts/answer/185833", Permanent,
			"Gmail was given the account's normal password and takes app passwords only; make one and put its 16 letters in the password's place", secretPage},
		{"gmail", "-ERR [AUTH] Web login required: https://support.google.com/mail/answer/78754", Permanent, blocked, "https://support.google.com/mail/answer/78754"},
		{"gmail", "-ERR [AUTH] Web login required: http://mail.google.com/support/bin/answer.py?answer=78754", Permanent, blocked, "https://support.google.com/mail/answer/78754"},
		{"gmail", "-ERR [SYS/PERM] Your account is not enabled for POP access. Please visit your Gmail settings page and enable your account for POP access.",
			Permanent, popOff, popPage},
		{"gmail", "-ERR [SYS/PERM] POP access is disabled for your domain.", Permanent, domainOff, "https://support.google.com/a/answer/105694"},
		{"gmail", "-ERR [SYS/PERM] POP access is disabled for your domain. Please contact your domain administrator.", Permanent, domainOff,
			"https://support.google.com/a/answer/105694"},
		{"gmail", "-ERR [SYS/TEMP] Temporary system problem. Please try again later.", Temporary, trouble, statusPage},
		{"gmail", "+OK [SYS/TEMP] Due to a temporary system problem, this mailbox will seem empty.", Temporary,
			"Gmail has a problem of its own and shows an empty mailbox meanwhile; wait, popfetchd tries again by itself", statusPage},
		{"gmail", "-ERR [AUTH] Account exceeded pop command or bandwidth limits (Failure)", OverQuota, suspended, popPage},
		{"gmail", "-ERR Account exceeded POP command or bandwidth limits", OverQuota, suspended, popPage},
		{"gmail", "-ERR [AUTH] Exceeded the login limit for a 15 minute period. Reduce the frequency of requests to the POP3 server.", OverQuota, logins, popPage},
		{"gmail", "-ERR Exceeded the login limit...", OverQuota, logins, popPage},
		{"gmail", "-ERR [AUTH] Lockdown in sector 4", OverQuota,
			"Gmail has suspended this account for a while because too much was fetched; wait, it ends within a day", popPage},
		{"gmail", "-ERR [AUTH] Invalid credentials.", Permanent, `Gmail no longer takes the token of this sign-in; sign in again with "popfetchd login ACCOUNT"`,
			"https://myaccount.google.com/connections"},
		{"gmail", "-ERR Session expired, please login again.", NewSession, ended, sessionPage},
		{"gmail", "-ERR [SYS/TEMP] Your session has expired.", NewSession, ended, sessionPage},
		{"gmail", "-ERR We are still working on enabling pop for your account so windowed mode is not available. Try again later or consider using POP3 in recent mode.",
			Temporary, "Gmail is still applying a change of this account's POP setting; wait, popfetchd tries again by itself", popPage},
		{"gmail", "-ERR [SYS/PERM] We are still working on enabling POP for your account.", Temporary,
			"Gmail is still applying a change of this account's POP setting; wait, popfetchd tries again by itself", popPage},
		{"gmail", "-ERR [IN-USE] Maildrop is locked.", Temporary,
			"Gmail says that another program is fetching this account's mail now; let one program alone do that, popfetchd tries again by itself", popPage},
		{"gmail", "-ERR [LOGIN-DELAY] Minimum time between mail checks violation", Temporary,
			"Gmail wants more time between two logins; fetch every 15 minutes or less often", popPage},
		{"gmail", "-ERR [SYS/TEMP] something new", Temporary, trouble, statusPage},
		{"gmail", "-ERR [SYS/PERM] something new", Permanent,
			`Gmail does not let this account use POP; look at its settings under "Forwarding and POP/IMAP", or ask the organisation's administrator, then run "popfetchd retry ACCOUNT"`, popPage},
		{"gmail", "-ERR [AUTH] something new", Permanent,
			`Gmail refuses this sign-in; check the address and the app password, or sign in again with "popfetchd login ACCOUNT"`, popPage},

		{"outlook", "-ERR Basic authentication is disabled.", Permanent,
			`Microsoft takes no passwords for POP any more; write auth: xoauth2 with your OAuth client and sign in with "popfetchd login ACCOUNT"`, tokenPage},
		{"outlook", "-ERR Protocol error. Connection is closed. 10", Temporary,
			"Microsoft's server broke off in the middle of the sign-in; popfetchd tries again by itself, and if that goes on check that POP is switched on for the account",
			outlookPage},
		{"outlook", "-ERR Server Unavailable. 21", Temporary,
			"Microsoft's server is busy or slows this account down; wait, popfetchd tries again by itself", "https://portal.office.com/servicestatus"},
		{"outlook", "-ERR Logon failure: unknown user name or bad password.", Permanent, microsoft, outlookPage},
		{"outlook", "-ERR Authentication failure: unknown user name or bad password.", Permanent, microsoft, outlookPage},
		{"outlook", "-ERR [AUTH] Authentication failed.", Permanent, microsoft, outlookPage},
		{"yahoo", "-ERR [AUTH] (#AUTH005) Too many bad auth attempts.", OverQuota,
			"Yahoo has locked this account's logins for a while after too many wrong ones; make an app password, put it in the password's place, and wait",
			"https://help.yahoo.com/kb/SLN15241.html"},
		{"yahoo", "-ERR [AUTH] Invalid credentials", Permanent,
			"Yahoo refuses this user name and password; make an app password and put it in the password's place", "https://help.yahoo.com/kb/SLN15241.html"},
		{"aol", "-ERR [AUTH] (#AUTH005) Too many bad auth attempts.", OverQuota,
			"AOL has locked this account's logins for a while after too many wrong ones; make an app password, put it in the password's place, and wait",
			"https://help.aol.com/articles/Create-and-manage-app-password"},
		{"aol", "-ERR [AUTH] Invalid credentials", Permanent,
			"AOL refuses this user name and password; make an app password and put it in the password's place", "https://help.aol.com/articles/Create-and-manage-app-password"},
		{"gmx", "-ERR authentication failed", Permanent,
			`GMX refuses this login; check the password, and that POP3 is switched on in the settings under "POP3 & IMAP", which GMX switches off when it was not used for long; then run "popfetchd retry ACCOUNT"`,
			"https://hilfe.gmx.net/pop-imap/einschalten.html"},
		{"gmx", "-ERR [AUTH] no", Permanent,
			`GMX refuses this login; check the password, and that POP3 is switched on in the settings under "POP3 & IMAP", then run "popfetchd retry ACCOUNT"`,
			"https://hilfe.gmx.net/pop-imap/einschalten.html"},
		{"web.de", "-ERR authentication failed", OverQuota, webDE, "https://hilfe.web.de/pop-imap/einschalten.html"},
		{"web.de", "-ERR [AUTH] no", OverQuota, webDE, "https://hilfe.web.de/pop-imap/einschalten.html"},
		{"t-online", "-ERR Toid authentication disabled.", Permanent,
			"T-Online wants the password for mail programs here; make one in Telekom's customer centre and put it in the password's place",
			"https://www.telekom.de/hilfe/apps-dienste/e-mail/programme/passwort-definition"},
		{"t-online", "-ERR [AUTH] no", Permanent,
			"T-Online refuses this login; give the whole address and the password for mail programs, which is made in Telekom's customer centre",
			"https://www.telekom.de/hilfe/apps-dienste/e-mail/programme/passwort-definition"},
		{"fastmail", "-ERR [AUTH] Invalid login", Permanent,
			"Fastmail refuses this login; make an app password that may use POP and put it in the password's place",
			"https://www.fastmail.help/hc/en-us/articles/1500000279921"},
		{"zoho", "-ERR POP access blocked due to excessive usage. Please try again after sometime.", Permanent,
			`Zoho has blocked POP for this account because it was used too much; lift the block in Zoho's settings on the web, fetch less often, and then run "popfetchd retry ACCOUNT"`,
			"https://help.zoho.com/portal/en/community/topic/pop-access-blocked-due-to-excessive-usage"},
		{"zoho", "-ERR You are yet to enable POP for your account. Please contact your administrator", Permanent,
			`Zoho has POP switched off for this account; switch it on in Zoho's settings under "Mail Accounts", then run "popfetchd retry ACCOUNT"`, zohoPage},
		{"zoho", "-ERR Invalid credentials(Failure)", Permanent,
			"Zoho refuses this user name and password; give the whole address, an app password with two-factor authentication, and the host of your kind of account and country",
			zohoPage},
		{"zoho", "-ERR [AUTH] no", Permanent,
			"Zoho refuses this user name and password; give the whole address, an app password with two-factor authentication, and the host of your kind of account and country",
			zohoPage},
	} {
		p, found := Named(test.provider)
		parts := said.FindStringSubmatch(test.line)
		if !found || parts == nil {
			t.Fatalf("%s: %s: no such provider, or no status line", test.provider, test.line)
		}
		got, known := p.Advise(parts[1], parts[2])
		if !known || got.Does != test.does || got.Means != test.means || got.Page != test.page {
			t.Errorf("%s: %s\n got %s: %s (%s)\nwant %s: %s (%s)", test.provider, test.line, got.Does, got.Means, got.Page, test.does, test.means, test.page)
		}
		if shouted, _ := p.Advise(strings.ToLower(parts[1]), strings.ToUpper(parts[2])); shouted != got {
			t.Errorf("%s: %s means something else in capitals: %s", test.provider, test.line, shouted.Means)
		}
	}
}

// What is not known is not guessed at.
func TestAdviseUnknown(t *testing.T) {
	for _, p := range All() {
		for _, said := range []struct{ code, text string }{{"", "no"}, {"", ""}, {"", "no such message"}, {"", "auth"}, {"NONSENSE", "no"}} {
			if r, known := p.Advise(said.code, said.text); known {
				t.Errorf("%s: %+v is taken for %q", p.Name, said, r.Match)
			}
		}
	}
	if r, known := (Provider{}).Advise("AUTH", "Username and password not accepted."); known {
		t.Errorf("nobody's refusal is taken for %q", r.Match)
	}
}

// Each reply of the table is one that TestAdvise could reach: no earlier one
// matches whatever it matches, and texts stand before response codes.
func TestRepliesInOrder(t *testing.T) {
	for _, p := range All() {
		codes := false
		for i, r := range p.Replies {
			code := strings.HasPrefix(r.Match, "[")
			codes = codes || r.Match == "[auth]" || r.Match == "[sys/perm]" || r.Match == "[sys/temp]"
			if codes && !code {
				t.Errorf("%s: %q stands after a response code that it may come with", p.Name, r.Match)
			}
			for _, earlier := range p.Replies[:i] {
				if strings.Contains(r.Match, earlier.Match) {
					t.Errorf("%s: %q is never reached, %q takes it", p.Name, r.Match, earlier.Match)
				}
			}
		}
	}
}
