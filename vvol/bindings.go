package vvol

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"vvsim/vvol/secondary"
)

// Bind gives the host of an initiator access to a volume. A binding the host has
// already is returned as it is. The catalog is written first, then the endpoints
// attach it; when they cannot, the row is removed again. Errors: ErrNotFound,
// ErrInvalid (initiator; a prepared snapshot), ErrTooMany (secondary ids or bindings),
// ErrBusy (the host is about to be joined with another), ErrStorage.
func (s *Service) Bind(ctx context.Context, id ID, initiator string) (Binding, error) {
	return s.bind(ctx, id, func() (HostID, error) { return s.ensureHost(ctx, initiator) })
}

// BindHost is Bind for a host that is known, by its id: for all of its initiators, or for
// none when that fails. Errors as Bind; ErrNotFound (host).
func (s *Service) BindHost(ctx context.Context, id ID, host HostID) (Binding, error) {
	return s.bind(ctx, id, func() (HostID, error) {
		s.catalog.mu.RLock()
		defer s.catalog.mu.RUnlock()
		if s.catalog.hosts[host] == nil {
			return "", fmt.Errorf("%w: host %q", ErrNotFound, host)
		}
		return host, nil
	})
}

func (s *Service) bind(ctx context.Context, id ID, by func() (HostID, error)) (Binding, error) {
	row, unlock, err := s.lockReady(ctx, id)
	if err != nil {
		return Binding{}, err
	}
	defer unlock()
	if row.State != Ready {
		return Binding{}, fmt.Errorf("%w: vvol %v is %s", ErrInvalid, id, row.State)
	}
	host, err := by()
	if err != nil {
		return Binding{}, err
	}
	if b := s.bindingOf(id, host); b != nil {
		return b.Binding, s.makeRoute(ctx, b, row)
	}
	b, err := s.addBinding(ctx, row, host)
	if err != nil {
		return Binding{}, err
	}
	if err := s.makeNewRoute(ctx, &bindingRow{b}, row); err != nil {
		return Binding{}, err
	}
	return b, nil
}

// addBinding chooses the PE and secondary id and commits the row.
func (s *Service) addBinding(ctx context.Context, row *volumeRow, host HostID) (Binding, error) {
	b, err := s.claimBinding(row, host)
	if err != nil {
		return Binding{}, err
	}
	event := fmt.Sprintf("host %s, %s secondary id %d", host, b.PE, b.Secondary)
	err = s.commit(ctx, new(batch).put(&bindingRow{b}).event("binding.added", row.ID.String(), event))
	s.catalog.mu.Lock()
	defer s.catalog.mu.Unlock()
	s.catalog.newBindings--
	if s.catalog.binding[host]--; s.catalog.binding[host] == 0 {
		delete(s.catalog.binding, host)
	}
	if err != nil {
		s.catalog.secondariesOf(b.PE, host).Free(b.Secondary, false)
		return Binding{}, err
	}
	return b, nil
}

// claimBinding takes the PE with fewest bindings that has a secondary id left for
// the host, and the lowest such id that is not resting.
func (s *Service) claimBinding(row *volumeRow, host HostID) (Binding, error) {
	endpoints := s.options.Endpoints.List()
	c := s.catalog
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.bindings) + c.newBindings; n >= s.options.MaxBindings {
		return Binding{}, fmt.Errorf("%w: %d bindings", ErrTooMany, n)
	}
	if c.hosts[host] == nil || c.joining[host] {
		return Binding{}, fmt.Errorf("%w: host %s is becoming part of another", ErrBusy, host)
	}
	slices.SortStableFunc(endpoints, func(a, b ProtocolEndpoint) int { return cmp.Compare(c.onPE[a.ID], c.onPE[b.ID]) })
	for _, pe := range endpoints {
		id, ok := c.secondariesOf(pe.ID, host).Take()
		if !ok {
			continue
		}
		c.newBindings++
		c.binding[host]++
		c.counters.Binding++
		return Binding{ID: c.counters.Binding, VVol: row.ID, Host: host, PE: pe.ID, Secondary: id,
			Generation: row.Generation, Created: s.now()}, nil
	}
	if len(endpoints) == 0 {
		return Binding{}, fmt.Errorf("%w: the array has no protocol endpoint", ErrInvalid)
	}
	return Binding{}, fmt.Errorf("%w: host %s has %d bindings on every protocol endpoint", ErrTooMany, host, secondary.Max)
}

func (s *Service) bindingOf(id ID, host HostID) *bindingRow {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	for _, b := range s.catalog.ofVolume[id] {
		if b.Host == host {
			return b
		}
	}
	return nil
}

