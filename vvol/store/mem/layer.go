package mem

import (
	"vvsim/vvol/store"
)

type block [blockSize]byte

// layer is one level of a chain. Guarded by Engine.mu.
type layer struct {
	parent   *layer
	children int               // layers whose parent this is
	volume   *volume           // the volume whose head this is, nil when frozen
	blocks   map[uint64]*block // nil value: reads as zeros, whatever lies below
	pool     store.Pool
	depth    int // layers down to the root, this one included
}

func newLayer(parent *layer, pool store.Pool) *layer {
	l := &layer{parent: parent, blocks: map[uint64]*block{}, pool: pool, depth: 1}
	if parent != nil {
		parent.children++
		l.depth = parent.depth + 1
	}
	return l
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
	for l != nil && l.volume == nil && l.children == 0 {
		e.pools[l.pool] -= l.held()
		delete(e.layers, l)
		if l = l.parent; l != nil {
			l.children--
		}
	}
	if l != nil && l.volume == nil && l.children == 1 {
		e.merge(l)
	}
}

// merge moves what is visible of l into its only child.
func (e *Engine) merge(l *layer) {
	var child *layer
	for c := range e.layers {
		if c.parent == l {
			child = c
		}
	}
	for n, b := range l.blocks {
		_, hidden := child.blocks[n]
		if !hidden {
			child.blocks[n] = b
		}
		if b != nil {
			e.pools[l.pool] -= blockSize
			if !hidden {
				e.pools[child.pool] += blockSize
			}
		}
	}
	child.parent = l.parent
	delete(e.layers, l)
	for c := range e.layers {
		c.depth = 0
		for range c.chain {
			c.depth++
		}
	}
}
