package iscsi

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/pdu"
)

// stormLogin logs in without failing the test: in a storm a connection may be
// closed at any moment.
func (c *client) stormLogin() bool {
	text := usual("InitialR2T", "No").AppendTo(nil)
	h := (&pdu.LoginRequest{Transit: true, Current: pdu.OperationalNegotiation, Next: pdu.FullFeaturePhase, DataLength: len(text), ISID: c.isid,
		CmdSN: c.cmdSN}).AppendTo(nil)
	if _, err := c.nc.Write(c.wire(h, nil, text)); err != nil {
		return false
	}
	r, err := c.tryReceive()
	return err == nil && r.header.OpCode() == pdu.OpLoginResponse && r.header[36] == 0
}

// Many connections log in as the same initiator port at once, each with commands
// that hang and writes whose data never comes: one session is left, and works.
func TestReinstatementStorm(t *testing.T) {
	f := serve(t, nil)
	other := f.dial(t)
	other.isid[5] = 0xee
	other.login()
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 15 {
				nc, err := net.Dial("tcp", f.addr)
				if err != nil {
					t.Error(err)
					return
				}
				_ = nc.SetDeadline(time.Now().Add(testPatience))
				c := &client{t: t, nc: nc, isid: [6]byte{0, 2, 0x3d, 0, 0, 1}, cmdSN: 1}
				if c.stormLogin() {
					var b []byte
					for range 4 {
						b = c.command([16]byte{opHang}).AppendTo(b)
						w := c.command(rw10(0x2a, 0, 100))
						w.Write, w.ExpectedDataLength = true, 100*testBlock
						b = w.AppendTo(b)
					}
					b = (&pdu.TaskManagement{Immediate: true, Function: scsi.AbortTaskSet, TaskTag: 99, CmdSN: c.cmdSN}).AppendTo(b)
					_, _ = nc.Write(b)
				}
				defer nc.Close()
			}
		})
	}
	wait.Wait()
	f.session(t).testUnitReady()
	other.testUnitReady()
	require.Len(t, f.server.Sessions(), 2)
	require.Zero(t, f.disk.taskCount())
}

// Logins that come while the server shuts down end; none is left.
func TestLoginsDuringShutdown(t *testing.T) {
	f := serve(t, nil)
	stop := make(chan struct{})
	var wait sync.WaitGroup
	for i := range 4 {
		wait.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				nc, err := net.Dial("tcp", f.addr)
				if err != nil {
					continue
				}
				_ = nc.SetDeadline(time.Now().Add(testPatience))
				c := &client{t: t, nc: nc, isid: [6]byte{byte(i), byte(n)}, cmdSN: 1}
				c.stormLogin()
				if n%2 == 0 {
					nc.Close()
				} else {
					defer nc.Close()
				}
			}
		})
	}
	require.Eventually(t, func() bool { return len(f.server.Sessions()) >= 4 }, testPatience, time.Millisecond)
	require.NoError(t, f.server.Shutdown(context.Background()))
	close(stop)
	wait.Wait()
	require.Empty(t, f.server.Sessions())
	require.Empty(t, f.server.connections)
	require.Empty(t, f.server.pending)
}

// Task management functions beyond what is allowed at a time are rejected; the
// session goes on, and so does its neighbour.
func TestTaskManagementFlood(t *testing.T) {
	const flood = 500
	stuck := &crowd{disk: newDisk(1 << 20), enough: make(chan struct{})}
	f := serve(t, func(o *Options) { o.Target = stuck })
	other := f.dial(t)
	other.isid[5] = 9
	other.login()
	c := f.session(t)
	var b []byte
	for i := range uint32(flood) {
		b = (&pdu.TaskManagement{Immediate: true, Function: scsi.LogicalUnitReset, TaskTag: 1000 + i, CmdSN: c.cmdSN}).AppendTo(b)
	}
	_, err := c.nc.Write(b)
	require.NoError(t, err)
	for range flood - maxImmediate {
		require.Equal(t, byte(pdu.RejectImmediate), c.expect(pdu.OpReject).header[2])
	}
	other.testUnitReady()
	c.testUnitReady()
	close(stuck.enough)
	for range maxImmediate {
		require.Equal(t, byte(scsi.FunctionComplete), c.expect(pdu.OpTaskManagementResp).header[2])
	}
	c.testUnitReady()
}

// crowd is a target whose task management functions wait until it is enough.
type crowd struct {
	*disk
	enough chan struct{}
}

func (s *crowd) Manage(context.Context, scsi.TaskManagement) scsi.ManagementResponse {
	<-s.enough
	return scsi.FunctionComplete
}

// Writes are aborted at any point of their data phase: what had come is dropped,
// and each command is answered or aborted, never both.
func TestAbortWhileDataArrives(t *testing.T) {
	f := serve(t, nil)
	c := f.session(t, "MaxBurstLength", "4096", "FirstBurstLength", "4096")
	const seed, blocks = 7, 40
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	data := pattern(blocks * testBlock)
	for range 200 {
		p := c.command(rw10(0x2a, 0, blocks))
		p.Write, p.ExpectedDataLength = true, uint32(len(data))
		c.send(p, nil)
		abortAt, asked := random.IntN(12), 0 // five R2Ts: some commands are not aborted
		sent, answered, over := false, false, false
		for !over {
			r := c.receive()
			switch r.header.OpCode() {
			case pdu.OpR2T:
				var q pdu.R2T
				q.Parse(r.header)
				if asked == abortAt {
					sent = true
					c.send(&pdu.TaskManagement{Immediate: true, Function: scsi.AbortTask, TaskTag: 0x8000, ReferencedTag: p.TaskTag, CmdSN: c.cmdSN,
						RefCmdSN: p.CmdSN}, nil)
				}
				asked++
				c.answer(q, data)
			case pdu.OpSCSIResponse:
				require.Equal(t, byte(scsi.StatusGood), r.header[3])
				require.False(t, answered, "two answers")
				answered, over = true, !sent
				c.expStatSN++
			case pdu.OpTaskManagementResp:
				require.True(t, sent)
				require.Equal(t, byte(scsi.FunctionComplete), r.header[2])
				c.expStatSN++
				over = true
			default:
				t.Fatal(r.header.OpCode())
			}
		}
	}
	c.testUnitReady()
	require.Zero(t, f.disk.taskCount())
}
