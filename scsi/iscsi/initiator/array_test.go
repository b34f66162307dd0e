package initiator_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
	"vvsim/scsi/cdb"
	"vvsim/scsi/iscsi"
	"vvsim/scsi/iscsi/initiator"
)

const (
	testTarget    = "iqn.2026-01.test:array"
	testInitiator = "iqn.2026-01.test:host"
	testBlock     = 512
	patience      = 20 * time.Second // for what never should take so long
	opHang        = 0xc1             // vendor specific: runs until aborted or let go
	opLong        = 0x7f             // variable length: GOOD if the CDB counts up
)

// testLUN has all eight bytes to lose: a subsidiary of LUN 256.
var testLUN = scsi.SubsidiaryLUN(scsi.SimpleLUN(256), 0x0102030405)

// array is a target with one unit in memory at every LUN of luns.
type array struct {
	mu         sync.Mutex
	changed    sync.Cond
	memory     []byte
	luns       []scsi.LUN
	tasks      map[*scsi.Task]bool
	letGo      bool
	attentions []scsi.ASC
	flushes    int
	fuas       int
	corrupt    bool                        // flips a bit of every read
	fail       func(op byte) scsi.Response // not GOOD: the answer
	registered uint64
}

func newArray(size int) *array {
	a := &array{memory: make([]byte, size), luns: []scsi.LUN{testLUN, {}}, tasks: map[*scsi.Task]bool{}}
	a.changed.L = &a.mu
	return a
}

func (a *array) Prepare(t *scsi.Task) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tasks[t] = true
	a.changed.Broadcast()
	var b cdb.Block
	switch scsi.OpCode(t.CDB[0]) {
	case scsi.OpWrite16:
		b.Parse(t.CDB)
		return int(b.Blocks) * testBlock
	case scsi.OpCompareAndWrite:
		b.Parse(t.CDB)
		return 2 * int(b.Blocks) * testBlock
	case scsi.OpWriteSame16:
		return testBlock
	case scsi.OpUnmap, scsi.OpPersistentReserveOut:
		var p cdb.Parameter
		p.Parse(t.CDB)
		return int(p.Length)
	}
	return 0
}

