package alert

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/ledger"
)

// sample is a message with all that a channel could stumble over.
func sample() Message {
	incidents := []ledger.Incident{
		{Account: "grün", Kind: Refused, Since: noon.Add(-time.Hour), Text: "server refused PASS: \"<b>no & \x1b[2Jno\"\r\nBcc: all"},
		{Account: "joe", Kind: Refused, Since: noon.Add(-time.Hour), Text: "no"},
	}
	return compose(Trouble, incidents, "nas", noon, 7*24*time.Hour)
}

func TestWebhookFormats(t *testing.T) {
	h := newHook(t)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("t0ken\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := sample()
	for format, look := range map[string]func(t *testing.T, r request, body map[string]any){
		config.FormatJSON: func(t *testing.T, r request, body map[string]any) {
			if body["event"] != "alert" || body["subject"] != m.Subject || body["text"] != m.Text || body["host"] != "nas" || body["time"] != "2026-11-22T12:00:00Z" ||
				!reflect.DeepEqual(body["accounts"], []any{"grün", "joe"}) || len(body["incidents"].([]any)) != 2 {
				t.Errorf("%v", body)
			}
		},
		config.FormatNtfy: func(t *testing.T, r request, _ map[string]any) {
			title, err := new(mime.WordDecoder).DecodeHeader(r.header.Get("Title"))
			if err != nil || title != m.Subject || r.body != m.Text || r.header.Get("Priority") != "high" || r.header.Get("Tags") != "warning" {
				t.Errorf("%q, %v", title, r)
			}
		},
		config.FormatGotify: func(t *testing.T, r request, body map[string]any) {
			if want := map[string]any{"title": m.Subject, "message": m.Text, "priority": 8.0}; !reflect.DeepEqual(body, want) {
				t.Errorf("%v", body)
			}
		},
		config.FormatSlack: func(t *testing.T, r request, body map[string]any) {
			text, _ := body["text"].(string)
			if len(body) != 1 || !strings.HasPrefix(text, "*"+m.Subject+"*\n") || !strings.Contains(text, "&lt;b&gt;no &amp; ") {
				t.Errorf("%q", text)
			}
		},
	} {
		t.Run(format, func(t *testing.T) {
			w := webhook{config.Webhook{URL: config.Hidden(h.URL + "/secret?key=1"), Format: format, TokenFile: token,
				Headers: map[string]config.Hidden{"X-Mine": "yes"}}, newClient()}
			if err := w.send(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			r := h.take()[0]
			if r.path != "POST /secret?key=1" || r.header.Get("Authorization") != "Bearer t0ken" || r.header.Get("X-Mine") != "yes" {
				t.Errorf("%+v", r)
			}
			body := map[string]any{}
			if err := json.Unmarshal([]byte(r.body), &body); err != nil && format != config.FormatNtfy {
				t.Fatal(err)
			}
			look(t, r, body)
		})
	}
}

// Something that is no web server may send back what it gets: Go's error shows the first line of that.
func TestEchoIsNotShown(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.CopyN(conn, conn, 64)
	}()
	err = post(t.Context(), newClient(), "http://"+listener.Addr().String()+"/T0KENofPath/", http.Header{}, []byte(strings.Repeat("x", 64)))
	if err == nil || strings.Contains(err.Error(), "T0KEN") || !strings.Contains(err.Error(), "malformed HTTP") {
		t.Error(err)
	}
}

// A server that repeats a login, as it was sent or in clear, does not have it in the log by that.
func TestLoginIsNotRepeated(t *testing.T) {
	const password, token = "sm+tp \"secret\"", "ya29.t0ken"
	for _, sent := range []string{password, "\x00joe\x00" + password} {
		for _, form := range []string{sent, base64.StdEncoding.EncodeToString([]byte(sent))} {
			l := login{name: "joe", secret: password}
			if err := l.unrepeated(&textproto.Error{Code: 535, Msg: "no " + form + "!"}); err.Error() != `535 "no ***!"` {
				t.Error(err)
			}
		}
	}
	first := base64.StdEncoding.EncodeToString([]byte("user=joe\x01auth=Bearer " + token + "\x01\x01"))
	l := login{name: "joe", secret: token, token: true}
	err := said(t.Context(), "mail", "the login", l.unrepeated(&textproto.Error{Code: 535, Msg: first + " " + token}))
	if want := `mail refused the login: 535 "*** ***"`; err.Error() != want {
		t.Errorf("%v, not %s", err, want)
	}
}

// What a server repeats of the address, the token or a header is in no error: these may be secrets.
func TestWebhookAnswerRepeatsSecrets(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, fmt.Sprintf("no %s, no %s, %q, %s", r.URL.Path, r.RequestURI, r.URL.Query(), r.Header), http.StatusNotFound)
	}))
	t.Cleanup(server.Close)
	w := webhook{client: newClient(), settings: config.Webhook{
		URL: config.Hidden(server.URL + "/hook/T0KENofPath%2Band/x?key=T0KENofQuery%2F"), Format: config.FormatSlack,
		Headers: map[string]config.Hidden{"X-Key": "T0KENofHeader"},
	}}
	err := w.send(t.Context(), Message{Event: Trial})
	if err == nil || strings.Contains(err.Error(), "T0KEN") || !strings.Contains(err.Error(), "answered 404 Not Found: \"no /hook/…/x") {
		t.Error(err)
	}
}

