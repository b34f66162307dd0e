package device

import (
	"bytes"
	"iter"

	"vvsim/scsi"
	"vvsim/scsi/cdb"
)

// blocks is the number of logical blocks of the medium.
func (lu *LogicalUnit) blocks() uint64 { return lu.c.Medium.Size() / BlockLength }

// inRange checks LBA and length (SBC-3 4.5); INFORMATION is the first LBA that is
// not there.
func (lu *LogicalUnit) inRange(lba, n uint64) *scsi.SenseData {
	size := lu.blocks()
	if lba > size || n > size-lba || lba == size && n == 0 && size > 0 {
		s := scsi.LBAOutOfRange(max(lba, size))
		return &s
	}
	return nil
}

// transfer checks the range and the length of a command that moves data. field is
// the byte of the CDB that holds the length.
func (lu *LogicalUnit) transfer(c *cdb.Block) *scsi.SenseData {
	if s := lu.inRange(c.LBA, uint64(c.Blocks)); s != nil {
		return s
	}
	if uint64(c.Blocks)*BlockLength > uint64(lu.c.Limits.MaxTransfer) {
		s := scsi.InvalidFieldInCDB(lengthField(c.Op))
		return &s
	}
	return nil
}

// lengthField is the first byte of the transfer length in a CDB.
func lengthField(op scsi.OpCode) int {
	switch op.Length() {
	case 6:
		return 4
	case 10:
		return 7
	case 12:
		return 6
	}
	switch op {
	case scsi.OpCompareAndWrite:
		return 13
	case scsi.OpWriteAtomic16:
		return 12
	}
	return 10
}

// writable refuses writes to a protected unit (SPC-4 7.5.8, SBC-3 4.12).
func (lu *LogicalUnit) writable() *scsi.SenseData {
	if lu.mode.writeProtected() || lu.c.Medium.ReadOnly() {
		s := scsi.WriteProtected()
		return &s
	}
	return nil
}

// readCapacity10 is SBC-3 5.15.
func readCapacity10(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	if t.CDB[8]&1 == 0 && get32(t.CDB[2:]) != 0 {
		return fail(scsi.InvalidFieldInCDB(2)) // an LBA without PMI
	}
	last, r, ok := lu.lastBlock()
	if !ok {
		return r
	}
	p := make([]byte, 8)
	put32(p, uint32(min(last, 1<<32-1)))
	put32(p[4:], BlockLength)
	return parameterData(t, p, 8)
}

// readCapacity16 is SBC-3 5.16 (scsi.md 3.3).
func readCapacity16(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	const lbpme, lbprz = 0x80, 0x40
	if t.CDB[14]&1 == 0 && get64(t.CDB[2:]) != 0 {
		return fail(scsi.InvalidFieldInCDB(2))
	}
	last, r, ok := lu.lastBlock()
	if !ok {
		return r
	}
	p := make([]byte, 32)
	put64(p, last)
	put32(p[8:], BlockLength)
	if lu.c.Kind == Volume {
		for n := lu.c.Limits.Granularity / BlockLength; n > 1; n /= 2 {
			p[13]++ // logical blocks per physical block, a power of two
		}
		p[14] = lbpme | lbprz
	}
	return parameterData(t, p, get32(t.CDB[10:]))
}

// endpointBlocks is the tiny capacity of a protocol endpoint (scsi.md 1.7).
const endpointBlocks = 8

// lastBlock is the last LBA; a protocol endpoint answers as its knob says.
func (lu *LogicalUnit) lastBlock() (last uint64, r scsi.Response, ok bool) {
	if lu.c.Kind == Volume {
		return max(lu.blocks(), 1) - 1, r, true
	}
	switch lu.c.Knobs().EndpointCapacity {
	case CapacityZero:
		return 0, r, true
	case CapacityNotReady:
		return 0, fail(scsi.Sense(scsi.NotReady, scsi.CauseNotReportable)), false
	case CapacityRefuse:
		return 0, fail(scsi.InvalidOpCode()), false
	}
	return endpointBlocks - 1, r, true
}

