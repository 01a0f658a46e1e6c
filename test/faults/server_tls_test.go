package faults

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// An authority signs the certificates of these tests, by an intermediate one where a chain is wanted.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	path        string // of its PEM, what ca_file takes
}

// trusted is the one authority that all accounts here trust.
var trusted = sync.OnceValues(func() (*authority, error) { return newAuthority(nil, "trusted authority") })

// newAuthority makes an authority that parent signs, or itself when that is nil.
func newAuthority(parent *authority, name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().AddDate(-2, 0, 0),
		NotAfter: time.Now().AddDate(10, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	signer, by := template, key
	if parent != nil {
		signer, by = parent.certificate, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer, &key.PublicKey, by)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return &authority{certificate: certificate, key: key}, err
}

// the authority that is trusted, and its file for the accounts.
func trust(t testing.TB) *authority {
	t.Helper()
	a, err := trusted()
	if err != nil {
		t.Fatal(err)
	}
	copied := *a
	copied.path = filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
	if err := os.WriteFile(copied.path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return &copied
}

// issue signs a certificate for 127.0.0.1 that is good but for what change does.
func (a *authority) issue(t testing.TB, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{a.sign(t, &key.PublicKey, change)}, PrivateKey: key}
}

func (a *authority) sign(t testing.TB, public any, change func(*x509.Certificate)) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "server"}, NotBefore: time.Now().AddDate(0, 0, -30),
		NotAfter: time.Now().AddDate(1, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, public, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// goodTLS is what a good server has.
func goodTLS(t testing.TB) *tls.Config {
	a, err := trusted()
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{a.issue(t, nil)}}
}

// startTLSRows are servers that do not go over to TLS: the password must not be sent then.
func startTLSRows(t *testing.T) []misbehaviour {
	ca := trust(t)
	good := script{tls: goodTLS(t)}
	row := func(name string, s script, code int, says string) misbehaviour {
		if s.tls == nil {
			s.tls = good.tls
		}
		m := misbehaviour{name: "STLS " + name, script: s, tls: "starttls", keys: []string{"ca_file: " + ca.path},
			code: code, says: says, online: true, lasting: code == 0}
		if code != 0 {
			m.again = nothing
			m.keys = append(m.keys, "timeout: 2s")
		}
		return m
	}
	noCAPA := on("STLS", sayErr("unknown command"))
	noCAPA.capabilities = func([]string) []string { return nil }
	noCAPAButSTLS := script{capabilities: noCAPA.capabilities}
	longText := row("is answered by 1 MiB", on("STLS", say("+OK "+longText+"\r\n")), 75, `line is longer than`)
	longText.memory = true
	return []misbehaviour{longText,
		row("works", script{}, 0, ``),
		row("works without CAPA", noCAPAButSTLS, 0, ``),
		row("is not offered", script{}.without("STLS"), 75, `does not offer STLS`),
		row("is refused", on("STLS", sayErr("no")), 75, `refused STLS: "no"`),
		row("is refused with SYS/TEMP", on("STLS", sayErr("[SYS/TEMP] no")), 75, `\[SYS/TEMP\] "no"`),
		row("and CAPA are not known", noCAPA, 75, `refused STLS`),
		row("brings an answer in clear", on("STLS", sayBehind("+OK logged in\r\n")), 75, `in clear`),
		row("brings capabilities in clear", on("STLS", sayBehind("+OK\r\nSASL PLAIN\r\n.\r\n")), 75, `in clear`),
		row("is +OK, and the server goes on in clear", on("STLS", say("+OK go on\r\n")), 75, `TLS`),
		row("is +OK, and the connection is closed", on("STLS", cutAt(1<<20)), 75, ``),
		row("is hung up on", on("STLS", hangsUp), 75, `closed the connection`),
		row("is never answered", on("STLS", stallAt(0)), 75, `silent for 2s`),
		row("is +OK, and no handshake comes", on("STLS", stallAt(100)), 75, `TLS handshake`),
		row("is answered by garbage", on("STLS", say("TLS\r\n")), 75, `expected \+OK or -ERR`),
		row("is answered by a refusal of escape codes", on("STLS", sayErr(hostileText)), 75, `\\x1b\[2J`),
		row("is offered by a server that has TLS already", script{implicit: true}, 75, `no greeting`),
	}
}

