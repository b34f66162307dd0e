package iscsi

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/line"
	"vvsim/scsi/iscsi/pdu"
)

// What must cost the session that sent it at most its connection, and no other
// anything; each row with the tests that show it.
//
//	login with unknown TSIH          TestLoginStatus: unknown TSIH, second connection, TSIH of another port
//	AHS present                      TestBadInput: AHS on requests, AHS on Data-Out, extended CDB, bidirectional AHS,
//	                                 malformed AHS; TestLoginStatus: AHS
//	excess Data-Out                  TestDataPhaseErrors: every row; TestBadInput: Data-Out for nothing, Data-Out after the end
//	expected length 0xfffffff0       TestHugeExpectedLength, TestResiduals
//	data segment longer than         TestBadInput: long segment, longest segment; TestLoginStatus: too long
//	negotiated
//	unknown opcode                   TestBadInput: unknown opcodes, target's opcode; TestLoginStatus: not a login
//	SNACK                            TestBadInput: SNACK
//	old CmdSN                        TestCommandWindow, TestBadInput: CmdSN outside the window
//	silent client during login       TestLoginTimeout, TestSilentLogins
//	half PDU                         TestLoginTimeout, TestHalfPDU, TestBadInput: half a PDU, TestPDUsInPieces
//	LUN > 255 in every form          TestBadInput: LUNs of every form
//	TMF for a finished or unknown    TestTaskManagementAnswers, TestAbortBeforeArrival
//	task
//	65,536 logins                    TestManyLogins, TestTSIHWrap
//	1,000 idle connections           TestIdleConnections, TestSilentLogins
//
// Arbitrary bytes are FuzzConnection's, and test/scenario's over a whole array.
func TestBadInput(t *testing.T) {
	f := serve(t, nil)
	other := f.dial(t)
	other.isid[5] = 0xee
	other.login()
	reject := func(c *client, reason pdu.RejectReason) {
		r := c.expect(pdu.OpReject)
		require.Equal(t, byte(reason), r.header[2])
		require.Len(t, r.data, pdu.HeaderLength)
	}
	for name, try := range map[string]func(c *client){
		"unknown opcodes": func(c *client) {
			for _, op := range []byte{0x07, 0x0f, 0x11, 0x1c, 0x1f, 0x27, 0x30, 0x3e, 0x40 | 0x1f, 0x80 | 0x1f} {
				h := make([]byte, 48)
				h[0] = op
				c.raw(h, nil, nil)
				reject(c, pdu.RejectNotSupported)
			}
			c.testUnitReady()
		},
		"target's opcode": func(c *client) {
			c.send(&pdu.NOPIn{}, nil)
			reject(c, pdu.RejectNotSupported)
			c.testUnitReady()
		},
		"SNACK": func(c *client) {
			h := make([]byte, 48)
			h[0] = byte(pdu.OpSNACK)
			c.raw(h, nil, nil)
			reject(c, pdu.RejectSNACK)
			c.testUnitReady()
		},
		"login request": func(c *client) {
			c.send(&pdu.LoginRequest{}, nil)
			reject(c, pdu.RejectProtocolError)
			c.closed()
		},
		"long segment": func(c *client) {
			h := (&pdu.NOPOut{DataLength: maxRecvDataSegment + 1, CmdSN: c.cmdSN}).AppendTo(nil)
			c.raw(h, nil, nil)
			reject(c, pdu.RejectProtocolError)
			c.closed()
		},
		"longest segment": func(c *client) {
			h := (&pdu.NOPOut{DataLength: 1<<24 - 1, CmdSN: c.cmdSN}).AppendTo(nil)
			c.raw(h, nil, nil)
			reject(c, pdu.RejectProtocolError)
			c.closed()
		},
		"AHS on requests": func(c *client) {
			for _, p := range []appender{&pdu.NOPOut{Immediate: true, TaskTag: 5, CmdSN: c.cmdSN}, &pdu.NOPOut{TaskTag: 5, CmdSN: c.cmdSN},
				&pdu.TaskManagement{Function: scsi.TargetColdReset, TaskTag: 5, CmdSN: c.cmdSN}, &pdu.TextRequest{Final: true, TaskTag: 5, CmdSN: c.cmdSN},
				&pdu.LogoutRequest{TaskTag: 5, CmdSN: c.cmdSN}} {
				h := p.AppendTo(nil)
				h[4] = 255
				c.raw(h, make([]byte, 1020), nil)
				reject(c, pdu.RejectInvalidField)
			}
			c.testUnitReady()
		},
		"AHS on Data-Out": func(c *client) {
			h := (&pdu.DataOut{Final: true, DataLength: 4, TaskTag: 5, TransferTag: 6}).AppendTo(nil)
			h[4] = 1
			c.raw(h, make([]byte, 4), make([]byte, 4))
			reject(c, pdu.RejectInvalidField)
			c.testUnitReady()
		},
		"bidirectional AHS": func(c *client) {
			h := c.command([16]byte{}).AppendTo(nil)
			h[4] = 2
			c.raw(h, pdu.AppendReadLength(nil, 0xffffffff), nil)
			r, _ := c.response()
			require.Equal(t, scsi.StatusGood, r.Status)
		},
		"extended CDB": func(c *client) {
			p := c.command([16]byte{0x7f})
			h := p.AppendTo(nil)
			h[4] = 5
			c.raw(h, []byte{0, 17, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, nil)
			r, sense := c.response()
			require.Equal(t, scsi.StatusCheckCondition, r.Status)
			require.Equal(t, scsi.IllegalRequest, c.sense(sense).Key)
			c.testUnitReady()
		},
		"malformed AHS": func(c *client) {
			for _, ahs := range [][]byte{{0xff, 0xff, 1, 0}, {0, 0, 1, 0}, {0, 1, 99, 0}, {0, 1, 1, 0, 0, 9, 1, 0}} {
				h := c.command([16]byte{}).AppendTo(nil)
				h[4] = byte(len(ahs) / 4)
				c.raw(h, ahs, nil)
				reject(c, pdu.RejectInvalidField)
				c.cmdSN-- // a rejected command has not been received
			}
			c.testUnitReady()
		},
		"tag in use": func(c *client) {
			p := c.command([16]byte{opHang})
			c.send(p, nil)
			f.disk.waitRunning(1)
			q := c.command([16]byte{})
			q.TaskTag = p.TaskTag
			c.send(q, nil)
			reject(c, pdu.RejectTaskInProgress)
			c.cmdSN--
			require.Equal(t, scsi.FunctionComplete, c.manage(scsi.AbortTask, scsi.LUN{}, p.TaskTag, p.CmdSN))
			c.testUnitReady()
		},
		"reserved tag": func(c *client) {
			p := c.command([16]byte{})
			p.TaskTag = pdu.ReservedTag
			c.send(p, nil)
			reject(c, pdu.RejectInvalidField)
			c.cmdSN--
			c.testUnitReady()
		},
		"logout for no reason": func(c *client) {
			c.send(&pdu.LogoutRequest{Reason: 3, TaskTag: 1, CmdSN: c.cmdSN}, nil)
			reject(c, pdu.RejectInvalidField)
			c.testUnitReady()
		},
		"CmdSN outside the window": func(c *client) {
			for _, d := range []uint32{DefaultCommandWindow, 1 << 20, 1<<31 - 1, 1 << 31, 1<<31 + 1, ^uint32(0), ^uint32(DefaultCommandWindow)} {
				p := c.command([16]byte{opPanic})
				c.cmdSN--
				p.CmdSN += d
				c.send(p, nil)
			}
			c.testUnitReady()
		},
		"Data-Out after the end": func(c *client) {
			p := c.command(rw10(0x2a, 0, 1))
			p.Write, p.ExpectedDataLength, p.DataLength = true, testBlock, testBlock
			c.send(p, make([]byte, testBlock))
			r, _ := c.response()
			require.Equal(t, scsi.StatusGood, r.Status)
			for range 3 {
				c.send(&pdu.DataOut{Final: true, DataLength: testBlock, TaskTag: p.TaskTag, TransferTag: pdu.ReservedTag, BufferOffset: testBlock},
					make([]byte, testBlock))
			}
			c.testUnitReady()
		},
		"Data-Out for nothing": func(c *client) {
			c.send(&pdu.DataOut{Final: true, DataLength: 512, TaskTag: 0x1234, TransferTag: 0x99}, make([]byte, 512))
			c.testUnitReady()
		},
		"immediate flood": func(c *client) {
			for range maxImmediate {
				p := c.command([16]byte{opHang})
				p.Immediate = true
				c.cmdSN--
				p.CmdSN = c.cmdSN
				c.send(p, nil)
			}
			f.disk.waitRunning(maxImmediate)
			p := c.command([16]byte{})
			p.Immediate = true
			c.cmdSN--
			c.send(p, nil)
			reject(c, pdu.RejectImmediate)
			c.testUnitReady()
		},
		"LUNs of every form": func(c *client) {
			for _, lun := range []scsi.LUN{{0, 200}, {1, 1}, {0x41, 0}, {0x40, 0xff}, {0, 0, 0, 1}, {0xc0}, {0xd0, 0, 0, 1}, {0xff}, {0x80, 1}, {0xc1, 9}, {0xd2, 0, 1, 0}, {0xe2, 0, 0, 0, 1, 0}, {0, 1, 0xe2, 0, 0, 0, 0, 1},
				{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}} {
				p := c.command([16]byte{})
				p.LUN = lun
				c.send(p, nil)
				r, sense := c.response()
				require.Equal(t, scsi.StatusCheckCondition, r.Status)
				require.Equal(t, scsi.UnsupportedLUN(), c.sense(sense))
			}
		},
		"malformed text": func(c *client) {
			for _, p := range []*pdu.TextRequest{
				{Final: true, DataLength: 4, TaskTag: 1, TransferTag: pdu.ReservedTag, CmdSN: c.cmdSN},                 // no key=value
				{Final: true, Continue: true, DataLength: 4, TaskTag: 1, TransferTag: pdu.ReservedTag, CmdSN: c.cmdSN}, // F and C
				{Final: true, DataLength: 4, TaskTag: 1, TransferTag: 77, CmdSN: c.cmdSN},                              // nothing to continue
			} {
				c.send(p, []byte("abcd"))
				reject(c, pdu.RejectProtocolError)
			}
			c.testUnitReady()
		},
		"half a PDU": func(c *client) {
			_, err := c.nc.Write(make([]byte, 30))
			require.NoError(t, err)
			c.nc.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := f.session(t)
			c.t = t
			try(c)
			other.t = t
			other.testUnitReady()
		})
	}
}

