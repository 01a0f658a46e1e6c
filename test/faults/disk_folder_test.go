package faults

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/test/program"
)

// at lets something happen here while the server holds back its answer to the first command of this name for this
// message. happened says, after the run, what came of it.
func (d *diskTrial) at(command string, message int, do func() error) (happened func() error) {
	outcome := make(chan error, 1)
	once := sync.OnceFunc(func() { outcome <- do() })
	d.server.SetFault(func(r popsim.Request) popsim.Action {
		if r.Command == command && r.Message == message {
			once()
		}
		return popsim.Action{}
	})
	return func() error {
		d.server.SetFault(nil)
		select {
		case err := <-outcome:
			return err
		default:
			return fmt.Errorf("the server was never asked for %s %d", command, message)
		}
	}
}

// upheaval is what happens to a folder or file while the program is in the midst of a run.
type upheaval struct {
	name  string
	kinds []string // of mailbox that have such a folder
	path  func(d *diskTrial) string
	do    func(path string) error
	after func(path string) error // before the next run; nil: nothing
	fine  bool                    // what the program has open will do
}

func moveAway(path string) error { return os.Rename(path, path+".away") }

// putBack undoes moveAway, whatever stands there by now.
func putBack(path string) error {
	return errors.Join(os.RemoveAll(path), os.Rename(path+".away", path))
}

// replace leaves another of the same kind in its place, as a restored backup would.
func replace(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if err := moveAway(path); err != nil {
		return err
	}
	if !info.IsDir() {
		return os.WriteFile(path, nil, 0o600)
	}
	return copyFolders(path+".away", path)
}

// copyFolders copies a tree without its files.
func copyFolders(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		below, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		return os.Mkdir(filepath.Join(to, below), 0o700)
	})
}

var (
	both     = []string{"maildir", "mbox"}
	maildirs = []string{"maildir"}
	mboxes   = []string{"mbox"}
)

// upheavals are all that is done to the mailbox, what it is in, and the spool, which lies in the state folder.
func upheavals() []upheaval {
	inbox := func(d *diskTrial) string { return d.inbox() }
	folder := func(d *diskTrial) string { return d.mailFolder() }
	within := func(sub string) func(*diskTrial) string {
		return func(d *diskTrial) string { return filepath.Join(d.inbox(), sub) }
	}
	spool := func(d *diskTrial) string { return filepath.Join(d.state(), "spool") }
	var all []upheaval
	for _, what := range []struct {
		name            string
		kinds           []string
		path            func(d *diskTrial) string
		moved, replaced bool // see upheaval.fine
	}{
		{"the Maildir", maildirs, inbox, false, false}, {"its new", maildirs, within("new"), false, false},
		{"its tmp", maildirs, within("tmp"), true, true},
		{"the folder above it", maildirs, folder, false, false}, {"the spool's folder", mboxes, spool, false, true},
	} {
		all = append(all,
			upheaval{what.name + " is removed", what.kinds, what.path, os.RemoveAll, nil, false},
			upheaval{what.name + " is moved away and comes back", what.kinds, what.path, moveAway, putBack, what.moved},
			upheaval{what.name + " is replaced by an empty one", what.kinds, what.path, replace, nil, what.replaced})
	}
	return all
}

// TestDiskMailboxRemoved takes the mailbox away from a run that has begun to fill it. Nothing may count as stored that does
// not lie where the mailbox is.
func TestDiskMailboxRemoved(t *testing.T) {
	t.Parallel()
	var tries []func(*testing.T)
	for _, u := range upheavals() {
		for _, s := range kinds() {
			if slices.Contains(u.kinds, s.kind) {
				tries = append(tries, func(t *testing.T) { tryUpheaval(t, s, u, "disk: mailbox removed or replaced") })
			}
		}
	}
	eachOrSome(t, tries, 10)
}

// tryUpheaval begins a first run and strikes when a message has been received and the next is waited for.
func tryUpheaval(t *testing.T, s setting, u upheaval, row string) {
	t.Helper()
	d := newDiskTrial(t, s, smallMail)
	defer d.end()
	path := u.path(d)
	happened := d.at("RETR", 3, func() error { return u.do(path) })
	o := d.account.Run(d, "--once")
	if err := happened(); err != nil {
		t.Fatal(err)
	}
	if u.fine {
		d.afterwards(t, o, 0)
	} else {
		d.failed(t, u.name, o)
	}
	if u.after != nil {
		if err := u.after(path); err != nil {
			t.Fatal(err)
		}
	}
	d.mended(t, d, row)
	d.explain(t, u.name, o)
}

