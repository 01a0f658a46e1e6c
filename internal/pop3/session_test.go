package pop3

import (
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
)

const wholeSession = hello + `C: USER joe
S: +OK
C: PASS secret
S: +OK Welcome.
C: STAT
S: +OK 2 320
C: UIDL
S: +OK
S: 1 whqtswO00WBw418f9t5JxYwZ
S: 2 QhdPYR:00WBw1Ph7x7
S: .
C: LIST
S: +OK 2 messages (320 octets)
S: 1 120
S: 2 200
S: .
C: RETR 1
S: +OK
S: hello
S: ..
S: .
C: TOP 2 0
S: +OK
S: Subject: x
S: 
S: .
C: DELE 1
S: +OK
C: NOOP
S: +OK
C: RSET
S: +OK
C: STAT
S: +OK 2 320 and more
C: QUIT
S: +OK bye
`

func TestWholeSession(t *testing.T) {
	s := scripted(t, wholeSession)
	if err := s.Login(joe); err != nil {
		t.Fatal(err)
	}
	if s.Capabilities().Known() || s.Pipelined() {
		t.Error("a server without CAPA announces nothing")
	}
	listing, err := s.List()
	want := []Entry{{1, "whqtswO00WBw418f9t5JxYwZ", 120}, {2, "QhdPYR:00WBw1Ph7x7", 200}}
	if err != nil || !slices.Equal(listing.Entries, want) || listing.Damage != nil || listing.Refused != nil {
		t.Fatalf("List: %v, %v", listing, err)
	}
	for m := range s.Retrieve([]int{1}) {
		if text, err := io.ReadAll(m); m.Number != 1 || m.Err != nil || string(text) != "hello\r\n.\r\n" || err != nil {
			t.Errorf("Retrieve: %d, %v, %q, %v", m.Number, m.Err, text, err)
		}
	}
	for m := range s.Headers([]int{2}) {
		if text, err := io.ReadAll(m); m.Number != 2 || m.Err != nil || string(text) != "Subject: x\r\n\r\n" || err != nil {
			t.Errorf("Headers: %d, %v, %q, %v", m.Number, m.Err, text, err)
		}
	}
	for n, err := range s.Delete([]int{1}) {
		if n != 1 || err != nil {
			t.Errorf("Delete: %d, %v", n, err)
		}
	}
	if err := s.Noop(); err != nil {
		t.Error(err)
	}
	if err := s.Reset(); err != nil {
		t.Error(err)
	}
	if n, octets, err := s.Stat(); n != 2 || octets != 320 || err != nil {
		t.Errorf("Stat: %d, %d, %v", n, octets, err)
	}
	if err := s.Quit(); err != nil {
		t.Error(err)
	}
	if err := s.Quit(); err == nil {
		t.Error("second Quit: no error")
	}
	if err := s.Close(); err != nil || !s.Broken() {
		t.Errorf("Close after Quit: %v, broken %v", err, s.Broken())
	}
}

func TestGreeting(t *testing.T) {
	for _, test := range []struct {
		script, want string
		ofType       func(error) bool
	}{
		{"S: -ERR [SYS/TEMP] try later", `server refused the connection: [SYS/TEMP] "try later"`, is[*ReplyError]},
		{"S: +OK [IN-USE] wait", `server refused the connection: [IN-USE] "wait"`, is[*ReplyError]},
		{"S: -ERR", `server refused the connection without a reason`, is[*ReplyError]},
		{"S: ", `expected +OK or -ERR, not ""`, is[*ProtocolError]},
		{"S: 220 mail.example ESMTP\x1b[31m", `expected +OK or -ERR, not "220 mail.example ESMTP\x1b[31m"`, is[*ProtocolError]},
		{"S: +OKAY", `expected +OK or -ERR, not "+OKAY"`, is[*ProtocolError]},
		{"S: +ok", `expected +OK or -ERR, not "+ok"`, is[*ProtocolError]},
		{`s: +OK\n`, `line "+OK" ends in a bare LF instead of CRLF`, is[*ProtocolError]},
		{"s: +OK " + strings.Repeat("x", 2100), "line is longer than 2048 octets", is[*ProtocolError]},
		{"S: +OK " + strings.Repeat("x", 2100), "line is longer than 2048 octets", is[*ProtocolError]},
		{"S: +OK\nS: +OK unasked", `answer before any question: "+OK unasked"`, is[*ProtocolError]},
	} {
		_, err := Dial(t.Context(), serve(t, loopback, script(test.script)))
		if err == nil || !strings.Contains(err.Error(), test.want) || !test.ofType(err) {
			t.Errorf("%.40q: got %T %v, want %s", test.script, err, err, test.want)
		}
	}
}

