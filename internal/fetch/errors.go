package fetch

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/oauth"
	"github.com/popfetchd/popfetchd/internal/pop3"
	"github.com/popfetchd/popfetchd/internal/store"
)

// toTheMinute is how errors give times.
const toTheMinute = "2006-01-02 15:04"

// Error is why a run did not do all it should have. Its text is one line that stands for itself in a log.
type Error struct {
	Account string
	Doing   string // as in "logging in to pop.example.net:995"
	Err     error

	NotBefore time.Time // nothing is tried again before; zero: the next run tries
}

// Error says what happened to which account, and what to do next.
func (e *Error) Error() string {
	text := fmt.Sprintf("account %s: %s: %v", e.Account, e.Doing, e.Err)
	text = strings.ReplaceAll(text, "\n", "; ") // between the parts of joined errors
	var (
		certificate *pop3.CertificateError
		known       *refusal
		held        *errHeld
		signIn      *oauth.SignInError
	)
	switch kind := KindOf(e.Err); {
	case errors.As(e.Err, &certificate), errors.As(e.Err, &held), errors.As(e.Err, &signIn): // these say what to do
		return text
	case kind == Refused && !e.NotBefore.IsZero():
		return text + "; not tried again before " + e.NotBefore.Local().Format(toTheMinute) + " unless the account's settings, password or token change"
	case kind == Temporary && !e.NotBefore.IsZero():
		return text + "; nothing is lost, and nothing is tried again before " + e.NotBefore.Local().Format(toTheMinute)
	case errors.As(e.Err, &known): // says what comes next
		return text
	case kind == Temporary:
		return text + "; nothing is lost: the next run goes on from here"
	case kind == Bug:
		return text + "; this is a mistake in popfetchd, please report it"
	default:
		return text
	}
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Kind sorts errors by who can mend them, and with it says when to try again and which exit code fits.
type Kind int

const (
	Fine          Kind = iota // no error
	Temporary                 // network, server, or somebody else has the mailbox: try again
	Bug                       // a mistake in popfetchd
	Local                     // disk, mailbox, ledger
	Refused                   // the server refused the login
	Configuration             // the configuration, or a secret that it names
)

// KindOf sorts err.
func KindOf(err error) Kind {
	var (
		sorted      *sortedError
		judged      *refusal
		held        *errHeld
		secret      *config.SecretError
		file        *config.Error
		credentials *pop3.CredentialError
		unsafe      *oauth.UnsafeError
		disk        *store.Error
		memory      *ledger.Error
		path        *fs.PathError
	)
	switch {
	case err == nil:
		return Fine
	case errors.As(err, &sorted):
		return sorted.kind
	case errors.As(err, &judged):
		return judged.kind
	case errors.As(err, &held):
		return held.kind()
	case errors.As(err, &secret), errors.As(err, &file), errors.As(err, &credentials), errors.As(err, &unsafe):
		return Configuration
	case errors.Is(err, store.ErrLocked), errors.Is(err, ledger.ErrBusy), errors.Is(err, errStopped):
		return Temporary
	case errors.As(err, &disk), errors.As(err, &memory), errors.As(err, &path):
		return Local
	default:
		return Temporary
	}
}

// sortedError is an error whose kind its type does not tell.
type sortedError struct {
	kind Kind
	error
}

func (e *sortedError) Unwrap() error { return e.error }