// endpointMedia answers a media command to a protocol endpoint as its knob says;
// false leaves it to be refused as unsupported.
func (lu *LogicalUnit) endpointMedia(t *scsi.Task) (r scsi.Response, ok bool) {
	cmd := lu.table.lookUp(t.CDB)
	if cmd == nil || cmd.kinds&Volume == 0 {
		return r, false
	}
	var c cdb.Block
	switch c.Parse(t.CDB); c.Op {
	case scsi.OpRead6, scsi.OpRead10, scsi.OpRead12, scsi.OpRead16:
	default:
		return fail(scsi.Sense(scsi.NotReady, scsi.MediumNotPresent)), lu.c.Knobs().EndpointMedia == MediaNoMedium
	}
	switch lu.c.Knobs().EndpointMedia {
	case MediaNoMedium:
		return fail(scsi.Sense(scsi.NotReady, scsi.MediumNotPresent)), true
	case MediaZeros:
		if c.LBA+uint64(c.Blocks) > endpointBlocks {
			return fail(scsi.LBAOutOfRange(c.LBA)), true
		}
		return parameterData(t, make([]byte, int(c.Blocks)*BlockLength), c.Blocks*BlockLength), true
	}
	return r, false
}

// read is READ in all lengths (SBC-3 5.7-5.11).
func read(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	var c cdb.Block
	c.Parse(t.CDB)
	if s := lu.transfer(&c); s != nil {
		return fail(*s)
	}
	length := uint64(c.Blocks) * BlockLength
	r := scsi.Response{TransferLength: length}
	wanted := min(length, uint64(t.ExpectedIn))
	if wanted == 0 {
		return r
	}
	whole := (wanted + BlockLength - 1) / BlockLength * BlockLength
	b := scsi.NewBuffer(int(whole))
	if err := lu.c.Medium.ReadAt(t.Context(), b.Bytes(), c.LBA*BlockLength); err != nil {
		b.Release()
		return lu.failed(err, c.LBA, false)
	}
	b.Truncate(int(wanted))
	r.DataIn = b
	return r
}

// write is WRITE in all lengths (SBC-3 5.32-5.36). When the initiator sent less
// than the CDB describes, the whole blocks that came are written.
func write(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	var c cdb.Block
	c.Parse(t.CDB)
	if s := lu.transfer(&c); s != nil {
		return fail(*s)
	}
	return lu.store(t, &c, c.Flags&cdb.FUA != 0)
}

func (lu *LogicalUnit) store(t *scsi.Task, c *cdb.Block, fua bool) scsi.Response {
	if s := lu.writable(); s != nil {
		return fail(*s)
	}
	if p := wholeBlocks(t); len(p) > 0 {
		if err := lu.c.Medium.WriteAt(t.Context(), p, c.LBA*BlockLength, fua || !lu.mode.writeCache()); err != nil {
			return lu.failed(err, c.LBA, true)
		}
	}
	return scsi.Response{TransferLength: uint64(c.Blocks) * BlockLength}
}

// wholeBlocks is what came of the Data-Out, less a part of a block at its end.
func wholeBlocks(t *scsi.Task) []byte { return t.DataOut[:len(t.DataOut)/BlockLength*BlockLength] }

// writeAtomic is WRITE ATOMIC(16) without a boundary (SBC-4 5.48).
func writeAtomic(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	var c cdb.Block
	c.Parse(t.CDB)
	switch {
	case lu.c.Limits.AtomicWrite == 0:
		return fail(scsi.InvalidOpCode())
	case get16(t.CDB[10:]) != 0:
		return fail(scsi.InvalidFieldInCDB(10)) // ATOMIC BOUNDARY
	case uint64(c.Blocks)*BlockLength > uint64(lu.c.Limits.AtomicWrite):
		return fail(scsi.InvalidFieldInCDB(12))
	}
	if s := lu.transfer(&c); s != nil {
		return fail(*s)
	}
	if len(t.DataOut) < int(c.Blocks)*BlockLength {
		return fail(scsi.Sense(scsi.AbortedCommand, scsi.NotEnoughUnsolicitedData)) // not enough data for all or nothing
	}
	return lu.store(t, &c, c.Flags&cdb.FUA != 0)
}

// writeAndVerify is SBC-3 5.37-5.39: the write is on stable storage and read back.
func writeAndVerify(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	var c cdb.Block
	c.Parse(t.CDB)
	if s := byteCheck(&c); s != nil {
		return fail(*s)
	}
	if s := lu.transfer(&c); s != nil {
		return fail(*s)
	}
	r := lu.store(t, &c, true)
	if r.Status != scsi.StatusGood {
		return r
	}
	p := wholeBlocks(t)
	if v := lu.compare(t, c.LBA, p, len(p) > 0 && c.Flags&cdb.ByteChk != 0, len(p)); v.Status != scsi.StatusGood {
		return v
	}
	return r
}

