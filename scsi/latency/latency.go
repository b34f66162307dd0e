package latency

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Buckets is the number of buckets, each twice as wide as the one before it; the
// first ends at 2^first ns (8 µs), the last takes everything from 2^(first+n-2) ns (8.6 s) on.
const (
	Buckets = 22
	first   = 13
)

// Histogram counts durations. The zero value is ready; safe for concurrent use.
type Histogram struct {
	nanos   atomic.Uint64
	buckets [Buckets]atomic.Uint64
}

// Observe counts one duration; a negative one is none.
func (h *Histogram) Observe(d time.Duration) {
	nanos := uint64(max(d, 0))
	h.nanos.Add(nanos)
	h.buckets[bucketOf(nanos)].Add(1)
}

func bucketOf(nanos uint64) int {
	return min(max(bits.Len64(nanos)-first, 0), Buckets-1)
}

// Counts is what a histogram has counted. Bucket i holds the durations shorter than
// Bound(i) and not shorter than Bound(i-1).
type Counts struct {
	Total   time.Duration
	Buckets [Buckets]uint64
}

// Counts reads the histogram; what is observed meanwhile may be in or not.
func (h *Histogram) Counts() Counts {
	c := Counts{Total: time.Duration(h.nanos.Load())}
	for i := range h.buckets {
		c.Buckets[i] = h.buckets[i].Load()
	}
	return c
}

// Count is the number of durations.
func (c *Counts) Count() (n uint64) {
	for _, k := range c.Buckets {
		n += k
	}
	return n
}

// Bound is the upper bound of bucket i; the last bucket has none.
func Bound(i int) (d time.Duration, bounded bool) {
	return 1 << (first + i), i < Buckets-1
}
