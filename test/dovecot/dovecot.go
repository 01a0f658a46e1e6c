// Package dovecot runs a private Dovecot for the tests and the benchmark: real
// POP3, POP3S, STLS and IMAP on ports of its own on the loopback addresses,
// with a certificate of its own making and mailboxes that the caller fills.
//
// Nothing of the system's Dovecot is used but its programs: configuration,
// sockets, users, logs and mail lie in one folder, which goes away with the
// server. The whole server runs as one unprivileged user: the caller, or
// Dovecot's own user when the caller is root (Dovecot serves no mail as root).
package dovecot

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	startTimeout = 20 * time.Second // for all ports to answer; a busy machine needs some seconds
	stopTimeout  = 5 * time.Second  // for an orderly end before the process group is killed
	portAttempts = 5                // another program may take a free port before Dovecot binds it
)

// ErrNotInstalled says that Dovecot's programs are missing on this machine.
var ErrNotInstalled = errors.New("dovecot is not installed: run test/setup.sh, or install the packages dovecot-pop3d and dovecot-imapd")

// errPortTaken makes Run try again with other ports.
var errPortTaken = errors.New("a port was taken by another program meanwhile")

// Options choose what differs from one server to another. The zero value is a
// fast server that announces PIPELINING.
type Options struct {
	// UIDLFormat is Dovecot's pop3_uidl_format; "" is Dovecot's default, "%08Xu%08Xv".
	UIDLFormat string
	// NoPipelining hides PIPELINING (and STLS) from the clients of POP3 and
	// POP3S. Dovecot itself cannot, so a relay stands before it, on 127.0.0.1
	// only, that serves one command at a time.
	NoPipelining bool
	// Settings are further lines for the end of dovecot.conf.
	Settings string
}

// Port is a TCP port of the server. It listens on 127.0.0.1 and, where the
// machine has it, on ::1; the certificate holds for both and for localhost.
type Port int

// Addr is the port on 127.0.0.1, for a dialer.
func (p Port) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(p))) }

// Server is a Dovecot under way. Its methods may be called at any time until
// Stop, from one goroutine at a time.
type Server struct {
	POP3   Port   // cleartext, and STLS
	POP3S  Port   // implicit TLS
	IMAP   Port   // cleartext, and STARTTLS
	CAFile string // PEM file of the authority that signed the server's certificate
	Dir    string // everything of this server; readable by its user, so files put here can be served

	options   Options
	owner     owner
	delivered int           // messages, over all users: the names of their files
	readers   int           // users that ReadMaildir made
	own       Port          // Dovecot's own POP3, behind the relay if there is one
	ended     chan struct{} // closed when the master process has ended
	process   *os.Process
	relays    []net.Listener
	stop      sync.Once
}

// owner is the user that Dovecot runs as.
type owner struct {
	uid, gid    int
	name, group string
	other       bool // not the caller: files must be given to it
}

// Start runs a server in a temporary folder until the test ends. The test
// fails at once when Dovecot is missing or does not start.
func Start(tb testing.TB, o Options) *Server {
	tb.Helper()
	dir, err := os.MkdirTemp("", "popfetchd-dovecot-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	s, err := Run(dir, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Stop)
	return s
}

// Run starts a server whose files lie in dir, which must exist and belong to
// the caller alone, and returns when all its ports answer. Every folder above
// dir must be open to Dovecot's user when the caller is root. The caller ends
// it with Stop and removes dir.
func Run(dir string, o Options) (*Server, error) {
	program, err := findProgram()
	if err != nil {
		return nil, err
	}
	own, err := findOwner()
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: dir, CAFile: filepath.Join(dir, "ca.pem"), options: o, owner: own}
	if err := s.prepare(); err != nil {
		return nil, err
	}
	for range portAttempts {
		err = s.launch(program)
		if !errors.Is(err, errPortTaken) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("starting dovecot: %w", err)
	}
	if o.NoPipelining {
		if err := s.hidePipelining(); err != nil {
			s.Stop()
			return nil, err
		}
	}
	return s, nil
}

// Stop ends the server, orderly if that takes no longer than five seconds. Its
// files stay. Calling it again does nothing.
func (s *Server) Stop() {
	s.stop.Do(func() {
		for _, l := range s.relays {
			l.Close()
		}
		// The master leads a process group of its own, so these meet none but
		// its children. Told all at once they end ten times as fast.
		syscall.Kill(-s.process.Pid, syscall.SIGTERM)
		select {
		case <-s.ended:
		case <-time.After(stopTimeout):
		}
		syscall.Kill(-s.process.Pid, syscall.SIGKILL)
		<-s.ended
	})
}