// An mbox is open only while a batch is appended to it, so that one that is replaced before is found anew: then all of the
// batch is in the new one.
func TestDiskMboxReplaced(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(string) error{"removed": os.Remove, "replaced": replace} {
		for _, policy := range []string{"delete", "keep"} {
			t.Run(name+","+policy, func(t *testing.T) {
				d := newDiskTrial(t, setting{kind: "mbox", policy: policy}, smallMail)
				defer d.end()
				stranger := []byte("From me Thu Jan  1 00:00:00 1970\nSubject: mine\n\n\n")
				if err := errors.Join(os.Mkdir(d.mailFolder(), 0o700), os.WriteFile(d.inbox(), stranger, 0o600)); err != nil {
					t.Fatal(err)
				}
				happened := d.at("RETR", 3, func() error { return do(d.inbox()) })
				d.account.Once(d)
				if err := happened(); err != nil {
					t.Fatal(err)
				}
				d.mended(t, d, "disk: mailbox removed or replaced")
			})
		}
	}
}

// TestDiskStateRemoved takes the state folder away, the ledger in it, before anything is stored and after.
func TestDiskStateRemoved(t *testing.T) {
	t.Parallel()
	var tries []func(*testing.T)
	state := func(d *diskTrial) string { return d.state() }
	file := func(d *diskTrial) string { return filepath.Join(d.state(), "ledger.db") }
	for _, u := range []upheaval{
		{"the state folder is removed", both, state, os.RemoveAll, nil, false},
		{"the state folder is moved away and comes back", both, state, moveAway, putBack, false},
		{"the state folder is replaced by an empty one", both, state, replace, nil, false},
		{"the ledger is moved away and comes back", both, file, moveAway, putBack, false},
		{"the ledger is replaced by a copy", both, file, replaceByCopy, putBack, false},
	} {
		for _, s := range kinds() {
			tries = append(tries, func(t *testing.T) { tryUpheaval(t, s, u, "disk: state folder or ledger removed or replaced") })
		}
	}
	eachOrSome(t, tries, 8)
}

func replaceByCopy(path string) error {
	return errors.Join(moveAway(path), copyFile(path+".away", path))
}

func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o600)
}

// nobody owns no file and may read none of root's.
const nobody = 65534

// loss is a right that is taken away.
type loss struct {
	path  string // below the account's folder
	kinds []string
	mode  fs.FileMode
	fine  bool // there is a way without this right
}

var losses = []loss{
	{"mail", maildirs, 0, false}, {"mail/inbox", maildirs, 0o500, true}, {"mail/inbox", maildirs, 0, false},
	{"mail/inbox/tmp", maildirs, 0o500, false}, {"mail/inbox/new", maildirs, 0o500, false}, {"mail/inbox/new", maildirs, 0, false},
	{"mail/inbox", mboxes, 0o400, false}, {"mail/inbox", mboxes, 0, false}, {"mail", mboxes, 0, false}, {"mail", mboxes, 0o500, true},
	{"state", both, 0o500, false}, {"state", both, 0, false}, {"state/ledger.db", both, 0o400, false}, {"state/ledger.db", both, 0, false},
	{"state/locks", both, 0, false}, {"state/locks/test.lock", both, 0, false}, {"state/locks", both, 0o500, true},
	{"state/spool", mboxes, 0o500, false},
}

// TestDiskPermissionLost runs the program as a user whose rights are taken away between two runs.
func TestDiskPermissionLost(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Fatal("this test needs root, to run the program as another user")
	}
	if err := os.Chmod(filepath.Dir(program.Path()), 0o755); err != nil { // the program is for all to run
		t.Fatal(err)
	}
	var tries []func(*testing.T)
	for _, l := range losses {
		for _, kind := range l.kinds {
			tries = append(tries, func(t *testing.T) { l.try(t, kind) })
		}
	}
	eachOrSome(t, tries, 8)
}

func (l loss) try(t *testing.T, kind string) {
	t.Helper()
	d := newDiskTrial(t, setting{kind: kind, policy: "delete"}, smallMail)
	defer d.end()
	d.ownedByNobody(t)
	if o := d.runAsNobody(); o.Code != 0 || o.Stderr != "" {
		t.Fatalf("exit code %d\n%s", o.Code, o.Stderr)
	}
	d.more()
	path := filepath.Join(d.account.Dir, l.path)
	before, err := os.Stat(path)
	if err == nil {
		err = os.Chmod(path, l.mode)
	}
	if err != nil {
		t.Fatal(err)
	}
	o := d.runAsNobody()
	if err := os.Chmod(path, before.Mode()); err != nil {
		t.Fatal(err)
	}
	what := fmt.Sprintf("%s of mode %#o", l.path, l.mode)
	switch {
	case !l.fine:
		d.failed(t, what, o)
	case o.Stderr != "":
		t.Errorf("%s: exit code %d\n%s", what, o.Code, o.Stderr)
	default:
		d.afterwards(t, o, 0)
	}
	if o := d.runAsNobody(); o.Code != 0 || o.Stderr != "" {
		t.Errorf("%s, and given back: exit code %d\n%s", what, o.Code, o.Stderr)
	}
	d.mended(t, d, "disk: permission lost")
}

// ownedByNobody gives all that there is to nobody.
func (d *diskTrial) ownedByNobody(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(d.stage.dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, nobody, nobody))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (d *diskTrial) runAsNobody() program.Outcome {
	d.Helper()
	command := d.account.Command("--once")
	command.Dir = "/"
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return program.Finish(d, command)
}
