package pdu

import (
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
)

// golden is one BHS spelled as rows of RFC 7143 11, four bytes a word.
type golden struct {
	name string
	pdu  PDU
	wire string
}

var testLUN = scsi.LUN{0x01, 0x00, 0xe2, 0, 0, 0, 0, 0x2a}

var testWindow = Window{StatSN: 0xa1a2a3a4, ExpCmdSN: 0xb1b2b3b4, MaxCmdSN: 0xc1c2c3c4}

const (
	lunWords    = "0100e200 0000002a "
	windowWords = "a1a2a3a4 b1b2b3b4 c1c2c3c4 "
)

var goldens = []golden{
	{"NOP-Out ping", &NOPOut{Immediate: true, DataLength: 4, LUN: testLUN, TaskTag: 0x11, TransferTag: ReservedTag, CmdSN: 0x22, ExpStatSN: 0x33},
		"40800000 00000004 " + lunWords + "00000011 ffffffff 00000022 00000033 00000000 00000000 00000000 00000000"},
	{"NOP-Out answer", &NOPOut{Immediate: true, TaskTag: ReservedTag, TransferTag: 0x99, CmdSN: 2, ExpStatSN: 3},
		"40800000 00000000 00000000 00000000 ffffffff 00000099 00000002 00000003 00000000 00000000 00000000 00000000"},
	// READ(10) of 8 blocks at LBA 0x12345678.
	{"SCSI Command read", &SCSICommand{Final: true, Read: true, Attribute: scsi.Simple, LUN: testLUN, TaskTag: 0x01020304,
		ExpectedDataLength: 4096, CmdSN: 0x10, ExpStatSN: 0x20, CDB: [16]byte{0x28, 0, 0x12, 0x34, 0x56, 0x78, 0, 0, 8, 0}},
		"01c10000 00000000 " + lunWords + "01020304 00001000 00000010 00000020 28001234 56780000 08000000 00000000"},
	{"SCSI Command write", &SCSICommand{Immediate: true, Write: true, Attribute: scsi.HeadOfQueue, DataLength: 0x010203, TaskTag: 5,
		ExpectedDataLength: 0xfffffff0, CmdSN: 6, ExpStatSN: 7, CDB: [16]byte{0x2a, 15: 0xff}},
		"41230000 00010203 00000000 00000000 00000005 fffffff0 00000006 00000007 2a000000 00000000 00000000 000000ff"},
	{"Task Management Request", &TaskManagement{Immediate: true, Function: scsi.AbortTask, LUN: testLUN, TaskTag: 8, ReferencedTag: 9,
		CmdSN: 10, ExpStatSN: 11, RefCmdSN: 12, ExpDataSN: 13},
		"42810000 00000000 " + lunWords + "00000008 00000009 0000000a 0000000b 0000000c 0000000d 00000000 00000000"},
	{"Login Request", &LoginRequest{Transit: true, Current: OperationalNegotiation, Next: FullFeaturePhase, DataLength: 0x55,
		ISID: [6]byte{0, 2, 0x3d, 0, 0, 1}, TSIH: 0x1234, TaskTag: 0x20, CID: 3, CmdSN: 4, ExpStatSN: 5},
		"43870000 00000055 00023d00 00011234 00000020 00030000 00000004 00000005 00000000 00000000 00000000 00000000"},
	{"Login Request continued", &LoginRequest{Continue: true, VersionMax: 1, VersionMin: 2},
		"43400102 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000"},
	{"Text Request", &TextRequest{Final: true, DataLength: 16, LUN: testLUN, TaskTag: 1, TransferTag: ReservedTag, CmdSN: 2, ExpStatSN: 3},
		"04800000 00000010 " + lunWords + "00000001 ffffffff 00000002 00000003 00000000 00000000 00000000 00000000"},
	{"Text Request continued", &TextRequest{Immediate: true, Continue: true, TaskTag: 1, TransferTag: 7},
		"44400000 00000000 00000000 00000000 00000001 00000007 00000000 00000000 00000000 00000000 00000000 00000000"},
	{"Data-Out", &DataOut{Final: true, DataLength: 512, LUN: testLUN, TaskTag: 1, TransferTag: 2, ExpStatSN: 3, DataSN: 4, BufferOffset: 0x200},
		"05800000 00000200 " + lunWords + "00000001 00000002 00000000 00000003 00000000 00000004 00000200 00000000"},
	{"Logout Request", &LogoutRequest{Immediate: true, Reason: CloseConnection, TaskTag: 1, CID: 2, CmdSN: 3, ExpStatSN: 4},
		"46810000 00000000 00000000 00000000 00000001 00020000 00000003 00000004 00000000 00000000 00000000 00000000"},
	{"SNACK", &SNACK{Type: SNACKRData, LUN: testLUN, TaskTag: 1, TransferTag: 2, ExpStatSN: 3, BeginRun: 4, RunLength: 5},
		"10830000 00000000 " + lunWords + "00000001 00000002 00000000 00000003 00000000 00000000 00000004 00000005"},
	{"NOP-In", &NOPIn{DataLength: 4, LUN: testLUN, TaskTag: ReservedTag, TransferTag: 0x77, Window: testWindow},
		"20800000 00000004 " + lunWords + "ffffffff 00000077 " + windowWords + "00000000 00000000 00000000"},
	{"SCSI Response good", &SCSIResponse{TaskTag: 1, Window: testWindow, ExpDataSN: 2, Residual: Residual{Underflow: true, Count: 512}},
		"21820000 00000000 00000000 00000000 00000001 00000000 " + windowWords + "00000002 00000000 00000200"},
	{"SCSI Response check condition", &SCSIResponse{Status: scsi.StatusCheckCondition, DataLength: 20, TaskTag: 1, Window: testWindow,
		Residual: Residual{Overflow: true, Count: 1}},
		"21840002 00000014 00000000 00000000 00000001 00000000 " + windowWords + "00000000 00000000 00000001"},
	{"SCSI Response target failure", &SCSIResponse{Response: 1, TaskTag: 1},
		"21800100 00000000 00000000 00000000 00000001 00000000 00000000 00000000 00000000 00000000 00000000 00000000"},
	{"Task Management Response", &TaskManagementResponse{Response: scsi.FunctionRejected, TaskTag: 1, Window: testWindow},
		"2280ff00 00000000 00000000 00000000 00000001 00000000 " + windowWords + "00000000 00000000 00000000"},
	{"Login Response", &LoginResponse{Transit: true, Current: SecurityNegotiation, Next: OperationalNegotiation, DataLength: 9,
		ISID: [6]byte{0, 2, 0x3d, 0, 0, 1}, TSIH: 0x1234, TaskTag: 1, Window: testWindow, Status: LoginAuthenticationFailed},
		"23810000 00000009 00023d00 00011234 00000001 00000000 " + windowWords + "02010000 00000000 00000000"},
	{"Text Response", &TextResponse{Continue: true, DataLength: 8, LUN: testLUN, TaskTag: 1, TransferTag: 2, Window: testWindow},
		"24400000 00000008 " + lunWords + "00000001 00000002 " + windowWords + "00000000 00000000 00000000"},
	{"Data-In", &DataIn{DataLength: 0x2000, LUN: testLUN, TaskTag: 1, TransferTag: ReservedTag, Window: testWindow, DataSN: 2, BufferOffset: 0x4000},
		"25000000 00002000 " + lunWords + "00000001 ffffffff " + windowWords + "00000002 00004000 00000000"},
	{"Data-In with status", &DataIn{Final: true, Acknowledge: true, HasStatus: true, Status: scsi.StatusConditionMet, DataLength: 1, TaskTag: 1,
		TransferTag: ReservedTag, Window: testWindow, Residual: Residual{Underflow: true, Count: 3}},
		"25c30004 00000001 00000000 00000000 00000001 ffffffff " + windowWords + "00000000 00000000 00000003"},
	{"Logout Response", &LogoutResponse{Response: 1, TaskTag: 1, Window: testWindow, Time2Wait: 2, Time2Retain: 3},
		"26800100 00000000 00000000 00000000 00000001 00000000 " + windowWords + "00000000 00020003 00000000"},
	{"R2T", &R2T{LUN: testLUN, TaskTag: 1, TransferTag: 2, Window: testWindow, R2TSN: 3, BufferOffset: 0x10000, DesiredLength: 0x40000},
		"31800000 00000000 " + lunWords + "00000001 00000002 " + windowWords + "00000003 00010000 00040000"},
	{"Asynchronous Message", &AsyncMessage{DataLength: 20, LUN: testLUN, Window: testWindow, Event: AsyncLogout, VendorCode: 9, Parameter1: 1,
		Parameter2: 2, Parameter3: 3},
		"32800000 00000014 " + lunWords + "ffffffff 00000000 " + windowWords + "01090001 00020003 00000000"},
	{"Reject", &Reject{Reason: RejectProtocolError, DataLength: 48, Window: testWindow, DataSN: 1},
		"3f800400 00000030 00000000 00000000 ffffffff 00000000 " + windowWords + "00000001 00000000 00000000"},
}

