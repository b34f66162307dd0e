package pdu

import (
	"encoding/binary"
	"fmt"

	"vvsim/scsi"
)

// HeaderLength is the length of a basic header segment in bytes.
const HeaderLength = 48

// DigestLength is the length of a CRC32C digest in bytes.
const DigestLength = 4

// ReservedTag is the value of an absent initiator or target transfer tag.
const ReservedTag = 0xffffffff

// OpCode of a PDU (RFC 7143 11.2.1.2), without the immediate bit.
type OpCode uint8

const (
	OpNOPOut             OpCode = 0x00
	OpSCSICommand        OpCode = 0x01
	OpTaskManagement     OpCode = 0x02
	OpLoginRequest       OpCode = 0x03
	OpTextRequest        OpCode = 0x04
	OpDataOut            OpCode = 0x05
	OpLogoutRequest      OpCode = 0x06
	OpSNACK              OpCode = 0x10
	OpNOPIn              OpCode = 0x20
	OpSCSIResponse       OpCode = 0x21
	OpTaskManagementResp OpCode = 0x22
	OpLoginResponse      OpCode = 0x23
	OpTextResponse       OpCode = 0x24
	OpDataIn             OpCode = 0x25
	OpLogoutResponse     OpCode = 0x26
	OpR2T                OpCode = 0x31
	OpAsyncMessage       OpCode = 0x32
	OpReject             OpCode = 0x3f
)

var opNames = map[OpCode]string{
	OpNOPOut: "NOP-Out", OpSCSICommand: "SCSI Command", OpTaskManagement: "Task Management Function Request",
	OpLoginRequest: "Login Request", OpTextRequest: "Text Request", OpDataOut: "SCSI Data-Out",
	OpLogoutRequest: "Logout Request", OpSNACK: "SNACK Request", OpNOPIn: "NOP-In", OpSCSIResponse: "SCSI Response",
	OpTaskManagementResp: "Task Management Function Response", OpLoginResponse: "Login Response",
	OpTextResponse: "Text Response", OpDataIn: "SCSI Data-In", OpLogoutResponse: "Logout Response", OpR2T: "R2T",
	OpAsyncMessage: "Asynchronous Message", OpReject: "Reject",
}

// String is the PDU's name in RFC 7143.
func (o OpCode) String() string {
	if n := opNames[o]; n != "" {
		return n
	}
	return fmt.Sprintf("PDU %02Xh", uint8(o))
}

// Header is a received BHS: 48 bytes or more, borrowed from the receive buffer.
// The methods read the fields that every PDU has at the same place.
type Header []byte

// OpCode is the operation code without the immediate bit.
func (h Header) OpCode() OpCode { return OpCode(h[0] & 0x3f) }

// Immediate is the I bit: the request is outside the command window.
func (h Header) Immediate() bool { return h[0]&0x40 != 0 }

// Final is the F bit.
func (h Header) Final() bool { return h[1]&0x80 != 0 }

// AHSLength is the length in bytes of all additional header segments.
func (h Header) AHSLength() int { return int(h[4]) * 4 }

// DataLength is the length in bytes of the data segment without its padding.
func (h Header) DataLength() int { return int(h[5])<<16 | int(h[6])<<8 | int(h[7]) }

// LUN is the field at byte 8, of PDUs that carry a LUN.
func (h Header) LUN() scsi.LUN { return scsi.LUN(h[8:16]) }

// TaskTag is the initiator task tag.
func (h Header) TaskTag() uint32 { return binary.BigEndian.Uint32(h[16:]) }

// CmdSN is the command sequence number of a request.
func (h Header) CmdSN() uint32 { return binary.BigEndian.Uint32(h[24:]) }

// ExpStatSN is the next status sequence number that the initiator of a request expects.
func (h Header) ExpStatSN() uint32 { return binary.BigEndian.Uint32(h[28:]) }

// Pad is the number of bytes that follow a data segment of n bytes to fill its
// last four-byte word (RFC 7143 11.2.3).
func Pad(n int) int { return -n & 3 }

func u16(b []byte) uint16       { return binary.BigEndian.Uint16(b) }
func u32(b []byte) uint32       { return binary.BigEndian.Uint32(b) }
func put16(b []byte, v uint16)  { binary.BigEndian.PutUint16(b, v) }
func put32(b []byte, v uint32)  { binary.BigEndian.PutUint32(b, v) }
func putLength(h []byte, n int) { h[5], h[6], h[7] = byte(n>>16), byte(n>>8), byte(n) }

// grow appends a zeroed BHS to b and returns the whole and the BHS within.
func grow(b []byte, op OpCode, immediate bool) (all, h []byte) {
	n := len(b)
	var zero [HeaderLength]byte
	b = append(b, zero[:]...)
	h = b[n:]
	h[0] = byte(op)
	if immediate {
		h[0] |= 0x40
	}
	return b, h
}

func flag(set bool, bit byte) byte {
	if set {
		return bit
	}
	return 0
}
