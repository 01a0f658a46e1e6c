package config

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
)

// thePassword and theClientSecret are what messages call the secrets.
const (
	thePassword     = "password"
	theClientSecret = "client secret"
)

// maxSecret bounds what a file or command may give as a password.
const maxSecret = 64 << 10

// SecretError says why a password or token could not be had. It never holds
// the secret.
type SecretError struct {
	Account string // "" when it is no account's
	Key     string // such as password_file, or alerts.email.password_file
	Err     error  // what happened and what to do
}

// Error names the account, the key, and what to do.
func (e *SecretError) Error() string {
	if e.Account == "" {
		return fmt.Sprintf("%s: %s", e.Key, e.Err)
	}
	return fmt.Sprintf("account %s: %s: %s", e.Account, e.Key, e.Err)
}

// Unwrap returns the cause.
func (e *SecretError) Unwrap() error { return e.Err }

// Password reads the account's password from where the file says, now: a
// changed one works without a reload. One line end is cut off it, and from
// app passwords the spaces that are shown between their groups. A
// command runs for at most a minute, and ends when ctx does. The error is a
// *SecretError.
func (a Account) Password(ctx context.Context) (string, error) {
	if a.secret == nil {
		return "", &SecretError{a.Name, "password", errors.New("there is none; set " + strings.Join(secretKeys, " or "))}
	}
	raw, err := a.secret.read(ctx)
	if err == nil {
		raw, err = cleanSecret(raw, thePassword)
	}
	if err != nil {
		return "", &SecretError{a.Name, a.secret.key, err}
	}
	if a.Preset().AppPassword {
		raw = strings.Join(strings.FieldsFunc(raw, unicode.IsSpace), "")
	}
	return raw, nil
}

// secret is where a password comes from: its key, and what the file says there.
// Whatever prints it shows the key only.
type secret struct {
	key string
	// text is the password itself, or a path, command or name. Fmt does not call
	// the methods of unexported fields, and prints what a pointer to a struct
	// points to when the verb does not fit; of a pointer to a string it never
	// shows more than the address.
	text *string
}

const redacted = "[redacted]"

// Format writes the key, whatever the verb.
func (s *secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// String returns the key, not the secret.
func (s *secret) String() string { return s.key + " " + redacted }

// MarshalText returns the key, not the secret; JSON and others use it.
func (s *secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue returns the key, not the secret.
func (s *secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// newSecret judges what stands at a secret's key. Its errors show paths, but
// never a password or command.
func newSecret(key, text string, p *parser) (*secret, error) {
	switch key {
	case "password":
		if _, err := cleanSecret(text, thePassword); err != nil {
			return nil, err
		}
	case "password_file":
		path, err := p.absolute(text)
		if err != nil {
			return nil, err
		}
		text = path
	case "password_command":
		if strings.ContainsRune(text, 0) {
			return nil, errors.New("holds a NUL character; write the command without it")
		}
	case "password_env":
		if !variableName.MatchString(text) {
			return nil, errors.New("is not the name of an environment variable; write it without the dollar sign, as in GMAIL_PASSWORD")
		}
	case "password_credential":
		if strings.Contains(text, "/") || text == "." || text == ".." || strings.ContainsFunc(text, isControl) {
			return nil, errors.New("is not the name of a systemd credential; write the name of a LoadCredential= line, without a folder")
		}
	}
	return &secret{key, &text}, nil
}

func (s *secret) read(ctx context.Context) (string, error) {
	switch s.key {
	case "password_file":
		return readSecretFile(*s.text, thePassword)
	case "password_command":
		return runSecretCommand(ctx, *s.text)
	case "password_env":
		if v, ok := os.LookupEnv(*s.text); ok {
			return v, nil
		}
		return "", fmt.Errorf("the variable %s is not set; set it for popfetchd", *s.text)
	case "password_credential":
		return readCredential(*s.text)
	}
	return *s.text, nil
}

// credentialsDir is where systemd puts a service's credentials, "" outside one.
func credentialsDir() string { return os.Getenv("CREDENTIALS_DIRECTORY") }

func readCredential(name string) (string, error) {
	if credentialsDir() == "" {
		return "", fmt.Errorf("systemd gave no credentials ($CREDENTIALS_DIRECTORY is not set); run as a service with LoadCredential=%s:…", name)
	}
	text, err := readSecretFile(filepath.Join(credentialsDir(), name), thePassword)
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("systemd gave no credential of this name; add LoadCredential=%s:… to the unit", name)
	}
	return text, err
}

// cleanSecret cuts off one line end and refuses what no server could take.
func cleanSecret(raw, what string) (string, error) {
	if cut, ok := strings.CutSuffix(raw, "\n"); ok {
		raw = strings.TrimSuffix(cut, "\r")
	}
	switch {
	case strings.TrimFunc(raw, unicode.IsSpace) == "":
		return "", fmt.Errorf("the %s is empty; put it there", what)
	case strings.ContainsAny(raw, "\r\n"):
		return "", fmt.Errorf("the %s has more than one line; give the %[1]s alone", what)
	case strings.ContainsFunc(raw, isControl):
		return "", fmt.Errorf("the %s holds a control character; remove it", what)
	}
	return raw, nil
}
