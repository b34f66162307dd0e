package index

import "math/bits"

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
	c.runs = insert(c.runs, k, to)
}

// begin lets the first of some blocks of data begin a run.
func (c *chunk) begin(blocks uint64) {
	bit := blocks & -blocks
	if bit == 0 || c.starts&bit != 0 {
		return
	}
	loc := c.get(uint64(bits.TrailingZeros64(bit)))
	c.runs = insert(c.runs, bits.OnesCount64(c.starts&(bit-1)), loc)
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
	c.runs = remove(c.runs, k, k+1)
}
