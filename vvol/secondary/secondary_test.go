package secondary

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Ids come lowest first, rest after release, and all of them can be used.
func TestIDs(t *testing.T) {
	s := &IDs{}
	take := func() uint64 {
		id, ok := s.Take()
		require.True(t, ok)
		return id
	}
	for want := uint64(1); want <= 100; want++ {
		require.Equal(t, want, take())
	}
	s.Free(7, true)
	require.Equal(t, uint64(101), take(), "7 rests")
	s.Free(9, false)
	require.Equal(t, uint64(9), take(), "9 was never seen")
	for i := range Rest - 1 {
		s.Free(take(), true)
		require.Len(t, s.queue, i+2)
	}
	require.NotEqual(t, uint64(7), take())
	s.Free(50, true)
	require.Equal(t, uint64(7), take(), "its rest is over")

	all := &IDs{}
	for range Max {
		_, ok := all.Take()
		require.True(t, ok)
	}
	_, ok := all.Take()
	require.False(t, ok)
	all.Free(16383, true)
	all.Free(3, true)
	all.Free(3, true) // twice is once
	id, ok := all.Take()
	require.True(t, ok)
	require.Equal(t, uint64(16383), id, "the one that rests longest when nothing else is left")
	id, ok = all.Take()
	require.True(t, ok)
	require.Equal(t, uint64(3), id)
	_, ok = all.Take()
	require.False(t, ok)
}
