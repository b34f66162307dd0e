package main

import (
	"bytes"
	"io"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/initiator"
	"vvsim/scsi/iscsi/pdu"
)

// These tests hold what gotgt v0.2.2 does, right or wrong: each is a row of the
// evidence in docs/decisions. A test that fails after a change of version says that
// the row is no longer true.

func filled(b byte) []byte { return bytes.Repeat([]byte{b}, blockBytes) }

// A command for a subsidiary LUN, or for a flat LUN above 255, is executed on the
// disk whose number is the second byte of the LUN: reads give its data away, writes
// destroy them.
func TestLUNOfEightBytesBecomesOne(t *testing.T) {
	c, _ := login(t, start(t).address, targetName)
	c.write(scsi.LUN{}, 0, filled('0'))
	for name, lun := range map[string]scsi.LUN{
		"protocol endpoint 256":    scsi.SimpleLUN(256),
		"subsidiary of 256":        scsi.SubsidiaryLUN(scsi.SimpleLUN(256), 1),
		"another subsidiary":       scsi.SubsidiaryLUN(scsi.SimpleLUN(256), 2),
		"subsidiary of 768":        scsi.SubsidiaryLUN(scsi.SimpleLUN(768), 0xa6),
		"flat LUN 256":             scsi.DiskLUN(256),
		"subsidiary of four bytes": {0x01, 0x00, 0xd2, 0x00, 0x00, 0x01},
	} {
		t.Run(name, func(t *testing.T) {
			c.write(scsi.LUN{}, 0, filled('0'))
			require.Equal(t, filled('0'), c.read(lun, 0), "the data of LUN 0")
			c.write(lun, 0, filled('x'))
			require.Equal(t, filled('x'), c.read(scsi.LUN{}, 0), "LUN 0 is overwritten")
		})
	}
}

// Two volumes cannot be behind one protocol endpoint: what was written through one
// subsidiary LUN is read through the other.
func TestSubsidiaryLUNsAreOneVolume(t *testing.T) {
	c, _ := login(t, start(t).address, targetName)
	endpoint := scsi.SimpleLUN(256)
	one, two := scsi.SubsidiaryLUN(endpoint, 1), scsi.SubsidiaryLUN(endpoint, 2)
	c.write(one, 0, filled('1'))
	require.Equal(t, filled('1'), c.read(two, 0))
}

// Commands of one connection are executed one after the other; those of two
// connections are not, which shows that the gate sees it.
func TestCommandsOfAConnectionAreSerialised(t *testing.T) {
	const queued = 8
	p := start(t, "--gate")
	one, _ := login(t, p.address, targetName)
	two, _ := login(t, p.address, targetName)
	for range queued {
		one.send(scsi.LUN{}, block(scsi.OpRead10, 0, 1), nil, blockBytes)
	}
	require.Equal(t, "1", p.line(), "the first of the first connection")
	two.send(scsi.LUN{}, block(scsi.OpRead10, 0, 1), nil, blockBytes)
	require.Equal(t, "2", p.line(), "the first of the second connection, not the second of the first")

	_, err := p.stdin.Write(make([]byte, queued+1))
	require.NoError(t, err)
	for range queued - 1 {
		inside, err := strconv.Atoi(p.line())
		require.NoError(t, err)
		require.LessOrEqual(t, inside, 2, "%d commands wait on the first connection", queued-1)
	}
	for range queued {
		require.Equal(t, scsi.StatusGood, one.wait().status)
	}
	require.Equal(t, scsi.StatusGood, two.wait().status)
}

// One login PDU with a TSIH that is not known ends the process, and with it every
// session of everybody.
func TestLoginWithUnknownTSIHEndsTheProcess(t *testing.T) {
	p := start(t)
	bystander, _ := login(t, p.address, targetName)
	bystander.write(scsi.LUN{}, 0, filled('b'))

	attacker := connect(t, p.address)
	attacker.loginRequest(pdu.OperationalNegotiation, pdu.FullFeaturePhase, 0x0101, names(targetName))
	last, err := p.death()
	require.Error(t, err)
	require.Contains(t, last, "nil pointer dereference")
	require.Contains(t, last, "BindISCSISession")

	_, err = bystander.c.Receive()
	require.Error(t, err)
}

