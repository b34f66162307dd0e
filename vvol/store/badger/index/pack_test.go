package index

import (
	"math/rand/v2"
	"testing"
	"time"

	"vvsim/vvol/store/badger/sum"

	"github.com/stretchr/testify/require"
)

// TestPack cuts random blocks into transactions, and these into records: each record is of one
// layer and as large as it may be, what is cut is what is packed without cuts, and each block
// has its data.
func TestPack(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	layers := []*Layer{{ID: 1}, {ID: 2}, {ID: 3}}
	for range 200 {
		var blocks []Move
		for _, l := range layers {
			for n := range random.IntN(3 * RecordBlocks) {
				blocks = append(blocks, Move{Layer: l, Block: uint64(n)})
			}
		}
		content := func(part []Move) (v []byte, sums []uint32) {
			for _, m := range part {
				block := make([]byte, BlockSize)
				block[0], block[1] = byte(m.Layer.ID), byte(m.Block)
				v, sums = append(v, block...), append(sums, Sum(m.Block, sum.Of(block)))
			}
			return v, sums
		}
		lastID := uint64(0)
		newID := func() uint64 { lastID++; return lastID }
		whole := Pack(blocks, newID, content)
		lastID = 0
		var pieces []Packed
		for rest, n := blocks, 1+random.IntN(4*RecordBlocks); len(rest) > 0; {
			part := Leading(rest, n)
			require.GreaterOrEqual(t, len(part), min(n, len(rest)))
			require.Less(t, len(part), n+RecordBlocks)
			pieces = append(pieces, Pack(part, newID, content)...)
			rest = rest[len(part):]
		}
		require.Equal(t, whole, pieces)
		for i, r := range whole {
			last := r.Blocks[len(r.Blocks)-1]
			require.Equal(t, uint64(i+1), r.ID)
			require.Equal(t, r.Blocks[0].Layer, last.Layer)
			require.Equal(t, last.Layer.ID, r.Entry.Layer)
			full := len(r.Blocks) == RecordBlocks
			require.True(t, full || i == len(whole)-1 || whole[i+1].Blocks[0].Layer != last.Layer, "record %d could be larger", i)
			value, sums := content(r.Blocks)
			require.Equal(t, value, r.Value)
			require.Equal(t, sums, r.Entry.Sums)
		}
	}
	require.Empty(t, Leading(nil, 1))
}
