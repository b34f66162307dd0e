package pdu

import (
	"errors"
	"fmt"

	"vvsim/scsi"
)

// PDU is what every struct of this package does: read its BHS and append it.
type PDU interface {
	Parse(h Header)
	AppendTo(b []byte) []byte
}

// ErrOpCode marks a BHS whose operation code RFC 7143 does not define, or that
// is too short.
var ErrOpCode = errors.New("unknown PDU")

// constructors say which struct each operation code has (RFC 7143 11.2.1.2).
var constructors = map[OpCode]func() PDU{
	OpNOPOut:             func() PDU { return new(NOPOut) },
	OpSCSICommand:        func() PDU { return new(SCSICommand) },
	OpTaskManagement:     func() PDU { return new(TaskManagement) },
	OpLoginRequest:       func() PDU { return new(LoginRequest) },
	OpTextRequest:        func() PDU { return new(TextRequest) },
	OpDataOut:            func() PDU { return new(DataOut) },
	OpLogoutRequest:      func() PDU { return new(LogoutRequest) },
	OpSNACK:              func() PDU { return new(SNACK) },
	OpNOPIn:              func() PDU { return new(NOPIn) },
	OpSCSIResponse:       func() PDU { return new(SCSIResponse) },
	OpTaskManagementResp: func() PDU { return new(TaskManagementResponse) },
	OpLoginResponse:      func() PDU { return new(LoginResponse) },
	OpTextResponse:       func() PDU { return new(TextResponse) },
	OpDataIn:             func() PDU { return new(DataIn) },
	OpLogoutResponse:     func() PDU { return new(LogoutResponse) },
	OpR2T:                func() PDU { return new(R2T) },
	OpAsyncMessage:       func() PDU { return new(AsyncMessage) },
	OpReject:             func() PDU { return new(Reject) },
}

// Decode returns the struct of a received BHS. It allocates; a hot path switches
// on OpCode and parses into a struct of its own.
func Decode(h Header) (PDU, error) {
	if len(h) < HeaderLength {
		return nil, fmt.Errorf("%w: %d bytes", ErrOpCode, len(h))
	}
	construct := constructors[h.OpCode()]
	if construct == nil {
		return nil, fmt.Errorf("%w: %v", ErrOpCode, h.OpCode())
	}
	p := construct()
	p.Parse(h)
	return p, nil
}

// SNACKType of a SNACK Request (RFC 7143 11.16.1).
type SNACKType uint8

const (
	SNACKData    SNACKType = 0 // Data-In or R2T
	SNACKStatus  SNACKType = 1
	SNACKDataACK SNACKType = 2
	SNACKRData   SNACKType = 3
)

// SNACK is RFC 7143 11.16. At ErrorRecoveryLevel 0 a target rejects it.
type SNACK struct {
	Type                 SNACKType
	LUN                  scsi.LUN
	TaskTag, TransferTag uint32
	ExpStatSN            uint32
	BeginRun, RunLength  uint32
}

func (p *SNACK) Parse(h Header) {
	*p = SNACK{Type: SNACKType(h[1] & 0xf), LUN: h.LUN(), TaskTag: h.TaskTag(), TransferTag: u32(h[20:]),
		ExpStatSN: u32(h[28:]), BeginRun: u32(h[40:]), RunLength: u32(h[44:])}
}

func (p *SNACK) AppendTo(b []byte) []byte {
	b, h := grow(b, OpSNACK, false)
	h[1] = 0x80 | byte(p.Type)&0xf
	copy(h[8:], p.LUN[:])
	put32(h[16:], p.TaskTag)
	put32(h[20:], p.TransferTag)
	put32(h[28:], p.ExpStatSN)
	put32(h[40:], p.BeginRun)
	put32(h[44:], p.RunLength)
	return b
}

var loginStatusNames = map[LoginStatus]string{
	LoginSuccess: "success", LoginMovedTemporarily: "target moved temporarily", LoginMovedPermanently: "target moved permanently",
	LoginInitiatorError: "initiator error", LoginAuthenticationFailed: "authentication failure",
	LoginAuthorizationFailed: "authorization failure", LoginTargetNotFound: "target not found", LoginTargetRemoved: "target removed",
	LoginUnsupportedVersion: "unsupported version", LoginTooManyConnections: "too many connections",
	LoginMissingParameter: "missing parameter", LoginCannotIncludeSession: "can't include in session",
	LoginSessionTypeRefused: "session type not supported", LoginSessionDoesNotExist: "session does not exist",
	LoginInvalidDuringLogin: "invalid request during login", LoginTargetError: "target error",
	LoginServiceUnavailable: "service unavailable", LoginOutOfResources: "out of resources",
}

// String is the status as RFC 7143 11.13.5 prints it, with its number.
func (s LoginStatus) String() string {
	if n := loginStatusNames[s]; n != "" {
		return fmt.Sprintf("%04Xh (%s)", uint16(s), n)
	}
	return fmt.Sprintf("%04Xh", uint16(s))
}

var rejectNames = map[RejectReason]string{
	RejectDigestError: "data digest error", RejectSNACK: "SNACK reject", RejectProtocolError: "protocol error",
	RejectNotSupported: "command not supported", RejectImmediate: "too many immediate commands",
	RejectTaskInProgress: "task in progress", RejectInvalidDataACK: "invalid data ACK", RejectInvalidField: "invalid PDU field",
	RejectOutOfResources: "out of resources", RejectNegotiationReset: "negotiation reset", RejectWaitingForLogout: "waiting for logout",
}

// String is the reason as RFC 7143 11.17.1 prints it, with its number.
func (r RejectReason) String() string {
	if n := rejectNames[r]; n != "" {
		return fmt.Sprintf("%02Xh (%s)", uint8(r), n)
	}
	return fmt.Sprintf("%02Xh", uint8(r))
}

// Read reads the sequence numbers of a target's PDU, which all have them at the
// same place.
func (w *Window) Read(h Header) { w.parse(h) }
