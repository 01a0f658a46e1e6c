package pop3

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// An authority signs certificates for tests.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test\x1b[31m Authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{certificate, key}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// issue makes a server's certificate, valid now and for localhost, 127.0.0.1 and ::1 unless change says otherwise.
func (a *authority) issue(t *testing.T, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "server"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if change != nil {
		change(template)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func fingerprint(c tls.Certificate) [sha256.Size]byte { return sha256.Sum256(c.Certificate[0]) }

// tlsServer serves one session by implicit TLS, trusted by the authority's certificate.
func tlsServer(t *testing.T, address string, a *authority, config *tls.Config, text string) Server {
	t.Helper()
	server := serve(t, address, secure(config, script(text)))
	server.TLS, server.RootCAs = ImplicitTLS, a.pool()
	return server
}

func TestImplicitTLS(t *testing.T) {
	a := newAuthority(t)
	certificate := a.issue(t, nil)
	for _, test := range []struct{ address, host, sni string }{
		{"127.0.0.1:0", "localhost", "localhost"},
		{"127.0.0.1:0", "127.0.0.1", ""}, // RFC 6066 section 3 allows no addresses
		{"[::1]:0", "::1", ""},
		{"[::1]:0", "[::1]", ""},
	} {
		seen := make(chan string, 1)
		config := &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			seen <- hello.ServerName
			return &certificate, nil
		}}
		server := tlsServer(t, test.address, a, config, hello+"C: QUIT\nS: +OK")
		server.Host = test.host
		s := dial(t, server)
		if got := <-seen; got != test.sni {
			t.Errorf("%s: SNI %q, want %q", test.host, got, test.sni)
		}
		if state, ok := s.ConnectionState(); !ok || !state.HandshakeComplete {
			t.Errorf("%s: ConnectionState says %v, %v", test.host, state.HandshakeComplete, ok)
		}
		if err := s.Quit(); err != nil {
			t.Errorf("%s: %v", test.host, err)
		}
	}
	if _, ok := scripted(t, hello).ConnectionState(); ok {
		t.Error("ConnectionState without TLS")
	}
}

func TestCertificateErrors(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	day := func(d int) time.Time { return time.Now().AddDate(0, 0, d) }
	for _, test := range []struct {
		name    string
		issuer  *authority
		change  func(*x509.Certificate)
		problem CertificateProblem
		want    []string
	}{
		{"expired", a, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = day(-9), day(-2) }, CertificateExpired,
			[]string{"expired on " + day(-2).UTC().Format(time.DateOnly), "its operator must renew it"}},
		{"not yet valid", a, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = day(2), day(9) }, CertificateExpired,
			[]string{"valid only from " + day(2).UTC().Format(time.DateOnly), "set the clock right"}},
		{"wrong host", a, func(c *x509.Certificate) {
			c.DNSNames, c.IPAddresses = []string{"pop.example.net", "b.example"}, []net.IP{net.IPv4(192, 0, 2, 1)}
		}, CertificateWrongHost, []string{`is for "pop.example.net", "b.example", "192.0.2.1": set host`}},
		{"many names", a, func(c *x509.Certificate) {
			c.DNSNames, c.IPAddresses = []string{"a.example", "b.example", "c.example", "d.example", "e.example", "f.example", "g.example"}, nil
		}, CertificateWrongHost, []string{`"e.example", and 2 more`}},
		{"no name", a, func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, nil }, CertificateWrongHost, []string{"is for no name at all"}},
		{"unknown authority", other, nil, CertificateUntrusted, []string{`signed by "CN=Test\x1b[31m Authority", which is not trusted: set ca_file`}},
		{"not for servers", a, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} }, CertificateInvalid, []string{"is not valid: x509: "}},
	} {
		t.Run(test.name, func(t *testing.T) {
			certificate := test.issuer.issue(t, test.change)
			server := tlsServer(t, loopback, a, &tls.Config{Certificates: []tls.Certificate{certificate}}, "")
			server.Host = "localhost"
			_, err := Dial(t.Context(), server)
			var refused *CertificateError
			if !errors.As(err, &refused) || refused.Problem != test.problem || refused.SHA256 != fingerprint(certificate) || refused.Host != "localhost" {
				t.Fatalf("got %T %v", err, err)
			}
			for _, want := range append(test.want, "certificate of localhost ", fmt.Sprintf("pin_sha256 %x", fingerprint(certificate))) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
			if refused.Unwrap() == nil {
				t.Error("the error of crypto/x509 is lost")
			}

			// Pinned, nothing else is asked of the same certificate.
			server = tlsServer(t, loopback, a, &tls.Config{Certificates: []tls.Certificate{certificate}}, hello+"C: QUIT\nS: +OK")
			server.PinSHA256 = [][sha256.Size]byte{{1}, fingerprint(certificate)}
			if err := dial(t, server).Quit(); err != nil {
				t.Errorf("pinned: %v", err)
			}
		})
	}
}

// With a pin, a good certificate is refused when it is another.
func TestPinMismatch(t *testing.T) {
	a := newAuthority(t)
	certificate := a.issue(t, nil)
	server := tlsServer(t, loopback, a, &tls.Config{Certificates: []tls.Certificate{certificate}}, "")
	server.PinSHA256 = [][sha256.Size]byte{{1, 2, 3}}
	_, err := Dial(t.Context(), server)
	var refused *CertificateError
	if !errors.As(err, &refused) || refused.Problem != CertificateNotPinned || !strings.Contains(err.Error(), fmt.Sprintf("none of the pinned ones: if its operator changed it, set pin_sha256 %x", fingerprint(certificate))) {
		t.Errorf("got %T %v", err, err)
	}
}

