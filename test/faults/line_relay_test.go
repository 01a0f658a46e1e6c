package faults

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/internal/popsim"
)

// lineEnd is how a line fails.
type lineEnd int

const (
	cut     lineEnd = iota + 1 // the client reads the end of the stream: a FIN, over TLS without close_notify
	reset                      // the client reads an error: an RST
	stalled                    // nothing comes any more, for ever
)

func (e lineEnd) String() string { return [...]string{"", "cut", "reset", "stalled"}[e] }

// quitFault is what becomes of QUIT.
type quitFault int

const (
	quitLost       quitFault = iota + 1 // the server never gets it
	quitUnanswered                      // the server obeys; the client never gets the answer
)

func (q quitFault) String() string { return [...]string{"", "lost", "unanswered"}[q] }

// lineFault is what goes wrong on a line.
type lineFault struct {
	toServer bool      // after counts what the client says, else what the server says
	after    int64     // so many bytes still pass
	quit     quitFault // when set the fault waits for QUIT, and after does not matter
	end      lineEnd
	every    bool // connection fails, not only the first
	byByte   bool // nothing fails, but each byte comes by itself
}

// line passes connections on to a server, unless it is broken.
type line struct {
	listener net.Listener
	target   string
	tls      *tls.Config // when set TLS ends here, and the server is spoken to in cleartext

	mu          sync.Mutex
	fault       *lineFault
	connections int      // since breaks, as all that follows
	strikes     int      // connections that failed
	count       [2]int64 // bytes passed to the server, and to the client
}

func newLine(tb testing.TB, target string) *line {
	tb.Helper()
	return startLine(tb, target, nil)
}

// newOpenLine starts a line that speaks TLS itself; authority is the PEM of who signed its certificate.
func newOpenLine(tb testing.TB, target string) (l *line, authority []byte) {
	tb.Helper()
	signer, err := popsim.NewAuthority()
	if err != nil {
		tb.Fatal(err)
	}
	certificate, err := signer.Issue(time.Now().AddDate(1, 0, 0), "127.0.0.1")
	if err != nil {
		tb.Fatal(err)
	}
	return startLine(tb, target, &tls.Config{Certificates: []tls.Certificate{certificate}}), signer.PEM()
}

func startLine(tb testing.TB, target string, encrypted *tls.Config) *line {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	l := &line{listener: listener, target: target, tls: encrypted}
	var all sync.WaitGroup
	all.Go(func() { l.accept(&all) })
	tb.Cleanup(func() { listener.Close(); all.Wait() })
	return l
}

func (l *line) port() string {
	_, port, _ := net.SplitHostPort(l.listener.Addr().String())
	return port
}

// breaks gives connections from now on this fault; nil mends the line.
func (l *line) breaks(f *lineFault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault, l.connections, l.strikes, l.count = f, 0, 0, [2]int64{}
}

// struck returns how many connections failed.
func (l *line) struck() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.strikes
}

// passed returns how many bytes passed to the server, and to the client.
func (l *line) passed() [2]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

func (l *line) accept(all *sync.WaitGroup) {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", l.target)
		if err != nil {
			client.Close()
			continue
		}
		c := &connection{line: l, raw: client.(*net.TCPConn), client: client, server: server, fault: l.next()}
		if l.tls != nil {
			c.client = tls.Server(client, l.tls)
		}
		all.Go(c.serve)
	}
}

// next is the fault of the next connection, the zero value when it has none.
func (l *line) next() lineFault {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connections++
	if l.fault == nil || l.connections > 1 && !l.fault.every {
		return lineFault{}
	}
	return *l.fault
}

// connection is one connection over a line.
type connection struct {
	line           *line
	raw            *net.TCPConn // the client's, below TLS
	client, server net.Conn
	fault          lineFault

	mu     sync.Mutex
	passed [2]int64
	struck bool // nothing passes any more
	quit   bool // QUIT has passed, and its answer shall not
}

const (
	toServer = iota
	toClient
)

// serve carries bytes both ways until both ends are done.
func (c *connection) serve() {
	if c.fault.end != 0 && c.fault.quit == 0 && c.fault.after == 0 {
		c.strike() // before the first byte: there may be none to wait for
	}
	var answers sync.WaitGroup
	answers.Go(func() {
		c.carry(toClient, c.client, c.server)
		c.hangUp()
	})
	c.carry(toServer, c.server, c.client)
	c.server.Close() // the client has gone
	answers.Wait()
	c.raw.Close()
}

