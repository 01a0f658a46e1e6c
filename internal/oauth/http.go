package oauth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// maxAnswer bounds what a provider may answer. Microsoft's tokens are the largest, with some 5 KB each.
const maxAnswer = 64 << 10

// within returns a context by which x/oauth2 asks in our way.
func (c Client) within(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, c.http(ctx))
}

// http returns an HTTP client that goes where it is sent and nowhere else: what it posts are secrets, and a redirect
// would take them along.
func (c Client) http(ctx context.Context) *http.Client {
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	return &http.Client{
		Transport:     exchange{ctx, timeout},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// exchange is a RoundTripper that has the whole answer when it returns, bounded in time and size. It holds the context
// because x/oauth2 asks for device codes without one.
type exchange struct {
	ctx     context.Context
	timeout time.Duration
}

// RoundTrip obeys http.RoundTripper's contract but for the context, which is the exchange's own.
func (e exchange) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(e.ctx, e.timeout)
	defer cancel()
	answer, err := http.DefaultTransport.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return nil, e.reason(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return nil, e.reason(err)
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("the answer is longer than %d KiB, which no answer with a token is", maxAnswer>>10)
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	return answer, nil
}

// reason says who ran out of time: the request or the caller.
func (e exchange) reason(err error) error {
	if errors.Is(err, context.DeadlineExceeded) && e.ctx.Err() == nil {
		return fmt.Errorf("no answer within %s", e.timeout)
	}
	return err
}

// post sends a form whose answer says nothing but whether it was taken.
func (c Client) post(ctx context.Context, address string, form url.Values) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return errors.New("the address " + host(address) + " cannot be used")
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := c.http(ctx).Do(request)
	if err != nil {
		return c.explain(err, address, "")
	}
	defer answer.Body.Close()
	if answer.StatusCode/100 == 2 {
		return nil
	}
	refusal := struct {
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}{}
	_ = json.NewDecoder(answer.Body).Decode(&refusal) // what is no JSON leaves the status to tell
	return &answerError{
		host: host(address), status: answer.StatusCode,
		code: refusal.Code, description: scrub(refusal.Description, []string{form.Get("token"), c.Secret}),
	}
}
