package index

import (
	"cmp"
	"context"
	"math/bits"
	"slices"

	"vvsim/vvol/store"
)

// walkChunks is how many chunks a walk looks at before it lets go of the lock.
const walkChunks = 16

// Walk yields the maximal ranges of a kind from byte from on, until yield returns
// false; base matters for store.Different only. It takes the lock for reading for some
// chunks at a time, so that I/O goes on. Errors: store.ErrGone, ctx.Err().
func (x *Index) Walk(ctx context.Context, v, base *Volume, kind store.RangeKind, from uint64, yield func(store.Range) bool) error {
	w := walk{v: v, base: base, kind: kind, number: from / BlockSize / ChunkBlocks}
	var run store.Range
	for w.number < noChunk {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := x.inspect(&w); err != nil {
			return err
		}
		for _, f := range w.found[:w.n] {
			for set := f.set; set != 0; set &= set - 1 {
				at := (f.number*ChunkBlocks + uint64(bits.TrailingZeros64(set))) * BlockSize
				if at >= w.size || at+BlockSize <= from {
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
	}
	if run.Length > 0 {
		yield(run)
	}
	return nil
}

// walk is what a Walk looks for, and some of what it found.
type walk struct {
	v, base *Volume
	kind    store.RangeKind
	number  uint64 // of the next chunk
	size    uint64 // of v
	n       int
	found   [walkChunks]struct{ number, set uint64 }
}

// inspect judges the blocks of some chunks.
func (x *Index) inspect(w *walk) error {
	x.RLock()
	defer x.RUnlock()
	if w.v.Gone || w.base != nil && w.base.Gone {
		return store.ErrGone
	}
	w.size = w.v.Size
	for w.n = 0; w.n < walkChunks; w.number++ {
		next := w.v.Head.next(w.number)
		if w.base != nil {
			next = min(next, w.base.Head.next(w.number))
		}
		if w.number = next; next == noChunk {
			return nil
		}
		f := &w.found[w.n]
		w.n++
		switch f.number = next; w.kind {
		case store.Allocated:
			f.set = w.v.Head.visible(next)
		case store.Unshared:
			f.set = w.v.Head.unshared(next)
		case store.Different:
			f.set = w.v.different(w.base, next)
		}
	}
	return nil
}

// unshared is the set of blocks of a chunk that hold data and are seen through a head only.
func (l *Layer) unshared(number uint64) uint64 {
	c := l.chunks.at(number)
	set, rest := c.data, ^c.known()
	for p := l.Parent; p != nil && rest != 0; p = p.Parent {
		c := p.chunks.at(number)
		if here := c.data & rest; here != 0 {
			_, twice := p.seers(number, here, nil)
			set |= here &^ twice
		}
		rest &^= c.known()
	}
	return set
}

// different is the set of blocks of a chunk of which two volumes show different copies.
func (v *Volume) different(base *Volume, number uint64) (set uint64) {
	var ours, theirs [ChunkBlocks]Location
	v.Head.FindAll(number*ChunkBlocks, ours[:])
	if first := number * ChunkBlocks; first*BlockSize < base.Size {
		base.Head.FindAll(first, theirs[:min(ChunkBlocks, base.Size/BlockSize-first)])
	}
	for i := range ours {
		if ours[i] != theirs[i] && (ours[i].Data() || theirs[i].Data()) {
			set |= 1 << i
		}
	}
	return set
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

// knownBytes lists what of n bytes from off on lies in chunks of a chain, counted from off.
func knownBytes(l *Layer, off, n uint64) (all []Span) {
	const chunkBytes = ChunkBlocks * BlockSize
	for number := l.next(off / chunkBytes); number*chunkBytes < off+n; number = l.next(number + 1) {
		first, last := max(number*chunkBytes, off)-off, min((number+1)*chunkBytes, off+n)-off
		if k := len(all) - 1; k >= 0 && all[k].Last == first {
			all[k].Last = last
		} else {
			all = append(all, Span{First: first, Last: last})
		}
	}
	return all
}
