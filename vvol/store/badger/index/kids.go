package index

import "math/bits"

// kids are up to fanOut of something, by number; there is room for those there are only.
type kids[K any] struct {
	set  uint64 // the numbers of those there are
	list []*K   // in order
}

// get returns the kid whose number the lowest bits of n are, or nil.
func (k *kids[K]) get(n uint64) *K {
	bit := uint64(1) << (n & fanMask)
	if k.set&bit == 0 {
		return nil
	}
	return k.list[bits.OnesCount64(k.set&(bit-1))]
}

// slot returns where the kid of that number is, with nil for one that there was not: the
// caller puts it there before anything else happens to them.
func (k *kids[K]) slot(n uint64) **K {
	bit := uint64(1) << (n & fanMask)
	i := bits.OnesCount64(k.set & (bit - 1))
	if k.set&bit == 0 {
		k.set |= bit
		k.list = insert(k.list, i, nil)
	}
	return &k.list[i]
}

// from is the set of the numbers from that one on.
func (k *kids[K]) from(n uint64) uint64 {
	return k.set >> (n & fanMask) << (n & fanMask)
}
