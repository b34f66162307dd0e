package index

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestChunk sets blocks at random, often so that runs begin, grow, meet and are cut, and
// compares with an array.
func TestChunk(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		var c chunk
		var want [ChunkBlocks]Location
		for range 300 {
			i := r.Uint64N(ChunkBlocks)
			to := Location(1000 + i + 64*r.Uint64N(2)) // which follow each other
			switch r.IntN(8) {
			case 0:
				to = Absent
			case 1:
				to = Zeroed
			case 2:
				to = Location(2 + r.Uint64N(1000))
			}
			c.set(i, to)
			want[i] = to
			runs := 0
			for k, loc := range want {
				require.Equal(t, loc, c.get(uint64(k)), "block %d", k)
				before := k - 1
				for before >= 0 && !want[before].Data() {
					before--
				}
				if loc.Data() && (before < 0 || want[before]+1 != loc) {
					runs++
				}
			}
			require.Len(t, c.runs, runs)
			require.LessOrEqual(t, cap(c.runs), max(8, 4*runs), "of %d", runs)
			require.Zero(t, c.data&c.zero)
		}
	}
}

func TestWithin(t *testing.T) {
	require.Equal(t, everyBlock, within(2, 128, 192))
	require.Equal(t, everyBlock, within(2, 0, 1000))
	require.EqualValues(t, 0b11100, within(2, 130, 133))
	require.Equal(t, uint64(1<<63), within(2, 191, 500))
	require.EqualValues(t, 1, within(2, 0, 129))
}