// carry passes on what src says until its end; once the fault has struck it only listens.
func (c *connection) carry(direction int, dst, src net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		c.pass(direction, dst, buf[:n])
		if err != nil {
			return
		}
	}
}

// hangUp tells the client what the server's end of the connection told us.
func (c *connection) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.quit {
		c.strikeLocked()
	}
	if c.struck {
		return
	}
	if encrypted, ok := c.client.(*tls.Conn); ok {
		encrypted.CloseWrite() // close_notify
	}
	c.raw.CloseWrite()
}

// pass passes p on, or as much of it as the fault lets.
func (c *connection) pass(direction int, dst io.Writer, p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(p) == 0 || c.struck || direction == toClient && c.quit {
		return
	}
	p, last := c.allowed(direction, p)
	c.write(dst, p)
	c.passed[direction] += int64(len(p))
	c.line.add(direction, len(p))
	if last {
		c.strikeLocked()
	}
}

// allowed is how much of p may pass; last says that nothing may after it.
func (c *connection) allowed(direction int, p []byte) (allowed []byte, last bool) {
	f := &c.fault
	switch {
	case f.quit != 0 && direction == toServer:
		if at := bytes.Index(p, []byte("QUIT\r\n")); at < 0 {
			return p, false
		} else if f.quit == quitLost {
			return p[:at], true
		}
		c.quit = true
		return p, false
	case f.quit == 0 && f.end != 0 && f.toServer == (direction == toServer):
		left := f.after - c.passed[direction]
		return p[:min(left, int64(len(p)))], left <= int64(len(p))
	}
	return p, false
}

// write sends p, byte by byte if the fault says so: TCP_NODELAY is set, so each leaves as it comes. What cannot be written
// has no reader left.
func (c *connection) write(dst io.Writer, p []byte) {
	if !c.fault.byByte {
		dst.Write(p)
		return
	}
	for i := range p {
		if _, err := dst.Write(p[i : i+1]); err != nil {
			return
		}
	}
}

func (c *connection) strike() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.strikeLocked()
}

// strikeLocked lets the connection fail, once.
func (c *connection) strikeLocked() {
	if c.struck {
		return
	}
	c.struck = true
	c.line.strike()
	switch c.fault.end {
	case cut:
		c.raw.CloseWrite()
		c.server.Close()
	case reset:
		c.raw.SetLinger(0)
		c.raw.Close()
		c.server.Close()
	}
}

func (l *line) strike() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.strikes++
}

func (l *line) add(direction, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count[direction] += int64(n)
}

// A line is what the tests take it for: each kind of end comes after exactly so many bytes.
func TestLineEnds(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(conn, conn); conn.Close() }()
		}
	}()
	l := newLine(t, echo.Addr().String())
	for _, test := range []struct {
		fault lineFault
		want  string // what comes back of "123456789"
		err   string
	}{
		{lineFault{}, "123456789", ""},
		{lineFault{byByte: true, every: true}, "123456789", ""},
		{lineFault{after: 0, end: cut}, "", "<nil>"},
		{lineFault{after: 4, end: cut}, "1234", "<nil>"},
		{lineFault{after: 4, end: reset}, "1234", "connection reset by peer"},
		{lineFault{after: 4, end: stalled}, "1234", "i/o timeout"},
		{lineFault{after: 4, end: cut, toServer: true}, "", "<nil>"},
	} {
		l.breaks(&test.fault)
		conn, err := net.Dial("tcp", l.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "123456789")
		got := make([]byte, len(test.want))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != test.want {
			t.Errorf("%+v: %q, %v", test.fault, got, err)
		}
		if test.err != "" {
			wait := time.Minute
			if test.fault.end == stalled {
				wait = 50 * time.Millisecond
			}
			conn.SetReadDeadline(time.Now().Add(wait))
			rest, err := io.ReadAll(conn)
			if text := fmt.Sprint(err); len(rest) > 0 || !bytes.HasSuffix([]byte(text), []byte(test.err)) {
				t.Errorf("%+v: then %q, %v", test.fault, rest, err)
			}
			if l.struck() != 1 {
				t.Errorf("%+v: struck %d times", test.fault, l.struck())
			}
		}
		conn.Close()
	}
}
