package pe

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"vvsim/scsi"
	"vvsim/vvol"
	"vvsim/vvol/store"
)

// attachment is one binding as the data path sees it: a route for each initiator
// of the host, all through one protocol endpoint.
type attachment struct {
	endpoint *endpoint
	key      uint64 // in each host's table
	hosts    []*host
	route    *route
}

// Attach implements vvol.Endpoints.
func (t *Target) Attach(ctx context.Context, b vvol.Binding, v vvol.VirtualVolume, initiators []string) error {
	e := t.endpoint(b.PE)
	if e == nil {
		return fmt.Errorf("%w: protocol endpoint %s", vvol.ErrNotFound, b.PE)
	}
	t.mu.Lock()
	a := t.attached[b.ID]
	t.mu.Unlock()
	if a == nil {
		u, err := t.acquire(ctx, v)
		if err != nil {
			return err
		}
		a = &attachment{endpoint: e, key: subsidiaryKey(e.LUN, b.Secondary), route: newRoute(u, u.front)}
	}
	fresh := &attachment{endpoint: e}
	t.mu.Lock()
	for _, name := range initiators {
		if slices.ContainsFunc(a.hosts, func(h *host) bool { return h.name == name }) {
			continue
		}
		h := t.retain(name)
		h.subs.put(a.key, a.route)
		a.hosts, fresh.hosts = append(a.hosts, h), append(fresh.hosts, h)
	}
	t.attached[b.ID] = a
	t.mu.Unlock()
	t.announce(fresh)
	return nil
}

// announce raises the unit attention that tells a host to read the protocol
// endpoint's list again (scsi.md 1.5, 6.4): on that PE, for that host, and
// nowhere else.
func (t *Target) announce(a *attachment) {
	code := t.o.Knobs().BindAttention
	if code == 0 {
		return
	}
	a.endpoint.lu.Attention(code, func(n *scsi.Nexus) bool { return a.serves(n) })
}

func (a *attachment) serves(n *scsi.Nexus) bool {
	return slices.ContainsFunc(a.hosts, func(h *host) bool { return h.name == n.Initiator })
}

// Detach implements vvol.Endpoints.
func (t *Target) Detach(ctx context.Context, b vvol.Binding) error {
	t.mu.Lock()
	a := t.attached[b.ID]
	if a == nil {
		t.mu.Unlock()
		return nil
	}
	delete(t.attached, b.ID)
	for _, h := range a.hosts {
		h.subs.remove(a.key, a.route)
	}
	users := t.nexusesOf(a.serves)
	t.mu.Unlock()
	t.announce(a)
	t.drain(ctx, a.route, users)
	t.mu.Lock()
	for _, h := range a.hosts {
		t.release(h)
	}
	t.mu.Unlock()
	return t.abandon(a.route.unit)
}

// drain closes a withdrawn route and waits for its commands; after the drain
// timeout those that are left are aborted, and those alone: the unit may have other
// routes. users are the nexuses that had the route when it was withdrawn; the unit
// forgets those that have no other way to it.
func (t *Target) drain(ctx context.Context, r *route, users map[*scsi.Nexus]*host) {
	r.close()
	bounded, cancel := context.WithTimeout(ctx, t.o.DrainTimeout)
	defer cancel()
	if r.wait(bounded) != nil {
		r.unit.lu.AbortTasks(r.carries)
		// An aborted command ends when the engine lets go of it.
		_ = r.wait(context.WithoutCancel(ctx))
	}
	for n, h := range users {
		if !t.reaches(h, r.unit) {
			r.lu.NexusLost(n)
		}
	}
}

// reaches tells whether h still has a route to u.
func (t *Target) reaches(h *host, u *unit) bool {
	for _, r := range t.disks.all {
		if r.unit == u {
			return true
		}
	}
	for _, r := range h.subs.all {
		if r.unit == u {
			return true
		}
	}
	return false
}

// nexusesOf is called with mu held.
func (t *Target) nexusesOf(uses func(*scsi.Nexus) bool) map[*scsi.Nexus]*host {
	all := map[*scsi.Nexus]*host{}
	for n, h := range t.nexuses {
		if uses(n) {
			all[n] = h
		}
	}
	return all
}

