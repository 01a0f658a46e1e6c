package web

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// What stands before every page: who may ask, under which name, and what a browser may do with the answer.

// policy lets the page use what this server serves, and nothing else; no other page may frame it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// mostBody is what a request may bring: a form of two short fields.
const mostBody = 8 << 10

// guarded puts the checks before a handler.
func (s *Server) guarded(next http.Handler) http.Handler {
	sameOrigin := http.NewCrossOriginProtection()
	sameOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.refuse(w, http.StatusForbidden, "Not from here", "Another page has sent this, so nothing was done.")
	}))
	next = sameOrigin.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin") // with no-referrer a form would come from the origin "null"
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, mostBody)
		switch {
		case !s.knows(r.Host):
			s.refuse(w, http.StatusMisdirectedRequest, "Unknown name",
				"popfetchd is not asked under this name. Use localhost or the address; a proxy has to send Host: localhost.")
		case r.URL.Path != "/healthz" && !s.admitted(r):
			h.Set("WWW-Authenticate", `Basic realm="popfetchd", charset="UTF-8"`)
			s.refuse(w, http.StatusUnauthorized, "A password, please", "Any user name will do; the password is the one in listen_password_file.")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// knows tells whether the server may be asked under this name. A page elsewhere can have its own name lead here (DNS rebinding) and
// would then count as this server's own; it cannot do so with an address, nor with a name that the certificate stands for. Nothing
// but a program on this machine comes by a unix socket.
func (s *Server) knows(host string) bool {
	if s.Listen.Network == "unix" {
		return true
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if _, err := netip.ParseAddr(host); err == nil || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	return s.certificate != nil && s.certificate.VerifyHostname(host) == nil
}

// admitted tells whether a request brings the password, if there is one. Who guesses waits.
func (s *Server) admitted(r *http.Request) bool {
	if s.password == "" {
		return true
	}
	_, given, ok := r.BasicAuth()
	if !ok {
		return false // browsers ask without first
	}
	want, got := sha256.Sum256([]byte(s.password)), sha256.Sum256([]byte(given))
	if subtle.ConstantTimeCompare(want[:], got[:]) == 1 {
		return true
	}
	s.penalty(r.Context())
	return false
}

// wrongPassword is how long who gave a wrong password waits; all of them wait for each other.
const wrongPassword = time.Second

func (s *Server) penalty(ctx context.Context) {
	select {
	case s.guessing <- struct{}{}:
		defer func() { <-s.guessing }()
	case <-ctx.Done():
		return
	}
	select {
	case <-time.After(wrongPassword):
	case <-ctx.Done():
	}
}
