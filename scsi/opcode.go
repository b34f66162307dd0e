package scsi

import "fmt"

// OpCode is the operation code of a CDB (SPC-4 4.2.5.2).
type OpCode uint8

const (
	OpTestUnitReady        OpCode = 0x00
	OpRequestSense         OpCode = 0x03
	OpRead6                OpCode = 0x08
	OpWrite6               OpCode = 0x0a
	OpInquiry              OpCode = 0x12
	OpModeSelect6          OpCode = 0x15
	OpReserve6             OpCode = 0x16
	OpRelease6             OpCode = 0x17
	OpModeSense6           OpCode = 0x1a
	OpStartStopUnit        OpCode = 0x1b
	OpReceiveDiagnostic    OpCode = 0x1c
	OpSendDiagnostic       OpCode = 0x1d
	OpPreventAllow         OpCode = 0x1e
	OpReadCapacity10       OpCode = 0x25
	OpRead10               OpCode = 0x28
	OpWrite10              OpCode = 0x2a
	OpWriteAndVerify10     OpCode = 0x2e
	OpVerify10             OpCode = 0x2f
	OpPreFetch10           OpCode = 0x34
	OpSynchronizeCache10   OpCode = 0x35
	OpReadDefectData10     OpCode = 0x37
	OpWriteSame10          OpCode = 0x41
	OpUnmap                OpCode = 0x42
	OpSanitize             OpCode = 0x48
	OpLogSelect            OpCode = 0x4c
	OpLogSense             OpCode = 0x4d
	OpModeSelect10         OpCode = 0x55
	OpReserve10            OpCode = 0x56
	OpRelease10            OpCode = 0x57
	OpModeSense10          OpCode = 0x5a
	OpPersistentReserveIn  OpCode = 0x5e
	OpPersistentReserveOut OpCode = 0x5f
	OpVariableLength       OpCode = 0x7f
	OpExtendedCopy         OpCode = 0x83
	OpReceiveCopyResults   OpCode = 0x84
	OpATAPassThrough16     OpCode = 0x85
	OpRead16               OpCode = 0x88
	OpCompareAndWrite      OpCode = 0x89
	OpWrite16              OpCode = 0x8a
	OpOrWrite16            OpCode = 0x8b
	OpWriteAndVerify16     OpCode = 0x8e
	OpVerify16             OpCode = 0x8f
	OpPreFetch16           OpCode = 0x90
	OpSynchronizeCache16   OpCode = 0x91
	OpWriteSame16          OpCode = 0x93
	OpWriteAtomic16        OpCode = 0x9c
	OpServiceActionIn16    OpCode = 0x9e
	OpServiceActionOut16   OpCode = 0x9f
	OpReportLUNs           OpCode = 0xa0
	OpMaintenanceIn        OpCode = 0xa3
	OpMaintenanceOut       OpCode = 0xa4
	OpRead12               OpCode = 0xa8
	OpWrite12              OpCode = 0xaa
	OpWriteAndVerify12     OpCode = 0xae
	OpVerify12             OpCode = 0xaf
	OpReadDefectData12     OpCode = 0xb7
)

// Service actions.
const (
	SAReadCapacity16                 = 0x10 // of SERVICE ACTION IN(16)
	SAGetLBAStatus                   = 0x12
	SAReceiveBindingReport           = 0x0f
	SAReportIdentifyingInformation   = 0x05 // of MAINTENANCE IN
	SAReportTargetPortGroups         = 0x0a
	SAReportSupportedOperationCodes  = 0x0c
	SAReportSupportedTaskManagement  = 0x0d
	SASetTargetPortGroups            = 0x0a // of MAINTENANCE OUT
	SAExtendedCopyLID1               = 0x00 // of EXTENDED COPY
	SACopyStatusLID1                 = 0x00 // of RECEIVE COPY RESULTS
	SACopyOperatingParameters        = 0x03
	SAPersistentReadKeys             = 0x00 // of PERSISTENT RESERVE IN
	SAPersistentReadReservation      = 0x01
	SAPersistentReportCapabilities   = 0x02
	SAPersistentReadFullStatus       = 0x03
	SAPersistentRegister             = 0x00 // of PERSISTENT RESERVE OUT
	SAPersistentReserve              = 0x01
	SAPersistentRelease              = 0x02
	SAPersistentClear                = 0x03
	SAPersistentPreempt              = 0x04
	SAPersistentPreemptAndAbort      = 0x05
	SAPersistentRegisterAndIgnoreKey = 0x06
	SAPersistentRegisterAndMove      = 0x07
)

// String is the code as "2Ah".
func (o OpCode) String() string { return fmt.Sprintf("%02Xh", uint8(o)) }

// Length is the CDB length that the group code of o implies (SPC-4 4.2.5.2), 0
// for variable length and vendor specific groups.
func (o OpCode) Length() int {
	switch o >> 5 {
	case 0:
		return 6
	case 1, 2:
		return 10
	case 4:
		return 16
	case 5:
		return 12
	}
	return 0
}
