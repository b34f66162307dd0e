package vvol

import (
	"context"
	"fmt"
)

// Start attaches all bindings and maps all aliases that are not yet, several
// volumes at a time. One that cannot be attached keeps its row, is reported by an
// event ("binding.failed", "lun.failed") and by Check, and is tried again by the
// next Bind or MapLUN; it does not keep the others from starting. Errors: those
// of ctx and of the catalog.
func (s *Service) Start(ctx context.Context) error {
	end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	s.catalog.mu.RLock()
	ids := make([]ID, 0, len(s.catalog.ofVolume)+len(s.catalog.lunsOf))
	for id := range s.catalog.ofVolume {
		ids = append(ids, id)
	}
	for id := range s.catalog.lunsOf {
		if len(s.catalog.ofVolume[id]) == 0 {
			ids = append(ids, id)
		}
	}
	s.catalog.mu.RUnlock()
	return s.inParallel(ids, func(id ID) error { return s.attachAll(ctx, id) })
}

// attachAll brings the routes of one volume back.
func (s *Service) attachAll(ctx context.Context, id ID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	unlock, err := s.locks.Acquire(ctx, volumeLock(id))
	if err != nil {
		return err
	}
	defer unlock()
	failed := new(batch)
	row, err := s.settled(ctx, id)
	for _, r := range s.routesOf(id) {
		e := err
		if e == nil {
			e = s.makeRoute(ctx, r, row)
		}
		if e != nil && !s.isMade(r) {
			failed.event(r.kind()+".failed", id.String(), fmt.Sprintf("%v: %v", r, e))
		}
	}
	if len(failed.events) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.commit(ctx, failed)
}
