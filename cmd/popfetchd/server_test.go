package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/popfetchd/popfetchd/internal/popsim"
)

// servers are the POP3 servers of a script, by name.
type servers map[string]*testServer

type serversKey struct{}

type testServer struct {
	*popsim.Server
	account *popsim.Account
	struck  chan struct{} // one value for each time the fault was met, as long as nobody takes it
}

func named(ts *testscript.TestScript, name string) *testServer {
	s := ts.Value(serversKey{}).(servers)[name]
	if s == nil {
		ts.Fatalf("no server named %s", name)
	}
	return s
}

func cmdServer(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) > 0, "server NAME [KEY=VALUE…]")
	name, options := args[0], map[string]string{"n": "3", "pass": "secret", "tls": "implicit", "user": args[0]}
	for _, arg := range args[1:] {
		key, value, _ := strings.Cut(arg, "=")
		options[key] = value
	}
	account, secret := &popsim.Account{Username: options["user"], Password: options["pass"]}, "secret"
	if options["gmail"] != "" {
		secret = options["pass"]
		account.Gmail = &popsim.GmailBox{Window: number(ts, options["gmail"])}
	}
	for i := range number(ts, options["n"]) {
		deliver(account, fmt.Sprintf("message %d", i+1), "")
	}
	c := popsim.Config{
		Accounts:   []*popsim.Account{account},
		Mode:       popsim.TLSMode(options["tls"]),
		Pipelining: true,
	}
	if options["microsoft"] != "" {
		c.Dialect = popsim.Microsoft
	}
	if issuer := options["oauth"]; issuer != "" {
		c.Token = func(user, token string) bool { return ts.Value(oauthKey{}).(oauthServers)[issuer].Valid(user, token) }
	}
	var pem []byte
	if kind := options["cert"]; kind != "" {
		c.TLS, pem = badCertificate(ts, kind)
	}
	server, err := popsim.Start("127.0.0.1:0", c)
	ts.Check(err)
	ts.Defer(func() { server.Close() })
	ts.Value(serversKey{}).(servers)[name] = &testServer{server, account, make(chan struct{}, 1)}

	if pem == nil {
		pem = server.CACertificate()
	}
	ts.Check(os.WriteFile(ts.MkAbs(name+".pem"), pem, 0o644))
	ts.Check(os.WriteFile(ts.MkAbs(name+".password"), []byte(secret+"\n"), 0o600))
	_, port, err := net.SplitHostPort(server.Addr().String())
	ts.Check(err)
	ts.Setenv(name, server.Addr().String())
	ts.Setenv(name+"_port", port)
}

// badCertificate is a TLS configuration that clients must refuse although they
// trust the authority: expired, or for another host.
func badCertificate(ts *testscript.TestScript, kind string) (*tls.Config, []byte) {
	authority, err := popsim.NewAuthority()
	ts.Check(err)
	end, host := time.Now().AddDate(1, 0, 0), "127.0.0.1"
	switch kind {
	case "expired":
		end = time.Now().AddDate(0, 0, -3)
	case "wrong":
		host = "mail.example.org"
	default:
		ts.Fatalf("cert=%s: want expired or wrong", kind)
	}
	certificate, err := authority.Issue(end, host)
	ts.Check(err)
	return &tls.Config{Certificates: []tls.Certificate{certificate}}, authority.PEM()
}

func deliver(account *popsim.Account, subject, uid string) {
	body := "From: someone@example.org\r\nSubject: " + subject + "\r\n\r\nHello.\r\n.\r\nFrom here on\r\n"
	account.Deliver(popsim.Message{UID: uid, Body: []byte(body)})
}

func cmdDeliver(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && (len(args) == 2 || len(args) == 3), "deliver NAME SUBJECT [UID]")
	deliver(named(ts, args[0]).account, args[1], strings.Join(args[2:], ""))
}

func cmdHolds(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 2, "holds NAME N")
	if n := len(named(ts, args[0]).account.Messages()); n != number(ts, args[1]) {
		ts.Fatalf("server %s holds %d messages, want %s", args[0], n, args[1])
	}
}

func cmdFault(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) >= 2, "fault NAME COMMAND TEXT")
	text, err := strconv.Unquote(`"` + strings.Join(args[2:], " ") + `"`)
	ts.Check(err)
	action := popsim.Refuse(text)
	switch text {
	case "hangup":
		action = popsim.HangUp()
	case "stall":
		action = popsim.Stall()
	}
	fault := popsim.On(args[1], 0, action)
	if args[1] == "LOGIN" {
		fault = popsim.FirstOf(popsim.On("PASS", 0, action), popsim.On("AUTH", 0, action))
	}
	s := named(ts, args[0])
	s.SetFault(func(r popsim.Request) popsim.Action {
		if r.Command == args[1] {
			select {
			case s.struck <- struct{}{}:
			default:
			}
		}
		return fault(r)
	})
}

func cmdStruck(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 1, "struck NAME")
	select {
	case <-named(ts, args[0]).struck:
	case <-time.After(patience):
		ts.Fatalf("server %s did not meet its fault", args[0])
	}
}

func cmdVisited(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 2, "visited NAME N")
	account, want := named(ts, args[0]).account, number(ts, args[1])
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(patience); account.Quits() < want; <-look.C {
		if time.Now().After(end) {
			ts.Fatalf("server %s was visited %d times, want %d", args[0], account.Quits(), want)
		}
	}
}
