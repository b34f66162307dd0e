package pe

import (
	"maps"
	"math/bits"
	"slices"
	"sync/atomic"
	"time"

	"vvsim/scsi"
	"vvsim/vvol"
)

// latencyBuckets is the number of power-of-two latency buckets; the first ends
// at 2^latencyFirst ns (8 µs), the last takes everything above 2^(first+n-2) ns (8.6 s).
const (
	latencyBuckets = 22
	latencyFirst   = 13
)

// opStats counts one operation code of one volume. All fields are updated with
// atomics and may be read at any time.
type opStats struct {
	count, errors, bytesIn, bytesOut, nanos atomic.Uint64
	buckets                                 [latencyBuckets]atomic.Uint64
}

// volumeStats counts the commands of one volume by operation code.
type volumeStats struct {
	ops [256]atomic.Pointer[opStats]
}

func (v *volumeStats) of(op byte) *opStats {
	if s := v.ops[op].Load(); s != nil {
		return s
	}
	v.ops[op].CompareAndSwap(nil, &opStats{})
	return v.ops[op].Load()
}

// measure runs t on lu and counts it.
func (v *volumeStats) measure(t *scsi.Task, lu scsi.LogicalUnit) scsi.Response {
	s := v.of(t.CDB[0])
	out := uint64(len(t.DataOut))
	start := time.Now()
	r := lu.Execute(t)
	took := uint64(time.Since(start))
	s.count.Add(1)
	s.nanos.Add(took)
	if out > 0 {
		s.bytesOut.Add(out)
	}
	if n := r.DataIn.Len(); n > 0 {
		s.bytesIn.Add(uint64(n))
	}
	if r.Status != scsi.StatusGood && r.Status != scsi.StatusConditionMet {
		s.errors.Add(1)
	}
	s.buckets[bucketOf(took)].Add(1)
	return r
}

func bucketOf(nanos uint64) int {
	return min(max(bits.Len64(nanos)-latencyFirst, 0), latencyBuckets-1)
}

// OpStats is what one operation code of one volume has done since the volume was
// attached. Latency counts commands by bucket i, which holds those shorter than
// LatencyBound(i) and not shorter than LatencyBound(i-1).
type OpStats struct {
	OpCode            scsi.OpCode
	Count, Errors     uint64
	BytesIn, BytesOut uint64 // Data-In and Data-Out
	Total             time.Duration
	Latency           [latencyBuckets]uint64
}

// LatencyBound is the upper bound of latency bucket i; the last bucket has none.
func LatencyBound(i int) (d time.Duration, bounded bool) {
	return 1 << (latencyFirst + i), i < latencyBuckets-1
}

func (v *volumeStats) snapshot() []OpStats {
	var all []OpStats
	for op := range v.ops {
		s := v.ops[op].Load()
		if s == nil {
			continue
		}
		o := OpStats{OpCode: scsi.OpCode(op), Count: s.count.Load(), Errors: s.errors.Load(),
			BytesIn: s.bytesIn.Load(), BytesOut: s.bytesOut.Load(), Total: time.Duration(s.nanos.Load())}
		for i := range s.buckets {
			o.Latency[i] = s.buckets[i].Load()
		}
		all = append(all, o)
	}
	return all
}

// VolumeStats is what the commands to one attached volume have done.
type VolumeStats struct {
	Volume vvol.ID
	Name   string
	Ops    []OpStats // operation codes that were used, in order
}

// Stats returns the counters of all attached volumes that saw a command, in no order.
func (t *Target) Stats() []VolumeStats {
	t.mu.Lock()
	units := slices.Collect(maps.Values(t.units))
	t.mu.Unlock()
	var all []VolumeStats
	for _, u := range units {
		if v := u.stats.p.Load(); v != nil {
			all = append(all, VolumeStats{Volume: u.volume, Name: u.name, Ops: v.snapshot()})
		}
	}
	return all
}
