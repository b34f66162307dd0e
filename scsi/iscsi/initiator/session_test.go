package initiator_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
	"vvsim/scsi/cdb"
	"vvsim/scsi/iscsi"
	"vvsim/scsi/iscsi/initiator"
	"vvsim/scsi/iscsi/pdu"
)

func block(op scsi.OpCode, lba uint64, blocks int) []byte {
	b := cdb.Block{Op: op, LBA: lba, Blocks: uint32(blocks)}
	return b.AppendTo(nil)
}

func fillRandom(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 0))
	for i := 0; i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	return b
}

func TestDial(t *testing.T) {
	l := newLab(t, nil, nil)
	s := l.dial(t, nil)
	p := s.Parameters()
	require.NotZero(t, p.TSIH)
	require.Equal(t, uint16(1), p.PortalGroup)
	require.Equal(t, "lab", p.TargetAlias)
	require.False(t, p.InitialR2T)
	require.True(t, p.ImmediateData)
	require.False(t, p.HeaderDigest)
	require.NoError(t, s.Unit(testLUN).TestUnitReady(soon(t)))
	require.NoError(t, s.Err())
	require.NoError(t, s.Logout(soon(t)))
	require.ErrorIs(t, s.Err(), initiator.ErrClosed)
	<-s.Done()
	_, err := s.Execute(soon(t), initiator.Command{CDB: make([]byte, 6)})
	require.ErrorIs(t, err, initiator.ErrClosed)
	require.ErrorIs(t, s.Start(&initiator.Call{Command: initiator.Command{CDB: make([]byte, 6)}}), initiator.ErrClosed)
	require.ErrorIs(t, s.NOP(soon(t), nil), initiator.ErrClosed)
	require.NoError(t, s.Close())
}

