// Package oauthsim is an HTTP server that plays Google's and Microsoft's part in signing in: the consent page, the token
// and device endpoints, revocation, and Gmail's API for its POP settings. It serves tests and `popfetchd sim`.
//
// It obeys RFC 6749, RFC 7636 (PKCE, S256, which it insists on), RFC 7009 and RFC 8628, gives refresh tokens when asked
// in Google's way or Microsoft's, answers in their words where those are known, and misbehaves where a [Fault] tells it.
package oauthsim

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Defaults of Config.
const (
	defaultTokenLife  = time.Hour
	defaultDeviceLife = 15 * time.Minute
	defaultInterval   = 5 * time.Second
)

// Config says what a server is. The zero value of each field but ClientID is fit for use.
type Config struct {
	ClientID     string
	ClientSecret string // "": a public client, which sends none
	Username     string // who is signed in at the consent page; "": whom login_hint names

	TokenLife     time.Duration // of access tokens; 0: an hour
	RotateRefresh bool          // as Microsoft: each refresh gives a new refresh token, which ends the older ones once it is used

	DeviceLife     time.Duration // of device codes; 0: 15 minutes
	DeviceInterval time.Duration // between polls, told in whole seconds; 0: 5 s. Faster polls get slow_down if SlowDown
	SlowDown       bool

	Now func() time.Time // nil: time.Now

	// Settings and SetSettings are Gmail's POP settings in the API's words; nil: the server keeps its own, allMail and
	// leaveInInbox at first.
	Settings    func() (access, disposition string)
	SetSettings func(access, disposition string)
}

// Server is a server that was started. Its methods may be called at any time, by any goroutine.
type Server struct {
	config   Config
	listener net.Listener
	http     *http.Server
	ending   chan struct{}

	mu       sync.Mutex
	requests map[string]*request // consent pages shown, by the id in their form
	codes    map[string]*request // authorization codes given
	devices  map[string]*device  // by device code
	access   map[string]*grant   // by access token
	refresh  map[string]*grant   // by refresh token
	faults   []*Fault
	asked    map[string]int
	settings [2]string
}

// grant is what a token stands for.
type grant struct {
	user   string
	scopes []string
	expiry time.Time // of access tokens
	older  []string  // of refresh tokens: those that end once this one is used
}

// Start starts a server at addr, such as 127.0.0.1:0.
func Start(addr string, c Config) (*Server, error) {
	if c.ClientID == "" {
		return nil, errors.New("oauthsim: a client id is needed")
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("oauthsim: %w", err)
	}
	s := &Server{
		config: c.withDefaults(), listener: listener, ending: make(chan struct{}),
		requests: map[string]*request{}, codes: map[string]*request{}, devices: map[string]*device{},
		access: map[string]*grant{}, refresh: map[string]*grant{}, asked: map[string]int{},
		settings: [2]string{"allMail", "leaveInInbox"},
	}
	s.http = &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second}
	go s.http.Serve(listener)
	return s, nil
}

func (c Config) withDefaults() Config {
	if c.TokenLife <= 0 {
		c.TokenLife = defaultTokenLife
	}
	if c.DeviceLife <= 0 {
		c.DeviceLife = defaultDeviceLife
	}
	if c.DeviceInterval <= 0 {
		c.DeviceInterval = defaultInterval
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Close ends the server and what it is doing.
func (s *Server) Close() error {
	s.mu.Lock()
	select {
	case <-s.ending:
	default:
		close(s.ending)
	}
	s.mu.Unlock()
	return s.http.Close()
}

// URL returns the address of the server, without a slash at its end. Below it are /auth, /token, /device, /revoke,
// /device/verify and /gmail/v1/users/me/settings/pop.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() }

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /auth", s.consentPage)
	mux.HandleFunc("POST /auth", s.consent)
	mux.HandleFunc("POST /token", s.token)
	mux.HandleFunc("POST /device", s.deviceCode)
	mux.HandleFunc("GET /device/verify", s.devicePage)
	mux.HandleFunc("POST /device/verify", s.deviceConsent)
	mux.HandleFunc("POST /revoke", s.revoke)
	mux.HandleFunc("GET "+settingsPath, s.getSettings)
	mux.HandleFunc("PUT "+settingsPath, s.putSettings)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fault := s.arrive(r.URL.Path)
		if fault == nil {
			mux.ServeHTTP(w, r)
			return
		}
		fault.play(w, r, s.ending)
	})
}

// arrive counts a request and returns the fault that befalls it.
func (s *Server) arrive(path string) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[path]++
	for i, f := range s.faults {
		if f.Path != path {
			continue
		}
		if f.Times--; f.Times == 0 {
			s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
		}
		return f
	}
	return nil
}

// Asked returns how often a path was asked for.
func (s *Server) Asked(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[path]
}

// Valid says whether an access token lets a user in now, by POP: it is the user's, has not expired or been revoked, and
// allows it. Gmail's prefix "recent:" is no part of the user's name.
func (s *Server) Valid(user, token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.access[token]
	return g != nil && s.config.Now().Before(g.expiry) &&
		strings.EqualFold(g.user, strings.TrimPrefix(user, "recent:")) && g.allows(popScopes)
}

// Grant gives tokens to Config.Username's program, as if the user had consented to the scopes; none: all that POP and
// Gmail's settings need.
func (s *Server) Grant(scopes ...string) (access, refresh string) {
	if len(scopes) == 0 {
		scopes = []string{gmailScope, settingsScope}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g := grant{user: s.config.Username, scopes: scopes}
	return s.newAccess(g), s.newRefresh(g, nil)
}

// Expire ends all access tokens, as time does.
func (s *Server) Expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.access {
		g.expiry = s.config.Now()
	}
}

// Revoke ends one token.
func (s *Server) Revoke(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.access, token)
	delete(s.refresh, token)
}

// RevokeAll ends all tokens, as a user does by removing the program's access, or by a new password.
func (s *Server) RevokeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.access)
	clear(s.refresh)
}
