package badger

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
	"vvsim/vvol/store/badger/index"
)

// A place is remembered when a record is read, is of no use once Badger has moved the
// record's value and deleted the file, and the next read finds the new one.
func TestPlaces(t *testing.T) {
	o := small(t.TempDir())
	o.CollectEvery = time.Hour
	e, err := Open(t.Context(), o)
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	require.NoError(t, e.Create(t.Context(), crashVolume, store.CreateOptions{Size: 256 << 20}))
	v, err := e.Open(t.Context(), crashVolume)
	require.NoError(t, err)
	write := func(off uint64, tag byte, n int) {
		require.NoError(t, v.WriteAt(t.Context(), bytes.Repeat([]byte{tag}, n), off, store.WriteOptions{}))
		// So little does not wake the drainer's goroutine, whose ticks are an hour apart.
		require.NoError(t, e.drainer.drainTo(e.journal.Head()))
	}
	holds := func() {
		p := make([]byte, blockSize)
		require.NoError(t, v.ReadAt(t.Context(), p, 0))
		require.Equal(t, bytes.Repeat([]byte{1}, blockSize), p)
	}
	write(0, 1, blockSize)
	holds()
	e.index.RLock()
	loc := v.(*object).v.Head.Find(0)
	e.index.RUnlock()
	require.True(t, loc.Recorded())
	at := e.places.Get(loc.Record())
	require.NotNil(t, at)
	p := make([]byte, blockSize)
	require.NoError(t, at.CopyBlocks(0, []index.Location{loc}, p))

	for tag := range byte(3) { // fills value logs, and kills what the first of them holds besides
		for off := uint64(1 << 20); off < 21<<20; off += 1 << 20 {
			write(off, tag, 1<<20)
		}
	}
	for tries := 0; at.CopyBlocks(0, []index.Location{loc}, p) == nil; tries++ { // tables are written out beside us
		require.Less(t, tries, 200, "no file was collected that held the record")
		_, err := e.collectValues(0.5, e.closed.Load)
		require.NoError(t, err)
	}
	require.ErrorIs(t, at.CopyBlocks(0, []index.Location{loc}, p), index.ErrShort)
	holds()
	require.NotSame(t, at, e.places.Get(loc.Record()))
}
