package fault

import (
	"fmt"
	"math/bits"
	"sync"

	"vvsim/scsi"
)

// maxBadBlocks bounds the blocks of one medium-error rule: it remembers of each whether it
// has been written since.
const maxBadBlocks = 1 << 20

// badBlocks are the blocks of a rule that can't be read until they are written. Safe for
// concurrent use.
type badBlocks struct {
	mu      sync.Mutex
	blocks  blockRange
	written []uint64 // a bit for each block
}

func newBadBlocks(r *blockRange) *badBlocks {
	return &badBlocks{blocks: *r, written: make([]uint64, (r.last-r.first)/64+1)}
}

// checkBad refuses a medium-error rule that would have to remember too much, or of
// several volumes.
func (r *Rule) checkBad() error {
	switch b := r.blocks; {
	case b == nil:
		return fmt.Errorf("medium-error of lu needs lba=, the blocks that can't be read")
	case r.vvol == "":
		return fmt.Errorf("medium-error with lba= needs vvol=, as each volume is written by itself")
	case b.last-b.first >= maxBadBlocks:
		return fmt.Errorf("medium-error has at most %d blocks", maxBadBlocks)
	}
	return nil
}

// first is the first of n blocks from lba on that can't be read.
func (b *badBlocks) first(lba, n uint64) (bad uint64, ok bool) {
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
			return b.blocks.first + at, true
		}
		at = at/64*64 + 64
	}
	return 0, false
}

// heal makes n blocks from lba on readable.
func (b *badBlocks) heal(lba, n uint64) {
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
func (b *badBlocks) part(lba, n uint64) (from, to uint64, ok bool) {
	if n == 0 || lba > b.blocks.last || lba < b.blocks.first && b.blocks.first-lba >= n {
		return 0, 0, false
	}
	if lba > b.blocks.first {
		from = lba - b.blocks.first
	}
	to = b.blocks.last - b.blocks.first
	if end := lba + (n - 1); end >= lba && end < b.blocks.last {
		to = end - b.blocks.first
	}
	return from, to, true
}

// ofCommand is the range of blocks of a CDB; one to the end of the medium has all blocks.
func ofCommand(b []byte) (lba, n uint64) {
	c := blocksOf(b)
	if c.Blocks == 0 && !reads(c.Op) && !stores(c.Op) {
		return c.LBA, 1<<64 - 1 - c.LBA
	}
	return c.LBA, uint64(c.Blocks)
}

// rewrites are the commands after which blocks can be read again.
func rewrites(op scsi.OpCode) bool {
	return stores(op) || op == scsi.OpWriteSame10 || op == scsi.OpWriteSame16
}

// fetches are the commands that have to read the blocks that they name.
func fetches(op scsi.OpCode) bool {
	switch op {
	case scsi.OpVerify10, scsi.OpVerify12, scsi.OpVerify16, scsi.OpCompareAndWrite, scsi.OpOrWrite16:
		return true
	}
	return reads(op)
}

// meetsBad tells whether a medium-error rule takes a command: one that rewrites bad
// blocks heals them, and does not count; one that reads them fails.
func (t *Target) meetsBad(e *entry, b []byte) (*broken, bool) {
	lba, n := ofCommand(b)
	bad, ok := e.bad.first(lba, n)
	if !ok {
		return nil, false
	}
	if rewrites(scsi.OpCode(b[0])) {
		return &broken{rule: e}, true
	}
	return &broken{rule: e, lba: bad}, t.i.strike(e)
}

// rewrite executes a command that rewrites bad blocks.
func (t *Target) rewrite(e *entry, task *scsi.Task) scsi.Response {
	r := t.Target.Execute(task)
	if r.Status == scsi.StatusGood && !task.Aborted() {
		e.bad.heal(ofCommand(task.CDB))
	}
	return r
}
