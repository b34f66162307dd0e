package vvol

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// attachTries is how often a binding is attached that has become another host's: its row
// is written, and the host uses it.
const attachTries = 3

// conflictQuiet is how long a conflict that was reported is not reported again, and
// conflictsKept how many are remembered for that.
const (
	conflictQuiet = time.Minute
	conflictsKept = 1024
)

// DeclareHost notes that a host has a GUID and these initiators, as the host itself says.
// Rows of hosts that were known by one of the initiators alone become part of it; their
// bindings keep their numbers and handles, and are attached for all of its initiators.
// Initiators that it had and does not name stay, as commands may be on their way. live
// tells that the host that declared itself before under this GUID is there as well.
//
// Two hosts with one GUID cannot be told apart, and binds of one would go to the other:
// when the host is live or has bindings and names none of the initiators that it had, that
// is a conflict, and so is an initiator of a host with another GUID that has bindings. A
// conflict is ErrInUse and an event "host.conflict", and nothing changes; where nothing is
// bound, the last declaration counts, with an event "host.changed". Two bindings that would get the
// same handle are a conflict as well.
//
// Other errors: ErrInvalid, ErrTooMany, ErrBusy (a binding is being made; try again).
func (s *Service) DeclareHost(ctx context.Context, guid string, initiators []string, live bool) (Host, error) {
	end, err := s.begin(ctx)
	if err != nil {
		return Host{}, err
	}
	defer end()
	initiators, err = checkDeclaration(guid, initiators)
	if err != nil {
		return Host{}, err
	}
	if h, ok := s.declared(guid, initiators); ok {
		return h, nil
	}
	j := &join{id: HostID(guid), initiators: initiators, live: live}
	release, err := j.lock(ctx, s)
	if err != nil {
		return Host{}, err
	}
	defer release()
	if err := j.plan(s); err != nil {
		return Host{}, s.reportConflict(ctx, guid, err)
	}
	if err := s.commit(ctx, j.batch()); err != nil {
		return Host{}, err
	}
	return j.host.copyOut(), j.attach(ctx, s)
}

func checkDeclaration(guid string, initiators []string) ([]string, error) {
	if guid == "" || len(guid) > maxGUID || strings.ContainsAny(guid, " /?#%") {
		return nil, fmt.Errorf("%w: host GUID %q", ErrInvalid, guid)
	}
	if err := checkText("host GUID", guid); err != nil {
		return nil, err
	}
	if checkInitiator(guid) == nil {
		return nil, fmt.Errorf("%w: host GUID %q is an initiator name", ErrInvalid, guid)
	}
	initiators = slices.Compact(slices.Sorted(slices.Values(initiators)))
	if n := len(initiators); n < 1 || n > maxInitiators {
		return nil, fmt.Errorf("%w: host %s with %d initiators, must be 1 to %d", ErrInvalid, guid, n, maxInitiators)
	}
	return initiators, CheckInitiators(initiators)
}

// declared returns the host if nothing about it is new.
func (s *Service) declared(guid string, initiators []string) (Host, bool) {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	row := s.catalog.hosts[HostID(guid)]
	if row == nil || slices.ContainsFunc(initiators, func(n string) bool { return !slices.Contains(row.Initiators, n) }) {
		return Host{}, false
	}
	return row.copyOut(), true
}

// reportConflict makes an event and an alarm of a conflict, and returns it.
func (s *Service) reportConflict(ctx context.Context, guid string, conflict error) error {
	if !errors.Is(conflict, ErrInUse) || !s.conflicts.Fresh(conflict.Error(), s.now(), conflictQuiet, conflictsKept) {
		return conflict
	}
	s.alarmConflict(guid, conflict.Error())
	b := new(batch).event(HostConflict, guid, conflict.Error())
	b.events[0].Status = Red
	return errors.Join(conflict, s.commit(ctx, b))
}

// join is one declaration on its way.
type join struct {
	id         HostID
	initiators []string
	live       bool

	volumes map[ID]*volumeRow // that the hosts are bound to, locked
	old     *hostRow          // of the GUID, or nil
	host    *hostRow          // as it will be
	gone    []*hostRow        // rows that become part of it, or lose their last initiator
	robbed  []*hostRow        // rows of other hosts without the initiators that go
	moved   []*bindingRow     // as they were
	twice   []*bindingRow     // bindings of a volume that another one has with the same handle
	changed string            // what was replaced, for an event
}

