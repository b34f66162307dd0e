package pe

import (
	"maps"
	"slices"
	"sync/atomic"

	"vvsim/scsi"
	"vvsim/scsi/latency"
	"vvsim/vvol"
)

// opStats counts one operation code of one volume. All fields are updated with
// atomics and may be read at any time.
type opStats struct {
	errors, bytesIn, bytesOut atomic.Uint64
	latency                   latency.Histogram
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
	start := latency.Now()
	r := lu.Execute(t)
	s.latency.Observe(latency.Now().Sub(start))
	if out > 0 {
		s.bytesOut.Add(out)
	}
	if n := r.DataIn.Len(); n > 0 {
		s.bytesIn.Add(uint64(n))
	}
	if r.Status != scsi.StatusGood && r.Status != scsi.StatusConditionMet {
		s.errors.Add(1)
	}
	return r
}

// OpStats is what one operation code of one volume has done since the volume was
// attached.
type OpStats struct {
	OpCode            scsi.OpCode
	Count, Errors     uint64
	BytesIn, BytesOut uint64 // Data-In and Data-Out
	Latency           latency.Counts
}

func (v *volumeStats) snapshot() []OpStats {
	var all []OpStats
	for op := range v.ops {
		s := v.ops[op].Load()
		if s == nil {
			continue
		}
		o := OpStats{OpCode: scsi.OpCode(op), Errors: s.errors.Load(), BytesIn: s.bytesIn.Load(), BytesOut: s.bytesOut.Load(),
			Latency: s.latency.Counts()}
		o.Count = o.Latency.Count()
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
