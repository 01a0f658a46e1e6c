package pop3

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A conversation of a login as an oracle sees it: what the client says, and what comes of it.
type naiveConversation struct {
	left    []byte // what the server has still to say
	said    []string
	secrets []string // that show in nothing that the server said
}

// The ends of a naive conversation that are no refusal.
const (
	naiveIn       = "logged in"
	naiveNonsense = "protocol error"
	naiveEnd      = "end of the connection"
	naiveOneLine  = "one line"
)

// line takes the server's next line; problem says why there is none.
func (n *naiveConversation) line() (line, problem string) {
	before, after, found := bytes.Cut(n.left, []byte("\n"))
	switch {
	case len(before) >= maxStatusLine:
		return "", naiveNonsense
	case !found:
		return "", naiveEnd
	case !bytes.HasSuffix(before, []byte("\r")):
		return "", naiveNonsense
	}
	n.left = after
	return string(before[:len(before)-1]), ""
}

func (n *naiveConversation) shown(text string) string {
	for _, secret := range n.secrets {
		text = without(text, secret)
	}
	return text
}

// challenge takes the next line if it is a challenge. An end of the connection is left for the next status line.
func (n *naiveConversation) challenge() (challenge string, found bool) {
	left := n.left
	line, problem := n.line()
	if problem == "" && (line == "+" || strings.HasPrefix(line, "+ ")) {
		return strings.TrimSpace(line[1:]), true
	}
	n.left = left
	return "", false
}

// status takes a status line. It returns naiveIn, "refused" with the code and the text, or what else it is.
func (n *naiveConversation) status() (end, code, text string) {
	line, problem := n.line()
	if problem != "" {
		return problem, "", ""
	}
	indicator, text, _ := strings.Cut(line, " ")
	if indicator != "+OK" && indicator != "-ERR" {
		return naiveNonsense, "", ""
	}
	text = n.shown(text)
	if between, rest, closed := strings.Cut(strings.TrimPrefix(text, "["), "]"); closed && strings.HasPrefix(text, "[") && between != "" &&
		strings.Trim(strings.ToUpper(between), "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-/") == "" {
		code, text = strings.ToUpper(between), strings.TrimPrefix(rest, " ")
	}
	temporary := regexp.MustCompile("^(SYS/TEMP|IN-USE|LOGIN-DELAY)(/|$)").MatchString(code)
	if indicator == "+OK" && !temporary {
		return naiveIn, "", text
	}
	return "refused", code, text
}

// outcome is how a login ends: one of the ends, or "refused" with a code, and a token's status ("-": it is not about the token).
type outcome struct{ end, code, status string }

// token is the oracle for AUTH with a token.
func (n *naiveConversation) token(auth, response, giveUp string, oneLine bool) outcome {
	if !oneLine {
		n.said = append(n.said, auth)
		if _, asked := n.challenge(); asked {
			n.said = append(n.said, response)
			return n.tokenVerdict(response, giveUp, true)
		}
		switch end, code, _ := n.status(); {
		case end == naiveEnd:
			return outcome{naiveOneLine, "", "-"}
		case end == naiveIn:
			return outcome{naiveNonsense, "", "-"}
		case end != "refused" || code != "":
			return outcome{end, code, "-"}
		}
	}
	n.said = append(n.said, auth+" "+response)
	o := n.tokenVerdict(response, giveUp, false)
	if o.end == naiveEnd && !oneLine {
		o.end = naiveOneLine
	}
	return o
}

func (n *naiveConversation) tokenVerdict(response, giveUp string, asked bool) outcome {
	status := "-"
	challenge, found := n.challenge()
	if found && !asked && challenge == "" {
		n.said = append(n.said, response)
		challenge, found = n.challenge()
	}
	if found {
		status = n.tokenStatus(challenge)
		n.said = append(n.said, giveUp)
		if _, again := n.challenge(); again {
			n.said = append(n.said, "*")
		}
	}
	end, code, text := n.status()
	switch {
	case end == naiveEnd && status != "-" && status != "":
		return outcome{"refused", "", status}
	case end != "refused":
		return outcome{end, code, "-"}
	case status == "-" && refusesToken(&ReplyError{Code: code, Text: text}):
		status = ""
	}
	return outcome{end, code, status}
}

func (n *naiveConversation) tokenStatus(challenge string) string {
	text, err := base64.StdEncoding.DecodeString(challenge)
	var told struct{ Status any }
	if err != nil || json.Unmarshal(text, &told) != nil {
		return ""
	}
	status := n.shown(fmt.Sprint(told.Status))
	_, isText := told.Status.(string)
	_, isNumber := told.Status.(float64)
	visible := func(r rune) bool { return '!' <= r && r <= '~' }
	if !isText && !isNumber || len(status) > 40 || strings.TrimFunc(status, visible) != "" {
		return ""
	}
	return status
}

// password is the oracle for USER and PASS.
func (n *naiveConversation) password(c Credentials) outcome {
	for _, command := range []string{"USER " + c.Username, "PASS " + c.Password} {
		n.said = append(n.said, command)
		if end, code, _ := n.status(); end != naiveIn {
			return outcome{end, code, "-"}
		}
	}
	return outcome{naiveIn, "", "-"}
}

