package scsi

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

type owner struct{ told int }

func (o *owner) TaskAborted(*Task) { o.told++ }

// TestTaskEndsOnce has one winner among Abort and Complete.
func TestTaskEndsOnce(t *testing.T) {
	o := &owner{}
	task := &Task{Owner: o}
	require.NoError(t, task.Context().Err())
	require.True(t, task.Abort(AbortedWithStatus))
	require.False(t, task.Abort(AbortedSilently), "the first abort wins")
	require.ErrorIs(t, task.Context().Err(), context.Canceled)
	<-task.Context().Done()
	require.Equal(t, AbortedWithStatus, task.Complete())
	require.Equal(t, 1, o.told)

	task = &Task{Owner: o}
	require.Equal(t, Respond, task.Complete())
	require.False(t, task.Abort(AbortedSilently), "a response is on its way")
	require.Equal(t, 1, o.told)
}

// TestTaskReuse gives a task back empty, unless somebody waited on it.
func TestTaskReuse(t *testing.T) {
	task := &Task{Nexus: &Nexus{}, Tag: 7, CDB: []byte{1}, Attribute: Ordered, Order: 9, Started: true}
	task.Complete()
	require.True(t, task.Reusable())
	task.Reset()
	require.Equal(t, Task{}.Tag, task.Tag)
	require.False(t, task.Started || task.Aborted() || task.Nexus != nil || task.Order != 0)
	require.True(t, task.Abort(AbortedSilently), "a reset task may be aborted again")
	require.False(t, task.Reusable(), "its context was closed")
}

// TestBuffers come from pools by size and keep their length.
func TestBuffers(t *testing.T) {
	for _, n := range []int{0, 1, 512, 513, 4096, 1 << 20, 16 << 20, 16<<20 + 1} {
		b := NewBuffer(n)
		require.Equal(t, n, b.Len())
		require.Len(t, b.Bytes(), n)
		b.Truncate(n / 2)
		require.Equal(t, n/2, b.Len())
		b.Release()
		b = ZeroBuffer(n)
		require.Equal(t, make([]byte, n), append([]byte{}, b.Bytes()...))
		b.Release()
	}
	p := []byte("abc")
	b := BufferOf(p)
	p[0] = 'x'
	require.Equal(t, "abc", string(b.Bytes()), "a copy")
	b.Release()
	var none *Buffer
	require.Nil(t, none.Bytes())
	require.Zero(t, none.Len())
	none.Release()
}

// TestOpCodeLength follows the group codes (SPC-4 4.2.5.2).
func TestOpCodeLength(t *testing.T) {
	for op, n := range map[OpCode]int{OpInquiry: 6, OpRead10: 10, OpUnmap: 10, OpPersistentReserveOut: 10, OpVariableLength: 0,
		OpRead16: 16, OpServiceActionIn16: 16, OpReportLUNs: 12, OpVerify12: 12, 0xc0: 0, 0xff: 0} {
		require.Equal(t, n, op.Length(), "%v", op)
	}
	require.Equal(t, "2Ah", OpWrite10.String())
}

// TestInitiatorPort is the name that persistent reservations show (RFC 7143 4.2.7.1).
func TestInitiatorPort(t *testing.T) {
	id := NexusID{Initiator: "iqn.1998-01.com.vmware:esx1", ISID: [6]byte{0, 2, 0x3d, 0, 0, 1}}
	require.Equal(t, "iqn.1998-01.com.vmware:esx1,i,0x00023d000001", id.InitiatorPort())
}
