package command

import (
	"vvsim/scsi"
	"vvsim/scsi/cdb"
)

// Reads are the commands that send the content of blocks.
func Reads(op scsi.OpCode) bool {
	switch op {
	case scsi.OpRead6, scsi.OpRead10, scsi.OpRead12, scsi.OpRead16:
		return true
	}
	return false
}

// Stores are the commands that put their Data-Out on a range of blocks as it is.
func Stores(op scsi.OpCode) bool {
	switch op {
	case scsi.OpWrite6, scsi.OpWrite10, scsi.OpWrite12, scsi.OpWrite16, scsi.OpWriteAtomic16,
		scsi.OpWriteAndVerify10, scsi.OpWriteAndVerify12, scsi.OpWriteAndVerify16:
		return true
	}
	return false
}

// Carries are the commands whose Data-Out changes blocks.
func Carries(op scsi.OpCode) bool {
	switch op {
	case scsi.OpOrWrite16, scsi.OpCompareAndWrite, scsi.OpWriteSame10, scsi.OpWriteSame16:
		return true
	}
	return Stores(op)
}

// Changes are the commands that change blocks.
func Changes(op scsi.OpCode) bool {
	switch op {
	case scsi.OpUnmap, scsi.OpExtendedCopy, scsi.OpSanitize:
		return true
	}
	return Carries(op)
}

// Looks are the other commands on blocks.
func Looks(op scsi.OpCode) bool {
	switch op {
	case scsi.OpVerify10, scsi.OpVerify12, scsi.OpVerify16, scsi.OpPreFetch10, scsi.OpPreFetch16,
		scsi.OpSynchronizeCache10, scsi.OpSynchronizeCache16:
		return true
	}
	return false
}

// NamesBlocks are the commands whose CDB names a range of blocks; the ranges of UNMAP and
// EXTENDED COPY are in their parameter lists, which come later.
func NamesBlocks(op scsi.OpCode) bool {
	return Reads(op) || Carries(op) || Looks(op)
}

// Blocks is the range of a CDB that names one. Its length is 0 for a SYNCHRONIZE CACHE,
// PRE-FETCH or WRITE SAME to the end of the medium.
func Blocks(b []byte) (c cdb.Block) {
	c.Parse(b)
	return c
}

// AnsweredAlways are the commands that a device server answers whatever the state of its
// unit, its ports and its reservations (SPC-4 5.9, 5.15.2.4.5).
func AnsweredAlways(b []byte) bool {
	switch scsi.OpCode(b[0]) {
	case scsi.OpInquiry, scsi.OpReportLUNs, scsi.OpRequestSense:
		return true
	case scsi.OpMaintenanceIn:
		return len(b) > 1 && b[1]&0x1f == scsi.SAReportTargetPortGroups
	case scsi.OpMaintenanceOut:
		return len(b) > 1 && b[1]&0x1f == scsi.SASetTargetPortGroups
	}
	return false
}

// AnsweredInStandby are the other commands that a device server answers in standby state
// (SPC-4 5.15.2.4.3).
func AnsweredInStandby(b []byte) bool {
	switch scsi.OpCode(b[0]) {
	case scsi.OpModeSense6, scsi.OpModeSense10, scsi.OpModeSelect6, scsi.OpModeSelect10, scsi.OpLogSense, scsi.OpSendDiagnostic,
		scsi.OpReadCapacity10, scsi.OpPersistentReserveIn, scsi.OpPersistentReserveOut, scsi.OpMaintenanceIn:
		return true
	case scsi.OpServiceActionIn16:
		return len(b) > 1 && b[1]&0x1f == scsi.SAReadCapacity16
	}
	return false
}

// Range is the range of blocks of a CDB; one to the end of the medium has all blocks.
func Range(b []byte) (lba, n uint64) {
	c := Blocks(b)
	if c.Blocks == 0 && !Reads(c.Op) && !Stores(c.Op) {
		return c.LBA, 1<<64 - 1 - c.LBA
	}
	return c.LBA, uint64(c.Blocks)
}

// Rewrites are the commands after which blocks can be read again.
func Rewrites(op scsi.OpCode) bool {
	return Stores(op) || op == scsi.OpWriteSame10 || op == scsi.OpWriteSame16
}

// Fetches are the commands that have to read the blocks that they name.
func Fetches(op scsi.OpCode) bool {
	switch op {
	case scsi.OpVerify10, scsi.OpVerify12, scsi.OpVerify16, scsi.OpCompareAndWrite, scsi.OpOrWrite16:
		return true
	}
	return Reads(op)
}

// Extent are the logical blocks from First to Last.
type Extent struct{ First, Last uint64 }

// Overlaps tells whether a command on c touches a block of r.
func (r *Extent) Overlaps(c *cdb.Block) bool {
	if c.LBA > r.Last {
		return false
	}
	toEnd := c.Blocks == 0 && !Reads(c.Op) && !Stores(c.Op)
	return toEnd || c.Blocks > 0 && (c.LBA >= r.First || r.First-c.LBA < uint64(c.Blocks))
}

// Stored is the part of Data-Out that a command puts on the medium: the second half of a
// COMPARE AND WRITE's (SBC-3 5.2).
func Stored(c *cdb.Block, data []byte) []byte {
	if c.Op == scsi.OpCompareAndWrite {
		return data[len(data)/2:]
	}
	return data
}
