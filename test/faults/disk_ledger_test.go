package faults

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/popfetchd/popfetchd/test/program"
)

func (d *diskTrial) ledger() string { return filepath.Join(d.state(), "ledger.db") }

// python runs statements on a database by an SQLite that is not ours, holds it open, and lets go when the function it
// returns is called.
func python(path string, statements ...string) (release func(), err error) {
	command := exec.Command("python3", append([]string{"-c", `
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
for s in sys.argv[2:]:
    c.execute(s).fetchall()
print("held", flush=True)
sys.stdin.read()`, path}, statements...)...)
	in, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	release = func() {
		in.Close()
		command.Wait()
	}
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		return release, err
	}
	if said := bufio.NewScanner(out); !said.Scan() {
		command.Wait()
		return release, fmt.Errorf("python3: %s", stderr.String())
	}
	return release, nil
}

// lock is a way in which another program may hold the ledger.
type lock struct {
	setting
	statements []string
	midway     bool // it comes while messages are being received
}

// locks: a writer, which readers of a ledger in WAL mode do not mind, and one that shuts out all others.
func locks() (all []lock) {
	for _, s := range kinds()[:2] {
		for _, midway := range []bool{false, true} {
			all = append(all, lock{s, []string{"BEGIN IMMEDIATE"}, midway})
		}
		all = append(all, lock{s, []string{"PRAGMA locking_mode=EXCLUSIVE", "BEGIN EXCLUSIVE"}, false})
	}
	return all
}

// TestDiskLedgerLocked has another process hold the ledger for longer than the program waits. All wait at the same time.
func TestDiskLedgerLocked(t *testing.T) {
	t.Parallel()
	all := locks()
	var runs []*lockedRun
	for _, n := range chosen(t, len(all), 2) {
		run := all[n].begin(t)
		defer run.end()
		runs = append(runs, run)
	}
	for _, run := range runs {
		run.finish(t)
	}
}

// lockedRun is a run that waits for the ledger.
type lockedRun struct {
	*diskTrial
	lock    lock
	command *exec.Cmd
	stderr  bytes.Buffer
	release chan func()
}

func (l lock) begin(t *testing.T) *lockedRun {
	t.Helper()
	r := &lockedRun{diskTrial: newDiskTrial(t, l.setting, smallMail), lock: l, release: make(chan func(), 1)}
	r.begun(t)
	hold := func() error {
		release, err := python(r.ledger(), l.statements...)
		r.release <- release
		return err
	}
	if l.midway {
		r.at("RETR", 3, hold)
	} else if err := hold(); err != nil {
		t.Fatal(err)
	}
	r.command = r.account.Command("--once")
	r.command.Stderr = &r.stderr
	if err := r.command.Start(); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *lockedRun) finish(t *testing.T) {
	t.Helper()
	r.command.Wait()
	r.server.SetFault(nil)
	(<-r.release)()
	o := program.Outcome{Code: r.command.ProcessState.ExitCode(), Stderr: r.stderr.String()}
	defer func() { r.explain(t, fmt.Sprintf("%+v", r.lock), o) }()
	if o.Code != 75 {
		t.Errorf("exit code %d, not 75", o.Code)
	}
	r.told(t, o, "locked")
	r.afterwards(t, o, 75)
	r.mended(t, r, "disk: ledger locked")
	for m := range r.mails { // what came into the Maildir by then is found there
		if n := r.mail.Retrieved(m.UID + "-later"); n > 1 && r.kind == "maildir" && r.lock.midway {
			t.Errorf("%s was fetched %d times, though it was in the Maildir", m.UID, n)
		}
	}
}

// damage is what befell a ledger's file.
type damage struct {
	name string
	do   func(path string, good []byte) error
	wal  bool // what was written last is in the -wal file still, as a run that was killed leaves it
}

// rewritten is damage to the bytes of the file.
func rewritten(name string, change func(good []byte) []byte) damage {
	return damage{name: name, do: func(path string, good []byte) error { return os.WriteFile(path, change(bytes.Clone(good)), 0o600) }}
}

