package iscsi

import (
	"bytes"
	"context"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/pdu"
)

func (c *client) manage(function scsi.TaskFunction, lun scsi.LUN, referenced, refCmdSN uint32) scsi.ManagementResponse {
	c.t.Helper()
	c.tag++
	c.send(&pdu.TaskManagement{Immediate: true, Function: function, LUN: lun, TaskTag: c.tag, ReferencedTag: referenced, CmdSN: c.cmdSN,
		RefCmdSN: refCmdSN}, nil)
	var p pdu.TaskManagementResponse
	p.Parse(c.expect(pdu.OpTaskManagementResp).header)
	require.Equal(c.t, c.tag, p.TaskTag)
	return p.Response
}

func TestTaskManagement(t *testing.T) {
	other := scsi.LUN{1, 0}
	for name, r := range map[string]struct {
		function scsi.TaskFunction
		left     int // of two hanging tasks on LUN 0 and one on the other
	}{
		"ABORT TASK": {scsi.AbortTask, 2}, "ABORT TASK SET": {scsi.AbortTaskSet, 1}, "CLEAR TASK SET": {scsi.ClearTaskSet, 1},
		"LOGICAL UNIT RESET": {scsi.LogicalUnitReset, 1}, "TARGET WARM RESET": {scsi.TargetWarmReset, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, nil)
			c := f.session(t)
			var first *pdu.SCSICommand
			for _, lun := range []scsi.LUN{{}, {}, other} {
				p := c.command([16]byte{opHang})
				p.LUN = lun
				c.send(p, nil)
				if first == nil {
					first = p
				}
			}
			f.disk.waitRunning(3)
			require.Equal(t, scsi.FunctionComplete, c.manage(r.function, scsi.LUN{}, first.TaskTag, first.CmdSN))
			require.Equal(t, r.left, f.disk.taskCount())
			require.Equal(t, c.cmdSN+DefaultCommandWindow-1-uint32(r.left), c.maxCmd, "places of aborted tasks are free again")
			c.testUnitReady() // whose status is the next PDU: the aborted tasks sent none
		})
	}
}

func TestTaskManagementAnswers(t *testing.T) {
	f := serve(t, nil)
	c := f.session(t)
	c.testUnitReady()
	require.Equal(t, scsi.FunctionComplete, c.manage(scsi.AbortTask, scsi.LUN{}, c.tag, c.cmdSN-1), "a finished task")
	require.Equal(t, scsi.FunctionComplete, c.manage(scsi.AbortTask, scsi.LUN{}, 0xabcdef, c.cmdSN-1), "an unknown task")
	require.Equal(t, scsi.LUNDoesNotExist, c.manage(scsi.LogicalUnitReset, scsi.LUN{0x40, 9}, 0, 0))
	require.Equal(t, scsi.ReassignNotSupported, c.manage(scsi.TaskReassign, scsi.LUN{}, 0, 0))
	require.Equal(t, scsi.FunctionNotSupported, c.manage(scsi.ClearACA, scsi.LUN{}, 0, 0))
	require.Equal(t, scsi.FunctionNotSupported, c.manage(99, scsi.LUN{}, 0, 0))
	c.testUnitReady()
}

// A task that waits for Data-Out is aborted; data that still comes for it is dropped.
func TestAbortWhileCollecting(t *testing.T) {
	f := serve(t, nil)
	c := f.session(t)
	p := c.command(rw10(0x2a, 0, 100))
	p.Write, p.ExpectedDataLength = true, 100*testBlock
	c.send(p, nil)
	var q pdu.R2T
	q.Parse(c.expect(pdu.OpR2T).header)
	require.Equal(t, scsi.FunctionComplete, c.manage(scsi.AbortTask, scsi.LUN{}, p.TaskTag, p.CmdSN))
	c.answer(q, make([]byte, 100*testBlock))
	c.testUnitReady()
	require.Zero(t, f.disk.writes)
}

// RFC 7143 11.5.1: a task that has not come counts as come and aborted.
func TestAbortBeforeArrival(t *testing.T) {
	c := serve(t, nil).session(t)
	lost, held := c.command([16]byte{}), c.command([16]byte{})
	c.send(held, nil) // waits for lost
	require.Equal(t, scsi.FunctionComplete, c.manage(scsi.AbortTask, scsi.LUN{}, held.TaskTag, held.CmdSN))
	require.Equal(t, scsi.FunctionComplete, c.manage(scsi.AbortTask, scsi.LUN{}, lost.TaskTag, lost.CmdSN))
	c.testUnitReady()
}

