package pop3

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"
)

// A TLSError says that no encrypted connection came about for a reason other than the certificate or the network.
type TLSError struct {
	Host string
	Hint string // what to do about it; "" when we know no better than Err
	Err  error
}

// Error says what failed and, where it is known, what to do.
func (e *TLSError) Error() string {
	text := fmt.Sprintf("no TLS with %s: %v", e.Host, e.Err)
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

// Unwrap returns the underlying error.
func (e *TLSError) Unwrap() error { return e.Err }

// A CertificateProblem is what is wrong with a server's certificate.
type CertificateProblem string

const (
	CertificateExpired   CertificateProblem = "expired"       // or not yet valid
	CertificateWrongHost CertificateProblem = "wrong host"    // it is for other names
	CertificateUntrusted CertificateProblem = "not trusted"   // no trusted authority vouches for it
	CertificateNotPinned CertificateProblem = "not pinned"    // it is none of Server.PinSHA256
	CertificateInvalid   CertificateProblem = "invalid chain" // anything else; see Err
)

// A CertificateError says why a server's certificate was refused, and what the certificate is, so that the user can decide what to do.
type CertificateError struct {
	Host                string
	Problem             CertificateProblem
	Names               []string          // DNS names and IP addresses that the certificate is for
	Issuer              string            // who signed it
	NotBefore, NotAfter time.Time         // when it is valid
	SHA256              [sha256.Size]byte // of its DER: what pin_sha256 takes
	Err                 error             // of crypto/x509; nil for CertificateNotPinned
}

// maxNames bounds how many of a certificate's names an error shows.
const maxNames = 5

// Error says what was expected and found, what to do, and the SHA-256 to pin.
func (e *CertificateError) Error() string {
	pin := fmt.Sprintf("pin_sha256 %x", e.SHA256)
	switch e.Problem {
	case CertificateExpired:
		if time.Now().Before(e.NotBefore) {
			return fmt.Sprintf("certificate of %s is valid only from %s: set the clock right, or trust it by %s", e.Host, e.NotBefore.UTC().Format(time.DateTime), pin)
		}
		return fmt.Sprintf("certificate of %s expired on %s: its operator must renew it; to trust it all the same, set %s", e.Host, e.NotAfter.UTC().Format(time.DateTime), pin)
	case CertificateWrongHost:
		return fmt.Sprintf("certificate of %s is for %s: set host to a name it is for, or trust it by %s", e.Host, e.names(), pin)
	case CertificateUntrusted:
		return fmt.Sprintf("certificate of %s is signed by %s, which is not trusted: set ca_file to that authority's certificate, or trust this one by %s", e.Host, shown(e.Issuer), pin)
	case CertificateNotPinned:
		return fmt.Sprintf("certificate of %s is none of the pinned ones: if its operator changed it, set %s", e.Host, pin)
	}
	return fmt.Sprintf("certificate of %s is not valid: %v; to trust it all the same, set %s", e.Host, e.Err, pin)
}

// Unwrap returns the error of crypto/x509, if any.
func (e *CertificateError) Unwrap() error { return e.Err }

func (e *CertificateError) names() string {
	if len(e.Names) == 0 {
		return "no name at all"
	}
	var quoted []string
	for _, name := range e.Names[:min(len(e.Names), maxNames)] {
		quoted = append(quoted, shown(name))
	}
	if len(e.Names) > maxNames {
		quoted = append(quoted, fmt.Sprintf("and %d more", len(e.Names)-maxNames))
	}
	return strings.Join(quoted, ", ")
}

func newCertificateError(host string, problem CertificateProblem, leaf *x509.Certificate, err error) *CertificateError {
	names := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return &CertificateError{
		Host: host, Problem: problem, Names: names, Issuer: leaf.Issuer.String(),
		NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter, SHA256: sha256.Sum256(leaf.Raw), Err: err,
	}
}

// tlsConfig always has the server's name, which crypto/tls sends as SNI (Gmail shows a wrong certificate without it)
// unless it is an IP address (RFC 6066 section 3), and checks against the certificate in either case.
func tlsConfig(server *Server) *tls.Config {
	config := &tls.Config{ServerName: server.host(), RootCAs: server.RootCAs, MinVersion: tls.VersionTLS12}
	if len(server.PinSHA256) == 0 {
		return config
	}
	config.InsecureSkipVerify = true // VerifyConnection is the check; the handshake still proves that the server has the key
	config.VerifyConnection = func(state tls.ConnectionState) error {
		leaf := state.PeerCertificates[0]
		if slices.Contains(server.PinSHA256, sha256.Sum256(leaf.Raw)) {
			return nil
		}
		return newCertificateError(server.host(), CertificateNotPinned, leaf, nil)
	}
	return config
}

// handshake makes a TLS connection of raw within the server's timeout.
func handshake(ctx context.Context, raw net.Conn, server *Server) (*tls.Conn, error) {
	conn := tls.Client(raw, tlsConfig(server))
	raw.SetDeadline(time.Now().Add(server.timeout()))
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, handshakeError(ctx, server, err)
	}
	return conn, nil
}