// certificateRows are servers whose certificate is not to be trusted.
func certificateRows(t *testing.T) (rows []misbehaviour) {
	ca := trust(t)
	row := func(name string, c tls.Certificate, code int, says string) *misbehaviour {
		for _, mode := range []string{"implicit", "starttls"} {
			m := misbehaviour{name: "certificate " + name + ", " + mode,
				tls:    mode,
				script: script{tls: &tls.Config{Certificates: []tls.Certificate{c}}, implicit: mode == "implicit"},
				keys:   []string{"ca_file: " + ca.path}, code: code, says: says, online: true, lasting: code == 0}
			if code != 0 {
				m.again = nothing
			}
			rows = append(rows, m)
		}
		return &rows[len(rows)-1]
	}
	chain := func(certificates ...[]byte) [][]byte { return certificates }
	other, err := newAuthority(nil, "somebody else")
	if err != nil {
		t.Fatal(err)
	}
	between, err := newAuthority(ca, "between")
	if err != nil {
		t.Fatal(err)
	}
	row("expired", ca.issue(t, func(c *x509.Certificate) { c.NotAfter = time.Now().AddDate(0, 0, -3) }), 75, `expired on`)
	row("is not valid yet", ca.issue(t, func(c *x509.Certificate) { c.NotBefore = time.Now().AddDate(0, 0, 3) }), 75, `valid only from`)
	row("is for another address", ca.issue(t, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 2)} }), 75, `is for "?127\.0\.0\.2`)
	row("is for a name", ca.issue(t, func(c *x509.Certificate) {
		c.IPAddresses, c.DNSNames = nil, []string{"pop.example.org", "*.example.org"}
	}), 75, `pop\.example\.org`)
	row("is for nobody", ca.issue(t, func(c *x509.Certificate) { c.IPAddresses = nil }), 75, `no name at all`)
	row("is for clients", ca.issue(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), 75,
		`certificate of 127\.0\.0\.1 is not valid`)
	row("is of an unknown authority", other.issue(t, nil), 75, `is not trusted`)
	row("is full of escape codes", other.issue(t, func(c *x509.Certificate) {
		c.Subject.CommonName = strings.ToValidUTF8(hostileText, "\x1b]0;x\a")
	}), 75, `is not trusted`)
	hostile, err := newAuthority(nil, "an authority\x1b[2J of \u202e escape codes\r\npopfetchd: fine")
	if err != nil {
		t.Fatal(err)
	}
	row("is signed by escape codes", hostile.issue(t, nil), 75, `\\x1b\[2J|is not trusted`)
	self := ca.issue(t, nil)
	self.Certificate[0] = selfSigned(t, self.PrivateKey.(*ecdsa.PrivateKey))
	row("is signed by itself", self, 75, `is not trusted`)
	leaf := between.issue(t, nil)
	row("lacks the one between", leaf, 75, `is not trusted`)
	signed := leaf.Certificate[0]
	leaf.Certificate = chain(signed, between.certificate.Raw)
	row("has a chain", leaf, 0, ``)
	leaf.Certificate = chain(signed, ca.certificate.Raw, other.certificate.Raw, between.certificate.Raw)
	row("has a chain in another order, and a stranger in it", leaf, 0, ``)
	reversed := leaf
	reversed.Certificate = chain(between.certificate.Raw, signed)
	row("comes behind the one that signed it", reversed, 75, ``)
	huge := leaf
	huge.Certificate = chain(signed)
	for range 3000 {
		huge.Certificate = append(huge.Certificate, other.certificate.Raw)
	}
	row("has a chain of 3000", huge, 75, ``)
	for i := range rows {
		rows[i].memory = len(rows[i].script.tls.Certificates[0].Certificate) > 1000
	}
	return rows
}

// selfSigned is a certificate that no authority signed.
func selfSigned(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "self"}, NotBefore: time.Now().AddDate(0, 0, -1),
		NotAfter: time.Now().AddDate(1, 0, 0), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// handshakeRows are servers with which no TLS comes about, or does not last.