func TestColdReset(t *testing.T) {
	f := serve(t, nil)
	a, b := f.session(t), f.dial(t)
	b.isid[5] = 7
	b.login()
	require.Equal(t, scsi.FunctionComplete, a.manage(scsi.TargetColdReset, scsi.LUN{}, 0, 0))
	a.closed()
	b.closed()
	f.session(t).testUnitReady()
}

func TestCommandWindow(t *testing.T) {
	f := serve(t, func(o *Options) { o.CommandWindow = 16 })
	c := f.session(t)
	// Out of order: the later one waits.
	a, b := c.command([16]byte{}), c.command([16]byte{})
	c.send(b, nil)
	c.send(b, nil) // a duplicate changes nothing
	c.send(a, nil)
	for _, want := range []uint32{a.TaskTag, b.TaskTag} {
		r, _ := c.response()
		if r.TaskTag != want { // the workers may finish in either order
			require.Contains(t, []uint32{a.TaskTag, b.TaskTag}, r.TaskTag)
		}
	}
	old := *a
	old.TaskTag = 0x777
	c.send(&old, nil) // old CmdSN
	beyond := *a
	beyond.CmdSN, beyond.TaskTag = c.cmdSN+1000, 0x778
	c.send(&beyond, nil)
	c.testUnitReady()
	// A full window, then one command more, which is dropped.
	for range 16 {
		c.send(c.command([16]byte{opHang}), nil)
	}
	f.disk.waitRunning(16)
	extra := c.command([16]byte{})
	c.send(extra, nil)
	c.cmdSN--
	c.send(&pdu.NOPOut{Immediate: true, TaskTag: 0x999, CmdSN: c.cmdSN}, nil)
	r := c.expect(pdu.OpNOPIn)
	require.Equal(t, c.cmdSN-1, binary.BigEndian.Uint32(r.header[32:]), "the window is closed")
	c.send(&pdu.TaskManagement{Immediate: true, Function: scsi.AbortTaskSet, TaskTag: 0x998, CmdSN: c.cmdSN}, nil)
	c.expect(pdu.OpNOPIn) // opens the window; the aborted commands have no answers that would
	c.expect(pdu.OpTaskManagementResp)
	c.testUnitReady()
}

// When all commands of a closed window are aborted by another session, the
// target opens the window by itself.
func TestWindowOpensAfterForeignAbort(t *testing.T) {
	f := serve(t, func(o *Options) { o.CommandWindow = 16 })
	c, other := f.session(t), f.dial(t)
	other.isid[5] = 8
	other.login()
	for range 16 {
		c.send(c.command([16]byte{opHang}), nil)
	}
	f.disk.waitRunning(16)
	require.Equal(t, scsi.FunctionComplete, other.manage(scsi.LogicalUnitReset, scsi.LUN{}, 0, 0))
	c.expect(pdu.OpNOPIn)
	c.testUnitReady()
}

func TestSerialArithmetic(t *testing.T) {
	var w window
	first := uint32(0xfffffffe)
	w.start(first, 16)
	for i := range uint32(8) {
		require.Equal(t, arrivalNow, w.classify(first+i))
		require.Equal(t, arrivalOutside, w.classify(first+i-1))
		require.Equal(t, arrivalEarly, w.classify(first+i+1))
		require.Equal(t, arrivalOutside, w.classify(first+i+16))
		w.accept()
		_, limit := w.bounds()
		require.Equal(t, first+15, limit)
	}
	for range 8 {
		w.complete()
	}
	exp, limit := w.bounds()
	require.Equal(t, uint32(6), exp)
	require.Equal(t, uint32(21), limit)
}

// A command that hangs keeps no other, whether its target said that it would be prompt
// or not. (Without a successor of the reader, Patience of an hour, it hangs.)
func TestSlowCommandBlocksNobody(t *testing.T) {
	f := serve(t, nil)
	c := f.session(t)
	for range 40 {
		c.send(c.command([16]byte{opHang}), nil)
		c.testUnitReady()
	}
	// All in one segment: quick ones before, between and behind slow ones.
	var b []byte
	for i := range 60 {
		cdb := [16]byte{}
		if i%2 == 0 {
			cdb[0] = opHang
		}
		b = c.command(cdb).AppendTo(b)
	}
	_, err := c.nc.Write(b)
	require.NoError(t, err)
	for range 30 {
		r, _ := c.response()
		require.Equal(t, scsi.StatusGood, r.Status)
	}
}

