package web

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
)

// serve serves the house where its listen says and returns a client for it and the address; the end of the test ends it.
func (h *house) serve() (*http.Client, string) {
	h.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	listener, err := Listen(ctx, h.Listen)
	must(h.T, err)
	served := make(chan error, 1)
	go func() { served <- h.Server.Serve(ctx, listener) }()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, h.Listen.Network, listener.Addr().String())
	}}}
	h.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			h.Error(err)
		}
		client.CloseIdleConnections()
	})
	return client, listener.Addr().String()
}

// A socket is its owner's, and a left-over one is no hindrance; what is in use, or is something else, is left alone.
func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.sock")
	listen := config.Listen{Network: "unix", Address: path}
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	must(t, err)
	left.SetUnlinkOnClose(false)
	must(t, left.Close())
	t.Run("served", func(t *testing.T) {
		client, _ := newHouse(t, listen).serve()
		info, err := os.Lstat(path)
		if err != nil || info.Mode() != os.ModeSocket|0o600 {
			t.Errorf("the socket is %v, %v", info.Mode(), err)
		}
		answer, err := client.Get("http://whatever.example/healthz")
		must(t, err)
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Error(answer.Status)
		}
		if _, err := Listen(t.Context(), listen); err == nil || !strings.Contains(err.Error(), "another program listens") {
			t.Errorf("a second one gets %v", err)
		}
	})
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Error("the socket is left behind: ", err)
	}
	must(t, os.WriteFile(path, []byte("precious"), 0o600))
	if _, err := Listen(t.Context(), listen); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("where a file is: %v", err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "precious" {
		t.Error("the file is gone")
	}
}

// certificate writes one for mail.example.net and returns where, with the pool that trusts it.
func certificate(t *testing.T) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mail.example.net"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &private.PublicKey, private)
	must(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	folder := t.TempDir()
	cert, key, pool = filepath.Join(folder, "web.crt"), filepath.Join(folder, "web.key"), x509.NewCertPool()
	must(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
	must(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	parsed, err := x509.ParseCertificate(der)
	must(t, err)
	pool.AddCert(parsed)
	return cert, key, pool
}

// With a certificate the page is served by TLS only, under the certificate's name too.
func TestTLS(t *testing.T) {
	cert, key, pool := certificate(t)
	password := filepath.Join(t.TempDir(), "password")
	must(t, os.WriteFile(password, []byte("sesame"), 0o600))
	h := newHouse(t, config.Listen{Network: "tcp", Address: "127.0.0.1:0", Cert: cert, Key: key, PasswordFile: password})
	client, address := h.serve()
	client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: pool, ServerName: "mail.example.net"}
	for name, want := range map[string]int{"mail.example.net": http.StatusOK, address: http.StatusOK, "evil.example": http.StatusMisdirectedRequest} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+name+"/", nil)
		must(t, err)
		r.SetBasicAuth("joe", "sesame")
		answer, err := client.Do(r)
		must(t, err)
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s: %s", name, answer.Status)
		}
	}
	plain, err := client.Get("http://" + address + "/")
	if err == nil {
		body, _ := io.ReadAll(plain.Body)
		plain.Body.Close()
		if strings.Contains(string(body), "joe") {
			t.Error("the page is served without TLS")
		}
	}
}

// Whoever lets everybody in by IPv4 has said nothing of IPv6, which may reach further.
func TestEveryAddressOfIPv4(t *testing.T) {
	listener, err := Listen(t.Context(), config.Listen{Network: "tcp", Address: "0.0.0.0:0"})
	must(t, err)
	defer listener.Close()
	if at := listener.Addr().(*net.TCPAddr); at.IP.To4() == nil {
		t.Errorf("it listens at %s", at)
	}
}

// nextEvent reads one event's two lines and the empty one.
func nextEvent(t *testing.T, from *bufio.Reader) string {
	t.Helper()
	var lines []string
	for {
		line, err := from.ReadString('\n')
		must(t, err)
		if line == "\n" {
			return strings.Join(lines, " ")
		}
		lines = append(lines, strings.TrimSpace(line))
	}
}

// Who follows the page hears of progress in figures, and that the page has changed when more has; the end of the daemon ends it.
func TestEvents(t *testing.T) {
	h := newHouse(t, config.Listen{Network: "tcp", Address: "127.0.0.1:0"})
	client, address := h.serve()
	answer, err := client.Get("http://" + address + "/events?mark=" + mark(h.states))
	must(t, err)
	defer answer.Body.Close()
	events := bufio.NewReader(answer.Body)
	if got := nextEvent(t, events); got != "event: live data: []" {
		t.Errorf("first %s", got)
	}
	h.show(func() { h.states[0].Running, h.states[0].Began = true, h.now })
	if got := nextEvent(t, events); got != "event: page data: null" {
		t.Errorf("when a run begins: %s", got)
	}
	h.show(func() {
		h.states[0].Progress = fetch.Progress{Phase: fetch.Retrieving, Messages: 1, TotalMessages: 2, Bytes: 10, TotalBytes: 20}
	})
	want := `event: live data: [{"anchor":"account-joe","state":"running","word":"fetching","text":"1 of 2 messages, 10 B of 20 B","percent":50}]`
	if got := nextEvent(t, events); got != want {
		t.Errorf("while it goes on: %s", got)
	}
	h.show(func() { h.states[0].Running, h.states[0].Runs = false, 1 })
	if got := nextEvent(t, events); got != "event: page data: null" {
		t.Errorf("when it has ended: %s", got)
	}
	late, err := client.Get("http://" + address + "/events?mark=old")
	must(t, err)
	defer late.Body.Close()
	if got := nextEvent(t, bufio.NewReader(late.Body)); got != "event: page data: null" {
		t.Errorf("with a page from before: %s", got)
	}
}

// Followers are as many as there is room for; the page is there for all.
func TestTooManyFollowers(t *testing.T) {
	h := newHouse(t, loopback)
	for range mostWatching {
		h.watching <- struct{}{}
	}
	h.wants(http.StatusServiceUnavailable, "GET", "/events", "")
	h.wants(http.StatusOK, "GET", "/", "")
}