func TestServerIsChecked(t *testing.T) {
	for want, server := range map[string]Server{
		"no host":        {Port: 110, TLS: NoTLS},
		"port 0":         {Host: "localhost", TLS: NoTLS},
		"port 65536":     {Host: "localhost", Port: 65536, TLS: NoTLS},
		`TLS mode ""`:    {Host: "localhost", Port: 110},
		`TLS mode "yes"`: {Host: "localhost", Port: 110, TLS: "yes"},
	} {
		if _, err := Dial(t.Context(), server); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestRefusedConnection(t *testing.T) {
	listener, err := net.Listen("tcp", loopback)
	if err != nil {
		t.Fatal(err)
	}
	server := Server{Host: "127.0.0.1", Port: listener.Addr().(*net.TCPAddr).Port, TLS: NoTLS}
	listener.Close()
	if _, err := Dial(t.Context(), server); err == nil || !strings.Contains(err.Error(), "no connection: ") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v", err)
	}
}

func TestReplyErrors(t *testing.T) {
	s := scripted(t, hello+`C: STAT
S: -ERR [SYS/PERM] Your account is not enabled
C: STAT
S: +OK [SYS/TEMP/quota] seems empty
C: RSET
S: -ERR
C: NOOP
S: -ERR bell`+"\a"+` [AUTH] later
C: TOP 3 0
S: -ERR [no code] x
C: NOOP
S: +OK
C: QUIT
S: -ERR [SYS/TEMP] cannot expunge
`)
	stat := func() error { _, _, err := s.Stat(); return err }
	top := func() error {
		for m := range s.Headers([]int{3}) {
			return m.Err
		}
		return nil
	}
	for _, test := range []struct {
		call      func() error
		want      ReplyError
		text      string
		temporary bool
	}{
		{stat, ReplyError{"STAT", "SYS/PERM", "Your account is not enabled"}, `server refused STAT: [SYS/PERM] "Your account is not enabled"`, false},
		{stat, ReplyError{"STAT", "SYS/TEMP/QUOTA", "seems empty"}, `server refused STAT: [SYS/TEMP/QUOTA] "seems empty"`, true},
		{s.Reset, ReplyError{"RSET", "", ""}, `server refused RSET without a reason`, false},
		{s.Noop, ReplyError{"NOOP", "", "bell\a [AUTH] later"}, `server refused NOOP: "bell\a [AUTH] later"`, false},
		{top, ReplyError{"TOP 3 0", "", "[no code] x"}, `server refused TOP 3 0: "[no code] x"`, false},
		{s.Noop, ReplyError{}, "", false},
		{s.Quit, ReplyError{"QUIT", "SYS/TEMP", "cannot expunge"}, `server refused QUIT: [SYS/TEMP] "cannot expunge"`, true},
	} {
		err := test.call()
		if test.text == "" {
			if err != nil {
				t.Errorf("after refusals: %v", err)
			}
			continue
		}
		var refused *ReplyError
		if !errors.As(err, &refused) || *refused != test.want || err.Error() != test.text || refused.Temporary() != test.temporary {
			t.Errorf("got %T %v, want %s", err, err, test.text)
		}
	}
	long := &ReplyError{Command: "STAT", Text: strings.Repeat("é", 5000)}
	if n := len(long.Error()); n > 300 {
		t.Errorf("error of %d bytes", n)
	}
}

// Whatever the server says wrongly ends the session with a ProtocolError and a closed connection.
func TestMalformedReplies(t *testing.T) {
	stat := func(s *Session) error { _, _, err := s.Stat(); return err }
	retrieve := func(s *Session) error {
		for m := range s.Retrieve([]int{1, 2}) {
			if m.Err != nil {
				return m.Err
			}
		}
		return nil
	}
	for _, test := range []struct {
		script string
		call   func(*Session) error
		want   string
	}{
		{"C: STAT\nS: +OK", stat, `expected two numbers from STAT, not ""`},
		{"C: STAT\nS: +OK 1", stat, `not "1"`},
		{"C: STAT\nS: +OK -1 5", stat, `not "-1 5"`},
		{"C: STAT\nS: +OK 1 -5", stat, `not "1 -5"`},
		{"C: STAT\nS: +OK +1 5", stat, `not "+1 5"`},
		{"C: STAT\nS: +OK 1 5x", stat, `not "1 5x"`},
		{"C: STAT\nS: +OK 1\t5", stat, `not "1\t5"`},
		{"C: STAT\nS: +OK 1 9223372036854775808", stat, "expected two numbers"},
		{"C: STAT\nS: +OK 2000001 5", stat, "more than 2000000 are not handled"},
		{"C: STAT\nS: ", stat, `expected +OK or -ERR, not ""`},
		{"C: STAT\nS: + go on", stat, `not "+ go on"`},
		{"C: STAT\nS: \x00\x00", stat, `not "\x00\x00"`},
		{"C: NOOP\ns: -ERR " + strings.Repeat("x", 3000), (*Session).Noop, "longer than 2048 octets"},
		{"C: NOOP\nS: +OK\nS: +OK again", func(s *Session) error { return errors.Join(s.Noop(), s.Noop()) }, `answer before any question: "+OK again`},
		{"C: NOOP\nS: +OK\nS: x", func(s *Session) error { return errors.Join(s.Noop(), s.Quit()) }, `answer before any question: "x`},
		{"C: RETR 1\nS: +OK\nS: a\nS: .\nS: b\nS: .", retrieve, `answer before any question: "b`},
		{`C: RETR 1` + "\n" + `s: +OK\r\na\n.\n+OK\r\n.\r\n-ERR smuggled\r\n`, retrieve, `answer before any question: "-ERR smuggled`},
		{"C: RETR 1\nS: hello", retrieve, `expected +OK or -ERR, not "hello"`},
	} {
		s := scripted(t, hello+test.script)
		err := test.call(s)
		if err == nil || !strings.Contains(err.Error(), test.want) || !is[*ProtocolError](err) {
			t.Errorf("%.60q: got %T %v, want %s", test.script, err, err, test.want)
		}
		if !s.Broken() || s.Quit() == nil {
			t.Errorf("%.60q: the session goes on", test.script)
		}
	}
}

// A body that the caller did not read is drained by the next command, and its reader then never claims an end.
func TestUnreadBodyIsDrained(t *testing.T) {
	s := scripted(t, hello+"C: TOP 1 0\nS: +OK\nS: "+strings.Repeat("long", 50_000)+"\nS: .\nC: NOOP\nS: +OK\n")
	var header *Message
	for header = range s.Headers([]int{1}) {
		header.Read(make([]byte, 10))
	}
	if err := s.Noop(); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, header); n != 0 || !errors.Is(err, errStale) {
		t.Errorf("stale reader: %d, %v", n, err)
	}
}

