package fault

import (
	"fmt"
	"strconv"
	"strings"

	"vvsim/scsi"
	"vvsim/scsi/cdb"
)

// blockLength is the logical block of all logical units, in bytes.
const blockLength = 512

// class of events that op= names.
type class uint8

const (
	anyClass class = iota
	readClass
	writeClass
	mediaClass
	flushClass // of engines
	emptyClass // of engines: writes without data; op=write names them
	opcodeClass
	namedClass // of the provider
)

// operation is what op= names.
type operation struct {
	class class
	code  scsi.OpCode // of opcodeClass
	name  string      // of namedClass
}

func parseOperation(l layer, v string) (operation, error) {
	switch {
	case l == providerLayer:
		return operation{class: namedClass, name: v}, nil
	case v == "read":
		return operation{class: readClass}, nil
	case v == "write":
		return operation{class: writeClass}, nil
	case l == engineLayer && v == "flush":
		return operation{class: flushClass}, nil
	case l == engineLayer:
		return operation{}, fmt.Errorf("%q is none of read, write and flush", v)
	case v == "media":
		return operation{class: mediaClass}, nil
	case v == "any":
		return operation{}, nil
	}
	digits, ok := strings.CutPrefix(v, "0x")
	n, err := strconv.ParseUint(digits, 16, 8)
	if !ok || err != nil {
		return operation{}, fmt.Errorf("%q is none of read, write, media, any and an operation code such as 0x2a", v)
	}
	return operation{class: opcodeClass, code: scsi.OpCode(n)}, nil
}

// covers tells whether o names an operation code.
func (o operation) covers(op scsi.OpCode) bool {
	switch o.class {
	case readClass:
		return reads(op)
	case writeClass:
		return changes(op)
	case mediaClass:
		return reads(op) || changes(op) || looks(op)
	case opcodeClass:
		return op == o.code
	}
	return true
}

// reads are the commands that send the content of blocks.
func reads(op scsi.OpCode) bool {
	switch op {
	case scsi.OpRead6, scsi.OpRead10, scsi.OpRead12, scsi.OpRead16:
		return true
	}
	return false
}

// stores are the commands that put their Data-Out on a range of blocks as it is.
func stores(op scsi.OpCode) bool {
	switch op {
	case scsi.OpWrite6, scsi.OpWrite10, scsi.OpWrite12, scsi.OpWrite16, scsi.OpWriteAtomic16,
		scsi.OpWriteAndVerify10, scsi.OpWriteAndVerify12, scsi.OpWriteAndVerify16:
		return true
	}
	return false
}

// carries are the commands whose Data-Out changes blocks.
func carries(op scsi.OpCode) bool {
	switch op {
	case scsi.OpOrWrite16, scsi.OpCompareAndWrite, scsi.OpWriteSame10, scsi.OpWriteSame16:
		return true
	}
	return stores(op)
}

// changes are the commands that change blocks.
func changes(op scsi.OpCode) bool {
	switch op {
	case scsi.OpUnmap, scsi.OpExtendedCopy, scsi.OpSanitize:
		return true
	}
	return carries(op)
}

// looks are the other commands on blocks.
func looks(op scsi.OpCode) bool {
	switch op {
	case scsi.OpVerify10, scsi.OpVerify12, scsi.OpVerify16, scsi.OpPreFetch10, scsi.OpPreFetch16,
		scsi.OpSynchronizeCache10, scsi.OpSynchronizeCache16:
		return true
	}
	return false
}

// names are the commands whose CDB names a range of blocks; the ranges of UNMAP and
// EXTENDED COPY are in their parameter lists, which come later.
func names(op scsi.OpCode) bool {
	return reads(op) || carries(op) || looks(op)
}

// blocksOf is the range of a CDB that names one. Its length is 0 for a SYNCHRONIZE CACHE,
// PRE-FETCH or WRITE SAME to the end of the medium.
func blocksOf(b []byte) (c cdb.Block) {
	c.Parse(b)
	return c
}

