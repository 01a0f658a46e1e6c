package forgetful

import (
	"maps"
	"slices"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// cacheFor is how long the kernel may remember what it was told: as long as it likes, for nobody else changes anything.
const cacheFor = time.Hour

// fileSystem answers the kernel's requests. Locks are not among them: the kernel keeps those itself for a file system
// that does not offer to.
type fileSystem struct {
	fuse.RawFileSystem // refuses what is not here
	mount              *Mount
	listings           map[uint64][]fuse.DirEntry // of folders that are open, by handle; under disk.mu
}

// String implements [fuse.RawFileSystem].
func (f *fileSystem) String() string { return "forgetful" }

func (n *node) attributes(out *fuse.Attr) {
	out.Ino, out.Mode, out.Uid, out.Gid, out.Nlink = n.number, n.mode, n.uid, n.gid, uint32(n.names)
	if n.isFolder() {
		out.Nlink = 2
	}
	out.Size = uint64(len(n.data))
	out.Blocks, out.Blksize = (out.Size+511)/512, 4096
	out.SetTimes(&n.modified, &n.modified, &n.modified)
}

func (n *node) entry(out *fuse.EntryOut) {
	out.NodeId = n.number
	n.attributes(&out.Attr)
	out.SetEntryTimeout(cacheFor)
	out.SetAttrTimeout(cacheFor)
}

func (f *fileSystem) Lookup(_ <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	return f.mount.look(func(d *Disk) fuse.Status {
		n := d.nodes[in.NodeId].entries[name]
		if n == nil {
			return fuse.ENOENT
		}
		n.entry(out)
		return fuse.OK
	})
}

func (f *fileSystem) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	return f.mount.look(func(d *Disk) fuse.Status {
		d.nodes[in.NodeId].attributes(&out.Attr)
		out.SetTimeout(cacheFor)
		return fuse.OK
	})
}

// SetAttr changes length, permissions, owner and time. All but the length counts as durable at once.
func (f *fileSystem) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	return f.mount.change(func(d *Disk) fuse.Status {
		n := d.nodes[in.NodeId]
		if size, ok := in.GetSize(); ok {
			n.write(write{at: int64(size)})
		}
		if mode, ok := in.GetMode(); ok {
			n.mode = n.mode&syscall.S_IFMT | mode
		}
		if uid, ok := in.GetUID(); ok {
			n.uid = uid
		}
		if gid, ok := in.GetGID(); ok {
			n.gid = gid
		}
		if modified, ok := in.GetMTime(); ok {
			n.modified = modified
		}
		n.attributes(&out.Attr)
		out.SetTimeout(cacheFor)
		return fuse.OK
	})
}

// make gives a new node a name.
func (d *Disk) make(in fuse.InHeader, mode uint32, name string) (*node, fuse.Status) {
	folder := d.nodes[in.NodeId]
	if folder.entries[name] != nil {
		return nil, fuse.Status(syscall.EEXIST)
	}
	n := d.add(mode, in.Uid, in.Gid)
	d.rename(edit{folder, name, n})
	return n, fuse.OK
}

func (f *fileSystem) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return f.mount.change(func(d *Disk) fuse.Status {
		n, status := d.make(in.InHeader, syscall.S_IFDIR|in.Mode&07777, name)
		if status.Ok() {
			n.entry(out)
		}
		return status
	})
}

func (f *fileSystem) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	return f.mount.change(func(d *Disk) fuse.Status {
		if in.Mode&syscall.S_IFMT != syscall.S_IFREG {
			return fuse.EPERM
		}
		n, status := d.make(in.InHeader, in.Mode, name)
		if status.Ok() {
			n.entry(out)
		}
		return status
	})
}

func (f *fileSystem) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	return f.mount.change(func(d *Disk) fuse.Status {
		n, status := d.make(in.InHeader, syscall.S_IFREG|in.Mode&07777, name)
		if status.Ok() {
			n.entry(&out.EntryOut)
			out.OpenFlags = fuse.FOPEN_KEEP_CACHE
		}
		return status
	})
}

func (f *fileSystem) Unlink(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return f.remove(in.NodeId, name)
}

func (f *fileSystem) Rmdir(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return f.remove(in.NodeId, name)
}