// RFC 7143 7.3: a rejected command leaves a gap in CmdSN, which the initiator
// closes with another command or by aborting the task.
func TestRejectLeavesGap(t *testing.T) {
	c := serve(t, nil).session(t)
	rejected := func() *pdu.SCSICommand {
		p := c.command([16]byte{})
		h := p.AppendTo(nil)
		h[4] = 1
		c.raw(h, make([]byte, 4), nil)
		r := c.expect(pdu.OpReject)
		require.Equal(t, p.CmdSN, binary.BigEndian.Uint32(r.header[28:]), "ExpCmdSN")
		return p
	}
	p := rejected()
	later := c.command([16]byte{})
	c.send(later, nil) // waits for the gap to close
	p.TaskTag = 0x5001
	c.send(p, nil)
	tags := []uint32{}
	for range 2 {
		r, _ := c.response()
		tags = append(tags, r.TaskTag)
	}
	require.ElementsMatch(t, []uint32{p.TaskTag, later.TaskTag}, tags)

	p = rejected()
	later = c.command([16]byte{})
	c.send(later, nil)
	c.send(&pdu.TaskManagement{Immediate: true, Function: scsi.AbortTask, TaskTag: 0x5002, ReferencedTag: p.TaskTag, CmdSN: c.cmdSN, RefCmdSN: p.CmdSN}, nil)
	ops := []pdu.OpCode{c.receive().header.OpCode(), c.receive().header.OpCode()}
	require.ElementsMatch(t, []pdu.OpCode{pdu.OpSCSIResponse, pdu.OpTaskManagementResp}, ops)
	c.expStatSN += 2
	c.testUnitReady()

	// One that waited for its turn is rejected when it comes, and leaves its gap too.
	first, second := c.command([16]byte{}), c.command([16]byte{})
	h := second.AppendTo(nil)
	h[4] = 1
	c.raw(h, make([]byte, 4), nil)
	c.send(first, nil)
	got := map[pdu.OpCode]int{}
	for range 2 {
		got[c.receive().header.OpCode()]++
	}
	require.Equal(t, map[pdu.OpCode]int{pdu.OpReject: 1, pdu.OpSCSIResponse: 1}, got)
	c.expStatSN += 2
	c.cmdSN--
	c.testUnitReady()
}

