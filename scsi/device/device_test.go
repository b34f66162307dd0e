package device

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
)

// miscompareError is the offset of the first difference.
type miscompareError uint64

func (miscompareError) Error() string { return "miscompare" }

// ram is a Medium in memory: every block is mapped that was written.
type ram struct {
	mu     sync.Mutex
	data   []byte
	mapped []bool // by 4 KiB
}

func newRAM(size int) *ram { return &ram{data: make([]byte, size), mapped: make([]bool, size/4096)} }

func (m *ram) Size() uint64                { return uint64(len(m.data)) }
func (m *ram) ReadOnly() bool              { return false }
func (m *ram) Flush(context.Context) error { return nil }

func (m *ram) ReadAt(_ context.Context, p []byte, off uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	copy(p, m.data[off:])
	return nil
}

func (m *ram) WriteAt(_ context.Context, p []byte, off uint64, _ bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	copy(m.data[off:], p)
	for b := off / 4096; b*4096 < off+uint64(len(p)); b++ {
		m.mapped[b] = true
	}
	return nil
}

func (m *ram) WriteAll(ctx context.Context, writes []Write, fua bool) {
	for i := range writes {
		writes[i].Err = m.WriteAt(ctx, writes[i].Data, writes[i].Offset, fua)
	}
}

func (m *ram) CompareAndWrite(ctx context.Context, compare, data []byte, off uint64, fua bool) error {
	m.mu.Lock()
	i := firstDifference(m.data[off:off+uint64(len(compare))], compare)
	m.mu.Unlock()
	if i >= 0 {
		return miscompareError(i)
	}
	return m.WriteAt(ctx, data, off, fua)
}

func (m *ram) Zero(ctx context.Context, off, n uint64, _ bool) error { return m.Unmap(ctx, off, n) }

func (m *ram) Unmap(_ context.Context, off, n uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.data[off : off+n])
	for b := (off + 4095) / 4096; (b+1)*4096 <= off+n; b++ {
		m.mapped[b] = false
	}
	return nil
}

func (m *ram) Extents(_ context.Context, off, limit uint64) iter.Seq2[Extent, error] {
	return func(yield func(Extent, error) bool) {
		for end := min(off+limit, m.Size()); off < end; {
			n := min(4096-off%4096, end-off)
			if !yield(Extent{off, n, m.mapped[off/4096]}, nil) {
				return
			}
			off += n
		}
	}
}

func (m *ram) CopyFrom(ctx context.Context, off uint64, src Medium, srcOff, n uint64) error {
	p := make([]byte, n)
	if err := src.ReadAt(ctx, p, srcOff); err != nil {
		return err
	}
	return m.WriteAt(ctx, p, off, false)
}

func testConfig(k Kind) Config {
	ports := []PortGroup{{ID: 1}, {ID: 2}}
	return Config{Kind: k, Identity: Identity{NAA: [16]byte{0x60, 1}, Serial: "serial", TargetName: "iqn.2026-01.test:target"},
		Medium: newRAM(1 << 20), Limits: Limits{Granularity: 4096, MaxTransfer: 1 << 19, MaxCompareWrite: 64, AtomicWrite: 1 << 19, MaxUnmap: 1 << 20},
		Translate: func(err error, _ uint64, _ bool) (scsi.Status, *scsi.SenseData) {
			s := scsi.InternalTargetFailure()
			if m := miscompareError(0); errors.As(err, &m) {
				s = scsi.MiscompareAt(uint64(m))
			}
			return scsi.StatusCheckCondition, &s
		},
		LUNs: func(_ *scsi.Nexus, l scsi.LUN, s byte) ([]scsi.LUN, *scsi.SenseData) {
			if s > 2 {
				bad := scsi.InvalidFieldInCDB(2)
				return nil, &bad
			}
			return []scsi.LUN{l}, nil
		},
		Ports: func() []PortGroup { return ports }, Knobs: DefaultKnobs}
}

