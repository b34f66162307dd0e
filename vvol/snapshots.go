package vvol

import (
	"context"
	"fmt"
	"maps"

	"vvsim/vvol/store"
)

// SnapshotSpec describes a snapshot. Without a name it has none; metadata is its
// own, the source's is not copied.
type SnapshotSpec struct {
	Name       string
	Metadata   map[string]string
	Writable   bool // not for thick volumes, whose reserve it would eat
	PolicySpec      // asking for nothing: the source's level, quality and policy; a snapshot is never thick itself
}

// SnapshotItem asks for one snapshot of a set.
type SnapshotItem struct {
	VVol ID
	SnapshotSpec
}

// PreparedItem names a prepared snapshot to take, with metadata to add to what
// PrepareSnapshot gave it.
type PreparedItem struct {
	Snapshot ID
	Metadata map[string]string
}

// Snapshot freezes a volume. Errors as SnapshotSet.
func (s *Service) Snapshot(ctx context.Context, id ID, spec SnapshotSpec) (VirtualVolume, error) {
	made, err := s.SnapshotSet(ctx, []SnapshotItem{{id, spec}})
	if err != nil {
		return VirtualVolume{}, err
	}
	return made[0], nil
}

// SnapshotSet freezes several volumes at one instant, all or none. Errors:
// ErrNotFound, ErrInvalid (empty, or a volume twice), ErrTooMany,
// ErrTooManySnapshots, ErrNoSpace (thick volumes), ErrUnsupported (a writable
// snapshot of a thick volume).
func (s *Service) SnapshotSet(ctx context.Context, items []SnapshotItem) ([]VirtualVolume, error) {
	sources, snapshots := make([]ID, len(items)), make([]ID, len(items))
	for i, it := range items {
		var err error
		sources[i] = it.VVol
		if snapshots[i], err = s.newID(); err != nil {
			return nil, err
		}
	}
	if err := s.checkSet(sources); err != nil {
		return nil, err
	}
	rows, unlock, err := s.lockVolumes(ctx, sources, snapshots)
	if err != nil {
		return nil, err
	}
	defer unlock()
	born := make([]*volumeRow, len(items))
	for i, it := range items {
		if born[i], err = s.snapshotRow(rows[i], snapshots[i], it.SnapshotSpec); err != nil {
			return nil, err
		}
	}
	return s.freeze(ctx, rows, born)
}

// checkSet tests the volumes named in one call.
func (s *Service) checkSet(ids []ID) error {
	if len(ids) == 0 {
		return fmt.Errorf("%w: no vvol named", ErrInvalid)
	}
	if limit := min(s.limits.MaxSnapshot, maxSetItems); len(ids) > limit {
		return fmt.Errorf("%w: %d snapshots at once, at most %d", ErrTooMany, len(ids), limit)
	}
	seen := make(map[ID]bool, len(ids))
	for _, id := range ids {
		if seen[id] {
			return fmt.Errorf("%w: vvol %v twice in one set", ErrInvalid, id)
		}
		seen[id] = true
	}
	return nil
}

// snapshotRow is the row of a snapshot of a locked source.
func (s *Service) snapshotRow(source *volumeRow, id ID, spec SnapshotSpec) (*volumeRow, error) {
	if source.State != Ready {
		return nil, fmt.Errorf("%w: vvol %v is %s", ErrInvalid, source.ID, source.State)
	}
	if spec.Writable && source.Pool != (ID{}) {
		return nil, fmt.Errorf("%w: a writable snapshot of a thick volume; use a clone", ErrUnsupported)
	}
	k, err := s.containerByID(source.Container)
	if err != nil {
		return nil, err
	}
	row := &volumeRow{VirtualVolume: VirtualVolume{ID: id, Name: spec.Name, Type: source.Type, Container: source.Container,
		Size: source.Size, Parent: source.ID, SnapshotOf: source.ID, ReadOnly: !spec.Writable, Metadata: maps.Clone(spec.Metadata)}}
	if err := s.prepareBirth(row); err != nil {
		return nil, err
	}
	if row.Pool = source.Pool; spec.PolicySpec == (PolicySpec{}) {
		row.inherit(source, k, true)
		return row, s.checkSnapshotLimit(source)
	}
	var first []ServiceLevel
	if l, err := k.level(source.ServiceLevel); err == nil {
		first = []ServiceLevel{l}
	}
	level, quality, err := k.choose(spec.PolicySpec, true, first...)
	if err != nil {
		return nil, err
	}
	row.grade(level, quality, spec.Policy)
	return row, s.checkSnapshotLimit(source)
}

// checkSnapshotLimit counts prepared ones too, so that taking them cannot exceed it.
func (s *Service) checkSnapshotLimit(source *volumeRow) error {
	limit := source.snapshotLimit(s.options.MaxSnapshots)
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	if n := s.catalog.bySource.Size(source.ID); n >= limit {
		return fmt.Errorf("%w: vvol %v has %d, the limit is %d", ErrTooManySnapshots, source.ID, n, limit)
	}
	return nil
}

// freeze takes snapshots born of rows, all of them locked.
func (s *Service) freeze(ctx context.Context, rows, born []*volumeRow) ([]VirtualVolume, error) {
	specs := make([]store.SnapshotSpec, len(rows))
	for i := range rows {
		specs[i] = store.SnapshotSpec{Source: store.ID(rows[i].ID), Snapshot: store.ID(born[i].ID), Writable: !born[i].ReadOnly}
	}
	made, err := s.birth(ctx, "snapshot", born, func(ctx context.Context) error {
		for _, r := range rows {
			if err := s.reserveShared(ctx, r); err != nil {
				return err
			}
		}
		return s.options.Engine.Snapshot(ctx, specs)
	})
	for _, r := range rows { // of the worst case that was reserved, what is not needed goes back
		s.remeasure(ctx, r)
	}
	return made, err
}