// Half a PDU is half a PDU until the initiator counts as dead.
func TestHalfPDU(t *testing.T) {
	for _, n := range []int{1, 47, 48, 300} {
		synctest.Test(t, func(t *testing.T) {
			s, c := pipeServer(t)
			c.login()
			start := time.Now()
			p := c.command(rw10(0x2a, 0, 1))
			p.Write, p.ExpectedDataLength, p.DataLength = true, testBlock, testBlock
			_, err := c.nc.Write(append(p.AppendTo(nil), make([]byte, testBlock)...)[:n])
			require.NoError(t, err)
			c.expect(pdu.OpNOPIn)
			c.closed()
			require.InDelta(t, (DefaultNOPInterval + DefaultNOPTimeout).Seconds(), time.Since(start).Seconds(), 5)
			require.NoError(t, s.Shutdown(context.Background()))
			require.Zero(t, s.o.Target.(*disk).writes)
		})
	}
}

// A write and a read, cut at every byte.
func TestPDUsInPieces(t *testing.T) {
	f := serve(t, nil)
	data := pattern(testBlock)
	for _, digests := range []string{"None", "CRC32C"} {
		c := f.session(t, "HeaderDigest", digests, "DataDigest", digests)
		for at, length := 1, 2; at < length; at++ {
			p, q := c.command(rw10(0x2a, at, 1)), c.command(rw10(0x28, at, 1))
			p.Attribute, q.Attribute = scsi.Ordered, scsi.Ordered
			p.Write, p.ExpectedDataLength, p.DataLength = true, testBlock, testBlock
			q.Read, q.ExpectedDataLength = true, testBlock
			b := append(c.wire(p.AppendTo(nil), nil, data), c.wire(q.AppendTo(nil), nil, nil)...)
			length = len(b)
			for _, piece := range [][]byte{b[:at], b[at:]} {
				_, err := c.nc.Write(piece)
				require.NoError(t, err)
			}
			good := 0
			for range 2 {
				r := c.receive()
				c.expStatSN++
				if r.header.OpCode() == pdu.OpSCSIResponse && r.header[3] == byte(scsi.StatusGood) ||
					r.header.OpCode() == pdu.OpDataIn && len(r.data) == testBlock {
					good++
				}
			}
			require.Equal(t, 2, good, "cut at %d", at)
		}
		got, _, _ := c.read(300, 1, testBlock)
		require.True(t, bytes.Equal(data, got))
	}
}

