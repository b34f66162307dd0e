package index

import (
	"iter"
	"math/bits"
)

// What a layer says hangs in a tree: 64 chunks in a twig (16 MiB), 64 twigs in a branch
// (1 GiB), 64 branches in a limb (64 GiB), and as many limbs as a layer needs. Blocks of
// a chunk, or of a twig, that does not hang there are lone words of the twig, or of the
// branch; what hangs there has no words beside it.
type (
	tree   []*limb
	limb   [fanOut]*branch
	branch struct {
		twigs kids[twig]
		lone  lone
	}
	twig struct {
		chunks kids[chunk]
		lone   lone
	}
)

const (
	fanOut    = 1 << fanBits
	fanBits   = 6
	fanMask   = fanOut - 1
	twigBits  = fanBits
	branchAll = 2 * fanBits
	limbAll   = 3 * fanBits
)

// branchOf returns the branch of the chunk with a number, or nil.
func (t tree) branchOf(number uint64) *branch {
	if k := number >> limbAll; k < uint64(len(t)) && t[k] != nil {
		return t[k][number>>branchAll&fanMask]
	}
	return nil
}

// find returns the chunk with a number, or the words among which its blocks are, with the
// place at which these tell their parts.
func (b *branch) find(number uint64) (c *chunk, alone *lone, at uint) {
	w := b.twigs.get(number >> twigBits)
	if w == nil {
		return nil, &b.lone, twigAt
	}
	return w.chunks.get(number), &w.lone, chunkAt
}

// get returns the location of a block.
func (t tree) get(block uint64) Location {
	number := block / ChunkBlocks
	b := t.branchOf(number)
	if b == nil {
		return Absent
	}
	c, alone, at := b.find(number)
	if c != nil {
		return c.get(block % ChunkBlocks)
	}
	if len(alone.words) == 0 {
		return Absent
	}
	return alone.get(block, at)
}

// view is what a layer says of the blocks of a chunk, whether there is one or not, until
// something changes.
type view struct {
	data, zero uint64 // as those of a chunk
	chunk      *chunk
	lone       words // without a chunk, of the known blocks
}

// at returns a view of the chunk with a number.
func (t tree) at(number uint64) (v view) {
	b := t.branchOf(number)
	if b == nil {
		return v
	}
	c, alone, at := b.find(number)
	switch {
	case c != nil:
		return view{data: c.data, zero: c.zero, chunk: c}
	case len(alone.words) == 0:
		return v
	}
	v.lone = alone.chunk(number, at)
	for _, w := range v.lone {
		if bit := uint64(1) << (w.block() % ChunkBlocks); w.location() == Zeroed {
			v.zero |= bit
		} else {
			v.data |= bit
		}
	}
	return v
}

func (v *view) known() uint64 { return v.data | v.zero }

// get returns the location of known block i of the chunk.
func (v *view) get(i uint64) Location {
	if v.chunk != nil {
		return v.chunk.get(i)
	}
	return v.lone[bits.OnesCount64(v.known()&(1<<i-1))].location()
}

// set changes one block and returns what was there.
func (t *tree) set(block uint64, to Location) (old Location) {
	number := block / ChunkBlocks
	b := t.branch(number)
	c, alone, at := b.find(number)
	if c == nil {
		if old, done := alone.set(block, to, at); done {
			return old
		}
		if at == twigAt { // its twig may have room for it
			b.twig(number)
			return t.set(block, to)
		}
	}
	c = t.own(number)
	old = c.get(block % ChunkBlocks)
	c.set(block%ChunkBlocks, to)
	return old
}

// own returns the chunk with a number to be changed, which takes in its words.
func (t *tree) own(number uint64) *chunk {
	p := t.slot(number)
	switch *p {
	case nil:
		*p = &chunk{}
	case zeroChunk:
		*p = &chunk{zero: everyBlock}
	}
	return *p
}

// slot returns where the chunk with a number hangs, which has taken in its words. Where
// nothing is known there is nil, in place of which the caller puts a chunk.
func (t *tree) slot(number uint64) **chunk {
	w := t.branch(number).twig(number)
	p := w.chunks.slot(number)
	if *p == nil {
		if moved := w.lone.cut(number*ChunkBlocks, chunkAt); len(moved) > 0 {
			*p = &chunk{}
			for _, one := range moved {
				(*p).set(one.block()%ChunkBlocks, one.location())
			}
		}
	}
	return p
}

// branch returns the branch of the chunk with a number.
func (t *tree) branch(number uint64) *branch {
	for k := number >> limbAll; k >= uint64(len(*t)); {
		*t = append(*t, nil)
	}
	m := &(*t)[number>>limbAll]
	if *m == nil {
		*m = &limb{}
	}
	b := &(*m)[number>>branchAll&fanMask]
	if *b == nil {
		*b = &branch{}
	}
	return *b
}

// twig returns the twig of the chunk with a number, which takes in its words.
func (b *branch) twig(number uint64) *twig {
	w := b.twigs.slot(number >> twigBits)
	if *w == nil {
		*w = &twig{}
		(*w).lone.words = b.lone.cut(number*ChunkBlocks, twigAt)
	}
	return *w
}

// noChunk is the number behind all chunks.
const noChunk = MaxBlocks / ChunkBlocks

// next returns the lowest number from one on that has a chunk or words, or noChunk.
func (t tree) next(number uint64) uint64 {
	for k := number >> limbAll; k < uint64(len(t)); k = number >> limbAll {
		m := t[k]
		if m == nil {
			number = (k + 1) << limbAll
			continue
		}
		if b := m[number>>branchAll&fanMask]; b != nil {
			if n := b.next(number); n < noChunk {
				return n
			}
		}
		number = (number>>branchAll + 1) << branchAll
	}
	return noChunk
}

// next does the same in a branch.
func (b *branch) next(number uint64) uint64 {
	lowest := b.lone.next(number)
	for set := b.twigs.from(number >> twigBits); set != 0; set &= set - 1 {
		twig := number>>branchAll<<fanBits | uint64(bits.TrailingZeros64(set))
		if lowest>>twigBits < twig {
			break
		}
		lowest = min(lowest, b.twigs.get(twig).next(max(number, twig<<twigBits)))
	}
	return lowest
}

// next does the same in a twig.
func (w *twig) next(number uint64) uint64 {
	lowest := w.lone.next(number)
	if set := w.chunks.from(number); set != 0 {
		lowest = min(lowest, number>>twigBits<<twigBits|uint64(bits.TrailingZeros64(set)))
	}
	return lowest
}

// next returns the lowest number of a chunk from one on that has a word, or noChunk.
func (s words) next(number uint64) uint64 {
	k := s.search(word(number) << chunkAt)
	if k == len(s) {
		return noChunk
	}
	return number>>branchAll<<branchAll | uint64(s[k]>>chunkAt)
}

// all yields the chunks that have something, and their numbers, in order.
func (t tree) all() iter.Seq2[uint64, view] {
	return func(yield func(uint64, view) bool) {
		for number := t.next(0); number < noChunk; number = t.next(number + 1) {
			if !yield(number, t.at(number)) {
				return
			}
		}
	}
}
