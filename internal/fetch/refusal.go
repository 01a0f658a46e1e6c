package fetch

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/popfetchd/popfetchd/internal/oauth"
	"github.com/popfetchd/popfetchd/internal/pop3"
	"github.com/popfetchd/popfetchd/internal/provider"
)

// refusal is a login, or a whole session, that the server refused; what it said is known, or could only mean that.
type refusal struct {
	kind      Kind // Refused or Temporary
	overQuota bool // of mail or of logins: it takes an hour, or a day
	unclear   bool // it may have meant something that passes
	error
}

func (e *refusal) Unwrap() error { return e.error }

// passes says that a refusal is known to be for a while, so that it is no secret's fault.
func passes(err error) bool {
	judged := (*refusal)(nil)
	return errors.As(err, &judged) && judged.kind == Temporary
}

// advise adds to what a server said, where that is known, what it means and what to do.
func (r *run) advise(err error) error {
	var (
		reply  *pop3.ReplyError
		judged *refusal
		sorted *sortedError
		signIn *oauth.SignInError
	)
	switch {
	case errors.As(err, &judged), errors.As(err, &sorted):
		return err
	case errors.As(err, &signIn) && errors.Is(err, fs.ErrNotExist):
		return &sortedError{Refused, fmt.Errorf("%w; sign in: popfetchd login %s", err, r.account.Name)}
	case errors.As(err, &signIn):
		return &sortedError{Refused, fmt.Errorf("%w; sign in again: popfetchd login %s", err, r.account.Name)}
	case !errors.As(err, &reply):
		return err
	}
	known, ok := r.account.Preset().Advise(reply.Code, reply.Text)
	if !ok {
		return err
	}
	e := &refusal{kind: Refused, error: fmt.Errorf("%w; %s", err, r.meaning(known, err.Error()))}
	if known.Does != provider.Permanent {
		e.kind, e.overQuota = Temporary, known.Does == provider.OverQuota
	}
	return e
}

// meaning is what a known reply means, with the page that tells more, unless the reply named that itself.
func (r *run) meaning(known provider.Reply, said string) string {
	means := known.For(r.account.Name)
	if known.Page == "" || strings.Contains(said, known.Page) {
		return means
	}
	return means + " (" + known.Page + ")"
}

// overQuota says that a refusal is about all mail, for a while, and not about one message.
func (r *run) overQuota(reply *pop3.ReplyError) bool {
	known, ok := r.account.Preset().Advise(reply.Code, reply.Text)
	return ok && known.Does != provider.Permanent
}

// forAll says that a refusal of one message is about all of them. One that does not pass is when it is known by its words: a
// response code alone may be about a message.
func (r *run) forAll(reply *pop3.ReplyError) bool {
	known, ok := r.account.Preset().Advise(reply.Code, reply.Text)
	return reply.Temporary() || ok && (known.Does != provider.Permanent || !strings.HasPrefix(known.Match, "["))
}

// judgeLogin tells a login that will never work from one that did not work now. Where the server announces
// AUTH-RESP-CODE only [AUTH] means wrong credentials (RFC 3206 §6); elsewhere a bare -ERR does too.
func (r *run) judgeLogin(session *pop3.Session, err error) error {
	err = r.advise(err)
	var reply *pop3.ReplyError
	var judged *refusal
	if errors.As(err, &judged) || !errors.As(err, &reply) || reply.Temporary() {
		return err
	}
	if reply.Code == "" && session.Capabilities().Has("AUTH-RESP-CODE") {
		return err
	}
	advice := "check username and password"
	switch {
	case reply.Code == "SYS/PERM": // RFC 3206 §4: beyond what the user can mend
		advice = "ask the provider"
	case r.account.OAuth != nil:
		advice = "check username, and sign in again: popfetchd login " + r.account.Name
	}
	return &refusal{kind: Refused, unclear: reply.Code == "",
		error: fmt.Errorf("%w; %s", err, advice)}
}