// Unbind takes a host's binding back: the endpoints detach it, which waits for
// running I/O, then the row goes. Errors: ErrNotFound.
func (s *Service) Unbind(ctx context.Context, id ID, initiator string) error {
	if _, ok := s.hostOf(initiator); !ok {
		return fmt.Errorf("%w: binding of vvol %v by %q", ErrNotFound, id, initiator)
	}
	return s.unbindWhere(ctx, id, true, func(b Binding) bool {
		host, ok := s.hostOf(initiator) // now: it may have been joined with another
		return ok && b.Host == host
	})
}

// UnbindByID is Unbind of a binding known by its number. Errors: ErrNotFound.
func (s *Service) UnbindByID(ctx context.Context, id BindingID) error {
	s.catalog.mu.RLock()
	b := s.catalog.bindings[id]
	s.catalog.mu.RUnlock()
	if b == nil {
		return fmt.Errorf("%w: binding %d", ErrNotFound, id)
	}
	return s.unbindWhere(ctx, b.VVol, true, func(b Binding) bool { return b.ID == id })
}

// UnbindAll drops all bindings of a volume; none is no error. Errors: ErrNotFound (volume).
func (s *Service) UnbindAll(ctx context.Context, id ID) error {
	return s.unbindWhere(ctx, id, false, func(Binding) bool { return true })
}

// UnbindHost drops all bindings of a host, several volumes at a time; none is no
// error. It goes on after an error and returns all. Errors: ErrNotFound (host).
func (s *Service) UnbindHost(ctx context.Context, host HostID) error {
	if _, err := s.Host(string(host)); err != nil {
		return err
	}
	bound := s.Bindings(BindingFilter{Host: host})
	volumes := make([]ID, len(bound))
	for i, b := range bound {
		volumes[i] = b.VVol
	}
	return s.inParallel(volumes, func(id ID) error {
		err := s.unbindWhere(ctx, id, false, func(b Binding) bool { return b.Host == host })
		if errors.Is(err, ErrNotFound) {
			return nil // unbound and deleted meanwhile
		}
		return err
	})
}

