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
	freeClass  reservationClass = iota // allowed under every reservation
	readyClass                         // allowed under persistent reservations, refused under SPC-2 ones
	readClass                          // allowed under write exclusive types
	writeClass                         // refused under all types
	ownClass                           // the handler decides: reservation commands
)

// traits are the exceptions that a command makes.
type traits uint8

const (
	// exempt commands run with a unit attention pending (SPC-4 5.14).
	exempt traits = 1 << iota
	// standby commands run on a target port in the standby state, besides the
	// anyState ones (SPC-4 5.15.2.4.4, which leaves others open: READ CAPACITY and
	// what tells of capabilities let a host attach a standby path).
	standby
	// anyState commands run on a target port in any access state (SPC-4
	// 5.15.2.4.5), and while a SANITIZE runs or has failed (SBC-3 4.11).
	anyState
	// media commands read or write blocks for the initiator (Traffic).
	media
	// prompt commands wait for nothing but memory, unless they are to be on stable storage.
	prompt
)

// command is one row: all that is known of an operation code or service action.
type command struct {
	op     scsi.OpCode
	action int // service action, -1 where there is none
	name   string
	kinds  Kind
	class  reservationClass
	traits traits
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
		{scsi.OpTestUnitReady, -1, "TEST UNIT READY", every, readyClass, 0, u(scsi.OpTestUnitReady, 0, 0, 0, 0, 0), nil, testUnitReady},
		{scsi.OpRequestSense, -1, "REQUEST SENSE", every, freeClass, exempt | anyState, u(scsi.OpRequestSense, 0x01, 0, 0, 0xff, 0), nil, requestSense},
		{scsi.OpInquiry, -1, "INQUIRY", every, freeClass, exempt | anyState, u(scsi.OpInquiry, 0x01, 0xff, 0xff, 0xff, 0), nil, inquiry},
		{scsi.OpReportLUNs, -1, "REPORT LUNS", every, freeClass, exempt | anyState,
			u(scsi.OpReportLUNs, 0, 0xff, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0), nil, reportLUNs},
		{scsi.OpModeSense6, -1, "MODE SENSE(6)", most, readClass, standby, u(scsi.OpModeSense6, 0x08, 0xff, 0xff, 0xff, 0), nil, modeSense},
		{scsi.OpModeSense10, -1, "MODE SENSE(10)", most, readClass, standby,
			u(scsi.OpModeSense10, 0x18, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, 0), nil, modeSense},
		{scsi.OpModeSelect6, -1, "MODE SELECT(6)", most, writeClass, standby, u(scsi.OpModeSelect6, 0x11, 0, 0, 0xff, 0), parameterList, modeSelect},
		{scsi.OpModeSelect10, -1, "MODE SELECT(10)", most, writeClass, standby,
			u(scsi.OpModeSelect10, 0x11, 0, 0, 0, 0, 0, 0xff, 0xff, 0), parameterList, modeSelect},
		{scsi.OpLogSense, -1, "LOG SENSE", most, freeClass, standby,
			u(scsi.OpLogSense, 0x01, 0xff, 0xff, 0, 0xff, 0xff, 0xff, 0xff, 0), nil, logSense},
		{scsi.OpStartStopUnit, -1, "START STOP UNIT", v, writeClass, 0, u(scsi.OpStartStopUnit, 0x01, 0, 0x0f, 0xf7, 0), nil, startStopUnit},
		{scsi.OpSendDiagnostic, -1, "SEND DIAGNOSTIC", most, writeClass, standby, u(scsi.OpSendDiagnostic, 0xf7, 0, 0xff, 0xff, 0), nil, sendDiagnostic},
		{scsi.OpPreventAllow, -1, "PREVENT ALLOW MEDIUM REMOVAL", v, writeClass, 0, u(scsi.OpPreventAllow, 0, 0, 0, 0x03, 0), nil, preventAllow},
		{scsi.OpMaintenanceIn, scsi.SAReportTargetPortGroups, "REPORT TARGET PORT GROUPS", most, freeClass, anyState,
			u(scsi.OpMaintenanceIn, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0), nil, reportTargetPortGroups},
		{scsi.OpMaintenanceIn, scsi.SAReportSupportedOperationCodes, "REPORT SUPPORTED OPERATION CODES", most, readClass, standby,
			u(scsi.OpMaintenanceIn, 0x1f, 0x87, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0), nil, reportOperationCodes},
		{scsi.OpMaintenanceIn, scsi.SAReportSupportedTaskManagement, "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", most, readClass, standby,
			u(scsi.OpMaintenanceIn, 0x1f, 0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0), nil, reportTaskManagement},
		{scsi.OpMaintenanceOut, scsi.SASetTargetPortGroups, "SET TARGET PORT GROUPS", most, writeClass, anyState,
			u(scsi.OpMaintenanceOut, 0x1f, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0), parameterList, setTargetPortGroups},
	}
}