func TestTLSErrors(t *testing.T) {
	a := newAuthority(t)
	old := &tls.Config{Certificates: []tls.Certificate{a.issue(t, nil)}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	_, err := Dial(t.Context(), tlsServer(t, loopback, a, old, ""))
	if !is[*TLSError](err) || !strings.Contains(err.Error(), "TLS 1.2 or newer is needed") {
		t.Errorf("TLS 1.1: %T %v", err, err)
	}
	server := serve(t, loopback, func(p *peer) { p.send("+OK in clear\r\n"); io.ReadAll(p.r) })
	server.TLS = ImplicitTLS
	_, err = Dial(t.Context(), server)
	if !is[*TLSError](err) || errors.Unwrap(err) == nil || !strings.Contains(err.Error(), "set tls to starttls") {
		t.Errorf("no TLS: %T %v", err, err)
	}
	server = serve(t, loopback, func(p *peer) { io.ReadAll(p.r) })
	server.TLS, server.Timeout = ImplicitTLS, 50*time.Millisecond
	if _, err = Dial(t.Context(), server); !errors.Is(err, os.ErrDeadlineExceeded) || is[*TLSError](err) {
		t.Errorf("silence: %T %v", err, err)
	}
	server = serve(t, loopback, func(p *peer) { p.r.ReadByte() })
	server.TLS = ImplicitTLS
	if _, err = Dial(t.Context(), server); err == nil || is[*TLSError](err) || !strings.Contains(err.Error(), "TLS handshake with 127.0.0.1:") {
		t.Errorf("hung up: %T %v", err, err)
	}
}

const offersSTLS = "S: +OK\nC: CAPA\nS: +OK\nS: STLS\nS: SASL IN-CLEAR\nS: .\n"

// upgrading plays a script in clear, then a handshake and a script behind it.
func upgrading(config *tls.Config, clear, encrypted string) func(*peer) {
	return func(p *peer) {
		if p.play(clear) {
			secure(config, script(encrypted))(p)
		}
	}
}

func TestSTLS(t *testing.T) {
	a := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{a.issue(t, nil)}}
	for name, clear := range map[string]string{
		"offered":      offersSTLS + "C: STLS\nS: +OK begin",
		"without CAPA": "S: +OK\nC: CAPA\nS: -ERR\nC: STLS\nS: +OK begin",
	} {
		server := serve(t, loopback, upgrading(config, clear, "C: CAPA\nS: +OK\nS: SASL ENCRYPTED\nS: .\nC: QUIT\nS: +OK"))
		server.TLS, server.RootCAs = StartTLS, a.pool()
		s := dial(t, server)
		if got := s.Capabilities().SASL(); !slices.Equal(got, []string{"ENCRYPTED"}) {
			t.Errorf("%s: SASL %q: what was said in clear must be forgotten", name, got)
		}
		if _, ok := s.ConnectionState(); !ok {
			t.Errorf("%s: not encrypted", name)
		}
		if err := s.Quit(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever goes wrong with STLS, nothing more is said in clear: the scripts fail if a command follows.
func TestSTLSNeverGoesOnInClear(t *testing.T) {
	for _, test := range []struct {
		script, want string
		ofType       func(error) bool
	}{
		{"S: +OK\nC: CAPA\nS: +OK\nS: TOP\nS: .", "the server does not offer STLS; set tls to implicit and the port to 995", is[*TLSError]},
		{"S: +OK\nC: CAPA\nS: -ERR\nC: STLS\nS: -ERR what", `server refused STLS: "what"; set tls to implicit`, is[*TLSError]},
		{offersSTLS + "C: STLS\nS: -ERR [SYS/TEMP] not now", `server refused STLS: [SYS/TEMP] "not now"`, is[*ReplyError]},
		{offersSTLS + "C: STLS\nS: +OK\nS: +OK injected", `bytes in clear after the answer to STLS: "+OK injected`, is[*ProtocolError]},
		{offersSTLS + "C: STLS\nS: +OK\ns: x", `bytes in clear after the answer to STLS: part of a line, 1 octets`, is[*ProtocolError]},
		{offersSTLS + "S: +OK early", `answer before any question: "+OK early`, is[*ProtocolError]},
		{offersSTLS + "C: STLS\nclose", "closed the connection", func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
	} {
		server := serve(t, loopback, script(test.script))
		server.TLS = StartTLS
		_, err := Dial(t.Context(), server)
		if err == nil || !strings.Contains(err.Error(), test.want) || !test.ofType(err) {
			t.Errorf("%.80q: got %T %v", test.script, err, err)
		}
	}
}

func TestSTLSWithAWrongCertificate(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	server := serve(t, loopback, upgrading(&tls.Config{Certificates: []tls.Certificate{other.issue(t, nil)}}, offersSTLS+"C: STLS\nS: +OK", ""))
	server.TLS, server.RootCAs = StartTLS, a.pool()
	if _, err := Dial(t.Context(), server); !is[*CertificateError](err) {
		t.Errorf("got %T %v", err, err)
	}
}

// A whole pipelined session over TLS, and a write of many commands that share one TLS record.
func TestConversationOverTLS(t *testing.T) {
	a := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{a.issue(t, nil)}}
	answers := conversation(true)
	server := serve(t, loopback, secure(config, func(p *peer) { playUntil(p, answers, 1<<20) }))
	server.TLS, server.RootCAs = ImplicitTLS, a.pool()
	if err := converse(t.Context(), server); err != nil {
		t.Error(err)
	}
}
