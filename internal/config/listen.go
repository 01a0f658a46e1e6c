package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Listen is where the status page is served. The zero Listen is nowhere.
type Listen struct {
	// Network is "tcp", "unix", or "" for no status page.
	Network string
	// Address as package net takes it: host and port, or a socket's absolute
	// path. Port 0 is any that is free.
	Address string
	// PasswordFile holds the page's password, absolute; "" when it has none.
	PasswordFile string
	// Cert and Key are PEM files for TLS, absolute; both "" when it has none.
	Cert, Key string
}

// Password reads the page's password from its file, now, and cuts one line end
// off; "" when there is none to ask for. Others must not be able to read the
// file. The error is a *SecretError.
func (l Listen) Password() (string, error) {
	if l.PasswordFile == "" {
		return "", nil
	}
	raw, err := readSecretFile(l.PasswordFile, thePassword)
	if err == nil {
		raw, err = cleanSecret(raw, thePassword)
	}
	if err != nil {
		return "", &SecretError{Key: "listen_password_file", Err: err}
	}
	return raw, nil
}

// Certificate reads the certificate and its key, now; nil when there are none.
func (l Listen) Certificate() (*tls.Certificate, error) {
	if l.Cert == "" {
		return nil, nil
	}
	// The key is looked at first, for what is wrong with it is told more often.
	if err := checkKeyFile(l.Key); err != nil {
		return nil, fmt.Errorf("listen_key: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(l.Cert, l.Key)
	if err != nil {
		return nil, fmt.Errorf("listen_cert: %w", certificateError(l.Cert, err))
	}
	return &pair, nil
}

// checkKeyFile refuses a key that everybody can read. A group may: on Debian
// ssl-cert is there for that.
func checkKeyFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return secretPathError(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return secretPathError(path, err)
	}
	if dir := credentialsDir(); info.Mode().Perm()&0o007 != 0 && (dir == "" || filepath.Dir(path) != filepath.Clean(dir)) {
		return fmt.Errorf("everybody can read %s and the key in it (mode %04o); run chmod o= %s", path, info.Mode().Perm(), shellQuoted(path))
	}
	return nil
}

func certificateError(path string, err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		return secretPathError(path, err)
	}
	return fmt.Errorf("%s: %w; give a certificate in PEM form and the key that belongs to it", path, err)
}

// readListen reads where the status page is served.
func readListen(v value, c *Config) {
	text, ok := v.text()
	if !ok {
		return
	}
	var err error
	if path, isPath := strings.CutPrefix(text, "unix:"); isPath {
		c.Listen.Network = "unix"
		c.Listen.Address, err = v.section.parser.socket(path)
	} else {
		c.Listen.Network = "tcp"
		c.Listen.Address, err = parseListen(text)
	}
	if err != nil {
		v.fail("%s", err)
	}
}

// maxSocketPath is what Linux has room for (unix(7)).
const maxSocketPath = 107

// socket reads the path of a unix socket.
func (p *parser) socket(text string) (string, error) {
	if text == "" {
		return "", errors.New("names no socket; write it as in unix:/run/popfetchd/web.sock")
	}
	path, err := p.absolute(text)
	if err == nil && len(path) > maxSocketPath {
		return "", fmt.Errorf("%s is longer than the %d characters that a socket's path may have; choose a shorter one", quoted(path), maxSocketPath)
	}
	return path, err
}

// parseListen reads an address and a port.
func parseListen(text string) (string, error) {
	const right = "write it as in 127.0.0.1:8025, \"[::1]:8025\" or unix:/run/popfetchd/web.sock"
	if n, ok := wholeNumber(strings.TrimPrefix(text, ":")); ok {
		return "", fmt.Errorf("%s lacks the address; write 127.0.0.1:%d for this machine alone", quoted(text), n)
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return "", fmt.Errorf("%s is not an address with a port; %s", quoted(text), right)
	}
	if _, err := number(0, 65535)(port); err != nil {
		return "", fmt.Errorf("port %w; %s", err, right)
	}
	if _, err := netip.ParseAddr(host); err != nil && !hostName.MatchString(host) {
		return "", fmt.Errorf("%s is not an address with a port; %s", quoted(text), right)
	}
	n, _ := strconv.Atoi(port)
	return net.JoinHostPort(host, strconv.Itoa(n)), nil
}

// checkListen holds the keys of the status page against each other: what others
// can reach needs a password, and TLS so that nobody reads it on the way.
func checkListen(s *section, l Listen) {
	beside := []string{"listen_password_file", "listen_cert", "listen_key"}
	if !s.given("listen") {
		for _, key := range beside {
			if s.given(key) {
				s.fail(key, "has no use without listen; remove it, or say where to listen")
			}
		}
		return
	}
	if !s.fine(append(beside, "listen")...) {
		return
	}
	switch {
	case l.Network == "unix" && s.given("listen_cert"):
		s.fail("listen_cert", "has no use with a unix socket; remove it")
	case l.Network == "unix" && s.given("listen_key"):
		s.fail("listen_key", "has no use with a unix socket; remove it")
	case s.given("listen_cert") && !s.given("listen_key"):
		s.fail("listen_cert", "listen_key is missing beside it; give both or none")
	case s.given("listen_key") && !s.given("listen_cert"):
		s.fail("listen_key", "listen_cert is missing beside it; give both or none")
	case l.Network == "tcp" && !l.loopback() && (l.PasswordFile == "" || l.Cert == ""):
		s.fail("listen", "%s can be reached from other machines; use 127.0.0.1, or give listen_password_file, listen_cert and listen_key as well", quoted(l.Address))
	}
}

// loopback says whether none but this machine can connect.
func (l Listen) loopback() bool {
	host, _, err := net.SplitHostPort(l.Address)
	return err == nil && isLoopback(host)
}

// checkListenFiles looks at the files that the status page needs.
func checkListenFiles(s *section, l Listen) {
	if _, err := l.Password(); err != nil {
		s.fail("listen_password_file", "%s", errors.Unwrap(err))
	}
	if _, err := l.Certificate(); err != nil {
		key, _, _ := strings.Cut(err.Error(), ":")
		s.fail(key, "%s", errors.Unwrap(err))
	}
}