// bench is one logical unit with two nexuses.
type bench struct {
	t    *testing.T
	lu   *LogicalUnit
	a, b *scsi.Nexus
}

func newBench(t *testing.T, k Kind) *bench {
	lu, err := New(testConfig(k))
	require.NoError(t, err)
	x := &bench{t, lu, &scsi.Nexus{NexusID: scsi.NexusID{Initiator: "iqn.a", TargetPort: 1}}, &scsi.Nexus{NexusID: scsi.NexusID{Initiator: "iqn.b", TargetPort: 2}}}
	for _, n := range []*scsi.Nexus{x.a, x.b} {
		require.Equal(t, "06/29/00 (UNIT ATTENTION)", x.sense(n, nil, 0, 0, 0, 0, 0, 0), "a new nexus hears of power on")
		require.Equal(t, scsi.StatusGood, x.run(n, nil, 0, 0, 0, 0, 0, 0).Status)
	}
	return x
}

// run executes a CDB; in is taken whole.
func (x *bench) run(n *scsi.Nexus, out []byte, cdb ...byte) scsi.Response {
	t := &scsi.Task{Nexus: n, CDB: append(cdb, make([]byte, 16)...), ExpectedIn: 1 << 20, ExpectedOut: uint32(len(out)), Attribute: scsi.Simple}
	want := x.lu.Prepare(t)
	t.DataOut = out[:min(want, len(out))]
	return x.lu.Execute(t)
}

func (x *bench) sense(n *scsi.Nexus, out []byte, cdb ...byte) string {
	r := x.run(n, out, cdb...)
	if r.Sense == nil {
		return r.Status.String()
	}
	return r.Sense.String()
}

func (x *bench) good(n *scsi.Nexus, out []byte, cdb ...byte) []byte {
	x.t.Helper()
	r := x.run(n, out, cdb...)
	require.Equal(x.t, scsi.StatusGood, r.Status, "%v", r.Sense)
	return r.DataIn.Bytes()
}

// TestRowsAreComplete holds every row against its own claims.
func TestRowsAreComplete(t *testing.T) {
	names := map[string]bool{}
	for _, c := range rows() {
		require.False(t, names[c.name], "%s stands twice", c.name)
		names[c.name] = true
		require.Equal(t, byte(c.op), c.usage[0], c.name)
		require.Len(t, c.usage, c.op.Length(), c.name)
		require.NotNil(t, c.run, c.name)
		require.NotZero(t, c.kinds, c.name)
		if c.action >= 0 {
			require.Equal(t, byte(0x1f), c.usage[1]&0x1f, "%s: the service action's bits", c.name)
		}
	}
}

// TestSupportedCommandsAreServed asks for the list and sends every command of it:
// none may answer INVALID COMMAND OPERATION CODE; everything else has to.
func TestSupportedCommandsAreServed(t *testing.T) {
	for _, k := range []Kind{Volume, Administrative} {
		x := newBench(t, k)
		list := x.good(x.a, nil, 0xa3, 0x0c, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0)
		known := map[byte]bool{}
		for at := 4; at < len(list); at += 8 {
			op, action := list[at], list[at+3]
			known[op] = true
			cdb := make([]byte, 16)
			cdb[0] = op
			if list[at+5]&1 != 0 {
				cdb[1] = action
			}
			one := x.good(x.a, nil, 0xa3, 0x0c, 3, op, 0, action, 0, 0, 0, 64, 0, 0)
			require.Equal(t, byte(3), one[1]&7, "%02Xh/%02Xh is in the list and not supported", op, action)
			r := x.run(x.a, nil, cdb...)
			require.False(t, r.Sense != nil && r.Sense.Code == scsi.InvalidCommandOperationCode, "%02Xh/%02Xh", op, action)
		}
		for op := range 256 {
			if !known[byte(op)] {
				require.Equal(t, "05/20/00 (ILLEGAL REQUEST)", x.sense(x.a, nil, byte(op)), "%02Xh", op)
			}
		}
		require.False(t, known[0x85], "ATA PASS-THROUGH is refused with 05/20/00")
	}
}