func TestDigestErrors(t *testing.T) {
	f := serve(t, nil)
	c := f.session(t, "HeaderDigest", "CRC32C")
	b := append(c.command([16]byte{}).AppendTo(nil), 1, 2, 3, 4)
	_, err := c.nc.Write(b)
	require.NoError(t, err)
	c.closed()

	c = f.session(t, "DataDigest", "CRC32C")
	p := c.command(rw10(0x2a, 0, 1))
	p.Write, p.ExpectedDataLength, p.DataLength = true, 512, 512
	b = append(p.AppendTo(nil), make([]byte, 516)...)
	binary.BigEndian.PutUint32(b[560:], 0x12345678)
	_, err = c.nc.Write(b)
	require.NoError(t, err)
	r := c.expect(pdu.OpReject)
	require.Equal(t, byte(pdu.RejectDigestError), r.header[2])
	c.closed()
	require.Zero(t, f.disk.writes)
}

// An initiator that sends and never receives is stopped by its own answers.
func TestFloodWithoutReceiving(t *testing.T) {
	f := serve(t, func(o *Options) { o.WriteTimeout = 300 * time.Millisecond })
	c := f.session(t)
	data := make([]byte, 65536)
	for {
		h := (&pdu.NOPOut{Immediate: true, DataLength: len(data), TaskTag: 1, CmdSN: c.cmdSN}).AppendTo(nil)
		if _, err := c.nc.Write(append(h, data...)); err != nil {
			var ne net.Error
			require.False(t, errors.As(err, &ne) && ne.Timeout(), "the target neither reads nor closes")
			break
		}
		for _, s := range f.server.connectionsForTest() {
			s.out.mu.Lock()
			require.Less(t, s.out.filling.Size, maxOutbox+2*line.LargeReceiveBuffer)
			s.out.mu.Unlock()
		}
	}
}

// Reads whose answers nobody takes hold a bounded amount of memory.
func TestReadsWithoutReceiving(t *testing.T) {
	f := serve(t, func(o *Options) { o.WriteTimeout = 2 * time.Second })
	f.disk.memory = make([]byte, 8<<20)
	c := f.session(t)
	for range 100 {
		p := c.command(rw10(0x28, 0, 8<<20/testBlock))
		p.Read, p.ExpectedDataLength = true, 8<<20
		c.send(p, nil)
	}
	all := f.server.connectionsForTest()
	require.Len(t, all, 1)
	for {
		used := all[0].reads.Used()
		if all[0].closed.Load() {
			break // what waits now goes on, and ends
		}
		require.LessOrEqual(t, used, int64(maxReads))
		runtime.Gosched()
	}
	<-all[0].done
	require.Zero(t, f.disk.taskCount())
}

