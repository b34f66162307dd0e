package vvol

import (
	"context"
	"errors"
	"fmt"

	"vvsim/vvol/store"
)

// resume ends what a crash cut off and sets the engine's limits. A volume that
// cannot be settled keeps its intent, is reported by an event, and is tried
// again by the next operation on it; it does not keep the array from starting.
func (s *Service) resume(ctx context.Context) error {
	for _, k := range s.Containers() {
		s.options.Engine.SetPoolLimit(containerPool(k.ID), k.Size)
	}
	for _, row := range s.unsettled() {
		if err := s.settle(ctx, row); err != nil {
			if ctx.Err() != nil {
				return err
			}
			note := new(batch).event("vvol.unsettled", row.ID.String(), fmt.Sprintf("%s: %v", row.State, err))
			if err := s.commit(ctx, note); err != nil {
				return err
			}
		}
	}
	if err := s.gradeOld(ctx); err != nil {
		return err
	}
	if err := s.endTasks(ctx); err != nil {
		return err
	}
	if err := s.expireAllPrepared(ctx); err != nil {
		return err
	}
	for _, k := range s.Containers() {
		s.refresh(ctx, k.ID)
	}
	return s.prunePools(ctx)
}

// unsettled lists the rows with an intent, oldest first: deletions and undone
// births before what may need their space.
func (s *Service) unsettled() []*volumeRow {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	var first, then []*volumeRow
	for _, r := range s.catalog.volumes {
		switch r.State {
		case Creating, Deleting:
			first = append(first, r)
		case Reverting, Resizing, Converting:
			then = append(then, r)
		}
	}
	return append(first, then...)
}

// endTasks gives an end to tasks that no row of a volume knows.
func (s *Service) endTasks(ctx context.Context) error {
	waiting, ends := map[uint64]bool{}, new(batch)
	for _, r := range s.unsettled() {
		waiting[r.Intent.Task] = true
	}
	for _, t := range s.CurrentTasks() {
		if n := taskNumber(t.ID); !waiting[n] {
			s.endTask(ends, n, "", errInterrupted())
		}
	}
	if len(ends.changes) == 0 {
		return nil
	}
	return s.commit(ctx, ends)
}

func errInterrupted() error {
	return fmt.Errorf("%w: interrupted before its end", ErrStorage)
}

