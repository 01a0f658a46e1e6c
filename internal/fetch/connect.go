package fetch

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/oauth"
	"github.com/popfetchd/popfetchd/internal/pop3"
)

// tokenTime is how long a token should be good for when a session begins: servers end the session with it.
const tokenTime = 30 * time.Minute

// address is the server's, as people write it.
func address(account config.Account) string {
	return net.JoinHostPort(account.Host, strconv.Itoa(account.Port))
}

// server says how to reach the account's server. The CA file is read each time, so that a renewed one counts.
func server(account config.Account) (pop3.Server, error) {
	s := pop3.Server{
		Host: account.Host, Port: account.Port, TLS: pop3.TLSMode(account.TLS),
		Timeout: account.Timeout, Pipelining: account.Pipelining, MaxMessage: account.MaxMessageSize,
	}
	for _, pin := range account.PinSHA256 {
		s.PinSHA256 = append(s.PinSHA256, [sha256.Size]byte(pin))
	}
	var err error
	if s.RootCAs, err = account.RootCAs(); err != nil {
		return s, &sortedError{Configuration, fmt.Errorf("reading ca_file: %w", err)}
	}
	return s, nil
}

// password gets the account's secret; its error does not name the account, as ours does that.
func password(ctx context.Context, account config.Account) (string, error) {
	secret, err := account.Password(ctx)
	if e := (*config.SecretError)(nil); errors.As(err, &e) {
		err = &sortedError{Configuration, fmt.Errorf("%s: %w", e.Key, e.Err)}
	}
	return secret, err
}

// Source is where the tokens of an account come from that signs in with OAuth 2.0.
func Source(stateDir string, account config.Account) (oauth.Source, error) {
	o := account.OAuth
	secret, err := o.ClientSecret()
	if err != nil {
		return oauth.Source{}, &sortedError{Configuration, fmt.Errorf("oauth.client_secret_file: %w", err)}
	}
	return oauth.Source{
		Client: oauth.Client{ID: o.ClientID, Secret: secret, AuthURL: o.AuthURL, TokenURL: o.TokenURL, DeviceURL: o.DeviceURL, RevokeURL: o.RevokeURL, Scopes: o.Scopes},
		Store:  oauth.Store{Path: oauth.StorePath(stateDir, account.Name)},
	}, nil
}

// connect opens a session and logs in. The secret is fetched first, so that nobody waits on an open connection. Servers have
// been seen to take a login and then refuse the maildrop: STAT, the first question of every session, tells.
func (r *run) connect(ctx context.Context) (*pop3.Session, error) {
	r.tell(Connecting)
	if err := r.recallStep(); err != nil {
		return nil, err
	}
	c, err := r.credentials(ctx)
	if err != nil {
		return nil, r.advise(err)
	}
	session, err := r.logIn(ctx, c)
	if refused := (*pop3.TokenError)(nil); errors.As(err, &refused) && !passes(err) && r.token == "" && !r.renewed {
		r.renewed = true
		r.doing = "getting another token, since the server refused this one"
		if c, err = r.renew(ctx, c); err != nil {
			return nil, r.advise(err)
		}
		session, err = r.logIn(ctx, c)
	}
	if err != nil {
		return nil, err
	}
	r.renewed = false // this one works
	r.report.Sessions++
	r.progress.Sessions++
	r.limitSession()
	return session, nil
}

// outOfStep is the ledger's note that answers did not fit the questions, and stepCounts how long it counts. Who fetches once
// a day, where only one login is possible, loses a day when it ends.
const (
	outOfStep  = "out of step"
	stepCounts = 30 * 24 * time.Hour
)

// recallStep lets a run ask one question at a time from the beginning, where one did not get along otherwise lately. The
// reason may be one that lasts, such as sizes that are always listed wrong: and where Gmail wants time between two logins, or
// hides what it sent in a session that broke, no run would get any further.
func (r *run) recallStep() error {
	if r.Ledger == nil {
		return nil
	}
	at, err := r.Ledger.Note(r.account.Name, outOfStep)
	if err != nil {
		return err
	}
	noted := !at.IsZero() && r.began.Sub(at).Abs() < stepCounts
	if r.plain && !noted {
		return r.Ledger.SetNote(r.account.Name, outOfStep, r.began)
	}
	r.plain = noted
	return nil
}

// credentials gets what to log in with.
func (r *run) credentials(ctx context.Context) (c pop3.Credentials, err error) {
	c = pop3.Credentials{Username: r.account.Login(), Mechanism: pop3.Mechanism(r.account.Auth), OneLine: r.oneLine}
	if r.account.OAuth == nil {
		r.doing = "getting the password"
		c.Password, err = password(ctx, r.account)
		return c, err
	}
	if c.Token = r.token; c.Token != "" {
		return c, nil
	}
	r.doing = "getting a token"
	source, err := r.source()
	if err != nil {
		return c, err
	}
	token, err := source.Token(ctx, tokenTime)
	c.Token, r.tokenEnd = token.Access, token.Expiry
	return c, err
}

// renew gets another token in the place of one that was refused.
func (r *run) renew(ctx context.Context, c pop3.Credentials) (pop3.Credentials, error) {
	source, err := r.source()
	if err != nil {
		return c, err
	}
	token, err := source.Renew(ctx, c.Token)
	c.Token, r.tokenEnd = token.Access, token.Expiry
	return c, err
}

func (r *run) source() (oauth.Source, error) {
	source, err := Source(r.StateDir, r.account)
	source.Now = r.Now
	return source, err
}

// logIn dials and logs in; a second time if the server hung up on the first form of AUTH. It may have been the line: a server
// that does not even want the second form said nothing of the token.
func (r *run) logIn(ctx context.Context, c pop3.Credentials) (*pop3.Session, error) {
	session, err := r.tryLogin(ctx, c)
	if other := (*pop3.OneLineError)(nil); !errors.As(err, &other) || c.OneLine {
		return session, err
	}
	c.OneLine = true
	session, second := r.tryLogin(ctx, c)
	if reply := (*pop3.ReplyError)(nil); errors.As(second, &reply) && reply.Code == "" {
		return nil, err
	}
	r.oneLine = second == nil
	return session, second
}

func (r *run) tryLogin(ctx context.Context, c pop3.Credentials) (*pop3.Session, error) {
	r.doing = "connecting to " + address(r.account)
	server, err := server(r.account)
	if err != nil {
		return nil, err
	}
	server.Pipelining = server.Pipelining && !r.plain
	session, err := pop3.Dial(ctx, server)
	if err != nil {
		return nil, r.advise(err)
	}
	r.doing = fmt.Sprintf("logging in to %s as %s", address(r.account), r.account.Login())
	if err := session.Login(c); err != nil {
		defer session.Close()
		return nil, r.judgeLogin(session, err)
	}
	return session, nil
}

// limitSession says when the session has to end: well before the server would end it.
func (r *run) limitSession() {
	now := r.Now()
	r.sessionEnd, r.outOfTime, r.portions = time.Time{}, false, 0
	if rulesOf(r.account).window || r.account.OAuth != nil {
		r.sessionEnd = now.Add(sessionTime)
	}
	if r.tokenEnd.IsZero() {
		return
	}
	left := r.tokenEnd.Sub(now)
	if end := r.tokenEnd.Add(-min(left/4, 5*time.Minute)); left > 0 && end.Before(r.sessionEnd) {
		r.sessionEnd = end
	}
}