// acquire returns the unit of a volume for one more route, opening it for the
// first. No lock is held meanwhile: an engine that is slow here delays no login and
// no other volume. Calls for one volume do not overlap (vvol.Endpoints).
func (t *Target) acquire(ctx context.Context, v vvol.VirtualVolume) (*unit, error) {
	t.mu.Lock()
	u := t.units[v.ID]
	if u != nil {
		u.refs++
	}
	t.mu.Unlock()
	if u != nil {
		u.setQuality(v.Quality)
		return u, nil
	}
	o, err := t.o.Engine.Open(ctx, store.ID(v.ID))
	if err != nil {
		return nil, err
	}
	u = &unit{volume: v.ID, name: v.Name, naa: VolumeNAA(t.o.ArrayID, v), object: o, refs: 1}
	if u.lu, err = t.newVolumeUnit(u, v); err != nil {
		return nil, errors.Join(err, o.Close())
	}
	u.front = &throttle{LogicalUnit: u.lu}
	u.setQuality(v.Quality)
	t.mu.Lock()
	t.units[v.ID], t.byNAA[u.naa] = u, u
	t.mu.Unlock()
	return u, nil
}

// abandon gives a route's use of its unit back and closes the unit after the last.
func (t *Target) abandon(u *unit) error {
	t.mu.Lock()
	u.refs--
	last := u.refs == 0
	if last {
		delete(t.units, u.volume)
		delete(t.byNAA, u.naa)
	}
	t.mu.Unlock()
	if !last {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), t.o.DrainTimeout)
	defer cancel()
	return errors.Join(u.lu.Remove(ctx), u.object.Close())
}

// Map implements vvol.Endpoints.
func (t *Target) Map(ctx context.Context, m vvol.LUNMapping, v vvol.VirtualVolume) error {
	t.mu.Lock()
	known := t.mapped[m.LUN] != nil
	t.mu.Unlock()
	if known {
		return nil
	}
	u, err := t.acquire(ctx, v)
	if err != nil {
		return err
	}
	r := newRoute(u, u.front)
	t.mu.Lock()
	t.mapped[m.LUN] = r
	t.disks.put(uint64(m.LUN), r)
	t.mu.Unlock()
	t.announceDisks(r)
	return nil
}

// Unmap implements vvol.Endpoints.
func (t *Target) Unmap(ctx context.Context, m vvol.LUNMapping) error {
	t.mu.Lock()
	r := t.mapped[m.LUN]
	if r == nil {
		t.mu.Unlock()
		return nil
	}
	delete(t.mapped, m.LUN)
	t.disks.remove(uint64(m.LUN), r)
	users := t.nexusesOf(func(*scsi.Nexus) bool { return true })
	t.mu.Unlock()
	t.announceDisks(r)
	t.drain(ctx, r, users)
	return t.abandon(r.unit)
}

// announceDisks raises REPORTED LUNS DATA HAS CHANGED on the ordinary logical
// units beside the changed one (SPC-4 6.33; scsi.md 2.7).
func (t *Target) announceDisks(changed *route) {
	for _, r := range t.disks.all {
		if r.unit != changed.unit {
			r.unit.lu.Attention(scsi.ReportedLUNsDataChanged, nil)
		}
	}
}

// Changed implements vvol.Endpoints.
func (t *Target) Changed(v vvol.VirtualVolume, capacity, _ bool) {
	if u := t.unit(v.ID); u != nil && capacity {
		u.lu.Attention(scsi.CapacityDataChanged, nil)
	}
}

// SetQuality implements vvol.Endpoints.
func (t *Target) SetQuality(v vvol.VirtualVolume) {
	if u := t.unit(v.ID); u != nil {
		u.setQuality(v.Quality)
	}
}

// Quality implements vvol.Endpoints.
func (t *Target) Quality(id vvol.ID) (vvol.Quality, bool) {
	if u := t.unit(id); u != nil {
		return u.quality(), true
	}
	return vvol.Quality{}, false
}

// unit returns the logical unit of an attached volume, or nil.
func (t *Target) unit(id vvol.ID) *unit {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.units[id]
}

// Busy implements vvol.Endpoints.
func (t *Target) Busy(n uint16) bool {
	return t.pes.get(uint64(n)) != nil || t.disks.get(uint64(n)) != nil
}

// List implements vvol.Endpoints.
func (t *Target) List() []vvol.ProtocolEndpoint {
	all := make([]vvol.ProtocolEndpoint, 0, len(t.endpoints))
	for _, e := range t.endpoints {
		all = append(all, vvol.ProtocolEndpoint{ID: e.id, Name: e.Name, LUN: e.LUN})
	}
	return all
}

func (t *Target) endpoint(id vvol.PEID) *endpoint {
	for _, e := range t.endpoints {
		if e.id == id {
			return e
		}
	}
	return nil
}

var _ vvol.Endpoints = (*Target)(nil)