// byteCheck refuses BYTCHK 10b, which is reserved (SBC-3 5.27).
func byteCheck(c *cdb.Block) *scsi.SenseData {
	if c.Flags&cdb.ByteChk == 0x04 || c.Flags&cdb.ByteChk == 0x06 && c.Op != scsi.OpVerify10 && c.Op != scsi.OpVerify12 && c.Op != scsi.OpVerify16 {
		s := scsi.InvalidBitInCDB(1, 2)
		return &s
	}
	return nil
}

// compare reads n bytes at lba and, when check is set, compares them with want.
func (lu *LogicalUnit) compare(t *scsi.Task, lba uint64, want []byte, check bool, n int) scsi.Response {
	if n == 0 {
		return scsi.Good()
	}
	b := scsi.NewBuffer(n)
	defer b.Release()
	if err := lu.c.Medium.ReadAt(t.Context(), b.Bytes(), lba*BlockLength); err != nil {
		return lu.failed(err, lba, false)
	}
	if check {
		if i := firstDifference(b.Bytes(), want); i >= 0 {
			return fail(scsi.MiscompareAt(uint64(i)))
		}
	}
	return scsi.Good()
}

func firstDifference(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

// verify is SBC-3 5.27-5.30 with BYTCHK 00b (read only), 01b (compare all) and 11b
// (compare every block with one).
func verify(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	var c cdb.Block
	c.Parse(t.CDB)
	if s := byteCheck(&c); s != nil {
		return fail(*s)
	}
	if s := lu.inRange(c.LBA, uint64(c.Blocks)); s != nil {
		return fail(*s)
	}
	mode := c.Flags & cdb.ByteChk
	if mode == 0x02 && uint64(c.Blocks)*BlockLength > uint64(lu.c.Limits.MaxTransfer) {
		return fail(scsi.InvalidFieldInCDB(lengthField(c.Op)))
	}
	switch mode {
	case 0x02:
		p := wholeBlocks(t)
		if r := lu.compare(t, c.LBA, p, true, len(p)); r.Status != scsi.StatusGood {
			return r
		}
		return scsi.Response{TransferLength: uint64(c.Blocks) * BlockLength}
	case 0x06:
		return lu.verifySame(t, &c)
	}
	return lu.verifyMedium(t, &c)
}

// pieces cuts a range into parts of at most size blocks.
func pieces(lba, n uint64, size uint64) iter.Seq2[uint64, int] {
	return func(yield func(uint64, int) bool) {
		for n > 0 {
			k := min(n, size)
			if !yield(lba, int(k)) {
				return
			}
			lba, n = lba+k, n-k
		}
	}
}

// verifyPiece is how many blocks one read of a long verification takes.
const verifyPiece = 256 << 10 / BlockLength

func (lu *LogicalUnit) verifyMedium(t *scsi.Task, c *cdb.Block) scsi.Response {
	for lba, n := range pieces(c.LBA, uint64(c.Blocks), verifyPiece) {
		if r := lu.compare(t, lba, nil, false, n*BlockLength); r.Status != scsi.StatusGood {
			return r
		}
	}
	return scsi.Good()
}

// verifySame compares every block with the one that was sent.
func (lu *LogicalUnit) verifySame(t *scsi.Task, c *cdb.Block) scsi.Response {
	if len(t.DataOut) < BlockLength {
		return fail(scsi.ParameterListLength())
	}
	for lba, n := range pieces(c.LBA, uint64(c.Blocks), verifyPiece) {
		want := bytes.Repeat(t.DataOut[:BlockLength], n)
		r := lu.compare(t, lba, want, true, len(want))
		if r.Sense != nil && r.Sense.Key == scsi.Miscompare {
			*r.Sense.Info += (lba - c.LBA) * BlockLength
		}
		if r.Status != scsi.StatusGood {
			return r
		}
	}
	return scsi.Response{TransferLength: BlockLength}
}

// orWrite is ORWRITE(16) (SBC-3 5.12): read, or, write, as one operation against
// every other write. COMPARE AND WRITE of the medium gives that.
func orWrite(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	var c cdb.Block
	c.Parse(t.CDB)
	if s := lu.transfer(&c); s != nil {
		return fail(*s)
	}
	if s := lu.writable(); s != nil {
		return fail(*s)
	}
	p := wholeBlocks(t)
	old, merged := scsi.NewBuffer(len(p)), scsi.NewBuffer(len(p))
	defer old.Release()
	defer merged.Release()
	if len(p) == 0 {
		return scsi.Response{TransferLength: uint64(c.Blocks) * BlockLength}
	}
	for range orWriteTries {
		if err := lu.c.Medium.ReadAt(t.Context(), old.Bytes(), c.LBA*BlockLength); err != nil {
			return lu.failed(err, c.LBA, false)
		}
		for i := range p {
			merged.Bytes()[i] = old.Bytes()[i] | p[i]
		}
		err := lu.c.Medium.CompareAndWrite(t.Context(), old.Bytes(), merged.Bytes(), c.LBA*BlockLength, c.Flags&cdb.FUA != 0 || !lu.mode.writeCache())
		if err == nil {
			return scsi.Response{TransferLength: uint64(c.Blocks) * BlockLength}
		}
		status, sense := lu.c.Translate(err, c.LBA, true)
		if sense == nil || sense.Key != scsi.Miscompare {
			return scsi.Response{Status: status, Sense: sense}
		}
		// Another write came between: read again.
		if t.Aborted() {
			return scsi.Response{Status: scsi.StatusTaskAborted}
		}
	}
	return scsi.Response{Status: scsi.StatusBusy}
}

// orWriteTries bounds the attempts of one ORWRITE against concurrent writers.
const orWriteTries = 1000

// compareAndWrite is SBC-3 5.2 (scsi.md 3.4).
func compareAndWrite(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	var c cdb.Block
	c.Parse(t.CDB)
	half := int(c.Blocks) * BlockLength
	if int(c.Blocks) > lu.c.Limits.MaxCompareWrite || int(t.ExpectedOut) != 2*half {
		// The transfer announces another number of blocks than the one-byte field can
		// hold: compared and written would be what nobody meant.
		return fail(scsi.InvalidFieldInCDB(13))
	}
	if c.Blocks == 0 {
		return scsi.Good() // no blocks: no error (SBC-3 5.2)
	}
	if s := lu.inRange(c.LBA, uint64(c.Blocks)); s != nil {
		return fail(*s)
	}
	if s := lu.writable(); s != nil {
		return fail(*s)
	}
	if len(t.DataOut) < 2*half {
		return fail(scsi.Sense(scsi.AbortedCommand, scsi.NotEnoughUnsolicitedData))
	}
	err := lu.c.Medium.CompareAndWrite(t.Context(), t.DataOut[:half], t.DataOut[half:2*half], c.LBA*BlockLength,
		c.Flags&cdb.FUA != 0 || !lu.mode.writeCache())
	if err != nil {
		return lu.failed(err, c.LBA, true)
	}
	return scsi.Response{TransferLength: uint64(2 * half)}
}

// Traffic tells whether a task reads, writes, verifies or unmaps blocks for the
// initiator, and how many bytes move between the two; copies inside the array, and what
// tells of blocks only, do not.
func Traffic(t *scsi.Task) (bytes uint64, ok bool) {
	cmd := sharedTable().lookUp(t.CDB)
	if cmd == nil || cmd.traits&media == 0 {
		return 0, false
	}
	if cmd.dataOut != nil {
		return uint64(len(t.DataOut)), true
	}
	var c cdb.Block
	c.Parse(t.CDB)
	return min(uint64(c.Blocks)*BlockLength, uint64(t.ExpectedIn)), true
}

// preFetch is SBC-3 5.13: CONDITION MET says that all blocks fit in the cache,
// GOOD that they may not.
func preFetch(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	var c cdb.Block
	c.Parse(t.CDB)
	if s := lu.transfer(&c); s != nil { // MAXIMUM PREFETCH LENGTH is that of a transfer
		return fail(*s)
	}
	return scsi.Response{Status: scsi.StatusConditionMet}
}

// synchronizeCache is SBC-3 5.26; the range only bounds what has to be flushed.
func synchronizeCache(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	var c cdb.Block
	c.Parse(t.CDB)
	if s := lu.inRange(c.LBA, uint64(c.Blocks)); s != nil {
		return fail(*s)
	}
	if err := lu.c.Medium.Flush(t.Context()); err != nil {
		return lu.failed(err, c.LBA, true)
	}
	return scsi.Good()
}

// readDefectData reports empty lists (SBC-3 5.18): there are no defects to report.
func readDefectData(_ *LogicalUnit, t *scsi.Task) scsi.Response {
	var c cdb.Parameter
	c.Parse(t.CDB)
	if c.Op == scsi.OpReadDefectData10 {
		return parameterData(t, []byte{0, t.CDB[2] & 0x1f, 0, 0}, c.Length)
	}
	return parameterData(t, []byte{0, t.CDB[1] & 0x1f, 0, 0, 0, 0, 0, 0}, c.Length)
}