func TestReservedBitsPointAtThemselves(t *testing.T) {
	x := newBench(t, Volume)
	r := x.run(x.a, nil, 0x28, 0x20, 0, 0, 0, 0, 0, 0, 1, 0) // RDPROTECT
	require.Equal(t, &scsi.FieldPointer{InCDB: true, BitValid: true, Bit: 5, Byte: 1}, r.Sense.Field)
	r = x.run(x.a, nil, 0x00, 0, 0, 0, 0, 0x04) // NACA
	require.Equal(t, &scsi.FieldPointer{InCDB: true, BitValid: true, Bit: 2, Byte: 5}, r.Sense.Field)
}

func TestReadWriteVerifyCompare(t *testing.T) {
	x := newBench(t, Volume)
	block := bytes.Repeat([]byte{7}, 512)
	x.good(x.a, block, 0x2a, 0, 0, 0, 0, 5, 0, 0, 1, 0)
	require.Equal(t, block, x.good(x.b, nil, 0x88, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0))
	x.good(x.a, block, 0x2f, 0x02, 0, 0, 0, 5, 0, 0, 1, 0)
	require.Equal(t, "0E/1D/00 (MISCOMPARE)", x.sense(x.a, bytes.Repeat([]byte{8}, 512), 0x2f, 0x02, 0, 0, 0, 5, 0, 0, 1, 0))
	caw := append(bytes.Clone(block), bytes.Repeat([]byte{9}, 512)...)
	x.good(x.a, caw, 0x89, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0)
	require.Equal(t, "0E/1D/00 (MISCOMPARE)", x.sense(x.a, caw, 0x89, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0))
	require.Equal(t, "05/21/00 (ILLEGAL REQUEST)", x.sense(x.a, block, 0x2a, 0, 0, 0, 0x08, 0x00, 0, 0, 1, 0))
	r := x.run(x.a, block[:512], 0x2a, 0, 0, 0, 0, 5, 0, 0, 2, 0) // less data than announced
	require.EqualValues(t, 1024, r.TransferLength)
	x.good(x.a, bytes.Repeat([]byte{0x30}, 512), 0x8b, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0)
	require.Equal(t, byte(0x37), x.good(x.a, nil, 0x28, 0, 0, 0, 0, 5, 0, 0, 1, 0)[0], "ORWRITE")
}

func TestUnmapAndStatus(t *testing.T) {
	x := newBench(t, Volume)
	x.good(x.a, make([]byte, 8192), 0x2a, 0, 0, 0, 0, 0, 0, 0, 16, 0)
	list := make([]byte, 24)
	list[1], list[3], list[19] = 22, 16, 8
	x.good(x.a, list, 0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0)
	status := x.good(x.a, nil, 0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 40, 0, 0)
	require.Equal(t, byte(1), status[20], "deallocated")
	require.Equal(t, byte(0), status[36], "mapped")
	require.Equal(t, "05/1A/00 (ILLEGAL REQUEST)", x.sense(x.a, list[:4], 0x42, 0, 0, 0, 0, 0, 0, 0, 4, 0))
	list[16] = 0xff
	require.Equal(t, "05/21/00 (ILLEGAL REQUEST)", x.sense(x.a, list, 0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0))
}

