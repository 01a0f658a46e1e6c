package alert

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/oauth"
	"github.com/popfetchd/popfetchd/internal/oauthsim"
)

// Gmail is asked once a day whether its settings are still those of the file.
func TestSettings(t *testing.T) {
	h := newHook(t)
	disposition := "leaveInInbox"
	google, err := oauthsim.Start("127.0.0.1:0", oauthsim.Config{ClientID: "id", ClientSecret: "client", Username: "joe@gmail.com", TokenLife: 1000 * time.Hour,
		Settings: func() (string, string) { return "allMail", disposition }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { google.Close() })
	w := newWorld(t, h, toHook, "ann")
	w.file += "  - { name: joe, provider: gmail, username: joe@gmail.com, maildir: mail, auth: xoauth2, oauth: { client_id: id, client_secret_file: client, auth_url: '" +
		google.URL() + "/auth', token_url: '" + google.URL() + "/token', api_url: '" + google.URL() + "' } }\n"
	const scope = "https://mail.google.com/"
	access, refresh := google.Grant(scope)
	token := oauth.Token{Access: access, Refresh: refresh, Issued: time.Now(), Expiry: time.Now().Add(1000 * time.Hour), Scopes: []string{scope}}
	if err := errors.Join(os.WriteFile(filepath.Join(w.state, "client"), []byte("client\n"), 0o600),
		oauth.Store{Path: oauth.StorePath(w.state, "joe")}.Save(token)); err != nil {
		t.Fatal(err)
	}
	w.Configure(w.config())
	const page = "/gmail/v1/users/me/settings/pop"
	day := func() {
		t.Helper()
		w.clock = w.clock.Add(24 * time.Hour)
		before := google.Asked(page)
		for range 5 {
			w.ran("joe", nil)
			w.readSettings(t.Context())
			w.after(time.Minute)
		}
		if n := google.Asked(page) - before; n != 1 {
			t.Errorf("asked %d times in a day", n)
		}
	}
	w.after(time.Minute) // the first look
	day()
	want(t, h.subjects(t))
	disposition = "trash"
	day()
	messages := h.messages(t)
	if len(messages) != 1 || messages[0].Subject != "joe: Gmail's POP settings differ" || !strings.Contains(messages[0].Text, "popfetchd gmail settings joe") ||
		!strings.Contains(messages[0].Incidents[0].Text, "delete Gmail's copy") {
		t.Fatalf("%+v", messages)
	}
	day()
	want(t, h.subjects(t))
	disposition = "leaveInInbox"
	day()
	want(t, h.subjects(t), "joe: fine again")
}
