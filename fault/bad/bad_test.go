package bad

import (
	"math/bits"
	"testing"

	"github.com/stretchr/testify/require"
)

// Blocks are bad until they are written, each by itself.
func TestBlocks(t *testing.T) {
	for _, first := range []uint64{0, 1000, 1<<64 - 200} {
		b := New(first, first+199)
		check := func(lba, n, bad uint64, ok bool) {
			t.Helper()
			got, found := b.First(lba, n)
			require.Equal(t, ok, found)
			require.Equal(t, bad, got)
		}
		check(first, 1, first, true)
		check(first, 0, 0, false)
		check(first+150, 1<<64-1-first-150, first+150, true)
		b.Heal(first, 130)
		check(first, 130, 0, false)
		check(first, 131, first+130, true)
		check(first+10, 1000, first+130, true)
		b.Heal(first+131, 5)
		check(first+131, 5, 0, false)
		check(first+131, 6, first+136, true)
		b.Heal(0, 1<<64-1)
		b.Heal(first+199, 1)
		check(0, 1<<64-1, 0, false)
		check(first+199, 1, 0, false)
	}
	b := New(10, 19)
	for _, c := range [][2]uint64{{0, 10}, {20, 5}, {9, 1}} {
		_, ok := b.First(c[0], c[1])
		require.False(t, ok)
		b.Heal(c[0], c[1])
	}
	bad, ok := b.First(0, 11)
	require.True(t, ok)
	require.EqualValues(t, 10, bad)
}

// One bit of each block is spoilt, of a block's part too, wherever it is read from; another
// seed takes others.
func TestSpoil(t *testing.T) {
	const length = 512
	spoilt := func(n int, seed, first uint64) []byte {
		p := make([]byte, n)
		Spoil(p, length, seed, first)
		return p
	}
	whole := spoilt(9*length+100, 7, 40)
	for k := 0; k < len(whole); k += length {
		block := whole[k:min(k+length, len(whole))]
		ones := 0
		for _, b := range block {
			ones += bits.OnesCount8(b)
		}
		require.Equal(t, 1, ones)
		require.Equal(t, block, spoilt(len(block), 7, 40+uint64(k/length)))
	}
	require.NotEqual(t, whole, spoilt(len(whole), 8, 40))
}
