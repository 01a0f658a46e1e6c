package popsim

import "strings"

// What Gmail says, as far as it is known, without the "-ERR " before it. Where nobody has recorded the wire form, the text
// is Google's and the rest made up: Exceeded, SessionExpired, EnablingPOP.
const (
	BadPassword         = "[AUTH] Username and password not accepted."
	AppPasswordRequired = "[AUTH] Application-specific password required: https://support.google.com/accounts/answer/185833"
	WebLoginRequired    = "[AUTH] Web login required: https://support.google.com/mail/answer/78754"
	InvalidCredentials  = "[AUTH] Invalid credentials." // after the challenge to a refused token
	POPOff              = "[SYS/PERM] Your account is not enabled for POP access. Please visit your Gmail settings page and enable your account for POP access."
	POPOffForDomain     = "[SYS/PERM] POP access is disabled for your domain."
	TemporaryProblem    = "[SYS/TEMP] Temporary system problem. Please try again later."
	Exceeded            = "[AUTH] Account exceeded pop command or bandwidth limits (Failure)"
	LoginLimit          = "Exceeded the login limit..."
	EnablingPOP         = "[SYS/TEMP] We are still working on enabling pop for your account so windowed mode is not available. Try again later or consider using POP3 in recent mode."
	SessionExpired      = "Session expired, please login again."
	InUse               = "[IN-USE] Mailbox is in use by another session."
	LoginDelay          = "[LOGIN-DELAY] Minimum time between logins has not passed."
)

// SeemsEmpty is a status line of success: the session it begins lists nothing.
const SeemsEmpty = "+OK [SYS/TEMP] Due to a temporary system problem, this mailbox will seem empty."

// Challenge is Gmail's answer to a refused token, sent in base64 behind "+ ".
const Challenge = `{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}`

// What outlook.office365.com says, without the "-ERR ".
const (
	BasicAuthDisabled = "Basic authentication is disabled"
	ProtocolError     = "Protocol error. Connection is closed. 10" // to AUTH with the response on the same line; it hangs up
	ServerUnavailable = "Server Unavailable. 21"
	BadToken          = "Authentication failure: unknown user name or bad password."
)

// Trouble is a known reply that keeps a client from its mail.
type Trouble struct {
	Name   string // what users call it: "web login required"
	Status string // the line, with its +OK or -ERR
	Fault  Fault  // brings it about, in every session
}

// Troubles are all there are, in the order of the comment above.
func Troubles() []Trouble {
	login := func(name, text string) Trouble { return refusal(name, text, "LOGIN") }
	return []Trouble{
		login("password refused", BadPassword),
		login("app password required", AppPasswordRequired),
		login("web login required", WebLoginRequired),
		login("token refused", InvalidCredentials),
		login("POP off", POPOff),
		refusal("POP off at STAT", POPOff, "STAT", "LIST", "UIDL", "RETR", "TOP", "DELE"),
		login("POP off for the domain", POPOffForDomain),
		login("temporary problem", TemporaryProblem),
		{"mailbox seems empty", SeemsEmpty, On("LOGIN", 0, SeemEmpty(SeemsEmpty))},
		login("limits exceeded", Exceeded),
		refusal("limits exceeded in session", Exceeded, "LIST", "UIDL", "RETR", "TOP", "DELE"),
		login("login limit", LoginLimit),
		login("enabling POP", EnablingPOP),
		refusal("session expired", SessionExpired, "RETR"),
		login("in use", InUse),
		login("login delay", LoginDelay),
		login("basic authentication disabled", BasicAuthDisabled),
		login("server unavailable", ServerUnavailable),
	}
}

// TroubleNamed finds one by its name, in whatever case.
func TroubleNamed(name string) (Trouble, bool) {
	for _, t := range Troubles() {
		if strings.EqualFold(t.Name, name) {
			return t, true
		}
	}
	return Trouble{}, false
}

// refusal answers commands with an error.
func refusal(name, text string, commands ...string) Trouble {
	faults := make([]Fault, len(commands))
	for i, command := range commands {
		faults[i] = On(command, 0, Refuse(text))
	}
	return Trouble{Name: name, Status: "-ERR " + text, Fault: FirstOf(faults...)}
}
