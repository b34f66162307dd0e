package device

import (
	"context"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
)

// slowWrites lets an Unmap pass and holds writes.
type slowWrites struct {
	*ram
	entered, release chan struct{}
}

func (m *slowWrites) WriteAt(ctx context.Context, p []byte, off uint64, fua bool) error {
	m.entered <- struct{}{}
	<-m.release
	return m.ram.WriteAt(ctx, p, off, fua)
}

func newSanitizeBench(t *testing.T, m Medium) *bench {
	c := testConfig(Volume)
	c.Medium = m
	lu, err := New(c)
	require.NoError(t, err)
	x := &bench{t, lu, &scsi.Nexus{NexusID: scsi.NexusID{Initiator: "iqn.a", TargetPort: 1}}, &scsi.Nexus{NexusID: scsi.NexusID{Initiator: "iqn.b", TargetPort: 2}}}
	for _, n := range []*scsi.Nexus{x.a, x.b} {
		x.lu.takeAttention(x.lu.nexus(n))
	}
	return x
}

func (x *bench) phase() sanitizePhase { return sanitizePhase(x.lu.sanitize.phase.Load()) }

// TestSanitizeWaitsForEarlierWrites: a WRITE that was let in before a SANITIZE does
// not land on blocks that it has erased.
func TestSanitizeWaitsForEarlierWrites(t *testing.T) {
	m := &slowWrites{newRAM(1 << 20), make(chan struct{}), make(chan struct{})}
	x := newSanitizeBench(t, m)
	written := make(chan string)
	go func() { written <- x.sense(x.a, pattern(512), 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0) }()
	<-m.entered
	require.Equal(t, "GOOD", x.sense(x.b, nil, 0x48, 0x82, 0, 0, 0, 0, 0, 0, 0, 0), "IMMED")
	for range 1000 {
		runtime.Gosched() // time enough to erase everything too early
	}
	require.Equal(t, sanitizing, x.phase())
	require.Equal(t, "02/04/1B (NOT READY)", x.sense(x.a, nil, 0, 0, 0, 0, 0, 0))
	close(m.release)
	require.Equal(t, "GOOD", <-written)
	x.lu.sanitize.wait()
	require.Equal(t, make([]byte, 512), x.good(x.a, nil, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0))
}

func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = 0xa5
	}
	return p
}

// TestSanitizeOutlivesItsCommand: ABORT TASK ends the command, not the operation.
func TestSanitizeOutlivesItsCommand(t *testing.T) {
	m := &scriptedMedium{ram: newRAM(1 << 20), held: make(chan struct{})}
	x := newSanitizeBench(t, m)
	task := &scsi.Task{Nexus: x.a, Tag: 7, CDB: append([]byte{0x48, 0x02}, make([]byte, 16)...), Attribute: scsi.Simple}
	x.lu.Prepare(task)
	done := make(chan struct{})
	go func() { x.lu.Execute(task); close(done) }()
	for x.phase() != sanitizing {
		runtime.Gosched()
	}
	require.Equal(t, scsi.FunctionComplete, x.lu.Manage(t.Context(), scsi.TaskManagement{Function: scsi.AbortTask, Nexus: x.a, Referenced: 7}))
	<-done
	require.Equal(t, scsi.AbortedSilently, task.Complete())
	require.Equal(t, sanitizing, x.phase())
	close(m.held)
	x.lu.sanitize.wait()
	require.Equal(t, "GOOD", x.sense(x.a, nil, 0, 0, 0, 0, 0, 0))
}

// TestRemoveEndsSanitize: Remove waits until its deadline, then cancels.
func TestRemoveEndsSanitize(t *testing.T) {
	m := &scriptedMedium{ram: newRAM(1 << 20), held: make(chan struct{})}
	x := newSanitizeBench(t, m)
	require.Equal(t, "GOOD", x.sense(x.a, nil, 0x48, 0x82, 0, 0, 0, 0, 0, 0, 0, 0))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, x.lu.Remove(ctx), context.Canceled)
	require.Equal(t, sanitizeRestricted, x.phase(), "cut off is failed")
}

// TestCloseEndsSanitize: nothing of a unit runs when its engine is closed.
func TestCloseEndsSanitize(t *testing.T) {
	m := &scriptedMedium{ram: newRAM(1 << 20), held: make(chan struct{})}
	x := newSanitizeBench(t, m)
	x.lu.Close() // nothing runs
	require.Equal(t, "GOOD", x.sense(x.a, nil, 0x48, 0x82, 0, 0, 0, 0, 0, 0, 0, 0))
	x.lu.Close()
	require.Equal(t, sanitizeRestricted, x.phase())
}

// panicking is a medium with a defect.
type panicking struct{ *ram }

func (panicking) Unmap(context.Context, uint64, uint64) error { panic("defect") }

