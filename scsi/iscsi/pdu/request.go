package pdu

import "vvsim/scsi"

// SCSICommand is RFC 7143 11.3.
type SCSICommand struct {
	Immediate          bool
	Final              bool // no unsolicited Data-Out follows
	Read, Write        bool
	Attribute          scsi.TaskAttribute
	DataLength         int // of the immediate data
	LUN                scsi.LUN
	TaskTag            uint32
	ExpectedDataLength uint32
	CmdSN, ExpStatSN   uint32
	CDB                [16]byte // longer CDBs go on in an extended CDB AHS
}

// Parse reads a BHS.
func (p *SCSICommand) Parse(h Header) {
	*p = SCSICommand{Immediate: h.Immediate(), Final: h.Final(), Read: h[1]&0x40 != 0, Write: h[1]&0x20 != 0,
		Attribute: scsi.TaskAttribute(h[1] & 7), DataLength: h.DataLength(), LUN: h.LUN(), TaskTag: h.TaskTag(),
		ExpectedDataLength: u32(h[20:]), CmdSN: u32(h[24:]), ExpStatSN: u32(h[28:]), CDB: [16]byte(h[32:48])}
}

// AppendTo appends the BHS.
func (p *SCSICommand) AppendTo(b []byte) []byte {
	b, h := grow(b, OpSCSICommand, p.Immediate)
	h[1] = flag(p.Final, 0x80) | flag(p.Read, 0x40) | flag(p.Write, 0x20) | byte(p.Attribute)&7
	putLength(h, p.DataLength)
	copy(h[8:], p.LUN[:])
	put32(h[16:], p.TaskTag)
	put32(h[20:], p.ExpectedDataLength)
	put32(h[24:], p.CmdSN)
	put32(h[28:], p.ExpStatSN)
	copy(h[32:], p.CDB[:])
	return b
}

// TaskManagement is the request of RFC 7143 11.5.
type TaskManagement struct {
	Immediate        bool
	Function         scsi.TaskFunction
	LUN              scsi.LUN
	TaskTag          uint32
	ReferencedTag    uint32
	CmdSN, ExpStatSN uint32
	RefCmdSN         uint32
	ExpDataSN        uint32
}

func (p *TaskManagement) Parse(h Header) {
	*p = TaskManagement{Immediate: h.Immediate(), Function: scsi.TaskFunction(h[1] & 0x7f), LUN: h.LUN(), TaskTag: h.TaskTag(),
		ReferencedTag: u32(h[20:]), CmdSN: u32(h[24:]), ExpStatSN: u32(h[28:]), RefCmdSN: u32(h[32:]), ExpDataSN: u32(h[36:])}
}

func (p *TaskManagement) AppendTo(b []byte) []byte {
	b, h := grow(b, OpTaskManagement, p.Immediate)
	h[1] = 0x80 | byte(p.Function)
	copy(h[8:], p.LUN[:])
	put32(h[16:], p.TaskTag)
	put32(h[20:], p.ReferencedTag)
	put32(h[24:], p.CmdSN)
	put32(h[28:], p.ExpStatSN)
	put32(h[32:], p.RefCmdSN)
	put32(h[36:], p.ExpDataSN)
	return b
}

// DataOut is RFC 7143 11.7.
type DataOut struct {
	Final        bool
	DataLength   int
	LUN          scsi.LUN
	TaskTag      uint32
	TransferTag  uint32 // ReservedTag for unsolicited data
	ExpStatSN    uint32
	DataSN       uint32
	BufferOffset uint32
}

func (p *DataOut) Parse(h Header) {
	*p = DataOut{Final: h.Final(), DataLength: h.DataLength(), LUN: h.LUN(), TaskTag: h.TaskTag(), TransferTag: u32(h[20:]),
		ExpStatSN: u32(h[28:]), DataSN: u32(h[36:]), BufferOffset: u32(h[40:])}
}

func (p *DataOut) AppendTo(b []byte) []byte {
	b, h := grow(b, OpDataOut, false)
	h[1] = flag(p.Final, 0x80)
	putLength(h, p.DataLength)
	copy(h[8:], p.LUN[:])
	put32(h[16:], p.TaskTag)
	put32(h[20:], p.TransferTag)
	put32(h[28:], p.ExpStatSN)
	put32(h[36:], p.DataSN)
	put32(h[40:], p.BufferOffset)
	return b
}

// Stage of a login (RFC 7143 11.12.3).
type Stage uint8

const (
	SecurityNegotiation    Stage = 0
	OperationalNegotiation Stage = 1
	FullFeaturePhase       Stage = 3
)

// LoginRequest is RFC 7143 11.12.
type LoginRequest struct {
	Transit, Continue      bool
	Current, Next          Stage
	VersionMax, VersionMin uint8
	DataLength             int
	ISID                   [6]byte
	TSIH                   uint16
	TaskTag                uint32
	CID                    uint16
	CmdSN, ExpStatSN       uint32
}

