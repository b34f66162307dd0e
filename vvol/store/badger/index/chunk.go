package index

import (
	"iter"
	"math/bits"
	"slices"
)

// ChunkBlocks is the number of blocks of one chunk. Sets of blocks of a chunk are the
// bits of a word.
const ChunkBlocks = 64

// chunk is what a layer says of ChunkBlocks blocks. Locations that follow each other
// are one run, so that what was written in sequence takes one location for all of it;
// a run may go on from the last index of a record to the first of the next one.
type chunk struct {
	data   uint64     // blocks that hold data
	zero   uint64     // blocks that read as zeros
	starts uint64     // blocks of data that begin a run
	runs   []Location // of the first block of each run
}

// zeroChunk is shared by all chunks that are zeroed as a whole; never changed.
var zeroChunk = &chunk{zero: everyBlock}

// everyBlock is the set of all blocks of a chunk.
const everyBlock = ^uint64(0)

// within is the set of the blocks [first, last) of the chunk with a number.
func within(number, first, last uint64) uint64 {
	set := everyBlock
	if start := number * ChunkBlocks; first > start {
		set <<= first - start
	}
	if end := (number + 1) * ChunkBlocks; last < end {
		set &= everyBlock >> (end - last)
	}
	return set
}

func (c *chunk) known() uint64 { return c.data | c.zero }

// get returns the location of block i of the chunk.
func (c *chunk) get(i uint64) Location {
	bit := uint64(1) << i
	if c.data&bit == 0 {
		if c.zero&bit != 0 {
			return Zeroed
		}
		return Absent
	}
	starts := c.starts & (bit | (bit - 1))
	first := uint64(1) << (63 - bits.LeadingZeros64(starts))
	return c.runs[bits.OnesCount64(starts)-1] + Location(bits.OnesCount64(c.data&(bit-first)))
}

// set changes the location of block i. c is not zeroChunk.
func (c *chunk) set(i uint64, to Location) {
	bit := uint64(1) << i
	after := c.data &^ (bit | (bit - 1))
	if to.Data() || c.data&bit != 0 {
		c.begin(after)
	}
	c.zero &^= bit
	if to.Data() {
		c.put(bit, to)
		c.join(bit)
		c.join(after & -after)
		return
	}
	if c.starts&bit != 0 {
		c.unbegin(bit)
	}
	if c.data&bit != 0 {
		c.data &^= bit
		c.join(after & -after)
	}
	if to == Zeroed {
		c.zero |= bit
	}
}

// put gives a block that lies in no other's run a run of its own.
func (c *chunk) put(bit uint64, to Location) {
	k := bits.OnesCount64(c.starts & (bit - 1))
	if c.starts&bit != 0 {
		c.runs[k] = to
		return
	}
	c.data, c.starts = c.data|bit, c.starts|bit
	c.runs = slices.Insert(c.runs, k, to)
}

// begin lets the first of some blocks of data begin a run.
func (c *chunk) begin(blocks uint64) {
	bit := blocks & -blocks
	if bit == 0 || c.starts&bit != 0 {
		return
	}
	loc := c.get(uint64(bits.TrailingZeros64(bit)))
	c.runs = slices.Insert(c.runs, bits.OnesCount64(c.starts&(bit-1)), loc)
	c.starts |= bit
}

// join puts a block that begins a run, if there is one, at the end of the run before, if
// it goes on there.
func (c *chunk) join(bit uint64) {
	before := c.data & (bit - 1)
	if bit != 0 && before != 0 && c.get(uint64(63-bits.LeadingZeros64(before)))+1 == c.get(uint64(bits.TrailingZeros64(bit))) {
		c.unbegin(bit)
	}
}

// unbegin forgets that a block begins a run.
func (c *chunk) unbegin(bit uint64) {
	k := bits.OnesCount64(c.starts & (bit - 1))
	c.starts &^= bit
	c.runs = slices.Delete(c.runs, k, k+1)
	if n := len(c.runs); cap(c.runs) >= 8 && n <= cap(c.runs)/4 {
		c.runs = append(make([]Location, 0, n+1), c.runs...)
	}
}

// Chunks of a layer hang in a tree: 64 in a twig (16 MiB), 64 twigs in a branch (1 GiB),
// 64 branches in a limb (64 GiB), and as many limbs as a layer needs.
type (
	twig   [fanOut]*chunk
	branch [fanOut]*twig
	limb   [fanOut]*branch
	tree   []*limb
)

const (
	fanOut    = 1 << fanBits
	fanBits   = 6
	fanMask   = fanOut - 1
	twigBits  = fanBits
	branchAll = 2 * fanBits
	limbAll   = 3 * fanBits
)

// at returns the chunk with a number, or nil.
func (t tree) at(number uint64) *chunk {
	if k := number >> limbAll; k < uint64(len(t)) {
		if m := t[k]; m != nil {
			if b := m[number>>branchAll&fanMask]; b != nil {
				if w := b[number>>twigBits&fanMask]; w != nil {
					return w[number&fanMask]
				}
			}
		}
	}
	return nil
}

// slot returns where the chunk with a number hangs.
func (t *tree) slot(number uint64) **chunk {
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
	w := &(*b)[number>>twigBits&fanMask]
	if *w == nil {
		*w = &twig{}
	}
	return &(*w)[number&fanMask]
}

// own returns the chunk with a number to be changed.
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

// noChunk is the number behind all chunks.
const noChunk = MaxBlocks / ChunkBlocks

// next returns the lowest number from one on that has a chunk, or noChunk.
func (t tree) next(number uint64) uint64 {
	for k := number >> limbAll; k < uint64(len(t)); k = number >> limbAll {
		m := t[k]
		if m == nil {
			number = (k + 1) << limbAll
			continue
		}
		b := m[number>>branchAll&fanMask]
		if b == nil {
			number = (number>>branchAll + 1) << branchAll
			continue
		}
		if w := b[number>>twigBits&fanMask]; w != nil {
			for _, c := range w[number&fanMask:] {
				if c != nil {
					return number
				}
				number++
			}
			continue
		}
		number = (number>>twigBits + 1) << twigBits
	}
	return noChunk
}

// all yields the chunks and their numbers, in order.
func (t tree) all() iter.Seq2[uint64, *chunk] {
	return func(yield func(uint64, *chunk) bool) {
		for number := t.next(0); number < noChunk; number = t.next(number + 1) {
			if !yield(number, t.at(number)) {
				return
			}
		}
	}
}
