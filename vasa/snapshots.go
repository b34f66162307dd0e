package vasa

import (
	"context"
	"errors"
	"math"
	"time"

	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// snapshotOperations are the operations of vasa.md 2.6 about snapshots.
func (p *Provider) snapshotOperations() map[string]handler {
	return map[string]handler{
		"prepareToSnapshotVirtualVolume": answers(p.prepareToSnapshotVirtualVolume),
		"snapshotVirtualVolume":          answers(p.snapshotVirtualVolume),
		"revertVirtualVolume":            answers(p.revertVirtualVolume),
	}
}

func (p *Provider) prepareToSnapshotVirtualVolume(ctx context.Context, _ *caller, q *wire.PrepareToSnapshotVirtualVolume) (*wire.PrepareToSnapshotVirtualVolumeResponse, error) {
	v, err := p.volume(q.VVolID)
	if err != nil {
		return nil, err
	}
	if !wire.Valid(q.SnapType) {
		return nil, invalid("snapType %q is none of the contract's", q.SnapType)
	}
	policy, err := p.placed(q.StorageProfile, v)
	if err != nil {
		return nil, err
	}
	t, err := p.watched(ctx, "prepareToSnapshotVirtualVolume", v.ID, func(ctx context.Context) error {
		_, err := p.o.Service.PrepareSnapshot(ctx, v.ID, vvol.SnapshotSpec{Writable: p.writable(q.SnapType), PolicySpec: policy})
		return err
	})
	if err != nil {
		return nil, err
	}
	return &wire.PrepareToSnapshotVirtualVolumeResponse{Return: t}, nil
}

// writable tells whether a snapshot will take writes (vasa.md 13).
func (p *Provider) writable(asked wire.SnapType) bool {
	switch p.o.Knobs().Snapshots {
	case SnapshotsReadOnly:
		return false
	case SnapshotsWritable:
		return true
	default:
		return asked == wire.SnapTypeSnapshotReadWrite
	}
}

// snapshotVirtualVolume takes all prepared snapshots at one instant, or none: an item that
// cannot be taken has its fault, and the others have StorageFault.
func (p *Provider) snapshotVirtualVolume(ctx context.Context, _ *caller, q *wire.SnapshotVirtualVolume) (*wire.SnapshotVirtualVolumeResponse, error) {
	if err := p.checkBatch(len(q.SnapshotInfo)); err != nil {
		return nil, err
	}
	if q.TimeoutMS <= 0 {
		return nil, invalid("a timeoutMS of %d is not positive", q.TimeoutMS)
	}
	items, errs := make([]vvol.PreparedItem, len(q.SnapshotInfo)), make([]error, len(q.SnapshotInfo))
	for i, info := range q.SnapshotInfo {
		items[i], errs[i] = p.preparedItem(info)
	}
	if err := errors.Join(errs...); err == nil {
		ctx, cancel := context.WithTimeout(ctx, milliseconds(q.TimeoutMS))
		defer cancel()
		_, err := p.o.Service.TakePrepared(ctx, items)
		switch {
		case err == nil:
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil:
			return nil, refuse(&wire.Timeout{}, "not taken within %d ms", q.TimeoutMS)
		case len(items) == 1:
			errs[0] = err
		default:
			return nil, err
		}
	} else {
		for i := range errs {
			if errs[i] == nil {
				errs[i] = refuse(&wire.StorageFault{FaultMessageID: new(storageFaultMessage)}, "another snapshot of the set could not be taken")
			}
		}
	}
	r := &wire.SnapshotVirtualVolumeResponse{}
	for i, info := range q.SnapshotInfo {
		r.Return = append(r.Return, wire.BatchReturnStatus{UniqueID: info.VVolID, ErrorResult: batchError(errs[i])})
	}
	return r, nil
}

func milliseconds(n int64) time.Duration {
	return time.Duration(min(n, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
}

// preparedItem is one snapshot of a set, which has to be prepared and not taken.
func (p *Provider) preparedItem(info wire.VirtualVolumeInfo) (vvol.PreparedItem, error) {
	id, err := volumeID(info.VVolID)
	if err != nil {
		return vvol.PreparedItem{}, err
	}
	v, err := p.o.Service.VVol(id)
	if err != nil {
		return vvol.PreparedItem{}, err
	}
	if v.State != vvol.Prepared {
		return vvol.PreparedItem{}, invalid("%s is not a prepared snapshot", info.VVolID)
	}
	metadata, err := metadataOf(info.Metadata)
	return vvol.PreparedItem{Snapshot: id, Metadata: metadata}, err
}

func (p *Provider) revertVirtualVolume(ctx context.Context, _ *caller, q *wire.RevertVirtualVolume) (*wire.RevertVirtualVolumeResponse, error) {
	v, err := p.volume(q.VVolID)
	if err != nil {
		return nil, err
	}
	snapshot, err := p.volume(q.SnapshotVVolID)
	if err != nil {
		return nil, err
	}
	t, err := p.watched(ctx, "revertVirtualVolume", v.ID, func(ctx context.Context) error {
		_, err := p.o.Service.Revert(ctx, v.ID, snapshot.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &wire.RevertVirtualVolumeResponse{Return: t}, nil
}
