package vvol

import (
	"context"
	"errors"
	"fmt"
)

// route is a row that the endpoints turn into a way to a volume: a binding or a
// flat alias. Whether that has been done is memory of the process.
type route interface {
	record
	String() string
	kind() string // of its events: "binding" or "lun"
	made(c *catalog) bool
	mark(c *catalog, made bool)
	publish(ctx context.Context, s *Service, v VirtualVolume) error
	withdraw(ctx context.Context, s *Service) error
}

func (r *bindingRow) String() string       { return fmt.Sprintf("binding %d of host %s", r.ID, r.Host) }
func (r *bindingRow) kind() string         { return "binding" }
func (r *bindingRow) made(c *catalog) bool { return c.attached[r.ID] }

func (r *bindingRow) mark(c *catalog, made bool) {
	if c.attached[r.ID] = made; !made {
		delete(c.attached, r.ID)
	}
}

func (r *bindingRow) publish(ctx context.Context, s *Service, v VirtualVolume) error {
	return s.options.Endpoints.Attach(ctx, r.Binding, v, s.BindingInitiators(r.Binding))
}

func (r *bindingRow) withdraw(ctx context.Context, s *Service) error {
	return s.options.Endpoints.Detach(ctx, r.Binding)
}

func (r *lunRow) String() string       { return fmt.Sprintf("LUN %d", r.LUN) }
func (r *lunRow) kind() string         { return "lun" }
func (r *lunRow) made(c *catalog) bool { return c.mapped[r.LUN] }

func (r *lunRow) mark(c *catalog, made bool) {
	if c.mapped[r.LUN] = made; !made {
		delete(c.mapped, r.LUN)
	}
}

func (r *lunRow) publish(ctx context.Context, s *Service, v VirtualVolume) error {
	return s.options.Endpoints.Map(ctx, r.LUNMapping, v)
}

func (r *lunRow) withdraw(ctx context.Context, s *Service) error {
	return s.options.Endpoints.Unmap(ctx, r.LUNMapping)
}

func (s *Service) isMade(r route) bool {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	return r.made(s.catalog)
}

func (s *Service) mark(r route, made bool) {
	s.catalog.mu.Lock()
	defer s.catalog.mu.Unlock()
	r.mark(s.catalog, made)
}

// makeRoute publishes a route whose row is committed, if that is still to be done.
func (s *Service) makeRoute(ctx context.Context, r route, row *volumeRow) error {
	if s.isMade(r) {
		return nil
	}
	if err := r.publish(ctx, s, row.copyOut()); err != nil {
		return translate(err)
	}
	s.mark(r, true)
	return nil
}

// makeNewRoute is makeRoute for a row that was committed just now, which goes
// again when the endpoints refuse it.
func (s *Service) makeNewRoute(ctx context.Context, r route, row *volumeRow) error {
	err := s.makeRoute(ctx, r, row)
	if err == nil {
		return nil
	}
	gone := new(batch).drop(r).event(r.kind()+".failed", row.ID.String(), err.Error())
	if e := s.commit(ctx, gone); e != nil {
		err = errors.Join(err, e)
	}
	return err
}

// dropRoute withdraws a route, which waits for running I/O, then removes its row.
// It goes through once it has begun: a caller that left must not leave a route
// half withdrawn. When it fails, the route is made again.
func (s *Service) dropRoute(ctx context.Context, r route, row *volumeRow, gone *batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	draining, cancel := context.WithTimeout(ctx, s.options.DrainTimeout)
	defer cancel()
	s.mark(r, false)
	err := r.withdraw(draining, s)
	if err != nil {
		err = fmt.Errorf("%w: withdrawing %v: %w", ErrBusy, r, err)
	} else {
		err = s.commit(ctx, gone.drop(r))
	}
	if err != nil {
		if e := s.makeRoute(ctx, r, row); e != nil {
			err = errors.Join(err, e)
		}
	}
	return err
}

// routesOf lists the routes to a volume: bindings, oldest first, then aliases.
func (s *Service) routesOf(id ID) (all []route) {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	for _, b := range s.catalog.ofVolume[id] {
		all = append(all, b)
	}
	for _, n := range s.catalog.lunsOf[id] {
		all = append(all, s.catalog.luns[n])
	}
	return all
}
