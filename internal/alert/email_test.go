package alert

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/popfetchd/popfetchd/internal/config"
)

// postOffice is a submission server without TLS, as loopback may have one. It refuses the recipients that have an answer here.
type postOffice struct {
	port    int
	refuses map[string]string
	mu      sync.Mutex
	mails   [][]string // the recipients of each mail that was taken
}

func newPostOffice(t *testing.T, refuses map[string]string) *postOffice {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &postOffice{port: listener.Addr().(*net.TCPAddr).Port, refuses: refuses}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() { listener.Close(); all.Wait() })
	return p
}

// serve is one session: strict in what it takes (RFC 5321 section 4.1.2 wants the brackets).
func (p *postOffice) serve(conn net.Conn) {
	defer conn.Close()
	r := textproto.NewReader(bufio.NewReader(conn))
	answer := func(line string) { fmt.Fprintf(conn, "%s\r\n", line) }
	answer("220 here")
	var to []string
	for {
		line, err := r.ReadLine()
		if err != nil {
			return
		}
		recipient, isRecipient := strings.CutPrefix(line, "RCPT TO:")
		address, open := strings.CutPrefix(recipient, "<")
		address, closed := strings.CutSuffix(address, ">")
		switch {
		case isRecipient && !(open && closed):
			answer("555 5.5.2 syntax error")
		case isRecipient && p.refuses[address] != "":
			answer(p.refuses[address])
			if strings.HasPrefix(p.refuses[address], "421") {
				return
			}
		case isRecipient:
			to = append(to, address)
			answer("250 ok")
		case line == "DATA" && len(to) == 0:
			answer("554 no valid recipients")
		case line == "DATA":
			answer("354 go on")
			if _, err := io.Copy(io.Discard, r.DotReader()); err != nil {
				return
			}
			p.mu.Lock()
			p.mails = append(p.mails, to)
			p.mu.Unlock()
			to = nil
			answer("250 taken")
		default:
			answer("250 ok")
		}
	}
}

// taken returns the recipients of each mail since the last call.
func (p *postOffice) taken() [][]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	mails := p.mails
	p.mails = nil
	return mails
}

// to is a channel that submits here.
func (p *postOffice) to(recipients ...string) email {
	return email{settings: config.Email{To: recipients, From: "popfetchd@example.net", Host: "127.0.0.1", Port: p.port, TLS: "none"}}
}

// Servers that go by the letter of RFC 5321 take a recipient in brackets alone.
func TestSubmission(t *testing.T) {
	p := newPostOffice(t, nil)
	to := []string{"me@example.net", "you@example.net"}
	if err := p.to(to...).send(t.Context(), sample()); err != nil {
		t.Error(err)
	}
	if mails := p.taken(); len(mails) != 1 || !slices.Equal(mails[0], to) {
		t.Errorf("it went to %v", mails)
	}
}

// A recipient that the server does not take keeps the mail from nobody else, and is named.
func TestRefusedRecipients(t *testing.T) {
	p := newPostOffice(t, map[string]string{
		"bad@example.net":  "550 5.1.1 no such user",
		"full@example.net": "452 4.2.2 mailbox full",
		"end@example.net":  "421 4.3.2 shutting down",
	})
	server := fmt.Sprintf("127.0.0.1:%d", p.port)
	for _, test := range []struct {
		to, taken []string
		partly    bool
		says      string // "" for no error
	}{
		{[]string{"me@example.net", "you@example.net"}, []string{"me@example.net", "you@example.net"}, false, ""},
		{[]string{"bad@example.net", "me@example.net", "full@example.net"}, []string{"me@example.net"}, true,
			server + ` refused the recipient bad@example.net: 550 "5.1.1 no such user"; ` +
				server + ` refused the recipient full@example.net: 452 "4.2.2 mailbox full"; it went to me@example.net`},
		{[]string{"bad@example.net", "full@example.net"}, nil, false,
			server + ` refused the recipient bad@example.net: 550 "5.1.1 no such user"; ` +
				server + ` refused the recipient full@example.net: 452 "4.2.2 mailbox full"`},
		{[]string{"me@example.net", "end@example.net", "you@example.net"}, nil, false,
			server + ` refused the recipient end@example.net: 421 "4.3.2 shutting down"`},
	} {
		err := p.to(test.to...).send(t.Context(), sample())
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != test.says || errors.As(err, new(*partlyError)) != test.partly {
			t.Errorf("%v: %v, want %s", test.to, err, test.says)
		}
		if mails := slices.Concat(p.taken()...); !slices.Equal(mails, test.taken) {
			t.Errorf("%v: it went to %v", test.to, mails)
		}
	}
}

// What reached one of several counts as told: it is not sent again, and the log names the others.
func TestToldToSome(t *testing.T) {
	p := newPostOffice(t, map[string]string{"bad@example.net": "550 no such user"})
	w := newWorld(t, nil, fmt.Sprintf("{ email: { host: 127.0.0.1, port: %d, tls: none, to: [bad@example.net, me@example.net] } }", p.port), "joe")
	var log strings.Builder
	w.log = slog.New(slog.NewTextHandler(&log, nil))
	w.ran("joe", errCertificate)
	w.after(2 * firstRetry)
	w.ran("joe", errCertificate)
	w.after(lookEvery)
	if mails := p.taken(); len(mails) != 1 {
		t.Errorf("mails to %v", mails)
	}
	w.ran("joe", nil)
	w.after(lookEvery)
	if mails := p.taken(); len(mails) != 1 {
		t.Errorf("all-clears to %v", mails)
	}
	if got := log.String(); strings.Count(got, "level=WARN") != 2 || strings.Count(got, "refused the recipient bad@example.net") != 2 {
		t.Errorf("the log says\n%s", got)
	}
}
