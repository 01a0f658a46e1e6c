package dovecot

import (
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// firstName numbers the files of delivered messages. The digits before a
// Maildir name's first dot are what Dovecot orders messages by when it numbers
// them, so counting up keeps the order of delivery.
const firstName = 1_000_000_000

const loginTimeout = 10 * time.Second // for a new password to come to Dovecot's notice

// AddUser makes a user with an empty mailbox, or gives an existing one another
// password, and returns when Dovecot knows. A name may hold anything but
// colons, control characters and spaces at its ends.
func (s *Server) AddUser(name, password string) error {
	if strings.ContainsAny(name, ":\r\n\x00") || strings.TrimSpace(name) != name || name == "" {
		return fmt.Errorf("dovecot's file of users cannot hold the name %q", name)
	}
	for _, dir := range []string{"", "Maildir", "Maildir/tmp", "Maildir/new", "Maildir/cur"} {
		path := filepath.Join(s.home(name), dir)
		if err := os.MkdirAll(path, 0o700); err != nil {
			return err
		}
		if err := s.give(path); err != nil {
			return err
		}
	}
	if err := s.writePassword(name, password); err != nil {
		return err
	}
	return s.awaitLogin(name, password)
}

// home is the folder of a user; the name becomes one path element.
func (s *Server) home(name string) string {
	return filepath.Join(s.Dir, "home", url.PathEscape(strings.ReplaceAll(name, ".", "%2E")))
}

// Maildir is the path of a user's mailbox on disk.
func (s *Server) Maildir(user string) string { return filepath.Join(s.home(user), "Maildir") }

// writePassword writes the user's passwd-file, which bears the MD5 of the name
// as its name (%Mu), and replaces an old one at once.
func (s *Server) writePassword(name, password string) error {
	path := filepath.Join(s.Dir, "users", fmt.Sprintf("%x", md5.Sum([]byte(name))))
	secret := base64.StdEncoding.EncodeToString([]byte(password))
	line := fmt.Sprintf("%s:{PLAIN.b64}%s:%d:%d::%s::\n", name, secret, s.owner.uid, s.owner.gid, s.home(name))
	if err := os.WriteFile(path+".new", []byte(line), 0o600); err != nil {
		return err
	}
	if err := s.give(path + ".new"); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// awaitLogin logs in until Dovecot lets the user in: it looks at a passwd-file
// no more than once in a second, so a new password may come to its notice late.
func (s *Server) awaitLogin(name, password string) error {
	deadline := time.NewTimer(loginTimeout)
	defer deadline.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := s.tryLogin(name, password)
		if err == nil {
			return nil
		}
		select {
		case <-deadline.C:
			return fmt.Errorf("dovecot does not let %s in: %w", name, err)
		case <-again.C:
		}
	}
}

func (s *Server) tryLogin(name, password string) error {
	conn, err := net.DialTimeout("tcp", s.own.Addr(), loginTimeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(loginTimeout)); err != nil {
		return err
	}
	pop3 := textproto.NewConn(conn)
	if _, err := pop3.ReadLine(); err != nil {
		return err
	}
	for _, command := range []string{"USER " + name, "PASS " + password, "QUIT"} {
		if err := pop3.PrintfLine("%s", command); err != nil {
			return err
		}
		reply, err := pop3.ReadLine()
		if err != nil {
			return err
		}
		if !strings.HasPrefix(reply, "+OK") {
			return errors.New(reply)
		}
	}
	return nil
}

// Deliver puts messages into a user's mailbox, in their order, without
// Dovecot's help. Each is stored byte for byte; Dovecot sends it with every LF
// that no CR precedes turned into CRLF. Nothing is flushed to the disk.
func (s *Server) Deliver(user string, messages iter.Seq[io.Reader]) error {
	maildir := s.Maildir(user)
	buffer := make([]byte, 64<<10)
	for message := range messages {
		name := fmt.Sprintf("%d.M1.test", firstName+s.delivered)
		s.delivered++
		tmp := filepath.Join(maildir, "tmp", name)
		stored, sent, err := s.write(tmp, message, buffer)
		if err != nil {
			return fmt.Errorf("delivering to %s: %w", user, err)
		}
		name += fmt.Sprintf(",S=%d,W=%d:2,", stored, sent)
		if err := os.Rename(tmp, filepath.Join(maildir, "cur", name)); err != nil {
			return err
		}
	}
	return nil
}

// write stores a message and returns its size on disk and, as Dovecot sends it
// with CRLF line ends, on the wire.
func (s *Server) write(path string, message io.Reader, buffer []byte) (stored, sent int64, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	if s.owner.other {
		if err := f.Chown(s.owner.uid, s.owner.gid); err != nil {
			return 0, 0, err
		}
	}
	last := byte(0)
	for {
		n, err := message.Read(buffer)
		for _, c := range buffer[:n] {
			if c == '\n' && last != '\r' {
				sent++
			}
			last = c
		}
		stored += int64(n)
		sent += int64(n)
		if _, err := f.Write(buffer[:n]); err != nil {
			return 0, 0, err
		}
		if err == io.EOF {
			return stored, sent, nil
		}
		if err != nil {
			return 0, 0, err
		}
	}
}

// Messages reads what a user's mailbox holds now, in the order of delivery,
// each as it lies on the disk.
func (s *Server) Messages(user string) ([][]byte, error) {
	dir := filepath.Join(s.Maildir(user), "cur")
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return nil, err
	}
	messages := make([][]byte, 0, len(entries))
	for _, e := range entries {
		message, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		messages = append(messages, message)
	}
	return messages, nil
}

// ReadMaildir serves a copy of a Maildir that somebody else wrote as the
// mailbox of a new user and returns its messages as Dovecot's IMAP shows them,
// with CRLF line ends, in Dovecot's order. Dovecot must agree with the sizes
// in the files' names. It is for mailboxes that fit into memory.
func (s *Server) ReadMaildir(path string) ([][]byte, error) {
	s.readers++
	user := fmt.Sprintf("reader-%d", s.readers)
	if err := s.AddUser(user, "reader"); err != nil {
		return nil, err
	}
	maildir := s.Maildir(user)
	if err := os.CopyFS(maildir, os.DirFS(path)); err != nil {
		return nil, fmt.Errorf("copying the Maildir: %w", err)
	}
	err := filepath.WalkDir(maildir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return s.give(path)
	})
	if err != nil {
		return nil, err
	}
	return readInbox(s.IMAP.Addr(), user, "reader")
}
