package pdu

import "vvsim/scsi"

// Window carries the sequence numbers of every target PDU (RFC 7143 11.2.1).
type Window struct {
	StatSN, ExpCmdSN, MaxCmdSN uint32
}

func (w *Window) parse(h []byte) {
	*w = Window{u32(h[24:]), u32(h[28:]), u32(h[32:])}
}

func (w *Window) put(h []byte) {
	put32(h[24:], w.StatSN)
	put32(h[28:], w.ExpCmdSN)
	put32(h[32:], w.MaxCmdSN)
}

// Residual of a SCSI command (RFC 7143 11.4.5). At most one of the flags is set.
type Residual struct {
	Overflow, Underflow bool
	Count               uint32
}

func (r Residual) bits() byte { return flag(r.Overflow, 0x04) | flag(r.Underflow, 0x02) }

func parseResidual(h []byte) Residual {
	return Residual{Overflow: h[1]&0x04 != 0, Underflow: h[1]&0x02 != 0, Count: u32(h[44:])}
}

// SCSIResponse is RFC 7143 11.4. With CHECK CONDITION its data segment is a
// two-byte length and the sense data.
type SCSIResponse struct {
	Response   uint8 // 0 completed at target, 1 target failure
	Status     scsi.Status
	DataLength int
	TaskTag    uint32
	Window
	ExpDataSN uint32
	Residual  Residual
}

func (p *SCSIResponse) Parse(h Header) {
	*p = SCSIResponse{Response: h[2], Status: scsi.Status(h[3]), DataLength: h.DataLength(), TaskTag: h.TaskTag(),
		ExpDataSN: u32(h[36:]), Residual: parseResidual(h)}
	p.Window.parse(h)
}

func (p *SCSIResponse) AppendTo(b []byte) []byte {
	b, h := grow(b, OpSCSIResponse, false)
	h[1] = 0x80 | p.Residual.bits()
	h[2], h[3] = p.Response, byte(p.Status)
	putLength(h, p.DataLength)
	put32(h[16:], p.TaskTag)
	p.put(h)
	put32(h[36:], p.ExpDataSN)
	put32(h[44:], p.Residual.Count)
	return b
}

// TaskManagementResponse is RFC 7143 11.6.
type TaskManagementResponse struct {
	Response scsi.ManagementResponse
	TaskTag  uint32
	Window
}

func (p *TaskManagementResponse) Parse(h Header) {
	*p = TaskManagementResponse{Response: scsi.ManagementResponse(h[2]), TaskTag: h.TaskTag()}
	p.Window.parse(h)
}

func (p *TaskManagementResponse) AppendTo(b []byte) []byte {
	b, h := grow(b, OpTaskManagementResp, false)
	h[1], h[2] = 0x80, byte(p.Response)
	put32(h[16:], p.TaskTag)
	p.put(h)
	return b
}

// DataIn is RFC 7143 11.7. StatSN, Status and Residual count only with HasStatus.
type DataIn struct {
	Final, Acknowledge, HasStatus bool
	Status                        scsi.Status
	DataLength                    int
	LUN                           scsi.LUN
	TaskTag, TransferTag          uint32
	Window
	DataSN, BufferOffset uint32
	Residual             Residual
}

func (p *DataIn) Parse(h Header) {
	*p = DataIn{Final: h.Final(), Acknowledge: h[1]&0x40 != 0, HasStatus: h[1]&0x01 != 0, Status: scsi.Status(h[3]),
		DataLength: h.DataLength(), LUN: h.LUN(), TaskTag: h.TaskTag(), TransferTag: u32(h[20:]),
		DataSN: u32(h[36:]), BufferOffset: u32(h[40:]), Residual: parseResidual(h)}
	p.Window.parse(h)
}

func (p *DataIn) AppendTo(b []byte) []byte {
	b, h := grow(b, OpDataIn, false)
	h[1] = flag(p.Final, 0x80) | flag(p.Acknowledge, 0x40) | flag(p.HasStatus, 0x01) | p.Residual.bits()
	h[3] = byte(p.Status)
	putLength(h, p.DataLength)
	copy(h[8:], p.LUN[:])
	put32(h[16:], p.TaskTag)
	put32(h[20:], p.TransferTag)
	p.put(h)
	put32(h[36:], p.DataSN)
	put32(h[40:], p.BufferOffset)
	put32(h[44:], p.Residual.Count)
	return b
}

// R2T is RFC 7143 11.8.
type R2T struct {
	LUN                  scsi.LUN
	TaskTag, TransferTag uint32
	Window               // StatSN is the next one, not advanced
	R2TSN                uint32
	BufferOffset         uint32
	DesiredLength        uint32
}

