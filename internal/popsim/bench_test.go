package popsim_test

import (
	"crypto/tls"
	"io"
	"testing"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/internal/popsim/sample"
)

// BenchmarkRetrieveTLS is one large message over TLS, made while it is sent, to a client that throws it away.
func BenchmarkRetrieveTLS(b *testing.B) {
	account := &popsim.Account{Username: "joe", Password: "x"}
	account.Deliver(sample.Large(64 << 20))
	b.SetBytes(64 << 20)
	benchmark(b, account, "RETR 1\r\n", 64<<20)
}

// BenchmarkPoll is UIDL and LIST of 100,000 messages.
func BenchmarkPoll(b *testing.B) {
	const messages = 100_000
	account := &popsim.Account{Username: "joe", Password: "x"}
	for range messages {
		account.Deliver(popsim.Message{Body: []byte("Subject: x\r\n\r\nx\r\n")})
	}
	benchmark(b, account, "UIDL\r\nLIST\r\n", messages*30)
}

// benchmark holds sessions of these commands; least is how many octets they must be answered with.
func benchmark(b *testing.B, account *popsim.Account, commands string, least int64) {
	server, err := popsim.Start("127.0.0.1:0", popsim.Config{Accounts: []*popsim.Account{account}})
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	b.ReportAllocs()
	for b.Loop() {
		conn, err := tls.Dial("tcp", server.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			b.Fatal(err)
		}
		io.WriteString(conn, "USER joe\r\nPASS x\r\n"+commands+"QUIT\r\n")
		n, err := io.Copy(io.Discard, conn)
		if err != nil || n < least {
			b.Fatal(n, err)
		}
		conn.Close()
	}
}
