package popsim

// Request is one command, as a Fault sees it before the server obeys.
type Request struct {
	Session  int    // of this server, from 1
	Username string // of the account; empty before login; with LOGIN the name that was given
	Command  string // in capitals, as "RETR"; "CONNECT" stands for the greeting, "LOGIN" for credentials that are complete, however they came
	Message  int    // the number that follows the command; 0 when none does
	Nth      int    // how often this command came in this session, this time included
}

// Fault decides what goes wrong with a command. It is called by many goroutines at once, so whatever it remembers must
// be guarded. The zero Action lets the server do its work.
type Fault func(Request) Action

// Action is what happens in the place of, or along with, a command. Make one with the functions below.
type Action struct {
	kind    kind
	text    string
	after   int64
	rewrite func(string) string
}

type kind int

const (
	obey kind = iota
	refuse
	raw
	status
	hangUp
	hangUpUnanswered
	hangUpInBody
	stall
	stallInBody
	rewriteLines
	seemEmpty
)

// Refuse answers "-ERR " and text, and does nothing. A refused QUIT ends the session with nothing deleted (RFC 1939 §6).
func Refuse(text string) Action { return Action{kind: refuse, text: text} }

// Raw answers with these bytes as they are, and does nothing else. The session goes on.
func Raw(text string) Action { return Action{kind: raw, text: text} }

// Status does what was asked and answers with this status line ("+OK …", no line end) in the place of its own.
func Status(line string) Action { return Action{kind: status, text: line} }

// SeemEmpty does what was asked and answers with this status line; the session then lists nothing. For LOGIN, see TroubleNamed.
func SeemEmpty(line string) Action { return Action{kind: seemEmpty, text: line} }

// HangUp cuts the connection; nothing is done, nothing answered. Over TLS no close_notify is sent.
func HangUp() Action { return Action{kind: hangUp} }

// HangUpUnanswered does what was asked, then cuts the connection in the place of answering: with QUIT the messages are
// deleted and the client does not learn it.
func HangUpUnanswered() Action { return Action{kind: hangUpUnanswered} }

// HangUpInBody cuts the connection when octets of the message (counted before dot-stuffing) were sent. With the
// message's size all of it is sent, yet not the dot that ends it.
func HangUpInBody(octets int64) Action { return Action{kind: hangUpInBody, after: octets} }

// Stall says nothing more until the client hangs up or the server is closed.
func Stall() Action { return Action{kind: stall} }

// StallInBody stalls when octets of the message were sent.
func StallInBody(octets int64) Action { return Action{kind: stallInBody, after: octets} }

// Rewrite sends each line of a LIST, UIDL or CAPA answer through change (no line ends; the status line is not among them).
// An empty result drops the line; one with CRLF inside makes several. A LIST or UIDL of one message is not changed.
func Rewrite(change func(line string) string) Action {
	return Action{kind: rewriteLines, rewrite: change}
}

// On lets a happen to a command, whenever its message number is message (0: any, and commands without one).
func On(command string, message int, a Action) Fault {
	return func(r Request) Action {
		if r.Command == command && (message == 0 || r.Message == message) {
			return a
		}
		return Action{}
	}
}

// InSession holds a fault to one session of the server.
func InSession(session int, f Fault) Fault {
	return func(r Request) Action {
		if r.Session == session {
			return f(r)
		}
		return Action{}
	}
}

// FirstOf asks faults in turn and takes the first that wants something.
func FirstOf(faults ...Fault) Fault {
	return func(r Request) Action {
		for _, f := range faults {
			if a := f(r); a.kind != obey {
				return a
			}
		}
		return Action{}
	}
}