// ledgerDamages are for a ledger of so many bytes.
func ledgerDamages(size int) (all []damage) {
	const page, sector = 4096, 512
	for at := 0; at < size; at += sector {
		for _, length := range []int{at, at + 1, at + 100} {
			all = append(all, rewritten(fmt.Sprintf("cut to %d bytes", length), func(good []byte) []byte { return good[:min(length, len(good)-1)] }))
		}
	}
	for at := 0; at < size; at += page {
		all = append(all,
			rewritten(fmt.Sprintf("page %d filled with zeros", at/page+1), func(good []byte) []byte {
				clear(good[at:min(at+page, len(good))])
				return good
			}),
			rewritten(fmt.Sprintf("zeros from page %d on", at/page+1), func(good []byte) []byte { clear(good[at:]); return good }))
	}
	all = append(all,
		rewritten("header filled with zeros", func(good []byte) []byte { clear(good[:100]); return good }),
		rewritten("garbage", func(good []byte) []byte {
			random := rand.NewChaCha8([32]byte{})
			random.Read(good)
			return good
		}),
		rewritten("garbage behind the header", func(good []byte) []byte {
			random := rand.NewChaCha8([32]byte{})
			random.Read(good[100:])
			return good
		}),
		rewritten("text", func([]byte) []byte { return []byte("this was a ledger\n") }),
		damage{"a folder", func(path string, _ []byte) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) }, false},
		damage{"a pipe", func(path string, _ []byte) error { return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)) }, false},
		damage{"a link to nowhere", func(path string, _ []byte) error { return errors.Join(os.Remove(path), os.Symlink("gone", path)) }, false},
		damage{"gone, its -wal there", func(path string, _ []byte) error { return os.Remove(path) }, true})
	for _, length := range []int{0, 1, 100, page, size / 2, size / page / 2 * page, size - page, size - 1} {
		d := rewritten(fmt.Sprintf("cut to %d bytes, its -wal there", length), func(good []byte) []byte { return good[:length] })
		d.wal = true
		all = append(all, d)
	}
	return all
}

// TestDiskLedgerDamaged holds that a damaged ledger is never taken for an empty one: nothing is fetched, nothing deleted,
// and its bytes stay as they are for whoever is to mend it.
func TestDiskLedgerDamaged(t *testing.T) {
	t.Parallel()
	d := newDiskTrial(t, kinds()[0], smallMail)
	d.begun(t)
	good, err := os.ReadFile(d.ledger())
	d.end()
	if err != nil {
		t.Fatal(err)
	}
	all := ledgerDamages(len(good))
	for _, n := range chosen(t, len(all), 16) {
		all[n].try(t, kinds()[n%4])
	}
}

func (g damage) try(t *testing.T, s setting) {
	t.Helper()
	d := newDiskTrial(t, s, smallMail)
	defer d.end()
	release := func() {}
	if g.wal { // while somebody reads it, the ledger is not cleared up
		d.account.Once(d)
		var err error
		if release, err = python(d.ledger(), "BEGIN", "SELECT count(*) FROM accounts"); err != nil {
			t.Fatal(err)
		}
	}
	d.begun(t)
	kept := filepath.Join(d.TempDir(), "state")
	if err := os.CopyFS(kept, os.DirFS(d.state())); err != nil {
		t.Fatal(err)
	}
	release()
	if err := errors.Join(os.RemoveAll(d.state()), os.CopyFS(d.state(), os.DirFS(kept)), os.Chmod(d.state(), 0o700)); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(d.ledger())
	if err == nil {
		err = g.do(d.ledger(), good)
	}
	if err != nil {
		t.Fatal(err)
	}
	before := bytesOf(d.ledger())
	sessions := d.mail.Sessions()
	o := d.account.Run(d, "--once")
	d.failed(t, g.name, o)
	if d.mail.Sessions() != sessions {
		t.Errorf("%s: the server was logged in to", g.name)
	}
	if !bytes.Equal(before, bytesOf(d.ledger())) {
		t.Errorf("%s: the damaged file was changed", g.name)
	}
	if err := errors.Join(os.RemoveAll(d.state()), os.CopyFS(d.state(), os.DirFS(kept)), os.Chmod(d.state(), 0o700)); err != nil {
		t.Fatal(err)
	}
	d.mended(t, d, "disk: ledger damaged")
	d.explain(t, g.name, o)
}

// bytesOf is what a regular file holds, nothing of what is none.
func bytesOf(path string) []byte {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	text, _ := os.ReadFile(path)
	return text
}

// daemonRun is the program without --once.
type daemonRun struct {
	command *exec.Cmd
	log     *bufio.Scanner
	all     strings.Builder // what it logged so far
	cancel  context.CancelFunc
}

