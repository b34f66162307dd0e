package iscsi

import (
	"encoding/binary"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/pdu"
)

// Bad input costs the session that sent it at most its connection.
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
		"unknown opcode": func(c *client) {
			h := make([]byte, 48)
			h[0] = 0x1f
			c.raw(h, nil, nil)
			reject(c, pdu.RejectNotSupported)
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
		"AHS on NOP": func(c *client) {
			h := (&pdu.NOPOut{Immediate: true, TaskTag: 5, CmdSN: c.cmdSN}).AppendTo(nil)
			h[4] = 255
			c.raw(h, make([]byte, 1020), nil)
			reject(c, pdu.RejectInvalidField)
			c.testUnitReady()
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
			for _, ahs := range [][]byte{{0xff, 0xff, 1, 0}, {0, 0, 1, 0}, {0, 1, 99, 0}} {
				h := c.command([16]byte{}).AppendTo(nil)
				h[4] = 1
				c.raw(h, ahs, nil)
				reject(c, pdu.RejectInvalidField)
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
			require.Equal(t, scsi.FunctionComplete, c.manage(scsi.AbortTask, scsi.LUN{}, p.TaskTag, p.CmdSN))
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
			for _, lun := range []scsi.LUN{{0, 200}, {0x41, 0}, {0x80, 1}, {0xc1, 9}, {0xd2, 0, 1, 0}, {0xe2, 0, 0, 0, 1, 0}, {0, 1, 0xe2, 0, 0, 0, 0, 1},
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
			c.send(&pdu.TextRequest{Final: true, DataLength: 4, TaskTag: 1, TransferTag: pdu.ReservedTag, CmdSN: c.cmdSN}, []byte("abcd"))
			c.cmdSN++
			reject(c, pdu.RejectProtocolError)
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
			require.False(t, errorsAs(err, &ne) && ne.Timeout(), "the target neither reads nor closes")
			break
		}
		for _, s := range f.server.connectionsForTest() {
			s.out.mu.Lock()
			require.Less(t, s.out.filling.size, maxOutbox+2*largeReceiveBuffer)
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
		used := all[0].reads.used.Load()
		if all[0].closed.Load() {
			break // what waits now goes on, and ends
		}
		require.LessOrEqual(t, used, int64(maxReads))
		runtime.Gosched()
	}
	<-all[0].done
	require.Zero(t, f.disk.taskCount())
}

func TestIdleConnections(t *testing.T) {
	n := 1000
	if testing.Short() {
		n = 50
	}
	f := serve(t, nil)
	var before, after runtime.MemStats
	runtime.GC()
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

// deviceless answers everything at once, so that the fuzzer's sessions end.
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
