package badger

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
)

// TestWriteAllIsOneGroup: writes that come together are one group of the journal, and on
// stable storage when that was asked for. Seen to fail without the Flush in WriteAll.
func TestWriteAllIsOneGroup(t *testing.T) {
	e := openStill(t, t.TempDir())
	defer func() { require.NoError(t, e.Close()) }()
	id := store.ID{1}
	require.NoError(t, e.Create(t.Context(), id, store.CreateOptions{Size: 64 * blockSize}))
	o, err := e.Open(t.Context(), id)
	require.NoError(t, err)
	var writes []store.Write
	for i := range uint64(32) {
		writes = append(writes, store.Write{Data: make([]byte, blockSize), Offset: 2 * i % 64 * blockSize})
	}
	for _, fua := range []bool{false, true} {
		before := e.journal.Head()
		o.WriteAll(t.Context(), writes, store.WriteOptions{FUA: fua})
		for _, w := range writes {
			require.NoError(t, w.Err)
		}
		require.EqualValues(t, len(writes)+1, e.journal.Head()-before, "pages: a header and the blocks")
		require.Equal(t, fua, e.journal.Stable() == e.journal.Head())
	}
}
