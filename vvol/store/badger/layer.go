package badger

import (
	"vvsim/vvol/store"
)

// location is where a layer keeps a block: a record id and the index in it.
type location uint64

const (
	absent location = 0 // the layer says nothing: look below
	zeroed location = 1 // reads as zeros, whatever is below
)

func at(id uint64, index int) location { return location(id<<6 | uint64(index)) }
func (l location) data() bool          { return l > zeroed }
func (l location) record() uint64      { return uint64(l) >> 6 }
func (l location) index() int          { return int(l & (recordBlocks - 1)) }

// leafBlocks is the number of blocks of one leaf.
const leafBlocks = 512

type leaf [leafBlocks]location

// zeroLeaf is shared by all leaves that are zeroed as a whole; never changed.
var zeroLeaf = func() *leaf {
	l := &leaf{}
	for i := range l {
		l[i] = zeroed
	}
	return l
}()

// layer is one level of chains. Guarded by Engine.maps.
type layer struct {
	id       uint64
	parent   *layer
	children int
	volume   *volume // whose head it is; nil when frozen
	pool     store.Pool
	leaves   map[uint64]*leaf
	records  map[uint64]*record
	zeros    []uint64 // ids of zero entries
	mapped   uint64   // blocks that hold data
	merging  bool     // the collector is retagging its records
}

// record is what memory holds of one record.
type record struct {
	id    uint64
	layer *layer
	n     uint8 // blocks
	live  uint8 // blocks that the map still leads to
}

func newLayer(id uint64, parent *layer, pool store.Pool) *layer {
	l := &layer{id: id, parent: parent, pool: pool, leaves: map[uint64]*leaf{}, records: map[uint64]*record{}}
	if parent != nil {
		parent.children++
	}
	return l
}

// get returns what the layer itself says of a block.
func (l *layer) get(block uint64) location {
	if f := l.leaves[block/leafBlocks]; f != nil {
		return f[block%leafBlocks]
	}
	return absent
}

// set changes one block and returns what was there.
func (l *layer) set(block uint64, to location) (old location) {
	f := l.leaves[block/leafBlocks]
	switch {
	case f == nil:
		f = &leaf{}
		l.leaves[block/leafBlocks] = f
	case f == zeroLeaf:
		c := *zeroLeaf
		f = &c
		l.leaves[block/leafBlocks] = f
	}
	old, f[block%leafBlocks] = f[block%leafBlocks], to
	return old
}

// find resolves a block through the chain: zeroed and absent both mean zeros.
func (l *layer) find(block uint64) location {
	for ; l != nil; l = l.parent {
		if loc := l.get(block); loc != absent {
			return loc
		}
	}
	return absent
}

func (l *layer) depth() (n int) {
	for ; l != nil; l = l.parent {
		n++
	}
	return n
}

// root is the lowest layer, which all relatives share.
func (l *layer) root() *layer {
	for l.parent != nil {
		l = l.parent
	}
	return l
}

// below tells whether some layer under l knows a leaf.
func (l *layer) below(number uint64) bool {
	for p := l.parent; p != nil; p = p.parent {
		if p.leaves[number] != nil {
			return true
		}
	}
	return false
}

// volume is one row. Guarded by Engine.maps.
type volume struct {
	id       store.ID
	size     uint64
	head     *layer
	pool     store.Pool
	readOnly bool
	origin   store.ID // of a snapshot or clone
	family   uint64   // id of the first layer of the family
	gone     bool
}

// point makes a block of a layer lead to a location, with all counts. Called with
// maps held for writing, or before the engine runs.
func (e *Engine) point(l *layer, block uint64, to location) {
	old := l.set(block, to)
	if old.data() {
		e.lose(old.record())
	}
	switch {
	case to.data() && !old.data():
		l.mapped++
		e.pools[l.pool] += blockSize
	case old.data() && !to.data():
		l.mapped--
		e.pools[l.pool] -= blockSize
	}
}

// lose counts one block of a record dead.
func (e *Engine) lose(id uint64) {
	r := e.records[id]
	if r == nil {
		return
	}
	r.live--
	e.live--
	if r.live == 0 {
		e.bury(r)
	}
}

// bury hands a record without live blocks to the collector.
func (e *Engine) bury(r *record) {
	delete(e.records, r.id)
	delete(r.layer.records, r.id)
	e.held -= uint64(r.n)
	e.dead = append(e.dead, r.id)
}

// adopt adds a record whose blocks are all live so far.
func (e *Engine) adopt(l *layer, id uint64, n int) {
	r := &record{id: id, layer: l, n: uint8(n), live: uint8(n)}
	e.records[id], l.records[id] = r, r
	e.held += uint64(n)
	e.live += uint64(n)
}

// zero makes blocks [first, last) of a layer read as zeros. What neither the
// layer nor one below knows needs no mark; while the maps are rebuilt, layers
// below may still be incomplete, and rebuilding marks all above a parent.
func (e *Engine) zero(l *layer, first, last uint64, rebuilding bool) {
	for first < last {
		number := first / leafBlocks
		end := min(last, (number+1)*leafBlocks)
		f := l.leaves[number]
		switch {
		case f == zeroLeaf, f == nil && !l.below(number) && !(rebuilding && l.parent != nil):
		case f == nil && end-first == leafBlocks:
			l.leaves[number] = zeroLeaf
		default:
			for b := first; b < end; b++ {
				e.point(l, b, zeroed)
			}
			if end-first == leafBlocks {
				l.leaves[number] = zeroLeaf
			}
		}
		first = end
	}
}
