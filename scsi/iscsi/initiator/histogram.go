package initiator

import (
	"math/bits"
	"time"
)

// A Histogram counts durations in buckets that are 1/32 of a power of two wide:
// what it tells is at most 3 % too high. Up to 2^40 ns, 18 minutes. The zero
// value is empty. It is not safe for concurrent use.
type Histogram struct {
	counts [(histogramTop - histogramLinear + 1) << histogramLinear]uint64
	total  uint64
	sum    time.Duration
	max    time.Duration
}

const (
	histogramLinear = 5 // up to 2^5 ns a bucket per nanosecond
	histogramTop    = 40
)

func bucketOf(d time.Duration) int {
	v := uint64(min(max(d, 0), 1<<histogramTop-1))
	if v < 1<<histogramLinear {
		return int(v)
	}
	shift := bits.Len64(v) - 1 - histogramLinear
	return shift<<histogramLinear + int(v>>shift)
}

// topOf is the longest duration of a bucket.
func topOf(bucket int) time.Duration {
	if bucket < 2<<histogramLinear {
		return time.Duration(bucket)
	}
	shift := bucket>>histogramLinear - 1
	base := bucket&(1<<histogramLinear-1) | 1<<histogramLinear
	return time.Duration((base+1)<<shift - 1)
}

// Add counts one duration.
func (h *Histogram) Add(d time.Duration) {
	h.counts[bucketOf(d)]++
	h.total++
	h.sum += d
	h.max = max(h.max, d)
}

// Merge counts everything that o has counted.
func (h *Histogram) Merge(o *Histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.total += o.total
	h.sum += o.sum
	h.max = max(h.max, o.max)
}

// Count is the number of durations.
func (h *Histogram) Count() uint64 { return h.total }

// Max is the longest duration, exactly.
func (h *Histogram) Max() time.Duration { return h.max }

// Mean is the average; 0 when empty.
func (h *Histogram) Mean() time.Duration {
	if h.total == 0 {
		return 0
	}
	return h.sum / time.Duration(h.total)
}

// Quantile is the duration that the part q of all, 0 to 1, does not exceed.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := uint64(q * float64(h.total))
	var seen uint64
	for i, n := range h.counts {
		if seen += n; n > 0 && seen >= max(rank, 1) {
			return min(topOf(i), h.max)
		}
	}
	return h.max
}
