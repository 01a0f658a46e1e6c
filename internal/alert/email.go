package alert

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/oauth"
)

// mailTime bounds the whole of a submission, from the password to the server's last word.
const mailTime = time.Minute

// tokenLeft is how long a token has to be good for when it is sent.
const tokenLeft = 2 * time.Minute

// email submits each message to a server (RFC 6409): under TLS, and after a login where there is a user name.
type email struct {
	settings config.Email
	stateDir string // for tokens
}

func (e email) name() string { return "email" }

func (e email) send(ctx context.Context, m Message) error {
	ctx, cancel := context.WithTimeoutCause(ctx, mailTime, fmt.Errorf("it was not done within %s", mailTime))
	defer cancel()
	text, err := render(m, e.settings.From, e.settings.To)
	if err != nil {
		return err
	}
	if account, ok := e.settings.Account(); ok && account.OAuth != nil {
		return e.sendByToken(ctx, account, text)
	}
	password, err := e.settings.Password(ctx)
	if err != nil {
		return err
	}
	return e.submit(ctx, &login{name: e.settings.Username, secret: password, token: false}, text)
}

// sendByToken logs in with the account's token, and with another one if that is refused.
func (e email) sendByToken(ctx context.Context, account config.Account, text []byte) error {
	source, err := fetch.Source(e.stateDir, account)
	if err != nil {
		return err
	}
	token, err := source.Token(ctx, tokenLeft)
	if err != nil {
		return signIn(account, err)
	}
	err = e.submit(ctx, &login{name: e.settings.Username, secret: token.Access, token: true}, text)
	if refused := (*loginError)(nil); !errors.As(err, &refused) {
		return err
	}
	if token, err = source.Renew(ctx, token.Access); err != nil {
		return signIn(account, err)
	}
	return e.submit(ctx, &login{name: e.settings.Username, secret: token.Access, token: true}, text)
}

// signIn adds to an error what to do when only the user can help.
func signIn(account config.Account, err error) error {
	if ended := (*oauth.SignInError)(nil); errors.As(err, &ended) {
		return fmt.Errorf("%w; sign in: popfetchd login %s", err, account.Name)
	}
	return err
}

// submit hands the message to the server.
func (e email) submit(ctx context.Context, login *login, text []byte) error {
	address := net.JoinHostPort(e.settings.Host, strconv.Itoa(e.settings.Port))
	roots, err := e.settings.RootCAs()
	if err != nil {
		return fmt.Errorf("alerts.email.ca_file: %w", err)
	}
	secure := &tls.Config{ServerName: e.settings.Host, RootCAs: roots, MinVersion: tls.VersionTLS12}
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("%s cannot be reached: %w", address, plainly(ctx, err))
	}
	defer raw.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = raw.SetDeadline(deadline)
	}
	defer context.AfterFunc(ctx, func() { raw.Close() })()
	conn := raw
	if e.settings.TLS == "implicit" {
		conn = tls.Client(raw, secure)
	}
	client, err := smtp.NewClient(conn, e.settings.Host)
	if err != nil {
		return said(ctx, address, "the greeting", err)
	}
	defer client.Close()
	return e.talk(ctx, client, secure, login, text, address)
}

// talk is the session, from EHLO to QUIT. Once the server has taken the message nothing is a failure any more: it would be
// sent twice.
func (e email) talk(ctx context.Context, client *smtp.Client, secure *tls.Config, login *login, text []byte, address string) error {
	if err := client.Hello(helo()); err != nil {
		return said(ctx, address, "EHLO", err)
	}
	if e.settings.TLS == "starttls" {
		if offered, _ := client.Extension("STARTTLS"); !offered {
			return fmt.Errorf("%s offers no STARTTLS, and nothing is sent readable: try tls: implicit", address)
		}
		if err := client.StartTLS(secure); err != nil {
			return said(ctx, address, "STARTTLS", err)
		}
	}
	if login.name != "" {
		login.host, login.secured = e.settings.Host, e.settings.TLS != "none"
		if err := client.Auth(login); err != nil {
			return &loginError{said(ctx, address, "the login", login.unrepeated(err))}
		}
	}
	if err := mailFrom(client, e.settings.From); err != nil {
		return said(ctx, address, "the sender "+e.settings.From, err)
	}
	partly, err := e.recipients(ctx, client, address)
	if err != nil {
		return err
	}
	body, err := client.Data()
	if err != nil {
		return said(ctx, address, "DATA", err)
	}
	if _, err := body.Write(text); err != nil {
		return said(ctx, address, "the message", err)
	}
	if err := body.Close(); err != nil {
		return said(ctx, address, "the message", err)
	}
	_ = client.Quit()
	return partly
}

// recipients names those who are told. Some of them may be refused as long as one is not: partly tells of them then.
func (e email) recipients(ctx context.Context, client *smtp.Client, address string) (partly, err error) {
	var taken, refused []string
	for _, to := range e.settings.To {
		err := client.Rcpt("<" + to + ">")
		reply := (*textproto.Error)(nil)
		switch {
		case err == nil:
			taken = append(taken, to)
		case errors.As(err, &reply) && reply.Code != closing:
			refused = append(refused, said(ctx, address, "the recipient "+to, err).Error())
		default:
			return nil, said(ctx, address, "the recipient "+to, err)
		}
	}
	switch {
	case len(taken) == 0:
		return nil, errors.New(strings.Join(refused, "; "))
	case len(refused) > 0:
		return &partlyError{fmt.Errorf("%s; it went to %s", strings.Join(refused, "; "), strings.Join(taken, ", "))}, nil
	}
	return nil, nil
}

