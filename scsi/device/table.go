package device

import (
	"math/bits"
	"sync"

	"vvsim/scsi"
	"vvsim/scsi/cdb"
)

// reservationClass says how a command fares while another nexus holds a
// reservation (SPC-4 table 66, SBC-3 table 13).
type reservationClass uint8

const (
	freeClass   reservationClass = iota // allowed under every reservation
	readClass                           // allowed under write exclusive types
	writeClass                          // refused under all types
	headerClass                         // START STOP UNIT and its kin: refused like writes
	ownClass                            // the handler decides: reservation commands
)

// command is one row: all that is known of an operation code or service action.
type command struct {
	op     scsi.OpCode
	action int // service action, -1 where there is none
	name   string
	kinds  Kind
	class  reservationClass
	exempt bool // runs with a unit attention pending (SPC-4 5.14)
	// usage is the CDB usage data of REPORT SUPPORTED OPERATION CODES: which bits a
	// CDB may set (SPC-4 6.35.3). Its length is that of the CDB.
	usage []byte
	// dataOut is the number of Data-Out bytes; nil where none are sent.
	dataOut func(lu *LogicalUnit, b []byte) int
	run     func(lu *LogicalUnit, t *scsi.Task) scsi.Response
}

// opcode is what the table holds of one operation code: one command, or several
// by service action.
type opcode struct {
	single  *command
	actions map[uint8]*command
}

// table is all rows by operation code.
type table [256]*opcode

// sharedTable is built by the first logical unit and never changes. Handlers
// reach it through their logical unit, as rows refer to handlers.
var sharedTable = sync.OnceValue(func() *table {
	t := &table{}
	all := rows()
	for i := range all {
		c := &all[i]
		if t[c.op] == nil {
			t[c.op] = &opcode{}
		}
		if c.action < 0 {
			t[c.op].single = c
			continue
		}
		if t[c.op].actions == nil {
			t[c.op].actions = map[uint8]*command{}
		}
		t[c.op].actions[uint8(c.action)] = c
	}
	return t
})

// lookUp finds the row of a CDB.
func (t *table) lookUp(b []byte) *command {
	o := t[b[0]]
	switch {
	case o == nil:
		return nil
	case o.single != nil:
		return o.single
	}
	return o.actions[b[1]&0x1f]
}

// checkUsage refuses bits that the row does not allow, pointing at the highest
// one of the first byte that has any (SPC-4 4.5.2.4.2).
func (c *command) checkUsage(b []byte) *scsi.SenseData {
	for i := 1; i < len(c.usage); i++ {
		if extra := b[i] &^ c.usage[i]; extra != 0 {
			s := scsi.InvalidBitInCDB(i, uint8(bits.Len8(extra)-1))
			return &s
		}
	}
	return nil
}

// u builds usage data: the operation code, then the given bytes.
func u(op scsi.OpCode, rest ...byte) []byte { return append([]byte{byte(op)}, rest...) }

// Usage of the block commands: byte 1, then LBA, length and group. The CONTROL
// byte is always zero: NACA is not supported (SAM-5 5.2).
func u6(op scsi.OpCode) []byte { return u(op, 0x1f, 0xff, 0xff, 0xff, 0) }
func u10(op scsi.OpCode, flags byte) []byte {
	return u(op, flags, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0)
}
func u12(op scsi.OpCode, flags byte) []byte {
	return u(op, flags, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0)
}
func u16(op scsi.OpCode, flags byte) []byte {
	return u(op, flags, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0)
}

// rows is the command table.
func rows() []command {
	all := primaryRows()
	all = append(all, blockRows()...)
	all = append(all, provisioningRows()...)
	all = append(all, reservationRows()...)
	return append(all, copyRows()...)
}