func (a *array) Execute(t *scsi.Task) scsi.Response {
	defer func() {
		a.mu.Lock()
		delete(a.tasks, t)
		a.changed.Broadcast()
		a.mu.Unlock()
	}()
	if t.CDB[0] == opHang {
		return a.hang(t)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	known := false
	for _, l := range a.luns {
		known = known || l == t.LUN
	}
	if !known {
		return scsi.CheckCondition(scsi.UnsupportedLUN())
	}
	if len(a.attentions) > 0 {
		asc := a.attentions[0]
		a.attentions = a.attentions[1:]
		return scsi.CheckCondition(scsi.Attention(asc))
	}
	if a.fail != nil {
		if r := a.fail(t.CDB[0]); r.Status != scsi.StatusGood {
			return r
		}
	}
	if r, ok := a.media(t); ok {
		return r
	}
	return a.parameters(t)
}

// in is a response with parameter data, cut at the allocation length.
func in(t *scsi.Task, data []byte, allocation int) scsi.Response {
	data = data[:min(len(data), allocation)]
	return scsi.Response{DataIn: scsi.BufferOf(data[:min(len(data), int(t.ExpectedIn))]), TransferLength: uint64(len(data))}
}

func (a *array) media(t *scsi.Task) (scsi.Response, bool) {
	op := scsi.OpCode(t.CDB[0])
	if op.Length() != 16 || op == scsi.OpServiceActionIn16 {
		return scsi.Response{}, false
	}
	var b cdb.Block
	b.Parse(t.CDB)
	if b.LBA+uint64(b.Blocks) > uint64(len(a.memory)/testBlock) {
		return scsi.CheckCondition(scsi.LBAOutOfRange(b.LBA)), true
	}
	m := a.memory[b.LBA*testBlock:][:int(b.Blocks)*testBlock]
	switch op {
	case scsi.OpRead16:
		r := in(t, m, len(m))
		if a.corrupt {
			r.DataIn.Bytes()[len(m)/2] ^= 0x10
		}
		return r, true
	case scsi.OpWrite16:
		copy(m, t.DataOut)
		if b.Flags&cdb.FUA != 0 {
			a.fuas++
		}
	case scsi.OpSynchronizeCache16:
		a.flushes++
	case scsi.OpWriteSame16:
		for i := range m {
			m[i] = 0
			if b.Flags&cdb.NDOB == 0 {
				m[i] = t.DataOut[i%testBlock]
			}
		}
	case scsi.OpCompareAndWrite:
		for i := range m {
			if m[i] != t.DataOut[i] {
				return scsi.CheckCondition(scsi.MiscompareAt(uint64(i))), true
			}
		}
		copy(m, t.DataOut[len(m):])
	}
	return scsi.Response{TransferLength: uint64(len(t.DataOut))}, true
}

func (a *array) parameters(t *scsi.Task) scsi.Response {
	var p cdb.Parameter
	p.Parse(t.CDB)
	n := int(p.Length)
	switch scsi.OpCode(t.CDB[0]) {
	case scsi.OpTestUnitReady:
		return scsi.Good()
	case opLong:
		for i, c := range t.CDB[1:] {
			if int(c) != i+1 {
				return scsi.CheckCondition(scsi.InvalidFieldInCDB(i + 1))
			}
		}
		return scsi.Good()
	case scsi.OpInquiry:
		return a.inquiry(t, p)
	case scsi.OpRequestSense:
		s := scsi.Sense(scsi.NotReady, scsi.BecomingReady)
		if p.Byte1&1 != 0 {
			return in(t, s.AppendDescriptor(nil), n)
		}
		return in(t, s.AppendFixed(nil), n)
	case scsi.OpReportLUNs:
		list := binary.BigEndian.AppendUint32(nil, uint32(8*len(a.luns)))
		list = append(list, 0, 0, 0, 0)
		for _, l := range a.luns {
			list = append(list, l[:]...)
		}
		return in(t, list, n)
	case scsi.OpServiceActionIn16:
		if p.Byte1 == scsi.SAGetLBAStatus {
			b := []byte{0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 9, 1, 0, 0, 0}
			return in(t, b, n)
		}
		b := make([]byte, 32)
		binary.BigEndian.PutUint64(b, uint64(len(a.memory)/testBlock)-1)
		binary.BigEndian.PutUint32(b[8:], testBlock)
		b[13], b[14] = 3, 0xc0
		return in(t, b, n)
	case scsi.OpUnmap:
		for d := t.DataOut[8:]; len(d) >= 16; d = d[16:] {
			at := binary.BigEndian.Uint64(d) * testBlock
			clear(a.memory[at : at+uint64(binary.BigEndian.Uint32(d[8:]))*testBlock])
		}
		return scsi.Response{TransferLength: uint64(len(t.DataOut))}
	case scsi.OpPersistentReserveOut:
		a.registered = binary.BigEndian.Uint64(t.DataOut[8:])
		return scsi.Response{TransferLength: uint64(len(t.DataOut))}
	case scsi.OpPersistentReserveIn:
		b := []byte{0, 0, 0, 1, 0, 0, 0, 8}
		return in(t, binary.BigEndian.AppendUint64(b, a.registered), n)
	}
	return scsi.CheckCondition(scsi.InvalidOpCode())
}

func (a *array) inquiry(t *scsi.Task, p cdb.Parameter) scsi.Response {
	n := int(p.Length)
	switch {
	case p.Byte1&1 == 0:
		b := append([]byte{0, 0x40, 6, 2, 31, 0x18, 0, 2}, "VENDOR  PRODUCT         0001"...)
		return in(t, b, n)
	case p.Byte2 == 0xb0:
		b := make([]byte, 64)
		b[1], b[3], b[5] = 0xb0, 60, 4
		binary.BigEndian.PutUint32(b[8:], 256)
		binary.BigEndian.PutUint32(b[20:], 1000)
		binary.BigEndian.PutUint32(b[24:], 32)
		return in(t, b, n)
	case p.Byte2 == 0x83:
		long := bytes.Repeat([]byte{2, 8, 0, 200}, 1)
		long = append(long, bytes.Repeat([]byte("x"), 200)...)
		b := append([]byte{1, 3, 0, 8}, 0x60, 1, 2, 3, 4, 5, 6, 7)
		for range 30 { // more than the first allocation
			b = append(b, long...)
		}
		return in(t, append([]byte{0, 0x83, byte(len(b) >> 8), byte(len(b))}, b...), n)
	}
	return scsi.CheckCondition(scsi.InvalidFieldInCDB(2))
}

func (a *array) hang(t *scsi.Task) scsi.Response {
	stop := context.AfterFunc(t.Context(), func() {
		a.mu.Lock()
		a.changed.Broadcast()
		a.mu.Unlock()
	})
	defer stop()
	a.mu.Lock()
	defer a.mu.Unlock()
	for !t.Aborted() && !a.letGo {
		a.changed.Wait()
	}
	return scsi.Good()
}

func (a *array) Manage(_ context.Context, m scsi.TaskManagement) scsi.ManagementResponse {
	hit := func(t *scsi.Task) bool {
		switch m.Function {
		case scsi.AbortTask:
			return t.Nexus == m.Nexus && t.LUN == m.LUN && t.Tag == m.Referenced
		case scsi.LogicalUnitReset, scsi.AbortTaskSet:
			return t.LUN == m.LUN
		}
		return m.Function == scsi.TargetWarmReset
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if m.Function == scsi.QueryTask {
		for t := range a.tasks {
			if t.Tag == m.Referenced {
				return scsi.FunctionSucceeded
			}
		}
		return scsi.FunctionComplete
	}
	a.abort(hit)
	for left := true; left; {
		left = false
		for t := range a.tasks {
			left = left || hit(t)
		}
		if left {
			a.changed.Wait()
		}
	}
	return scsi.FunctionComplete
}

// abort aborts tasks. Called with mu held.
func (a *array) abort(hit func(*scsi.Task) bool) {
	for t := range a.tasks {
		if hit(t) {
			t.Abort(scsi.AbortedSilently)
		}
	}
	a.changed.Broadcast()
}

func (a *array) NexusLost(n *scsi.Nexus) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.abort(func(t *scsi.Task) bool { return t.Nexus == n })
}

func (a *array) NexusEstablished(*scsi.Nexus) error { return nil }

func (a *array) ExecuteAll(tasks []*scsi.Task, answers []scsi.Response) {
	for i, t := range tasks {
		answers[i] = a.Execute(t)
	}
}

// waitTasks waits until n tasks are in flight.
func (a *array) waitTasks(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.tasks) != n {
		a.changed.Wait()
	}
}

