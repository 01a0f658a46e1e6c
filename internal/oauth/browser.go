package oauth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
)

// Browser signs in with the user's browser, on this machine or another: the provider shows its consent page and sends
// the browser back to an address on this machine's loopback (RFC 8252 section 7.3). Where the browser cannot reach it,
// the user pastes the address that it ended at.
type Browser struct {
	Client    Client
	LoginHint string // the user's address, filled in on the provider's page; may be ""
	Port      int    // to listen at; 0: any that is free

	Show   func(url string)       // tells the user where to go
	Open   func(url string) error // opens a browser there; nil: none, and a failure does not matter. Called by a goroutine of its own
	Pasted <-chan string          // final addresses that the user pastes; nil: none
	Wrong  func(problem error)    // tells the user of an answer that cannot be used; SignIn goes on waiting. May be nil
}

// answer is what the provider sent the browser back with.
type answer struct {
	code string
	err  error
	done chan error // takes what came of it, for the page that the browser shows
}

// SignIn returns what the provider gave. It ends when ctx does; the user takes as long as the user takes. A refusal by
// the user or the provider is a *SignInError.
func (b Browser) SignIn(ctx context.Context) (Token, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(b.Port)))
	if err != nil {
		return Token{}, fmt.Errorf("waiting for the browser on the loopback: %w", err)
	}
	flow := flow{
		state:   rand.Text(),
		answers: make(chan answer),
		wrong:   b.Wrong,
	}
	server := &http.Server{Handler: &flow, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	go server.Serve(listener)
	defer shutDown(server)

	redirect := "http://" + net.JoinHostPort(loopbackName(b.Client.AuthURL), strconv.Itoa(listener.Addr().(*net.TCPAddr).Port))
	verifier := oauth2.GenerateVerifier()
	address := b.Client.config(redirect).AuthCodeURL(flow.state, append(b.Client.offline(b.LoginHint), oauth2.S256ChallengeOption(verifier))...)
	b.Show(address)
	if b.Open != nil {
		go b.Open(address) // which may last for as long as the browser does; the address has been shown
	}
	a, err := b.wait(ctx, &flow)
	if err != nil {
		return Token{}, err
	}
	token, err := b.exchange(ctx, a, redirect, verifier)
	a.done <- err
	return token, err
}

// loopbackName is the name of the loopback in the redirect address. Microsoft's registration takes http://localhost with
// any port, and 127.0.0.1 in its manifest only; elsewhere the number is safer (RFC 8252 section 8.3).
func loopbackName(authURL string) string {
	if name := strings.ToLower(host(authURL)); strings.HasSuffix(name, ".microsoftonline.com") || strings.HasSuffix(name, ".live.com") {
		return "localhost"
	}
	return "127.0.0.1"
}

// shutDown lets the browser have its page, for a moment at most.
func shutDown(server *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		server.Close()
	}
}

// wait returns the first answer to this sign-in, from the browser or pasted.
func (b Browser) wait(ctx context.Context, f *flow) (answer, error) {
	pasted := b.Pasted
	for {
		select {
		case a := <-f.answers:
			return a, nil
		case text, open := <-pasted:
			if !open {
				pasted = nil // the end of what can be pasted; the browser may still come
				continue
			}
			code, err := f.pasted(text)
			var unusable *unusableError
			if errors.As(err, &unusable) {
				f.tell(unusable)
				continue
			}
			return answer{code: code, err: err, done: make(chan error, 1)}, nil
		case <-ctx.Done():
			return answer{}, fmt.Errorf("the sign-in was not finished: %w", ctx.Err())
		}
	}
}

// exchange turns the code into tokens (RFC 6749 section 4.1.3, RFC 7636 section 4.5).
func (b Browser) exchange(ctx context.Context, a answer, redirect, verifier string) (Token, error) {
	if a.err != nil {
		return Token{}, a.err
	}
	asked := time.Now()
	t, err := b.Client.config(redirect).Exchange(b.Client.within(ctx), a.code, oauth2.VerifierOption(verifier))
	if err != nil {
		return Token{}, b.Client.explain(err, b.Client.TokenURL, "the provider refused the code of this sign-in", a.code, verifier)
	}
	return b.Client.signedIn(t, asked)
}

// flow is one sign-in's end of the redirect: an HTTP server on the loopback that any program and web page here can reach.
type flow struct {
	state   string // by which an answer is known to be one to this sign-in
	answers chan answer

	mu    sync.Mutex  // held while the user is told something
	wrong func(error) // may be nil
}

func (f *flow) tell(problem error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wrong != nil {
		f.wrong(problem)
	}
}

// unusableError is an answer that is not one to this sign-in, or that was cut.
type unusableError struct{ problem string }

func (e *unusableError) Error() string { return e.problem }

// ServeHTTP takes the redirect and shows what came of it.
func (f *flow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" || r.Method != http.MethodGet {
		http.NotFound(w, r)
		return
	}
	code, err := f.read(r.URL.Query())
	var unusable *unusableError
	if errors.As(err, &unusable) {
		f.tell(unusable)
		writePage(w, http.StatusBadRequest, unusable)
		return
	}
	a := answer{code: code, err: err, done: make(chan error, 1)}
	select {
	case f.answers <- a:
	case <-r.Context().Done():
		return
	}
	select {
	case err = <-a.done:
		writePage(w, http.StatusOK, err)
	case <-r.Context().Done():
	}
}

// read returns the code of an authorization response (RFC 6749 section 4.1.2).
func (f *flow) read(q url.Values) (code string, err error) {
	switch {
	case !q.Has("state"):
		return "", &unusableError{"this address holds no answer of the provider; copy the whole address that the browser shows at the end, from http to the last character"}
	case q.Get("state") != f.state:
		return "", &unusableError{"this is the answer to another sign-in (its state is another); go through the page of this sign-in, or copy the address again"}
	case q.Get("error") != "":
		return "", refusal(q)
	case q.Get("code") == "":
		return "", &unusableError{"the address holds no code; copy it whole"}
	}
	return q.Get("code"), nil
}

// refusal is what the provider's page ended with when it gave no code (RFC 6749 section 4.1.2.1).
func refusal(q url.Values) error {
	e := answerError{host: "the provider", code: scrub(q.Get("error"), nil), description: scrub(q.Get("error_description"), nil)}
	switch e.code {
	case "access_denied":
		return &SignInError{Reason: fmt.Sprintf("the consent page was left without allowing popfetchd to read the mail (%s)", e.words())}
	case "server_error", "temporarily_unavailable":
		return fmt.Errorf("the provider could not finish the sign-in (%s); try again later", e.words())
	}
	return &SignInError{Reason: fmt.Sprintf("the provider refused the sign-in (%s); look at the client id, its type and the scopes", e.words())}
}

// pasted reads what a user pasted: the final address, or the part of it from the question mark on. Terminals and mail
// programs put blanks, line ends and quotes into long addresses.
func (f *flow) pasted(text string) (code string, err error) {
	text = strings.Join(strings.Fields(text), "")
	text = strings.Trim(text, `"'<>`)
	if _, query, ok := strings.Cut(text, "?"); ok {
		text = query
	}
	text, _, _ = strings.Cut(text, "#")
	q, err := url.ParseQuery(text)
	if err != nil {
		return "", &unusableError{"this is no address; copy the whole address that the browser shows at the end, from http to the last character"}
	}
	return f.read(q)
}