// overlaps tells whether a command on c touches a block of r.
func (r *blockRange) overlaps(c *cdb.Block) bool {
	if c.LBA > r.last {
		return false
	}
	toEnd := c.Blocks == 0 && !reads(c.Op) && !stores(c.Op)
	return toEnd || c.Blocks > 0 && (c.LBA >= r.first || r.first-c.LBA < uint64(c.Blocks))
}

// answersAlways are the commands that a device server answers whatever the state of its
// unit, its ports and its reservations (SPC-4 5.9, 5.15.2.4.5).
func answersAlways(b []byte) bool {
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

// answersInStandby are the other commands that a device server answers in standby state
// (SPC-4 5.15.2.4.3).
func answersInStandby(b []byte) bool {
	switch scsi.OpCode(b[0]) {
	case scsi.OpModeSense6, scsi.OpModeSense10, scsi.OpModeSelect6, scsi.OpModeSelect10, scsi.OpLogSense, scsi.OpSendDiagnostic,
		scsi.OpReadCapacity10, scsi.OpPersistentReserveIn, scsi.OpPersistentReserveOut, scsi.OpMaintenanceIn:
		return true
	case scsi.OpServiceActionIn16:
		return len(b) > 1 && b[1]&0x1f == scsi.SAReadCapacity16
	}
	return false
}

// applies tells whether the action can happen to a command.
func (a *action) applies(b []byte) bool {
	op := scsi.OpCode(b[0])
	switch a.kind {
	case pdl:
		return op != scsi.OpReportLUNs
	case alua:
		return a.bars(b)
	case attention:
		return false // it is raised, not answered
	case miscompare:
		return op == scsi.OpCompareAndWrite
	case mediumError:
		return fetches(op) || rewrites(op)
	case reservationConflict:
		return !answersAlways(b) && op != scsi.OpPersistentReserveIn
	case corrupt:
		return (reads(op) || carries(op)) && a.reaches(b)
	case torn:
		return stores(op) && a.reaches(b)
	case noSpace:
		return changes(op) && op != scsi.OpUnmap && op != scsi.OpSanitize
	}
	return true
}

// reaches tells whether a command moves more than n bytes, where n is a place in its
// data; a CDB of nothing but an operation code stands for all.
func (a *action) reaches(b []byte) bool {
	if len(b) == 1 || a.kind == corrupt && !a.one {
		return true
	}
	c := blocksOf(b)
	blocks := uint64(c.Blocks)
	if c.Op == scsi.OpWriteSame10 || c.Op == scsi.OpWriteSame16 {
		blocks = 1
	}
	return uint64(a.n) < blocks*blockLength
}

// fits refuses a rule whose action can happen to nothing that its op= and lba= name.
func (r *Rule) fits(w word) error {
	switch r.layer {
	case engineLayer:
		if !r.engineFits() {
			return failed(w.at, "%s does not happen to what op= names", w.text)
		}
	case unitLayer:
		if r.action.kind == attention && (r.op.class != anyClass || r.blocks != nil) {
			return failed(w.at, "attention is no answer to a command: it has neither op= nor lba=")
		}
	}
	if r.action.kind == mediumError && (r.layer == unitLayer || r.blocks != nil) {
		if err := r.checkBad(); err != nil {
			return failed(w.at, "%v", err)
		}
	}
	if r.layer != unitLayer || r.tells() {
		return nil
	}
	for op := range 256 {
		o := scsi.OpCode(op)
		if r.op.covers(o) && (r.blocks == nil || names(o)) && r.action.applies([]byte{byte(o)}) {
			return nil
		}
	}
	if r.blocks != nil && r.op.class == opcodeClass && !names(r.op.code) {
		return failed(w.at, "a CDB of operation code %#02x names no blocks, as lba= needs", uint8(r.op.code))
	}
	return failed(w.at, "%s does not happen to commands that op= names", w.text)
}

func (r *Rule) engineFits() bool {
	if r.blocks != nil && r.op.class == flushClass {
		return false
	}
	switch r.action.kind {
	case mediumError:
		return r.blocks == nil || r.op.class == anyClass || r.op.class == readClass
	case noSpace:
		return r.op.class == anyClass || r.op.class == writeClass
	case corrupt:
		return r.op.class != flushClass
	}
	return true
}
