package badger

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
	"vvsim/vvol/store/badger/pace"
)

// TestSpace overwrites a volume many times over, at random: value logs stay below what
// they may hold at most. The drainer's wait (makeSpace in work) and the collection by
// time (collectValueLog in Open) hold that each alone; with both lines taken out it fails.
func TestSpace(t *testing.T) {
	const size = 64 << 20
	e, err := Open(t.Context(), Options{Dir: t.TempDir(), JournalBytes: minJournalBytes, ValueLogBytes: 16 << 20})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	id := store.ID{1}
	require.NoError(t, e.Create(t.Context(), id, store.CreateOptions{Size: size}))
	o, err := e.Open(t.Context(), id)
	require.NoError(t, err)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	data := make([]byte, 4*blockSize)
	most := uint64(0)
	for n := 0; n*len(data) < 10*size; n++ {
		off := rng.Uint64N(size/uint64(len(data))) * uint64(len(data))
		require.NoError(t, o.WriteAt(t.Context(), data, off, store.WriteOptions{}))
		if n%64 == 0 {
			_, held := e.files.Sizes()
			most = max(most, held)
		}
	}
	t.Logf("at most %d MiB", most>>20)
	require.Less(t, float64(most), pace.SpaceMost*size+valueLogSlack+64<<20, "and a transaction, and a file that is being rewritten")
}