// PrepareSnapshot makes the row of a snapshot and checks all limits, so that
// TakePrepared has little left to do. A prepared snapshot has no content, is not
// listed, and is forgotten after Options.PreparedKept. Errors as Snapshot.
func (s *Service) PrepareSnapshot(ctx context.Context, id ID, spec SnapshotSpec) (VirtualVolume, error) {
	source, unlock, err := s.lockReady(ctx, id)
	if err != nil {
		return VirtualVolume{}, err
	}
	defer unlock()
	if err := s.expirePrepared(ctx, id); err != nil {
		return VirtualVolume{}, err
	}
	snapshot, err := s.newID()
	if err != nil {
		return VirtualVolume{}, err
	}
	row, err := s.snapshotRow(source, snapshot, spec)
	if err != nil {
		return VirtualVolume{}, err
	}
	release, err := s.claimBirths([]*volumeRow{row})
	if err != nil {
		return VirtualVolume{}, err
	}
	defer release()
	prepared := *row
	prepared.State = Prepared
	task := s.succeeded(s.newTask(ctx, "prepare-snapshot", row.ID), row.ID.String())
	err = s.commit(ctx, new(batch).put(&prepared, task).event("vvol.prepared", row.ID.String(), describe(row)))
	if err != nil {
		return VirtualVolume{}, err
	}
	return prepared.copyOut(), nil
}

// TakePrepared takes prepared snapshots at one instant, all or none. When it
// fails they are prepared as before. Errors: ErrNotFound (a snapshot, or its
// source), ErrInvalid (not a prepared one, or one volume twice), ErrTooMany,
// ErrTooManySnapshots, ErrNoSpace.
func (s *Service) TakePrepared(ctx context.Context, items []PreparedItem) ([]VirtualVolume, error) {
	n := len(items)
	ids := make([]ID, 0, 2*n) // snapshots, then sources
	for _, it := range items {
		ids = append(ids, it.Snapshot)
	}
	for _, it := range items {
		v, err := s.VVol(it.Snapshot)
		if err != nil {
			return nil, err
		}
		ids = append(ids, v.SnapshotOf)
	}
	if err := s.checkSet(ids[n:]); err != nil {
		return nil, err
	}
	rows, unlock, err := s.lockVolumes(ctx, ids, nil)
	if err != nil {
		return nil, err
	}
	defer unlock()
	born := make([]*volumeRow, n)
	for i, it := range items {
		if born[i], err = takenRow(rows[i], rows[n+i], it.Metadata); err != nil {
			return nil, err
		}
	}
	return s.freeze(ctx, rows[n:], born)
}

func takenRow(prepared, source *volumeRow, metadata map[string]string) (*volumeRow, error) {
	if prepared.State != Prepared {
		return nil, fmt.Errorf("%w: vvol %v is not a prepared snapshot", ErrInvalid, prepared.ID)
	}
	row := *prepared
	row.Size = source.Size // it may have grown since
	row.Metadata = maps.Clone(prepared.Metadata)
	if row.Metadata == nil {
		row.Metadata = map[string]string{}
	}
	maps.Copy(row.Metadata, metadata)
	return &row, checkMetadata(row.Metadata)
}

// expirePrepared forgets prepared snapshots of a locked volume that are too old.
func (s *Service) expirePrepared(ctx context.Context, source ID) error {
	old := new(batch)
	s.catalog.mu.RLock()
	s.catalog.bySource.Each(source, func(id ID) {
		r := s.catalog.volumes[id]
		if r.State == Prepared && s.tooOld(r) {
			old.drop(r).event("vvol.expired", id.String(), describe(r))
		}
	})
	s.catalog.mu.RUnlock()
	if len(old.changes) == 0 {
		return nil
	}
	return s.commit(ctx, old)
}

// Revert makes content and size of a volume those of one of its snapshots.
// Errors: ErrNotFound, ErrIncompatible (not a snapshot of it), ErrUnsupported
// (the volume is read-only), ErrTooManySnapshots, ErrNoSpace, ErrBusy.
func (s *Service) Revert(ctx context.Context, id, snapshot ID) (VirtualVolume, error) {
	rows, unlock, err := s.lockVolumes(ctx, []ID{id, snapshot}, nil)
	if err != nil {
		return VirtualVolume{}, err
	}
	defer unlock()
	row, snap := rows[0], rows[1]
	switch {
	case snap.State == Prepared:
		return VirtualVolume{}, fmt.Errorf("%w: snapshot %v was not taken yet", ErrNotFound, snapshot)
	case snap.SnapshotOf != id:
		return VirtualVolume{}, fmt.Errorf("%w: %v is not a snapshot of %v", ErrIncompatible, snapshot, id)
	case row.ReadOnly || row.State != Ready:
		return VirtualVolume{}, fmt.Errorf("%w: reverting %v, which is read-only", ErrUnsupported, id)
	}
	if err := s.unpinned(id); err != nil {
		return VirtualVolume{}, err
	}
	task, next := s.newTask(ctx, "revert", id), *row
	next.State, next.Intent = Reverting, &intent{Task: task.Number, Snapshot: snapshot, Size: snap.Size}
	if err := s.commit(ctx, new(batch).put(&next, task)); err != nil {
		return VirtualVolume{}, err
	}
	// Of a thick volume, all it holds may stay with other snapshots, and all of the
	// snapshot is shared with it: the worst case is sharing everything.
	if err := s.reserveShared(ctx, row); err != nil {
		return VirtualVolume{}, s.abandon(ctx, &next, err)
	}
	if err := s.settle(ctx, &next); err != nil {
		return VirtualVolume{}, err
	}
	return s.VVol(id)
}
