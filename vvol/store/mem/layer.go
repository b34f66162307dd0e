package mem

import (
	"vvsim/vvol/store"
)

type block [blockSize]byte

// layer is one level of a chain. Guarded by Engine.mu.
type layer struct {
	parent   *layer
	children map[*layer]struct{} // layers whose parent this is
	volume   *volume             // the volume whose head this is, nil when frozen
	blocks   map[uint64]*block   // nil value: reads as zeros, whatever lies below
	pool     store.Pool
}

// push makes a layer above parent the head of v.
func (e *Engine) push(v *volume, parent *layer) {
	l := &layer{parent: parent, children: map[*layer]struct{}{}, volume: v, blocks: map[uint64]*block{}, pool: v.pool}
	if parent != nil {
		parent.children[l] = struct{}{}
	}
	v.head = l
	e.layers++
}

// depth is the number of layers down to the root, this one included.
func (l *layer) depth() (n int) {
	for range l.chain {
		n++
	}
	return n
}

// find resolves block n of the chain from l down: nil for zeros.
func (l *layer) find(n uint64) *block {
	for ; l != nil; l = l.parent {
		if b, ok := l.blocks[n]; ok {
			return b
		}
	}
	return nil
}

// held is the number of bytes in l.
func (l *layer) held() (bytes uint64) {
	for _, b := range l.blocks {
		if b != nil {
			bytes += blockSize
		}
	}
	return bytes
}

// chain yields l and the layers below it.
func (l *layer) chain(yield func(*layer) bool) {
	for ; l != nil; l = l.parent {
		if !yield(l) {
			return
		}
	}
}

// release drops a head or frozen layer that lost its last user, the layers below
// it that were held by it alone, and merges what is left with a single child.
func (e *Engine) release(l *layer) {
	for l != nil && l.volume == nil && len(l.children) == 0 {
		e.pools[l.pool] -= l.held()
		e.layers--
		if l.parent != nil {
			delete(l.parent.children, l)
		}
		l = l.parent
	}
	if l != nil && l.volume == nil && len(l.children) == 1 {
		for child := range l.children {
			e.merge(l, child)
		}
	}
}

// merge moves what is visible of l into its only child.
func (e *Engine) merge(l, child *layer) {
	e.pools[l.pool] -= l.held()
	e.pools[child.pool] -= child.held()
	for n, b := range l.blocks {
		if _, hidden := child.blocks[n]; !hidden {
			child.blocks[n] = b
		}
	}
	e.pools[child.pool] += child.held()
	if child.parent = l.parent; l.parent != nil {
		delete(l.parent.children, l)
		l.parent.children[child] = struct{}{}
	}
	e.layers--
}
