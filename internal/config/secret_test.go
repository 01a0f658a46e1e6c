package config

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// hunter is the password that must not show up anywhere.
const hunter = "hunter2-Пароль"

// withSecret returns an account whose secret stands at a key.
func withSecret(t *testing.T, provider, key, text string) Account {
	t.Helper()
	s, err := newSecret(key, text, newParser("/etc/popfetchd/x.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return Account{Name: "isp", Provider: provider, secret: s}
}

func TestPassword(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	t.Setenv("ISP_PASSWORD", hunter+"\n")
	credential := filepath.Join(dir, "isp")
	if err := os.WriteFile(credential, []byte(hunter), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ provider, key, text, want string }{
		{"", "password", hunter, hunter},
		{"", "password", "two words \u00e9", "two words \u00e9"},
		{"gmail", "password", "abcd efgh\u00a0ijkl mnop", "abcdefghijklmnop"},
		{"", "password_file", write(t, "p", hunter+"\n", 0o600), hunter},
		{"", "password_file", write(t, "p", hunter+"\r\n", 0o400), hunter},
		{"gmail", "password_file", write(t, "p", " a b ", 0o600), "ab"},
		{"fastmail", "password", "a b c d", "abcd"},
		{"gmx", "password", "a b c d", "a b c d"},
		{"", "password_file", credential, hunter},
		{"", "password_credential", "isp", hunter},
		{"", "password_env", "ISP_PASSWORD", hunter},
		{"", "password_command", "printf '%s\\n' '" + hunter + "'", hunter},
		{"", "password_command", "cat; echo noise >&2; echo '" + hunter + "'", hunter},
	} {
		got, err := withSecret(t, c.provider, c.key, c.text).Password(t.Context())
		if err != nil || got != c.want {
			t.Errorf("%s %q: %q, %v; want %q", c.key, c.text, got, err, c.want)
		}
	}
}

func TestPasswordErrors(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	t.Setenv("TWO_LINES", hunter+"\n\n")
	open := write(t, "it's open", hunter, 0o640)
	large := write(t, "large", strings.Repeat(hunter, 5000), 0o600)
	for _, c := range []struct{ key, text, want string }{
		{"password_file", "/nowhere/isp", "/nowhere/isp: there is no such file; name one that exists"},
		{"password_file", dir, dir + " is not a plain file; put the password in one"},
		{"password_file", large, large + " is larger than 64 KiB; put the password alone in it"},
		{"password_file", open, "others can read " + open + " and the password in it (mode 0640); run chmod 600 '" + strings.ReplaceAll(open, "'", `'\''`) + "'"},
		{"password_file", write(t, "empty", "\n", 0o600), "the password is empty; put it there"},
		{"password_file", write(t, "nul", hunter+"\x00", 0o600), "the password holds a control character; remove it"},
		{"password_credential", "isp", "systemd gave no credential of this name; add LoadCredential=isp:… to the unit"},
		{"password_env", "NOT_SET_HERE", "the variable NOT_SET_HERE is not set; set it for popfetchd"},
		{"password_env", "TWO_LINES", "the password has more than one line; give the password alone"},
		{"password_command", "echo " + hunter + "; echo", "the password has more than one line; give the password alone"},
		{"password_command", "echo " + hunter + "; exit 3", "the command failed (exit status 3); try it in a shell"},
		{"password_command", "echo " + hunter + "; printf 'no \\033key' >&2; false", `the command failed (exit status 1): "no \x1bkey"; try it in a shell`},
		{"password_command", "set -x; echo " + hunter + "; false", "the command failed (exit status 1); try it in a shell"},
		{"password_command", "head -c 400 /dev/zero | tr '\\0' e >&2; false", `the command failed (exit status 1): "` + strings.Repeat("e", 300) + `"…; try it in a shell`},
		{"password_command", "yes " + hunter, "the command printed more than 64 KiB; let it print the password alone"},
		{"password_command", "true", "the password is empty; put it there"},
	} {
		_, err := withSecret(t, "", c.key, c.text).Password(t.Context())
		var typed *SecretError
		if !errors.As(err, &typed) || typed.Key != c.key || typed.Account != "isp" {
			t.Errorf("%s %q: %v is no *SecretError of it", c.key, c.text, err)
			continue
		}
		if want := "account isp: " + c.key + ": " + c.want; err.Error() != want {
			t.Errorf("%s %q:\n got %s\nwant %s", c.key, c.text, err, want)
		}
		if strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: the password is in %q", c.key, err)
		}
	}
}

func TestPasswordWithoutSecret(t *testing.T) {
	var typed *SecretError
	if _, err := (Account{Name: "isp"}).Password(t.Context()); !errors.As(err, &typed) {
		t.Errorf("error %v", err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	_, err := withSecret(t, "", "password_credential", "isp").Password(t.Context())
	const want = "account isp: password_credential: systemd gave no credentials ($CREDENTIALS_DIRECTORY is not set); run as a service with LoadCredential=isp:…"
	if err == nil || err.Error() != want {
		t.Errorf("error %v", err)
	}
}

func TestChangedPasswordNeedsNoReload(t *testing.T) {
	path := write(t, "p", "old", 0o600)
	a := withSecret(t, "", "password_file", path)
	for _, want := range []string{"old", "new"} {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := a.Password(t.Context()); got != want || err != nil {
			t.Errorf("password %q, %v", got, err)
		}
	}
}

func TestMissingPasswordFileIsTold(t *testing.T) {
	_, err := withSecret(t, "", "password_file", "/nowhere/isp").Password(t.Context())
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v is not os.ErrNotExist", err)
	}
}

// A command ends with its context, and so does what it started: the pipe that
// the child holds open ends only when the child does.
func TestCommandEndsWithItsContext(t *testing.T) {
	because := errors.New("popfetchd stops")
	ctx, cancel := context.WithCancelCause(t.Context())
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		pipe, err := os.Open(path)
		if err == nil {
			_, err = pipe.Read(make([]byte, 1)) // the child is there
			cancel(because)
			if rest, _ := io.ReadAll(pipe); len(rest) > 0 {
				err = fmt.Errorf("the pipe had more: %q", rest)
			}
		}
		ended <- err
	}()
	a := withSecret(t, "", "password_command", "(printf x; exec sleep 100000) > '"+path+"' & wait")
	if _, err := a.Password(ctx); !errors.Is(err, because) {
		t.Errorf("error %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// An agent that a command leaves behind does not spoil its answer.
func TestCommandLeavesAgent(t *testing.T) {
	t.Parallel() // it takes commandGrace
	a := withSecret(t, "", "password_command", "sleep 4 & echo "+hunter)
	if got, err := a.Password(t.Context()); got != hunter || err != nil {
		t.Errorf("password %q, %v", got, err)
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	c, err := Parse("x.yaml", []byte(strings.Replace(minimal, "password_env: GMAIL_PASSWORD", "password: "+hunter, 1)))
	if err != nil {
		t.Fatal(err)
	}
	a := c.Accounts[0]
	var logged bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&logged, nil), slog.NewJSONHandler(&logged, nil)} {
		slog.New(handler).Info("x", "config", c, "account", a, "secret", a.secret, "group", slog.GroupValue(slog.Any("secret", a.secret)))
	}
	printed := logged.String()
	type hidden struct{ account Account }
	for _, v := range []any{c, *c, a, &a, a.secret, []Account{a}, map[string]Account{"a": a}, hidden{a}, struct{ s *secret }{a.secret}, fmt.Errorf("%v", a.secret)} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t"} {
			printed += fmt.Sprintf(verb, v)
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		printed += string(text)
	}
	for _, form := range []string{"hunter", fmt.Sprintf("%x", "hunter"), fmt.Sprintf("%X", "hunter")} {
		if strings.Contains(printed, form) {
			t.Errorf("the password was printed:\n%s", printed)
		}
	}
	if !strings.Contains(printed, "password "+redacted) {
		t.Errorf("nothing tells of a secret:\n%s", printed)
	}
}