func TestPanicInDevice(t *testing.T) {
	told := make(chan any, 1)
	f := serve(t, func(o *Options) { o.Events.Panic = func(_ SessionInfo, v any, _ []byte) { told <- v } })
	c := f.session(t)
	c.send(c.command([16]byte{opPanic}), nil)
	r, sense := c.response()
	require.Equal(t, scsi.StatusCheckCondition, r.Status)
	require.Equal(t, scsi.InternalTargetFailure(), c.sense(sense))
	require.Equal(t, "asked for", <-told)
	c.testUnitReady()
}

func TestNOPOut(t *testing.T) {
	c := serve(t, nil).session(t)
	for _, n := range []int{0, 3, 5000} {
		c.send(&pdu.NOPOut{DataLength: n, TaskTag: 0x55, TransferTag: pdu.ReservedTag, CmdSN: c.cmdSN, LUN: scsi.LUN{0xe2, 1, 2, 3, 4, 5, 6, 7}}, pattern(n))
		c.cmdSN++
		r := c.expect(pdu.OpNOPIn)
		require.True(t, bytes.Equal(pattern(n), r.data))
		require.Equal(t, uint32(0x55), r.header.TaskTag())
	}
	c.testUnitReady()
}

func (c *client) text(k pdu.Keys) (answer pdu.Keys) {
	c.t.Helper()
	data := k.AppendTo(nil)
	target := uint32(pdu.ReservedTag)
	var all []byte
	for {
		c.send(&pdu.TextRequest{Final: true, DataLength: len(data), TaskTag: 0x66, TransferTag: target, CmdSN: c.cmdSN}, data)
		c.cmdSN++
		r := c.expect(pdu.OpTextResponse)
		var p pdu.TextResponse
		p.Parse(r.header)
		all = append(all, r.data...)
		if p.Final {
			require.Equal(c.t, uint32(pdu.ReservedTag), p.TransferTag)
			break
		}
		require.True(c.t, p.Continue)
		data, target = nil, p.TransferTag
	}
	for _, item := range strings.Split(strings.TrimSuffix(string(all), "\x00"), "\x00") {
		if key, value, ok := strings.Cut(item, "="); ok {
			answer.Add(key, value)
		}
	}
	return answer
}

func TestSendTargets(t *testing.T) {
	many := []PortalAddress{}
	for i := range 100 {
		many = append(many, PortalAddress{"192.0.2.1:3260", uint16(i + 1)})
	}
	f := serve(t, func(o *Options) { o.Portals = func() []PortalAddress { return many } })
	d := f.dial(t)
	p, _ := d.loginRequest(pdu.OperationalNegotiation, pdu.FullFeaturePhase, true, keysOf("InitiatorName", testInitiator, "SessionType", "Discovery",
		"MaxRecvDataSegmentLength", "512", "InitialR2T", "No"))
	require.Zero(t, p.Status)
	want := keysOf("TargetName", testTarget)
	for _, a := range []string{"All", testTarget} {
		got := d.text(keysOf("SendTargets", a))
		require.Len(t, got, 101)
		require.Equal(t, want[0], got[0])
		require.Equal(t, "192.0.2.1:3260,100", got[100].Value)
	}
	require.Empty(t, d.text(keysOf("SendTargets", "iqn.other")))
	// RFC 7143 4.3: nothing else is for a discovery session.
	d.send(&pdu.NOPOut{TaskTag: 4, TransferTag: pdu.ReservedTag, CmdSN: d.cmdSN}, nil)
	require.Equal(t, byte(pdu.RejectProtocolError), d.expect(pdu.OpReject).header[2])
	d.send(&pdu.NOPOut{Immediate: true, TaskTag: pdu.ReservedTag, TransferTag: 5, CmdSN: d.cmdSN}, nil)
	require.Equal(t, keysOf("X-foo", "NotUnderstood"), d.text(keysOf("X-foo", "1")))
	d.send(d.command([16]byte{}), nil)
	require.Equal(t, byte(pdu.RejectProtocolError), d.expect(pdu.OpReject).header[2])
	d.closed()

	c := serve(t, nil).session(t)
	require.Len(t, c.text(keysOf("SendTargets", "")), 3)
	require.Empty(t, c.text(keysOf("SendTargets", "All")))
	require.Equal(t, keysOf("MaxBurstLength", "Reject"), c.text(keysOf("MaxBurstLength", "512")))
	// Keys in two requests.
	c.send(&pdu.TextRequest{Continue: true, DataLength: 5, TaskTag: 3, TransferTag: pdu.ReservedTag, CmdSN: c.cmdSN}, []byte("SendT"))
	var q pdu.TextResponse
	q.Parse(c.expect(pdu.OpTextResponse).header)
	require.False(t, q.Final)
	rest := []byte("argets=\x00")
	c.send(&pdu.TextRequest{Final: true, DataLength: len(rest), TaskTag: 3, TransferTag: q.TransferTag, CmdSN: c.cmdSN + 1}, rest)
	c.cmdSN += 2
	r := c.expect(pdu.OpTextResponse)
	require.Contains(t, string(r.data), testTarget)
	c.testUnitReady()
}