func TestModeSelectTellsOthers(t *testing.T) {
	x := newBench(t, Volume)
	page := x.good(x.a, nil, 0x1a, 0x08, 0x0a, 0, 255, 0)[4:]
	page[2] |= controlDSense
	x.good(x.a, append(make([]byte, 4), page...), 0x15, 0x10, 0, 0, 16, 0)
	r := x.run(x.b, nil, 0, 0, 0, 0, 0, 0)
	require.Equal(t, scsi.ModeParametersChanged, r.Sense.Code)
	require.True(t, r.DescriptorSense)
	require.Equal(t, scsi.StatusGood, x.run(x.a, nil, 0, 0, 0, 0, 0, 0).Status)
	page[3] = 0xff
	require.Equal(t, "05/26/00 (ILLEGAL REQUEST)", x.sense(x.a, append(make([]byte, 4), page...), 0x15, 0x10, 0, 0, 16, 0))
	x.lu.Manage(t.Context(), scsi.TaskManagement{Function: scsi.LogicalUnitReset, Nexus: x.a})
	require.Equal(t, "06/29/03 (UNIT ATTENTION)", x.sense(x.b, nil, 0, 0, 0, 0, 0, 0))
}

func pr(key, action uint64) []byte {
	p := make([]byte, 24)
	put64(p, key)
	put64(p[8:], action)
	return p
}

// TestPersistentReservations follows types, conflicts and preemption.
func TestPersistentReservations(t *testing.T) {
	x := newBench(t, Volume)
	out := func(n *scsi.Nexus, action, kind byte, list []byte) string {
		return x.sense(n, list, 0x5f, action, kind, 0, 0, 0, 0, 0, 24, 0)
	}
	write := func(n *scsi.Nexus) string { return x.sense(n, make([]byte, 512), 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0) }
	read := func(n *scsi.Nexus) string { return x.sense(n, nil, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0) }
	require.Equal(t, "RESERVATION CONFLICT", out(x.a, 1, writeExclusive, pr(1, 0)), "not registered")
	require.Equal(t, "GOOD", out(x.a, 0, 0, pr(0, 1)))
	require.Equal(t, "GOOD", out(x.b, 0, 0, pr(0, 2)))
	require.Equal(t, "GOOD", out(x.a, 1, writeExclusive, pr(1, 0)))
	require.Equal(t, "GOOD", write(x.a))
	require.Equal(t, "RESERVATION CONFLICT", write(x.b))
	require.Equal(t, "GOOD", read(x.b))
	require.Equal(t, "05/26/04 (ILLEGAL REQUEST)", out(x.a, 2, exclusiveAccess, pr(1, 0)), "another type")
	require.Equal(t, "GOOD", out(x.a, 2, writeExclusive, pr(1, 0)))
	require.Equal(t, "GOOD", out(x.a, 1, exclusiveAccessRegistrant, pr(1, 0)))
	require.Equal(t, "GOOD", write(x.b), "a registrant")
	require.Equal(t, "GOOD", out(x.b, 4, exclusiveAccess, pr(2, 1)))
	require.Equal(t, "06/2A/05 (UNIT ATTENTION)", read(x.a))
	require.Equal(t, "RESERVATION CONFLICT", read(x.a))
	status := x.good(x.b, nil, 0x5e, 3, 0, 0, 0, 0, 0, 1, 0, 0)
	require.Contains(t, string(status), "iqn.b,i,0x000000000000")
	require.Equal(t, "GOOD", out(x.b, 3, 0, pr(2, 0)))
	require.Equal(t, "GOOD", read(x.a))
	require.Equal(t, "GOOD", x.sense(x.a, nil, 0x16, 0, 0, 0, 0, 0), "RESERVE(6)")
	require.Equal(t, "RESERVATION CONFLICT", read(x.b))
	require.Equal(t, "GOOD", x.sense(x.b, nil, 0x17, 0, 0, 0, 0, 0), "RELEASE(6) of somebody else's")
	require.Equal(t, "RESERVATION CONFLICT", read(x.b))
	x.lu.NexusLost(x.a)
	require.Equal(t, "GOOD", read(x.b))
}