// What an address holds is a secret: no error shows it, and no redirect passes it on.
func TestWebhookErrors(t *testing.T) {
	h := newHook(t)
	w := webhook{config.Webhook{URL: config.Hidden(h.URL + "/s3cret"), Format: config.FormatJSON}, newClient()}
	for status, says := range map[int]string{
		http.StatusForbidden:         `answered 403 Forbidden: "so said the server"`,
		http.StatusTemporaryRedirect: "wants another address",
	} {
		h.answer(status)
		if err := w.send(t.Context(), sample()); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%d: %v", status, err)
		}
	}
	h.answer(http.StatusOK)
	if got := h.take(); len(got) > 0 {
		t.Errorf("the redirect was followed: %v", got)
	}
	h.Close()
	if err := w.send(t.Context(), sample()); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%v", err)
	}
}

func TestCommand(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	t.Setenv("GMAIL_PASSWORD", "s3cret")
	script := `cat >` + out + `; env | grep -e POPFETCHD -e GMAIL | sort >>` + out
	m := sample()
	if err := (command{script}).send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	want := m.Text + "POPFETCHD_ACCOUNTS=grün joe\nPOPFETCHD_EVENT=alert\nPOPFETCHD_HOST=nas\nPOPFETCHD_KINDS=refused\nPOPFETCHD_SUBJECT=" + m.Subject + "\n"
	if string(got) != want {
		t.Errorf("the script got\n%s, want\n%s", got, want)
	}
	err = command{"echo well; printf '\\033[2J' >&2; exit 3"}.send(t.Context(), m)
	if err == nil || err.Error() != `the command failed: exit status 3; it said "well\n\x1b[2J"` {
		t.Errorf("%v", err)
	}
	if err := (command{"exec <&-; true"}).send(t.Context(), m); err != nil { // does not read
		t.Error(err)
	}
}

// A command that does not end is ended, and what it started with it.
func TestCommandEnds(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	ctx, cancel := context.WithCancelCause(t.Context())
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	dead := make(chan struct{})
	go func() {
		defer close(dead)
		f, err := os.Open(pipe)
		if err != nil {
			return
		}
		defer f.Close()
		_, _ = f.Read(make([]byte, 8))
		cancel(errors.New("that is long enough"))
		_, _ = io.Copy(io.Discard, f) // ends when nobody is left that could write
	}()
	err := command{"exec 3>" + pipe + "; sleep 1000 & echo begun >&3; wait"}.send(ctx, sample())
	if err == nil || !strings.Contains(err.Error(), "that is long enough") {
		t.Fatal(err)
	}
	<-dead
}

func TestPings(t *testing.T) {
	h := newHook(t)
	pings := func(w *world) []string {
		w.flushPings(t.Context())
		paths := []string{}
		for _, r := range h.take() {
			paths = append(paths, strings.TrimPrefix(r.path, "POST ")+" "+strings.SplitN(r.body, ":", 2)[0])
		}
		return paths
	}
	at := func(w *world, name string) {
		w.clock = w.clock.Add(time.Second)
		w.Began(w.account(name), w.clock)
		w.Began(w.account(name), w.clock)
		w.clock = w.clock.Add(time.Second)
	}
	for _, url := range []string{"%s/ping/{account}?create=1", "%s/ping?create=1"} {
		one := newWorld(t, h, "{ ping: '"+url+"' }", "joe")
		path := "/ping"
		if strings.Contains(url, "{account}") {
			path += "/joe"
		}
		at(one, "joe")
		one.ran("joe", nil)
		one.Began(one.account("joe"), one.clock.Add(-time.Second)) // comes late
		want(t, pings(one), path+"/start?create=1 ", path+"?create=1 ")
		at(one, "joe")
		one.ran("joe", errNetwork) // may pass: if it does not, the service misses the success
		want(t, pings(one), path+"/start?create=1 ")
		one.ran("joe", errCertificate)
		want(t, pings(one), path+"/fail?create=1 account joe")
		one.Ended(one.account("joe"), fetch.Report{Account: "joe", Held: true}) // the daily limit
		want(t, pings(one), path+"?create=1 ")
	}
	both := newWorld(t, h, "{ ping: '%s/ping' }", "joe", "ann")
	at(both, "joe")
	both.ran("joe", nil)
	want(t, pings(both), "/ping ")
	both.ran("ann", errSecret)
	both.ran("joe", nil)
	want(t, pings(both), "/ping/fail account ann", "/ping/fail in trouble")
	both.look(t.Context(), true)
	both.ran("ann", nil)
	both.ran("joe", nil)
	want(t, pings(both), "/ping ", "/ping/fail in trouble") // ann's end is not looked at yet
	both.look(t.Context(), true)
	both.ran("joe", nil)
	want(t, pings(both), "/ping ")
}

// Run waits for company before it tells, and ends when it is told to.
func TestRun(t *testing.T) {
	h := newHook(t)
	w := newWorld(t, h, "{ webhook: '%s/hook', ping: '%s/ping' }", "joe", "ann")
	w.gather = 200 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); w.Run(ctx) }()
	w.ran("joe", errCertificate)
	w.ran("ann", errCertificate)
	var got []posted
	fails := 0
	for deadline := time.Now().Add(time.Minute); len(got) == 0 || fails < 2; {
		select {
		case <-h.arrived:
		case <-time.After(time.Until(deadline)):
			t.Fatalf("told %v, and %d pings of failure", got, fails)
		}
		for _, r := range h.take() {
			if strings.HasPrefix(r.path, "POST /ping/fail") {
				fails++
				continue
			}
			var p posted
			if err := json.Unmarshal([]byte(r.body), &p); err != nil {
				t.Fatal(err)
			}
			got = append(got, p)
		}
	}
	if len(got) != 1 || got[0].Subject != "joe, ann: the server's certificate expired" {
		t.Errorf("told %+v", got)
	}
	cancel()
	<-ended
}
