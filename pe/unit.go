package pe

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"

	"vvsim/scsi"
	"vvsim/scsi/device"
	"vvsim/vvol"
	"vvsim/vvol/store"
)

// unit is the logical unit of one attached volume.
type unit struct {
	volume vvol.ID
	name   string
	naa    NAA
	object store.Object
	lu     *device.LogicalUnit
	front  *throttle   // of lu; where routes lead
	sync   atomic.Bool // writes are on stable storage before they return
	refs   int         // routes that lead here; guarded by Target.mu
	stats  lazyStats
}

// lazyStats costs a pointer until the first command: most volumes are idle.
type lazyStats struct{ p atomic.Pointer[volumeStats] }

func (l *lazyStats) get() *volumeStats {
	if v := l.p.Load(); v != nil {
		return v
	}
	l.p.CompareAndSwap(nil, &volumeStats{})
	return l.p.Load()
}

// setQuality puts limits and durability in force. Calls for one unit do not overlap.
func (u *unit) setQuality(q vvol.Quality) {
	u.sync.Store(q.Durability == vvol.DurabilitySync)
	u.lu.SetWriteThrough(u.sync.Load())
	u.front.set(rates{iops: q.MaxIOPS, bytes: q.MaxBytesPerSec})
}

// quality is what is in force.
func (u *unit) quality() vvol.Quality {
	r := u.front.rates()
	q := vvol.Quality{MaxIOPS: r.iops, MaxBytesPerSec: r.bytes, Durability: vvol.DurabilityFlush}
	if u.lu.WriteThrough() {
		q.Durability = vvol.DurabilitySync
	}
	return q
}

// medium shows an engine's object as a device's medium. While sync is set, everything
// that changes it is on stable storage when it returns.
type medium struct {
	store.Object
	sync *atomic.Bool
}

func (m medium) options(fua bool) store.WriteOptions {
	return store.WriteOptions{FUA: fua || m.sync.Load()}
}

func (m medium) WriteAt(ctx context.Context, p []byte, off uint64, fua bool) error {
	return m.Object.WriteAt(ctx, p, off, m.options(fua))
}

func (m medium) WriteAll(ctx context.Context, writes []device.Write, fua bool) {
	all := make([]store.Write, len(writes))
	for i := range writes {
		all[i] = store.Write{Data: writes[i].Data, Offset: writes[i].Offset}
	}
	m.Object.WriteAll(ctx, all, m.options(fua))
	for i := range writes {
		writes[i].Err = all[i].Err
	}
}

func (m medium) CompareAndWrite(ctx context.Context, compare, data []byte, off uint64, fua bool) error {
	return m.Object.CompareAndWrite(ctx, compare, data, off, m.options(fua))
}

func (m medium) Zero(ctx context.Context, off, n uint64, fua bool) error {
	return m.Object.Zero(ctx, off, n, m.options(fua))
}

func (m medium) Unmap(ctx context.Context, off, n uint64) error {
	return m.Object.Unmap(ctx, off, n, m.options(false))
}

func (m medium) CopyFrom(ctx context.Context, off uint64, src device.Medium, srcOff, n uint64) error {
	err := m.Object.CopyFrom(ctx, off, src.(medium).Object, srcOff, n)
	if bad, ok := errors.AsType[*store.MediumError](err); ok && !bad.Write { // its place is one of the source
		return &store.MediumError{Offset: off, Write: true, Err: err}
	}
	if err == nil && m.sync.Load() {
		err = m.Object.Flush(ctx)
	}
	return err
}

// Extents yields mapped and unmapped extents alternately from off to off+max.
func (m medium) Extents(ctx context.Context, off, max uint64) iter.Seq2[device.Extent, error] {
	return func(yield func(device.Extent, error) bool) {
		end := off + max
		at := off
		for r, err := range m.Ranges(ctx, store.Allocated, store.ID{}, off) {
			if err != nil {
				yield(device.Extent{}, err)
				return
			}
			if r.Offset >= end {
				break
			}
			if r.Offset > at && !yield(device.Extent{Offset: at, Length: r.Offset - at}, nil) {
				return
			}
			at = min(r.Offset+r.Length, end)
			if !yield(device.Extent{Offset: r.Offset, Length: at - r.Offset, Mapped: true}, nil) {
				return
			}
		}
		if at < end {
			yield(device.Extent{Offset: at, Length: end - at}, nil)
		}
	}
}

var _ scsi.LogicalUnit = (*device.LogicalUnit)(nil)