// closing is a server's answer, to whatever it is, that it ends the session (RFC 5321 section 3.8).
const closing = 421

// mailFrom begins a message. The library's own would ask for SMTPUTF8 wherever it is offered, and a message that is marked so
// comes back from servers further on that do not know it (RFC 6531 section 3.2); ours is ASCII.
func mailFrom(client *smtp.Client, from string) error {
	id, err := client.Text.Cmd("MAIL FROM:<%s>", from)
	if err != nil {
		return err
	}
	client.Text.StartResponse(id)
	defer client.Text.EndResponse(id)
	_, _, err = client.Text.ReadResponse(250)
	return err
}

// loginError is a login that failed.
type loginError struct{ error }

func (e *loginError) Unwrap() error { return e.error }

// said tells what a server answered, escaped, or what became of the connection.
func said(ctx context.Context, address, to string, err error) error {
	if reply := (*textproto.Error)(nil); errors.As(err, &reply) {
		return fmt.Errorf("%s refused %s: %d %.300q", address, to, reply.Code, reply.Msg)
	}
	if unverified := (*tls.CertificateVerificationError)(nil); errors.As(err, &unverified) {
		return fmt.Errorf("%s has a certificate that is not trusted: %w; set alerts.email.ca_file to that of its authority, or host to a name it is for", address, unverified.Err)
	}
	return fmt.Errorf("%s: %s: %w", address, to, plainly(ctx, err))
}

// plainly is the cause of an error: the end of ctx, or what the system said.
func plainly(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if operation := (*net.OpError)(nil); errors.As(err, &operation) {
		return operation.Err
	}
	return err
}

// login logs in by what the server takes (RFC 4954): a token by XOAUTH2, a password by PLAIN or LOGIN, which need TLS.
type login struct {
	name, secret string
	token        bool

	host    string
	secured bool
	by      smtp.Auth
}

// errNoLogin is a server that takes none of our logins.
var errNoLogin = errors.New("the server takes no login that popfetchd knows")

// Start implements smtp.Auth.
func (l *login) Start(server *smtp.ServerInfo) (string, []byte, error) {
	has := func(mechanism string) bool {
		return slices.ContainsFunc(server.Auth, func(s string) bool { return strings.EqualFold(s, mechanism) })
	}
	loopback := !l.secured // the configuration lets only that be without
	switch {
	case l.token && has("XOAUTH2"):
		l.by = smtp.XOAuth2Auth(l.name, l.secret)
	case l.token:
		return "", nil, fmt.Errorf("%w: not XOAUTH2, which a token needs", errNoLogin)
	case has("PLAIN"):
		l.by = smtp.PlainAuth("", l.name, l.secret, l.host, loopback)
	case has("LOGIN"):
		l.by = smtp.LoginAuth(l.name, l.secret, l.host, loopback)
	default:
		return "", nil, fmt.Errorf("%w: neither PLAIN nor LOGIN", errNoLogin)
	}
	return l.by.Start(server)
}

// unrepeated takes from an answer what it repeats of the login: the secret, or the Base64 that it was sent in.
func (l *login) unrepeated(err error) error {
	reply := (*textproto.Error)(nil)
	if !errors.As(err, &reply) {
		return err
	}
	msg := reply.Msg
	for _, secret := range []string{"\x00" + l.name + "\x00" + l.secret, "user=" + l.name + "\x01auth=Bearer " + l.secret + "\x01\x01", l.secret} {
		if secret != "" {
			msg = strings.NewReplacer(base64.StdEncoding.EncodeToString([]byte(secret)), "***", secret, "***").Replace(msg)
		}
	}
	return &textproto.Error{Code: reply.Code, Msg: msg}
}

// Next implements smtp.Auth.
func (l *login) Next(fromServer []byte, more bool) ([]byte, error) {
	return l.by.Next(fromServer, more)
}

// helo is how we introduce ourselves: by a name that is one, whatever the machine is called.
func helo() string {
	name := hostname()
	if strings.ContainsFunc(name, func(r rune) bool {
		return !('a' <= r|0x20 && r|0x20 <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '.')
	}) {
		return "localhost"
	}
	return name
}

// render makes a mail of a message: plain text, and marked so that nothing answers it (RFC 3834 section 5).
func render(m Message, from string, to []string) ([]byte, error) {
	msg := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := msg.FromFormat("popfetchd on "+m.Host, from); err != nil {
		return nil, fmt.Errorf("the sender: %w", err)
	}
	if err := msg.To(to...); err != nil {
		return nil, fmt.Errorf("the recipients: %w", err)
	}
	msg.Subject(m.Subject)
	msg.SetDateWithValue(m.At)
	msg.SetMessageIDWithValue(m.id() + "@" + helo())
	if thread := m.thread(); thread != "" {
		root := "<" + thread + "@" + helo() + ">"
		msg.SetGenHeaderPreformatted(mail.HeaderInReplyTo, root)
		msg.SetGenHeaderPreformatted(mail.HeaderReferences, root)
	}
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetGenHeader("X-Auto-Response-Suppress", "All")
	msg.SetGenHeader("X-Popfetchd-Event", string(m.Event))
	if kinds := m.kinds(); len(kinds) > 0 {
		msg.SetGenHeader("X-Popfetchd-Kind", strings.Join(kinds, " "))
	}
	if m.Event == Trouble {
		msg.SetImportance(mail.ImportanceHigh)
	}
	msg.SetBodyString(mail.TypeTextPlain, m.Text)
	var b bytes.Buffer
	_, err := msg.WriteTo(&b)
	return b.Bytes(), err
}
