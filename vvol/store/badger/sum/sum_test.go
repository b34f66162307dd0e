package sum

import (
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// Join is what crc32.Update does with the page itself, whatever was before.
func TestJoin(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	page := make([]byte, PageSize)
	for range 500 {
		for i := range page {
			page[i] = byte(random.Uint32())
		}
		for _, before := range []uint32{0, 1, 1 << 31, ^uint32(0), random.Uint32()} {
			require.Equal(t, crc32.Update(before, castagnoli, page), Join(before, Of(page)))
		}
	}
	clear(page)
	require.Equal(t, crc32.Update(7, castagnoli, page), Join(7, Of(page)))
	require.EqualValues(t, 0xe3069283, Of([]byte("123456789")), "the check value of CRC-32/ISCSI")
}
