package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/oauthsim"
	"github.com/popfetchd/popfetchd/internal/popsim"
)

// simMark begins the configuration of a sim: a folder with it may be used for
// the next one.
const simMark = "# popfetchd sim"

const simConfig = simMark + `: an account on a server that only lives within "popfetchd sim".
# Paths are taken from this file's folder. docs/config.md tells of every key.
state_dir: state
accounts:
  - name: sim
    provider: gmail
    host: %-22s # your own account needs neither this
    port: %-22s # nor this
    ca_file: ca.pem              # nor this
    username: ` + simUser + `
%s    policy: %-20s # as Gmail's setting, which --disposition gave
    maildir: Maildir
`

const simWithPassword = `    password_file: password      # Gmail's 16 letters
`

// simWithOAuth has the addresses that the provider knows for your own account.
const simWithOAuth = `    auth: xoauth2
    oauth:
      client_id: %s
      client_secret_file: client_secret
      auth_url: %[2]s/auth       # your own account needs none of these addresses
      token_url: %[2]s/token
      revoke_url: %[2]s/revoke
      api_url: %[2]s
%[3]s`

const simClient = "popfetchd-sim.apps.example.com"

// simServer is the account and those who serve it.
type simServer struct {
	*popsim.Server
	account  *popsim.Account
	google   *oauthsim.Server // nil: an app password opens the account
	password string
	secret   string // the client's
}

// startSim starts what the plan asks for. The teller is told of every session,
// and of every change of Gmail's settings.
func startSim(p *simPlan, t *simTeller) (*simServer, error) {
	s := &simServer{password: appPassword(), secret: rand.Text()}
	s.account = &popsim.Account{Username: simUser, Password: s.password, Gmail: &p.box}
	t.account = s.account
	for m := range p.mail(time.Now()) {
		s.account.Deliver(m)
	}
	if p.oauth {
		if err := s.startGoogle(p, t.saved); err != nil {
			return nil, err
		}
		s.account.Password = rand.Text() // nobody's
		p.server.Token = s.google.Valid
	}
	p.server.Accounts, p.server.Watch = []*popsim.Account{s.account}, t.hear
	var err error
	if s.Server, err = popsim.Start(p.addr, p.server); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *simServer) startGoogle(p *simPlan, saved func()) (err error) {
	host, _, err := net.SplitHostPort(p.addr)
	if err != nil {
		return err
	}
	s.google, err = oauthsim.Start(net.JoinHostPort(host, "0"), oauthsim.Config{
		ClientID: simClient, ClientSecret: s.secret, Username: simUser, TokenLife: p.life,
		Settings: func() (string, string) {
			access, disposition := s.account.Settings()
			return string(access), string(disposition)
		},
		SetSettings: func(access, disposition string) {
			s.account.SaveSettings(popsim.AccessWindow(access), popsim.Disposition(disposition))
			saved()
		},
	})
	return err
}

func (s *simServer) close() error {
	var errs []error
	if s.Server != nil {
		errs = append(errs, s.Server.Close())
	}
	if s.google != nil {
		errs = append(errs, s.google.Close())
	}
	return errors.Join(errs...)
}

// writeFiles writes the configuration and what it names, and returns the
// configuration's path.
func (s *simServer) writeFiles(dir string, p *simPlan) (string, error) {
	_, port, err := net.SplitHostPort(s.Addr().String())
	if err != nil {
		return "", err
	}
	login, name, secret := simWithPassword, "password", s.password
	if s.google != nil {
		access := ""
		if p.box.Access == popsim.FromNowOn {
			access = "    access: from-now-on          # likewise\n"
		}
		login, name, secret = fmt.Sprintf(simWithOAuth, simClient, s.google.URL(), access), "client_secret", s.secret
	}
	file := filepath.Join(dir, "popfetchd.yaml")
	return file, errors.Join(
		os.WriteFile(filepath.Join(dir, "ca.pem"), s.CACertificate(), 0o600),
		os.WriteFile(filepath.Join(dir, name), []byte(secret+"\n"), 0o600),
		os.WriteFile(file, fmt.Appendf(nil, simConfig, quotedHost(p.host), port, login, p.policy), 0o600),
	)
}

// quotedHost is a host as YAML has it: the colons of an IPv6 address would be
// taken for something else.
func quotedHost(host string) string {
	if strings.Contains(host, ":") {
		return `"` + host + `"`
	}
	return host
}

// sim plays Gmail until ctx ends.
func (a *app) sim(ctx context.Context, dir string, p *simPlan) error {
	dir, err := ownFolder(dir, "sim", simMark, "state", "Maildir", "ca.pem", "password", "client_secret")
	if err != nil {
		return err
	}
	t := &simTeller{app: a, ready: make(chan struct{})}
	server, err := startSim(p, t)
	if err != nil {
		return &exitError{code: exitTemporary, err: fmt.Errorf("sim: %w; choose another address with --addr", err)}
	}
	file, err := server.writeFiles(dir, p)
	if err == nil {
		_, err = config.Load(file)
	}
	if err != nil {
		close(t.ready) // a session may wait for it, and closing for the session
		return errors.Join(err, server.close())
	}
	t.begin(server, dir, file, p)
	server.deliver(ctx, p, t)
	err = server.close()
	t.end()
	return err
}

// deliver brings new mail now and then until ctx ends.
func (s *simServer) deliver(ctx context.Context, p *simPlan, t *simTeller) {
	var tick <-chan time.Time // of a clock that stands still
	if p.newMail > 0 {
		ticker := time.NewTicker(p.newMail)
		defer ticker.Stop()
		tick = ticker.C
	}
	for n := p.messages; ; n++ {
		select {
		case <-ctx.Done():
			return
		case at := <-tick:
			m := popsim.Message{Received: at, Labels: popsim.InInbox, Unread: true}
			p.write(&m, n, "New mail while the server runs", simPeople[n%len(simPeople)])
			s.account.Deliver(m)
			t.delivered()
		}
	}
}