func blockRows() []command {
	const v, most = Volume, Volume | Administrative
	const fua = cdb.DPO | cdb.FUA | 0x02 // bit 1 was FUA_NV, obsolete and ignored (SBC-3 5.8)
	return []command{
		{scsi.OpReadCapacity10, -1, "READ CAPACITY(10)", most, freeClass, standby,
			u(scsi.OpReadCapacity10, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0x01, 0), nil, readCapacity10},
		{scsi.OpServiceActionIn16, scsi.SAReadCapacity16, "READ CAPACITY(16)", most, freeClass, standby,
			u(scsi.OpServiceActionIn16, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0), nil, readCapacity16},
		{scsi.OpRead6, -1, "READ(6)", v, readClass, media | prompt, u6(scsi.OpRead6), nil, read},
		{scsi.OpRead10, -1, "READ(10)", v, readClass, media | prompt, u10(scsi.OpRead10, fua), nil, read},
		{scsi.OpRead12, -1, "READ(12)", v, readClass, media | prompt, u12(scsi.OpRead12, fua), nil, read},
		{scsi.OpRead16, -1, "READ(16)", v, readClass, media | prompt, u16(scsi.OpRead16, fua), nil, read},
		{scsi.OpWrite6, -1, "WRITE(6)", v, writeClass, media | prompt, u6(scsi.OpWrite6), blocksOut, write},
		{scsi.OpWrite10, -1, "WRITE(10)", v, writeClass, media | prompt, u10(scsi.OpWrite10, fua), blocksOut, write},
		{scsi.OpWrite12, -1, "WRITE(12)", v, writeClass, media | prompt, u12(scsi.OpWrite12, fua), blocksOut, write},
		{scsi.OpWrite16, -1, "WRITE(16)", v, writeClass, media | prompt, u16(scsi.OpWrite16, fua), blocksOut, write},
		{scsi.OpWriteAtomic16, -1, "WRITE ATOMIC(16)", v, writeClass, media,
			u(scsi.OpWriteAtomic16, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0), blocksOut, writeAtomic},
		{scsi.OpWriteAndVerify10, -1, "WRITE AND VERIFY(10)", v, writeClass, media, u10(scsi.OpWriteAndVerify10, 0x16), blocksOut, writeAndVerify},
		{scsi.OpWriteAndVerify12, -1, "WRITE AND VERIFY(12)", v, writeClass, media, u12(scsi.OpWriteAndVerify12, 0x16), blocksOut, writeAndVerify},
		{scsi.OpWriteAndVerify16, -1, "WRITE AND VERIFY(16)", v, writeClass, media, u16(scsi.OpWriteAndVerify16, 0x16), blocksOut, writeAndVerify},
		{scsi.OpVerify10, -1, "VERIFY(10)", v, readClass, media, u10(scsi.OpVerify10, 0x16), verifyOut, verify},
		{scsi.OpVerify12, -1, "VERIFY(12)", v, readClass, media, u12(scsi.OpVerify12, 0x16), verifyOut, verify},
		{scsi.OpVerify16, -1, "VERIFY(16)", v, readClass, media, u16(scsi.OpVerify16, 0x16), verifyOut, verify},
		{scsi.OpOrWrite16, -1, "ORWRITE(16)", v, writeClass, media, u16(scsi.OpOrWrite16, 0x18), blocksOut, orWrite},
		{scsi.OpCompareAndWrite, -1, "COMPARE AND WRITE", v, writeClass, media,
			u(scsi.OpCompareAndWrite, fua, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0xff, 0x1f, 0), twiceBlocksOut, compareAndWrite},
		{scsi.OpPreFetch10, -1, "PRE-FETCH(10)", v, readClass, 0, u10(scsi.OpPreFetch10, 0x02), nil, preFetch},
		{scsi.OpPreFetch16, -1, "PRE-FETCH(16)", v, readClass, 0, u16(scsi.OpPreFetch16, 0x02), nil, preFetch},
		{scsi.OpSynchronizeCache10, -1, "SYNCHRONIZE CACHE(10)", v, writeClass, 0, u10(scsi.OpSynchronizeCache10, 0x06), nil, synchronizeCache},
		{scsi.OpSynchronizeCache16, -1, "SYNCHRONIZE CACHE(16)", v, writeClass, 0, u16(scsi.OpSynchronizeCache16, 0x06), nil, synchronizeCache},
		{scsi.OpReadDefectData10, -1, "READ DEFECT DATA(10)", v, readClass, 0,
			u(scsi.OpReadDefectData10, 0, 0x1f, 0, 0, 0, 0, 0xff, 0xff, 0), nil, readDefectData},
		{scsi.OpReadDefectData12, -1, "READ DEFECT DATA(12)", v, readClass, 0,
			u(scsi.OpReadDefectData12, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0), nil, readDefectData},
	}
}

