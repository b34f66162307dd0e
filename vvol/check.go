package vvol

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"vvsim/vvol/index"
	"vvsim/vvol/secondary"
	"vvsim/vvol/store"
)

// problemsKept bounds the problems that one Check reports.
const problemsKept = 32

// problems collects what Check finds.
type problems struct {
	errs []error
	more int
}

func (p *problems) add(format string, args ...any) {
	if len(p.errs) >= problemsKept {
		p.more++
		return
	}
	p.errs = append(p.errs, fmt.Errorf("%w: "+format, append([]any{ErrStorage}, args...)...))
}

func (p *problems) err() error {
	if p.more > 0 {
		return errors.Join(append(p.errs, fmt.Errorf("%w: and %d problems more", ErrStorage, p.more))...)
	}
	return errors.Join(p.errs...)
}

// Check compares the index in memory with the rows, the rows with each other, the
// catalog with the engine, and bindings with the endpoints. It may run beside
// operations; commits wait while rows are compared. The error joins what is wrong
// (ErrStorage), nil when all is well.
func (s *Service) Check(ctx context.Context) error {
	p := &problems{}
	if err := s.checkRows(ctx, p); err != nil {
		return err
	}
	if err := s.checkEngine(ctx, p); err != nil {
		return err
	}
	return p.err()
}

// checkRows compares memory with Meta under the commit lock. Rows are never
// changed in place, so that they may be compared without the catalog's lock.
func (s *Service) checkRows(ctx context.Context, p *problems) error {
	s.committer.lead.Lock()
	defer s.committer.lead.Unlock()
	var (
		fresh *catalog
		rows  map[string]record
	)
	err := s.options.Engine.Meta().View(ctx, func(tx store.MetaTx) error {
		fresh, rows = newCatalog(), map[string]record{}
		return loadRows(tx, func(r record) { r.put(fresh); rows[r.key()] = r })
	})
	if err != nil {
		return translate(err)
	}
	endpoints := s.options.Endpoints.List()
	s.catalog.mu.RLock()
	records, got := s.catalog.records(), s.catalog.shape()
	for name := range fresh.reserved {
		s.catalog.checkReservation(name, p)
		delete(rows, prefixReservation+name)
	}
	if !maps.Equal(fresh.reserved, s.catalog.reserved) {
		p.add("reservation states of %d units, the rows have %d or others", len(s.catalog.reserved), len(fresh.reserved))
	}
	s.catalog.checkReferences(p, endpoints)
	s.catalog.mu.RUnlock()
	s.checkShares(p)
	for _, r := range records {
		kept := rows[r.key()]
		delete(rows, r.key())
		if kept == nil {
			p.add("row %q is in memory only", r.key())
		} else if !sameRow(r, kept) {
			p.add("row %q differs between memory and Meta", r.key())
		}
	}
	delete(rows, prefixCounters)
	for k := range rows {
		p.add("row %q is in Meta only", k)
	}
	if want := fresh.shape(); got != want {
		p.add("indexes hold %s, the rows %s", got, want)
	}
	return nil
}

// checkShares adds up what thick volumes reserve.
func (s *Service) checkShares(p *problems) {
	s.capacity.mu.Lock()
	defer s.capacity.mu.Unlock()
	var shares, reserved uint64
	for _, n := range s.capacity.shares {
		shares += n
	}
	for _, n := range s.capacity.reserved {
		reserved += n
	}
	if shares != reserved {
		p.add("thick volumes reserve %d bytes, in their containers %d", shares, reserved)
	}
}

func (c *catalog) checkReservation(name string, p *problems) {
	id, err := ParseID(name)
	if err == nil && c.volumes[id] == nil {
		p.add("reservation state of vvol %v, which does not exist", id)
	}
}

// records lists the rows in memory that loadRows reads, but the counters, which
// run ahead of theirs.
func (c *catalog) records() []record {
	var list []record
	for _, r := range c.containers {
		list = append(list, r)
	}
	for _, r := range c.pools {
		list = append(list, r)
	}
	for _, r := range c.volumes {
		list = append(list, r)
	}
	for _, r := range c.bindings {
		list = append(list, r)
	}
	for _, r := range c.hosts {
		list = append(list, r)
	}
	for _, r := range c.luns {
		list = append(list, r)
	}
	for _, r := range c.tasks.All() {
		list = append(list, r)
	}
	for _, r := range c.events.All() {
		list = append(list, r)
	}
	return list
}

// sameRow compares as written. The progress of a running task is kept in memory only.
func sameRow(a, b record) bool {
	if ta, ok := a.(*taskRow); ok && ta.State == TaskRunning {
		copied := *ta
		copied.Progress = b.(*taskRow).Progress
		a = &copied
	}
	va, errA := a.encode()
	vb, errB := b.encode()
	return errA == nil && errB == nil && bytes.Equal(va, vb)
}

