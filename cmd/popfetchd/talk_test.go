package main

import (
	"bytes"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// conversation is a program on a terminal of its own, and a script's part in
// talking to it.
type conversation struct {
	ts    *testscript.TestScript
	cmd   *exec.Cmd
	outer *os.File
	ended chan struct{} // closed once the terminal shows nothing more

	mu    sync.Mutex
	shown bytes.Buffer
	read  int // how much of shown has been matched
}

// cmdTalk plays a FILE's lines to a program on a terminal; SCREEN gets what the
// terminal showed, with what was typed as far as it echoed it.
//
//	> TEXT      types the line
//	type TEXT   types without Enter
//	^C, ^D      types that key
//	consent [deny]   goes through the consent page whose address was shown, to the end
//	paste [deny]     the same, but the browser cannot reach the program: types the last address
//	approve     types the code shown into the provider's page
//	anything else    waits until the terminal has shown it, behind what was waited for last
func cmdTalk(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) > 4, "talk CODE COLUMNS SCREEN FILE COMMAND…")
	outer, inner, err := openTerminal(number(ts, args[1]))
	ts.Check(err)
	defer outer.Close()
	c := &conversation{ts: ts, cmd: command(ts, args[4:]), outer: outer, ended: make(chan struct{})}
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = inner, inner, inner
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	ts.Check(c.cmd.Start())
	inner.Close()
	defer c.cmd.Process.Kill()
	go c.listen()
	for line := range strings.Lines(ts.ReadFile(args[3])) {
		c.play(strings.TrimSuffix(line, "\n"))
	}
	select {
	case <-c.ended:
	case <-time.After(patience):
		ts.Fatalf("the program does not end; the terminal shows:\n%s", c.screen())
	}
	wantCode(ts, number(ts, args[0]), c.cmd.Wait())
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(screen(c.screen(), number(ts, args[1]))), 0o600))
}

func (c *conversation) listen() {
	defer close(c.ended)
	buf := make([]byte, 4096)
	for {
		n, err := c.outer.Read(buf)
		c.mu.Lock()
		c.shown.Write(buf[:n])
		c.mu.Unlock()
		if err != nil {
			return // EIO, when the program has ended
		}
	}
}

func (c *conversation) screen() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shown.String()
}

func (c *conversation) play(line string) {
	switch word, rest, _ := strings.Cut(line, " "); word {
	case "", "#":
	case ">":
		c.send(rest + "\r")
	case "type":
		c.send(rest)
	case "^C", "^D":
		c.send(string(word[1] - '@'))
	case "consent":
		follow(c.ts, consented(c.ts, c.address(), rest))
	case "paste":
		c.send(consented(c.ts, c.address(), rest) + "\r")
	case "approve":
		code := c.expect(regexp.MustCompile(`\b[A-Z2-7]{4}-[A-Z2-7]{4}\b`))
		for _, s := range c.ts.Value(oauthKey{}).(oauthServers) {
			s.Approve(code, true)
		}
	default:
		c.expect(regexp.MustCompile(regexp.QuoteMeta(line)))
	}
}

func (c *conversation) send(text string) {
	_, err := c.outer.WriteString(text)
	c.ts.Check(err)
}

// address is the consent page's, which was waited for or passed by.
func (c *conversation) address() string {
	if shown := consentAddress.FindString(c.screen()); strings.Contains(shown, "&state=") {
		return shown
	}
	return c.expect(consentAddress)
}

var consentAddress = regexp.MustCompile(`http://127\.0\.0\.1:[0-9]+/auth\?\S+`)

// expect waits for the next place where the terminal shows what matches, in
// lines as they would be if it were wide enough.
func (c *conversation) expect(pattern *regexp.Regexp) string {
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(patience); ; <-look.C {
		c.mu.Lock()
		rest := c.shown.Bytes()[c.read:]
		at := pattern.FindIndex(rest)
		if at != nil {
			c.read += at[1]
		}
		c.mu.Unlock()
		switch {
		case at != nil:
			return string(rest[at[0]:at[1]])
		case time.Now().After(end):
			c.ts.Fatalf("the terminal does not show %s:\n%s", pattern, c.screen())
		}
	}
}

// consented goes through a consent page as a browser does, and returns the
// address that the browser is sent back to.
func consented(ts *testscript.TestScript, address, choice string) string {
	if choice == "" {
		choice = "allow"
	}
	page := fetchPage(ts, address)
	id := regexp.MustCompile(`name="id" value="([^"]+)"`).FindStringSubmatch(page)
	if id == nil {
		ts.Fatalf("%s is no consent page:\n%s", address, page)
	}
	u, err := url.Parse(address)
	ts.Check(err)
	u.RawQuery = ""
	return submit(ts, u.String(), url.Values{"id": {id[1]}, "choice": {choice}})
}