// TestSanitizeSurvivesPanic: a defect below is a failed SANITIZE, not the end of the
// process.
func TestSanitizeSurvivesPanic(t *testing.T) {
	x := newSanitizeBench(t, panicking{newRAM(1 << 20)})
	told := ""
	x.lu.c.Panicked = func(v any, _ []byte) { told, _ = v.(string) }
	require.Equal(t, "03/31/03 (MEDIUM ERROR)", x.sense(x.a, nil, 0x48, 0x22, 0, 0, 0, 0, 0, 0, 0, 0))
	require.Equal(t, "defect", told)
	require.Equal(t, "GOOD", x.sense(x.a, nil, 0x48, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0), "EXIT FAILURE MODE")
}

// TestPreemptAndAbort ends the tasks of the preempted nexus, which hears of it.
func TestPreemptAndAbort(t *testing.T) {
	x := newBench(t, Volume)
	x.good(x.a, pr(0, 1), 0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0)
	x.good(x.b, pr(0, 2), 0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0)
	blocker := &scsi.Task{Nexus: x.a, Tag: 1, CDB: make([]byte, 16), Attribute: scsi.Simple}
	victim := &scsi.Task{Nexus: x.b, Tag: 2, CDB: make([]byte, 16), Attribute: scsi.Ordered}
	x.lu.Prepare(blocker)
	x.lu.Prepare(victim)
	done := make(chan struct{})
	go func() { x.lu.Execute(victim); close(done) }()
	preempt := &scsi.Task{Nexus: x.a, Tag: 3, Attribute: scsi.HeadOfQueue, DataOut: pr(1, 2), CDB: append([]byte{0x5f, 5, 1, 0, 0, 0, 0, 0, 24}, make([]byte, 16)...)}
	x.lu.Prepare(preempt)
	require.Equal(t, scsi.StatusGood, x.lu.Execute(preempt).Status)
	<-done
	require.Equal(t, scsi.AbortedSilently, victim.Complete())
	x.lu.Execute(blocker)
	require.Equal(t, "06/2A/05 (UNIT ATTENTION)", x.sense(x.b, nil, 0, 0, 0, 0, 0, 0))
	require.Equal(t, "06/2F/00 (UNIT ATTENTION)", x.sense(x.b, nil, 0, 0, 0, 0, 0, 0), "TAS=0: COMMANDS CLEARED BY ANOTHER INITIATOR")
	require.Equal(t, "GOOD", x.sense(x.b, nil, 0, 0, 0, 0, 0, 0))
}

// TestTaskAbortedStatus: with TAS the tasks of others end with TASK ABORTED and no
// unit attention (SPC-4 7.5.8).
func TestTaskAbortedStatus(t *testing.T) {
	x := newBench(t, Volume)
	x.good(x.a, append(make([]byte, 4), 0x0a, 0x0a, 0, 0x10, 0, controlTAS, 0, 0, 0, 0, 0, 0), 0x15, 0x10, 0, 0, 16, 0)
	require.Equal(t, "06/2A/01 (UNIT ATTENTION)", x.sense(x.b, nil, 0, 0, 0, 0, 0, 0))
	victim := &scsi.Task{Nexus: x.b, Tag: 2, CDB: make([]byte, 16), Attribute: scsi.Simple}
	x.lu.Prepare(victim)
	cleared := make(chan scsi.ManagementResponse)
	go func() {
		cleared <- x.lu.Manage(t.Context(), scsi.TaskManagement{Function: scsi.ClearTaskSet, Nexus: x.a})
	}()
	for !victim.Aborted() {
		runtime.Gosched()
	}
	require.Equal(t, scsi.StatusTaskAborted, x.lu.Execute(victim).Status)
	require.Equal(t, scsi.AbortedWithStatus, victim.Complete())
	require.Equal(t, scsi.FunctionComplete, <-cleared)
	require.Equal(t, "GOOD", x.sense(x.b, nil, 0, 0, 0, 0, 0, 0))
}

// TestTaskSetFull ends what exceeds the limit of the task set and nothing else.
func TestTaskSetFull(t *testing.T) {
	x := newBench(t, Volume)
	var held []*scsi.Task
	for i := range MaxTasks {
		task := &scsi.Task{Nexus: x.a, Tag: uint32(i), CDB: make([]byte, 16), Attribute: scsi.Simple}
		x.lu.Prepare(task)
		held = append(held, task)
	}
	require.Equal(t, scsi.StatusTaskSetFull, x.run(x.b, nil, 0, 0, 0, 0, 0, 0).Status)
	for _, task := range held {
		require.Equal(t, scsi.StatusGood, x.lu.Execute(task).Status)
	}
	require.Equal(t, "GOOD", x.sense(x.b, nil, 0, 0, 0, 0, 0, 0))
}
