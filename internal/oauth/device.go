package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/oauth2"
)

// deviceGrant is the grant type of RFC 8628 section 3.4.
const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

// Limits of what a provider may ask for (RFC 8628 section 3.2 leaves them open).
const (
	defaultInterval = 5                // seconds, RFC 8628 section 3.2
	maxInterval     = 60               // seconds; a code is good for some minutes only
	defaultLife     = 15 * time.Minute // of a device code without expires_in, which the RFC requires
)

// Device signs in without a browser on this machine: the user types a code into a page on any other (RFC 8628).
// Microsoft has it; Google has it for other scopes than Gmail's.
type Device struct {
	Client Client
	Show   func(userCode, verificationURL string, expires time.Time) // tells the user

	wait func(context.Context, time.Duration) error // between polls; nil: waits. Tests have their own
}

// SignIn returns what the provider gave once the user has typed in the code. When the user refuses, or the code expires
// before, the error is a *SignInError. It ends when ctx does.
func (d Device) SignIn(ctx context.Context) (Token, error) {
	if d.Client.DeviceURL == "" {
		return Token{}, &SignInError{Reason: "the provider has no sign-in by device code; use the browser"}
	}
	code, err := d.Client.config("").DeviceAuth(d.Client.within(ctx))
	if err != nil {
		return Token{}, d.Client.explain(err, d.Client.DeviceURL, "the provider refused the sign-in by device code")
	}
	if code.DeviceCode == "" || code.UserCode == "" || code.VerificationURI == "" {
		return Token{}, fmt.Errorf("%s gave an answer that holds no device code; is the address right", host(d.Client.DeviceURL))
	}
	if code.Expiry.IsZero() {
		code.Expiry = time.Now().Add(defaultLife)
	}
	ctx, cancel := context.WithDeadlineCause(ctx, code.Expiry, errExpired)
	defer cancel()
	d.Show(code.UserCode, code.VerificationURI, code.Expiry)
	return d.poll(ctx, code)
}

var errExpired = &SignInError{Reason: "the code was not typed in before it expired; try again"}

// poll asks for the token in the provider's rhythm (RFC 8628 section 3.5). x/oauth2's own loop gives up when an answer
// is lost, which the RFC wants to be waited for.
func (d Device) poll(ctx context.Context, code *oauth2.DeviceAuthResponse) (Token, error) {
	interval := time.Duration(min(code.Interval, maxInterval)) * time.Second
	if interval <= 0 {
		interval = defaultInterval * time.Second
	}
	wait := d.wait
	if wait == nil {
		wait = pause
	}
	for {
		if wait(ctx, interval) != nil {
			return Token{}, ended(ctx)
		}
		asked := time.Now()
		t, err := d.Client.config("").Exchange(d.Client.within(ctx), "",
			oauth2.SetAuthURLParam("grant_type", deviceGrant), oauth2.SetAuthURLParam("device_code", code.DeviceCode))
		if err == nil {
			return d.Client.signedIn(t, asked)
		}
		switch next := judgePoll(err); {
		case ctx.Err() != nil:
			return Token{}, ended(ctx)
		case next == goOn:
		case next == slower:
			interval = min(interval+5*time.Second, maxInterval*time.Second)
		case next == tooLate:
			return Token{}, errExpired
		default:
			return Token{}, d.Client.explain(err, d.Client.TokenURL, "the sign-in was not allowed", code.DeviceCode)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// ended says why waiting for the user ended.
func ended(ctx context.Context) error {
	if cause := context.Cause(ctx); cause == error(errExpired) {
		return cause
	}
	return fmt.Errorf("the sign-in was not finished: %w", ctx.Err())
}

// verdict is what an answer to a poll calls for.
type verdict int

const (
	giveUp verdict = iota
	goOn
	slower
	tooLate
)

// judgePoll reads the error of a poll. A lost answer and trouble at the server are reasons to ask less often.
func judgePoll(err error) verdict {
	var answer *oauth2.RetrieveError
	if !errors.As(err, &answer) {
		return slower
	}
	switch answer.ErrorCode {
	case "authorization_pending":
		return goOn
	case "slow_down":
		return slower
	case "expired_token", "code_expired":
		return tooLate
	}
	if answer.Response.StatusCode >= 500 || answer.Response.StatusCode == http.StatusTooManyRequests {
		return slower
	}
	return giveUp
}
