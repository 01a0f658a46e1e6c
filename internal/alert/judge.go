package alert

import (
	"errors"
	"net/mail"

	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/oauth"
	"github.com/popfetchd/popfetchd/internal/pop3"
)

// endedBySuccess are the kinds that a run without an error ends.
var endedBySuccess = []string{Silence, Refused, SignIn, Certificate, Disk, Ledger, Configuration}

// judge says which kind of trouble an error of a run is that only the user can mend; "" for one that may pass, which is told
// of when it lasts.
func judge(err error) string {
	var (
		signIn      *oauth.SignInError
		certificate *pop3.CertificateError
	)
	switch {
	case err == nil:
		return ""
	case errors.As(err, &signIn):
		return SignIn
	case errors.As(err, &certificate):
		return Certificate
	case errors.Is(err, ledger.ErrDamaged):
		return Ledger
	}
	switch fetch.KindOf(err) {
	case fetch.Configuration:
		return Configuration
	case fetch.Local:
		return Disk
	case fetch.Refused:
		return Refused
	}
	return ""
}

// fails says that a run's error is one for a ping: what does not pass by itself.
func fails(err error) bool { return judge(err) != "" || fetch.KindOf(err) == fetch.Bug }

// judgeRun is judge for a run's report. One that tried nothing, since an earlier one was refused, says by its hold whether
// that was the login or the sign-in.
func judgeRun(r fetch.Report, hold ledger.Hold) (kind, text string) {
	kind = judge(r.Err)
	if kind == "" {
		return "", ""
	}
	text = r.Err.Error()
	if r.Held && hold.Problem != "" {
		text = hold.Problem
		if hold.Reason == ledger.SignIn {
			kind = SignIn
		}
	}
	return kind, text
}

// parseAddress returns the address when text is one and nothing else.
func parseAddress(text string) (string, error) {
	parsed, err := mail.ParseAddress(text)
	if err != nil {
		return "", err
	}
	if parsed.Address != text {
		return "", errors.New("more than an address")
	}
	return text, nil
}