// Log returns what Dovecot has logged so far.
func (s *Server) Log() string {
	text, err := os.ReadFile(s.logPath())
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (s *Server) logPath() string { return filepath.Join(s.Dir, "dovecot.log") }

// prepare makes the folders and the certificate.
func (s *Server) prepare() error {
	for _, dir := range []string{"", "run", "state", "home", "users"} {
		path := filepath.Join(s.Dir, dir)
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		if err := s.give(path); err != nil {
			return err
		}
	}
	if err := s.writeCertificate(); err != nil {
		return fmt.Errorf("making the certificate: %w", err)
	}
	return nil
}

// give hands a file to the server's user.
func (s *Server) give(path string) error {
	if !s.owner.other {
		return nil
	}
	return os.Chown(path, s.owner.uid, s.owner.gid)
}

// launch starts Dovecot on free ports and waits until they answer.
func (s *Server) launch(program string) error {
	addresses := loopbacks()
	ports, err := freePorts(3, addresses)
	if err != nil {
		return err
	}
	s.POP3, s.POP3S, s.IMAP, s.own = ports[0], ports[1], ports[2], ports[0]
	conf := filepath.Join(s.Dir, "dovecot.conf")
	if err := os.WriteFile(conf, []byte(s.configuration(addresses)), 0o644); err != nil {
		return err
	}
	output, err := os.Create(filepath.Join(s.Dir, "output"))
	if err != nil {
		return err
	}
	defer output.Close()
	cmd := exec.Command(program, "-F", "-c", conf)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.Dir = s.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if s.owner.other {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(s.owner.uid), Gid: uint32(s.owner.gid)}
	}
	if err := s.run(cmd); err != nil {
		return err
	}
	return s.awaitReady(ports)
}

// run starts the process and watches over its end. It does both on one thread
// that lives as long as the process: Pdeathsig, which ends Dovecot when the
// test program dies, means the death of the thread that started it.
func (s *Server) run(cmd *exec.Cmd) error {
	ended, started := make(chan struct{}), make(chan error)
	go func() {
		runtime.LockOSThread()
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	s.process, s.ended = cmd.Process, ended
	return nil
}

// awaitReady waits until every port takes connections. When Dovecot ends
// instead, what it said is the error.
func (s *Server) awaitReady(ports []Port) error {
	deadline := time.NewTimer(startTimeout)
	defer deadline.Stop()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for len(ports) > 0 {
		conn, err := net.Dial("tcp", ports[0].Addr())
		if err == nil {
			conn.Close()
			ports = ports[1:]
			continue
		}
		select {
		case <-s.ended:
			return s.launchError()
		case <-deadline.C:
			s.Stop()
			return fmt.Errorf("port %d does not answer after %v: %s", ports[0], startTimeout, s.Log())
		case <-again.C:
		}
	}
	return nil
}

// findProgram looks for Dovecot's master program, also where a user's PATH
// does not lead. Its protocols are packages of their own: launchError.
func findProgram() (string, error) {
	for _, name := range []string{"dovecot", "/usr/sbin/dovecot", "/usr/local/sbin/dovecot"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNotInstalled
}

// findOwner chooses the user for the server.
func findOwner() (owner, error) {
	u, err := user.Current()
	if err != nil {
		return owner{}, err
	}
	other := u.Uid == "0"
	if other {
		if u, err = user.Lookup("dovecot"); err != nil {
			return owner{}, fmt.Errorf("root needs Dovecot's own user to run it: %w", err)
		}
	}
	g, err := user.LookupGroupId(u.Gid)
	if err != nil {
		return owner{}, err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return owner{}, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return owner{}, err
	}
	return owner{uid: uid, gid: gid, name: u.Username, group: g.Name, other: other}, nil
}

// loopbacks are the loopback addresses of this machine; ::1 may be switched off.
func loopbacks() []string {
	addresses := []string{"127.0.0.1"}
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
		l.Close()
		addresses = append(addresses, "::1")
	}
	return addresses
}

// freePorts finds n ports that are free on all addresses. They are held until
// all are found, so that they differ.
func freePorts(n int, addresses []string) ([]Port, error) {
	var ports []Port
	for attempt := 0; len(ports) < n; attempt++ {
		first, err := net.Listen("tcp", net.JoinHostPort(addresses[0], "0"))
		if err != nil {
			return nil, err
		}
		defer first.Close()
		port := Port(first.Addr().(*net.TCPAddr).Port)
		free := true
		for _, a := range addresses[1:] {
			l, err := net.Listen("tcp", net.JoinHostPort(a, strconv.Itoa(int(port))))
			if err != nil {
				free = false
				continue
			}
			defer l.Close()
		}
		if free {
			ports = append(ports, port)
		} else if attempt > 100 {
			return nil, errors.New("no free ports on the loopback addresses")
		}
	}
	return ports, nil
}
