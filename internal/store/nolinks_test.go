package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ways of file systems that have no second names (FAT, exFAT) and of those
// that cannot rename without replacing either. A helper refuses itself the
// calls by seccomp(2), with the errors that such file systems give.
func TestWithoutHardLinks(t *testing.T) {
	for _, refused := range []string{"link", "link and rename"} {
		t.Run(refused, func(t *testing.T) {
			dir := t.TempDir()
			if out, err := helper(t, "nolinks", refused, dir).Output(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			m := must(OpenMaildir(filepath.Join(dir, "maildir"), testOptions(t)))(t)
			sameSet(t, all(t, m), []string{"one\n", "two\n", "taken\n"})
			nothingUnfinished(t, m)
			o := testOptions(t)
			o.SpoolDir = filepath.Join(dir, "spool")
			mbox := must(OpenMbox(filepath.Join(dir, "mbox"), o))(t)
			sameSet(t, all(t, mbox), []string{"one\n", "two\n"})
			nothingUnfinished(t, mbox)
		})
	}
}

func helperNoLinks(args []string) error {
	refused := map[uint32]unix.Errno{unix.SYS_LINKAT: unix.EPERM}
	if args[0] != "link" {
		refused[unix.SYS_RENAMEAT2] = unix.EINVAL
	}
	if err := refuse(refused); err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	dir := args[1]
	o := Options{Account: "test", SpoolDir: filepath.Join(dir, "spool"), Hostname: testHost}
	m, err := OpenMaildir(filepath.Join(dir, "maildir"), o)
	if err != nil {
		return err
	}
	box, err := OpenMbox(filepath.Join(dir, "mbox"), o)
	if err != nil {
		return err
	}
	return join(refusesLinks(dir), storesAll(m), keepsTaken(m), storesAll(box), locksDot(dir, o))
}

// refuse makes the kernel answer system calls with errors, in all threads.
func refuse(calls map[uint32]unix.Errno) error {
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}} // the number of the call
	for call, errno := range calls {
		filter = append(filter,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: call},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)})
	}
	filter = append(filter, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return errno
	}
	return nil
}

func refusesLinks(dir string) error {
	if err := os.WriteFile(filepath.Join(dir, "a"), nil, 0o600); err != nil {
		return err
	}
	if err := os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "b")); !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("a second name could be had: %v", err)
	}
	return nil
}

func storesAll(m Mailbox) error {
	b, err := m.Begin()
	if err != nil {
		return err
	}
	for i, mail := range []string{"one\r\n", "two\r\n"} {
		if _, err := b.Add(testID(i), strings.NewReader(mail)); err != nil {
			return err
		}
	}
	_, err = b.Commit(context.Background(), noRecord)
	return join(err, b.Discard())
}

// keepsTaken holds that a name that is taken is not replaced.
func keepsTaken(m *Maildir) error {
	b, err := m.Begin()
	if err != nil {
		return err
	}
	message, err := b.Add(testID(9), strings.NewReader("mail\r\n"))
	if err != nil {
		return err
	}
	path := filepath.Join(m.path, "new", message.Location.Name)
	if err := os.WriteFile(path, []byte("taken\n"), 0o600); err != nil {
		return err
	}
	if _, err := b.Commit(context.Background(), noRecord); err == nil || !strings.Contains(err.Error(), "move that file away") {
		return fmt.Errorf("over a taken name Commit said %v", err)
	}
	return b.Discard()
}

// locksDot holds that a dot lock is whole, keeps others out, and goes again.
func locksDot(dir string, o Options) error {
	path := filepath.Join(dir, "box")
	l, err := lockMbox(context.Background(), path, o, true)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(path + ".lock")
	if want := fmt.Sprintf("%d:%s\n", os.Getpid(), testHost); err != nil || string(text) != want {
		return fmt.Errorf("the dot lock says %q, %v", text, err)
	}
	own, err := newLockFile(dir, o)
	if err != nil {
		return err
	}
	if taken, err := own.linkTo(path+".lock", o); !taken || err != nil {
		return fmt.Errorf("a dot lock that is there was said to be taken: %v, %v", taken, err)
	}
	if err := join(os.Remove(own.path), l.unlock()); err != nil {
		return err
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.lock")); len(left) > 0 {
		return fmt.Errorf("left behind: %q", left)
	}
	return nil
}