func (p *R2T) Parse(h Header) {
	*p = R2T{LUN: h.LUN(), TaskTag: h.TaskTag(), TransferTag: u32(h[20:]), R2TSN: u32(h[36:]), BufferOffset: u32(h[40:]),
		DesiredLength: u32(h[44:])}
	p.Window.parse(h)
}

func (p *R2T) AppendTo(b []byte) []byte {
	b, h := grow(b, OpR2T, false)
	h[1] = 0x80
	copy(h[8:], p.LUN[:])
	put32(h[16:], p.TaskTag)
	put32(h[20:], p.TransferTag)
	p.put(h)
	put32(h[36:], p.R2TSN)
	put32(h[40:], p.BufferOffset)
	put32(h[44:], p.DesiredLength)
	return b
}

// AsyncEvent of an Asynchronous Message (RFC 7143 11.9.1).
type AsyncEvent uint8

const (
	AsyncSCSI           AsyncEvent = 0
	AsyncLogout         AsyncEvent = 1
	AsyncDropConnection AsyncEvent = 2
	AsyncDropSession    AsyncEvent = 3
	AsyncNegotiate      AsyncEvent = 4
	AsyncTasksAborted   AsyncEvent = 5
	AsyncVendor         AsyncEvent = 255
)

// AsyncMessage is RFC 7143 11.9.
type AsyncMessage struct {
	DataLength int
	LUN        scsi.LUN
	Window
	Event      AsyncEvent
	VendorCode uint8
	Parameter1 uint16
	Parameter2 uint16
	Parameter3 uint16
}

func (p *AsyncMessage) Parse(h Header) {
	*p = AsyncMessage{DataLength: h.DataLength(), LUN: h.LUN(), Event: AsyncEvent(h[36]), VendorCode: h[37],
		Parameter1: u16(h[38:]), Parameter2: u16(h[40:]), Parameter3: u16(h[42:])}
	p.Window.parse(h)
}

func (p *AsyncMessage) AppendTo(b []byte) []byte {
	b, h := grow(b, OpAsyncMessage, false)
	h[1] = 0x80
	putLength(h, p.DataLength)
	copy(h[8:], p.LUN[:])
	put32(h[16:], ReservedTag)
	p.put(h)
	h[36], h[37] = byte(p.Event), p.VendorCode
	put16(h[38:], p.Parameter1)
	put16(h[40:], p.Parameter2)
	put16(h[42:], p.Parameter3)
	return b
}

// TextResponse is RFC 7143 11.11.
type TextResponse struct {
	Final, Continue      bool
	DataLength           int
	LUN                  scsi.LUN
	TaskTag, TransferTag uint32
	Window
}

func (p *TextResponse) Parse(h Header) {
	*p = TextResponse{Final: h.Final(), Continue: h[1]&0x40 != 0, DataLength: h.DataLength(), LUN: h.LUN(), TaskTag: h.TaskTag(),
		TransferTag: u32(h[20:])}
	p.Window.parse(h)
}

func (p *TextResponse) AppendTo(b []byte) []byte {
	b, h := grow(b, OpTextResponse, false)
	h[1] = flag(p.Final, 0x80) | flag(p.Continue, 0x40)
	putLength(h, p.DataLength)
	copy(h[8:], p.LUN[:])
	put32(h[16:], p.TaskTag)
	put32(h[20:], p.TransferTag)
	p.put(h)
	return b
}

// LoginStatus is status class (high byte) and detail (low byte) of a Login
// Response (RFC 7143 11.13.5).
type LoginStatus uint16

const (
	LoginSuccess              LoginStatus = 0x0000
	LoginMovedTemporarily     LoginStatus = 0x0101
	LoginMovedPermanently     LoginStatus = 0x0102
	LoginInitiatorError       LoginStatus = 0x0200
	LoginAuthenticationFailed LoginStatus = 0x0201
	LoginAuthorizationFailed  LoginStatus = 0x0202
	LoginTargetNotFound       LoginStatus = 0x0203
	LoginTargetRemoved        LoginStatus = 0x0204
	LoginUnsupportedVersion   LoginStatus = 0x0205
	LoginTooManyConnections   LoginStatus = 0x0206
	LoginMissingParameter     LoginStatus = 0x0207
	LoginCannotIncludeSession LoginStatus = 0x0208
	LoginSessionTypeRefused   LoginStatus = 0x0209
	LoginSessionDoesNotExist  LoginStatus = 0x020a
	LoginInvalidDuringLogin   LoginStatus = 0x020b
	LoginTargetError          LoginStatus = 0x0300
	LoginServiceUnavailable   LoginStatus = 0x0301
	LoginOutOfResources       LoginStatus = 0x0302
)

