package latency

import (
	"math"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Durations are sorted into powers of two, each below the bound of its bucket and
// not below the one before.
func TestBuckets(t *testing.T) {
	for d, want := range map[time.Duration]int{-1: 0, 0: 0, 8191: 0, 8192: 1, 16383: 1, 16384: 2, 1 << 33: Buckets - 1, math.MaxInt64: Buckets - 1} {
		var h Histogram
		h.Observe(d)
		c := h.Counts()
		require.EqualValues(t, 1, c.Buckets[want], d)
		require.EqualValues(t, 1, c.Count(), d)
		require.Equal(t, max(d, 0), c.Total)
		if bound, ok := Bound(want); ok {
			require.Less(t, d, bound)
		} else {
			require.Equal(t, Buckets-1, want)
		}
		if want > 0 {
			below, ok := Bound(want - 1)
			require.True(t, ok)
			require.GreaterOrEqual(t, d, below)
		}
	}
}

// Nothing is lost when many observe.
func TestConcurrent(t *testing.T) {
	const observers, each = 8, 1000
	var h Histogram
	var wait sync.WaitGroup
	for range observers {
		wait.Go(func() {
			for i := range each {
				h.Observe(time.Duration(i) * time.Microsecond)
			}
		})
	}
	wait.Wait()
	c := h.Counts()
	require.EqualValues(t, observers*each, c.Count())
	require.Equal(t, observers*each*(each-1)/2*time.Microsecond, c.Total)
}