func TestGoldenBytes(t *testing.T) {
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			wire, err := hex.DecodeString(strings.ReplaceAll(g.wire, " ", ""))
			require.NoError(t, err)
			require.Len(t, wire, HeaderLength, "the row itself")
			prefix := []byte{1, 2, 3}
			require.Equal(t, append([]byte{1, 2, 3}, wire...), g.pdu.AppendTo(prefix))
			got, err := Decode(wire)
			require.NoError(t, err)
			require.Equal(t, g.pdu, got)
		})
	}
}

// TestEveryPDU shows that each operation code has a name, a struct that writes
// this code, and a golden row.
func TestEveryPDU(t *testing.T) {
	require.Len(t, constructors, len(opNames))
	for op, construct := range constructors {
		require.NotEmpty(t, opNames[op])
		p := construct()
		require.Equal(t, op, Header(p.AppendTo(nil)).OpCode())
		covered := false
		for _, g := range goldens {
			covered = covered || reflect.TypeOf(g.pdu) == reflect.TypeOf(p)
		}
		require.True(t, covered, "%v has no golden row", op)
	}
	_, err := Decode(make(Header, HeaderLength-1))
	require.ErrorIs(t, err, ErrOpCode)
	_, err = Decode(append(Header{0x1c}, make(Header, HeaderLength-1)...))
	require.ErrorIs(t, err, ErrOpCode)
	require.Equal(t, "PDU 1Ch", OpCode(0x1c).String())
	require.Equal(t, "Reject", OpReject.String())
}

