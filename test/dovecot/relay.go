package dovecot

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
)

// hidden are the capabilities that a relayed server does not announce: the one
// to be hidden, and STLS, behind which the relay could read nothing.
var hidden = []string{"PIPELINING", "STLS"}

// hidePipelining puts relays before POP3 and POP3S, which then replace
// Dovecot's own ports.
func (s *Server) hidePipelining() error {
	certificate, err := tls.LoadX509KeyPair(filepath.Join(s.Dir, "cert.pem"), filepath.Join(s.Dir, "key.pem"))
	if err != nil {
		return err
	}
	for _, port := range []*Port{&s.POP3, &s.POP3S} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		number := Port(l.Addr().(*net.TCPAddr).Port)
		if port == &s.POP3S {
			l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{certificate}})
		}
		s.relays = append(s.relays, l)
		go serveRelay(l, s.own.Addr())
		*port = number
	}
	return nil
}

// serveRelay relays each connection until the listener is closed.
func serveRelay(l net.Listener, upstream string) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		go relay(client, upstream)
	}
}

// relay carries one session. It closes the connection of a client that sends a
// command before CAPA, the command in hand, is answered: such a client
// pipelines though nobody allowed it.
func relay(client net.Conn, upstream string) {
	defer client.Close()
	server, err := net.Dial("tcp", upstream)
	if err != nil {
		return
	}
	defer server.Close()
	var asked atomic.Bool // CAPA is under way
	go func() {
		defer server.Close()
		commands := bufio.NewReader(client)
		for {
			line, err := commands.ReadString('\n')
			if err != nil || commands.Buffered() > 0 {
				client.Close()
				return
			}
			if strings.EqualFold(strings.TrimSpace(line), "CAPA") {
				asked.Store(true)
			}
			if _, err := io.WriteString(server, line); err != nil {
				return
			}
		}
	}()
	replies, out := bufio.NewReader(server), bufio.NewWriter(client)
	for {
		if replies.Buffered() == 0 {
			out.Flush() // its error stays and meets the next Write
		}
		line, err := replies.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return
		}
		word := strings.TrimRight(string(line), "\r\n")
		if asked.Load() {
			if slices.Contains(hidden, word) {
				continue
			}
			if word == "." || strings.HasPrefix(word, "-ERR") {
				asked.Store(false)
			}
		}
		if _, err := out.Write(line); err != nil {
			return
		}
	}
}
