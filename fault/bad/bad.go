package bad

import (
	"math/bits"
	"sync"
)

// Blocks are a range of blocks of which each can't be read until it is written. Safe for
// concurrent use.
type Blocks struct {
	from, last uint64

	mu      sync.Mutex
	written []uint64 // a bit for each block
}

// New makes all blocks from one to another bad; each costs a bit.
func New(from, last uint64) *Blocks {
	return &Blocks{from: from, last: last, written: make([]uint64, (last-from)/64+1)}
}

// First is the first of n blocks from lba on that can't be read.
func (b *Blocks) First(lba, n uint64) (bad uint64, ok bool) {
	from, to, ok := b.part(lba, n)
	if !ok {
		return 0, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for at := from; at <= to; {
		if rest := ^b.written[at/64] >> (at % 64); rest != 0 {
			if at += uint64(bits.TrailingZeros64(rest)); at > to {
				break
			}
			return b.from + at, true
		}
		at = at/64*64 + 64
	}
	return 0, false
}

// Heal makes n blocks from lba on readable.
func (b *Blocks) Heal(lba, n uint64) {
	from, to, ok := b.part(lba, n)
	if !ok {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for at := from; at <= to; at++ {
		b.written[at/64] |= 1 << (at % 64)
	}
}

// part is the part of n blocks from lba on that b is about, counted from its first.
func (b *Blocks) part(lba, n uint64) (from, to uint64, ok bool) {
	if n == 0 || lba > b.last || lba < b.from && b.from-lba >= n {
		return 0, 0, false
	}
	if lba > b.from {
		from = lba - b.from
	}
	to = b.last - b.from
	if end := lba + (n - 1); end >= lba && end < b.last {
		to = end - b.from
	}
	return from, to, true
}
