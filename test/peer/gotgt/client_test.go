package main

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
	"vvsim/scsi/cdb"
	"vvsim/scsi/iscsi/initiator"
	"vvsim/scsi/iscsi/pdu"
)

const (
	blockBytes    = 512
	initiatorName = "iqn.2026-11.dev.vvsim:peer"
)

// client is an initiator that believes whatever the target says: gotgt ends its
// login with a TSIH of 0, which vvsim's own initiator refuses. It sends one PDU at
// a time and judges nothing.
type client struct {
	t                     testing.TB
	c                     *initiator.Conn
	tag, cmdSN, expStatSN uint32
}

func connect(t testing.TB, address string) *client {
	t.Helper()
	nc, err := net.DialTimeout("tcp", address, waitLimit)
	require.NoError(t, err)
	require.NoError(t, nc.SetDeadline(time.Now().Add(waitLimit)))
	t.Cleanup(func() { nc.Close() })
	c := &client{t: t, c: initiator.NewConn(nc), cmdSN: 1}
	c.c.MaxData = 1 << 20
	return c
}

// loginRequest goes from stage to the next with keys.
func (c *client) loginRequest(stage, next pdu.Stage, tsih uint16, keys pdu.Keys) {
	c.t.Helper()
	q := &pdu.LoginRequest{Transit: true, Current: stage, Next: next, ISID: [6]byte{0x00, 0x02, 0x3d, 0, 0, 1}, TSIH: tsih,
		CmdSN: c.cmdSN, ExpStatSN: c.expStatSN, TaskTag: 1}
	require.NoError(c.t, c.c.Send(q, nil, keys.AppendTo(nil)))
}

func names(target string) (keys pdu.Keys) {
	keys.Add("InitiatorName", initiatorName)
	keys.Add("SessionType", "Normal")
	keys.Add("TargetName", target)
	return keys
}

// login opens a session to LUN 0 of target and returns the response that ended the login.
func login(t testing.TB, address, target string) (*client, pdu.LoginResponse) {
	t.Helper()
	c := connect(t, address)
	keys := names(target)
	keys.Add("InitialR2T", "Yes")
	keys.Add("ImmediateData", "Yes")
	keys.Add("MaxRecvDataSegmentLength", "262144")
	c.loginRequest(pdu.OperationalNegotiation, pdu.FullFeaturePhase, 0, keys)
	var r pdu.LoginResponse
	c.receive(&r)
	require.Equal(t, pdu.LoginSuccess, r.Status)
	c.expStatSN = r.StatSN + 1
	return c, r
}

// receive waits for a PDU of the type of p and returns its data segment.
func (c *client) receive(p pdu.PDU) []byte {
	c.t.Helper()
	got, err := c.c.Receive()
	require.NoError(c.t, err)
	want, err := pdu.Decode(got.Header)
	require.NoError(c.t, err)
	require.IsType(c.t, p, want)
	p.Parse(got.Header)
	return append([]byte(nil), got.Data...)
}

// result is how a command ended.
type result struct {
	status   scsi.Status
	data     []byte
	sense    *scsi.SenseData
	residual pdu.Residual
}

// send starts a command with immediate data; in is the Expected Data Transfer
// Length of one that reads.
func (c *client) send(lun scsi.LUN, command, out []byte, in int) (tag uint32) {
	c.t.Helper()
	c.sendPart(lun, command, out, max(in, len(out)), in > 0)
	return c.tag
}

// sendPart sends a command of which out is only the first part of the data.
func (c *client) sendPart(lun scsi.LUN, command, out []byte, expected int, read bool) {
	c.t.Helper()
	c.tag++
	q := &pdu.SCSICommand{Final: true, Read: read, Write: !read && expected > 0, LUN: lun, TaskTag: c.tag,
		ExpectedDataLength: uint32(expected), CmdSN: c.cmdSN, ExpStatSN: c.expStatSN}
	copy(q.CDB[:], command)
	c.cmdSN++
	require.NoError(c.t, c.c.Send(q, nil, out))
}

// wait takes PDUs until a command has its status.
func (c *client) wait() (r result) {
	c.t.Helper()
	for {
		p, err := c.c.Receive()
		require.NoError(c.t, err)
		switch p.Header.OpCode() {
		case pdu.OpDataIn:
			var d pdu.DataIn
			d.Parse(p.Header)
			r.data = append(r.data, p.Data...)
			if d.HasStatus {
				c.expStatSN = d.StatSN + 1
				r.status, r.residual = d.Status, d.Residual
				return r
			}
		case pdu.OpSCSIResponse:
			var s pdu.SCSIResponse
			s.Parse(p.Header)
			c.expStatSN = s.StatSN + 1
			r.status, r.residual = s.Status, s.Residual
			if len(p.Data) > 2 {
				sense, err := scsi.ParseSense(p.Data[2:])
				require.NoError(c.t, err)
				r.sense = &sense
			}
			return r
		default:
			require.Fail(c.t, "unexpected PDU", "%v", p.Header.OpCode())
		}
	}
}

func (c *client) do(lun scsi.LUN, command, out []byte, in int) result {
	c.t.Helper()
	c.send(lun, command, out, in)
	return c.wait()
}

func block(op scsi.OpCode, lba uint64, blocks uint32) []byte {
	b := cdb.Block{Op: op, LBA: lba, Blocks: blocks}
	return b.AppendTo(nil)
}

func (c *client) read(lun scsi.LUN, lba uint64) []byte {
	c.t.Helper()
	r := c.do(lun, block(scsi.OpRead10, lba, 1), nil, blockBytes)
	require.Equal(c.t, scsi.StatusGood, r.status)
	require.Len(c.t, r.data, blockBytes)
	return r.data
}

func (c *client) write(lun scsi.LUN, lba uint64, p []byte) {
	c.t.Helper()
	r := c.do(lun, block(scsi.OpWrite10, lba, uint32(len(p)/blockBytes)), p, 0)
	require.Equal(c.t, scsi.StatusGood, r.status)
}
