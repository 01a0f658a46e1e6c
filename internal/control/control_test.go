package control

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/daemon"
	"github.com/popfetchd/popfetchd/internal/fetch"
)

// listen opens the socket in a state folder, and serves a daemon that has no account, and whose file is never read.
func listen(t *testing.T, folder string) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l, err := Listen(ctx, folder)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	d := &daemon.Daemon{Log: log, Reload: func() (*config.Config, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}}
	var serving sync.WaitGroup
	serving.Go(func() { Serve(ctx, l, d, log) })
	serving.Go(func() { d.Run(ctx, &config.Config{Parallel: 1}, nil, nil) })
	return func() {
		cancel()
		serving.Wait()
	}
}

// folders are a state folder as usual, and one whose path is too long for the address of a socket.
func folders(t *testing.T) []string {
	long := filepath.Join(t.TempDir(), strings.Repeat("a-long-name/", 20))
	if err := os.MkdirAll(long, 0o700); err != nil {
		t.Fatal(err)
	}
	return []string{t.TempDir(), long}
}

func TestSocket(t *testing.T) {
	for _, folder := range folders(t) {
		if _, err := Dial(t.Context(), folder); !errors.Is(err, ErrNotRunning) {
			t.Fatalf("nobody is there: %v", err)
		}
		end := listen(t, folder)
		info, err := os.Stat(filepath.Join(folder, socketName))
		if err != nil || info.Mode() != os.ModeSocket|0o600 {
			t.Errorf("socket: %v, %v", info, err)
		}
		c, err := Dial(t.Context(), folder)
		if err != nil {
			t.Fatal(err)
		}
		refused := (*RefusedError)(nil)
		if err := c.Fetch(t.Context(), []string{"joe"}, daemon.Follower{}); !errors.As(err, &refused) || !strings.Contains(err.Error(), `no account "joe"`) {
			t.Errorf("fetching: %v", err)
		}
		c.Close()
		end()
		if _, err := os.Lstat(filepath.Join(folder, socketName)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is left: %v", err)
		}
	}
}

// One state folder has one daemon; the second is told which process the first one is, and leaves its socket alone.
func TestTwoDaemons(t *testing.T) {
	folder := t.TempDir()
	end := listen(t, folder)
	_, err := Listen(t.Context(), folder)
	running := (*RunningError)(nil)
	if !errors.As(err, &running) || running.Process != strconv.Itoa(os.Getpid()) || !strings.Contains(err.Error(), folder) {
		t.Errorf("a second one: %v", err)
	}
	c, err := Dial(t.Context(), folder)
	if err != nil {
		t.Errorf("the first one cannot be reached: %v", err)
	} else {
		c.Close()
	}
	end()
	listen(t, folder)()
}

// A listener that is closed twice leaves its successor's socket alone.
func TestClosedTwice(t *testing.T) {
	folder := t.TempDir()
	first, err := Listen(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	defer listen(t, folder)()
	first.Close()
	c, err := Dial(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// A socket that nobody listens on any more is replaced; so is anything else of its name but a folder that is not empty.
func TestStaleSocket(t *testing.T) {
	folder := t.TempDir()
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(folder, socketName), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	old.SetUnlinkOnClose(false)
	old.Close()
	if _, err := Dial(t.Context(), folder); !errors.Is(err, ErrNotRunning) {
		t.Errorf("a socket of nobody: %v", err)
	}
	listen(t, folder)()
	if err := os.MkdirAll(filepath.Join(folder, socketName, "below"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first leaves no claim behind
		if l, err := Listen(t.Context(), folder); err == nil || errors.As(err, new(*RunningError)) {
			t.Errorf("%v, %v", l, err)
		}
	}
}

// A claim ends with the process, however that ends, and is not inherited by what it started.
func TestClaimIsNotInherited(t *testing.T) {
	folder := t.TempDir()
	end := listen(t, folder)
	child := exec.Command("sleep", "1000")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	defer child.Process.Kill()
	end()
	listen(t, folder)()
}

// What is no request gets an answer or at least an end, and the next client its turn.
func TestNonsense(t *testing.T) {
	folder := t.TempDir()
	defer listen(t, folder)()
	for sent, want := range map[string]string{
		"GET / HTTP/1.1\r\n\r\n":              "no JSON",
		"{}\n":                                "nothing that this daemon can do",
		"{\"do\":\"fly\"}\n":                  `\"fly\"`,
		strings.Repeat("x", maxLine+1) + "\n": "reading the request",
	} {
		conn, err := net.Dial("unix", filepath.Join(folder, socketName))
		if err != nil {
			t.Fatal(err)
		}
		go io.WriteString(conn, sent)
		answer, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.Contains(answer, want) {
			t.Errorf("%.20q: %q, %v; want %q", sent, answer, err, want)
		}
		conn.Close()
	}
}

// The daemon's end ends talks that are under way, and a client's end the wait for an answer.
func TestEnds(t *testing.T) {
	folder := t.TempDir()
	end := listen(t, folder)
	c, err := Dial(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answered := make(chan error)
	go func() { // nobody carries this out
		_, err := c.Reload(t.Context())
		answered <- err
	}()
	patient, err := Dial(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	defer patient.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	if _, err := patient.Reload(ctx); !errors.Is(err, why) {
		t.Errorf("an impatient client: %v", err)
	}
	end()
	if err := <-answered; err == nil {
		t.Error("loaded without a daemon")
	}
}

// A report and its error arrive as they were sent, as far as views and exit codes need them.
func TestReportOnItsWay(t *testing.T) {
	sent := fetch.Report{Account: "joe", Listed: 9, New: 3, Stored: 2, Bytes: 1 << 40, Deleted: 1, Failed: 1, Sessions: 2, Took: time.Second,
		NotBefore: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC),
		Err:       &fetch.Error{Account: "joe", Doing: "storing", Err: &os.PathError{Op: "write", Path: "/mail", Err: errors.New("disk full")}}}
	got := newReport(sent).report()
	failure := (*Failure)(nil)
	if !errors.As(got.Err, &failure) || failure.Kind != fetch.Local || got.Err.Error() != sent.Err.Error() {
		t.Errorf("error %v of kind %d", got.Err, failure.Kind)
	}
	if run := (*fetch.Error)(nil); !errors.As(got.Err, &run) || run.Doing != "storing" {
		t.Errorf("%v is not about storing", got.Err)
	}
	got.Err, sent.Err = nil, nil
	if got != sent {
		t.Errorf("got  %+v\nwant %+v", got, sent)
	}
	if r := newReport(sent).report(); r.Err != nil {
		t.Error(r.Err)
	}
	a := config.Account{Name: "joe", Provider: "gmail", Host: "pop.gmail.com", Port: 995}
	if b := newAccount(a).account(); b.Name != a.Name || !b.Preset().Windowed || b.Host != a.Host || b.Port != a.Port {
		t.Errorf("account %+v", b)
	}
}

// Who listens has to be root, this user, or the state folder's owner.
func TestWhoIsTrusted(t *testing.T) {
	for _, c := range []struct {
		other, self, owner int
		good               bool
	}{
		{0, 1000, 1000, true}, {1000, 1000, 1001, true}, {990, 0, 990, true}, {1000, 0, 990, false}, {1000, 990, 0, false},
	} {
		if err := judge(c.other, c.self, c.owner, "/state"); (err == nil) != c.good {
			t.Errorf("user %d listens to user %d in a folder of user %d: %v", c.self, c.other, c.owner, err)
		}
	}
}
