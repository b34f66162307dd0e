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
	unlock, err := s.locks.acquire(ctx, volumeLock(id))
	if err != nil {
		return err
	}
	defer unlock()
	failed := new(batch)
	row, err := s.settled(ctx, id)
	for _, b := range s.Bindings(BindingFilter{VVol: &id}) {
		if s.isAttached(b.ID) {
			continue
		}
		e := err
		if e == nil {
			e = s.attach(ctx, b, row)
		}
		if e != nil {
			failed.event("binding.failed", id.String(), fmt.Sprintf("host %s: %v", b.Host, e))
		}
	}
	for _, m := range s.mappingsOf(id) {
		if s.isMapped(m.LUN) {
			continue
		}
		e := err
		if e == nil {
			e = s.mapAlias(ctx, m, row)
		}
		if e != nil {
			failed.event("lun.failed", id.String(), fmt.Sprintf("LUN %d: %v", m.LUN, e))
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

func (s *Service) mappingsOf(id ID) []LUNMapping {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	list := []LUNMapping{}
	for _, n := range s.catalog.lunsOf[id] {
		list = append(list, LUNMapping{LUN: n, VVol: id})
	}
	return list
}
