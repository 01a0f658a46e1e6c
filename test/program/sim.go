package program

import (
	"bytes"
	"fmt"
	"iter"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/popfetchd/popfetchd/internal/popsim"
)

// Serve starts the built-in server with one account that holds these messages. It ends with the test.
func Serve(tb testing.TB, c popsim.Config, messages iter.Seq[popsim.Message]) (*popsim.Server, *popsim.Account) {
	tb.Helper()
	account := &popsim.Account{Username: Username, Password: Password}
	for m := range messages {
		account.Deliver(m)
	}
	c.Accounts = append(c.Accounts, account)
	s, err := popsim.Start("127.0.0.1:0", c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s, account
}

// AtSim are the keys that reach a built-in server: in cleartext when it has no TLS, else by its own authority.
func AtSim(tb testing.TB, s *popsim.Server, mode popsim.TLSMode) []string {
	tb.Helper()
	keys := []string{"host: 127.0.0.1", fmt.Sprintf("port: %d", s.Addr().(*net.TCPAddr).Port), "tls: " + string(mode)}
	if mode == popsim.NoTLS {
		return keys
	}
	ca := filepath.Join(tb.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, s.CACertificate(), 0o600); err != nil {
		tb.Fatal(err)
	}
	return append(keys, "ca_file: "+ca)
}

// HeldBy is what a built-in server's account holds, as it is to be stored.
func HeldBy(tb testing.TB, account *popsim.Account) Contents {
	tb.Helper()
	all := Contents{}
	for _, m := range account.Messages() {
		var octets bytes.Buffer
		if _, err := octets.ReadFrom(m.Reader()); err != nil {
			tb.Fatal(err)
		}
		all.AddBytes(bytes.ReplaceAll(octets.Bytes(), []byte("\r\n"), []byte("\n")))
	}
	return all
}
