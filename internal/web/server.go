// Package web serves the status page: what popfetchd is doing and has done, for people, for Prometheus and for programs. It shows
// what the daemon and the ledger know and can ask for a run; it changes nothing itself.
//
// guard.go stands before everything; page.go gathers what page.html shows; live.go sends what changes while somebody looks;
// metrics.go is the same in figures.
package web

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/x509"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/daemon"
	"github.com/popfetchd/popfetchd/internal/ledger"
)

// Server is the status page of a daemon. The fields are set before Serve.
type Server struct {
	States    func() []daemon.State                       // of every account, in the file's order
	Wake      func(accounts ...string) error              // has accounts run now, all without a name
	Subscribe func(context.Context) <-chan struct{}       // tells that States may have changed
	Status    func(context.Context) (status any, _ error) // what /api/status gives as JSON
	Ledger    *ledger.Ledger                              // is only read
	Listen    config.Listen                               // where it is served: how it is guarded follows from that
	Version   string
	Log       *slog.Logger
	Now       func() time.Time

	password    string
	certificate *x509.Certificate // nil without TLS
	token       string            // which every form of a page brings back
	guessing    chan struct{}     // held while somebody waits for a wrong password
	watching    chan struct{}     // one each for whoever follows the page live
	ending      context.Context   // of Serve

	mu      sync.Mutex
	figures map[string]figures // of the ledger, by account
	history map[string]history // by account, "" for all
}

//go:embed page.html refused.html style.css live.js icon.svg
var files embed.FS

var pages = template.Must(template.New("").Funcs(template.FuncMap{"grouped": func(n int) string { return grouped(int64(n)) }, "size": size}).
	ParseFS(files, "*.html"))

// mostWatching is how many pages may be followed live at the same time; others are as good, but do not change by themselves.
const mostWatching = 50

// Serve answers at a listener of Listen until ctx ends. An error is one of what Server.Listen names, before anything was answered,
// or of the listener. It closes the listener.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	defer listener.Close()
	handler, err := s.Handler(ctx)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 20 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: log.New(debugLog{s.Log}, "", 0),
	}
	stop := context.AfterFunc(ctx, func() { shutDown(server) })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the status page: %w", err)
	}
	return nil
}

// shutDown lets answers be finished, for a moment at most.
func shutDown(server *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		server.Close()
	}
}

// debugLog takes what net/http complains of: browsers that hang up and the like.
type debugLog struct{ *slog.Logger }

func (l debugLog) Write(line []byte) (int, error) {
	l.Debug("status page", "problem", strings.TrimSpace(string(line)))
	return len(line), nil
}

// Handler answers every request until ctx ends, guarded as Server.Listen asks for.
func (s *Server) Handler(ctx context.Context) (http.Handler, error) {
	var err error
	if s.password, err = s.Listen.Password(); err != nil {
		return nil, err
	}
	certificate, err := s.Listen.Certificate()
	if err != nil {
		return nil, err
	}
	if certificate != nil {
		s.certificate = certificate.Leaf
	}
	s.ending, s.token, s.guessing, s.watching = ctx, rand.Text(), make(chan struct{}, 1), make(chan struct{}, mostWatching)
	s.figures, s.history = map[string]figures{}, map[string]history{}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("POST /fetch", s.fetch)
	mux.HandleFunc("GET /events", s.events)
	mux.HandleFunc("GET /api/status", s.status)
	mux.HandleFunc("GET /healthz", s.health)
	mux.Handle("GET /metrics", s.metrics())
	for _, name := range []string{"style.css", "live.js", "icon.svg"} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFileFS(w, r, files, name)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.refuse(w, http.StatusNotFound, "Nothing here", "The status page is at the beginning of this address.")
	})
	return s.guarded(mux), nil
}

// page is the status page itself.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	p, err := s.gather(r.URL.Query())
	if err != nil {
		s.fail(w, err)
		return
	}
	s.render(w, http.StatusOK, "page.html", p)
}

// fetch has an account run, or all of them, and shows the page again.
func (s *Server) fetch(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.refuse(w, http.StatusBadRequest, "Not understood", "This was not what a form of the status page sends.")
		return
	}
	if subtle.ConstantTimeCompare([]byte(r.PostForm.Get("token")), []byte(s.token)) != 1 {
		s.refuse(w, http.StatusForbidden, "Too old", "The page is from before popfetchd was started anew, so nothing was done. Load it again.")
		return
	}
	var accounts []string
	back := "./"
	if name := r.PostForm.Get("account"); name != "" {
		accounts = []string{name}
		back += "#" + (&url.URL{Fragment: anchor(name)}).EscapedFragment()
	}
	if err := s.Wake(accounts...); err != nil {
		s.refuse(w, http.StatusNotFound, "No such account", "The account is no longer in the configuration. Load the page again.")
		return
	}
	w.Header().Set("Location", back) // relative, so that a proxy may have the page in a folder
	w.WriteHeader(http.StatusSeeOther)
}

// status is what popfetchd status --json prints.
func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	status, err := s.Status(r.Context())
	if err != nil {
		s.fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(status)
}

// health says that the daemon answers and can read its ledger. Trouble with an account is no matter of restarting.
func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if _, err := s.Ledger.Accounts(); err != nil {
		s.Log.Error("the health check failed", "error", err)
		http.Error(w, "the ledger cannot be read", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// refuse shows why a request is not answered.
func (s *Server) refuse(w http.ResponseWriter, code int, title, text string) {
	s.render(w, code, "refused.html", struct{ Title, Text string }{title, text})
}

// fail is for what is no fault of who asks.
func (s *Server) fail(w http.ResponseWriter, err error) {
	s.Log.Error("the status page cannot be shown", "error", err)
	s.refuse(w, http.StatusInternalServerError, "Not to be shown", "popfetchd cannot read its ledger; its log says why.")
}

func (s *Server) render(w http.ResponseWriter, code int, name string, data any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	if err := pages.ExecuteTemplate(w, name, data); err != nil {
		s.Log.Debug("status page", "problem", err) // mostly a browser that has hung up
	}
}
