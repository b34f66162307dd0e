package index

import (
	"slices"

	"vvsim/vvol/store"
)

// LeafBlocks is the number of blocks of one leaf.
const LeafBlocks = 512

type leaf [LeafBlocks]Location

// zeroLeaf is shared by all leaves that are zeroed as a whole; never changed.
var zeroLeaf = func() *leaf {
	l := &leaf{}
	for i := range l {
		l[i] = Zeroed
	}
	return l
}()

// Layer is one level of chains.
type Layer struct {
	ID     uint64
	Parent *Layer
	Volume *Volume // whose head it is; nil when frozen
	Pool   store.Pool

	Merging bool   // its records are becoming those of its only child, which stays the only one
	Child   *Layer // while merging

	Zeros              []uint64 // ids of zero entries; changed by the drainer, which reads them without the lock
	RowPage            uint64   // of the journal: behind the row that made the layer
	LastPage, ZeroPage uint64   // of the journal: behind the last group that changed or zeroed it
	LastID, ZeroID     uint64   // last record and zero entry

	children int
	leaves   map[uint64]*leaf
	records  map[uint64]*Record
	mapped   uint64 // blocks that hold data
	dirty    uint64 // blocks that are in the journal only
}

// NewLayer returns a layer without parent that knows of nothing.
func NewLayer(id uint64, pool store.Pool) *Layer {
	return &Layer{ID: id, Pool: pool, leaves: map[uint64]*leaf{}, records: map[uint64]*Record{}}
}

// SetParent puts a layer that has no parent above one. W.
func (l *Layer) SetParent(parent *Layer) {
	l.Parent = parent
	parent.children++
}

// Children is the number of layers above. R, or whoever keeps the structure still.
func (l *Layer) Children() int { return l.children }

// Empty tells whether the layer says nothing at all. R, or the committer when the parent
// is not merging.
func (l *Layer) Empty() bool { return len(l.leaves) == 0 }

// Get returns what the layer itself says of a block. R.
func (l *Layer) Get(block uint64) Location {
	if f := l.leaves[block/LeafBlocks]; f != nil {
		return f[block%LeafBlocks]
	}
	return Absent
}

// set changes one block and returns what was there.
func (l *Layer) set(block uint64, to Location) (old Location) {
	f := l.leaves[block/LeafBlocks]
	switch {
	case f == nil:
		f = &leaf{}
		l.leaves[block/LeafBlocks] = f
	case f == zeroLeaf:
		c := *zeroLeaf
		f = &c
		l.leaves[block/LeafBlocks] = f
	}
	old, f[block%LeafBlocks] = f[block%LeafBlocks], to
	return old
}

// Find resolves a block through the chain: Zeroed and Absent both mean zeros. R.
func (l *Layer) Find(block uint64) Location {
	for ; l != nil; l = l.Parent {
		if loc := l.Get(block); loc != Absent {
			return loc
		}
	}
	return Absent
}

// Mapped is the number of blocks for which the layer itself holds data. R.
func (l *Layer) Mapped() uint64 { return l.mapped }

// Depth is the number of layers of the chain, itself included. R, or whoever keeps
// the structure still.
func (l *Layer) Depth() (n int) {
	for ; l != nil; l = l.Parent {
		n++
	}
	return n
}

// below tells whether some layer under l knows a leaf.
func (l *Layer) below(number uint64) bool {
	for p := l.Parent; p != nil; p = p.Parent {
		if p.leaves[number] != nil {
			return true
		}
	}
	return false
}

// Known tells whether any layer of the chain says something near blocks [first, last),
// which are some. R.
func (l *Layer) Known(first, last uint64) bool {
	for p := l; p != nil; p = p.Parent {
		if uint64(len(p.leaves)) < (last-first)/LeafBlocks {
			for number := range p.leaves {
				if number >= first/LeafBlocks && number <= (last-1)/LeafBlocks {
					return true
				}
			}
			continue
		}
		for number := first / LeafBlocks; number <= (last-1)/LeafBlocks; number++ {
			if p.leaves[number] != nil {
				return true
			}
		}
	}
	return false
}

// Fresh is the number of blocks in [first, last) that hold no data in the layer
// itself: writing them allocates. R.
func (l *Layer) Fresh(first, last uint64) (n uint64) {
	for ; first < last; first++ {
		if !l.Get(first).Data() {
			n++
		}
	}
	return n
}

// Leaves lists the numbers of the leaves that any layer of the chains has, sorted. R.
func Leaves(heads ...*Layer) []uint64 {
	seen := map[uint64]struct{}{}
	for _, l := range heads {
		for ; l != nil; l = l.Parent {
			for n := range l.leaves {
				seen[n] = struct{}{}
			}
		}
	}
	all := make([]uint64, 0, len(seen))
	for n := range seen {
		all = append(all, n)
	}
	slices.Sort(all)
	return all
}