// LoginResponse is RFC 7143 11.13.
type LoginResponse struct {
	Transit, Continue         bool
	Current, Next             Stage
	VersionMax, VersionActive uint8
	DataLength                int
	ISID                      [6]byte
	TSIH                      uint16
	TaskTag                   uint32
	Window
	Status LoginStatus
}

func (p *LoginResponse) Parse(h Header) {
	*p = LoginResponse{Transit: h[1]&0x80 != 0, Continue: h[1]&0x40 != 0, Current: Stage(h[1] >> 2 & 3), Next: Stage(h[1] & 3),
		VersionMax: h[2], VersionActive: h[3], DataLength: h.DataLength(), ISID: [6]byte(h[8:14]), TSIH: u16(h[14:]),
		TaskTag: h.TaskTag(), Status: LoginStatus(u16(h[36:]))}
	p.Window.parse(h)
}

func (p *LoginResponse) AppendTo(b []byte) []byte {
	b, h := grow(b, OpLoginResponse, false)
	h[1] = flag(p.Transit, 0x80) | flag(p.Continue, 0x40) | byte(p.Current)<<2 | byte(p.Next)
	h[2], h[3] = p.VersionMax, p.VersionActive
	putLength(h, p.DataLength)
	copy(h[8:], p.ISID[:])
	put16(h[14:], p.TSIH)
	put32(h[16:], p.TaskTag)
	p.put(h)
	put16(h[36:], uint16(p.Status))
	return b
}

// LogoutResponse is RFC 7143 11.15.
type LogoutResponse struct {
	Response uint8 // 0 closed, 1 CID not found, 2 recovery not supported, 3 cleanup failed
	TaskTag  uint32
	Window
	Time2Wait, Time2Retain uint16
}

func (p *LogoutResponse) Parse(h Header) {
	*p = LogoutResponse{Response: h[2], TaskTag: h.TaskTag(), Time2Wait: u16(h[40:]), Time2Retain: u16(h[42:])}
	p.Window.parse(h)
}

func (p *LogoutResponse) AppendTo(b []byte) []byte {
	b, h := grow(b, OpLogoutResponse, false)
	h[1], h[2] = 0x80, p.Response
	put32(h[16:], p.TaskTag)
	p.put(h)
	put16(h[40:], p.Time2Wait)
	put16(h[42:], p.Time2Retain)
	return b
}

// RejectReason of a Reject PDU (RFC 7143 11.17.1).
type RejectReason uint8

const (
	RejectDigestError      RejectReason = 0x02
	RejectSNACK            RejectReason = 0x03
	RejectProtocolError    RejectReason = 0x04
	RejectNotSupported     RejectReason = 0x05
	RejectImmediate        RejectReason = 0x06
	RejectTaskInProgress   RejectReason = 0x07
	RejectInvalidDataACK   RejectReason = 0x08
	RejectInvalidField     RejectReason = 0x09
	RejectOutOfResources   RejectReason = 0x0a
	RejectNegotiationReset RejectReason = 0x0b
	RejectWaitingForLogout RejectReason = 0x0c
)

// Reject is RFC 7143 11.17. Its data segment is the BHS of the rejected PDU.
type Reject struct {
	Reason     RejectReason
	DataLength int
	Window
	DataSN uint32
}

func (p *Reject) Parse(h Header) {
	*p = Reject{Reason: RejectReason(h[2]), DataLength: h.DataLength(), DataSN: u32(h[36:])}
	p.Window.parse(h)
}

func (p *Reject) AppendTo(b []byte) []byte {
	b, h := grow(b, OpReject, false)
	h[1], h[2] = 0x80, byte(p.Reason)
	putLength(h, p.DataLength)
	put32(h[16:], ReservedTag)
	p.put(h)
	put32(h[36:], p.DataSN)
	return b
}

// NOPIn is RFC 7143 11.19.
type NOPIn struct {
	DataLength           int
	LUN                  scsi.LUN
	TaskTag, TransferTag uint32
	Window
}

func (p *NOPIn) Parse(h Header) {
	*p = NOPIn{DataLength: h.DataLength(), LUN: h.LUN(), TaskTag: h.TaskTag(), TransferTag: u32(h[20:])}
	p.Window.parse(h)
}

func (p *NOPIn) AppendTo(b []byte) []byte {
	b, h := grow(b, OpNOPIn, false)
	h[1] = 0x80
	putLength(h, p.DataLength)
	copy(h[8:], p.LUN[:])
	put32(h[16:], p.TaskTag)
	put32(h[20:], p.TransferTag)
	p.put(h)
	return b
}
