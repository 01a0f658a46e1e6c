package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxCAFile bounds what is read of a ca_file; the system's own has 220 KiB.
const maxCAFile = 8 << 20

// readConfigFile returns a configuration file and its mode.
func readConfigFile(path string) ([]byte, fs.FileMode, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, plainPathError(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, plainPathError(err)
	}
	if info.IsDir() {
		return nil, 0, errors.New("is a folder; name the file in it")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, 0, plainPathError(err)
	}
	return data, info.Mode(), nil
}

// plainPathError makes an error of the os package a sentence about a file that
// is named already.
func plainPathError(err error) error {
	var pathError *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("there is no such file; name one that exists")
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("user %d may not read it; run chown %[1]d on it", os.Geteuid())
	case errors.As(err, &pathError):
		return fmt.Errorf("cannot be read: %w", pathError.Err)
	}
	return err
}

// checkFiles looks at the files that c names. Mode is the configuration file's
// own.
func (p *parser) checkFiles(c *Config, mode fs.FileMode) {
	if c != nil && p.root != nil {
		checkListenFiles(p.root, c.Listen)
		p.checkAlertFiles(c.Alerts, mode)
	}
	for _, d := range p.drafts {
		if d.account.secret != nil && d.section.fine(secretKeys...) {
			if err := checkSecret(d.account.secret, p.name, mode); err != nil {
				d.section.fail(d.account.secret.key, "%s", err)
			}
		}
		if o := d.account.OAuth; o != nil && o.ClientSecretFile != "" {
			if _, err := o.ClientSecret(); err != nil {
				d.section.oauth.fail("client_secret_file", "%s", errors.Unwrap(err))
			}
		}
		if d.account.CAFile != "" {
			if _, err := d.account.RootCAs(); err != nil {
				d.section.fail("ca_file", "%s", err)
			}
		}
	}
}

// checkSecret looks at the file that holds a secret. Variables, credentials
// and commands are asked when the password is needed: status and verify run
// in shells that have none of them.
func checkSecret(s *secret, name string, mode fs.FileMode) error {
	switch s.key {
	case "password":
		return checkMode(name, mode, thePassword)
	case "password_file":
		raw, err := readSecretFile(*s.text, thePassword)
		if err != nil {
			return err
		}
		_, err = cleanSecret(raw, thePassword)
		return err
	}
	return nil
}

// readSecretFile returns what a file holds that nobody else may read; what says
// what that is. The files that systemd makes for a service's credentials have modes of their own.
func readSecretFile(path, what string) (string, error) {
	// Opening a pipe would wait for its writer.
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a plain file; put the %s in one", path, what)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", secretPathError(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", secretPathError(path, err)
	}
	if dir := credentialsDir(); dir == "" || filepath.Dir(path) != filepath.Clean(dir) {
		if err := checkMode(path, info.Mode(), what); err != nil {
			return "", err
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", secretPathError(path, err)
	}
	if len(data) > maxSecret {
		return "", fmt.Errorf("%s is larger than %d KiB; put the %s alone in it", path, maxSecret>>10, what)
	}
	return string(data), nil
}

func secretPathError(path string, err error) error {
	return &pathProblem{path, plainPathError(err), err}
}

// pathProblem is a file's error in plain words that errors.Is still knows.
type pathProblem struct {
	path  string
	plain error
	cause error
}

func (e *pathProblem) Error() string { return e.path + ": " + e.plain.Error() }
func (e *pathProblem) Unwrap() error { return e.cause }

// checkMode refuses a file that others than its owner can read or write.
func checkMode(path string, mode fs.FileMode, what string) error {
	if mode.Perm()&0o077 == 0 {
		return nil
	}
	return fmt.Errorf("others can read %s and the %s in it (mode %04o); run chmod 600 %s", path, what, mode.Perm(), shellQuoted(path))
}

// shellQuoted returns a path as a shell takes it.
func shellQuoted(path string) string {
	if strings.Trim(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@") == "" {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// RootCAs returns the certificates of CAFile, which are to be trusted instead
// of the system's, or nil when it is not set.
func (a Account) RootCAs() (*x509.CertPool, error) { return rootCAs(a.CAFile) }

func rootCAs(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, secretPathError(path, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxCAFile))
	if err != nil {
		return nil, secretPathError(path, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no certificate; give a file with -----BEGIN CERTIFICATE-----", path)
	}
	return pool, nil
}