// There is no authentication: an initiator that insists on CHAP is cut off without
// a login response, and one that leaves the choice is never challenged.
func TestNoCHAP(t *testing.T) {
	p := start(t)
	t.Run("required", func(t *testing.T) {
		c := connect(t, p.address)
		keys := names(targetName)
		keys.Add("AuthMethod", "CHAP")
		c.loginRequest(pdu.SecurityNegotiation, pdu.OperationalNegotiation, 0, keys)
		_, err := c.c.Receive()
		require.ErrorIs(t, err, io.EOF, "no login response at all")
	})
	t.Run("preferred", func(t *testing.T) {
		c := connect(t, p.address)
		keys := names(targetName)
		keys.Add("AuthMethod", "CHAP,None")
		c.loginRequest(pdu.SecurityNegotiation, pdu.OperationalNegotiation, 0, keys)
		var r pdu.LoginResponse
		require.Empty(t, c.receive(&r), "AuthMethod is not answered")
		require.Equal(t, pdu.LoginSuccess, r.Status)
		require.True(t, r.Transit, "on to the next stage without a challenge")
	})
}

// The response that ends a login carries TSIH 0 and no ISID (RFC 7143 11.13.3 wants the new
// session's handle), so that a strict initiator refuses it.
func TestLoginEndsWithoutTSIH(t *testing.T) {
	p := start(t)
	_, r := login(t, p.address, targetName)
	require.Equal(t, pdu.FullFeaturePhase, r.Next)
	require.Zero(t, r.TSIH)
	require.Zero(t, r.ISID)

	_, err := initiator.Dial(t.Context(), initiator.Options{Address: p.address, TargetName: targetName, InitiatorName: initiatorName})
	require.ErrorIs(t, err, initiator.ErrProtocol)
}

// The residual count is the number of bytes that were moved, not of those that were
// not (RFC 7143 11.4.5.2), and a read of more than the host has room for is BUSY,
// which hosts try again.
func TestResiduals(t *testing.T) {
	c, _ := login(t, start(t).address, targetName)
	read := block(scsi.OpRead10, 0, 1)
	r := c.do(scsi.LUN{}, read, nil, 4096)
	require.Equal(t, scsi.StatusGood, r.status)
	require.Equal(t, pdu.Residual{Underflow: true, Count: blockBytes}, r.residual, "right: 3584 bytes were not sent")

	inquiry := []byte{byte(scsi.OpInquiry), 0, 0, 0, 36, 0}
	r = c.do(scsi.LUN{}, inquiry, nil, 255)
	require.Equal(t, pdu.Residual{Underflow: true, Count: 36}, r.residual, "right: 219")

	r = c.do(scsi.LUN{}, read, nil, 256)
	require.Equal(t, scsi.StatusBusy, r.status, "right: GOOD, 256 bytes, overflow of 256")
}

// LOGICAL UNIT RESET answers "function complete" and does nothing: the write that
// it should have aborted is executed when its data come, and no other nexus is told.
func TestLogicalUnitResetDoesNothing(t *testing.T) {
	p := start(t)
	c, _ := login(t, p.address, targetName)
	other, _ := login(t, p.address, targetName)
	c.write(scsi.LUN{}, 0, filled('0'))

	data := filled('x')
	c.sendPart(scsi.LUN{}, block(scsi.OpWrite10, 0, 1), nil, len(data), false)
	var r2t pdu.R2T
	c.receive(&r2t)
	require.Equal(t, uint32(len(data)), r2t.DesiredLength)

	reset := &pdu.TaskManagement{Immediate: true, Function: scsi.LogicalUnitReset, TaskTag: 0x1000, ReferencedTag: pdu.ReservedTag,
		CmdSN: c.cmdSN, ExpStatSN: c.expStatSN}
	require.NoError(t, c.c.Send(reset, nil, nil))
	var answer pdu.TaskManagementResponse
	c.receive(&answer)
	require.Equal(t, scsi.FunctionComplete, answer.Response)

	out := &pdu.DataOut{Final: true, TaskTag: c.tag, TransferTag: r2t.TransferTag, ExpStatSN: c.expStatSN}
	require.NoError(t, c.c.Send(out, nil, data))
	require.Equal(t, scsi.StatusGood, c.wait().status, "right: no answer, the task is aborted")
	require.Equal(t, data, other.read(scsi.LUN{}, 0), "right: CHECK CONDITION 06/29/00, then the old data")
}

// WRITE SAME answers GOOD and writes nothing.
func TestWriteSameWritesNothing(t *testing.T) {
	c, _ := login(t, start(t).address, targetName)
	c.write(scsi.LUN{}, 0, filled('0'))
	r := c.do(scsi.LUN{}, block(scsi.OpWriteSame10, 0, 1), filled('x'), 0)
	require.Equal(t, scsi.StatusGood, r.status)
	require.Equal(t, filled('0'), c.read(scsi.LUN{}, 0))
}
