package pop3

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
)

// ErrMessageTooLarge ends a session whose server sent a longer body than Server.MaxMessage allows.
var ErrMessageTooLarge = errors.New("message is larger than the limit")

var (
	errClosed    = errors.New("session is closed")
	errAbandoned = errors.New("session was abandoned with replies under way: only Close is left")
	errBusy      = errors.New("internal error: command sent while replies to others are under way")
	errStale     = errors.New("internal error: body read after the session went on to the next reply")
)

// maxShown bounds, in bytes, how much of a server's text appears in an error.
const maxShown = 200

// shown is text from a server made fit for a terminal or a log: cut, quoted, control characters escaped.
func shown(text string) string {
	if len(text) > maxShown {
		return fmt.Sprintf("%q…", text[:maxShown])
	}
	return fmt.Sprintf("%q", text)
}

// greeting stands for the command in a ReplyError when the server refused the connection itself.
const greeting = "greeting"

// A ReplyError says that the server refused a command (-ERR, RFC 1939 section 3), or said +OK with a
// response code that means it could not do it now. The session goes on.
type ReplyError struct {
	Command string // with its arguments, but for USER, PASS and AUTH; "greeting" when the server refused the connection
	Code    string // response code of RFC 2449 section 8 or RFC 3206, upper case, without brackets; "" if there was none
	Text    string // what the server said after the code, as it came (may hold control characters)
}

// Error shows the code and at most some 200 bytes of the text, with control characters escaped.
func (e *ReplyError) Error() string {
	what := "server refused " + e.Command
	if e.Command == greeting {
		what = "server refused the connection"
	}
	switch {
	case e.Code != "" && e.Text != "":
		return fmt.Sprintf("%s: [%s] %s", what, e.Code, shown(e.Text))
	case e.Code != "":
		return fmt.Sprintf("%s: [%s]", what, e.Code)
	case e.Text != "":
		return fmt.Sprintf("%s: %s", what, shown(e.Text))
	}
	return what + " without a reason"
}

// Temporary reports whether the server itself said that the same command may succeed later:
// SYS/TEMP (RFC 3206 section 4), IN-USE and LOGIN-DELAY (RFC 2449 section 8.1).
func (e *ReplyError) Temporary() bool {
	for _, code := range []string{"SYS/TEMP", "IN-USE", "LOGIN-DELAY"} {
		if e.Code == code || strings.HasPrefix(e.Code, code+"/") {
			return true
		}
	}
	return false
}

// newReplyError takes the response code off the front of a status line's text.
func newReplyError(command, text string) *ReplyError {
	e := &ReplyError{Command: command, Text: text}
	if !strings.HasPrefix(text, "[") {
		return e
	}
	code, rest, closed := strings.Cut(text[1:], "]")
	if closed && isResponseCode(code) {
		e.Code, e.Text = strings.ToUpper(code), strings.TrimPrefix(rest, " ")
	}
	return e
}

// isResponseCode tells a response code from text that merely stands in brackets.
func isResponseCode(s string) bool {
	for _, c := range []byte(s) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && !('0' <= c && c <= '9') && c != '-' && c != '/' {
			return false
		}
	}
	return s != ""
}

// notNow returns the error that hides in a +OK: Gmail has answered a login with
// "+OK [SYS/TEMP] Due to a temporary system problem, this mailbox will seem empty."
func notNow(command, text string) error {
	if e := newReplyError(command, text); e.Temporary() {
		return e
	}
	return nil
}

// A ProtocolError says that the server broke the POP3 protocol. The connection is closed by then, unless the error is the
// Damage of a Listing.
type ProtocolError struct {
	Problem string // what came and what was expected; text from the server is quoted
}

// Error says what the server did wrong.
func (e *ProtocolError) Error() string {
	return "server broke the POP3 protocol: " + e.Problem
}

func protocolError(format string, args ...any) *ProtocolError {
	return &ProtocolError{Problem: fmt.Sprintf(format, args...)}
}

// A CredentialError says that a user name, a password or a token cannot be sent over POP3. Nothing was sent.
type CredentialError struct {
	Field   string // "user name", "password" or "token"
	Problem string // never holds the value
}

// Error names the field and what is wrong with it, never its value.
func (e *CredentialError) Error() string {
	return fmt.Sprintf("%s %s", e.Field, e.Problem)
}

// dialError is a connection that did not come about. Its text says what the operating system or the resolver said,
// without the steps in between and the address, which callers know.
type dialError struct{ err error }

func (e *dialError) Error() string { return "no connection: " + reason(e.err) }

func (e *dialError) Unwrap() error { return e.err }

// transportError is the end of a connection. Its text is like dialError's.
type transportError struct {
	doing string // to whom, as in "read from pop.example.net:995"
	err   error
}

func (e *transportError) Error() string { return e.doing + ": " + reason(e.err) }

func (e *transportError) Unwrap() error { return e.err }

// reason is what the operating system or the resolver said.
func reason(err error) string {
	for operation := (*net.OpError)(nil); errors.As(err, &operation); {
		err = operation.Err
	}
	for call := (*os.SyscallError)(nil); errors.As(err, &call); {
		err = call.Err
	}
	return err.Error()
}
