package dovecot

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// imapTimeout bounds a whole IMAP session of readInbox.
const imapTimeout = time.Minute

// fetched matches the line before a message's literal.
var fetched = regexp.MustCompile(`^\* \d+ FETCH \(UID \d+ RFC822\.SIZE (\d+) BODY\[\] \{(\d+)\}\r\n$`)

// readInbox fetches all messages of a user's INBOX. It is no IMAP client, only
// as much of one as Dovecot's own answers need.
func readInbox(addr, user, password string) ([][]byte, error) {
	conn, err := net.DialTimeout("tcp", addr, imapTimeout)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(imapTimeout)); err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(conn, 1<<20)
	if _, err := r.ReadString('\n'); err != nil { // greeting
		return nil, err
	}
	var messages [][]byte
	for i, command := range []string{
		fmt.Sprintf("LOGIN %q %q", user, password),
		"EXAMINE INBOX",
		"UID FETCH 1:* (RFC822.SIZE BODY.PEEK[])", // unlike FETCH, it allows an empty mailbox
	} {
		tag := fmt.Sprintf("a%d", i)
		if _, err := fmt.Fprintf(conn, "%s %s\r\n", tag, command); err != nil {
			return nil, err
		}
		if messages, err = readReply(r, tag); err != nil {
			return nil, fmt.Errorf("IMAP %s: %w", command, err)
		}
	}
	return messages, nil
}

// readReply reads until the line that answers the command with this tag and
// returns the messages that came before it.
func readReply(r *bufio.Reader, tag string) ([][]byte, error) {
	var messages [][]byte
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if reply, ok := strings.CutPrefix(line, tag+" "); ok {
			if !strings.HasPrefix(reply, "OK") {
				return nil, fmt.Errorf("answered %q", line)
			}
			return messages, nil
		}
		match := fetched.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		if match[1] != match[2] {
			return nil, fmt.Errorf("message of %s bytes has the size %s in its file name", match[2], match[1])
		}
		size, err := strconv.Atoi(match[2])
		if err != nil {
			return nil, err
		}
		message := make([]byte, size)
		if _, err := io.ReadFull(r, message); err != nil {
			return nil, err
		}
		messages = append(messages, message)
	}
}
