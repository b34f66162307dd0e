package index

import (
	"math"
	"math/bits"
	"sync/atomic"

	"vvsim/vvol/store"
)

// Layer is one level of chains.
type Layer struct {
	ID     uint64
	Parent *Layer
	Volume *Volume // whose head it is; nil when frozen
	Pool   store.Pool

	Merging bool // its records are becoming those of its only child, which stays the only one

	Zeros              []ZeroRow // changed by the drainer, which reads them without the lock
	RowPage            uint64    // of the journal: behind the rows that made the layer, gave it another pool or took its volume
	LastPage, ZeroPage uint64    // of the journal: behind the last group that changed or zeroed it
	LastID, ZeroID     uint64    // last record and zero entry

	children []*Layer
	place    int // among the children of the parent
	chunks   tree
	records  *Record // the first of a list
	zeroed   bool    // some blocks may read as zeros
	mapped   uint64  // blocks that hold data
	dirty    uint64  // blocks that are in the journal only

	// Sums of a layer's chain; see family.go.
	shown     uint64        // blocks that hold data, looked at from this layer
	alone     uint64        // of these, those in layers below that are seen through this head only
	forgotten uint64        // chunks before it are not seen through this layer; all of frozen layers without children
	seeing    atomic.Uint32 // the first child that counted when two were found last, see seers
}

// NewLayer returns a layer without parent that knows of nothing.
func NewLayer(id uint64, pool store.Pool) *Layer {
	return &Layer{ID: id, Pool: pool}
}

// SetParent puts a layer that has no parent above one. W.
func (l *Layer) SetParent(parent *Layer) {
	l.Parent, l.place = parent, len(parent.children)
	parent.children = append(parent.children, l)
}

// leave takes a layer from its parent.
func (l *Layer) leave() {
	p := l.Parent
	last := len(p.children) - 1
	p.children[l.place] = p.children[last]
	p.children[l.place].place = l.place
	p.children[last] = nil
	p.children = p.children[:last]
	if last == 0 {
		p.forgotten = math.MaxUint64
	}
}

// Children is the number of layers above. R, or whoever keeps the structure still.
func (l *Layer) Children() int { return len(l.children) }

// Child is the child of a layer that has one only. R, or whoever keeps the structure still.
func (l *Layer) Child() *Layer { return l.children[0] }

// Empty tells whether the layer says nothing at all. R, or the committer when the parent
// is not merging.
func (l *Layer) Empty() bool { return len(l.chunks) == 0 }

// Get returns what the layer itself says of a block. R.
func (l *Layer) Get(block uint64) Location {
	return l.chunks.get(block)
}

// set changes one block and returns what was there.
func (l *Layer) set(block uint64, to Location) (old Location) { return l.chunks.set(block, to) }

// Find resolves a block through the chain: Zeroed and Absent both mean zeros. R.
func (l *Layer) Find(block uint64) Location {
	for ; l != nil; l = l.Parent {
		if loc := l.chunks.get(block); loc != Absent {
			return loc
		}
	}
	return Absent
}

// FindAll resolves the blocks from first on through the chain, as many as there are
// locations. R.
func (l *Layer) FindAll(first uint64, locs []Location) {
	clear(locs)
	end := first + uint64(len(locs))
	for at := first; at < end; {
		number := at / ChunkBlocks
		rest := within(number, at, end)
		base := number*ChunkBlocks - first // wraps around for blocks before first, which are not in rest
		for p := l; p != nil && rest != 0; p = p.Parent {
			c := p.chunks.at(number)
			for here := c.known() & rest; here != 0; here &= here - 1 {
				i := uint64(bits.TrailingZeros64(here))
				locs[base+i] = c.get(i)
			}
			rest &^= c.known()
		}
		at = (number + 1) * ChunkBlocks
	}
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

// next returns the lowest number from one on of which a layer of the chain knows,
// or noChunk.
func (l *Layer) next(number uint64) uint64 {
	lowest := uint64(noChunk)
	for ; l != nil && lowest > number; l = l.Parent {
		lowest = min(lowest, l.chunks.next(number))
	}
	return lowest
}

// Known tells whether any layer of the chain says something near blocks [first, last),
// which are some. R.
func (l *Layer) Known(first, last uint64) bool {
	return l.next(first/ChunkBlocks) <= (last-1)/ChunkBlocks
}

// Fresh is the number of blocks in [first, last) that hold no data in the layer
// itself: writing them allocates. R.
func (l *Layer) Fresh(first, last uint64) (n uint64) {
	for at := first; at < last; {
		number := at / ChunkBlocks
		n += count(within(number, at, last) &^ l.chunks.at(number).data)
		at = (number + 1) * ChunkBlocks
	}
	return n
}
