package device

import (
	"bytes"

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

// writeSame is SBC-3 5.42 and 5.43.
func writeSame(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	var c cdb.Block
	c.Parse(t.CDB)
	unmapping, noData := c.Flags&cdb.Unmap != 0, c.Op == scsi.OpWriteSame16 && c.Flags&cdb.NDOB != 0
	switch {
	case c.Flags&cdb.Anchor != 0:
		return fail(scsi.InvalidBitInCDB(1, 4)) // anchored blocks are not supported (ANC_SUP=0)
	case c.Blocks == 0:
		return fail(scsi.InvalidFieldInCDB(lengthField(c.Op))) // WSNZ=1
	}
	if s := lu.inRange(c.LBA, uint64(c.Blocks)); s != nil {
		return fail(*s)
	}
	if uint64(c.Blocks)*BlockLength > maxWriteSame {
		return fail(scsi.InvalidFieldInCDB(lengthField(c.Op)))
	}
	if s := lu.writable(); s != nil {
		return fail(*s)
	}
	r := scsi.Response{TransferLength: BlockLength}
	if noData {
		r.TransferLength = 0
	} else if t.ExpectedOut != BlockLength {
		return fail(scsi.InvalidFieldInCDB(lengthField(c.Op))) // the Data-Out is one block (SBC-3 5.42)
	} else if len(t.DataOut) < BlockLength {
		return fail(scsi.Sense(scsi.AbortedCommand, 0x0c0d))
	}
	off, n := c.LBA*BlockLength, uint64(c.Blocks)*BlockLength
	zero := noData || isZero(t.DataOut[:BlockLength])
	var err error
	switch {
	case zero && unmapping:
		err = lu.c.Medium.Unmap(t.Context(), off, n)
	case zero:
		err = lu.c.Medium.Zero(t.Context(), off, n, !lu.mode.writeCache())
	default:
		err = lu.fill(t, t.DataOut[:BlockLength], &c)
	}
	if err != nil {
		return lu.failed(err, c.LBA, true)
	}
	return r
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
func (lu *LogicalUnit) fill(t *scsi.Task, block []byte, c *cdb.Block) error {
	pattern := bytes.Repeat(block, int(min(uint64(c.Blocks), fillPiece)))
	for lba, n := range pieces(c.LBA, uint64(c.Blocks), fillPiece) {
		if err := lu.c.Medium.WriteAt(t.Context(), pattern[:n*BlockLength], lba*BlockLength, !lu.mode.writeCache()); err != nil {
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

// Service actions of SANITIZE (SBC-3 5.24).
const (
	sanitizeOverwrite   = 0x01
	sanitizeBlockErase  = 0x02
	sanitizeExitFailure = 0x1f

	sanitizeFailedASC scsi.ASC = 0x3103 // SANITIZE COMMAND FAILED
)

func (lu *LogicalUnit) sanitizeFailed() bool {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	return lu.sanitizeFail
}

// sanitizeRun performs SANITIZE while the command waits; with IMMED it has ended
// before the status as well, which the standard leaves open.
func sanitizeRun(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	const immed, ause = 0x80, 0x20
	action := t.CDB[1] & 0x1f
	length := int(get16(t.CDB[7:]))
	if t.CDB[1]&0x40 != 0 {
		return fail(scsi.InvalidBitInCDB(1, 6)) // ZNR: no zones here
	}
	if action == sanitizeExitFailure {
		return lu.exitSanitizeFailure(length)
	}
	if s := lu.writable(); s != nil {
		return fail(*s)
	}
	var err error
	switch {
	case action == sanitizeBlockErase && length != 0:
		return fail(scsi.InvalidFieldInCDB(7))
	case action == sanitizeBlockErase:
		err = lu.eraseAll(t)
	default:
		pattern, sense := overwritePattern(t.DataOut, length)
		if sense != nil {
			return fail(*sense)
		}
		err = lu.overwriteAll(t, pattern)
	}
	if err != nil {
		if t.CDB[1]&ause != 0 {
			lu.mu.Lock()
			lu.sanitizeFail = true
			lu.mu.Unlock()
		}
		return lu.failed(err, 0, true)
	}
	return scsi.Response{TransferLength: uint64(length)}
}

func (lu *LogicalUnit) exitSanitizeFailure(length int) scsi.Response {
	if length != 0 {
		return fail(scsi.InvalidFieldInCDB(7))
	}
	lu.mu.Lock()
	lu.sanitizeFail = false
	lu.mu.Unlock()
	return scsi.Good()
}

// overwritePattern reads the parameter list of SANITIZE OVERWRITE: invert, test,
// count, and an initialization pattern of up to a block (SBC-3 5.24.2).
func overwritePattern(p []byte, length int) (pattern []byte, sense *scsi.SenseData) {
	refuse := func(s scsi.SenseData) ([]byte, *scsi.SenseData) { return nil, &s }
	switch {
	case length < 4 || length > 4+BlockLength:
		return refuse(scsi.InvalidFieldInCDB(7))
	case len(p) < length:
		return refuse(scsi.ParameterListLength())
	case p[0]&0x1f == 0:
		return refuse(scsi.InvalidFieldInParameters(0)) // no passes
	}
	n := int(get16(p[2:]))
	if n == 0 || n > BlockLength || 4+n != length {
		return refuse(scsi.InvalidFieldInParameters(2))
	}
	pattern = bytes.Repeat(p[4:4+n], BlockLength/n+1)[:BlockLength]
	// Of several passes only the last can be seen; INVERT flips every second one.
	if p[0]&0x80 != 0 && p[0]&0x1f%2 == 0 {
		for i := range pattern {
			pattern[i] ^= 0xff
		}
	}
	return pattern, nil
}

func (lu *LogicalUnit) eraseAll(t *scsi.Task) error {
	step := max(lu.c.Limits.MaxUnmap, BlockLength) / BlockLength
	for lba, n := range pieces(0, lu.blocks(), step) {
		if err := lu.c.Medium.Unmap(t.Context(), lba*BlockLength, uint64(n)*BlockLength); err != nil {
			return err
		}
	}
	return lu.c.Medium.Flush(t.Context())
}

// overwriteAll writes the pattern where the volume holds data; elsewhere nothing
// can be found, so that a thin volume is not filled to its full size.
func (lu *LogicalUnit) overwriteAll(t *scsi.Task, pattern []byte) error {
	for e, err := range lu.c.Medium.Extents(t.Context(), 0, lu.blocks()*BlockLength) {
		if err != nil {
			return err
		}
		if !e.Mapped && isZero(pattern) {
			continue
		}
		for lba, n := range pieces(e.Offset/BlockLength, e.Length/BlockLength, 1<<31) {
			c := cdb.Block{LBA: lba, Blocks: uint32(n)}
			if err := lu.fill(t, pattern, &c); err != nil {
				return err
			}
		}
	}
	return lu.c.Medium.Flush(t.Context())
}