// plain is the oracle for AUTH PLAIN with a response that fits on the line.
func (n *naiveConversation) plain(response string) outcome {
	n.said = append(n.said, "AUTH PLAIN "+response)
	if challenge, found := n.challenge(); found {
		answer := "*"
		if challenge == "" {
			answer = response
		}
		n.said = append(n.said, answer)
		if answer == response {
			if _, again := n.challenge(); again {
				n.said = append(n.said, "*")
			}
		}
	}
	end, code, _ := n.status()
	return outcome{end, code, "-"}
}

// login is the oracle for all mechanisms.
func (n *naiveConversation) login(c Credentials) outcome {
	response := plainResponse(c)
	switch c.Mechanism {
	case UserPass:
		return n.password(c)
	case XOAUTH2:
		response = encoded("user=" + c.Username + "\x01auth=Bearer " + c.Token + "\x01\x01")
	case OAuthBearer:
		response = encoded("n,a=" + c.Username + ",\x01host=test\x01port=110\x01auth=Bearer " + c.Token + "\x01\x01")
	}
	n.secrets = append(n.secrets, response)
	switch c.Mechanism {
	case XOAUTH2:
		return n.token("AUTH XOAUTH2", response, "", c.OneLine)
	case OAuthBearer:
		return n.token("AUTH OAUTHBEARER", response, "AQ==", c.OneLine)
	}
	return n.plain(response)
}

// outcomeOf is how Login ended.
func outcomeOf(err error) outcome {
	var reply *ReplyError
	var refused *TokenError
	switch {
	case err == nil:
		return outcome{naiveIn, "", "-"}
	case errors.As(err, &refused):
		return outcome{"refused", refused.Reply.Code, refused.Status}
	case errors.As(err, &reply):
		return outcome{"refused", reply.Code, "-"}
	case is[*OneLineError](err):
		return outcome{naiveOneLine, "", "-"}
	case is[*ProtocolError](err):
		return outcome{naiveNonsense, "", "-"}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return outcome{naiveEnd, "", "-"}
	}
	return outcome{err.Error(), "", "-"}
}

// FuzzLogin lets a server say anything to a login. It ends as the rules say, the client says what they say and nothing else, no
// secret is in an error, and a server that broke off or the protocol leaves a closed connection.
func FuzzLogin(f *testing.F) {
	answers := []string{"+OK\r\n", "+OK\r\n+OK\r\n", "+ \r\n+OK Welcome.\r\n", "+\r\n-ERR [AUTH] Invalid credentials.\r\n", "-ERR what\r\n+OK\r\n", "-ERR what\r\n+ \r\n+OK\r\n",
		"+ \r\n+ " + gmailsChallenge + "\r\n-ERR [AUTH] Invalid credentials.\r\n", "+ \r\n+ " + gmailsChallenge + "\r\n+ \r\n-ERR\r\n", "+ \r\n+ " + gmailsChallenge + "\r\n", "",
		"-ERR [SYS/TEMP] later\r\n", "+OK [LOGIN-DELAY/60] later\r\n", "+OK [SYS/TEMPX] now\r\n", "+ x\r\n-ERR Logon failure\r\n", "+\n", "-ERR\r\n+ e30=\r\n-ERR ya29.Zq3vXw9L\r\n", "+OKAY\r\n", "+ \r\n+ \r\n+ \r\n+ \r\n"}
	for _, answer := range answers {
		for way := range uint8(6) {
			f.Add([]byte(answer), way)
		}
	}
	f.Fuzz(func(t *testing.T, said []byte, way uint8) {
		c := Credentials{Username: "ada@example.com", Password: "ya29.Zq3vXw9LkT0pRs6u", Token: "ya29.Zq3vXw9LkT0pRs6u", OneLine: way%6 > 3}
		c.Mechanism = []Mechanism{XOAUTH2, OAuthBearer, SASLPlain, UserPass, XOAUTH2, OAuthBearer}[way%6]
		n := &naiveConversation{left: said, secrets: []string{c.Token}}
		want := n.login(c)
		s, conn := cannedSession("")
		conn.data = said
		conn.pieces = func() int { return bytes.IndexByte(conn.data, '\n') + 1 } // line by line, so that no answer comes before its question
		err := s.Login(c)
		if got := outcomeOf(err); got != want {
			t.Fatalf("%s, one line %t, %q: got %+v (%v), want %+v", c.Mechanism, c.OneLine, said, got, err, want)
		}
		if got := strings.Split(string(conn.sent), "\r\n"); !slices.Equal(got[:len(got)-1], n.said) {
			t.Fatalf("the client said %q and not %q", got, n.said)
		}
		ended := want.end == naiveNonsense || want.end == naiveEnd || want.end == naiveOneLine
		if ended != (s.Broken() && conn.closed) && want.end != "refused" { // a refusal may come with the end
			t.Fatalf("%q: %+v, broken %t, closed %t", said, want, s.Broken(), conn.closed)
		}
		if err != nil {
			if piece := leaked(err, n.secrets...); piece != "" {
				t.Fatalf("%q: %q is in %v", said, piece, err)
			}
		}
	})
}
