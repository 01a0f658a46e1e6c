package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/popfetchd/popfetchd/internal/config"
)

// Listen opens what the configuration's listen says, with TLS if it has a certificate. A unix socket is for its owner alone; one
// that a program left behind is replaced, one at which somebody answers is an error.
func Listen(ctx context.Context, l config.Listen) (net.Listener, error) {
	certificate, err := l.Certificate()
	if err != nil {
		return nil, err
	}
	var listen net.ListenConfig
	if l.Network == "unix" {
		if err := clear(ctx, l.Address); err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
		listen.Control = ownerOnly
	}
	network := l.Network
	if address, err := netip.ParseAddrPort(l.Address); err == nil && address.Addr().Is4() {
		network = "tcp4" // package net takes 0.0.0.0 for every address of IPv6 too
	}
	listener, err := listen.Listen(ctx, network, l.Address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if certificate != nil {
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{*certificate}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}})
	}
	return listener, nil
}

// ownerOnly gives the socket its mode before it gets its name (unix(7): the name's mode is the socket's, less the umask), so that
// there is no moment in which others can connect.
func ownerOnly(_, _ string, c syscall.RawConn) error {
	var err error
	if outer := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); outer != nil {
		return outer
	}
	return err
}

// clear removes a socket at which nobody answers any more.
func clear(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is there already and is no socket; choose another path, or remove it", path)
	}
	connection, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		connection.Close()
		return fmt.Errorf("another program listens at %s; end it, or choose another path", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}
