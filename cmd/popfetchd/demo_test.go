package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// With --keep-serving the server of the demo is there for other programs until
// it is told to stop.
func TestDemoKeepsServing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	out, in := io.Pipe()
	var stderr bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"demo", "--keep-serving", dir}, in, &stderr)
		in.Close()
	}()
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "Then your own mail") {
	}

	var stdout, other bytes.Buffer
	if c := run(ctx, []string{"--config", filepath.Join(dir, "popfetchd.yaml"), "--once", "-v"}, &stdout, &other); c != exitFine {
		t.Errorf("fetching from it: exit code %d: %s", c, &other)
	}
	for _, want := range []string{"kept: nothing new", "moved: nothing new"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("got %q, want %q in it", &stdout, want)
		}
	}

	cancel()
	io.Copy(io.Discard, out)
	if c := <-code; c != exitFine || stderr.Len() > 0 {
		t.Errorf("exit code %d, stderr %q", c, &stderr)
	}
}

// One of the demo's accounts is Gmail's and takes several windows to fetch; both
// have a password as Google gives them.
func TestDemoServer(t *testing.T) {
	s, err := startDemoServer(false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	kept, moved := s.accounts[0], s.accounts[1]
	if kept.Gmail == nil || moved.Gmail != nil {
		t.Error("not the account that is kept is Gmail's")
	}
	conversations := map[string]bool{}
	for _, m := range kept.Messages() {
		if m.Thread == "" {
			m.Thread = m.UID
		}
		conversations[m.Thread] = true
	}
	if n := len(conversations); n <= 2*kept.Gmail.Window {
		t.Errorf("%d conversations take two windows at most", n)
	}
	if !regexp.MustCompile(`^[a-z]{16}$`).MatchString(s.password) {
		t.Errorf("password %q", s.password)
	}
}

// slowDown spreads the sending over the time given, and changes no byte.
func TestSlowDown(t *testing.T) {
	s, err := startDemoServer(false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	messages := s.accounts[0].Messages()[:20]
	want := make([][]byte, len(messages))
	for i, m := range messages {
		want[i] = m.Stored()
	}
	const over = 50 * time.Millisecond
	slowDown(messages, over)
	began := time.Now()
	for i, m := range messages {
		if !bytes.Equal(m.Stored(), want[i]) {
			t.Errorf("message %d changed", i)
		}
	}
	if d := time.Since(began); d < over {
		t.Errorf("took %v, want at least %v", d, over)
	}
}