func (p *LoginRequest) Parse(h Header) {
	*p = LoginRequest{Transit: h[1]&0x80 != 0, Continue: h[1]&0x40 != 0, Current: Stage(h[1] >> 2 & 3), Next: Stage(h[1] & 3),
		VersionMax: h[2], VersionMin: h[3], DataLength: h.DataLength(), ISID: [6]byte(h[8:14]), TSIH: u16(h[14:]),
		TaskTag: h.TaskTag(), CID: u16(h[20:]), CmdSN: u32(h[24:]), ExpStatSN: u32(h[28:])}
}

func (p *LoginRequest) AppendTo(b []byte) []byte {
	b, h := grow(b, OpLoginRequest, true)
	h[1] = flag(p.Transit, 0x80) | flag(p.Continue, 0x40) | byte(p.Current)<<2 | byte(p.Next)
	h[2], h[3] = p.VersionMax, p.VersionMin
	putLength(h, p.DataLength)
	copy(h[8:], p.ISID[:])
	put16(h[14:], p.TSIH)
	put32(h[16:], p.TaskTag)
	put16(h[20:], p.CID)
	put32(h[24:], p.CmdSN)
	put32(h[28:], p.ExpStatSN)
	return b
}

// TextRequest is RFC 7143 11.10.
type TextRequest struct {
	Immediate, Final, Continue bool
	DataLength                 int
	LUN                        scsi.LUN
	TaskTag                    uint32
	TransferTag                uint32
	CmdSN, ExpStatSN           uint32
}

func (p *TextRequest) Parse(h Header) {
	*p = TextRequest{Immediate: h.Immediate(), Final: h.Final(), Continue: h[1]&0x40 != 0, DataLength: h.DataLength(), LUN: h.LUN(),
		TaskTag: h.TaskTag(), TransferTag: u32(h[20:]), CmdSN: u32(h[24:]), ExpStatSN: u32(h[28:])}
}

func (p *TextRequest) AppendTo(b []byte) []byte {
	b, h := grow(b, OpTextRequest, p.Immediate)
	h[1] = flag(p.Final, 0x80) | flag(p.Continue, 0x40)
	putLength(h, p.DataLength)
	copy(h[8:], p.LUN[:])
	put32(h[16:], p.TaskTag)
	put32(h[20:], p.TransferTag)
	put32(h[24:], p.CmdSN)
	put32(h[28:], p.ExpStatSN)
	return b
}

// LogoutReason of a Logout Request (RFC 7143 11.14.1).
type LogoutReason uint8

const (
	CloseSession      LogoutReason = 0
	CloseConnection   LogoutReason = 1
	RemoveForRecovery LogoutReason = 2
)

// LogoutRequest is RFC 7143 11.14.
type LogoutRequest struct {
	Immediate        bool
	Reason           LogoutReason
	TaskTag          uint32
	CID              uint16
	CmdSN, ExpStatSN uint32
}

func (p *LogoutRequest) Parse(h Header) {
	*p = LogoutRequest{Immediate: h.Immediate(), Reason: LogoutReason(h[1] & 0x7f), TaskTag: h.TaskTag(), CID: u16(h[20:]),
		CmdSN: u32(h[24:]), ExpStatSN: u32(h[28:])}
}

func (p *LogoutRequest) AppendTo(b []byte) []byte {
	b, h := grow(b, OpLogoutRequest, p.Immediate)
	h[1] = 0x80 | byte(p.Reason)
	put32(h[16:], p.TaskTag)
	put16(h[20:], p.CID)
	put32(h[24:], p.CmdSN)
	put32(h[28:], p.ExpStatSN)
	return b
}

// NOPOut is RFC 7143 11.18.
type NOPOut struct {
	Immediate        bool
	DataLength       int
	LUN              scsi.LUN
	TaskTag          uint32 // ReservedTag: no answer wanted
	TransferTag      uint32 // that of the NOP-In it answers, or ReservedTag
	CmdSN, ExpStatSN uint32
}

func (p *NOPOut) Parse(h Header) {
	*p = NOPOut{Immediate: h.Immediate(), DataLength: h.DataLength(), LUN: h.LUN(), TaskTag: h.TaskTag(), TransferTag: u32(h[20:]),
		CmdSN: u32(h[24:]), ExpStatSN: u32(h[28:])}
}

func (p *NOPOut) AppendTo(b []byte) []byte {
	b, h := grow(b, OpNOPOut, p.Immediate)
	h[1] = 0x80
	putLength(h, p.DataLength)
	copy(h[8:], p.LUN[:])
	put32(h[16:], p.TaskTag)
	put32(h[20:], p.TransferTag)
	put32(h[24:], p.CmdSN)
	put32(h[28:], p.ExpStatSN)
	return b
}
