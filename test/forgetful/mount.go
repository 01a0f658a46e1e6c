package forgetful

import (
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// patience is how long Unmount waits for processes that have something open: far longer than any takes to die.
const patience = time.Minute

// Mount is a disk in use.
type Mount struct {
	disk   *Disk
	dir    string
	server *fuse.Server
	gone   sync.Once

	// All below under disk.mu.
	changes  int
	cutAt    int // negative: never
	answered bool
	off      bool
	cut      chan struct{} // closed when the power goes
	dead     chan struct{} // closed when those who wait for an answer are to be told that there is none
}

// Mount mounts the disk at a folder, until Unmount or the end of the test. It fails the test where that is not possible.
func (d *Disk) Mount(tb testing.TB, dir string) *Mount {
	tb.Helper()
	m := &Mount{disk: d, dir: dir, cutAt: -1, cut: make(chan struct{}), dead: make(chan struct{})}
	if err := m.mount(); err != nil {
		tb.Fatalf("a file system that loses its power needs FUSE: %v; run the tests as root, with /dev/fuse (modprobe fuse; "+
			"in a container --device /dev/fuse --cap-add SYS_ADMIN)", err)
	}
	tb.Cleanup(func() { m.Unmount(tb) })
	return m
}

// mount does by itself what fusermount is for.
func (m *Mount) mount() error {
	device, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening /dev/fuse: %w", err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=%o,user_id=%d,group_id=%d,default_permissions", device, m.disk.root.mode, os.Geteuid(), os.Getegid())
	if err := unix.Mount("forgetful", m.dir, "fuse.forgetful", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		unix.Close(device)
		return fmt.Errorf("mounting: %w", err)
	}
	m.server, err = fuse.NewServer(&fileSystem{fuse.NewDefaultRawFileSystem(), m, map[uint64][]fuse.DirEntry{}}, fmt.Sprintf("/dev/fd/%d", device), &fuse.MountOptions{
		ExplicitDataCacheControl: true, // nobody but the kernel changes anything
		DisableXAttrs:            true,
		DisableReadDirPlus:       true,
		Logger:                   log.New(io.Discard, "", 0), // it complains of requests that came too late for an answer
	})
	if err != nil {
		unix.Unmount(m.dir, unix.MNT_DETACH)
		return err
	}
	go m.server.Serve()
	return m.endPolling()
}

// endPolling has the kernel ask once whether files can be waited for. The answer is no, and it must not come when Go's
// runtime asks: that holds up the very threads that are to answer.
func (m *Mount) endPolling() error {
	fd, err := unix.Open(filepath.Join(m.dir, ".go-fuse-epoll-hack"), unix.O_RDONLY|unix.O_CLOEXEC, 0) // the library's
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return nil
}

// CutAfter cuts the power after so many more changes: creations, writes, renames, removals and flushes, of whatever
// process. From then on whoever asks the file system for anything waits in vain. With answered the last change is
// reported to who made it, and the power goes when the next one comes; else its answer is the first that never comes.
func (m *Mount) CutAfter(changes int, answered bool) (cut <-chan struct{}) {
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	m.cutAt, m.answered = m.changes+changes, answered
	return m.cut
}

// Changes returns how many there were.
func (m *Mount) Changes() int {
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	return m.changes
}

// Release ends the waiting of processes that the power cut stopped, with an error. They have to be killed before it, so
// that they never get to know.
func (m *Mount) Release() {
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	m.powerOff()
	select {
	case <-m.dead:
	default:
		close(m.dead)
	}
}

// Unmount takes the disk out of use. No process may have anything open on it.
func (m *Mount) Unmount(tb testing.TB) {
	tb.Helper()
	m.gone.Do(func() {
		// A process that is just being started has for a moment all that this one has open.
		if err := unix.Unmount(m.dir, 0); err != nil {
			unix.Unmount(m.dir, unix.MNT_DETACH)
		}
		m.Release()
		ended := make(chan struct{})
		go func() {
			m.server.Wait()
			close(ended)
		}()
		select {
		case <-ended:
		case <-time.After(patience):
			tb.Errorf("%s is still in use%s", m.dir, m.users())
		}
	})
}

// users names the files that this process has open there.
func (m *Mount) users() string {
	var open string
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, link := range links {
		if path, _ := os.Readlink(link); strings.HasPrefix(path, m.dir) {
			open += "; open: " + path
		}
	}
	return open
}

// powerOff cuts the power.
func (m *Mount) powerOff() {
	if !m.off {
		m.off = true
		close(m.cut)
	}
}

// look does what changes nothing.
func (m *Mount) look(do func(*Disk) fuse.Status) fuse.Status {
	m.disk.mu.Lock()
	if m.off {
		return m.wait()
	}
	defer m.disk.mu.Unlock()
	return do(m.disk)
}

// change does what changes something, and counts it when it did.
func (m *Mount) change(do func(*Disk) fuse.Status) fuse.Status {
	m.disk.mu.Lock()
	if m.changes == m.cutAt {
		m.powerOff()
	}
	if m.off {
		return m.wait()
	}
	status := do(m.disk)
	if status.Ok() {
		m.changes++
	}
	if m.changes == m.cutAt && !m.answered {
		m.powerOff()
		return m.wait()
	}
	defer m.disk.mu.Unlock()
	return status
}

// wait lets go of the disk and waits until there is no more hope.
func (m *Mount) wait() fuse.Status {
	m.disk.mu.Unlock()
	<-m.dead
	return fuse.EIO
}