// TestAbort ends a task that waits, silently for its own nexus.
func TestAbort(t *testing.T) {
	x := newBench(t, Volume)
	first := &scsi.Task{Nexus: x.a, Tag: 1, CDB: make([]byte, 16), Attribute: scsi.Simple}
	second := &scsi.Task{Nexus: x.a, Tag: 2, CDB: make([]byte, 16), Attribute: scsi.Ordered}
	x.lu.Prepare(first)
	x.lu.Prepare(second)
	done := make(chan scsi.Response)
	go func() { done <- x.lu.Execute(second) }() // behind first, which is never executed
	require.Equal(t, scsi.FunctionSucceeded, x.lu.Manage(t.Context(), scsi.TaskManagement{Function: scsi.QueryTask, Nexus: x.a, Referenced: 2}))
	require.Equal(t, scsi.FunctionComplete, x.lu.Manage(t.Context(), scsi.TaskManagement{Function: scsi.AbortTask, Nexus: x.a, Referenced: 2}))
	<-done
	require.Equal(t, scsi.AbortedSilently, second.Complete())
	require.Equal(t, scsi.FunctionComplete, x.lu.Manage(t.Context(), scsi.TaskManagement{Function: scsi.AbortTask, Nexus: x.a, Referenced: 99}),
		"an unknown task counts as aborted")
	x.lu.Execute(first)
}

// TestEndpoint answers as scsi.md 1.7 says.
func TestEndpoint(t *testing.T) {
	x := newBench(t, Administrative)
	inquiry := x.good(x.a, nil, 0x12, 0, 0, 0, 255, 0)
	require.Equal(t, []byte{0, conglomerate, versionSPC4}, inquiry[:3])
	require.Equal(t, byte(1<<5), x.good(x.a, nil, 0x12, 1, 0x86, 0, 255, 0)[8], "LU_COLL_TYPE")
	require.Equal(t, "05/20/00 (ILLEGAL REQUEST)", x.sense(x.a, nil, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0))
	require.Len(t, x.good(x.a, nil, 0x25), 8)
	require.Equal(t, "05/24/00 (ILLEGAL REQUEST)", x.sense(x.a, nil, 0x12, 1, 0xb0, 0, 255, 0))
}

// FuzzCDB sends any bytes to every kind: always a legal answer, never a panic.
func FuzzCDB(f *testing.F) {
	for _, c := range rows() {
		f.Add(append(bytes.Clone(c.usage), make([]byte, 16)...), []byte("parameter list of some bytes"))
	}
	f.Fuzz(func(t *testing.T, cdb, out []byte) {
		if len(cdb) == 0 {
			return
		}
		for _, k := range []Kind{Volume, Administrative, WellKnown} {
			c := testConfig(k)
			c.Panicked = func(v any, stack []byte) { t.Errorf("panic %v\n%s", v, stack) }
			lu, err := New(c)
			require.NoError(t, err)
			n := &scsi.Nexus{}
			for range 2 { // the first hears of power on
				task := &scsi.Task{Nexus: n, CDB: append(bytes.Clone(cdb), make([]byte, 16)...), ExpectedIn: 4096, ExpectedOut: uint32(len(out))}
				want := lu.Prepare(task)
				require.GreaterOrEqual(t, want, 0)
				task.DataOut = out[:min(want, len(out))]
				r := lu.Execute(task)
				require.Equal(t, r.Status == scsi.StatusCheckCondition, r.Sense != nil)
				require.LessOrEqual(t, r.DataIn.Len(), 4096)
			}
			require.NoError(t, lu.Remove(t.Context()), "a SANITIZE may still run")
			require.Nil(t, lu.tasks.first)
		}
	})
}

// A task that runs on after its nexus was lost leaves neither state nor a
// reservation of it behind.
func TestLostNexusLeavesNothing(t *testing.T) {
	lu, err := New(testConfig(Volume))
	require.NoError(t, err)
	n := &scsi.Nexus{}
	task := &scsi.Task{Nexus: n, CDB: make([]byte, 16)}
	lu.Prepare(task)
	lu.NexusLost(n)
	require.True(t, task.Aborted())
	lu.nexusOf(task)
	require.Empty(t, *lu.nexuses.Load())
	reserve(lu, task)
	require.Nil(t, lu.reservations.spc2)
}