func TestQuitWithoutAnswer(t *testing.T) {
	s := scripted(t, hello+"C: QUIT\nclose")
	if err := s.Quit(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
}

func TestIPv6(t *testing.T) {
	for _, brackets := range []bool{false, true} {
		server := serve(t, "[::1]:0", script(hello+"C: QUIT\nS: +OK"))
		if brackets {
			server.Host = "[" + server.Host + "]"
		}
		if err := dial(t, server).Quit(); err != nil {
			t.Errorf("host %s: %v", server.Host, err)
		}
	}
}

func TestCapabilities(t *testing.T) {
	s := scripted(t, "S: +OK\nC: CAPA\nS: +OK list follows\nS: TOP\nS: sasl plain XOAUTH2\nS: LOGIN-DELAY 300\nS: ..odd\nS: \nS: .")
	c := s.Capabilities()
	if !c.Known() || !c.Has("top") || c.Has("UIDL") || c.Has("") {
		t.Errorf("Has is wrong on %q", c.Lines())
	}
	if got := c.SASL(); !slices.Equal(got, []string{"PLAIN", "XOAUTH2"}) {
		t.Errorf("SASL: %q", got)
	}
	if got := c.Parameters("LOGIN-DELAY"); !slices.Equal(got, []string{"300"}) {
		t.Errorf("Parameters: %q", got)
	}
	if want := []string{"TOP", "sasl plain XOAUTH2", "LOGIN-DELAY 300", ".odd", ""}; !slices.Equal(c.Lines(), want) {
		t.Errorf("Lines: %q", c.Lines())
	}
	if none := (Capabilities{}); none.Known() || none.Has("TOP") || none.SASL() != nil {
		t.Error("the zero value announces something")
	}
}

func TestMalformedCapabilities(t *testing.T) {
	for text, want := range map[string]string{
		strings.Repeat("S: X\n", 101) + "S: .": "list is longer than the 100 lines it may have",
		"S: " + strings.Repeat("x", 1100):      "line is longer than 1024 octets",
		`s: TOP\nUIDL\n.\n`:                    "bare LF",
		"S: .\nS: +OK more":                    "answer before any question",
	} {
		s, err := Dial(t.Context(), serve(t, loopback, script("S: +OK\nC: CAPA\nS: +OK\n"+text)))
		if err == nil {
			err = s.Noop()
			s.Close()
		}
		if !is[*ProtocolError](err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, want %s", text, err, want)
		}
	}
}

// Servers of before RFC 2449 may hang up on CAPA: they are then not asked, neither before login nor after.
func TestHangUpOnCAPA(t *testing.T) {
	server := serve(t, loopback, script("S: +OK\nC: CAPA\nclose"), script("S: +OK\nC: USER joe\nS: +OK\nC: PASS secret\nS: +OK\nC: QUIT\nS: +OK"))
	s := dial(t, server)
	if err := s.Login(joe); err != nil {
		t.Fatal(err)
	}
	if err := s.Quit(); err != nil {
		t.Error(err)
	}
}

// A reset connection is told with the address that callers know, once.
func TestReset(t *testing.T) {
	server := serve(t, loopback, func(p *peer) {
		p.play(hello)
		p.expect("NOOP")
		p.Conn.(*net.TCPConn).SetLinger(0)
	})
	err := dial(t, server).Noop()
	if want := "read from " + server.address() + ": connection reset by peer"; !errors.Is(err, syscall.ECONNRESET) || err.Error() != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
}
