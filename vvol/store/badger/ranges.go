package badger

import (
	"context"
	"encoding/binary"
	"slices"

	"vvsim/vvol/store"
)

func be64(b []byte) uint64 { return binary.BigEndian.Uint64(b) }

// walk yields the maximal ranges of a kind from offset from on, until yield
// returns false. It holds the maps for one leaf at a time, so that I/O goes on.
func (e *Engine) walk(ctx context.Context, v, base *volume, kind store.RangeKind, from uint64, yield func(store.Range) bool) error {
	e.maps.RLock()
	numbers := leafNumbers(v.head)
	if base != nil {
		numbers = leafNumbers(v.head, base.head)
	}
	size := v.size
	e.maps.RUnlock()
	var run store.Range
	var in [leafBlocks]bool
	for _, number := range numbers {
		if (number+1)*leafBlocks*blockSize <= from {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := e.inspect(v, base, kind, number, &in); err != nil {
			return err
		}
		for i, yes := range in {
			at := (number*leafBlocks + uint64(i)) * blockSize
			if !yes || at >= size || at+blockSize <= from {
				continue
			}
			if run.Length > 0 && run.Offset+run.Length == at {
				run.Length += blockSize
				continue
			}
			if run.Length > 0 && !yield(run) {
				return nil
			}
			run = store.Range{Offset: max(at, from), Length: at + blockSize - max(at, from)}
		}
	}
	if run.Length > 0 {
		yield(run)
	}
	return nil
}

// leafNumbers lists the leaves that any layer of the chains has. Called with maps held.
func leafNumbers(heads ...*layer) []uint64 {
	seen := map[uint64]struct{}{}
	for _, l := range heads {
		for ; l != nil; l = l.parent {
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

// inspect judges the blocks of one leaf.
func (e *Engine) inspect(v, base *volume, kind store.RangeKind, number uint64, in *[leafBlocks]bool) error {
	e.maps.RLock()
	defer e.maps.RUnlock()
	if v.gone || base != nil && base.gone {
		return store.ErrGone
	}
	var others []*volume
	if kind == store.Unshared {
		for _, o := range e.volumes {
			if o != v && o.family == v.family {
				others = append(others, o)
			}
		}
	}
	first := number * leafBlocks
	for i := range in {
		block := first + uint64(i)
		loc := v.head.find(block)
		switch kind {
		case store.Allocated:
			in[i] = loc.data()
		case store.Unshared:
			in[i] = loc.data() && (v.head.get(block) != absent || !seenBy(others, block, loc))
		case store.Different:
			theirs := absent
			if block*blockSize < base.size {
				theirs = base.head.find(block)
			}
			in[i] = loc != theirs && (loc.data() || theirs.data())
		}
	}
	return nil
}

// seenBy tells whether another volume reads the same copy of a block.
func seenBy(others []*volume, block uint64, loc location) bool {
	for _, o := range others {
		if block*blockSize < o.size && o.head.find(block) == loc {
			return true
		}
	}
	return false
}
