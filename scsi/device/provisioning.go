package device

import (
	"bytes"
	"context"

	"vvsim/scsi"
	"vvsim/scsi/cdb"
)

// unmap is SBC-3 5.28 (scsi.md 3.4). All descriptors are checked before one is
// carried out.
func unmap(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	var c cdb.Parameter
	c.Parse(t.CDB)
	p := t.DataOut
	switch {
	case c.Length == 0:
		return scsi.Good()
	case c.Length < 8 || len(p) < int(c.Length):
		return fail(scsi.ParameterListLength())
	}
	descriptors := p[8:]
	if n := int(get16(p[2:])); n < len(descriptors) {
		descriptors = descriptors[:n]
	} else if n > len(descriptors) {
		return fail(scsi.ParameterListLength())
	}
	descriptors = descriptors[:len(descriptors)/16*16]
	if len(descriptors)/16 > maxUnmapDescriptors {
		return fail(scsi.InvalidFieldInParameters(2))
	}
	if s := lu.writable(); s != nil {
		return fail(*s)
	}
	var total uint64
	for at := 0; at < len(descriptors); at += 16 {
		lba, n := get64(descriptors[at:]), uint64(get32(descriptors[at+8:]))
		if s := lu.inRange(lba, n); s != nil && n > 0 {
			return fail(*s)
		}
		if total += n; total > uint64(lu.maxUnmapBlocks()) {
			return fail(scsi.InvalidFieldInParameters(8 + at + 8))
		}
	}
	for at := 0; at < len(descriptors); at += 16 {
		lba, n := get64(descriptors[at:]), uint64(get32(descriptors[at+8:]))
		if n == 0 {
			continue
		}
		if err := lu.c.Medium.Unmap(t.Context(), lba*BlockLength, n*BlockLength); err != nil {
			return lu.failed(err, lba, true)
		}
	}
	return scsi.Response{TransferLength: uint64(c.Length)}
}

// writeSame is SBC-3 5.42 and 5.43. No number of blocks means all to the end of the
// medium (WSNZ=0), which is refused like any other when it is too many.
func writeSame(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	var c cdb.Block
	c.Parse(t.CDB)
	if c.Flags&cdb.Anchor != 0 {
		return fail(scsi.InvalidBitInCDB(1, 4)) // anchored blocks are not supported (ANC_SUP=0)
	}
	if s := lu.inRange(c.LBA, uint64(c.Blocks)); s != nil {
		return fail(*s)
	}
	blocks := uint64(c.Blocks)
	if blocks == 0 {
		blocks = lu.blocks() - c.LBA
	}
	if blocks*BlockLength > maxWriteSame {
		return fail(scsi.InvalidFieldInCDB(lengthField(c.Op)))
	}
	if s := lu.writable(); s != nil {
		return fail(*s)
	}
	r := scsi.Response{TransferLength: BlockLength}
	if c.Op == scsi.OpWriteSame16 && c.Flags&cdb.NDOB != 0 {
		r.TransferLength = 0
	} else if t.ExpectedOut != BlockLength {
		return fail(scsi.InvalidFieldInCDB(lengthField(c.Op))) // the Data-Out is one block (SBC-3 5.42)
	} else if len(t.DataOut) < BlockLength {
		return fail(scsi.Sense(scsi.AbortedCommand, scsi.NotEnoughUnsolicitedData))
	}
	if err := lu.repeat(t, &c, blocks); err != nil {
		return lu.failed(err, c.LBA, true)
	}
	return r
}

// repeat carries out a WRITE SAME that was checked.
func (lu *LogicalUnit) repeat(t *scsi.Task, c *cdb.Block, blocks uint64) error {
	off, n, through := c.LBA*BlockLength, blocks*BlockLength, !lu.mode.writeCache()
	zero := len(t.DataOut) < BlockLength || isZero(t.DataOut[:BlockLength]) // no data: NDOB
	switch {
	case zero && c.Flags&cdb.Unmap != 0:
		return lu.c.Medium.Unmap(t.Context(), off, n)
	case zero:
		return lu.c.Medium.Zero(t.Context(), off, n, through)
	}
	return lu.fill(t.Context(), t.DataOut[:BlockLength], c.LBA, blocks)
}

func isZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}

// fillPiece is how many blocks one write of a WRITE SAME carries.
const fillPiece = 256 << 10 / BlockLength

// fill repeats one block over a range.
func (lu *LogicalUnit) fill(ctx context.Context, block []byte, lba, blocks uint64) error {
	pattern := bytes.Repeat(block, int(min(blocks, fillPiece)))
	for lba, n := range pieces(lba, blocks, fillPiece) {
		if err := lu.c.Medium.WriteAt(ctx, pattern[:n*BlockLength], lba*BlockLength, !lu.mode.writeCache()); err != nil {
			return err
		}
	}
	return nil
}

// Limits of one GET LBA STATUS: how far it looks, and how much it tells.
const (
	statusSpan        = 1 << 40 // bytes
	statusDescriptors = 4096
)

// getLBAStatus is SBC-3 5.4: extents of mapped and deallocated blocks.
func getLBAStatus(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	const mapped, deallocated = 0, 1
	var c cdb.Block
	c.Parse(t.CDB)
	size := lu.blocks()
	if c.LBA >= size {
		return fail(scsi.LBAOutOfRange(c.LBA))
	}
	room := min(int(max(c.Blocks, 8)-8)/16, statusDescriptors) // Blocks is the allocation length
	p := make([]byte, 8)
	for e, err := range lu.c.Medium.Extents(t.Context(), c.LBA*BlockLength, min((size-c.LBA)*BlockLength, statusSpan)) {
		if err != nil {
			return lu.failed(err, c.LBA, false)
		}
		lba, n := e.Offset/BlockLength, e.Length/BlockLength
		for n > 0 && len(p) < 8+16*max(room, 1) {
			k := min(n, 1<<32-1)
			d := make([]byte, 16)
			put64(d, lba)
			put32(d[8:], uint32(k))
			if d[12] = mapped; !e.Mapped {
				d[12] = deallocated
			}
			p = append(p, d...)
			lba, n = lba+k, n-k
		}
		if len(p) >= 8+16*max(room, 1) {
			break
		}
	}
	put32(p, uint32(len(p)-4))
	return parameterData(t, p, c.Blocks)
}
