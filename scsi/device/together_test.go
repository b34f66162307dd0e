package device

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
)

// counting is a medium that counts what comes together, and refuses one place.
type counting struct {
	*ram
	calls, writes int
	fua           bool
	panics        bool
}

const refused = 4096

func (m *counting) WriteAll(ctx context.Context, writes []Write, fua bool) {
	if m.panics {
		panic("asked for")
	}
	m.calls, m.writes, m.fua = m.calls+1, m.writes+len(writes), fua
	m.ram.WriteAll(ctx, writes, fua)
	for i := range writes {
		if writes[i].Offset == refused {
			writes[i].Err = errors.New("refused")
		}
	}
}

// together prepares tasks and executes them together.
func (x *bench) together(n *scsi.Nexus, aborted int, cdbs ...[]byte) []scsi.Response {
	var tasks []*scsi.Task
	for i, b := range cdbs {
		t := &scsi.Task{Nexus: n, CDB: append(b, make([]byte, 16)...), ExpectedIn: 1 << 20, Attribute: scsi.Simple}
		t.DataOut = bytes.Repeat([]byte{byte(i + 1)}, x.lu.Prepare(t))
		if i == aborted {
			t.Abort(scsi.AbortedSilently)
		}
		tasks = append(tasks, t)
	}
	answers := make([]scsi.Response, len(tasks))
	x.lu.ExecuteAll(tasks, answers)
	require.Nil(x.t, x.lu.tasks.first, "all have left")
	return answers
}

// TestExecuteAll answers each of several tasks as it would be alone.
func TestExecuteAll(t *testing.T) {
	m := &counting{ram: newRAM(1 << 20)}
	x := newSanitizeBench(t, m)
	w := func(block, flags byte) []byte { return []byte{0x2a, flags, 0, 0, 0, block, 0, 0, 1, 0} }
	answers := x.together(x.a, 3, w(0, 0), w(refused/BlockLength, 0), []byte{0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0}, w(1, 0),
		[]byte{0x2a, 0, 0, 0, 0x08, 0, 0, 0, 1, 0}, w(2, 0x20), []byte{0x2a, 0, 0, 0, 0, 9, 0, 0, 0, 0}, w(3, 0))
	var got []string
	for _, r := range answers {
		if r.Sense != nil {
			got = append(got, r.Sense.String())
		} else {
			got = append(got, r.Status.String())
		}
	}
	require.Equal(t, []string{"GOOD", "04/44/00 (HARDWARE ERROR)", "GOOD", "TASK ABORTED", "05/21/00 (ILLEGAL REQUEST)",
		"05/24/00 (ILLEGAL REQUEST)", "GOOD", "GOOD"}, got)
	require.Equal(t, []int{1, 3}, []int{m.calls, m.writes})
	require.False(t, m.fua)
	require.EqualValues(t, BlockLength, answers[0].TransferLength)
	require.EqualValues(t, BlockLength, answers[2].DataIn.Len(), "a READ is executed by itself")
	require.Equal(t, []byte{1, 0, 0, 8}, []byte{m.data[0], m.data[512], m.data[1024], m.data[1536]})
	x.together(x.a, -1, w(4, 0), w(5, 0x08))
	require.True(t, m.fua, "one of them with FUA")
	m.panics = true
	answers = x.together(x.a, -1, w(6, 0), []byte{0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0})
	require.Equal(t, scsi.InternalTargetFailure(), *answers[0].Sense)
	require.Equal(t, scsi.StatusGood, answers[1].Status)
	require.Empty(t, x.together(x.a, -1))
}

// TestJoins: WRITEs join, on stable storage or not, unless an ORDERED task is about.
func TestJoins(t *testing.T) {
	x := newBench(t, Volume)
	joins := func(a scsi.TaskAttribute, b ...byte) bool {
		task := &scsi.Task{Nexus: x.a, Attribute: a, CDB: append(b, make([]byte, 15)...)}
		x.lu.Prepare(task)
		defer x.lu.Execute(task)
		return task.Joins
	}
	for _, op := range []scsi.OpCode{scsi.OpWrite6, scsi.OpWrite10, scsi.OpWrite12, scsi.OpWrite16} {
		require.True(t, joins(scsi.Simple, byte(op)), op)
		require.False(t, joins(scsi.Ordered, byte(op)), op)
	}
	require.True(t, joins(scsi.Simple, byte(scsi.OpWrite10), 0x08), "FUA")
	for _, op := range []scsi.OpCode{scsi.OpRead10, scsi.OpSynchronizeCache10, scsi.OpUnmap, scsi.OpCompareAndWrite, scsi.OpWriteAtomic16, scsi.OpWriteAndVerify10} {
		require.False(t, joins(scsi.Simple, byte(op)), op)
	}
	ordered := &scsi.Task{Nexus: x.a, Attribute: scsi.Ordered, CDB: make([]byte, 16)}
	x.lu.Prepare(ordered)
	behind := &scsi.Task{Nexus: x.a, Attribute: scsi.Simple, CDB: append([]byte{byte(scsi.OpWrite10)}, make([]byte, 15)...)}
	x.lu.Prepare(behind)
	require.False(t, behind.Joins)
	x.lu.Execute(ordered)
	x.lu.Execute(behind)
}
