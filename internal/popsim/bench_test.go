package popsim_test

import (
	"crypto/tls"
	"io"
	"net"
	"testing"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/internal/popsim/sample"
)

// BenchmarkRetrieveTLS is one large message over TLS, made while it is sent, to a client that throws it away.
func BenchmarkRetrieveTLS(b *testing.B) {
	const size = 64 << 20
	account := &popsim.Account{Username: "joe", Password: "x"}
	account.Deliver(sample.Large(size))
	server, err := popsim.Start("127.0.0.1:0", popsim.Config{Accounts: []*popsim.Account{account}})
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		raw, err := net.Dial("tcp", server.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
		io.WriteString(conn, "USER joe\r\nPASS x\r\nRETR 1\r\nQUIT\r\n")
		n, err := io.Copy(io.Discard, conn)
		if err != nil || n < size {
			b.Fatal(n, err)
		}
		conn.Close()
	}
}
