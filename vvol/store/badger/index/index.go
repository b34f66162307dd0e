package index

import (
	"fmt"
	"math/bits"
	"sync"

	"vvsim/vvol/store"
)

// Index is the memory of one engine; see the package comment for its lock.
type Index struct {
	sync.RWMutex

	Volumes map[store.ID]*Volume
	Layers  map[uint64]*Layer
	Limits  map[store.Pool]uint64 // bytes that the layers of a pool may hold; 0 is no limit

	// Rebuilding tells that layers may still be incomplete, while the engine opens.
	Rebuilding bool
	RowsSet    uint64 // page of the journal before which Badger has all rows

	head     func() uint64       // of the journal
	orphans  map[*Layer]struct{} // layers without volume and children
	links    map[*Layer]struct{} // layers without volume and with one child
	segments map[uint64]*segment
	records  int                   // that have live blocks
	pools    map[store.Pool]uint64 // bytes held by layers
	dead     []Burial              // in order of their death
	held     uint64                // blocks in all records
	live     uint64                // of these, blocks that a layer leads to
	dirty    uint64                // blocks that are in the journal only
	unfilled []unfilled            // while rebuilding
	crowded  map[*Layer]struct{}   // layers with many zero rows
}

// New returns an empty index. head tells the page behind the journal's last group, and
// is called with the lock held.
func New(head func() uint64) *Index {
	return &Index{head: head, Volumes: map[store.ID]*Volume{}, Layers: map[uint64]*Layer{}, Limits: map[store.Pool]uint64{},
		orphans: map[*Layer]struct{}{}, links: map[*Layer]struct{}{},
		segments: map[uint64]*segment{}, pools: map[store.Pool]uint64{}, crowded: map[*Layer]struct{}{}}
}

// Volume is one volume and the layer that it writes to.
type Volume struct {
	ID       store.ID
	Size     uint64 // bytes
	Head     *Layer
	Pool     store.Pool
	ReadOnly bool
	Origin   store.ID // of a snapshot or clone
	Family   uint64   // id of the first layer of the family
	Gone     bool
}

// Holds tells why n bytes at off of the volume cannot be read: store.ErrGone,
// store.ErrOutOfRange. R.
func (v *Volume) Holds(off, n uint64) error {
	switch {
	case v.Gone:
		return store.ErrGone
	case off > v.Size || n > v.Size-off:
		return fmt.Errorf("%w: %d bytes at %d of %d", store.ErrOutOfRange, n, off, v.Size)
	}
	return nil
}

// Lookup finds a volume, or fails with store.ErrNotFound. R.
func (x *Index) Lookup(id store.ID) (*Volume, error) {
	v := x.Volumes[id]
	if v == nil {
		return nil, fmt.Errorf("%w: %v", store.ErrNotFound, id)
	}
	return v, nil
}

// PoolUsage is the bytes that the layers of a pool hold. R.
func (x *Index) PoolUsage(pool store.Pool) uint64 { return x.pools[pool] }

// Counts are the gauges of an index.
type Counts struct {
	Held    uint64 // blocks in all records
	Live    uint64 // of these, blocks that a layer leads to
	Dirty   uint64 // blocks that are in the journal only
	Records int    // that have live blocks
	Dead    int    // records that wait for their deletion
}

// Counts returns the gauges. R.
func (x *Index) Counts() Counts {
	return Counts{Held: x.held, Live: x.live, Dirty: x.dirty, Records: x.records, Dead: len(x.dead)}
}

// OrphanBlocks is the number of blocks of layers that will be dropped. R.
func (x *Index) OrphanBlocks() (n uint64) {
	for l := range x.orphans {
		n += l.mapped
	}
	return n
}

// point makes a block of a layer lead to a location, with all counts.
func (x *Index) point(l *Layer, block uint64, to Location) {
	old := l.set(block, to)
	switch {
	case old.Journaled():
		x.dirty--
		l.dirty--
	case old.Data():
		x.lose(old.Record())
	}
	if to.Journaled() {
		x.dirty++
		l.dirty++
	}
	switch {
	case to.Data() && !old.Data():
		l.mapped++
		x.pools[l.Pool] += BlockSize
	case old.Data() && !to.Data():
		l.mapped--
		x.pools[l.Pool] -= BlockSize
	}
}

// Write lets count blocks from first on lead to the pages of the journal from page on;
// end is the page behind their group. W.
func (x *Index) Write(l *Layer, first, count, page, end uint64) {
	l.LastPage = end
	for at := first; at < first+count; {
		number := at / ChunkBlocks
		set := within(number, at, first+count)
		x.supersede(l, number, set, true)
		if bits.OnesCount64(set) > loneMost {
			l.chunks.own(number) // at once, as it will be
		}
		for stop := min(first+count, (number+1)*ChunkBlocks); at < stop; at++ {
			x.point(l, at, Journaled(page+at-first))
		}
	}
}

// ZeroGroup makes blocks [first, last) read as zeros by a group of the journal; end is
// the page behind it. W.
func (x *Index) ZeroGroup(l *Layer, first, last, end uint64) {
	l.LastPage, l.ZeroPage = end, end
	x.Zero(l, first, last)
}

// Zero makes blocks [first, last) of a layer read as zeros. What neither the layer nor
// one below knows needs no mark. While the index is rebuilt, layers below may still be
// incomplete, and are looked at by Rebuilt. W.
func (x *Index) Zero(l *Layer, first, last uint64) {
	next := l.next
	if x.Rebuilding && l.Parent != nil {
		x.unfilled = append(x.unfilled, unfilled{l, first, last})
		next = l.chunks.next
	}
	for number := next(first / ChunkBlocks); number*ChunkBlocks < last; number = next(number + 1) {
		x.zeroChunk(l, number, within(number, first, last))
	}
}

// zeroChunk makes a set of blocks of a chunk read as zeros.
func (x *Index) zeroChunk(l *Layer, number, set uint64) {
	x.supersede(l, number, set, false)
	l.zeroed = true
	for data := l.chunks.at(number).data & set; data != 0; data &= data - 1 {
		x.point(l, number*ChunkBlocks+uint64(bits.TrailingZeros64(data)), Zeroed)
	}
	if set == everyBlock {
		*l.chunks.slot(number) = zeroChunk
		return
	}
	l.mark(number, set)
}

// unfilled are blocks of a layer that read as zeros where it knows of nothing else.
type unfilled struct {
	layer       *Layer
	first, last uint64
}

// Rebuilt ends the rebuilding of an index, when all layers are complete. W.
func (x *Index) Rebuilt() {
	for _, u := range x.unfilled {
		below := u.layer.Parent
		for number := below.next(u.first / ChunkBlocks); number*ChunkBlocks < u.last; number = below.next(number + 1) {
			u.layer.mark(number, within(number, u.first, u.last))
		}
	}
	x.unfilled, x.Rebuilding = nil, false
	x.recount()
}