func TestDialRefused(t *testing.T) {
	l := newLab(t, nil, nil)
	for name, c := range map[string]struct {
		change func(*initiator.Options)
		status pdu.LoginStatus
		want   error
	}{
		"unknown target": {func(o *initiator.Options) { o.TargetName = "iqn.2026-01.test:other" }, pdu.LoginTargetNotFound, nil},
		"no initiator":   {func(o *initiator.Options) { o.InitiatorName = "" }, 0, initiator.ErrInvalid},
		"no target":      {func(o *initiator.Options) { o.TargetName = "" }, 0, initiator.ErrInvalid},
		"no address":     {func(o *initiator.Options) { o.Address = "" }, 0, initiator.ErrInvalid},
		"bursts":         {func(o *initiator.Options) { o.FirstBurstLength, o.MaxBurstLength = 8192, 4096 }, 0, initiator.ErrInvalid},
		"short segment":  {func(o *initiator.Options) { o.MaxRecvDataSegmentLength = 511 }, 0, initiator.ErrInvalid},
		"commands":       {func(o *initiator.Options) { o.MaxCommands = 1 << 20 }, 0, initiator.ErrInvalid},
		"digest":         {func(o *initiator.Options) { o.DataDigest = "MD5" }, 0, initiator.ErrInvalid},
		"CHAP unwanted":  {func(o *initiator.Options) { o.CHAP = &initiator.CHAP{User: "u", Secret: []byte("a secret of mine")} }, pdu.LoginAuthenticationFailed, nil},
		"only mutual":    {func(o *initiator.Options) { o.MutualCHAP = &initiator.CHAP{} }, 0, initiator.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			o := l.options()
			c.change(&o)
			_, err := initiator.Dial(soon(t), o)
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
				return
			}
			var refused *initiator.LoginError
			require.ErrorAs(t, err, &refused)
			require.Equal(t, c.status, refused.Status)
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := initiator.Dial(ctx, l.options())
	require.ErrorIs(t, err, context.Canceled)
}

func TestCHAP(t *testing.T) {
	own := iscsi.CHAP{User: "host", Secret: []byte("one-way secret")}
	array := iscsi.CHAP{User: "array", Secret: []byte("mutual secret!")}
	l := newLab(t, nil, func(o *iscsi.Options) { o.Access = access{CHAP: &own, Mutual: &array} })
	good := initiator.CHAP(own)
	for _, algorithm := range []string{"", "5", "6", "7", "8"} {
		s := l.dial(t, func(o *initiator.Options) { o.CHAP, o.CHAPAlgorithms = &good, algorithm })
		require.NoError(t, s.Unit(testLUN).TestUnitReady(soon(t)), algorithm)
		mutual := initiator.CHAP(array)
		s = l.dial(t, func(o *initiator.Options) { o.CHAP, o.MutualCHAP, o.CHAPAlgorithms = &good, &mutual, algorithm })
		require.NoError(t, s.Unit(testLUN).TestUnitReady(soon(t)), algorithm)
	}
	refused := func(c *initiator.CHAP) {
		o := l.options()
		o.CHAP = c
		_, err := initiator.Dial(soon(t), o)
		var e *initiator.LoginError
		require.ErrorAs(t, err, &e)
		require.Equal(t, pdu.LoginAuthenticationFailed, e.Status)
	}
	refused(nil)
	refused(&initiator.CHAP{User: "host", Secret: []byte("wrong")})
	refused(&initiator.CHAP{User: "other", Secret: own.Secret})
	for _, m := range []initiator.CHAP{{User: "array", Secret: []byte("wrong")}, {User: "other", Secret: array.Secret}} {
		o := l.options()
		o.CHAP, o.MutualCHAP = &good, &m
		_, err := initiator.Dial(soon(t), o)
		require.ErrorIs(t, err, initiator.ErrAuthentication)
	}
}

func TestDiscover(t *testing.T) {
	l := newLab(t, nil, nil)
	o := initiator.Options{Address: l.addr, InitiatorName: testInitiator}
	targets, err := initiator.Discover(soon(t), o)
	require.NoError(t, err)
	require.Equal(t, []initiator.Target{{Name: testTarget, Portals: []initiator.Portal{{Address: l.addr, Group: 1}, {Address: "[::1]:3260", Group: 2}}}}, targets)
	s := l.dial(t, nil)
	again, err := s.SendTargets(soon(t), "")
	require.NoError(t, err)
	require.Equal(t, targets, again)
	keys, err := s.Text(soon(t), pdu.Keys{{Key: "X-test", Value: "1"}})
	require.NoError(t, err)
	require.Equal(t, pdu.Keys{{Key: "X-test", Value: "NotUnderstood"}}, keys)
}

// TestLongText has an answer of several PDUs.
func TestLongText(t *testing.T) {
	l := newLab(t, nil, func(o *iscsi.Options) {
		o.Portals = func() (list []iscsi.PortalAddress) {
			for i := range 300 {
				list = append(list, iscsi.PortalAddress{Address: fmt.Sprintf("192.0.2.%d:%d", i%256, 3260+i), Group: uint16(i + 1)})
			}
			return list
		}
	})
	responses := 0
	o := initiator.Options{Address: l.addr, InitiatorName: testInitiator, MaxRecvDataSegmentLength: 512,
		Trace: func(d initiator.Direction, h pdu.Header, _ []byte) {
			if h.OpCode() == pdu.OpTextResponse {
				responses++
			}
		}}
	targets, err := initiator.Discover(soon(t), o)
	require.NoError(t, err)
	require.Len(t, targets, 1)
	require.Len(t, targets[0].Portals, 300)
	require.Equal(t, uint16(300), targets[0].Portals[299].Group)
	require.Greater(t, responses, 10)
}

// TestTransfers moves data in all the ways that the login can settle.
func TestTransfers(t *testing.T) {
	l := newLab(t, nil, nil)
	for _, digests := range []initiator.Digest{initiator.DigestNone, initiator.DigestCRC32C, initiator.DigestPreferred} {
		for _, initialR2T := range []bool{false, true} {
			for _, noImmediate := range []bool{false, true} {
				for _, lengths := range [][4]int{{0, 0, 0, 0}, {512, 1024, 512, 1}, {4096, 8192, 6144, 2}, {65536, 65536, 65536, 8}} {
					name := fmt.Sprintf("digests %s R2T %v no immediate %v lengths %v", digests, initialR2T, noImmediate, lengths)
					t.Run(name, func(t *testing.T) {
						s := l.dial(t, func(o *initiator.Options) {
							o.HeaderDigest, o.DataDigest, o.InitialR2T, o.NoImmediateData = digests, digests, initialR2T, noImmediate
							o.MaxRecvDataSegmentLength, o.MaxBurstLength, o.FirstBurstLength, o.MaxOutstandingR2T = lengths[0], lengths[1], lengths[2], lengths[3]
						})
						p := s.Parameters()
						require.Equal(t, digests != initiator.DigestNone, p.HeaderDigest && p.DataDigest)
						require.Equal(t, initialR2T, p.InitialR2T)
						require.Equal(t, !noImmediate, p.ImmediateData)
						transfers(t, s)
					})
				}
			}
		}
	}
}

// transfers writes and reads back many sizes at once.
func transfers(t *testing.T, s *initiator.Session) {
	ctx := soon(t)
	var running sync.WaitGroup
	for i, blocks := range []int{1, 2, 7, 8, 64, 255, 300} {
		lba := uint64(i) * 1024
		running.Go(func() {
			data := fillRandom(uint64(i), blocks*testBlock)
			r, err := s.Execute(ctx, initiator.Command{LUN: testLUN, CDB: block(scsi.OpWrite16, lba, blocks), DataOut: data})
			if err != nil || r.Status != scsi.StatusGood || r.Residual != (pdu.Residual{}) {
				t.Errorf("write of %d blocks: %+v %v", blocks, r, err)
				return
			}
			r, err = s.Execute(ctx, initiator.Command{LUN: testLUN, CDB: block(scsi.OpRead16, lba, blocks), DataInLength: len(data)})
			if err != nil || r.Status != scsi.StatusGood || string(r.DataIn) != string(data) {
				t.Errorf("read of %d blocks: %v %v", blocks, r.Status, err)
			}
		})
	}
	running.Wait()
	require.NoError(t, s.NOP(ctx, []byte("ping")))
}

func TestResult(t *testing.T) {
	l := newLab(t, nil, nil)
	s := l.dial(t, nil)
	ctx := soon(t)
	read := func(blocks, expected int) initiator.Result {
		r, err := s.Execute(ctx, initiator.Command{LUN: testLUN, CDB: block(scsi.OpRead16, 0, blocks), DataInLength: expected})
		require.NoError(t, err)
		require.Equal(t, scsi.StatusGood, r.Status)
		return r
	}
	r := read(1, 1024)
	require.Equal(t, pdu.Residual{Underflow: true, Count: 512}, r.Residual)
	require.Len(t, r.DataIn, 512)
	r = read(4, 512)
	require.Equal(t, pdu.Residual{Overflow: true, Count: 1536}, r.Residual)
	require.Len(t, r.DataIn, 512)

	c := initiator.Command{LUN: testLUN, CDB: block(scsi.OpRead16, 1<<40, 1), DataInLength: 512}
	r, err := s.Execute(ctx, c)
	require.NoError(t, err)
	require.Equal(t, scsi.StatusCheckCondition, r.Status)
	require.Equal(t, scsi.LBAOutOfRangeASC, r.Sense.Code)
	require.NotEmpty(t, r.SenseBytes)
	var check *initiator.CheckConditionError
	require.ErrorAs(t, r.Err(&c), &check)
	require.Equal(t, scsi.OpRead16, check.OpCode)
	require.Equal(t, testLUN, check.LUN)

	other := scsi.SubsidiaryLUN(scsi.SimpleLUN(256), 0x0102030406) // one bit off
	r, err = s.Execute(ctx, initiator.Command{LUN: other, CDB: make([]byte, 6)})
	require.NoError(t, err)
	require.Equal(t, scsi.LogicalUnitNotSupported, r.Sense.Code)

	l.array.mu.Lock()
	l.array.fail = func(byte) scsi.Response { return scsi.Response{Status: scsi.StatusBusy} }
	l.array.mu.Unlock()
	err = s.Unit(testLUN).TestUnitReady(ctx)
	var status *initiator.StatusError
	require.ErrorAs(t, err, &status)
	require.Equal(t, scsi.StatusBusy, status.Status)
	require.Nil(t, initiator.SenseOf(err))
}

func TestCommandForms(t *testing.T) {
	l := newLab(t, nil, nil)
	s := l.dial(t, nil)
	ctx := soon(t)
	long := make([]byte, 33)
	for i := range long {
		long[i] = byte(i)
	}
	long[0] = opLong
	r, err := s.Execute(ctx, initiator.Command{LUN: testLUN, CDB: long})
	require.NoError(t, err)
	require.Equal(t, scsi.StatusGood, r.Status, "%v", r.Sense)
	r, err = s.Execute(ctx, initiator.Command{LUN: testLUN, CDB: make([]byte, 6), Immediate: true, Attribute: scsi.HeadOfQueue})
	require.NoError(t, err)
	require.Equal(t, scsi.StatusGood, r.Status)
	for name, c := range map[string]initiator.Command{
		"no CDB":          {},
		"long CDB":        {CDB: make([]byte, 261)},
		"both directions": {CDB: make([]byte, 6), DataOut: []byte{1}, DataInLength: 1},
		"too much":        {CDB: make([]byte, 6), DataInLength: 1 << 30},
		"negative":        {CDB: make([]byte, 6), DataInLength: -1},
		"short buffer":    {CDB: make([]byte, 6), DataInLength: 2, DataIn: make([]byte, 1)},
	} {
		_, err := s.Execute(ctx, c)
		require.ErrorIs(t, err, initiator.ErrInvalid, name)
		require.ErrorIs(t, s.Start(&initiator.Call{Command: c}), initiator.ErrInvalid, name)
	}
	buffer := make([]byte, 1024)
	r, err = s.Execute(ctx, initiator.Command{LUN: testLUN, CDB: block(scsi.OpRead16, 0, 1), DataInLength: 512, DataIn: buffer})
	require.NoError(t, err)
	require.Same(t, &buffer[0], &r.DataIn[0])
}

// TestWindow has more callers than the window has places.
func TestWindow(t *testing.T) {
	l := newLab(t, nil, func(o *iscsi.Options) { o.CommandWindow = 16 })
	s := l.dial(t, func(o *initiator.Options) { o.MaxCommands = 64 })
	ctx := soon(t)
	var running sync.WaitGroup
	for i := range 100 {
		running.Go(func() {
			for j := range 20 {
				c := initiator.Command{LUN: testLUN, CDB: block(scsi.OpRead16, uint64(i*j), 8), DataInLength: 4096, Immediate: j%7 == 0 && i < 8}
				if r, err := s.Execute(ctx, c); err != nil || r.Status != scsi.StatusGood {
					t.Errorf("command: %v %v", r.Status, err)
				}
			}
		})
	}
	running.Wait()
	cmdSN, exp, limit := s.Window()
	require.Equal(t, cmdSN, exp)
	require.Equal(t, cmdSN+15, limit)
}

// TestWindowClosed fills the window with commands that hang: what is immediate
// still goes through, and the rest waits its turn.
func TestWindowClosed(t *testing.T) {
	l := newLab(t, nil, func(o *iscsi.Options) { o.CommandWindow = 16 })
	s := l.dial(t, func(o *initiator.Options) { o.MaxCommands = 20 })
	ctx := soon(t)
	ended := make(chan error, 20)
	var calls []*initiator.Call
	for range 20 {
		c := &initiator.Call{Command: initiator.Command{LUN: testLUN, CDB: []byte{opHang}}, Done: func(c *initiator.Call) { ended <- c.Err }}
		require.NoError(t, s.Start(c))
		calls = append(calls, c)
	}
	require.ErrorIs(t, s.Start(&initiator.Call{Command: initiator.Command{CDB: []byte{0}}}), initiator.ErrBusy)
	l.array.waitTasks(16)
	require.NoError(t, s.NOP(ctx, []byte("x")))
	require.True(t, s.Cancel(calls[19]), "not sent yet")
	require.False(t, s.Cancel(calls[19]))
	r, err := s.TaskManagement(ctx, scsi.QueryTask, testLUN, calls[0].Tag())
	require.NoError(t, err)
	require.Equal(t, scsi.FunctionSucceeded, r)
	l.array.mu.Lock()
	l.array.letGo = true
	l.array.changed.Broadcast()
	l.array.mu.Unlock()
	for range 19 {
		require.NoError(t, <-ended)
	}
}

func TestCancel(t *testing.T) {
	l := newLab(t, nil, nil)
	s := l.dial(t, func(o *initiator.Options) { o.MaxCommands = 1 })
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() {
		l.array.waitTasks(1)
		cancel(context.DeadlineExceeded)
	}()
	_, err := s.Execute(ctx, initiator.Command{LUN: testLUN, CDB: []byte{opHang}})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	l.array.waitTasks(0) // ABORT TASK was sent
	require.NoError(t, s.Unit(testLUN).TestUnitReady(soon(t)), "the only place is free again")
	_, err = s.Execute(ctx, initiator.Command{LUN: testLUN, CDB: []byte{0}})
	if err == nil { // a context that has ended may lose against a place that is free
		t.Log("the command was faster")
	}
}

func TestTaskManagement(t *testing.T) {
	l := newLab(t, nil, nil)
	s := l.dial(t, nil)
	other := l.dial(t, func(o *initiator.Options) { o.ISID[5] = 2 })
	ctx := soon(t)
	start := func(lun scsi.LUN) (*initiator.Call, chan error) {
		ended := make(chan error, 1)
		c := &initiator.Call{Command: initiator.Command{LUN: lun, CDB: []byte{opHang}}, Done: func(c *initiator.Call) { ended <- c.Err }}
		require.NoError(t, s.Start(c))
		return c, ended
	}
	a, endA := start(testLUN)
	_, endB := start(testLUN)
	_, endC := start(scsi.LUN{})
	l.array.waitTasks(3)

	r, err := s.TaskManagement(ctx, scsi.AbortTask, testLUN, a.Tag())
	require.NoError(t, err)
	require.Equal(t, scsi.FunctionComplete, r)
	require.ErrorIs(t, <-endA, initiator.ErrAborted)
	require.NoError(t, s.Reset(ctx, testLUN))
	require.ErrorIs(t, <-endB, initiator.ErrAborted)
	r, err = s.TaskManagement(ctx, scsi.TargetWarmReset, scsi.LUN{}, 0)
	require.NoError(t, err)
	require.Equal(t, scsi.FunctionComplete, r)
	require.ErrorIs(t, <-endC, initiator.ErrAborted)

	r, err = s.TaskManagement(ctx, scsi.AbortTask, testLUN, a.Tag())
	require.NoError(t, err, "a task that is long gone")
	require.Equal(t, scsi.FunctionComplete, r)
	r, err = s.TaskManagement(ctx, scsi.TaskReassign, testLUN, 1)
	require.NoError(t, err)
	require.Equal(t, scsi.ReassignNotSupported, r)
	_, err = s.TaskManagement(ctx, 0, testLUN, 0)
	require.ErrorIs(t, err, initiator.ErrInvalid)
	require.NoError(t, other.Unit(testLUN).TestUnitReady(ctx))
	require.NoError(t, s.Unit(testLUN).TestUnitReady(ctx))
}

func TestReject(t *testing.T) {
	l := newLab(t, nil, nil)
	s := l.dial(t, nil)
	// A SNACK is not supported at ErrorRecoveryLevel 0; the session lives on.
	require.NoError(t, s.Send(&pdu.SNACK{TaskTag: 1, TransferTag: pdu.ReservedTag, ExpStatSN: s.ExpStatSN()}, nil, nil))
	require.NoError(t, s.Unit(testLUN).TestUnitReady(soon(t)))
	require.NoError(t, s.Err())
}

// TestLogoutRequested has the target shut down.
func TestLogoutRequested(t *testing.T) {
	l := newLab(t, nil, nil)
	events := make(chan pdu.AsyncEvent, 1)
	s := l.dial(t, func(o *initiator.Options) {
		o.ObeyLogout = true
		o.Async = func(m pdu.AsyncMessage, _ []byte) { events <- m.Event }
	})
	stopped := make(chan error, 1)
	go func() { stopped <- l.server.Shutdown(context.Background()) }()
	require.Equal(t, pdu.AsyncLogout, <-events)
	<-s.Done()
	require.ErrorIs(t, s.Err(), initiator.ErrClosed)
	require.NoError(t, <-stopped)
}

// TestClose ends commands that hang, and those that wait for a place.
func TestClose(t *testing.T) {
	l := newLab(t, nil, nil)
	s := l.dial(t, func(o *initiator.Options) { o.MaxCommands = 2 })
	errs := make(chan error, 4)
	for range 4 {
		go func() {
			_, err := s.Execute(context.Background(), initiator.Command{LUN: testLUN, CDB: []byte{opHang}})
			errs <- err
		}()
	}
	l.array.waitTasks(2)
	require.NoError(t, s.Close())
	for range 4 {
		require.ErrorIs(t, <-errs, initiator.ErrClosed)
	}
	require.NoError(t, s.Close())
}

// TestReinstatement has a second login of the same port end the first session.
func TestReinstatement(t *testing.T) {
	l := newLab(t, nil, nil)
	first := l.dial(t, nil)
	second := l.dial(t, nil)
	<-first.Done()
	require.ErrorIs(t, first.Err(), initiator.ErrClosed)
	require.NoError(t, second.Unit(testLUN).TestUnitReady(soon(t)))
}