// handshakeError tells the network's errors from those of TLS, and those of TLS from the certificate's.
func handshakeError(ctx context.Context, server *Server, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("TLS handshake with %s: %w", server.address(), cause)
	}
	if pin := (*CertificateError)(nil); errors.As(err, &pin) {
		return pin
	}
	if unverified := (*tls.CertificateVerificationError)(nil); errors.As(err, &unverified) {
		return newCertificateError(server.host(), certificateProblem(err), unverified.UnverifiedCertificates[0], unverified.Err)
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	operation := (*net.OpError)(nil)
	ofNetwork := errors.As(err, &operation) && operation.Op != "remote error" && operation.Op != "local error"
	if ofNetwork || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("TLS handshake with %s: %w", server.address(), err)
	}
	return &TLSError{Host: server.address(), Hint: tlsHint(server, err), Err: err}
}

func certificateProblem(err error) CertificateProblem {
	invalid := x509.CertificateInvalidError{}
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return CertificateExpired
	case errors.As(err, &x509.HostnameError{}):
		return CertificateWrongHost
	case errors.As(err, &x509.UnknownAuthorityError{}):
		return CertificateUntrusted
	}
	return CertificateInvalid
}

func tlsHint(server *Server, err error) string {
	switch {
	case errors.As(err, &tls.RecordHeaderError{}) && server.TLS == ImplicitTLS:
		return "if this port begins in clear, set tls to starttls"
	case strings.Contains(err.Error(), "protocol version"):
		return "TLS 1.2 or newer is needed"
	case strings.Contains(err.Error(), "handshake failure"): // what servers say when they share no version, or no cipher suite, with us
		return "TLS 1.2 or newer is needed, with a cipher suite of forward secrecy"
	}
	return ""
}

// startTLS makes the connection a TLS one by STLS (RFC 2595 section 4). Every way but success is an error: the session
// never goes on in clear. Bytes that came behind the answer to STLS were sent in clear by whoever sits in
// between, to be taken for the server's encrypted ones; they end the session.
func (s *Session) startTLS(ctx context.Context) error {
	const hint = "set tls to implicit and the port to 995 if the server offers that"
	if s.capabilities.Known() && !s.capabilities.Has("STLS") {
		return &TLSError{Host: s.server.address(), Hint: hint, Err: errors.New("the server does not offer STLS")}
	}
	if _, err := s.command("STLS"); err != nil {
		if refused := (*ReplyError)(nil); errors.As(err, &refused) {
			return &TLSError{Host: s.server.address(), Hint: hint, Err: err}
		}
		return err
	}
	if len(s.wire.buffered()) > 0 {
		return s.wire.fail(protocolError("bytes in clear after the answer to STLS: %s", s.wire.unasked()))
	}
	secure, err := handshake(ctx, s.wire.raw, &s.server)
	if err != nil {
		return s.wire.fail(err)
	}
	s.wire.Conn = secure
	return nil
}
