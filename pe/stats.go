package pe

import (
	"maps"
	"slices"
	"sync/atomic"
	"time"

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
	op, out := t.CDB[0], len(t.DataOut)
	start := latency.Now()
	r := lu.Execute(t)
	v.count(op, out, &r, latency.Now().Sub(start))
	return r
}

// measureAll runs tasks on lu together and counts them.
func (v *volumeStats) measureAll(tasks []*scsi.Task, answers []scsi.Response, lu *throttle) {
	start := latency.Now()
	lu.ExecuteAll(tasks, answers)
	took := latency.Now().Sub(start)
	for i, t := range tasks {
		v.count(t.CDB[0], len(t.DataOut), &answers[i], took)
	}
}

// count adds a command with so many bytes of Data-Out that was answered by r.
func (v *volumeStats) count(op byte, out int, r *scsi.Response, took time.Duration) {
	s := v.of(op)
	s.latency.Observe(took)
	if out > 0 {
		s.bytesOut.Add(uint64(out))
	}
	if n := r.DataIn.Len(); n > 0 {
		s.bytesIn.Add(uint64(n))
	}
	if r.Status != scsi.StatusGood && r.Status != scsi.StatusConditionMet {
		s.errors.Add(1)
	}
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
