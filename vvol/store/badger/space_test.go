package badger

import (
	"bytes"
	"math/rand/v2"
	"testing"

	bdb "github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
	"vvsim/vvol/store/badger/pace"
	"vvsim/vvol/store/badger/rows"
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

// stray writes a record without an entry, as collections of Badger have brought back.
func stray(t *testing.T, e *Engine, id uint64) {
	require.NoError(t, e.write(func(tx *bdb.Txn) error { return tx.Set(numberKey(keyRecord, id), make([]byte, 64*blockSize)) }))
}

// rowIDs lists the ids of rows of a kind.
func rowIDs(t *testing.T, e *Engine, kind byte) (all []uint64) {
	require.NoError(t, e.db.View(func(tx *bdb.Txn) error {
		return rows.Scan(tx, kind, func(item *bdb.Item) error {
			id, err := rows.Number(item)
			all = append(all, id)
			return err
		})
	}))
	return all
}

// TestStrayRecords: records without an entry go when the engine opens, and nothing else does. It was
// seen to fail with nothing buried by buryBefore.
func TestStrayRecords(t *testing.T) {
	dir := t.TempDir()
	e, err := Open(t.Context(), small(dir))
	require.NoError(t, err)
	id := store.ID{1}
	require.NoError(t, e.Create(t.Context(), id, store.CreateOptions{Size: 16 << 20}))
	o, err := e.Open(t.Context(), id)
	require.NoError(t, err)
	data := bytes.Repeat([]byte{7}, 1<<20)
	require.NoError(t, o.WriteAt(t.Context(), data, 0, store.WriteOptions{}))
	e.nextID.Add(100) // as if these had been in use
	require.NoError(t, o.WriteAt(t.Context(), data, 4<<20, store.WriteOptions{}))
	require.NoError(t, e.Close())
	e, err = Open(t.Context(), small(dir))
	require.NoError(t, err)
	entries := rowIDs(t, e, keyEntry)
	for _, id := range []uint64{1, entries[len(entries)-1] - 50, entries[len(entries)-1] + 1} {
		require.NotContains(t, entries, id)
		stray(t, e, id)
	}
	require.NoError(t, e.Close())
	e, err = Open(t.Context(), small(dir))
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	require.Equal(t, entries, rowIDs(t, e, keyEntry))
	require.Equal(t, entries, rowIDs(t, e, keyRecord))
	o, err = e.Open(t.Context(), id)
	require.NoError(t, err)
	got := make([]byte, len(data))
	for _, off := range []uint64{0, 4 << 20} {
		require.NoError(t, o.ReadAt(t.Context(), got, off))
		require.Equal(t, data, got)
	}
}
