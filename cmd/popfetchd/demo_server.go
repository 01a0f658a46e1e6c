package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/internal/popsim/sample"
)

const (
	demoKept  = "kept"  // the account that is fetched into a Maildir
	demoMoved = "moved" // the account that is fetched into an mbox, and deleted

	// demoMark begins the configuration of a demo: a folder with it may be
	// used for the next one.
	demoMark = "# popfetchd demo"

	// demoWindow is how many conversations a session of the account that is
	// kept lists: fewer than Gmail's 250, so that it takes several to fetch all.
	demoWindow = 100

	// watchable is how long the demo's server takes to send an account's mail
	// when somebody looks on.
	watchable = 1500 * time.Millisecond

	// newMail is how often a server that goes on gets a message.
	newMail = 20 * time.Second
)

const demoConfig = demoMark + `: two accounts on a server that only lives within "popfetchd demo".
# Paths are taken from this file's folder. docs/config.md tells of every key.
state_dir: state
schedule: "@every 15m"
accounts:
  - name: ` + demoKept + `
    provider: gmail
    host: %[1]s              # your own account needs neither this
    port: %[2]s                  # nor this
    ca_file: ca.pem              # instead of the system's authorities
    username: ` + demoKept + `@demo.example
    password_file: password      # Gmail's 16 letters
    policy: keep                 # Gmail keeps its copies in the inbox
    maildir: Maildir
  - name: ` + demoMoved + `
    host: %[1]s
    port: %[2]s
    tls: implicit
    ca_file: ca.pem
    username: ` + demoMoved + `@demo.example
    password_file: password
    policy: delete               # they are deleted once they are safe here
    mbox: mail.mbox
`

// ownFolder makes the folder for a demo or sim, or empties one that an earlier
// one has left: its configuration begins with mark. It touches no other folder
// that holds anything, and of its own only the files named. Without dir it is a
// new one for temporary files.
func ownFolder(dir, command, mark string, files ...string) (string, error) {
	if dir == "" {
		return os.MkdirTemp("", "popfetchd-"+command+"-")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	list, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return dir, os.MkdirAll(dir, 0o700)
	case err != nil || len(list) == 0:
		return dir, err
	}
	text, _ := os.ReadFile(filepath.Join(dir, "popfetchd.yaml"))
	if !strings.HasPrefix(string(text), mark) {
		return "", usagef("%s is not empty, and not the folder of an earlier %s; name a new one", dir, command)
	}
	for _, name := range files {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, name)))
	}
	return dir, err
}

// demoServer is the built-in server with its two accounts.
type demoServer struct {
	*popsim.Server
	accounts []*popsim.Account
	password string
}

// startDemoServer starts a server on a free port of this machine. The account
// that is kept behaves as Gmail's do, the other one as RFC 1939 has it. Slowly,
// it sends no faster than the eye can follow.
func startDemoServer(slowly bool) (*demoServer, error) {
	s := &demoServer{password: appPassword()}
	for _, name := range []string{demoKept, demoMoved} {
		account := &popsim.Account{Username: name + "@demo.example", Password: s.password}
		if name == demoKept {
			account.Gmail = &popsim.GmailBox{Window: demoWindow}
		}
		messages := slices.Collect(sample.Messages())
		if slowly {
			slowDown(messages, watchable)
		}
		for _, m := range messages {
			account.Deliver(m)
		}
		s.accounts = append(s.accounts, account)
	}
	var err error
	s.Server, err = popsim.Start("127.0.0.1:0", popsim.Config{Accounts: s.accounts, Dialect: popsim.Gmail, Pipelining: true})
	return s, err
}

// appPassword makes up a password in the form of Google's app passwords: 16
// letters.
func appPassword() string {
	letter := func(r rune) rune {
		if r >= '2' && r <= '7' { // rand.Text has these six digits, too
			return 'z' - (r - '2')
		}
		return r - 'A' + 'a'
	}
	return strings.Map(letter, rand.Text()[:16])
}

// writeDemoFiles writes the configuration and what it names, and returns the
// configuration's path.
func writeDemoFiles(dir string, s *demoServer) (string, error) {
	host, port, err := net.SplitHostPort(s.Addr().String())
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "popfetchd.yaml")
	return file, errors.Join(
		os.WriteFile(filepath.Join(dir, "ca.pem"), s.CACertificate(), 0o600),
		os.WriteFile(filepath.Join(dir, "password"), []byte(s.password+"\n"), 0o600),
		os.WriteFile(file, fmt.Appendf(nil, demoConfig, host, port), 0o600),
	)
}

// deliverUntil gives the accounts a new message now and then until ctx ends.
func (s *demoServer) deliverUntil(ctx context.Context) {
	tick := time.NewTicker(newMail)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case at := <-tick.C:
			for _, account := range s.accounts {
				account.Deliver(popsim.Message{Received: at, Body: fmt.Appendf(nil,
					"From: popfetchd demo <demo@demo.example>\r\nTo: %s\r\nSubject: New message %d\r\nDate: %s\r\n"+
						"Message-ID: <new-%d@demo.example>\r\n\r\nThis one came while the server was running.\r\n",
					account.Username, n, at.Format(time.RFC1123Z), at.UnixNano())})
			}
		}
	}
}

// slowDown spreads the sending of messages over a time.
func slowDown(messages []popsim.Message, over time.Duration) {
	p := &pace{over: over}
	for i, m := range messages {
		messages[i].Size = m.Octets()
		messages[i].Open = func() io.Reader { return &pacedReader{m.Reader(), p} }
		p.total += messages[i].Size
	}
}

// pace is how far the sending of some messages has come.
type pace struct {
	over  time.Duration
	total int64

	mu    sync.Mutex
	began time.Time
	sent  int64
}

// wait waits until it is time for n bytes more.
func (p *pace) wait(n int) {
	p.mu.Lock()
	if p.began.IsZero() {
		p.began = time.Now()
	}
	p.sent += int64(n)
	due := p.began.Add(time.Duration(float64(p.sent) / float64(p.total) * float64(p.over)))
	p.mu.Unlock()
	time.Sleep(time.Until(due))
}

// pacedReader reads no faster than its pace.
type pacedReader struct {
	r    io.Reader
	pace *pace
}

func (p *pacedReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.pace.wait(n)
	return n, err
}

// programName is how to call this program from the command line, as a shell takes it.
func programName() string {
	const name = "popfetchd"
	self, err := os.Executable()
	if err != nil {
		return name
	}
	if found, err := exec.LookPath(name); err == nil {
		if found, err = filepath.EvalSymlinks(found); err == nil && found == self {
			return name
		}
	}
	if folder, err := os.Getwd(); err == nil && folder == filepath.Dir(self) {
		return shellWord("./" + filepath.Base(self))
	}
	return shellWord(self)
}