func (f *fileSystem) remove(folder uint64, name string) fuse.Status {
	return f.mount.change(func(d *Disk) fuse.Status {
		from := d.nodes[folder]
		switch n := from.entries[name]; {
		case n == nil:
			return fuse.ENOENT
		case len(n.entries) > 0:
			return fuse.Status(syscall.ENOTEMPTY)
		}
		d.rename(edit{from, name, nil})
		return fuse.OK
	})
}

func (f *fileSystem) Rename(_ <-chan struct{}, in *fuse.RenameIn, name, newName string) fuse.Status {
	return f.mount.change(func(d *Disk) fuse.Status {
		from, to := d.nodes[in.NodeId], d.nodes[in.Newdir]
		n, taken := from.entries[name], to.entries[newName]
		switch {
		case n == nil:
			return fuse.ENOENT
		case in.Flags&^unix.RENAME_NOREPLACE != 0:
			return fuse.EINVAL
		case taken != nil && in.Flags&unix.RENAME_NOREPLACE != 0:
			return fuse.Status(syscall.EEXIST)
		case taken == n:
			return fuse.OK // rename(2): two names of one file both stay
		case taken != nil && len(taken.entries) > 0:
			return fuse.Status(syscall.ENOTEMPTY)
		}
		d.rename(edit{from, name, nil}, edit{to, newName, n})
		return fuse.OK
	})
}

func (f *fileSystem) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	return f.mount.change(func(d *Disk) fuse.Status {
		n, folder := d.nodes[in.Oldnodeid], d.nodes[in.NodeId]
		if folder.entries[name] != nil {
			return fuse.Status(syscall.EEXIST)
		}
		d.rename(edit{folder, name, n})
		n.entry(out)
		return fuse.OK
	})
}

func (f *fileSystem) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return f.mount.look(func(*Disk) fuse.Status {
		out.OpenFlags = fuse.FOPEN_KEEP_CACHE // the kernel sends O_TRUNC as a SetAttr of its own
		return fuse.OK
	})
}

func (f *fileSystem) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	n := 0
	status := f.mount.look(func(d *Disk) fuse.Status {
		if data := d.nodes[in.NodeId].data; in.Offset < uint64(len(data)) {
			n = copy(buf, data[in.Offset:])
		}
		return fuse.OK
	})
	return fuse.ReadResultData(buf[:n]), status
}

// Write takes bytes that a program wrote. What it put into shared memory comes whenever the kernel likes, so that is not
// counted; nor is it waited for, lest the kernel itself get stuck.
func (f *fileSystem) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	do := func(d *Disk) fuse.Status {
		d.nodes[in.NodeId].write(write{int64(in.Offset), append([]byte{}, data...)})
		return fuse.OK
	}
	if in.WriteFlags&fuse.WRITE_CACHE != 0 {
		f.mount.disk.mu.Lock()
		defer f.mount.disk.mu.Unlock()
		if f.mount.off {
			return 0, fuse.EIO
		}
		return uint32(len(data)), do(f.mount.disk)
	}
	return uint32(len(data)), f.mount.change(do)
}

func (f *fileSystem) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return f.mount.change(func(d *Disk) fuse.Status {
		d.flush(d.nodes[in.NodeId])
		return fuse.OK
	})
}

func (f *fileSystem) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return f.Fsync(nil, in)
}

// OpenDir takes down what the folder holds now: who reads it while it changes sees that.
func (f *fileSystem) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return f.mount.look(func(d *Disk) fuse.Status {
		n := d.nodes[in.NodeId]
		list := []fuse.DirEntry{{Name: ".", Ino: n.number, Mode: n.mode}, {Name: "..", Mode: n.mode}}
		for _, name := range slices.Sorted(maps.Keys(n.entries)) {
			list = append(list, fuse.DirEntry{Name: name, Ino: n.entries[name].number, Mode: n.entries[name].mode})
		}
		out.Fh = uint64(len(f.listings) + 1)
		f.listings[out.Fh] = list
		return fuse.OK
	})
}

func (f *fileSystem) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.mount.look(func(*Disk) fuse.Status {
		list := f.listings[in.Fh]
		for _, e := range list[min(in.Offset, uint64(len(list))):] {
			if !out.AddDirEntry(e) {
				break
			}
		}
		return fuse.OK
	})
}

func (f *fileSystem) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	return f.mount.look(func(*Disk) fuse.Status {
		*out = fuse.StatfsOut{Bsize: 4096, Frsize: 4096, Blocks: 1 << 24, Bfree: 1 << 24, Bavail: 1 << 24, NameLen: 255}
		return fuse.OK
	})
}
