package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// certificate returns a certificate in PEM.
func certificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"x.yaml": minimal + "    ca_file: ca.pem\n" + strings.NewReplacer("accounts:\n", "", "name: gmail", "name: two", "password_env: GMAIL_PASSWORD", "password_file: p").Replace(minimal),
		"ca.pem": certificate(t),
		"p":      "secret\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Load(filepath.Join(dir, "x.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	pool, err := c.Accounts[0].RootCAs()
	if err != nil || pool == nil {
		t.Errorf("pool %v, %v", pool, err)
	}
	if pool, err := c.Accounts[1].RootCAs(); pool != nil || err != nil {
		t.Errorf("without a ca_file: pool %v, %v", pool, err)
	}
	if password, err := c.Accounts[1].Password(t.Context()); password != "secret" || err != nil {
		t.Errorf("password %q, %v", password, err)
	}
}

// A password in the file itself makes the file a secret.
func TestLoadConfigWithPassword(t *testing.T) {
	text := strings.Replace(minimal, "password_env: GMAIL_PASSWORD", "password: hunter2", 1)
	for _, mode := range []fs.FileMode{0o600, 0o400, 0o700} {
		if _, err := Load(write(t, "x.yaml", text, mode)); err != nil {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o644, 0o660, 0o602, 0o610} {
		path := write(t, "x.yaml", text, mode)
		_, err := Load(path)
		want := path + ":5: accounts[gmail].password: others can read " + path + " and the password in it (mode " +
			fmt.Sprintf("%04o", mode) + "); run chmod 600 " + path
		if err == nil || err.Error() != want {
			t.Errorf("mode %o:\n got %v\nwant %s", mode, err, want)
		}
	}
	if _, err := Load(write(t, "x.yaml", minimal, 0o644)); err != nil {
		t.Errorf("a file without a password: %v", err)
	}
}

// What the files hold is judged together with the text.
func TestLoadReportsFilesToo(t *testing.T) {
	open := write(t, "open", "hunter2", 0o644)
	twoLines := write(t, "two", "hunter2\nhunter3\n", 0o600)
	noPEM := write(t, "ca.pem", "nothing", 0o644)
	path := write(t, "x.yaml", `accounts:
  - name: a
    host: pop.example.net
    username: a
    password_file: `+open+`
    maildir: /m
  - name: b
    host: pop.example.net
    port: none
    username: b
    password_file: `+twoLines+`
    ca_file: `+noPEM+`
    maildir: /m
  - name: c
    host: pop.example.net
    username: c
    password_file: missing
    ca_file: missing.pem
    maildir: /m
`, 0o644)
	dir := filepath.Dir(path)
	_, err := Load(path)
	want := []string{
		":5: accounts[a].password_file: others can read " + open + " and the password in it (mode 0644); run chmod 600 " + open,
		`:9: accounts[b].port: "none" is not a whole number from 1 to 65535`,
		":11: accounts[b].password_file: the password has more than one line; give the password alone",
		":12: accounts[b].ca_file: " + noPEM + " holds no certificate; give a file with -----BEGIN CERTIFICATE-----",
		":17: accounts[c].password_file: " + dir + "/missing: there is no such file; name one that exists",
		":18: accounts[c].ca_file: " + dir + "/missing.pem: there is no such file; name one that exists",
	}
	if got := strings.ReplaceAll(errorText(err), path+":", ":"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestLoadUnreadable(t *testing.T) {
	dir := t.TempDir()
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	file := write(t, "file", "", 0o600)
	for path, want := range map[string]string{
		dir:              "is a folder; name the file in it",
		dir + "/missing": "there is no such file; name one that exists",
		loop:             "cannot be read: too many levels of symbolic links",
		file + "/x":      "cannot be read: not a directory",
		file:             "the file is empty; list at least one account under accounts",
	} {
		_, err := Load(path)
		var problems *Error
		if !errors.As(err, &problems) || len(problems.Problems) != 1 || problems.Problems[0].Text != want || problems.Problems[0].File != path {
			t.Errorf("Load(%s): %v, want %s", path, err, want)
		}
	}
}

func TestUnreadableIsTold(t *testing.T) {
	err := secretPathError("/p", &fs.PathError{Op: "open", Path: "/p", Err: fs.ErrPermission})
	if !strings.Contains(err.Error(), "may not read it; run chown") || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("error %v", err)
	}
}

func TestLoadLargeFile(t *testing.T) {
	_, err := Load(write(t, "x.yaml", minimal+strings.Repeat("# comment\n", maxFileSize/10), 0o600))
	if err == nil || !strings.HasSuffix(err.Error(), ": the file is larger than 256 KiB; is it the right one?") {
		t.Errorf("error %v", err)
	}
}