// touched lists the hosts that a declaration is about. Called with the catalog's lock held.
func (j *join) touched(c *catalog) []HostID {
	ids := []HostID{j.id}
	for _, name := range j.initiators {
		if id, ok := c.initiators[name]; ok {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// lock keeps the hosts from getting further bindings, locks the volumes that they are
// bound to, and keeps rows of the initiators from being made.
func (j *join) lock(ctx context.Context, s *Service) (release func(), err error) {
	free, err := j.claim(s)
	if err != nil {
		return nil, err
	}
	var ids []ID
	s.catalog.mu.RLock()
	for _, host := range j.touched(s.catalog) {
		for _, b := range s.catalog.ofHost[host] {
			ids = append(ids, b.VVol)
		}
	}
	s.catalog.mu.RUnlock()
	rows, unlock, err := s.lockVolumes(ctx, ids, nil)
	if errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("%w: a binding of host %s went just now", ErrBusy, j.id)
	}
	if err != nil {
		free()
		return nil, err
	}
	j.volumes = map[ID]*volumeRow{}
	for _, r := range rows {
		j.volumes[r.ID] = r
	}
	names := []string{hostLock(j.id)}
	for _, name := range j.initiators {
		names = append(names, hostLock(HostID(name)))
	}
	done, err := s.locks.Acquire(ctx, names...)
	if err != nil {
		unlock()
		free()
		return nil, err
	}
	return func() { done(); unlock(); free() }, nil
}

// claim marks the hosts as becoming one.
func (j *join) claim(s *Service) (free func(), err error) {
	c := s.catalog
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := j.touched(c)
	for _, id := range ids {
		if c.joining[id] || c.binding[id] > 0 {
			return nil, fmt.Errorf("%w: host %s is being bound or declared", ErrBusy, id)
		}
	}
	for _, id := range ids {
		c.joining[id] = true
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, id := range ids {
			delete(c.joining, id)
		}
	}, nil
}

// plan decides what becomes of the rows, or finds a conflict.
func (j *join) plan(s *Service) error {
	c := s.catalog
	c.mu.RLock()
	defer c.mu.RUnlock()
	if j.old = c.hosts[j.id]; j.old == nil && len(c.hosts) >= s.options.MaxHosts {
		return fmt.Errorf("%w: %d hosts", ErrTooMany, len(c.hosts))
	}
	j.host = &hostRow{Host{ID: j.id, GUID: string(j.id), Initiators: slices.Clone(j.initiators), FirstSeen: s.now()}}
	bindings, err := j.planOld(c)
	if err != nil {
		return err
	}
	for _, id := range j.touched(c) {
		row := c.hosts[id]
		if row == nil || id == j.id {
			continue
		}
		if !c.joining[id] {
			return fmt.Errorf("%w: host %s came just now", ErrBusy, id)
		}
		if row.GUID != "" {
			if err := j.rob(c, row); err != nil {
				return err
			}
			continue
		}
		j.gone = append(j.gone, row)
		if row.FirstSeen.Before(j.host.FirstSeen) {
			j.host.FirstSeen = row.FirstSeen
		}
		for _, b := range c.ofHost[id] {
			bindings, j.moved = append(bindings, b), append(j.moved, b)
		}
	}
	return j.planHandles(bindings)
}

// planOld keeps what the GUID's host had, unless another one took its place.
func (j *join) planOld(c *catalog) (bindings []*bindingRow, err error) {
	if j.old == nil {
		return nil, nil
	}
	j.host.FirstSeen = j.old.FirstSeen
	for _, b := range c.ofHost[j.id] {
		bindings = append(bindings, b)
	}
	if !slices.ContainsFunc(j.initiators, func(n string) bool { return slices.Contains(j.old.Initiators, n) }) {
		if j.live || len(bindings) > 0 {
			return nil, fmt.Errorf("%w: two hosts have GUID %s: one has initiators %s and %d bindings, the other %s", ErrInUse, j.id,
				strings.Join(j.old.Initiators, " "), len(bindings), strings.Join(j.initiators, " "))
		}
		j.changed = "instead of " + strings.Join(j.old.Initiators, " ")
		return nil, nil
	}
	j.host.Initiators = slices.Compact(slices.Sorted(slices.Values(slices.Concat(j.initiators, j.old.Initiators))))
	if n := len(j.host.Initiators); n > maxInitiators {
		return nil, fmt.Errorf("%w: host %s has %d initiators, with those that it had before", ErrTooMany, j.id, n)
	}
	return bindings, nil
}

// rob takes initiators from a host with another GUID.
func (j *join) rob(c *catalog, row *hostRow) error {
	left := slices.DeleteFunc(slices.Clone(row.Initiators), func(n string) bool { return slices.Contains(j.initiators, n) })
	if n := len(c.ofHost[row.ID]); n > 0 {
		return fmt.Errorf("%w: host %s claims an initiator of host %s, which has %d bindings: %s", ErrInUse, j.id, row.ID, n,
			strings.Join(row.Initiators, " "))
	}
	j.changed = strings.TrimSpace(j.changed + " initiators of " + string(row.ID))
	if len(left) == 0 {
		j.gone = append(j.gone, row)
		return nil
	}
	next := *row
	next.Initiators = left
	j.robbed = append(j.robbed, &next)
	return nil
}

// planHandles sees to it that no two bindings of the host have one handle.
func (j *join) planHandles(bindings []*bindingRow) error {
	type handle struct {
		pe        PEID
		secondary uint64
	}
	slices.SortFunc(bindings, func(a, b *bindingRow) int { return cmp.Compare(a.ID, b.ID) })
	taken := map[handle]*bindingRow{}
	for _, b := range bindings {
		if j.volumes[b.VVol] == nil {
			return fmt.Errorf("%w: binding %d came just now", ErrBusy, b.ID)
		}
		h := handle{b.PE, b.Secondary}
		first := taken[h]
		switch {
		case first == nil:
			taken[h] = b
		case first.VVol == b.VVol:
			j.twice = append(j.twice, b)
		default:
			return fmt.Errorf("%w: as one host, %s would have bindings %d and %d under one handle", ErrInUse, j.id, first.ID, b.ID)
		}
	}
	return nil
}

func (j *join) batch() *batch {
	b := new(batch)
	for _, row := range j.gone {
		b.drop(row)
	}
	for _, row := range j.robbed {
		b.put(row)
	}
	b.put(j.host)
	for _, r := range slices.Concat(j.moved, j.twice) { // all before one takes another's handle
		b.drop(r)
	}
	for _, r := range j.moved {
		if !slices.Contains(j.twice, r) {
			b.put(j.of(r))
		}
	}
	text := strings.Join(j.host.Initiators, " ")
	if j.changed == "" {
		return b.event("host.declared", string(j.id), text)
	}
	b.event("host.changed", string(j.id), text+" "+j.changed)
	b.events[0].Status = Yellow
	return b
}

// of is a binding as the host has it.
func (j *join) of(r *bindingRow) *bindingRow {
	next := *r
	next.Host = j.id
	return &next
}

// attach lets the host reach its bindings by all initiators, and withdraws those that
// were there twice. One that cannot be attached is reported, and tried again by Bind.
func (j *join) attach(ctx context.Context, s *Service) error {
	ctx = context.WithoutCancel(ctx)
	failed := new(batch)
	for _, b := range s.Bindings(BindingFilter{Host: j.id}) {
		r, row := &bindingRow{b}, j.volumes[b.VVol]
		err := r.publish(ctx, s, row.copyOut())
		for try := 1; err != nil && try < attachTries; try++ {
			err = r.publish(ctx, s, row.copyOut())
		}
		if s.mark(r, err == nil); err != nil {
			failed.event("binding.failed", b.VVol.String(), fmt.Sprintf("%v: %v", r, err))
		}
	}
	var errs []error
	for _, r := range j.twice {
		draining, cancel := context.WithTimeout(ctx, s.options.DrainTimeout)
		errs = append(errs, r.withdraw(draining, s))
		cancel()
	}
	if len(failed.events) > 0 {
		errs = append(errs, s.commit(ctx, failed))
	}
	return translate(errors.Join(errs...))
}
