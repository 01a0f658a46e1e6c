package pop3

import "testing"

// InStep takes the right answer and a refusal, and nothing that a body may have left behind.
func TestInStep(t *testing.T) {
	for name, test := range map[string]struct {
		replies string
		ok      bool
	}{
		"the entry":                      {"+OK 3 120\r\n", true},
		"with another size, and text":    {"+OK 3 99 octets\r\n", true},
		"a whole listing":                {"+OK\r\n1 9\r\n3 120\r\n.\r\n", true},
		"a listing without it":           {"+OK\r\n1 9\r\n.\r\n", false},
		"a refusal":                      {"-ERR what?\r\n", true},
		"another message's":              {"+OK 4 120\r\n", false},
		"no number":                      {"+OK\r\nSubject: x\r\n", false},
		"an answer to RETR":              {"+OK 120 octets\r\n", false},
		"the rest of a body":             {"-- \r\nJoe\r\n.\r\n+OK 3 120\r\n", false},
		"a body that begins like it":     {"+OK 3 120\r\nJoe\r\n.\r\n+OK 3 120\r\n", false},
		"a refusal, and something after": {"-ERR what?\r\n+OK 3 120\r\n", false},
	} {
		s, c := cannedSession(test.replies)
		err := s.InStep(Entry{Number: 3, UID: "c", Size: 120})
		switch {
		case test.ok && (err != nil || s.Broken()):
			t.Errorf("%s: %v", name, err)
		case !test.ok && (!is[*ProtocolError](err) || !c.closed):
			t.Errorf("%s: taken for the answer: %v", name, err)
		}
	}
}
