package fetch

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/pop3"
)

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

// connect opens a session and logs in. The secret is fetched first, so that nobody waits on an open connection.
func (r *run) connect(ctx context.Context) (*pop3.Session, error) {
	r.tell(Connecting)
	r.doing = "getting the password"
	password, err := password(ctx, r.account)
	if err != nil {
		return nil, err
	}
	r.doing = "connecting to " + address(r.account)
	server, err := server(r.account)
	if err != nil {
		return nil, err
	}
	server.Pipelining = server.Pipelining && !r.plain
	session, err := pop3.Dial(ctx, server)
	if err != nil {
		return nil, err
	}
	r.doing = fmt.Sprintf("logging in to %s as %s", address(r.account), r.account.Login())
	if err := session.Login(pop3.Credentials{Username: r.account.Login(), Password: password, Mechanism: pop3.Mechanism(r.account.Auth)}); err != nil {
		defer session.Close()
		return nil, r.judgeLogin(session, err)
	}
	r.report.Sessions++
	return session, nil
}

// judgeLogin tells a login that will never work from one that did not work now. Where the server announces
// AUTH-RESP-CODE only [AUTH] means wrong credentials (RFC 3206 §6); elsewhere a bare -ERR does too.
func (r *run) judgeLogin(session *pop3.Session, err error) error {
	var reply *pop3.ReplyError
	if !errors.As(err, &reply) || reply.Temporary() {
		return err
	}
	if reply.Code == "" && session.Capabilities().Has("AUTH-RESP-CODE") {
		return err
	}
	advice := "check username and password; the daemon waits an hour before it tries again, so that the server does not lock the account"
	switch {
	case reply.Code == "SYS/PERM": // RFC 3206 §4: beyond what the user can mend
		advice = "ask the provider; the daemon waits an hour before it tries again"
	case r.account.Provider == "gmail":
		advice = "Gmail wants 2-step verification and an app password (16 letters) here, and POP enabled in its settings; the daemon waits an hour before it tries again"
	}
	return &sortedError{Refused, fmt.Errorf("%w; %s", err, advice)}
}
