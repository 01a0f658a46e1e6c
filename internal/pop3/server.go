package pop3

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// A TLSMode says when the connection becomes encrypted.
type TLSMode string

const (
	ImplicitTLS TLSMode = "implicit" // from the first byte, usually on port 995 (RFC 8314 section 3)
	StartTLS    TLSMode = "starttls" // by STLS, usually on port 110 (RFC 2595 section 4); never goes on in clear
	NoTLS       TLSMode = "none"     // never: everybody on the way reads the password
)

// defaultTimeout is what mail providers advise POP3 clients to use (Gmail: 5 minutes).
const defaultTimeout = 5 * time.Minute

// A Server says where a POP3 server is and how to talk with it.
type Server struct {
	Host       string              // name or IP address, IPv6 with or without brackets
	Port       int                 // 1 to 65535
	TLS        TLSMode             // must be set
	RootCAs    *x509.CertPool      // whose certificates are trusted; nil: the system's
	PinSHA256  [][sha256.Size]byte // when set, only a leaf certificate with one of these hashes (of its DER) is trusted, and nothing else is asked of it
	Timeout    time.Duration       // for each dial, handshake, write and line; a list or message must come at 64 octets a second besides; 0 means 5 minutes
	Pipelining bool                // send commands ahead when the server announces PIPELINING after login
	MaxMessage int64               // octets of a message as it is without stuffing; 0: no limit; a longer body ends the session with ErrMessageTooLarge
}

// host is the host without the brackets that IPv6 addresses have in URLs.
func (s *Server) host() string {
	return strings.TrimSuffix(strings.TrimPrefix(s.Host, "["), "]")
}

func (s *Server) address() string {
	return net.JoinHostPort(s.host(), strconv.Itoa(s.Port))
}

func (s *Server) timeout() time.Duration {
	if s.Timeout <= 0 {
		return defaultTimeout
	}
	return s.Timeout
}

func (s *Server) check() error {
	switch {
	case s.host() == "":
		return errors.New("server has no host")
	case s.Port < 1 || s.Port > 65535:
		return fmt.Errorf("port %d of %s is not between 1 and 65535", s.Port, s.Host)
	case s.TLS != ImplicitTLS && s.TLS != StartTLS && s.TLS != NoTLS:
		return fmt.Errorf("TLS mode %q of %s is none of implicit, starttls and none", s.TLS, s.Host)
	}
	return nil
}

// Dial connects, by TLS as the server's mode says, reads the greeting and asks for the capabilities. The session lives
// no longer than ctx: when that ends, the connection is closed and errors report context.Cause. Errors are a *ReplyError when the
// server turned us away, a *CertificateError, *TLSError or *ProtocolError, or else one of the network.
func Dial(ctx context.Context, server Server) (*Session, error) {
	if err := server.check(); err != nil {
		return nil, err
	}
	s, err := open(ctx, server, true)
	if errors.Is(err, errHungUpOnCAPA) {
		return open(ctx, server, false)
	}
	return s, err
}

// errHungUpOnCAPA marks the servers of before RFC 2449 that answer CAPA by closing the connection.
var errHungUpOnCAPA = errors.New("server closed the connection when asked for its capabilities")

// open is Dial on one connection.
func open(ctx context.Context, server Server, capa bool) (*Session, error) {
	w, err := connect(ctx, &server)
	if err != nil {
		return nil, err
	}
	s, err := newSession(ctx, server, w)
	if err != nil {
		return nil, withModeHint(err, &server)
	}
	if err := s.begin(ctx, capa); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// withModeHint helps with the one mistake that shows as silence: both sides waiting for the other to speak first.
func withModeHint(err error, server *Server) error {
	if server.TLS != ImplicitTLS && errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("no greeting; if this port expects TLS from the first byte, set tls to implicit: %w", err)
	}
	return err
}

// begin asks for the capabilities and does STLS where it is wanted. It asks again after STLS, for
// what was said in clear could have been said by anybody (RFC 2595 section 4).
func (s *Session) begin(ctx context.Context, capa bool) error {
	if capa {
		if err := s.askCapabilities(); err != nil {
			if s.wire.interrupted && ctx.Err() == nil {
				return fmt.Errorf("%w: %w", errHungUpOnCAPA, err)
			}
			return err
		}
	}
	if s.server.TLS != StartTLS {
		return nil
	}
	if err := s.startTLS(ctx); err != nil {
		return err
	}
	if !capa {
		return nil
	}
	return s.askCapabilities()
}

// connect dials and, in implicit mode, does the TLS handshake.
func connect(ctx context.Context, server *Server) (*wire, error) {
	cause := func() error { return context.Cause(ctx) }
	dialer := net.Dialer{Timeout: server.timeout()}
	raw, err := dialer.DialContext(ctx, "tcp", server.address())
	if err != nil {
		if cause() != nil {
			err = cause()
		}
		return nil, &dialError{err}
	}
	if server.TLS != ImplicitTLS {
		return newWire(raw, raw, server, cause), nil
	}
	secure, err := handshake(ctx, raw, server)
	if err != nil {
		raw.Close()
		return nil, err
	}
	return newWire(raw, secure, server, cause), nil
}
