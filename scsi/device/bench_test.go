package device

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
)

// hotTask makes a function that runs one CDB again and again with one Task, as a
// transport does.
func hotTask(tb testing.TB, out []byte, cdb ...byte) func() {
	lu, err := New(testConfig(Volume))
	require.NoError(tb, err)
	n := &scsi.Nexus{NexusID: scsi.NexusID{Initiator: "iqn.a", TargetPort: 1}}
	lu.takeAttention(lu.nexus(n))
	task := &scsi.Task{Nexus: n, CDB: append(cdb, make([]byte, 16)...), ExpectedIn: 4096, DataOut: out, Attribute: scsi.Simple}
	return func() {
		lu.Prepare(task)
		r := lu.Execute(task)
		if r.Status != scsi.StatusGood {
			tb.Fatal(r.Status, r.Sense)
		}
		r.DataIn.Release()
		task.Next, task.Prev = nil, nil
	}
}

func BenchmarkRead10(b *testing.B) {
	b.ReportAllocs()
	for run := hotTask(b, nil, 0x28, 0, 0, 0, 0, 8, 0, 0, 8, 0); b.Loop(); {
		run()
	}
}

func BenchmarkWrite10(b *testing.B) {
	b.ReportAllocs()
	for run := hotTask(b, make([]byte, 4096), 0x2a, 0, 0, 0, 0, 8, 0, 0, 8, 0); b.Loop(); {
		run()
	}
}

// TestHotPathAllocatesNothing holds READ(10) and WRITE(10) to what the data path
// promises, a buffer from the pool apart.
func TestHotPathAllocatesNothing(t *testing.T) {
	read := hotTask(t, nil, 0x28, 0, 0, 0, 0, 8, 0, 0, 8, 0)
	write := hotTask(t, make([]byte, 4096), 0x2a, 0, 0, 0, 0, 8, 0, 0, 8, 0)
	require.Zero(t, testing.AllocsPerRun(1000, write))
	// The pool may be emptied by the garbage collector, or on purpose under the race
	// detector: a Buffer and its bytes at most.
	require.LessOrEqual(t, testing.AllocsPerRun(1000, read), 2.0)
}