// What may be said at any time is taken in full feature phase, the rest is not.
func TestTextDeclarations(t *testing.T) {
	c := serve(t, nil).session(t)
	require.Equal(t, keysOf("InitiatorName", "Reject", "AuthMethod", "Reject", "CHAP_A", "Reject", "TargetAlias", "Reject", "ErrorRecoveryLevel", "Reject"),
		c.text(keysOf("InitiatorName", testInitiator, "AuthMethod", "None", "CHAP_A", "5", "TargetAlias", "x", "ErrorRecoveryLevel", "0",
			"InitiatorAlias", "me")))
	require.Equal(t, keysOf("MaxRecvDataSegmentLength", "Reject"), c.text(keysOf("MaxRecvDataSegmentLength", "511")))
	require.Empty(t, c.text(keysOf("MaxRecvDataSegmentLength", "1024")))
	p := c.command(rw10(0x28, 0, 8))
	p.Read, p.ExpectedDataLength = true, 4096
	c.send(p, nil)
	for range 4 {
		r := c.receive()
		require.Equal(t, pdu.OpDataIn, r.header.OpCode())
		require.Len(t, r.data, 1024)
	}
	c.expStatSN++
	c.testUnitReady()
}

// A portal that listens on every address tells each initiator the one it used.
func TestSendTargetsOfWildcardPortal(t *testing.T) {
	for portal, want := range map[string]string{"0.0.0.0:3260": "127.0.0.1:3260,1", "[::]:3261": "127.0.0.1:3261,1", "array.test:3260": "array.test:3260,1"} {
		f := serve(t, func(o *Options) { o.Portals = func() []PortalAddress { return []PortalAddress{{portal, 1}} } })
		require.Equal(t, keysOf("TargetName", testTarget, "TargetAddress", want), f.session(t).text(keysOf("SendTargets", "")))
	}
}

// A session whose task management function waits ends without waiting for it: its
// initiator can log in again.
func TestCloseDuringTaskManagement(t *testing.T) {
	stuck := &stubborn{disk: newDisk(1 << 20), managing: make(chan struct{})}
	f := serve(t, func(o *Options) { o.Target, o.ManagementWait = stuck, time.Hour })
	c := f.session(t)
	c.send(&pdu.TaskManagement{Immediate: true, Function: scsi.LogicalUnitReset, TaskTag: 1, CmdSN: c.cmdSN}, nil)
	<-stuck.managing
	f.session(t).testUnitReady()
	c.closed()
}

// stubborn is a target whose task management functions wait for ever.
type stubborn struct {
	*disk
	managing chan struct{}
}

func (s *stubborn) Manage(ctx context.Context, _ scsi.TaskManagement) scsi.ManagementResponse {
	close(s.managing)
	<-ctx.Done()
	return scsi.FunctionRejected
}

func TestLogout(t *testing.T) {
	f := serve(t, nil)
	c := f.session(t)
	for _, r := range []struct {
		reason pdu.LogoutReason
		cid    uint16
		want   uint8
	}{{pdu.CloseConnection, 77, 1}, {pdu.RemoveForRecovery, 0, 2}, {pdu.CloseConnection, 0, 0}} {
		c.send(&pdu.LogoutRequest{Reason: r.reason, CID: r.cid, TaskTag: 9, CmdSN: c.cmdSN}, nil)
		c.cmdSN++
		var p pdu.LogoutResponse
		p.Parse(c.expect(pdu.OpLogoutResponse).header)
		require.Equal(t, r.want, p.Response)
	}
	c.closed()
}