func primaryRows() []command {
	const v, every = Volume, everyKind
	most := Volume | Administrative
	return []command{
		{scsi.OpTestUnitReady, -1, "TEST UNIT READY", every, readClass, false, u(scsi.OpTestUnitReady, 0, 0, 0, 0, 0), nil, testUnitReady},
		{scsi.OpRequestSense, -1, "REQUEST SENSE", every, freeClass, true, u(scsi.OpRequestSense, 0x01, 0, 0, 0xff, 0), nil, requestSense},
		{scsi.OpInquiry, -1, "INQUIRY", every, freeClass, true, u(scsi.OpInquiry, 0x01, 0xff, 0xff, 0xff, 0), nil, inquiry},
		{scsi.OpReportLUNs, -1, "REPORT LUNS", every, freeClass, true,
			u(scsi.OpReportLUNs, 0, 0xff, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0), nil, reportLUNs},
		{scsi.OpModeSense6, -1, "MODE SENSE(6)", most, readClass, false, u(scsi.OpModeSense6, 0x08, 0xff, 0xff, 0xff, 0), nil, modeSense},
		{scsi.OpModeSense10, -1, "MODE SENSE(10)", most, readClass, false,
			u(scsi.OpModeSense10, 0x18, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, 0), nil, modeSense},
		{scsi.OpModeSelect6, -1, "MODE SELECT(6)", most, writeClass, false, u(scsi.OpModeSelect6, 0x11, 0, 0, 0xff, 0), parameterList, modeSelect},
		{scsi.OpModeSelect10, -1, "MODE SELECT(10)", most, writeClass, false,
			u(scsi.OpModeSelect10, 0x11, 0, 0, 0, 0, 0, 0xff, 0xff, 0), parameterList, modeSelect},
		{scsi.OpLogSense, -1, "LOG SENSE", most, readClass, false,
			u(scsi.OpLogSense, 0x01, 0xff, 0xff, 0, 0xff, 0xff, 0xff, 0xff, 0), nil, logSense},
		{scsi.OpStartStopUnit, -1, "START STOP UNIT", v, headerClass, false, u(scsi.OpStartStopUnit, 0x01, 0, 0x0f, 0xf7, 0), nil, startStopUnit},
		{scsi.OpPreventAllow, -1, "PREVENT ALLOW MEDIUM REMOVAL", v, headerClass, false, u(scsi.OpPreventAllow, 0, 0, 0, 0x03, 0), nil, preventAllow},
		{scsi.OpMaintenanceIn, scsi.SAReportTargetPortGroups, "REPORT TARGET PORT GROUPS", most, freeClass, false,
			u(scsi.OpMaintenanceIn, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0), nil, reportTargetPortGroups},
		{scsi.OpMaintenanceIn, scsi.SAReportSupportedOperationCodes, "REPORT SUPPORTED OPERATION CODES", most, freeClass, false,
			u(scsi.OpMaintenanceIn, 0x1f, 0x87, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0), nil, reportOperationCodes},
		{scsi.OpMaintenanceIn, scsi.SAReportSupportedTaskManagement, "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", most, freeClass, false,
			u(scsi.OpMaintenanceIn, 0x1f, 0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0), nil, reportTaskManagement},
		{scsi.OpMaintenanceOut, scsi.SASetTargetPortGroups, "SET TARGET PORT GROUPS", most, headerClass, false,
			u(scsi.OpMaintenanceOut, 0x1f, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0), parameterList, setTargetPortGroups},
	}
}

