package alert

import (
	"bufio"
	"fmt"
	"io"
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
