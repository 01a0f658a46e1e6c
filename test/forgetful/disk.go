// Package forgetful is a file system in memory that loses its power on command, for tests of what programs flush and in
// which order.
//
// What programs do to it is theirs to see at once, as with any file system. What a power cut leaves is another matter:
// the content of a file survives by fsync of the file, a name in a folder by fsync of that folder, and whatever has no
// name from the root down is gone. [Loss] says how much more than that survives, since a disk may have been faster than
// anybody asked it to be.
//
// It is mounted by FUSE ([Disk.Mount]), so that programs use it as they use the real ones: with locks, shared memory,
// hard links and renames that replace nothing.
package forgetful

import (
	"maps"
	"sync"
	"syscall"
	"time"
)

// Disk is what such a file system holds. Its methods may be called by several goroutines.
type Disk struct {
	mu      sync.Mutex
	root    *node
	nodes   map[uint64]*node // by number; they stay when their last name is gone, since someone may have them open
	journal []change         // of names, since all was flushed
	logged  int              // how many of those a journal that is flushed in order has on the disk
}

// rootNumber is FUSE's for the root.
const rootNumber = 1

// node is a file or a folder.
type node struct {
	number   uint64
	mode     uint32 // type and permissions
	uid, gid uint32
	modified time.Time
	names    int // how many it has
	touched  int // the length of the journal after the last change of its names, or of the names in it

	// Of a file.
	data    []byte
	flushed []byte  // data at the last flush
	writes  []write // since then

	// Of a folder.
	entries map[string]*node
	before  map[string]*node // entries when the journal began
	logged  int              // how much of the journal was there at the last flush
}

// write is a change of a file: bytes written at a place, or its new length.
type write struct {
	at   int64
	data []byte // nil: the length is now at
}

// change is one operation on names: all its edits happen or none does, as far as they concern the same folder.
type change []edit

// edit gives a name in a folder to a node, or takes it away when that is nil.
type edit struct {
	folder *node
	name   string
	node   *node
}

// New returns an empty disk.
func New() *Disk {
	d := &Disk{nodes: map[uint64]*node{}}
	d.root = d.add(syscall.S_IFDIR|0o755, 0, 0)
	return d
}

// add makes a node that has no name yet.
func (d *Disk) add(mode, uid, gid uint32) *node {
	n := &node{number: rootNumber + uint64(len(d.nodes)), mode: mode, uid: uid, gid: gid, modified: time.Now()}
	if n.isFolder() {
		n.entries, n.before = map[string]*node{}, map[string]*node{}
	}
	d.nodes[n.number] = n
	return n
}

func (n *node) isFolder() bool { return n.mode&syscall.S_IFMT == syscall.S_IFDIR }

// rename makes the edits of one operation.
func (d *Disk) rename(edits ...edit) {
	now := time.Now()
	d.journal = append(d.journal, edits)
	for _, e := range edits {
		touched := []*node{e.folder}
		if old := e.folder.entries[e.name]; old != nil {
			old.names--
			touched = append(touched, old)
			delete(e.folder.entries, e.name)
		}
		if e.node != nil {
			e.node.names++
			touched = append(touched, e.node)
			e.folder.entries[e.name] = e.node
		}
		for _, n := range touched {
			n.touched = len(d.journal)
		}
		e.folder.modified = now
	}
}

// write changes a file.
func (n *node) write(w write) {
	n.data = w.apply(n.data)
	n.writes = append(n.writes, w)
	n.modified = time.Now()
}

// apply returns data after the write. Between the old end and what is written there are zeros.
func (w write) apply(data []byte) []byte {
	if w.data == nil {
		return resized(data, w.at)
	}
	if end := w.at + int64(len(w.data)); end > int64(len(data)) {
		data = resized(data, end)
	}
	copy(data[w.at:], w.data)
	return data
}

// resized cuts data or appends zeros.
func resized(data []byte, size int64) []byte {
	if size <= int64(len(data)) {
		return data[:size:size]
	}
	return append(data, make([]byte, size-int64(len(data)))...)
}

// flush is fsync of a file or a folder.
func (d *Disk) flush(n *node) {
	d.logged = max(d.logged, n.touched)
	if n.isFolder() {
		n.logged = len(d.journal)
		return
	}
	n.flushed, n.writes = append([]byte(nil), n.data...), nil
}

// Flush makes everything durable that is there.
func (d *Disk) Flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.journal, d.logged = nil, 0
	for _, n := range d.nodes {
		n.touched, n.logged = 0, 0
		if n.isFolder() {
			n.before = maps.Clone(n.entries)
		} else {
			n.flushed, n.writes = append([]byte(nil), n.data...), nil
		}
	}
}