// expireAllPrepared leaves those alone with whose source something is happening.
func (s *Service) expireAllPrepared(ctx context.Context) error {
	sources := map[ID]bool{}
	s.catalog.mu.RLock()
	for _, r := range s.catalog.volumes {
		if r.State == Prepared && s.tooOld(r) {
			sources[r.SnapshotOf] = true
		}
	}
	s.catalog.mu.RUnlock()
	for id := range sources {
		unlock, ok := s.locks.Try(volumeLock(id))
		if !ok {
			continue
		}
		err := s.expirePrepared(ctx, id)
		unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// tooOld tells that a prepared snapshot is to be forgotten.
func (s *Service) tooOld(r *volumeRow) bool { return s.now().Sub(r.Created) > s.options.PreparedKept }

// settle brings a locked volume with an intent to rest: a birth is undone, a
// deletion, revert or resize is finished, or given up when the engine refuses
// it, which is the error. The row is no longer with an intent when settle
// returns, unless the engine or Meta fails altogether.
func (s *Service) settle(ctx context.Context, row *volumeRow) error {
	engine, id := s.options.Engine, store.ID(row.ID)
	switch row.State {
	case Creating:
		return s.undoBirth(ctx, row, errInterrupted())
	case Deleting:
		if err := engine.Delete(ctx, id); err != nil {
			return s.abandon(ctx, row, err)
		}
		return s.buried(ctx, row)
	case Reverting:
		if err := engine.Revert(ctx, id, store.ID(row.Intent.Snapshot)); err != nil {
			return s.abandon(ctx, row, unrelated(err))
		}
		return s.rest(ctx, row, row.Intent.Size, "vvol.reverted", nil)
	case Resizing:
		if err := engine.Resize(ctx, id, row.Intent.Size); err != nil {
			return s.abandon(ctx, row, err)
		}
		return s.rest(ctx, row, row.Intent.Size, "vvol.resized", nil)
	case Converting:
		info, err := engine.Stat(ctx, id)
		if err != nil {
			return translate(err)
		}
		return s.converted(ctx, row, info.Pool, nil)
	}
	return nil
}

// rest writes the final row after a revert or resize, or after giving one up
// (cause), and tells the endpoints what changed.
func (s *Service) rest(ctx context.Context, row *volumeRow, size uint64, event string, cause error) error {
	done := *row
	done.State, done.Intent, done.Size = Ready, nil, size
	if row.State == Reverting && cause == nil {
		done.Generation++
	}
	b := new(batch).put(&done)
	if event != "" {
		b.event(event, row.ID.String(), describe(&done))
	}
	s.endTask(b, row.Intent.Task, "", cause)
	if err := s.commit(ctx, b); err != nil {
		return err
	}
	capacity, content := size != row.Size, row.State == Reverting && cause == nil
	if (capacity || content) && s.reachable(row.ID) {
		s.options.Endpoints.Changed(done.copyOut(), capacity, content)
	}
	s.remeasure(ctx, &done)
	return nil
}

func (s *Service) reachable(id ID) bool {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	b, l := s.catalog.inUse(id)
	return b+l > 0
}

// abandon takes back the intent of a deletion, revert, resize or conversion after the engine
// refused it, and returns cause. The engine has the last word on the size, which
// may have changed before a crash.
func (s *Service) abandon(ctx context.Context, row *volumeRow, cause error) error {
	cause = translate(cause)
	ctx = context.WithoutCancel(ctx)
	info, err := s.options.Engine.Stat(ctx, store.ID(row.ID))
	if errors.Is(err, store.ErrNotFound) && row.State == Deleting {
		return errors.Join(cause, s.buried(ctx, row))
	}
	if err != nil {
		return errors.Join(cause, translate(err))
	}
	if row.State == Converting {
		return s.converted(ctx, row, info.Pool, cause)
	}
	if err := s.rest(ctx, row, info.Size, "", cause); err != nil {
		return errors.Join(cause, err)
	}
	return cause
}

// giveUp undoes the births of rows after cause, and returns it.
func (s *Service) giveUp(ctx context.Context, cause error, rows []*volumeRow) error {
	cause = translate(cause)
	errs := []error{cause}
	for _, r := range rows {
		if begun := s.row(r.ID); begun != nil && begun.State == Creating {
			if err := s.undoBirth(context.WithoutCancel(ctx), begun, cause); err != nil {
				errs = append(errs, err)
			}
		}
	}
	if len(errs) == 1 {
		return cause
	}
	return errors.Join(errs...)
}

// undoBirth removes what there is of a volume in creation; a snapshot that was
// prepared is so again.
func (s *Service) undoBirth(ctx context.Context, row *volumeRow, cause error) error {
	// What was in the engine before, and is not known here, is not ours to delete.
	if !errors.Is(cause, store.ErrExists) {
		if err := s.options.Engine.Delete(ctx, store.ID(row.ID)); err != nil {
			return translate(err)
		}
	}
	b := new(batch)
	if before := row.Intent.Before; before != nil {
		b.put(&volumeRow{VirtualVolume: *before, Pool: row.Pool, Asked: row.Asked})
	} else {
		b.drop(row)
	}
	if row.thick() {
		b.drop(&poolRow{ID: row.ID, Container: row.Container})
	}
	s.endTask(b, row.Intent.Task, "", cause)
	if err := s.commit(ctx, b); err != nil {
		return err
	}
	if row.thick() {
		s.forget(row.Container, row.ID)
	}
	return nil
}

// buried removes the rows of a volume that the engine has deleted, with its
// reservations and its prepared snapshots.
func (s *Service) buried(ctx context.Context, row *volumeRow) error {
	b := new(batch).drop(row, &reservationRow{Name: row.ID.String()})
	s.catalog.mu.RLock()
	s.catalog.bySource.Each(row.ID, func(id ID) {
		if r := s.catalog.volumes[id]; r.State == Prepared {
			b.drop(r)
		}
	})
	s.catalog.mu.RUnlock()
	s.endTask(b, row.Intent.Task, "", nil)
	if err := s.commit(ctx, b.event("vvol.deleted", row.ID.String(), describe(row))); err != nil {
		return err
	}
	s.remeasure(ctx, row)
	s.tryMeasure(ctx, row.Parent) // which may share less now
	// The volume is gone whatever becomes of its pool's row, which is tried again
	// at every deletion and at Open.
	_ = s.prunePools(context.WithoutCancel(ctx))
	return nil
}
