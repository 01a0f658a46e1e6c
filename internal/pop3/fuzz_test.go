package pop3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"testing"
)

// FuzzSession lets a server say anything at all. Whatever it says, the session ends, in good order or with an error of a kind
// that callers know, and takes no more memory than its limits allow.
func FuzzSession(f *testing.F) {
	for _, pipelined := range []bool{false, true} {
		var all []byte
		for _, a := range conversation(pipelined) {
			all = append(all, a.text...)
		}
		f.Add(all, uint64(2), pipelined)
	}
	f.Add([]byte("+OK\r\n-ERR\r\n+ \r\n+ \r\n"), uint64(2), false)
	f.Add([]byte("+OK\r\n+OK\r\n.\r\n-ERR [AUTH] no\r\n"), uint64(3), true)
	const login = "+OK\r\n-ERR\r\n+OK\r\n+OK\r\n"
	f.Add([]byte(login+"+OK 3 9\r\n-ERR no\r\n+OK\r\n3 4\r\n1 x\r\n1 2\r\n.\r\n+OK\r\na: b\r\n\r\n.\r\n-ERR\r\n-ERR no\r\n+OK\r\n.\r\n"), uint64(2), false)
	f.Add([]byte(login+"+OK 2 9\r\n+OK\r\n2 a b\r\n2 c\r\n9 d\r\n.\r\n+OK\r\n2 99999999999999999999\r\n.\r\n+OK [SYS/TEMP]\r\n.\r\n"), uint64(4), false)
	f.Fuzz(func(t *testing.T, said []byte, seed uint64, pipelining bool) {
		random := rand.New(rand.NewPCG(seed, 0))
		c := &canned{data: said}
		c.pieces = func() int {
			if seed%2 == 0 { // line by line, so that few answers come before their questions
				return bytes.IndexByte(c.data, '\n') + 1
			}
			return 1 + random.IntN(60)
		}
		server := cannedServer
		server.Pipelining, server.MaxMessage = pipelining, 1000
		err := exercise(c, server)
		known := is[*ReplyError](err) || is[*ProtocolError](err) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, ErrMessageTooLarge)
		if err != nil && !known {
			t.Fatalf("%q: %T %v", said, err, err)
		}
		if err != nil && len(err.Error()) > 2000 {
			t.Fatalf("%q: error of %d bytes", said, len(err.Error()))
		}
		if !c.closed {
			t.Fatalf("%q: connection stays open", said)
		}
	})
}

// exercise calls everything a session can do.
func exercise(c *canned, server Server) error {
	s, err := newSession(context.Background(), server, newWire(c, c, &server, func() error { return nil }))
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.begin(context.Background(), true); err != nil {
		return err
	}
	mechanism := UserPass
	if len(c.data)%2 == 0 {
		mechanism = SASLPlain
	}
	if err := s.Login(Credentials{Username: "joe", Password: "secret", Mechanism: mechanism}); err != nil {
		return err
	}
	listing, err := s.List()
	if err != nil {
		return err
	}
	if listing.Damage != nil && !is[*ProtocolError](listing.Damage) {
		return fmt.Errorf("damage of another kind: %w", listing.Damage)
	}
	var numbers []int
	for i, e := range listing.Entries {
		if e.Number < 1 || (i > 0 && e.Number <= numbers[i-1]) || len(e.UID) > maxUID || e.Size < -1 || e.Size > maxSize {
			return fmt.Errorf("entry %d is %v", i, e)
		}
		numbers = append(numbers, e.Number)
	}
	for _, messages := range []iter.Seq[*Message]{s.Headers(numbers), s.Retrieve(numbers)} {
		for m := range messages {
			if _, err = io.Copy(io.Discard, m); err != nil && !is[*ReplyError](err) {
				return err
			}
		}
	}
	for _, err := range s.Delete(numbers) {
		if err != nil && !is[*ReplyError](err) {
			return err
		}
	}
	return s.Quit()
}
