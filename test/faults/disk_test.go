package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/test/program"
)

// diskTrial is a trial in which the disk fails.
type diskTrial struct {
	trial
	*stage
	server *popsim.Server
	mails  func(yield func(popsim.Message) bool)
}

// kinds are the settings that matter to a disk.
func kinds() []setting {
	return []setting{{kind: "maildir", policy: "delete"}, {kind: "mbox", policy: "delete"},
		{kind: "maildir", policy: "keep"}, {kind: "mbox", policy: "keep"}}
}

// newDiskTrial sets all up; the caller defers end. Commands are not sent ahead, so that what a server does at one of them
// comes at a known moment.
func newDiskTrial(t *testing.T, s setting, mails func(yield func(popsim.Message) bool)) *diskTrial {
	t.Helper()
	stage := newStage(t)
	server, mail := program.Serve(stage, popsim.Config{Mode: popsim.NoTLS, Pipelining: s.pipelining}, mails)
	d := &diskTrial{trial: newTrial(stage, s, mail), stage: stage, server: server, mails: mails}
	d.account = program.New(stage, s.kind, append(program.AtSim(stage, server, popsim.NoTLS), "policy: "+s.policy)...)
	return d
}

// begun lets a first run fetch all there is, and then new mail arrive: the run to fail is a second one.
func (d *diskTrial) begun(t *testing.T) {
	t.Helper()
	d.account.Once(d)
	d.more()
}

// more lets new mail arrive.
func (d *diskTrial) more() {
	for m := range d.mails {
		m.UID += "-later"
		m.Body = append([]byte("X-Later: yes\r\n"), m.Body...)
		d.mail.Deliver(m)
		d.want.AddBytes(m.Stored())
	}
}

// state and mailFolder are the folders that the disk is about, inbox the mailbox itself.
func (d *diskTrial) state() string      { return filepath.Join(d.account.Dir, "state") }
func (d *diskTrial) mailFolder() string { return filepath.Join(d.account.Dir, "mail") }
func (d *diskTrial) inbox() string      { return d.account.Mailbox }

// failed holds a run to what it promised when this disk is in trouble: exit code 74 and one line that names the account,
// the file and the reason, and says what to do.
func (d *diskTrial) failed(t *testing.T, what string, o program.Outcome, reasons ...string) {
	t.Helper()
	defer d.explain(t, what, o)
	if o.Code != 74 {
		t.Errorf("exit code %d, not 74", o.Code)
	}
	d.told(t, o, reasons...)
	d.afterwards(t, o, 74)
}

// told fails the test unless the one line says it all; reasons are texts of which one must be in it.
func (d *diskTrial) told(t *testing.T, o program.Outcome, reasons ...string) {
	t.Helper()
	line := oneLine(t, o)
	shared := strings.HasPrefix(line, "popfetchd: ledger ") || strings.HasPrefix(line, "popfetchd: making the state folder: ")
	if !shared && !strings.Contains(line, "account test: ") {
		t.Error("the error names neither the account nor what all accounts share")
	}
	if !strings.Contains(line, d.account.Dir) {
		t.Error("the error names no file")
	}
	said := len(reasons) == 0
	for _, reason := range reasons {
		said = said || strings.Contains(line, reason)
	}
	if !said {
		t.Errorf("the error gives none of the reasons %q", reasons)
	}
	if _, advice, _ := strings.Cut(line, "; "); advice == "" {
		t.Error("the error does not say what to do")
	}
}

// mount puts a file system in memory in place of a folder until the trial ends.
func (d *diskTrial) mount(t *testing.T, path, options string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("popfetchd-test", path, "tmpfs", 0, "mode=0700,"+options); err != nil {
		t.Fatalf("mounting a tmpfs: %v; these tests need root", err)
	}
	d.Cleanup(func() {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil { // a test beside this one may be forking, with a file of ours open
			t.Errorf("unmounting %s: %v", path, err)
		}
	})
}

func (d *diskTrial) remount(t *testing.T, path string, flags uintptr, options string) {
	t.Helper()
	if err := unix.Mount("popfetchd-test", path, "tmpfs", unix.MS_REMOUNT|flags, options); err != nil {
		t.Fatalf("remounting %s with %#x %s: %v", path, flags, options, err)
	}
}

