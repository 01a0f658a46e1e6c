package faults

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/test/dovecot"
	"github.com/popfetchd/popfetchd/test/program"
)

// readerPatience is how long a mail reader may take; it is killed then, and the test fails.
const readerPatience = 2 * time.Minute

// mailReader flags the letters whose subject begins with "flag-", and then deletes those that begin with "gone-".
type mailReader func(deletes bool)

// muttFile lets mutt ask nobody anything.
const muttFile = `
set record="" folder="" move=no delete=yes confirmappend=no wait_key=no sleep_time=0 mark_old=yes maildir_trash=no
`

// newMutt is mutt, before a terminal of its own.
func newMutt(t *testing.T, p *postbox) mailReader {
	home := t.TempDir()
	file := filepath.Join(home, "muttrc")
	if err := os.WriteFile(file, []byte(muttFile), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(deletes bool) {
		t.Helper()
		keys := "<tag-pattern>~s flag-<enter><tag-prefix-cond><flag-message><end-cond>"
		if deletes {
			keys += "<delete-pattern>~s gone-<enter>"
		}
		keys += "<sync-mailbox><exit>"
		ctx, cancel := context.WithTimeout(t.Context(), readerPatience)
		defer cancel()
		command := fmt.Sprintf(`exec mutt -n -F %s -f %s -e 'push "%s"'`, file, p.Mailbox, keys)
		mutt := exec.CommandContext(ctx, "script", "-qec", command, "/dev/null")
		mutt.Env = []string{"TERM=xterm", "HOME=" + home, "PATH=/usr/bin:/bin"}
		if out, err := mutt.CombinedOutput(); err != nil {
			t.Fatalf("mutt: %v (is it installed? run test/setup.sh)\n%q", err, out)
		}
	}
}

// imap is a session with Dovecot's IMAP.
type imap struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

// ask sends a command and returns the lines of the answer but the last.
func (i *imap) ask(format string, args ...any) (lines []string) {
	i.t.Helper()
	command := fmt.Sprintf(format, args...)
	fmt.Fprintf(i.conn, "a %s\r\n", command)
	for {
		line, err := i.r.ReadString('\n')
		if err != nil {
			i.t.Fatalf("IMAP %s: %v", command, err)
		}
		if strings.HasPrefix(line, "a OK") {
			return lines
		}
		if strings.HasPrefix(line, "a ") {
			i.t.Fatalf("IMAP %s: %s", command, line)
		}
		lines = append(lines, strings.TrimSpace(line))
	}
}

// search returns the UIDs of the messages whose subject has the word in it, as a set for other commands.
func (i *imap) search(word string) string {
	i.t.Helper()
	for _, line := range i.ask("UID SEARCH SUBJECT %q", word) {
		if uids, found := strings.CutPrefix(line, "* SEARCH "); found {
			return strings.ReplaceAll(uids, " ", ",")
		}
	}
	return ""
}

// newDovecot is Dovecot, whose user has the account's mailbox as INBOX.
func newDovecot(t *testing.T, kind string) (*postbox, mailReader) {
	location := "maildir:~/post/mail/inbox"
	if kind == "mbox" {
		location = "mbox:~/folders:INBOX=~/post/mail/inbox"
	}
	s := dovecot.Start(t, dovecot.Options{Settings: "mail_location = " + location})
	if err := s.AddUser(program.Username, program.Password); err != nil {
		t.Fatal(err)
	}
	home := filepath.Dir(s.Maildir(program.Username))
	if err := os.MkdirAll(filepath.Join(home, "post"), 0o700); err != nil {
		t.Fatal(err)
	}
	p := newPostboxIn(t, filepath.Join(home, "post"), kind)
	if os.Getuid() == 0 {
		p.belongsTo(home)
	}
	return p, func(deletes bool) {
		t.Helper()
		conn, err := net.Dial("tcp", s.IMAP.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(readerPatience))
		i := &imap{t, conn, bufio.NewReader(conn)}
		if _, err := i.r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		i.ask("LOGIN %q %q", program.Username, program.Password)
		i.ask("SELECT INBOX")
		if uids := i.search("flag-"); uids != "" {
			i.ask(`UID STORE %s +FLAGS.SILENT (\Flagged \Seen Important)`, uids)
		}
		if uids := i.search("gone-"); deletes && uids != "" {
			i.ask(`UID STORE %s +FLAGS.SILENT (\Deleted)`, uids)
			i.ask("EXPUNGE")
		}
		i.ask("LOGOUT")
	}
}

// belongsTo gives the account, and the program, to the user whom the folder belongs to.
func (p *postbox) belongsTo(folder string) {
	p.t.Helper()
	info, err := os.Stat(folder)
	if err != nil {
		p.t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	p.owner = owner.Uid
	err = filepath.WalkDir(p.Dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(owner.Uid), int(owner.Gid))
	})
	if err == nil {
		err = os.Chmod(filepath.Dir(program.Path()), 0o755)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// readers runs a test for each mail reader with each kind of mailbox.
func readers(t *testing.T, test func(t *testing.T, p *postbox, visit mailReader)) {
	for _, kind := range []string{"mbox", "maildir"} {
		t.Run("mutt/"+kind, func(t *testing.T) {
			t.Parallel()
			p := newPostbox(t, kind)
			test(t, p, newMutt(t, p))
		})
		if kind == "mbox" {
			t.Run("python/"+kind, func(t *testing.T) {
				t.Parallel()
				p := newPostbox(t, kind)
				n := newNeighbour(t, p.Account)
				test(t, p, func(deletes bool) {
					if deletes {
						n.rewrites(true, "gone-")
					} else {
						n.rewrites(true)
					}
				})
			})
		}
		t.Run("dovecot/"+kind, func(t *testing.T) {
			t.Parallel()
			p, visit := newDovecot(t, kind)
			test(t, p, visit)
		})
	}
}

// A mail reader flags what popfetchd stored, so that it moves within the mbox or from new/ to cur/, and then deletes some
// of it: verify tells what has moved from what is gone, and nothing of it is fetched again.
func TestMailReader(t *testing.T) {
	readers(t, func(t *testing.T, p *postbox, visit mailReader) {
		const row = "neighbours: mutt, Dovecot and Python flag and delete between runs"
		for i := range 8 {
			p.receives(fmt.Sprintf("keep-%d", i), fmt.Sprintf("flag-%d", i), fmt.Sprintf("gone-%d", i))
		}
		p.fetches(24)
		visit(false)
		weigh(t, row, p.Account, p.want, p.Kind == "mbox")
		p.misses(0)
		p.fetches(0)
		visit(true)
		for _, subject := range numbered("gone", 8) {
			delete(p.want, subject)
		}
		weigh(t, row, p.Account, p.want, p.Kind == "mbox")
		p.misses(8)
		p.fetches(0)
		p.receives("last")
		p.fetches(1)
		weigh(t, row, p.Account, p.want, p.Kind == "mbox")
		p.misses(8)
		p.NoLeftovers(t)
	})
}

// holdsMail says that something is there that will stay: mutt drops its orders before an empty mailbox.
func (p *postbox) holdsMail() bool {
	if _, err := os.Stat(p.Mailbox); err != nil {
		return false
	}
	for subject := range lettersIn(p.t, p.Account) {
		if strings.HasPrefix(subject, "keep-") {
			return true
		}
	}
	return false
}

// A mail reader does so again and again while popfetchd stores.
func TestMailReaderMeanwhile(t *testing.T) {
	readers(t, func(t *testing.T, p *postbox, visit mailReader) {
		var gone []string
		for i := range rounds(3, 30) {
			for k := range 10 {
				p.receives(fmt.Sprintf("keep-%d-%d", i, k), fmt.Sprintf("flag-%d-%d", i, k), fmt.Sprintf("gone-%d-%d", i, k))
				gone = append(gone, fmt.Sprintf("gone-%d-%d", i, k))
			}
			p.runsBeside(func() {
				if p.holdsMail() {
					visit(true)
				}
			})
		}
		weigh(t, "neighbours: mutt, Dovecot and Python flag and delete during runs", p.Account, p.want, p.Kind == "mbox", gone...)
		p.fetches(0)
		p.NoLeftovers(t)
	})
}