// shape sums the indexes up: two catalogs of the same rows have the same.
func (c *catalog) shape() string {
	return fmt.Sprint(sum(c.byName, (*index.Set[ID]).Size), sum(c.byPair, (*index.Set[ID]).Size), sum(c.byKey, (*index.Set[ID]).Size),
		sum(c.bySource, (*index.Set[ID]).Size), sum(c.byContainer, (*index.Set[ID]).Size), sum(c.byPool, (*index.Set[ID]).Size), sum(c.byWarning, (*index.Set[ID]).Size),
		sum(c.poolsIn, (*index.Set[ID]).Size), len(c.emptied),
		sum(c.ofVolume, func(l []*bindingRow) int { return len(l) }),
		sum(c.ofHost, func(m map[BindingID]*bindingRow) int { return len(m) }),
		sum(c.lunsOf, func(l []uint16) int { return len(l) }),
		c.onPE, len(c.initiators), len(c.named), c.tasks.Len(), len(c.unfinished), c.ended.Len(), c.events.Len())
}

// sum counts the keys of an index and what is under them.
func sum[K comparable, V any](m map[K]V, size func(V) int) (n [2]int) {
	for _, v := range m {
		n[0]++
		n[1] += size(v)
	}
	return n
}

// checkReferences tests the rows against each other and the endpoints.
func (c *catalog) checkReferences(p *problems, endpoints []ProtocolEndpoint) {
	type handle struct {
		at peHost
		id uint64
	}
	taken, serials := map[handle]BindingID{}, map[uint64]ID{}
	for _, b := range c.bindings {
		k := handle{peHost{b.PE, b.Host}, b.Secondary}
		if other, has := taken[k]; has {
			p.add("bindings %d and %d share secondary id %d", b.ID, other, b.Secondary)
		}
		taken[k] = b.ID
		if v := c.volumes[b.VVol]; v == nil || !v.listable() {
			p.add("binding %d of vvol %v, which cannot be bound", b.ID, b.VVol)
		}
		if c.hosts[b.Host] == nil {
			p.add("binding %d of unknown host %s", b.ID, b.Host)
		}
		if !slices.ContainsFunc(endpoints, func(e ProtocolEndpoint) bool { return e.ID == b.PE }) {
			p.add("binding %d is on protocol endpoint %s, which the array does not have", b.ID, b.PE)
		}
		if b.ID > c.counters.Binding || b.Secondary < 1 || b.Secondary > secondary.Max {
			p.add("binding %d has secondary id %d, counter %d", b.ID, b.Secondary, c.counters.Binding)
		}
	}
	for _, m := range c.luns {
		if v := c.volumes[m.VVol]; v == nil || !v.listable() {
			p.add("LUN %d is vvol %v, which cannot be mapped", m.LUN, m.VVol)
		}
	}
	for _, v := range c.volumes {
		if other, has := serials[v.Serial]; has || v.Serial == 0 || v.Serial > c.counters.Serial {
			p.add("vvols %v and %v have serial %d", v.ID, other, v.Serial)
		}
		serials[v.Serial] = v.ID
		if c.containers[v.Container] == nil {
			p.add("vvol %v is in container %v, which does not exist", v.ID, v.Container)
		}
		if v.Pool != (ID{}) && c.pools[v.Pool] == nil {
			p.add("vvol %v draws on pool %v, which has no row", v.ID, v.Pool)
		}
		if settled := v.State == Ready || v.State == Prepared; settled != (v.Intent == nil) {
			p.add("vvol %v is %s, intent %v", v.ID, v.State, v.Intent)
		}
	}
	for id := range c.attached {
		if c.bindings[id] == nil {
			p.add("binding %d is attached and has no row", id)
		}
	}
}

// Unattached lists the bindings and aliases whose routes could not be made; only
// meaningful after Start.
func (s *Service) Unattached() (bindings []Binding, luns []LUNMapping) {
	for _, b := range s.Bindings(BindingFilter{}) {
		if !s.isMade(&bindingRow{b}) {
			bindings = append(bindings, b)
		}
	}
	for _, m := range s.LUNMappings() {
		if !s.isMade(&lunRow{m}) {
			luns = append(luns, m)
		}
	}
	return bindings, luns
}

// checkEngine compares volumes both ways. What changes meanwhile is looked at again.
func (s *Service) checkEngine(ctx context.Context, p *problems) error {
	engine := s.options.Engine
	have, err := engine.Volumes(ctx)
	if err != nil {
		return translate(err)
	}
	s.catalog.mu.RLock()
	rows := make(map[ID]*volumeRow, len(s.catalog.volumes))
	for id, r := range s.catalog.volumes {
		rows[id] = r
	}
	s.catalog.mu.RUnlock()
	for _, id := range have {
		if r := rows[ID(id)]; r != nil && r.State != Prepared || s.row(ID(id)) != nil {
			continue
		}
		if _, err := engine.Stat(ctx, id); err == nil && s.row(ID(id)) == nil {
			p.add("the engine has volume %v, the catalog has not", ID(id))
		}
	}
	for id, r := range rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.State != Ready {
			continue
		}
		info, err := engine.Stat(ctx, store.ID(id))
		if s.row(id) != r {
			continue // changed meanwhile
		}
		switch {
		case err != nil:
			p.add("vvol %v: %v", id, err)
		case info.Size != r.Size || info.ReadOnly != r.ReadOnly:
			p.add("vvol %v has %d bytes, read-only %t; in the engine %d, %t", id, r.Size, r.ReadOnly, info.Size, info.ReadOnly)
		case info.Pool != r.poolOf():
			p.add("vvol %v draws on pool %v, in the engine %v", id, r.poolOf(), info.Pool)
		}
	}
	return nil
}