// pageMail are messages that fill some pages of a disk.
func pageMail(yield func(popsim.Message) bool) {
	for i := range 8 {
		body := fmt.Sprintf("Subject: %d\r\n\r\n%s\r\n", i, strings.Repeat("From the printing press. ", 60+i*90))
		if !yield(popsim.Message{UID: fmt.Sprintf("page%d", i), Body: []byte(body)}) {
			return
		}
	}
}

// fullDisk is a file system with too little room.
type fullDisk struct {
	setting
	second bool   // it is the second run that meets it
	at     string // the folder it is in place of: "state", "mail" or "." for both
	limit  string // as tmpfs takes it
}

// fullDisks are file systems of all sizes that may be too small, and with too few inodes.
func fullDisks() (all []fullDisk) {
	for _, s := range kinds() {
		for _, at := range []string{"state", "mail", "."} {
			for _, second := range []bool{false, true} {
				for pages := 1; pages <= 80; pages++ {
					all = append(all, fullDisk{s, second, at, fmt.Sprintf("size=%dk", pages*4)})
				}
				for inodes := 2; inodes <= 24; inodes++ {
					all = append(all, fullDisk{s, second, at, fmt.Sprintf("nr_inodes=%d", inodes)})
				}
			}
		}
	}
	return all
}

// TestDiskFull runs the program on file systems that are really full, and then on the same ones with more room.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	all := fullDisks()
	for _, n := range chosen(t, len(all), 20) {
		all[n].try(t)
	}
}

func (f fullDisk) try(t *testing.T) {
	t.Helper()
	d := newDiskTrial(t, f.setting, pageMail)
	defer d.end()
	path := filepath.Join(d.account.Dir, f.at)
	if f.at == "." {
		path = d.stage.dir
	}
	d.mount(t, path, "")
	if f.at == "." {
		d.account = program.New(d, f.kind, append(program.AtSim(d, d.server, popsim.NoTLS), "policy: "+f.policy)...)
	}
	if f.second {
		d.begun(t)
	}
	if err := unix.Mount("popfetchd-test", path, "tmpfs", unix.MS_REMOUNT, f.limit); err != nil {
		return // smaller than what is there already
	}
	o := d.account.Run(d, "--once")
	if o.Code == 0 {
		d.afterwards(t, o, 0)
		return // there was room enough
	}
	d.failed(t, fmt.Sprintf("%+v", f), o, "no space left on device")
	d.remount(t, path, 0, "size=64m,nr_inodes=1000")
	d.mended(t, d, "disk: full tmpfs")
	d.explain(t, fmt.Sprintf("%+v", f), o)
}

// TestDiskReadOnly makes file systems read-only before a first run, and between two.
func TestDiskReadOnly(t *testing.T) {
	t.Parallel()
	tries := make([]func(*testing.T), 0, 16)
	for _, s := range kinds() {
		for _, at := range []string{"state", "mail"} {
			for _, second := range []bool{false, true} {
				tries = append(tries, func(t *testing.T) { tryReadOnly(t, s, at, second) })
			}
		}
	}
	eachOrSome(t, tries, 6)
}

func tryReadOnly(t *testing.T, s setting, at string, second bool) {
	t.Helper()
	d := newDiskTrial(t, s, smallMail)
	defer d.end()
	path := filepath.Join(d.account.Dir, at)
	d.mount(t, path, "")
	if second {
		d.begun(t)
	}
	d.remount(t, path, unix.MS_RDONLY, "")
	o := d.account.Run(d, "--once")
	d.failed(t, fmt.Sprintf("%s read-only, second run: %v", at, second), o, "read-only", "readonly")
	d.remount(t, path, 0, "")
	d.mended(t, d, "disk: read-only")
}

// eachOrSome runs all tries, or a choice of so many.
func eachOrSome(t *testing.T, tries []func(*testing.T), some int) {
	t.Helper()
	for _, n := range chosen(t, len(tries), some) {
		tries[n](t)
	}
}