func blockRows() []command {
	const v = Volume
	const fua = cdb.DPO | cdb.FUA | 0x02 // bit 1 was FUA_NV, obsolete and ignored (SBC-3 5.8)
	return []command{
		{scsi.OpReadCapacity10, -1, "READ CAPACITY(10)", v | Administrative, freeClass, false,
			u(scsi.OpReadCapacity10, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0x01, 0), nil, readCapacity10},
		{scsi.OpServiceActionIn16, scsi.SAReadCapacity16, "READ CAPACITY(16)", v | Administrative, freeClass, false,
			u(scsi.OpServiceActionIn16, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0), nil, readCapacity16},
		{scsi.OpRead6, -1, "READ(6)", v, readClass, false, u6(scsi.OpRead6), nil, read},
		{scsi.OpRead10, -1, "READ(10)", v, readClass, false, u10(scsi.OpRead10, fua), nil, read},
		{scsi.OpRead12, -1, "READ(12)", v, readClass, false, u12(scsi.OpRead12, fua), nil, read},
		{scsi.OpRead16, -1, "READ(16)", v, readClass, false, u16(scsi.OpRead16, fua), nil, read},
		{scsi.OpWrite6, -1, "WRITE(6)", v, writeClass, false, u6(scsi.OpWrite6), blocksOut, write},
		{scsi.OpWrite10, -1, "WRITE(10)", v, writeClass, false, u10(scsi.OpWrite10, fua), blocksOut, write},
		{scsi.OpWrite12, -1, "WRITE(12)", v, writeClass, false, u12(scsi.OpWrite12, fua), blocksOut, write},
		{scsi.OpWrite16, -1, "WRITE(16)", v, writeClass, false, u16(scsi.OpWrite16, fua), blocksOut, write},
		{scsi.OpWriteAtomic16, -1, "WRITE ATOMIC(16)", v, writeClass, false,
			u(scsi.OpWriteAtomic16, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0), blocksOut, writeAtomic},
		{scsi.OpWriteAndVerify10, -1, "WRITE AND VERIFY(10)", v, writeClass, false, u10(scsi.OpWriteAndVerify10, 0x16), blocksOut, writeAndVerify},
		{scsi.OpWriteAndVerify12, -1, "WRITE AND VERIFY(12)", v, writeClass, false, u12(scsi.OpWriteAndVerify12, 0x16), blocksOut, writeAndVerify},
		{scsi.OpWriteAndVerify16, -1, "WRITE AND VERIFY(16)", v, writeClass, false, u16(scsi.OpWriteAndVerify16, 0x16), blocksOut, writeAndVerify},
		{scsi.OpVerify10, -1, "VERIFY(10)", v, readClass, false, u10(scsi.OpVerify10, 0x16), verifyOut, verify},
		{scsi.OpVerify12, -1, "VERIFY(12)", v, readClass, false, u12(scsi.OpVerify12, 0x16), verifyOut, verify},
		{scsi.OpVerify16, -1, "VERIFY(16)", v, readClass, false, u16(scsi.OpVerify16, 0x16), verifyOut, verify},
		{scsi.OpOrWrite16, -1, "ORWRITE(16)", v, writeClass, false, u16(scsi.OpOrWrite16, 0x18), blocksOut, orWrite},
		{scsi.OpCompareAndWrite, -1, "COMPARE AND WRITE", v, writeClass, false,
			u(scsi.OpCompareAndWrite, fua, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0xff, 0x1f, 0), twiceBlocksOut, compareAndWrite},
		{scsi.OpPreFetch10, -1, "PRE-FETCH(10)", v, readClass, false, u10(scsi.OpPreFetch10, 0x02), nil, preFetch},
		{scsi.OpPreFetch16, -1, "PRE-FETCH(16)", v, readClass, false, u16(scsi.OpPreFetch16, 0x02), nil, preFetch},
		{scsi.OpSynchronizeCache10, -1, "SYNCHRONIZE CACHE(10)", v, writeClass, false, u10(scsi.OpSynchronizeCache10, 0x06), nil, synchronizeCache},
		{scsi.OpSynchronizeCache16, -1, "SYNCHRONIZE CACHE(16)", v, writeClass, false, u16(scsi.OpSynchronizeCache16, 0x06), nil, synchronizeCache},
		{scsi.OpReadDefectData10, -1, "READ DEFECT DATA(10)", v, readClass, false,
			u(scsi.OpReadDefectData10, 0, 0x1f, 0, 0, 0, 0, 0xff, 0xff, 0), nil, readDefectData},
		{scsi.OpReadDefectData12, -1, "READ DEFECT DATA(12)", v, readClass, false,
			u(scsi.OpReadDefectData12, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0), nil, readDefectData},
	}
}

func provisioningRows() []command {
	const v = Volume
	sanitize := u(scsi.OpSanitize, 0xff, 0, 0, 0, 0, 0, 0xff, 0xff, 0)
	return []command{
		{scsi.OpUnmap, -1, "UNMAP", v, writeClass, false, u(scsi.OpUnmap, 0, 0, 0, 0, 0, 0x1f, 0xff, 0xff, 0), parameterList, unmap},
		{scsi.OpWriteSame10, -1, "WRITE SAME(10)", v, writeClass, false, u10(scsi.OpWriteSame10, 0x18), oneBlockOut, writeSame},
		{scsi.OpWriteSame16, -1, "WRITE SAME(16)", v, writeClass, false, u16(scsi.OpWriteSame16, 0x19), oneBlockOut, writeSame},
		{scsi.OpServiceActionIn16, scsi.SAGetLBAStatus, "GET LBA STATUS", v, readClass, false,
			u(scsi.OpServiceActionIn16, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0), nil, getLBAStatus},
		{scsi.OpSanitize, sanitizeOverwrite, "SANITIZE OVERWRITE", v, writeClass, false, sanitize, parameterList, sanitizeRun},
		{scsi.OpSanitize, sanitizeBlockErase, "SANITIZE BLOCK ERASE", v, writeClass, false, sanitize, nil, sanitizeRun},
		{scsi.OpSanitize, sanitizeExitFailure, "SANITIZE EXIT FAILURE MODE", v, writeClass, false, sanitize, nil, sanitizeRun},
	}
}