func TestHeader(t *testing.T) {
	h := Header(append([]byte{0x41, 0x80, 0, 0, 3, 0x01, 0x02, 0x03}, make([]byte, 40)...))
	copy(h[8:], testLUN[:])
	copy(h[16:], []byte{1, 2, 3, 4})
	copy(h[24:], []byte{5, 6, 7, 8, 9, 10, 11, 12})
	require.Equal(t, OpSCSICommand, h.OpCode())
	require.True(t, h.Immediate())
	require.True(t, h.Final())
	require.Equal(t, 12, h.AHSLength())
	require.Equal(t, 0x010203, h.DataLength())
	require.Equal(t, testLUN, h.LUN())
	require.Equal(t, uint32(0x01020304), h.TaskTag())
	require.Equal(t, uint32(0x05060708), h.CmdSN())
	require.Equal(t, uint32(0x090a0b0c), h.ExpStatSN())
	h.PutAHSLength(MaxAHSLength)
	require.Equal(t, MaxAHSLength, h.AHSLength())
	for n, want := range []int{0, 3, 2, 1, 0, 3} {
		require.Equal(t, want, Pad(n))
	}
}

// Known answers of RFC 3720 B.4 (CRC examples), bytes in wire order.
func TestDigest(t *testing.T) {
	zeros, ones := make([]byte, 32), make([]byte, 32)
	up, down := make([]byte, 32), make([]byte, 32)
	for i := range 32 {
		ones[i], up[i], down[i] = 0xff, byte(i), byte(31-i)
	}
	read10 := []byte{0x01, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 0x04, 0, 0, 0, 0, 0x14,
		0, 0, 0, 0x18, 0x28, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0, 0}
	for _, c := range []struct {
		name string
		data []byte
		want [4]byte
	}{
		{"zeros", zeros, [4]byte{0xaa, 0x36, 0x91, 0x8a}},
		{"ones", ones, [4]byte{0x43, 0xab, 0xa8, 0x62}},
		{"incrementing", up, [4]byte{0x4e, 0x79, 0xdd, 0x46}},
		{"decrementing", down, [4]byte{0x5c, 0xdb, 0x3f, 0x11}},
		{"SCSI Read(10) command PDU", read10, [4]byte{0x56, 0x3a, 0x96, 0xd9}},
	} {
		require.Equal(t, c.want, Digest(c.data), c.name)
		require.Equal(t, c.want, Digest(c.data[:7], nil, c.data[7:]), "%s in parts", c.name)
	}
}

func TestNames(t *testing.T) {
	require.Equal(t, "0201h (authentication failure)", LoginAuthenticationFailed.String())
	require.Equal(t, "0299h", LoginStatus(0x0299).String())
	require.Equal(t, "04h (protocol error)", RejectProtocolError.String())
	require.Equal(t, "77h", RejectReason(0x77).String())
}
