package alert

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/popsim"
)

const eximPath = "/usr/sbin/exim4"

// exim is a server that takes mail for sending: STARTTLS on one port, TLS from the start on another, and what it takes lies
// in a Maildir.
type exim struct {
	*testing.T
	dir             string
	startTLS, smtps int
	caFile          string
	command         *exec.Cmd
}

// eximConfig has places for the folder, the user, both ports, how TLS is announced, the logins that are announced, and where
// to ask about tokens. A login works under TLS alone.
const eximConfig = `primary_hostname = localhost
spool_directory = %[1]s/spool
log_file_path = %[1]s/log/%%slog
pid_file_path = %[1]s/exim.pid
exim_user = %[2]s
exim_group = %[3]s
deliver_drop_privilege = true
keep_environment =
local_interfaces = 127.0.0.1
daemon_smtp_ports = %[4]d : %[5]d
tls_on_connect_ports = %[5]d
tls_certificate = %[1]s/cert.pem
tls_privatekey = %[1]s/key.pem
tls_advertise_hosts = %[6]s
acl_smtp_rcpt = rcpt
begin acl
rcpt:
  deny message = your address is on our list
       recipients = refused@example.net
  accept authenticated = *
  deny message = log in first
begin routers
all:
  driver = accept
  transport = file
begin transports
file:
  driver = appendfile
  directory = %[1]s/mail
  maildir_format
  user = %[2]s
  group = %[3]s
begin retry
* * F,1h,1m
begin authenticators
%[7]s`

const eximPlain = `plain:
  driver = plaintext
  public_name = PLAIN
  server_advertise_condition = ${if def:tls_in_cipher}
  server_prompts = :
  server_condition = ${if and{{eq{$auth2}{joe@example.org}}{eq{$auth3}{s3cret pass}}}}
`

const eximLogin = `login:
  driver = plaintext
  public_name = LOGIN
  server_advertise_condition = ${if def:tls_in_cipher}
  server_prompts = Username:: : Password::
  server_condition = ${if and{{eq{$auth1}{joe@example.org}}{eq{$auth2}{s3cret pass}}}}
`

const eximToken = `token:
  driver = plaintext
  public_name = XOAUTH2
  server_advertise_condition = ${if def:tls_in_cipher}
  server_condition = ${readsocket{inet:%s}{$auth1\n}{3s}{}{no}}
`

// startExim starts a server with these logins, that announces STARTTLS to hosts.
func startExim(t *testing.T, hosts, logins string) *exim {
	t.Helper()
	if _, err := os.Stat(eximPath); err != nil {
		t.Fatal("these tests need Exim: apt-get install --no-install-recommends exim4-daemon-light, or run test/setup.sh")
	}
	e := &exim{T: t, dir: t.TempDir(), startTLS: freePort(t), smtps: freePort(t)}
	e.certificate()
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 { // Exim delivers nothing as root
		uid, gid = 65534, 65534
	}
	config := fmt.Sprintf(eximConfig, e.dir, strconv.Itoa(uid), strconv.Itoa(gid), e.startTLS, e.smtps, hosts, logins)
	e.write("exim.conf", config)
	for _, name := range []string{"spool", "log", "mail"} {
		e.must(os.Mkdir(filepath.Join(e.dir, name), 0o755))
	}
	e.must(os.Chmod(filepath.Dir(e.dir), 0o755))
	e.must(filepath.WalkDir(e.dir, func(path string, _ os.DirEntry, err error) error {
		if err == nil && uid != os.Getuid() {
			err = os.Chown(path, uid, gid)
		}
		return err
	}))
	e.command = exec.Command(eximPath, "-C", filepath.Join(e.dir, "exim.conf"), "-bdf")
	e.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if uid != os.Getuid() {
		e.command.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	e.run()
	return e
}

// run starts the process, and waits until it listens.
func (e *exim) run() {
	e.Helper()
	var output bytes.Buffer
	e.command.Stdout, e.command.Stderr = &output, &output
	e.must(e.command.Start())
	ended := make(chan error, 1)
	go func() { ended <- e.command.Wait() }()
	e.Cleanup(func() {
		_ = syscall.Kill(-e.command.Process.Pid, syscall.SIGKILL)
		<-ended
	})
	for _, port := range []int{e.startTLS, e.smtps} {
		for {
			conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err == nil {
				conn.Close()
				break
			}
			select {
			case err := <-ended:
				ended <- err
				e.Fatalf("Exim ended: %v\n%s", err, &output)
			default:
				pause(e.T)
			}
		}
	}
}

// certificate makes one for localhost and 127.0.0.1, signed by an authority of its own.
func (e *exim) certificate() {
	e.Helper()
	authority, err := popsim.NewAuthority()
	e.must(err)
	certificate, err := authority.Issue(time.Now().AddDate(1, 0, 0), "127.0.0.1", "localhost")
	e.must(err)
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	e.must(err)
	var chain bytes.Buffer
	for _, der := range certificate.Certificate {
		e.must(pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	e.write("cert.pem", chain.String())
	e.write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	e.caFile = e.write("ca.pem", string(authority.PEM()))
}

func (e *exim) must(err error) {
	e.Helper()
	if err != nil {
		e.Fatal(err)
	}
}

func (e *exim) write(name, text string) (path string) {
	e.Helper()
	path = filepath.Join(e.dir, name)
	e.must(os.WriteFile(path, []byte(text), 0o644))
	return path
}

// log is what the server wrote about what it did.
func (e *exim) log() string {
	e.Helper()
	text, err := os.ReadFile(filepath.Join(e.dir, "log", "mainlog"))
	e.must(err)
	return string(text)
}

// letter is a message that has arrived.
type letter struct {
	mail.Header
	subject, text string
}

// letters waits until n messages have arrived, takes them away and returns them.
func (e *exim) letters(n int) []letter {
	e.Helper()
	folder := filepath.Join(e.dir, "mail", "new")
	deadline := time.Now().Add(time.Minute)
	for {
		entries, _ := os.ReadDir(folder)
		if len(entries) >= n {
			if len(entries) > n {
				e.Errorf("%d messages have come, want %d", len(entries), n)
			}
			return e.take(folder, entries)
		}
		if time.Now().After(deadline) {
			e.Fatalf("%d messages have come, want %d; Exim says:\n%s", len(entries), n, e.log())
		}
		pause(e.T)
	}
}

func (e *exim) take(folder string, entries []os.DirEntry) []letter {
	e.Helper()
	var letters []letter
	for _, entry := range entries {
		path := filepath.Join(folder, entry.Name())
		raw, err := os.ReadFile(path)
		e.must(err)
		letters = append(letters, parse(e.T, raw))
		e.must(os.Remove(path))
	}
	return letters
}

// parse reads a message as a mail reader does.
func parse(t *testing.T, raw []byte) letter {
	t.Helper()
	message, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	l := letter{Header: message.Header}
	if l.subject, err = new(mime.WordDecoder).DecodeHeader(message.Header.Get("Subject")); err != nil {
		t.Fatal(err)
	}
	body := message.Body
	if message.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
		body = quotedprintable.NewReader(body)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	l.text = strings.ReplaceAll(string(text), "\r\n", "\n")
	return l
}

// pause is a moment for others to work in.
func pause(t *testing.T) {
	t.Helper()
	timer := time.NewTimer(20 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