// unbindWhere drops the bindings of a volume that match. With must, none is ErrNotFound.
func (s *Service) unbindWhere(ctx context.Context, id ID, must bool, match func(Binding) bool) error {
	row, unlock, err := s.lockReady(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	found := 0
	for _, b := range s.Bindings(BindingFilter{VVol: &id}) {
		if !match(b) {
			continue
		}
		found++
		gone := new(batch).event("binding.removed", id.String(), "host "+string(b.Host))
		if err := s.dropRoute(ctx, &bindingRow{b}, row, gone); err != nil {
			return err
		}
	}
	if found == 0 && must {
		return fmt.Errorf("%w: binding of vvol %v", ErrNotFound, id)
	}
	return nil
}

// BindingFilter selects bindings that match all of its set fields.
type BindingFilter struct {
	VVol *ID
	Host HostID
	PE   PEID
}

// Bindings lists the bindings that match, oldest first.
func (s *Service) Bindings(f BindingFilter) []Binding {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	list := []Binding{}
	consider := func(r *bindingRow) {
		if (f.VVol == nil || r.VVol == *f.VVol) && (f.Host == "" || r.Host == f.Host) && (f.PE == "" || r.PE == f.PE) {
			list = append(list, r.Binding)
		}
	}
	switch {
	case f.VVol != nil:
		for _, r := range s.catalog.ofVolume[*f.VVol] {
			consider(r)
		}
	case f.Host != "":
		for _, r := range s.catalog.ofHost[f.Host] {
			consider(r)
		}
	default:
		for _, r := range s.catalog.bindings {
			consider(r)
		}
	}
	slices.SortFunc(list, func(a, b Binding) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// Binding returns a binding by number. Errors: ErrNotFound.
func (s *Service) Binding(id BindingID) (Binding, error) {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	if r := s.catalog.bindings[id]; r != nil {
		return r.Binding, nil
	}
	return Binding{}, fmt.Errorf("%w: binding %d", ErrNotFound, id)
}

// BindingInitiators lists the initiators of a binding's host.
func (s *Service) BindingInitiators(b Binding) []string {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	if h := s.catalog.hosts[b.Host]; h != nil {
		return slices.Clone(h.Initiators)
	}
	return nil
}

// MapLUN gives a volume a flat LUN of every host; without a number the lowest
// free one, or the one it has already. The same mapping again is no error.
// Errors: ErrNotFound, ErrInvalid (number; a prepared snapshot), ErrInUse (the
// number is taken), ErrTooMany, ErrStorage.
func (s *Service) MapLUN(ctx context.Context, id ID, lun *uint16) (LUNMapping, error) {
	row, unlock, err := s.lockReady(ctx, id)
	if err != nil {
		return LUNMapping{}, err
	}
	defer unlock()
	if row.State != Ready {
		return LUNMapping{}, fmt.Errorf("%w: vvol %v is %s", ErrInvalid, id, row.State)
	}
	m, known, err := s.claimLUN(id, lun)
	if err != nil {
		return LUNMapping{}, err
	}
	if known {
		return m, s.makeRoute(ctx, &lunRow{m}, row)
	}
	added := new(batch).put(&lunRow{m}).event("lun.mapped", id.String(), fmt.Sprintf("LUN %d", m.LUN))
	err = s.commit(ctx, added)
	s.catalog.mu.Lock()
	delete(s.catalog.takenLUNs, m.LUN)
	s.catalog.mu.Unlock()
	if err != nil {
		return LUNMapping{}, err
	}
	if err := s.makeNewRoute(ctx, &lunRow{m}, row); err != nil {
		return LUNMapping{}, err
	}
	return m, nil
}

// claimLUN finds the number: known tells that the mapping exists already.
func (s *Service) claimLUN(id ID, lun *uint16) (m LUNMapping, known bool, err error) {
	c := s.catalog
	c.mu.Lock()
	defer c.mu.Unlock()
	if lun == nil {
		if have := c.lunsOf[id]; len(have) > 0 {
			return LUNMapping{LUN: have[0], VVol: id}, true, nil
		}
		for n := uint16(0); n <= maxLUN; n++ {
			if c.luns[n] == nil && !c.takenLUNs[n] && !s.options.Endpoints.Busy(n) {
				c.takenLUNs[n] = true
				return LUNMapping{LUN: n, VVol: id}, false, nil
			}
		}
		return m, false, fmt.Errorf("%w: no LUN is free", ErrTooMany)
	}
	n := *lun
	switch r := c.luns[n]; {
	case n > maxLUN:
		return m, false, fmt.Errorf("%w: LUN %d, at most %d", ErrInvalid, n, maxLUN)
	case r != nil && r.VVol == id:
		return r.LUNMapping, true, nil
	case r != nil:
		return m, false, fmt.Errorf("%w: LUN %d is %v", ErrInUse, n, r.VVol)
	case c.takenLUNs[n] || s.options.Endpoints.Busy(n):
		return m, false, fmt.Errorf("%w: LUN %d is taken", ErrInUse, n)
	}
	c.takenLUNs[n] = true
	return LUNMapping{LUN: n, VVol: id}, false, nil
}

// UnmapLUN takes an alias back as Unbind does a binding. Errors: ErrNotFound.
func (s *Service) UnmapLUN(ctx context.Context, lun uint16) error {
	m, ok := s.mapping(lun)
	if !ok {
		return fmt.Errorf("%w: LUN %d", ErrNotFound, lun)
	}
	row, unlock, err := s.lockReady(ctx, m.VVol)
	if err != nil {
		return err
	}
	defer unlock()
	if again, ok := s.mapping(lun); !ok || again != m {
		return fmt.Errorf("%w: LUN %d", ErrNotFound, lun)
	}
	return s.dropRoute(ctx, &lunRow{m}, row, new(batch).event("lun.unmapped", row.ID.String(), fmt.Sprintf("LUN %d", lun)))
}

func (s *Service) mapping(lun uint16) (LUNMapping, bool) {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	if r := s.catalog.luns[lun]; r != nil {
		return r.LUNMapping, true
	}
	return LUNMapping{}, false
}

// LUNMappings lists the aliases, ordered by LUN.
func (s *Service) LUNMappings() []LUNMapping {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	list := make([]LUNMapping, 0, len(s.catalog.luns))
	for _, r := range s.catalog.luns {
		list = append(list, r.LUNMapping)
	}
	slices.SortFunc(list, func(a, b LUNMapping) int { return cmp.Compare(a.LUN, b.LUN) })
	return list
}

// inParallel runs f once for each volume, at most Options.AttachParallel at a
// time, and waits for all. Of the errors it returns the first few.
func (s *Service) inParallel(ids []ID, f func(ID) error) error {
	const errorsKept = 8
	var (
		mu   sync.Mutex // guards next and errs
		next int
		errs []error
		work sync.WaitGroup
	)
	take := func() (ID, bool) {
		mu.Lock()
		defer mu.Unlock()
		if next == len(ids) {
			return ID{}, false
		}
		next++
		return ids[next-1], true
	}
	for range min(s.options.AttachParallel, len(ids)) {
		work.Go(func() {
			for id, ok := take(); ok; id, ok = take() {
				err := f(id)
				if err == nil {
					continue
				}
				mu.Lock()
				if len(errs) < errorsKept {
					errs = append(errs, err)
				}
				mu.Unlock()
			}
		})
	}
	work.Wait()
	return errors.Join(errs...)
}