func handshakeRows(t *testing.T) []misbehaviour {
	ca := trust(t)
	good := goodTLS(t)
	row := func(name, mode string, s script, says string) misbehaviour {
		if s.tls == nil {
			s.tls = good
		}
		return misbehaviour{name: "TLS " + name, script: s, tls: mode, code: 75, says: says, again: nothing, online: true,
			keys: []string{"ca_file: " + ca.path, "timeout: 2s"}}
	}
	versions := func(from, to uint16, suites ...uint16) *tls.Config {
		return &tls.Config{Certificates: good.Certificates, MinVersion: from, MaxVersion: to, CipherSuites: suites}
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	weak := versions(tls.VersionTLS12, tls.VersionTLS12, tls.TLS_RSA_WITH_RC4_128_SHA, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA)
	weak.Certificates = []tls.Certificate{{Certificate: [][]byte{ca.sign(t, &key.PublicKey, nil)}, PrivateKey: key}}
	demanding := &tls.Config{Certificates: good.Certificates, ClientAuth: tls.RequireAnyClientCert}
	raw := func(text string) script {
		return script{instead: func(c *dialogue) { c.send(text); c.silence() }}
	}
	imap := raw("* OK IMAP4rev1\r\n")
	imap.implicit = true
	rows := []misbehaviour{
		row("1.0 only", "implicit", script{tls: versions(tls.VersionTLS10, tls.VersionTLS10), implicit: true}, `TLS 1\.2 or newer`),
		row("1.1 only", "implicit", script{tls: versions(tls.VersionTLS10, tls.VersionTLS11), implicit: true}, `TLS 1\.2 or newer`),
		row("1.1 only, by STLS", "starttls", script{tls: versions(tls.VersionTLS10, tls.VersionTLS11)}, `TLS 1\.2 or newer`),
		row("with ciphers of the past only", "implicit", script{tls: weak, implicit: true}, `handshake failure`),
		row("wants a certificate of the client", "implicit", script{tls: demanding, implicit: true}, `certificate required`),
		row("is not spoken, POP3 in clear is", "implicit", script{}, `set tls to starttls`),
		row("is not spoken, HTTP is", "implicit", raw("HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request\n"), `no TLS with`),
		row("is not spoken, garbage of escape codes is", "implicit", raw(hostileText+hostileText), `no TLS with`),
		row("is not spoken, nothing is", "implicit", raw(""), `TLS handshake`),
		row("is spoken by a server of another protocol", "implicit", imap, `expected \+OK or -ERR, not "\* OK`),
		row("is hung up on", "implicit", script{instead: func(c *dialogue) { c.hangUp() }}, ``),
		row("is answered by an alert", "implicit", raw("\x15\x03\x03\x00\x02\x02\x28"), `handshake failure`),
		row("is answered by garbage without end", "implicit", script{instead: func(c *dialogue) {
			flooding("\x16\x03\x03\x40\x00", "\x16\x03\x03\x40\x00 garbage ")(c, nil)
		}}, ``),
		row("handshake comes an octet at a time", "implicit", script{instead: func(c *dialogue) { dripping("\x16\x03\x03", "\x03")(c, nil) }}, ``),
		row("is spoken where nobody expects it", "", script{implicit: true}, `no greeting.*set tls to implicit`),
	}
	rows[len(rows)-1].keys = impatient
	rows[len(rows)-3].memory = true
	cutOff := row("ends without close_notify in a body", "implicit",
		script{implicit: true, answers: map[string]answer{"RETR 2": cutAt(100)}}, `closed the connection`)
	cutAfter := row("ends without close_notify behind QUIT", "implicit", script{implicit: true, answers: map[string]answer{"QUIT": cutAt(1 << 20)}}, ``)
	cutOff.again, cutOff.online = allBut(2), false
	cutAfter.again, cutAfter.online, cutAfter.code, cutAfter.lasting = all, false, 0, true
	pinned := row("certificate is not the pinned one", "implicit", script{implicit: true, tls: goodTLS(t)}, `none of the pinned`)
	pinned.better = script{tls: good, implicit: true}
	pinned.keys = []string{fmt.Sprintf("pin_sha256: [ %x ]", sha256.Sum256(good.Certificates[0].Certificate[0]))}
	return append(rows, cutOff, cutAfter, pinned)
}
