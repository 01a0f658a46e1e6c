package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
)

// Limits of one request.
const (
	requestTime = 20 * time.Second
	maxAnswer   = 64 << 10 // octets of an answer that are read, so that the connection can be used again
	shownAnswer = 200      // of these, shown in an error
)

// webhook posts each message to an address.
type webhook struct {
	settings config.Webhook
	client   *http.Client
}

func (w webhook) name() string { return "webhook" }

func (w webhook) send(ctx context.Context, m Message) error {
	body, kind, err := w.body(m)
	if err != nil {
		return err
	}
	header := http.Header{"Content-Type": {kind}}
	if w.settings.Format == config.FormatNtfy {
		ntfyHeaders(header, m)
	}
	token, err := w.settings.Token()
	if err != nil {
		return err
	}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	for name, value := range w.settings.Headers {
		header.Set(name, string(value))
	}
	return post(ctx, w.client, string(w.settings.URL), header, body)
}

// body returns what to post, and its type.
func (w webhook) body(m Message) (body []byte, kind string, err error) {
	switch w.settings.Format {
	case config.FormatNtfy:
		return []byte(m.Text), "text/plain; charset=utf-8", nil
	case config.FormatGotify:
		body, err = json.Marshal(map[string]any{"title": m.Subject, "message": m.Text, "priority": gotifyPriority(m.Event)})
	case config.FormatSlack:
		body, err = json.Marshal(map[string]any{"text": slackText(m)})
	default:
		body, err = json.Marshal(newPosted(m))
	}
	return body, "application/json", err
}

// posted is the JSON of format json; docs/alerts.md describes it.
type posted struct {
	Event     Event            `json:"event"`
	Host      string           `json:"host"`
	Time      string           `json:"time"`
	Subject   string           `json:"subject"`
	Text      string           `json:"text"`
	Accounts  []string         `json:"accounts"`
	Incidents []postedIncident `json:"incidents"`
}

type postedIncident struct {
	Account string `json:"account"`
	Kind    string `json:"kind"`
	Since   string `json:"since"`
	Text    string `json:"text"`
}

func newPosted(m Message) posted {
	p := posted{Event: m.Event, Host: m.Host, Time: m.At.UTC().Format(time.RFC3339), Subject: m.Subject, Text: m.Text,
		Accounts: append([]string{}, m.accounts()...), Incidents: []postedIncident{}}
	for _, i := range m.Incidents {
		p.Incidents = append(p.Incidents, postedIncident{i.Account, i.Kind, i.Since.UTC().Format(time.RFC3339), oneLine(i.Text)})
	}
	return p
}

// ntfyHeaders are how ntfy is told title, urgency and picture. It decodes titles as mail does (RFC 2047).
func ntfyHeaders(header http.Header, m Message) {
	header.Set("Title", mime.BEncoding.Encode("utf-8", m.Subject))
	switch m.Event {
	case AllClear:
		header.Set("Priority", "default")
		header.Set("Tags", "white_check_mark")
	case Trial:
		header.Set("Priority", "default")
		header.Set("Tags", "incoming_envelope")
	default:
		header.Set("Priority", "high")
		header.Set("Tags", "warning")
	}
}

// gotifyPriority is from 0 to 10; from 8 on phones make a sound.
func gotifyPriority(event Event) int {
	if event == AllClear || event == Trial {
		return 4
	}
	return 8
}

// slackText escapes what Slack takes for markup.
func slackText(m Message) string {
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	return "*" + escape.Replace(m.Subject) + "*\n" + escape.Replace(m.Text)
}

// newClient is for addresses that may be secrets: it follows no redirect, which would hand them on.
func newClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.IdleConnTimeout = 2, 10*time.Second
	return &http.Client{Transport: transport, Timeout: requestTime, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// post makes one request. Its error does not show the address beyond its host.
func post(ctx context.Context, client *http.Client, address string, header http.Header, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return errors.New("the address cannot be used")
	}
	for name, values := range header {
		request.Header[http.CanonicalHeaderKey(name)] = values
	}
	request.Header.Set("User-Agent", "popfetchd")
	answer, err := client.Do(request)
	if err != nil {
		err = withoutAddress(err)
		if text := withoutSecrets(err.Error(), request); text != err.Error() { // of an answer that is none of HTTP
			err = errors.New(text)
		}
		return fmt.Errorf("%s: %w", request.URL.Host, err)
	}
	defer answer.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	status := strings.TrimSpace(fmt.Sprintf("%d %s", answer.StatusCode, http.StatusText(answer.StatusCode)))
	switch {
	case answer.StatusCode < 300:
		return nil
	case answer.StatusCode < 400:
		return fmt.Errorf("%s answered %s: it wants another address; give that one in the configuration", request.URL.Host, status)
	case len(said) == 0:
		return fmt.Errorf("%s answered %s", request.URL.Host, status)
	}
	told := withoutSecrets(string(said), request)
	return fmt.Errorf("%s answered %s: %q", request.URL.Host, status, told[:min(len(told), shownAnswer)])
}

// shortSecret is the length from which a part of an address or header may be one.
const shortSecret = 6

// withoutSecrets takes from an answer what it repeats of the request, as many servers do with a path that they do not know.
func withoutSecrets(said string, request *http.Request) string {
	address := request.URL
	secrets := append(strings.Split(address.Path, "/"), strings.Split(address.EscapedPath(), "/")...)
	for _, values := range address.Query() {
		secrets = append(secrets, values...)
	}
	secrets = append(secrets, strings.FieldsFunc(address.RawQuery, func(r rune) bool { return r == '&' || r == '=' })...)
	if address.User != nil {
		password, _ := address.User.Password()
		secrets = append(secrets, address.User.Username(), password)
	}
	for name, values := range request.Header {
		if name == "Content-Type" || name == "User-Agent" {
			continue
		}
		for _, value := range values {
			secrets = append(secrets, strings.TrimPrefix(value, "Bearer "))
		}
	}
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) }) // one may be part of another
	for _, secret := range secrets {
		if len(secret) >= shortSecret {
			said = strings.ReplaceAll(said, secret, "…")
		}
	}
	return said
}

// withoutAddress takes the address from an error of package http, and the steps in between.
func withoutAddress(err error) error {
	if failed := (*url.Error)(nil); errors.As(err, &failed) {
		err = failed.Err
	}
	if operation := (*net.OpError)(nil); errors.As(err, &operation) {
		err = operation.Err
	}
	return err
}
