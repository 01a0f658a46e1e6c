package pop3

import (
	"errors"
	"slices"
	"strings"
)

// maxCapabilities bounds the lines of a CAPA reply. Real servers send about ten.
const maxCapabilities = 100

// Capabilities are what a server announced in its last answer to CAPA (RFC 2449 section 5).
// The zero value is that of a server that does not know CAPA: it announces nothing.
type Capabilities struct {
	known bool
	lines []string
}

// Known reports whether the server answered CAPA at all.
func (c Capabilities) Known() bool { return c.known }

// Lines returns the capabilities as the server sent them, in its order. They may hold control characters.
func (c Capabilities) Lines() []string { return slices.Clone(c.lines) }

// Has reports whether the capability of that name was announced, in any case of letters.
func (c Capabilities) Has(name string) bool {
	_, found := c.find(name)
	return found
}

// Parameters returns what was announced behind the capability's name, nil when it was not announced.
func (c Capabilities) Parameters(name string) []string {
	parameters, _ := c.find(name)
	return parameters
}

// SASL returns the names of the announced SASL mechanisms (RFC 5034 section 3), in upper case.
func (c Capabilities) SASL() []string {
	var mechanisms []string
	for _, m := range c.Parameters("SASL") {
		mechanisms = append(mechanisms, strings.ToUpper(m))
	}
	return mechanisms
}

func (c Capabilities) find(name string) ([]string, bool) {
	for _, line := range c.lines {
		if fields := strings.Fields(line); len(fields) > 0 && strings.EqualFold(fields[0], name) {
			return fields[1:], true
		}
	}
	return nil, false
}

// askCapabilities sends CAPA and remembers the answer. A server that does not know CAPA is fine: it has none.
func (s *Session) askCapabilities() error {
	s.capabilities = Capabilities{}
	_, err := s.command("CAPA")
	if refused := (*ReplyError)(nil); errors.As(err, &refused) {
		return nil
	}
	if err != nil {
		return err
	}
	s.capabilities.known = true
	return s.lines(maxCapabilities, func(line []byte) error {
		s.capabilities.lines = append(s.capabilities.lines, string(line))
		return nil
	})
}
