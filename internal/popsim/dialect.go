package popsim

import (
	"encoding/base64"
	"net"
	"slices"
)

// Dialect is the wording of a server, and the capabilities it announces.
type Dialect int

// Plain speaks as most servers do; Gmail uses the greeting, capabilities and reply texts seen from pop.gmail.com,
// Microsoft those of outlook.office365.com, which takes tokens only, and the two-step AUTH only.
const (
	Plain Dialect = iota
	Gmail
	Microsoft
)

func (s *session) gmail() bool { return s.server.config.Dialect == Gmail }

func (s *session) microsoft() bool { return s.server.config.Dialect == Microsoft }

// say picks the text of the dialect.
func (s *session) say(plain, gmail string) answer {
	if s.gmail() {
		return answer{status: gmail}
	}
	return answer{status: plain}
}

// unknown refuses what is not a command, or not one of this state. Gmail hangs up on it before login (seen in 2024).
func (s *session) unknown(known bool) answer {
	switch {
	case s.gmail() && s.account == nil:
		return s.badCommand()
	case s.gmail():
		return answer{status: "-ERR Command not understood"}
	case known:
		return answer{status: "-ERR this command is not for this state"}
	default:
		return answer{status: "-ERR unknown command"}
	}
}

func (s *session) badCommand() answer {
	return answer{status: "-ERR bad command " + s.id, end: errDone}
}

func (s *session) greeting() string {
	switch {
	case s.microsoft():
		return "+OK The Microsoft Exchange POP3 service is ready. [" + base64.StdEncoding.EncodeToString([]byte(s.id)) + "]"
	case !s.gmail():
		return "+OK popsim ready"
	}
	host, _, err := net.SplitHostPort(s.tcp.RemoteAddr().String())
	if err != nil {
		host = "127.0.0.1"
	}
	return "+OK Gpop ready for requests from " + host + " " + s.id
}

func (s *session) capa(string) answer {
	switch {
	case s.microsoft():
		return answer{status: "+OK", lines: slices.Values([]string{"TOP", "UIDL", "SASL XOAUTH2", "USER"})}
	case s.gmail():
		return answer{status: "+OK Capability list follows", lines: slices.Values(s.gmailCapabilities())}
	default:
		return answer{status: "+OK Capability list follows", lines: slices.Values(s.capabilities())}
	}
}

func (s *session) capabilities() []string {
	list := []string{"TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "EXPIRE NEVER", "IMPLEMENTATION popsim"}
	switch {
	case s.mayLogin() && s.server.config.Token != nil:
		list = append(list, "USER", "SASL PLAIN XOAUTH2 OAUTHBEARER")
	case s.mayLogin():
		list = append(list, "USER", "SASL PLAIN")
	}
	if s.mayStartTLS() {
		list = append(list, "STLS")
	}
	if s.server.config.Pipelining {
		list = append(list, "PIPELINING")
	}
	return list
}

// gmailCapabilities are those seen from pop.gmail.com in 2025; after login as recorded earlier: without SASL, and only
// there PIPELINING.
func (s *session) gmailCapabilities() []string {
	list := []string{"USER", "RESP-CODES"}
	if s.account != nil && s.pipelining() {
		list = append(list, "PIPELINING")
	}
	list = append(list, "EXPIRE 0", "LOGIN-DELAY 300", "TOP", "UIDL", "X-GOOGLE-RICO")
	if s.mayStartTLS() {
		list = append(list, "STLS")
	}
	if s.account == nil {
		list = append(list, "SASL PLAIN XOAUTH2 OAUTHBEARER")
	}
	return list
}

// pipelining tells whether Gmail announces it.
func (s *session) pipelining() bool {
	if g := s.account.Gmail; g != nil {
		return !g.Knobs.NoPipelining
	}
	return s.server.config.Pipelining
}

func (s *session) mayStartTLS() bool {
	return s.server.config.Mode == StartTLS && !s.encrypted() && s.account == nil
}

// mayLogin: with STLS on offer, no password goes over the line in clear.
func (s *session) mayLogin() bool { return s.server.config.Mode != StartTLS || s.encrypted() }

func (s *session) stls(string) answer {
	switch {
	case s.mayStartTLS():
		s.user = ""
		return answer{status: "+OK begin TLS negotiation", end: errUp}
	case s.gmail():
		return s.badCommand()
	default:
		return answer{status: "-ERR TLS cannot be started here"}
	}
}
