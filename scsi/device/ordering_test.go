package device

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
)

// TestTaskAttributes: an ORDERED task runs behind all older ones, a SIMPLE one behind
// older ORDERED ones, and HEAD OF QUEUE behind none (SAM-5 8.6).
func TestTaskAttributes(t *testing.T) {
	x := newBench(t, Volume)
	prepare := func(a scsi.TaskAttribute) *scsi.Task {
		task := &scsi.Task{Nexus: x.a, Attribute: a, CDB: make([]byte, 16)}
		x.lu.Prepare(task)
		return task
	}
	older, ordered, simple, head := prepare(scsi.Simple), prepare(scsi.Ordered), prepare(scsi.Simple), prepare(scsi.HeadOfQueue)
	var ended atomic.Int32
	done := make(chan struct{})
	run := func(task *scsi.Task) {
		x.lu.Execute(task)
		ended.Add(1)
		done <- struct{}{}
	}
	overtaking := func() int32 {
		for range 1000 {
			runtime.Gosched() // time enough to overtake
		}
		return ended.Load()
	}
	go run(simple)
	require.Zero(t, overtaking(), "SIMPLE waits for the older ORDERED one")
	go run(ordered)
	require.Zero(t, overtaking(), "ORDERED waits for the oldest")
	require.Equal(t, scsi.StatusGood, x.lu.Execute(head).Status, "HEAD OF QUEUE waits for none")
	require.Equal(t, scsi.StatusGood, x.lu.Execute(older).Status)
	<-done
	<-done
	require.Nil(t, x.lu.tasks.first)
}

// READs are prompt, and WRITEs that need not be on stable storage, but not while an
// ORDERED task may make them wait; everything else is not.
func TestPrompt(t *testing.T) {
	x := newBench(t, Volume)
	prepare := func(op scsi.OpCode, a scsi.TaskAttribute) *scsi.Task {
		task := &scsi.Task{Nexus: x.a, Attribute: a, CDB: append([]byte{byte(op)}, make([]byte, 15)...)}
		x.lu.Prepare(task)
		return task
	}
	var all []*scsi.Task
	for _, op := range []scsi.OpCode{scsi.OpRead6, scsi.OpRead10, scsi.OpRead12, scsi.OpRead16} {
		task := prepare(op, scsi.Simple)
		require.True(t, task.Prompt, op)
		all = append(all, task)
	}
	for _, op := range []scsi.OpCode{scsi.OpSynchronizeCache10, scsi.OpUnmap, scsi.OpWriteSame16, scsi.OpCompareAndWrite, 0xff} {
		task := prepare(op, scsi.Simple)
		require.False(t, task.Prompt, op)
		all = append(all, task)
	}
	ordered, behind := prepare(scsi.OpRead10, scsi.Ordered), prepare(scsi.OpRead10, scsi.Simple)
	require.False(t, ordered.Prompt)
	require.False(t, behind.Prompt)
	for _, task := range append(all, ordered, behind) {
		x.lu.Execute(task)
	}
	for _, op := range []scsi.OpCode{scsi.OpRead10, scsi.OpWrite6, scsi.OpWrite10, scsi.OpWrite12, scsi.OpWrite16} {
		task := prepare(op, scsi.Simple)
		require.True(t, task.Prompt, op)
		x.lu.Execute(task)
	}
	fua := &scsi.Task{Nexus: x.a, CDB: append([]byte{byte(scsi.OpWrite10), 0x08}, make([]byte, 14)...)}
	x.lu.Prepare(fua)
	require.False(t, fua.Prompt)
	x.lu.Execute(fua)
	x.lu.mode.wce.Store(false)
	through := prepare(scsi.OpWrite10, scsi.Simple)
	require.False(t, through.Prompt)
	x.lu.Execute(through)
}

// contested is a medium that somebody else writes between a read and the compare and
// write that follows, the first few times.
type contested struct {
	*ram
	times int
}

func (m *contested) ReadAt(ctx context.Context, p []byte, off uint64) error {
	err := m.ram.ReadAt(ctx, p, off)
	if m.times > 0 {
		m.times--
		m.data[off] ^= 0x01
	}
	return err
}

// TestORWriteIsAtomic: an ORWRITE that another write comes between reads again.
func TestORWriteIsAtomic(t *testing.T) {
	m := &contested{newRAM(1 << 20), 3}
	x := newSanitizeBench(t, m)
	x.good(x.a, pattern(512), 0x8b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0)
	require.Equal(t, byte(0xa5), m.data[0], "the bit of the others and ours")
	m.times = orWriteTries
	require.Equal(t, "BUSY", x.sense(x.a, pattern(512), 0x8b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0), "there is an end to trying")
}

// TestAwaitGoneIsBounded: a task management function gives up when its caller does.
func TestAwaitGoneIsBounded(t *testing.T) {
	x := newBench(t, Volume)
	task := &scsi.Task{Nexus: x.a, Tag: 1, Attribute: scsi.Simple, CDB: make([]byte, 16)}
	x.lu.Prepare(task) // and nobody executes it
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, scsi.FunctionRejected, x.lu.Manage(ctx, scsi.TaskManagement{Function: scsi.AbortTask, Nexus: x.a, Referenced: 1}))
	require.Equal(t, scsi.StatusTaskAborted, x.lu.Execute(task).Status)
}

// TestTransportIDs reads both formats and refuses what is malformed (SPC-4 7.6.4.6).
func TestTransportIDs(t *testing.T) {
	id := scsi.NexusID{Initiator: "iqn.2026-01.test:a-name-long-enough", ISID: [6]byte{0, 2, 0x3d, 0, 0, 1}}
	good := transportID(id)
	name, isid, hasISID, size, ok := parseTransportID(good)
	require.True(t, ok && hasISID)
	require.Equal(t, id.Initiator, name)
	require.Equal(t, id.ISID, isid)
	require.Equal(t, len(good), size)
	plain := append([]byte{0x05, 0, 0, 36}, make([]byte, 36)...)
	copy(plain[4:], id.Initiator)
	name, _, hasISID, size, ok = parseTransportID(plain)
	require.True(t, ok)
	require.False(t, hasISID)
	require.Equal(t, id.Initiator, name)
	require.Equal(t, 40, size)
	bad := func(what string, edit func(b []byte) []byte) {
		_, _, _, _, ok := parseTransportID(edit(append([]byte{}, good...)))
		require.False(t, ok, what)
	}
	bad("of another protocol", func(b []byte) []byte { b[0] = 0x46; return b })
	bad("of a reserved format", func(b []byte) []byte { b[0] = 0x85; return b })
	bad("too short", func(b []byte) []byte { return b[:20] })
	bad("longer than the list", func(b []byte) []byte { return b[:len(b)-4] })
	bad("a length that is no multiple of four", func(b []byte) []byte { b[3]--; return b })
	bad("without ISID in format 01b", func(b []byte) []byte { copy(b[4:], "iqn.2026-01.test:a-name-long-enough,x,0x"); return b })
	bad("an ISID that is not hex", func(b []byte) []byte { b[len(b)-8] = 'g'; return b })
}