func reservationRows() []command {
	const v = Volume
	in := u(scsi.OpPersistentReserveIn, 0x1f, 0, 0, 0, 0, 0, 0xff, 0xff, 0)
	out := u(scsi.OpPersistentReserveOut, 0x1f, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0)
	all := []command{
		{scsi.OpReserve6, -1, "RESERVE(6)", v, ownClass, false, u(scsi.OpReserve6, 0, 0, 0, 0, 0), nil, reserve},
		{scsi.OpRelease6, -1, "RELEASE(6)", v, ownClass, false, u(scsi.OpRelease6, 0, 0, 0, 0, 0), nil, release},
		{scsi.OpReserve10, -1, "RESERVE(10)", v, ownClass, false, u(scsi.OpReserve10, 0, 0, 0, 0, 0, 0, 0, 0, 0), nil, reserve},
		{scsi.OpRelease10, -1, "RELEASE(10)", v, ownClass, false, u(scsi.OpRelease10, 0, 0, 0, 0, 0, 0, 0, 0, 0), nil, release},
	}
	for action, name := range []string{"READ KEYS", "READ RESERVATION", "REPORT CAPABILITIES", "READ FULL STATUS"} {
		all = append(all, command{scsi.OpPersistentReserveIn, action, "PERSISTENT RESERVE IN, " + name, v, ownClass, false, in, nil, persistentIn})
	}
	for action, name := range []string{"REGISTER", "RESERVE", "RELEASE", "CLEAR", "PREEMPT", "PREEMPT AND ABORT",
		"REGISTER AND IGNORE EXISTING KEY", "REGISTER AND MOVE"} {
		all = append(all, command{scsi.OpPersistentReserveOut, action, "PERSISTENT RESERVE OUT, " + name, v, ownClass, false, out, parameterList, persistentOut})
	}
	return all
}

func copyRows() []command {
	const v = Volume
	receive := u(scsi.OpReceiveCopyResults, 0x1f, 0xff, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0)
	return []command{
		{scsi.OpExtendedCopy, scsi.SAExtendedCopyLID1, "EXTENDED COPY(LID1)", v, writeClass, false,
			u(scsi.OpExtendedCopy, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0), parameterList, extendedCopy},
		{scsi.OpReceiveCopyResults, scsi.SACopyStatusLID1, "RECEIVE COPY STATUS(LID1)", v, readClass, false, receive, nil, copyStatus},
		{scsi.OpReceiveCopyResults, scsi.SACopyOperatingParameters, "RECEIVE COPY OPERATING PARAMETERS", v, readClass, false, receive, nil, copyOperatingParameters},
	}
}

// parameterList is the Data-Out of a command with a parameter list length.
func parameterList(_ *LogicalUnit, b []byte) int {
	var c cdb.Parameter
	c.Parse(b)
	if c.Length > maxParameterList {
		return 0
	}
	return int(c.Length)
}

// blocksOut is the Data-Out of a write; nothing is fetched for a transfer that
// will be refused as too long.
func blocksOut(lu *LogicalUnit, b []byte) int {
	var c cdb.Block
	c.Parse(b)
	if n := uint64(c.Blocks) * BlockLength; n <= uint64(lu.c.Limits.MaxTransfer) {
		return int(n)
	}
	return 0
}

func twiceBlocksOut(lu *LogicalUnit, b []byte) int {
	if int(b[13]) > lu.c.Limits.MaxCompareWrite {
		return 0
	}
	return 2 * BlockLength * int(b[13])
}

func oneBlockOut(_ *LogicalUnit, b []byte) int {
	if scsi.OpCode(b[0]) == scsi.OpWriteSame16 && b[1]&cdb.NDOB != 0 {
		return 0
	}
	return BlockLength
}

func verifyOut(lu *LogicalUnit, b []byte) int {
	switch b[1] & cdb.ByteChk {
	case 0x02:
		return blocksOut(lu, b)
	case 0x06:
		return BlockLength
	}
	return 0
}