// startDaemon starts it and waits until it is running.
func (d *diskTrial) startDaemon(t *testing.T) *daemonRun {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	command := d.account.Command()
	r := &daemonRun{command: exec.CommandContext(ctx, command.Path, command.Args[1:]...), cancel: cancel}
	stderr, err := r.command.StderrPipe()
	if err == nil {
		err = r.command.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	r.log = bufio.NewScanner(stderr)
	r.await(t, "popfetchd is running")
	return r
}

// await reads the log until a line with one of these texts comes, and returns the line.
func (r *daemonRun) await(t *testing.T, texts ...string) string {
	t.Helper()
	for r.log.Scan() {
		line := r.log.Text()
		r.all.WriteString(line + "\n")
		for _, text := range texts {
			if strings.Contains(line, text) {
				return line
			}
		}
	}
	t.Fatalf("the daemon never said %q; it said\n%s", texts, r.all.String())
	return ""
}

// fetch has it run now, and returns the line about the run.
func (r *daemonRun) fetch(t *testing.T) string {
	t.Helper()
	if err := r.command.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	return r.await(t, `"run done"`, `"run failed"`, `"run succeeded again"`)
}

// stop ends it.
func (r *daemonRun) stop(t *testing.T) {
	t.Helper()
	defer r.cancel()
	r.command.Process.Signal(syscall.SIGTERM)
	for r.log.Scan() {
	}
	if err := r.command.Wait(); err != nil {
		t.Errorf("the daemon: %v", err)
	}
}

// taken is a way in which a ledger goes from under a daemon.
type taken struct {
	name      string
	do, after func(d *diskTrial) error // after the daemon has ended, to go on with
}

func takings() []taken {
	ofPath := func(do func(string) error) func(*diskTrial) error {
		return func(d *diskTrial) error { return do(d.ledger()) }
	}
	return []taken{
		{"removed", ofPath(os.Remove), beginAnew},
		{"removed with its -wal", ofPath(removeAll), beginAnew},
		{"moved away", ofPath(moveAway), ofPath(putBack)},
		{"replaced by a copy", ofPath(replaceByCopy), ofPath(putBack)},
		{"replaced by an empty ledger", replaceByEmpty, ofPath(putBack)},
	}
}

// removeAll removes the ledger with all that SQLite keeps beside it.
func removeAll(path string) error {
	files, err := filepath.Glob(path + "*")
	for _, file := range files {
		err = errors.Join(err, os.Remove(file))
	}
	return err
}

// beginAnew goes on without the old ledger: what is no longer on the server is taken into the new one by repair.
func beginAnew(d *diskTrial) error {
	if err := removeAll(d.ledger()); err != nil {
		return err
	}
	d.account.Once(d)
	if o := d.account.Run(d, "repair"); o.Code != 0 {
		return fmt.Errorf("repair: exit code %d\n%s", o.Code, o.Stderr)
	}
	return nil
}

// replaceByEmpty puts a ledger there that another run has made.
func replaceByEmpty(d *diskTrial) error {
	other := program.New(d, d.kind, "host: 127.0.0.1", "port: 1", "tls: none")
	other.Run(d, "--once") // finds no server, but makes its ledger
	return errors.Join(moveAway(d.ledger()), copyFile(filepath.Join(other.Dir, "state", "ledger.db"), d.ledger()))
}

// TestDiskLedgerTakenFromDaemon takes the ledger away from a daemon, between two runs of it and in the midst of one. What
// it writes to the file that it has open nobody will ever read: so it must notice, and delete nothing on the server.
func TestDiskLedgerTakenFromDaemon(t *testing.T) {
	t.Parallel()
	var tries []func(*testing.T)
	for _, take := range takings() {
		for _, kind := range both {
			for _, midway := range []bool{false, true} {
				tries = append(tries, func(t *testing.T) { take.try(t, setting{kind: kind, policy: "delete"}, midway) })
			}
		}
	}
	eachOrSome(t, tries, 8)
}

func (take taken) try(t *testing.T, s setting, midway bool) {
	t.Helper()
	d := newDiskTrial(t, s, smallMail)
	defer d.end()
	r := d.startDaemon(t)
	defer r.cancel()
	if line := r.fetch(t); strings.Contains(line, `"run failed"`) {
		t.Fatal(line)
	}
	d.more()
	there := len(d.mail.Messages())
	outcome := func() error { return nil }
	if midway {
		outcome = d.at("RETR", 3, func() error { return take.do(d) })
	} else if err := take.do(d); err != nil {
		t.Fatal(err)
	}
	line := r.fetch(t)
	if err := outcome(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(line, `"run failed"`) || !strings.Contains(line, d.ledger()) {
		t.Errorf("%s: the daemon did not notice: %s", take.name, line)
	}
	if left := len(d.mail.Messages()); left != there {
		t.Errorf("of %d messages on the server only %d are left", there, left)
	}
	r.stop(t)
	if err := take.after(d); err != nil {
		t.Fatal(err)
	}
	d.mended(t, d, "disk: ledger taken from a daemon")
}
