package vasa

import (
	"context"
	"maps"
	"slices"

	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// volumeInfo is a VVol's metadata as they came (vasa.md 6).
func volumeInfo(v vvol.VirtualVolume) wire.VirtualVolumeInfo {
	i := wire.VirtualVolumeInfo{BaseStorageEntity: wire.BaseStorageEntity{UniqueIdentifier: new(v.ID.String())}, VVolID: v.ID.String()}
	for _, k := range slices.Sorted(maps.Keys(v.Metadata)) {
		i.Metadata = append(i.Metadata, wire.NameValuePair{ParameterName: new(k), ParameterValue: new(v.Metadata[k])})
	}
	return i
}

// spaceStats measures a VVol, in MB rounded up; what is committed is never more than the
// size (vasa.md 10).
func (p *Provider) spaceStats(ctx context.Context, v vvol.VirtualVolume) (wire.SpaceStats, error) {
	u, err := p.o.Service.Usage(ctx, v.ID)
	if err != nil {
		return wire.SpaceStats{}, err
	}
	s := wire.SpaceStats{ObjectID: v.ID.String(), Logical: megabytes(v.Size), Committed: min(megabytes(u.Allocated), megabytes(v.Size)),
		UnsharedValid: p.o.Knobs().UnsharedValid}
	if s.UnsharedValid {
		s.Unshared = min(megabytes(u.Unshared), s.Committed)
	}
	return s, nil
}

func megabytes(bytes uint64) int64 { return int64((bytes + mib - 1) / mib) }

// prepared is the result of a task that prepared a snapshot; the parent is told as it is
// now.
func (p *Provider) prepared(ctx context.Context, snapshot string) (*wire.PrepareSnapshotResult, error) {
	id, err := volumeID(snapshot)
	if err != nil {
		return nil, err
	}
	s, err := p.o.Service.VVol(id)
	if err != nil {
		return nil, err
	}
	parent, err := p.o.Service.VVol(s.SnapshotOf)
	if err != nil {
		return nil, err
	}
	stats, err := p.spaceStats(ctx, parent)
	if err != nil {
		return nil, err
	}
	return &wire.PrepareSnapshotResult{ParentInfo: volumeInfo(parent), ParentStats: stats, SnapshotID: snapshot}, nil
}
