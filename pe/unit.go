package pe

import (
	"context"
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
	refs   int // routes that lead here; guarded by Target.mu
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

// medium shows an engine's object as a device's medium.
type medium struct{ store.Object }

func (m medium) WriteAt(ctx context.Context, p []byte, off uint64, fua bool) error {
	return m.Object.WriteAt(ctx, p, off, store.WriteOptions{FUA: fua})
}

func (m medium) CompareAndWrite(ctx context.Context, compare, data []byte, off uint64, fua bool) error {
	return m.Object.CompareAndWrite(ctx, compare, data, off, store.WriteOptions{FUA: fua})
}

func (m medium) Zero(ctx context.Context, off, n uint64, fua bool) error {
	return m.Object.Zero(ctx, off, n, store.WriteOptions{FUA: fua})
}

func (m medium) Unmap(ctx context.Context, off, n uint64) error {
	return m.Object.Unmap(ctx, off, n, store.WriteOptions{})
}

func (m medium) CopyFrom(ctx context.Context, off uint64, src device.Medium, srcOff, n uint64) error {
	return m.Object.CopyFrom(ctx, off, src.(medium).Object, srcOff, n)
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
