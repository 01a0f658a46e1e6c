package forgetful

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// Loss says what a power cut leaves of changes that were not flushed.
type Loss struct {
	// Journalled is how ext4 and XFS do it: changes of names are on the disk in the order in which they were made, a
	// rename from one folder to another is whole or not at all, and to flush a file or a folder brings along all
	// changes that were made before the last one of its own. Without it each folder is by itself, so a file that was
	// moved may be in both folders or in neither until both were flushed. No program may count on more.
	Journalled bool

	// Survives is the share of them that is on the disk all the same: with 0 none is, with 1 all are, as when only the
	// program died. In between some are, and Seed decides which: of each write some sectors, with zeros in place of the
	// others; a longer length or not; of changes of names the first few.
	Survives float64
	Seed     uint64
}

// AfterCut returns what is on the disk when the power comes back. The disk itself stays as it is.
func (d *Disk) AfterCut(l Loss) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := cut{Loss: l, names: map[*node]map[string]*node{}, copies: map[*node]*node{}, left: New()}
	for _, n := range d.nodes {
		if n.isFolder() {
			c.names[n] = maps.Clone(n.before)
		}
	}
	c.replay(d)
	c.copies[d.root] = c.left.root
	c.fill(c.left.root, d.root)
	c.left.Flush()
	return c.left
}

// Clone returns a disk that holds the same, all of it flushed.
func (d *Disk) Clone() *Disk { return d.AfterCut(Loss{Survives: 1}) }

// cut is a power cut being worked out.
type cut struct {
	Loss
	names  map[*node]map[string]*node // in each folder
	copies map[*node]*node
	left   *Disk
}

// random returns the numbers for a node; they depend on nothing but the seed and the node.
func (c *cut) random(n *node) *rand.Rand { return rand.New(rand.NewPCG(c.Seed, n.number)) }

// replay makes the changes of names that survive.
func (c *cut) replay(d *Disk) {
	ends := map[*node]int{}
	for _, change := range d.journal {
		for _, e := range change {
			if _, known := ends[e.folder]; !known {
				ends[e.folder] = c.end(d, e.folder)
			}
		}
	}
	for i, change := range d.journal {
		for _, e := range change {
			switch {
			case i >= ends[e.folder]:
			case e.node == nil:
				delete(c.names[e.folder], e.name)
			default:
				c.names[e.folder][e.name] = e.node
			}
		}
	}
}

// end says before which of the journal's changes a folder stops.
func (c *cut) end(d *Disk, folder *node) int {
	logged, decider := folder.logged, folder
	if c.Journalled {
		logged, decider = d.logged, d.root // one end for all
	}
	switch {
	case c.Survives <= 0:
		return logged
	case c.Survives >= 1:
		return len(d.journal)
	}
	return logged + c.random(decider).IntN(len(d.journal)-logged+1)
}

// fill gives a folder's copy what the folder has.
func (c *cut) fill(to, from *node) {
	for _, name := range slices.Sorted(maps.Keys(c.names[from])) {
		n := c.names[from][name]
		twin := c.copies[n]
		if twin == nil {
			twin = c.left.add(n.mode, n.uid, n.gid)
			twin.modified = n.modified
			c.copies[n] = twin
			if n.isFolder() {
				c.fill(twin, n)
			} else {
				twin.data = c.content(n)
			}
		}
		twin.names++
		to.entries[name] = twin
	}
}

// sectors are the pieces that a disk writes whole.
var sectors = []int64{512, 4096}

// content is what is left of a file.
func (c *cut) content(n *node) []byte {
	switch {
	case c.Survives <= 0:
		return slices.Clone(n.flushed)
	case c.Survives >= 1:
		return slices.Clone(n.data)
	}
	random := c.random(n)
	sector := sectors[random.IntN(len(sectors))]
	happens := func() bool { return random.Float64() < c.Survives }
	there, length := slices.Clone(n.flushed), int64(len(n.flushed)) // there may be more than what length shows
	for _, w := range n.writes {
		if w.data == nil {
			if happens() {
				there, length = resized(there[:min(length, int64(len(there)))], w.at), w.at
			}
			continue
		}
		end := w.at + int64(len(w.data))
		for from := w.at; from < end; {
			to := min(end, (from/sector+1)*sector)
			if happens() {
				there = write{from, w.data[from-w.at : to-w.at]}.apply(there)
			}
			from = to
		}
		if end > length && happens() {
			length = end - random.Int64N((end-length-1)/sector+1)*sector
		}
	}
	return resized(there, length)
}