func provisioningRows() []command {
	const v = Volume
	sanitize := u(scsi.OpSanitize, 0xff, 0, 0, 0, 0, 0, 0xff, 0xff, 0)
	return []command{
		{scsi.OpUnmap, -1, "UNMAP", v, writeClass, media, u(scsi.OpUnmap, 0, 0, 0, 0, 0, 0x1f, 0xff, 0xff, 0), parameterList, unmap},
		{scsi.OpWriteSame10, -1, "WRITE SAME(10)", v, writeClass, media, u10(scsi.OpWriteSame10, 0x18), oneBlockOut, writeSame},
		{scsi.OpWriteSame16, -1, "WRITE SAME(16)", v, writeClass, media, u16(scsi.OpWriteSame16, 0x19), oneBlockOut, writeSame},
		{scsi.OpServiceActionIn16, scsi.SAGetLBAStatus, "GET LBA STATUS", v, readClass, 0,
			u(scsi.OpServiceActionIn16, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0), nil, getLBAStatus},
		{scsi.OpSanitize, sanitizeOverwrite, "SANITIZE OVERWRITE", v, writeClass, 0, sanitize, parameterList, sanitizeRun},
		{scsi.OpSanitize, sanitizeBlockErase, "SANITIZE BLOCK ERASE", v, writeClass, 0, sanitize, nil, sanitizeRun},
		{scsi.OpSanitize, sanitizeCryptoErase, "SANITIZE CRYPTOGRAPHIC ERASE", v, writeClass, 0, sanitize, nil, sanitizeRun},
		{scsi.OpSanitize, sanitizeExitFailure, "SANITIZE EXIT FAILURE MODE", v, writeClass, 0, sanitize, nil, sanitizeRun},
	}
}

func reservationRows() []command {
	const v = Volume
	in := u(scsi.OpPersistentReserveIn, 0x1f, 0, 0, 0, 0, 0, 0xff, 0xff, 0)
	out := u(scsi.OpPersistentReserveOut, 0x1f, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0)
	all := []command{
		{scsi.OpReserve6, -1, "RESERVE(6)", v, ownClass, 0, u(scsi.OpReserve6, 0, 0, 0, 0, 0), nil, reserve},
		{scsi.OpRelease6, -1, "RELEASE(6)", v, ownClass, 0, u(scsi.OpRelease6, 0, 0, 0, 0, 0), nil, release},
		{scsi.OpReserve10, -1, "RESERVE(10)", v, ownClass, 0, u(scsi.OpReserve10, 0, 0, 0, 0, 0, 0, 0, 0, 0), nil, reserve},
		{scsi.OpRelease10, -1, "RELEASE(10)", v, ownClass, 0, u(scsi.OpRelease10, 0, 0, 0, 0, 0, 0, 0, 0, 0), nil, release},
	}
	for action, name := range []string{"READ KEYS", "READ RESERVATION", "REPORT CAPABILITIES", "READ FULL STATUS"} {
		all = append(all, command{scsi.OpPersistentReserveIn, action, "PERSISTENT RESERVE IN, " + name, v | Administrative, ownClass, standby, in, nil, persistentIn})
	}
	for action, name := range []string{"REGISTER", "RESERVE", "RELEASE", "CLEAR", "PREEMPT", "PREEMPT AND ABORT",
		"REGISTER AND IGNORE EXISTING KEY", "REGISTER AND MOVE"} {
		all = append(all, command{scsi.OpPersistentReserveOut, action, "PERSISTENT RESERVE OUT, " + name, v, ownClass, standby, out, parameterList, persistentOut})
	}
	return all
}

func copyRows() []command {
	const v = Volume
	receive := u(scsi.OpReceiveCopyResults, 0x1f, 0xff, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0)
	return []command{
		{scsi.OpExtendedCopy, scsi.SAExtendedCopyLID1, "EXTENDED COPY(LID1)", v, writeClass, 0,
			u(scsi.OpExtendedCopy, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0), parameterList, extendedCopy},
		{scsi.OpReceiveCopyResults, scsi.SACopyStatusLID1, "RECEIVE COPY STATUS(LID1)", v, readClass, 0, receive, nil, copyStatus},
		{scsi.OpReceiveCopyResults, scsi.SACopyOperatingParameters, "RECEIVE COPY OPERATING PARAMETERS", v, readClass, 0, receive, nil, copyOperatingParameters},
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