func TestShutdown(t *testing.T) {
	f := serve(t, func(o *Options) { o.LogoutTimeout = 10 * time.Second })
	c := f.session(t)
	silent := f.dial(t) // in its login: closed at once
	ended := make(chan error, 1)
	go func() { ended <- f.server.Shutdown(context.Background()) }()
	var p pdu.AsyncMessage
	p.Parse(c.expect(pdu.OpAsyncMessage).header)
	require.Equal(t, pdu.AsyncLogout, p.Event)
	require.Equal(t, uint16(DefaultLogoutGrace/time.Second), p.Parameter3)
	silent.closed()
	c.testUnitReady()
	c.send(&pdu.LogoutRequest{Immediate: true, TaskTag: 9, CmdSN: c.cmdSN}, nil)
	c.expect(pdu.OpLogoutResponse)
	require.NoError(t, <-ended)
	require.NoError(t, f.server.Shutdown(context.Background()))
}

// Who does not log out when asked keeps the target for LogoutGrace at most when nothing
// runs, and until its commands are answered when some do; the drain time-out is for
// commands that do not end.
func TestShutdownUnheeded(t *testing.T) {
	f := serve(t, func(o *Options) { o.LogoutTimeout, o.LogoutGrace = time.Hour, time.Millisecond })
	idle, busy := f.session(t), f.dial(t)
	busy.isid[5] = 2
	busy.login()
	busy.send(busy.command([16]byte{opHang}), nil)
	f.disk.waitRunning(1)
	ended := make(chan error, 1)
	go func() { ended <- f.server.Shutdown(context.Background()) }()
	idle.expect(pdu.OpAsyncMessage)
	busy.expect(pdu.OpAsyncMessage)
	idle.closed()
	require.Empty(t, ended)
	f.disk.release()
	r, _ := busy.response()
	require.Equal(t, scsi.StatusGood, r.Status)
	busy.closed()
	require.NoError(t, <-ended)
}

func TestDropAndSessions(t *testing.T) {
	closed := make(chan error, 1)
	f := serve(t, func(o *Options) { o.Events.SessionClosed = func(_ SessionInfo, err error) { closed <- err } })
	c := f.session(t, "DataDigest", "CRC32C")
	c.read(0, 8, 4096)
	c.write(0, make([]byte, 1024), 1024)
	c.send(c.command([16]byte{0xff}), nil)
	r, _ := c.response()
	require.Equal(t, scsi.StatusCheckCondition, r.Status)
	c.send(c.command([16]byte{opHang}), nil)
	f.disk.waitRunning(1)
	s := f.server.Sessions()[0]
	require.Equal(t, testInitiator, s.Initiator)
	require.Equal(t, c.isid, s.ISID)
	require.True(t, s.DataDigest)
	require.False(t, s.HeaderDigest)
	require.Equal(t, 1, s.InFlight)
	require.Equal(t, uint64(4), s.Commands)
	require.Equal(t, uint64(1), s.Errors)
	require.EqualValues(t, 3, s.Latency.Count(), "answered commands")
	require.Positive(t, s.Latency.Total)
	require.Equal(t, uint64(4096), s.BytesIn)
	require.Equal(t, uint64(1024), s.BytesOut)
	require.Equal(t, f.addr, s.Portal)
	require.False(t, f.server.Drop(s.ID+1000))
	require.True(t, f.server.Drop(s.ID))
	var p pdu.AsyncMessage
	p.Parse(c.expect(pdu.OpAsyncMessage).header)
	require.Equal(t, pdu.AsyncDropSession, p.Event)
	c.closed()
	require.ErrorIs(t, <-closed, errDropped)
	require.Empty(t, f.server.Sessions())
}

// An initiator that takes nothing is dropped all the same.
func TestDropWithoutReceiving(t *testing.T) {
	f := serve(t, func(o *Options) { o.LogoutGrace = time.Millisecond })
	c := f.session(t)
	for range 64 { // more than the sockets hold
		p := c.command(rw10(0x28, 0, 8192))
		p.Read, p.ExpectedDataLength = true, 8192*testBlock
		c.send(p, nil)
	}
	require.True(t, f.server.Drop(f.server.Sessions()[0].ID))
	require.Empty(t, f.server.Sessions())
}
