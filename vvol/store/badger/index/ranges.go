package index

import (
	"cmp"
	"context"
	"slices"

	"vvsim/vvol/store"
)

// Walk yields the maximal ranges of a kind from byte from on, until yield returns
// false; base matters for store.Different only. It takes the lock for reading for one
// leaf at a time, so that I/O goes on. Errors: store.ErrGone, ctx.Err().
func (x *Index) Walk(ctx context.Context, v, base *Volume, kind store.RangeKind, from uint64, yield func(store.Range) bool) error {
	x.RLock()
	numbers := Leaves(v.Head)
	if base != nil {
		numbers = Leaves(v.Head, base.Head)
	}
	size := v.Size
	x.RUnlock()
	var run store.Range
	var in [LeafBlocks]bool
	for _, number := range numbers {
		if (number+1)*LeafBlocks*BlockSize <= from {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := x.inspect(v, base, kind, number, &in); err != nil {
			return err
		}
		for i, yes := range in {
			at := (number*LeafBlocks + uint64(i)) * BlockSize
			if !yes || at >= size || at+BlockSize <= from {
				continue
			}
			if run.Length > 0 && run.Offset+run.Length == at {
				run.Length += BlockSize
				continue
			}
			if run.Length > 0 && !yield(run) {
				return nil
			}
			run = store.Range{Offset: max(at, from), Length: at + BlockSize - max(at, from)}
		}
	}
	if run.Length > 0 {
		yield(run)
	}
	return nil
}

// inspect judges the blocks of one leaf.
func (x *Index) inspect(v, base *Volume, kind store.RangeKind, number uint64, in *[LeafBlocks]bool) error {
	x.RLock()
	defer x.RUnlock()
	if v.Gone || base != nil && base.Gone {
		return store.ErrGone
	}
	var others []*Volume
	if kind == store.Unshared {
		for _, o := range x.Volumes {
			if o != v && o.Family == v.Family {
				others = append(others, o)
			}
		}
	}
	first := number * LeafBlocks
	for i := range in {
		block := first + uint64(i)
		loc := v.Head.Find(block)
		switch kind {
		case store.Allocated:
			in[i] = loc.Data()
		case store.Unshared:
			in[i] = loc.Data() && (v.Head.Get(block) != Absent || !seenBy(others, block, loc))
		case store.Different:
			theirs := Absent
			if block*BlockSize < base.Size {
				theirs = base.Head.Find(block)
			}
			in[i] = loc != theirs && (loc.Data() || theirs.Data())
		}
	}
	return nil
}

// seenBy tells whether another volume reads the same copy of a block.
func seenBy(others []*Volume, block uint64, loc Location) bool {
	for _, o := range others {
		if block*BlockSize < o.Size && o.Head.Find(block) == loc {
			return true
		}
	}
	return false
}

// Pieces divides a copy of n bytes between offsets of two chains into ranges of at most
// so many bytes, from the copy's start: those that either chain may know something of. R.
func Pieces(dst *Layer, off uint64, src *Layer, srcOff, n, most uint64) (all []Span) {
	known := append(knownBytes(dst, off, n), knownBytes(src, srcOff, n)...)
	slices.SortFunc(known, func(a, b Span) int { return cmp.Compare(a.First, b.First) })
	var done uint64
	for _, k := range known {
		for first := max(k.First, done); first < k.Last; first = done {
			done = min(k.Last, first+most)
			all = append(all, Span{First: first, Last: done})
		}
	}
	return all
}

// knownBytes lists what of n bytes from off on lies in leaves of a chain, counted from off.
func knownBytes(l *Layer, off, n uint64) (all []Span) {
	const leafBytes = LeafBlocks * BlockSize
	for _, number := range Leaves(l) {
		first, last := max(number*leafBytes, off), min((number+1)*leafBytes, off+n)
		if first < last {
			all = append(all, Span{First: first - off, Last: last - off})
		}
	}
	return all
}
