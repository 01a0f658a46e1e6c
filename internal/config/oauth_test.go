package config

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
)

func TestOAuth(t *testing.T) {
	google := OAuth{
		Issuer: "google", ClientID: "x", AuthURL: "https://accounts.google.com/o/oauth2/v2/auth", TokenURL: "https://oauth2.googleapis.com/token",
		RevokeURL: "https://oauth2.googleapis.com/revoke", APIURL: "https://gmail.googleapis.com", Scopes: []string{"https://mail.google.com/"},
	}
	withSecret := google
	withSecret.ClientSecretFile = "/etc/popfetchd/client"
	elsewhere := google
	elsewhere.APIURL, elsewhere.RevokeURL, elsewhere.Scopes = "http://127.0.0.1:8080", "http://[::1]:8080/revoke", []string{"a", "b"}
	const common = "https://login.microsoftonline.com/common/oauth2/v2.0/"
	microsoft := OAuth{
		Issuer: "microsoft", ClientID: "x", AuthURL: common + "authorize", TokenURL: common + "token", DeviceURL: common + "devicecode",
		Scopes: []string{"https://outlook.office.com/POP.AccessAsUser.All", "offline_access"},
	}
	for _, test := range []struct {
		lines string
		auth  string
		want  OAuth
	}{
		{"provider: gmail\nauth: xoauth2\noauth: {client_id: x}", "xoauth2", google},
		{"provider: gmail\nauth: oauthbearer\noauth: {issuer: google, client_id: x, client_secret_file: client}", "oauthbearer", withSecret},
		{"host: pop.example.net\nauth: xoauth2\noauth: {issuer: google, client_id: x}", "xoauth2", google},
		{"provider: gmail\nauth: xoauth2\noauth: {client_id: x, api_url: http://127.0.0.1:8080, revoke_url: 'http://[::1]:8080/revoke', scopes: [a, b]}", "xoauth2", elsewhere},
		{"provider: outlook\noauth: {client_id: x}", "xoauth2", microsoft},
		{"provider: outlook\nauth: oauthbearer\noauth: {client_id: x}", "oauthbearer", microsoft},
		// Another server's tokens are not for Google's API, nor to be taken back there.
		{"provider: gmail\nauth: xoauth2\noauth: {client_id: x, auth_url: http://localhost/auth, token_url: https://login.example.net/token}", "xoauth2",
			OAuth{Issuer: "google", ClientID: "x", AuthURL: "http://localhost/auth", TokenURL: "https://login.example.net/token", Scopes: google.Scopes}},
		{"host: pop.example.net\nauth: xoauth2\noauth: {client_id: x, auth_url: https://a.example.net/, token_url: https://b.example.net/, device_url: 'https://c.example.net/?d=e', scopes: pop}",
			"xoauth2", OAuth{ClientID: "x", AuthURL: "https://a.example.net/", TokenURL: "https://b.example.net/", DeviceURL: "https://c.example.net/?d=e", Scopes: []string{"pop"}}},
	} {
		a := parse(t, account(append(strings.Split(test.lines, "\n"), "username: joe@example.net")...)).Accounts[0]
		if a.Auth != test.auth || !a.UsesOAuth() || !reflect.DeepEqual(*a.OAuth, test.want) {
			t.Errorf("%s:\n got %s %+v\nwant %s %+v", test.lines, a.Auth, *a.OAuth, test.auth, test.want)
		}
	}
	for _, auth := range []string{"", "auth: auto", "auth: user", "auth: plain"} {
		if a := parse(t, account("provider: gmail", "username: joe@gmail.com", "password: x", auth)).Accounts[0]; a.UsesOAuth() || a.OAuth != nil {
			t.Errorf("%q: %+v", auth, a)
		}
	}
}

// What an account's file may share with others it may share of its oauth too.
func TestOAuthFromAnchors(t *testing.T) {
	c := parse(t, `accounts:
  - name: a
    provider: gmail
    username: a@gmail.com
    maildir: /a
    auth: xoauth2
    oauth: &client
      client_id: x
      scopes: [ one, two ]
  - name: b
    provider: gmail
    username: b@gmail.com
    maildir: /b
    auth: xoauth2
    oauth: {<<: *client, client_id: z}
  - name: c
    provider: gmail
    username: c@gmail.com
    maildir: /c
    auth: xoauth2
    oauth: *client
`)
	for i, want := range []string{"x", "z", "x"} {
		o := c.Accounts[i].OAuth
		if o.ClientID != want || strings.Join(o.Scopes, " ") != "one two" {
			t.Errorf("account %d: %+v", i, o)
		}
	}
	if c.Accounts[0].OAuth == c.Accounts[2].OAuth {
		t.Error("two accounts have one OAuth")
	}
}

func TestClientSecret(t *testing.T) {
	for text, want := range map[string]string{hunter: hunter, hunter + "\n": hunter, hunter + "\r\n": hunter, " " + hunter + " \n": hunter} {
		if got, err := (OAuth{ClientSecretFile: write(t, "s", text, 0o600)}).ClientSecret(); got != want || err != nil {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	if got, err := (OAuth{}).ClientSecret(); got != "" || err != nil {
		t.Errorf("without a file: %q, %v", got, err)
	}
	open := write(t, "open", hunter, 0o604)
	for path, want := range map[string]string{
		"/nowhere":                            "client_secret_file: /nowhere: there is no such file; name one that exists",
		open:                                  "client_secret_file: others can read " + open + " and the client secret in it (mode 0604); run chmod 600 " + open,
		write(t, "two", hunter+"\n\n", 0o600): "client_secret_file: the client secret has more than one line; give the client secret alone",
		write(t, "none", "\n", 0o600):         "client_secret_file: the client secret is empty; put it there",
	} {
		_, err := (OAuth{ClientSecretFile: path}).ClientSecret()
		if err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", path, err, want)
		}
	}
	if _, err := (OAuth{ClientSecretFile: "/nowhere"}).ClientSecret(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v is not os.ErrNotExist", err)
	}
}

// Load looks at the file of a client's secret as at that of a password.
func TestLoadLooksAtClientSecrets(t *testing.T) {
	path := write(t, "x.yaml", account("provider: outlook", "username: joe@outlook.com", "oauth:", "  client_id: x", "  client_secret_file: secret"), 0o644)
	secret := strings.TrimSuffix(path, "x.yaml") + "secret"
	_, err := Load(path)
	if want := path + ":8: accounts[isp].oauth.client_secret_file: " + secret + ": there is no such file; name one that exists"; err == nil || err.Error() != want {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
	if _, err := Read(path); err != nil {
		t.Errorf("Read: %v", err)
	}
	if err := os.WriteFile(secret, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err != nil {
		t.Error(err)
	}
}
