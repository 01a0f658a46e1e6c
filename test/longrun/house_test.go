package longrun

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/test/program"
)

// patience is how long anything may take at most, on a machine that is busy.
const patience = 5 * time.Minute

// house is a server with many accounts, and the daemon that fetches them, a process of its own.
type house struct {
	*testing.T
	server   *popsim.Server
	accounts []*popsim.Account
	dir      string
	process  *exec.Cmd
	over     <-chan time.Time // patience is at its end

	mu      sync.Mutex
	lines   []line                   // of its log
	trouble map[string]popsim.Action // what goes wrong, by command and user name
}

// line is one of the daemon's log.
type line struct {
	Level   string `json:"level"`
	Text    string `json:"msg"`
	Account string `json:"account"`
}

func (l line) String() string { return strings.TrimSpace(l.Level + " " + l.Text + " " + l.Account) }

// open starts a server with so many accounts, and the daemon, and has each account fetched once.
func open(t *testing.T, accounts int) *house {
	t.Helper()
	h := &house{T: t, dir: t.TempDir(), over: time.After(patience)}
	c := popsim.Config{Mode: popsim.ImplicitTLS, Pipelining: true}
	for i := range accounts {
		a := &popsim.Account{Username: h.name(i), Password: program.Password}
		h.accounts = append(h.accounts, a)
		c.Accounts = append(c.Accounts, a)
	}
	var err error
	h.server, err = popsim.Start("127.0.0.1:0", c)
	h.must(err)
	t.Cleanup(func() { h.server.Close() })
	h.server.SetFault(h.fault)
	h.configure()
	h.start()
	h.wait("the daemon", func() bool {
		_, err := os.Stat(filepath.Join(h.dir, "web.sock"))
		return err == nil
	})
	if o := h.fetch(); o.Code != 0 {
		t.Fatalf("exit code %d\n%s%s", o.Code, o.Stdout, o.Stderr)
	}
	return h
}

// fault makes happen what trouble says. Of a connection that has only begun nobody knows whose it is.
func (h *house) fault(r popsim.Request) popsim.Action {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.trouble[r.Command+" "+r.Username]
}

// befall has this go wrong from now on, and nothing else.
func (h *house) befall(trouble map[string]popsim.Action) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trouble = trouble
}

// fetch has the daemon run every account, and waits until all have.
func (h *house) fetch(names ...string) program.Outcome {
	h.Helper()
	return program.Finish(h, h.command(append([]string{"fetch"}, names...)...))
}

// command is the program, with the daemon's configuration.
func (h *house) command(args ...string) *exec.Cmd {
	return exec.Command(program.Path(), append([]string{"--config", h.config()}, args...)...)
}

func (h *house) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *house) name(i int) string { return fmt.Sprintf("account%03d", i) }

// configure writes a file whose schedules come seldom: runs come when they are asked for.
func (h *house) configure() {
	h.Helper()
	ca := filepath.Join(h.dir, "ca.pem")
	h.must(os.WriteFile(ca, h.server.CACertificate(), 0o600))
	h.must(os.WriteFile(filepath.Join(h.dir, "password"), []byte(program.Password), 0o600))
	text := fmt.Sprintf("state_dir: %s/state\nlisten: unix:%[1]s/web.sock\nschedule: \"@yearly\"\nparallel: 8\nalerts: {ping: \"%s/{account}\", mailbox: %s}\naccounts:\n",
		h.dir, h.pinged(), h.name(0))
	for i := range h.accounts {
		text += fmt.Sprintf("  - {name: %s, host: 127.0.0.1, port: %d, ca_file: %s, username: %[1]s, password_file: %[4]s/password, maildir: %[4]s/mail/%[1]s}\n",
			h.name(i), h.server.Addr().(*net.TCPAddr).Port, ca, h.dir)
	}
	h.must(os.WriteFile(h.config(), []byte(text), 0o600))
}

// pinged starts a service that notices when nothing comes, and returns its address.
func (h *house) pinged() string {
	service := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	h.Cleanup(service.Close)
	return service.URL
}

func (h *house) config() string { return filepath.Join(h.dir, "popfetchd.yaml") }

// start runs the daemon until the test ends, and reads its log.
func (h *house) start() {
	h.Helper()
	h.process = exec.Command(program.Path(), "--config", h.config(), "--log-format", "json")
	log, err := h.process.StderrPipe()
	h.must(err)
	h.must(h.process.Start())
	read := make(chan struct{})
	go func() {
		defer close(read)
		h.read(log)
	}()
	h.Cleanup(func() {
		_ = h.process.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		<-read
		if err := h.process.Wait(); err != nil {
			h.Errorf("the daemon ended with %v", err)
		}
	})
}

func (h *house) read(log io.Reader) {
	scanner := bufio.NewScanner(log)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		l := line{}
		if err := json.Unmarshal(scanner.Bytes(), &l); err != nil {
			l.Text = scanner.Text()
		}
		h.mu.Lock()
		h.lines = append(h.lines, l)
		h.mu.Unlock()
	}
}

// taken returns the lines that were logged since it was last called.
func (h *house) taken() []line {
	h.mu.Lock()
	defer h.mu.Unlock()
	lines := h.lines
	h.lines = nil
	return lines
}

// wait looks again and again until something is so.
func (h *house) wait(what string, so func() bool) {
	h.Helper()
	often := time.NewTicker(20 * time.Millisecond)
	defer often.Stop()
	for !so() {
		select {
		case <-often.C:
		case <-h.over:
			h.Fatalf("waited for %s in vain\n%s", what, h.status())
		}
	}
}

// status is what the kernel knows of the daemon.
func (h *house) status() string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.process.Process.Pid))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// figure is one of status, in KiB if it is memory.
func (h *house) figure(name string) int {
	h.Helper()
	_, after, _ := strings.Cut(h.status(), name+":")
	fields := strings.Fields(after)
	if len(fields) == 0 {
		h.Fatalf("no %s in\n%s", name, h.status())
	}
	n, err := strconv.Atoi(fields[0])
	h.must(err)
	return n
}

// goroutines is how many there are, as the daemon's own metrics say. Two of them are this question's.
func (h *house) goroutines() int {
	h.Helper()
	dialer := net.Dialer{}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, "unix", filepath.Join(h.dir, "web.sock"))
	}}
	answer, err := (&http.Client{Transport: transport}).Get("http://localhost/metrics")
	h.must(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	h.must(err)
	_, after, _ := strings.Cut(string(text), "\ngo_goroutines ")
	n := 0
	if _, err := fmt.Sscan(after, &n); err != nil {
		h.Fatalf("%s\n%s", answer.Status, text)
	}
	return n
}

// files are the open ones of the daemon, by what they lead to.
func (h *house) files() []string {
	h.Helper()
	folder := fmt.Sprintf("/proc/%d/fd", h.process.Process.Pid)
	entries, err := os.ReadDir(folder)
	h.must(err)
	var files []string
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join(folder, e.Name())); err == nil { // else it was closed just now
			files = append(files, to)
		}
	}
	return files
}
