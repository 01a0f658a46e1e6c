package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
)

const bareName = "bare"

// readBare is the least that a client must do: log in over TLS, ask for UIDL
// and LIST at once and, if retrieve is set, for all messages in one breath. It
// keeps nothing.
func readBare(v visit, retrieve bool) error {
	conn, err := dialBare(v)
	if err != nil {
		return err
	}
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 1<<18)
	for i, command := range []string{"", "USER " + v.user + "\r\n", "PASS " + password + "\r\n"} {
		if _, err := io.WriteString(conn, command); err != nil {
			return err
		}
		if _, err := status(r); err != nil {
			return fmt.Errorf("bare reader, step %d: %w", i, err)
		}
	}
	if _, err := io.WriteString(conn, "UIDL\r\nLIST\r\n"); err != nil {
		return err
	}
	var listed int
	for range 2 {
		if listed, err = skipLines(r); err != nil {
			return err
		}
	}
	if listed != v.count {
		return fmt.Errorf("the server lists %d messages instead of %d", listed, v.count)
	}
	if retrieve {
		if err := retrieveAll(conn, r, v.count); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(conn, "QUIT\r\n"); err != nil {
		return err
	}
	_, err = status(r)
	return err
}

func dialBare(v visit) (net.Conn, error) {
	pem, err := os.ReadFile(v.caFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return tls.Dial("tcp", net.JoinHostPort(v.host, strconv.Itoa(v.port)), &tls.Config{RootCAs: roots})
}

// retrieveAll asks for all messages while it reads them.
func retrieveAll(conn net.Conn, r *bufio.Reader, count int) error {
	sent := make(chan error, 1)
	go func() {
		w := bufio.NewWriterSize(conn, 1<<14)
		for n := range count {
			fmt.Fprintf(w, "RETR %d\r\n", n+1)
		}
		sent <- w.Flush()
	}()
	for range count {
		if _, err := skipLines(r); err != nil {
			return err
		}
	}
	return <-sent
}

// skipLines reads a whole multi-line reply and counts its lines.
func skipLines(r *bufio.Reader) (int, error) {
	if _, err := status(r); err != nil {
		return 0, err
	}
	for n := 0; ; n++ {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if string(line) == ".\r\n" {
			return n, nil
		}
	}
}

func status(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "+OK") {
		err = fmt.Errorf("the server answered %q", line)
	}
	return line, err
}