// access is what every initiator has to prove.
type access iscsi.Credentials

func (a access) Login(string, bool) (iscsi.Credentials, error) { return iscsi.Credentials(a), nil }

// lab is an array behind the real target on a loopback port.
type lab struct {
	array  *array
	server *iscsi.Server
	addr   string
}

func newLab(t testing.TB, target scsi.Target, change func(*iscsi.Options)) *lab {
	t.Helper()
	l := &lab{}
	if target == nil {
		l.array = newArray(8 << 20)
		target = l.array
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l.addr = ln.Addr().String()
	o := iscsi.Options{TargetName: testTarget, TargetAlias: "lab", Target: target, Access: access{}, LogoutTimeout: time.Second}
	o.Portals = func() []iscsi.PortalAddress {
		return []iscsi.PortalAddress{{Address: l.addr, Group: 1}, {Address: "[::1]:3260", Group: 2}}
	}
	if change != nil {
		change(&o)
	}
	l.server, err = iscsi.NewServer(o)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- l.server.Serve(context.Background(), ln, 1) }()
	t.Cleanup(func() {
		require.NoError(t, l.server.Shutdown(context.Background()))
		<-served
	})
	return l
}

func (l *lab) options() initiator.Options {
	return initiator.Options{Address: l.addr, TargetName: testTarget, InitiatorName: testInitiator}
}

func (l *lab) dial(t testing.TB, change func(*initiator.Options)) *initiator.Session {
	t.Helper()
	o := l.options()
	if change != nil {
		change(&o)
	}
	s, err := initiator.Dial(context.Background(), o)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// soon is a context for what has to end.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}
