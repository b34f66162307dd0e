package badger

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
)

// TestAllocations counts what a read and a write allocate: nothing, but for what Badger allocates to let go
// of a value log, 16 bytes. Groups keep what they say of writes until they are drained; its memory is made for many
// at once. It was seen to fail, with 2 for a write, with a slice for each batch, and with 3 for 32 together with unix.Pwritev.
func TestAllocations(t *testing.T) {
	e := still(t, t.TempDir())
	id := store.ID{1}
	require.NoError(t, e.Create(t.Context(), id, store.CreateOptions{Size: 4 << 20}))
	o, err := e.Open(t.Context(), id)
	require.NoError(t, err)
	for i := range uint64(64) {
		write(t, e, id, i, byte(i+1))
	}
	read := func(size int) float64 {
		p := make([]byte, size)
		return testing.AllocsPerRun(200, func() { err = o.ReadAt(t.Context(), p, 0) })
	}
	require.Zero(t, read(blockSize), "from the journal")
	require.NoError(t, err)
	require.NoError(t, e.drainer.drainTo(e.journal.Head()))
	for _, blocks := range []int{1, 16, 64} {
		require.LessOrEqual(t, read(blocks*blockSize), 1.0, "%d blocks from a record", blocks)
		require.NoError(t, err)
	}
	p, n := make([]byte, blockSize), uint64(0)
	allocated := leastAllocations(40, func() {
		n++
		err = o.WriteAt(t.Context(), p, n%64*blockSize, store.WriteOptions{})
	})
	require.NoError(t, err)
	require.Zero(t, allocated, "writes")
	require.NoError(t, e.drainer.drainTo(e.journal.Head()))
	// Not by WriteAll: with the race detector a pool loses what it is given, at random.
	j, many := e.joined.New().(*joined), make([]store.Write, 32)
	allocated = leastAllocations(5, func() { // so many are not drained yet
		for i := range many {
			n++
			many[i] = store.Write{Data: p, Offset: n * 29 % 64 * blockSize}
			j.add(o.(*object).v, &many[i])
		}
		err = e.committer.doAll(j.from, j.ops[:len(many)]...)
		for i := range many {
			*j.ops[i] = op{from: j.from}
		}
		j.writes = j.writes[:0]
	})
	require.NoError(t, err)
	require.Zero(t, allocated, "writes together")
}

// leastAllocations is testing.AllocsPerRun of some tries: what Badger does beside only adds to it.
func leastAllocations(runs int, f func()) float64 {
	least := testing.AllocsPerRun(runs, f)
	for range 4 {
		least = min(least, testing.AllocsPerRun(runs, f))
	}
	return least
}