// 1,000 sessions that do nothing cost little memory and nobody's service.
func TestIdleConnections(t *testing.T) {
	n := 1000
	if testing.Short() {
		n = 50
	}
	f := serve(t, nil)
	var before, after runtime.MemStats
	for range 2 { // a pool gives up its last buffers at the second
		runtime.GC()
	}
	runtime.ReadMemStats(&before)
	var all []*client
	for i := range n {
		c := f.dial(t)
		binary.BigEndian.PutUint16(c.isid[4:], uint16(i))
		c.login()
		all = append(all, c)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.Len(t, f.server.Sessions(), n)
	per := int64(after.HeapAlloc-before.HeapAlloc) / int64(n)
	t.Logf("%d bytes of heap per session, client included", per)
	require.Less(t, per, int64(64<<10))
	all[n/2].testUnitReady()
}

// Connections that say nothing keep nobody from logging in, however many they
// are: beyond MaxLogins the oldest makes room.
func TestSilentLogins(t *testing.T) {
	const limit, silent = 20, 100
	f := serve(t, func(o *Options) { o.MaxLogins = limit })
	other := f.session(t)
	var all []*client
	for range silent {
		all = append(all, f.dial(t))
	}
	c := f.dial(t)
	c.isid[5] = 0xcc
	c.login()
	c.testUnitReady()
	for _, gone := range all[:silent-limit] {
		gone.closed()
	}
	other.testUnitReady()
	f.server.mu.Lock()
	defer f.server.mu.Unlock()
	require.LessOrEqual(t, len(f.server.pending), limit)
}

// fuzzServer has a device that answers everything at once, so that the fuzzer's
// sessions end.
func fuzzServer(t testing.TB) *Server {
	d := newDisk(1 << 20)
	d.letGo = true
	s, err := NewServer(Options{TargetName: testTarget, Target: d, Access: open{}, Portals: func() []PortalAddress { return []PortalAddress{{"a:1", 1}} }})
	require.NoError(t, err)
	return s
}

// FuzzConnection sends arbitrary bytes, from the first or after a login. The
// connection ends when they end; nothing panics and no task is left.
func FuzzConnection(f *testing.F) {
	c := &client{cmdSN: 1}
	login := (&pdu.LoginRequest{Transit: true, Current: 1, Next: 3, DataLength: 75, CmdSN: 1}).AppendTo(nil)
	f.Add(append(append(login, usual().AppendTo(nil)...), 0), false)
	read, write := c.command(rw10(0x28, 0, 8)), c.command(rw10(0x2a, 0, 8))
	read.Read, read.ExpectedDataLength, write.Write, write.ExpectedDataLength = true, 4096, true, 4096
	b := write.AppendTo(read.AppendTo(nil))
	b = (&pdu.DataOut{Final: true, DataLength: 4, TaskTag: 2, TransferTag: 1}).AppendTo(b)
	b = (&pdu.TaskManagement{Immediate: true, Function: 1, ReferencedTag: 2}).AppendTo(append(b, 1, 2, 3, 4))
	b = (&pdu.NOPOut{Immediate: true, TaskTag: 7}).AppendTo(b)
	f.Add((&pdu.LogoutRequest{Immediate: true}).AppendTo(b), true)
	f.Fuzz(func(t *testing.T, input []byte, loggedIn bool) {
		s := fuzzServer(t)
		panicked := make(chan any, 100)
		s.o.Events.Panic = func(_ SessionInfo, v any, _ []byte) { panicked <- v }
		near, far := net.Pipe()
		s.start(far, 1)
		c := &client{t: t, nc: near, cmdSN: 1}
		if loggedIn {
			c.login()
		}
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			for {
				if _, err := c.nc.Read(make([]byte, 4096)); err != nil {
					return
				}
			}
		}()
		_, _ = near.Write(input)
		near.Close()
		<-drained
		s.wait.Wait()
		require.Zero(t, s.o.Target.(*disk).taskCount())
		require.Empty(t, s.Sessions())
		select {
		case v := <-panicked:
			if v != "asked for" {
				t.Fatal(v)
			}
		default:
		}
	})
}
