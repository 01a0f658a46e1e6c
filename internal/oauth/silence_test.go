package oauth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// silent checks that v tells none of the secrets, however it is printed.
func silent(t *testing.T, v any, secrets ...string) {
	t.Helper()
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v, "in", []any{v}, "on", struct{ V any }{v})
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v, "in", []any{v}, "on", struct{ V any }{v})
	fmt.Fprintf(&log, "%v %+v %#v %s %q %x %d\n", v, v, v, v, v, v, v)
	fmt.Fprintf(&log, "%v %+v %#v", []any{v}, struct{ V any }{v}, map[string]any{"v": v})
	if data, err := json.Marshal(v); err == nil {
		log.Write(data)
	}
	for _, secret := range secrets {
		if secret == "" {
			t.Fatal("there is no secret to look for")
		}
		if strings.Contains(log.String(), secret) || strings.Contains(log.String(), fmt.Sprintf("%x", secret)) {
			t.Errorf("%T tells %q: %s", v, secret, log.String())
		}
	}
}

func TestNothingTellsSecrets(t *testing.T) {
	client := Client{ID: clientID, Secret: clientSecret, TokenURL: "https://oauth2.example/token"}
	source := Source{Client: client}
	for _, v := range []any{
		sample, &sample, client, &client, source, &source,
		Browser{Client: client}, &Browser{Client: client}, Device{Client: client}, &Device{Client: client},
	} {
		silent(t, v, sample.Access, sample.Refresh, clientSecret)
	}
	if got := fmt.Sprint(sample, client); got != `token [redacted] until 2001-09-09T02:46:40Z client "popfetchd-test.apps.example" at "https://oauth2.example/token"` {
		t.Errorf("what is no secret is not told: %s", got)
	}
}
